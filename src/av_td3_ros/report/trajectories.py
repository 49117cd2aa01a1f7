"""
Where episodes were driven: ``trajectories.csv`` of a run, and of its evaluation.

A long run has thousands of them: of its file only the end is read, and of an evaluation the begin,
where the policy is that it is about.
"""

import math
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from av_td3_ros.report import csv_rows

# Bytes of a file, and episodes of them, that are read.
TAIL, MOST = 2_000_000, 200
NEEDED = ('outcome', 'reason', 'points')
# Nobody drives further from the origin of a map than this, m.
FARTHEST = 1e6


class Trajectory(NamedTuple):
    """
    One episode.

    ``policy``, ``episode``, ``reason``: as they were written. ``completion``: share of the route,
    NaN where it was not told. ``points``: (n, 2) m, float64, finite, n > 0.
    """

    policy: str
    episode: str
    reason: str
    completion: float
    points: np.ndarray


def read(path: Path, notes: List[str], policy: str = '') -> Tuple[Trajectory, ...]:
    """
    Return the last whole episodes of a file, oldest first; none where it is missing.

    :param notes: gets a sentence for what is broken.
    :param policy: whose episodes alone are wanted, which are the first ones of an evaluation.
    """
    try:
        with path.open('rb') as file:
            head = file.readline()
            begin = file.tell()
            if not policy:
                file.seek(max(begin, path.stat().st_size - TAIL))
            if file.tell() > begin:
                file.readline()  # the rest of a row
            data = file.read(TAIL)
    except OSError:
        return ()
    names = csv_rows.split(head.decode(errors='replace'))
    missing = [name for name in NEEDED if name not in names]
    if missing:
        notes.append(f'{path.name} has no column {", ".join(missing)}, and is left out.')
        return ()
    whole = data[: data.rfind(b'\n') + 1].decode(errors='replace')
    rows = [
        dict(zip(names, line)) if len(line) == len(names) else {} for line in csv_rows.lines(whole)
    ]
    wanted = [row for row in rows if not (row and policy) or row.get('policy') == policy][-MOST:]
    found = [_trajectory(row) for row in wanted if row]
    kept = tuple(item for item in found if len(item.points))
    broken = len(wanted) - len(kept)
    if broken:
        notes.append(f'{path.name}: {broken} rows are broken, and are left out.')
    return kept


def _trajectory(row: Dict[str, str]) -> Trajectory:
    reason = row['reason'] if row['outcome'] != 'aborted' else 'aborted'
    try:
        completion = float(row.get('route_completion', ''))
    except ValueError:
        completion = math.nan
    return Trajectory(
        row.get('policy', ''), row.get('episode_id', ''), reason, completion, _points(row)
    )


def _points(row: Dict[str, str]) -> np.ndarray:
    """Return (n, 2) m; (0, 2) where the text holds anything else than pairs of numbers."""
    try:
        values = np.array([float(word) for word in row['points'].split()])
    except ValueError:
        values = np.empty(0)
    # NaN compares false.
    fits = len(values) % 2 == 0 and (np.abs(values) < FARTHEST).all()
    return values.reshape(-1, 2) if fits else np.empty((0, 2))
