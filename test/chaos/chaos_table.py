"""
What became of every fault, as a table and as files that campaigns side by side add to.
"""

from collections import defaultdict
from contextlib import contextmanager
import csv
import fcntl
import os
from pathlib import Path
import statistics
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from av_td3_ros.run_folder import replace_file, replace_rows

MOST_LOST = 1000


class Row(NamedTuple):
    """
    What became of one fault.

    ``ended``: 'recovered', 'stopped' (with a reason) or 'stuck'. ``seconds``: until all was as
    before. ``lost_steps``: never stored, or to be driven again. ``aborted``: episodes.
    ``stale_metres``: driven by a command that was not renewed.
    """

    fault: str
    seed: int
    what: str
    ended: str
    seconds: float
    lost_steps: int
    aborted: int
    stood: bool
    stale_metres: float
    fastest: float
    uncommanded: str
    out_of_bounds: str
    torn: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether a promise was broken."""
        wrong = self.uncommanded or self.out_of_bounds or self.torn
        stopped = self.ended == 'stopped' and not self.reason
        return bool(wrong or stopped or self.ended == 'stuck' or self.lost_steps > MOST_LOST)


# From the text of a CSV file.
READ: Dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: {'True': True, 'False': False}.__getitem__,
}


def table(rows: Sequence[Row]) -> str:
    """Return the rows by kind of fault, as a Markdown table."""
    lines = [
        '| fault | times | recovered | s until normal, median (most) | steps lost, most | '
        'm on an old command, most | m/s, fastest | stood | uncommanded motions | '
        'commands out of bounds | broken |',
        '|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    kinds: Dict[str, List[Row]] = defaultdict(list)
    for row in rows:
        kinds[row.fault].append(row)
    for kind, found in kinds.items():
        times = [row.seconds for row in found]
        lines.append(
            f'| {kind} | {len(found)} | {sum(row.ended == "recovered" for row in found)} | '
            f'{statistics.median(times):.1f} ({max(times):.1f}) | '
            f'{max(row.lost_steps for row in found)} | '
            f'{max(row.stale_metres for row in found):.2f} | '
            f'{max(row.fastest for row in found):.1f} | '
            f'{sum(row.stood for row in found)} | '
            f'{sum(bool(row.uncommanded) for row in found)} | '
            f'{sum(bool(row.out_of_bounds) for row in found)} | '
            f'{sum(row.is_failure for row in found)} |'
        )
    return '\n'.join(lines)


def keep(folder: Optional[Path], rows: Sequence[Row]) -> List[Row]:
    """
    Add rows to those in a folder, and return all; other campaigns may add theirs meanwhile.

    :param folder: None keeps nothing: the rows alone are returned.
    :raises ValueError: where the file in the folder is not of a campaign with these columns.
    """
    if folder is None:
        return list(rows)
    with _alone(folder):
        every = joined(read(folder), rows)
        if rows:
            write(folder, every)
    return every


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def joined(earlier: Sequence[Row], rows: Sequence[Row]) -> List[Row]:
    """Return the rows of earlier parts of a campaign and these, which replace the same faults."""
    again = {(row.fault, row.seed) for row in rows}
    return [row for row in earlier if (row.fault, row.seed) not in again] + list(rows)


def read(folder: Path) -> List[Row]:
    """
    Return the rows that are in a folder; none where there is no file.

    :raises ValueError: where the file is not of a campaign with these columns.
    """
    path = folder / 'chaos.csv'
    if not path.exists():
        return []
    with path.open(newline='') as file:
        lines = list(csv.reader(file))
    try:
        if tuple(lines[0]) != Row._fields:
            raise ValueError(f'columns {lines[0]}')
        return [_row(line) for line in lines[1:]]
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f'{path} must have the columns {", ".join(Row._fields)}, as of this campaign, got '
            f'{error}; choose another --out'
        ) from None


def _row(line: Sequence[str]) -> Row:
    if len(line) != len(Row._fields):
        raise ValueError(f'a line of {len(line)} columns')
    return Row(*(READ[kind](text) for kind, text in zip(Row.__annotations__.values(), line)))


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write every fault as CSV, and the table; an earlier file is whole until the new one is."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_rows(folder / 'chaos.csv', Row._fields, rows)
    replace_file(folder / 'chaos.md', table(rows) + '\n')
