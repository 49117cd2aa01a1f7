"""
The folder of a run: config, checkpoints, TensorBoard events, ``episodes.csv``, ``metrics.csv``,
``alerts.csv``, ``trajectories.csv``, ``summary.json``, curves.

Every file is complete at any moment: rows are appended and flushed, whole files are replaced
atomically. Rows that cannot be written, as on a full disk, are dropped: they end no run.
"""

from contextlib import contextmanager, ExitStack, suppress
import csv
from dataclasses import asdict
from datetime import datetime
import fcntl
import io
import json
import logging
import os
from pathlib import Path
import time
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import yaml

from av_td3_ros import beyond, presets
from av_td3_ros.config import without_shared_copies
from av_td3_ros.options import ConfigError, flatten, to_flat

LOG = logging.getLogger(__name__)
# Each try to write events again begins a file of its own: not with every record, s.
EVENTS_PAUSE = 60.0
LOCK = '.lock'
# What a resume sets by itself: where the run lies, and that it goes on.
OF_A_RESUME = ('trainer.run_dir', 'trainer.resume')
# What ``trajectories.csv`` tells of an episode besides its points.
TRAJECTORY = (
    'env_step',
    'episode_id',
    'policy',
    'mode',
    'outcome',
    'reason',
    'length',
    'episode_return',
    'route_completion',
)


class RunFolder:
    """
    Writes what a run leaves behind.

    ``fault``: why rows are dropped now, '' where they are written.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        """
        Open or make the folder.

        :raises ConfigError: where it cannot be written.
        """
        self.path = Path(path)
        self.fault = ''
        self._events: Optional[Any] = None
        self._events_at = 0.0
        self._tables: Dict[str, Tuple[Any, csv.DictWriter]] = {}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / '.writable'
            probe.write_text('')
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f'run folder must be writable, got {self.path}: {error.strerror}; choose another '
                'with --run-dir (run_dir in trainer.param.yaml)'
            ) from None

    def write_config(self, config: Any) -> None:
        """
        Write the config of the run as YAML.

        Where a run goes on with other settings, those that it came so far with stay, as
        ``config_<step>.yaml``.
        """
        path = self.path / 'config.yaml'
        kept = path.with_name(f'config_{self.read_summary().get("env_steps", 0)}.yaml')
        # One that is there is of the steps before; with what is replaced now none was driven.
        if config.trainer.resume and changes(self.path, config) and not kept.exists():
            replace_file(kept, path.read_bytes())
        replace_file(path, yaml.safe_dump(asdict(config), sort_keys=False))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Merge values into ``summary.json``."""
        merged = {**self.read_summary(), **summary}
        replace_file(self.path / 'summary.json', json.dumps(merged, indent=2) + '\n')

    def read_summary(self) -> Dict[str, Any]:
        """Return ``summary.json``, or an empty dict where there is none."""
        return read_summary(self.path)

    def forget_after(self, env_step: int) -> None:
        """Remove rows and set evaluations aside beyond a step, from which it goes another way."""
        try:
            beyond.set_aside(self.path, env_step)
        except OSError as error:
            self._drop('evaluation', error)
        for name in ('metrics', 'episodes', 'trajectories'):
            path = self.path / f'{name}.csv'
            try:
                _forget_after(path, env_step)
            except FileNotFoundError:
                continue
            except (OSError, csv.Error) as error:
                self._drop(path.name, error)

    def add_episode(self, row: Mapping[str, Any]) -> None:
        """
        Append one finished episode to ``episodes.csv``, and its way to ``trajectories.csv``.

        :param row: by column; ``trail``: its points, where they are known.
        """
        self._append('episodes', {name: x for name, x in row.items() if name != 'trail'})
        if row.get('trail'):
            self._append('trajectories', trajectory(row))

    def add_record(self, row: Mapping[str, Any]) -> None:
        """Append one record of the learner to ``metrics.csv``; '' where nothing was computed."""
        self._append('metrics', row)

    def add_alert(self, row: Mapping[str, Any]) -> bool:
        """Append an alert that was raised or cleared to ``alerts.csv``; whether it is there."""
        return self._append('alerts', row)

    def read_episodes(self) -> List[Dict[str, str]]:
        """Return the rows of ``episodes.csv``."""
        return _read(self.path / 'episodes.csv')

    def standing_alerts(self) -> List[Dict[str, str]]:
        """Return the rows of the alerts that were raised and never cleared, by name."""
        standing: Dict[str, Dict[str, str]] = {}
        for row in _read(self.path / 'alerts.csv'):
            if row.get('state') == 'raised' and row.get('text'):  # a torn row has none
                standing[row['name']] = row
            else:
                standing.pop(row.get('name', ''), None)
        return [standing[name] for name in sorted(standing)]

    def add_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write metrics as TensorBoard events."""
        if time.monotonic() < self._events_at:
            return
        try:
            if self._events is None:
                from torch.utils.tensorboard import SummaryWriter

                self._events = SummaryWriter(str(self.path), flush_secs=10)
            for name, value in metrics.items():
                self._events.add_scalar(name, value, step)
        except OSError as error:
            self._drop('events.out.*', error)
            self._events_at = time.monotonic() + EVENTS_PAUSE
            self._close_events()

    def close(self) -> None:
        """Close the files."""
        self._close_events()
        for name in list(self._tables):
            self._close_table(name)

    def _close_events(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            with suppress(OSError):  # it was told where it was written
                events.close()

    def _close_table(self, name: str) -> None:
        file, _ = self._tables.pop(name)
        with suppress(OSError):
            file.close()

    def _append(self, name: str, row: Mapping[str, Any]) -> bool:
        """Append a row to a table, whole or not at all; return which."""
        path = self.path / f'{name}.csv'
        whole: Optional[int] = None
        try:
            if name in self._tables and not row.keys() <= set(self._tables[name][1].fieldnames):
                self._close_table(name)
            if name not in self._tables:
                self._tables[name] = _open_table(path, list(row))
            whole = path.stat().st_size
            file, writer = self._tables[name]
            writer.writerow(row)
            file.flush()
        except (OSError, csv.Error) as error:
            self._drop(path.name, error)
            if name in self._tables:  # its buffer must not come with a later row
                self._close_table(name)
            if whole is not None:
                with suppress(OSError):
                    os.truncate(path, whole)
            return False
        self.fault = ''
        return True

    def _drop(self, name: str, error: Exception) -> None:
        """Remember why something was not written, and say so once."""
        reason = getattr(error, 'strerror', None) or error
        known, self.fault = self.fault, (
            f'{self.path / name} must be written, got {reason}; rows are dropped until it can be: '
            'free space'
        )
        if not known:
            LOG.warning(self.fault)


def _open_table(path: Path, names: List[str]) -> Tuple[Any, csv.DictWriter]:
    """
    Open a table to append to.

    :param names: of the next row. Those that the table does not have become columns of it, as
        where a reward term is switched on with a resume.
    """
    data = path.read_bytes() if path.exists() else b''
    whole = data[: data.rfind(b'\n') + 1]
    reader = csv.reader(io.StringIO(whole.decode(errors='replace'), newline=''))
    columns = next(reader, [])
    new = [name for name in names if name not in columns]
    is_torn = bool(columns) and len(whole) < len(data)
    if columns and new:
        _rewrite(path, [*columns, *new], (row for row in reader if len(row) == len(columns)))
        is_torn = False
    file = path.open('a' if columns else 'w', newline='')
    if is_torn:  # killed within a row: the next one begins on a line of its own
        file.write('\r\n')
    writer = csv.DictWriter(file, [*columns, *new])
    if not columns:
        writer.writeheader()
    return file, writer


def _rewrite(path: Path, columns: List[str], rows: Iterable[List[str]]) -> None:
    """Replace a table by one of more columns, which are empty in its rows."""
    replace_rows(path, columns, ([*row, *[''] * (len(columns) - len(row))] for row in rows))


def _forget_after(path: Path, env_step: int) -> None:
    with path.open(newline='', errors='replace') as file:
        reader = csv.reader(file)
        columns = next(reader, [])
        place = columns.index('env_step') if 'env_step' in columns else len(columns)
        rows = [row for row in reader if len(row) == len(columns) > place]
    kept = [row for row in rows if not _is_beyond(row[place], env_step)]
    if len(kept) < len(rows):
        _rewrite(path, columns, kept)


def _is_beyond(text: str, env_step: int) -> bool:
    try:
        return float(text) > env_step
    except ValueError:
        return False


def _read(path: Path) -> List[Dict[str, str]]:
    """Return the rows of a table; none where it cannot be read."""
    try:
        with path.open(newline='', errors='replace') as file:
            return list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []


def read_summary(folder: Path) -> Dict[str, Any]:
    """Return ``summary.json`` of a run, or an empty dict where there is none."""
    try:
        summary = json.loads((folder / 'summary.json').read_text())
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def new_run_folder(kind: str) -> Path:
    """Return a new folder name below ``runs/``."""
    return Path('runs') / f'{kind}_{datetime.now():%Y%m%d_%H%M%S}'


def has_checkpoints(folder: Path) -> bool:
    """Whether a run has saved anything that it could go on from."""
    kinds = ('step_*', '.part_old_step_*')  # the second: killed while it replaced its only one
    return any(path for kind in kinds for path in (folder / 'checkpoints').glob(kind))


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """
    Keep a run folder to this process: two trainings in one would mix what they write.

    The kernel ends a claim with its process, however that ends; the file that is left means
    nothing. Where there can be no file, or no lock, there is no claim.

    :raises ConfigError: where another process has it.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context((folder / LOCK).open('a'))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f'run folder must have one training at a time, got {folder}, where another '
                    'is running; wait for its end or choose another with --run-dir'
                ) from None
        yield


def require_new(folder: Path, otherwise: str) -> None:
    """
    Refuse a folder that holds a run, where another one is to begin.

    :param otherwise: what to do instead.
    :raises ConfigError: where it does.
    """
    if has_checkpoints(folder):
        raise ConfigError(
            f'run folder must be new, got {folder}, which holds checkpoints; {otherwise}'
        )


def episodes_driven(folder: Path) -> int:
    """Return how many episodes of a run have ended, those that were aborted among them."""
    return len(_read(folder / 'episodes.csv'))


def trajectory(row: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Return the row of ``trajectories.csv`` for an episode: how it ended, and ``x y x y ...``, m.

    :param row: as for :meth:`RunFolder.add_episode`, with its ``trail``.
    """
    told = {name: row.get(name, '') for name in TRAJECTORY}
    return {**told, 'points': ' '.join(f'{v:.1f}' for point in row['trail'] for v in point)}


def written_config(source: Path) -> Optional[str]:
    """Return the config.yaml of the run that a folder is or belongs to, or None."""
    source = source.resolve()
    files = [folder / 'config.yaml' for folder in (source, *source.parents)]
    return next((str(file) for file in files if file.exists()), None)


def changes(folder: Path, config: Any) -> List[str]:
    """
    Return what is set otherwise than in the config.yaml of a run, as ``simulator.seed 0 -> 4``.

    Nothing where there is none that can be read.
    """
    try:
        written = flatten(presets.read_yaml(folder / 'config.yaml'))
    except ConfigError:
        return []
    return [
        f'{key} {presets.text(written[key])} -> {presets.text(value)}'
        for key, value in without_shared_copies(to_flat(config)).items()
        if written.get(key, value) != value and key not in OF_A_RESUME
    ]


def replace_file(path: Path, data: Union[str, bytes]) -> None:
    """
    Write a file so that a reader sees the old or the new one, never a part.

    :raises OSError: where it cannot be written; what was there stays.
    """
    part = path.with_name(path.name + '.part')
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):  # the first one says more
            part.unlink(missing_ok=True)
        raise


def replace_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """
    Write a CSV file as ``replace_file`` does.

    :raises OSError: where it cannot be written; what was there stays.
    """
    text = io.StringIO(newline='')
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    replace_file(path, text.getvalue())


def replace_picture(path: Path, figure: Any, dpi: int) -> None:
    """Write a figure of matplotlib as PNG, as :func:`replace_file` writes."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi, format='png')
    replace_file(path, picture.getvalue())
