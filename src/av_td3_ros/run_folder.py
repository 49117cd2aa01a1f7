"""
The folder of a run: config, checkpoints, TensorBoard events, ``episodes.csv``, ``metrics.csv``,
``alerts.csv``, ``trajectories.csv``, ``summary.json``, curves.

Every file is complete at any moment: rows are appended and flushed, whole files are replaced
atomically.
"""

import csv
from dataclasses import asdict
from datetime import datetime
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import yaml

from av_td3_ros.options import ConfigError

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
    """Writes what a run leaves behind."""

    def __init__(self, path: Union[str, Path]) -> None:
        """
        Open or make the folder.

        :raises ConfigError: where it cannot be written.
        """
        self.path = Path(path)
        self._events: Optional[Any] = None
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
        """Write the config of the run as YAML."""
        replace_file(self.path / 'config.yaml', yaml.safe_dump(asdict(config), sort_keys=False))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Merge values into ``summary.json``."""
        merged = {**self.read_summary(), **summary}
        replace_file(self.path / 'summary.json', json.dumps(merged, indent=2) + '\n')

    def read_summary(self) -> Dict[str, Any]:
        """Return ``summary.json``, or an empty dict where there is none."""
        try:
            return json.loads((self.path / 'summary.json').read_text())
        except (OSError, ValueError):
            return {}

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

    def add_alert(self, row: Mapping[str, Any]) -> None:
        """Append an alert that was raised or cleared to ``alerts.csv``."""
        self._append('alerts', row)

    def read_episodes(self) -> List[Dict[str, str]]:
        """Return the rows of ``episodes.csv``."""
        return self._read('episodes')

    def standing_alerts(self) -> List[Dict[str, str]]:
        """Return the rows of the alerts that were raised and never cleared, by name."""
        standing: Dict[str, Dict[str, str]] = {}
        for row in self._read('alerts'):
            if row.get('state') == 'raised' and row.get('text'):  # a torn row has none
                standing[row['name']] = row
            else:
                standing.pop(row.get('name', ''), None)
        return [standing[name] for name in sorted(standing)]

    def _read(self, name: str) -> List[Dict[str, str]]:
        try:
            with (self.path / f'{name}.csv').open(newline='') as file:
                return list(csv.DictReader(file))
        except OSError:
            return []

    def add_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write metrics as TensorBoard events."""
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.path), flush_secs=10)
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        if self._events is not None:
            self._events.close()
            self._events = None
        while self._tables:
            self._tables.popitem()[1][0].close()

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        """Append a row to a table; its columns are those of its first row."""
        if name not in self._tables:
            path, columns = self.path / f'{name}.csv', []
            is_torn = False
            if path.exists():
                with path.open(newline='') as file:
                    columns = next(csv.reader(file), [])
                with path.open('rb') as ending:
                    ending.seek(max(path.stat().st_size - 1, 0))
                    is_torn = ending.read(1) not in (b'', b'\n')
            file = path.open('a', newline='')
            if is_torn:  # killed within a row: the next one begins on a line of its own
                file.write('\r\n')
            writer = csv.DictWriter(file, columns or list(row), extrasaction='ignore')
            if not columns:
                writer.writeheader()
            self._tables[name] = (file, writer)
        file, writer = self._tables[name]
        writer.writerow(row)
        file.flush()


def new_run_folder(kind: str) -> Path:
    """Return a new folder name below ``runs/``."""
    return Path('runs') / f'{kind}_{datetime.now():%Y%m%d_%H%M%S}'


def has_checkpoints(folder: Path) -> bool:
    """Whether a run has saved anything that it could go on from."""
    kinds = ('step_*', '.part_old_step_*')  # the second: killed while it replaced its only one
    return any(path for kind in kinds for path in (folder / 'checkpoints').glob(kind))


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


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never a part."""
    part = path.with_name(path.name + '.part')
    try:
        part.write_text(text, encoding='utf-8')
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
