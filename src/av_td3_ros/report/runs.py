"""
What a run left behind, as far as it is there: of any age, incomplete, or still being written.

What is missing or broken is told in ``Run.notes``, one sentence each; only a path that is no run
at all is an error.
"""

import json
import math
from pathlib import Path
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from av_td3_ros import presets
from av_td3_ros.config import RunConfig
from av_td3_ros.gate_evidence import Columns, current, Evidence
from av_td3_ros.options import ConfigError, flatten, to_flat
from av_td3_ros.report import csv_rows, trajectories
from av_td3_ros.report.trajectories import Trajectory

# Any of these makes a folder a run.
SIGNS = ('config.yaml', 'episodes.csv', 'metrics.csv', 'summary.json', 'checkpoints')
TEXT = ('outcome', 'reason')
EPISODE_COLUMNS = (
    'env_step',
    'outcome',
    'reason',
    'length',
    'episode_return',
    'route_completion',
)
# Where evaluations in the world of the run are, that which people asked for first.
EVALUATED_AT = 'evaluation_{stage}'
EVALUATIONS = ('evaluation', *(EVALUATED_AT.format(stage=s) for s in ('50k', '10k')))
ON_EMPTY_ROAD, WITH_FROZEN_CAMERA = 'evaluation_0_vehicles', 'evaluation_frozen_camera'
# Of what type values of summary.json and evaluation.json are that others reckon with.
COUNTED = {
    **dict.fromkeys(('env_step', 'env_steps', 'updates', 'episodes', 'wanted', 'vehicles'), 0),
    'notes': [],
    'others': [],
}
# Letters of a value that does not fit, in a note.
SHORT = 40
ALERT_COLUMNS = ('env_step', 'name', 'action', 'state', 'text')


class Run(NamedTuple):
    """
    One run.

    ``metrics``, ``episodes``: columns, empty where there are none. ``alerts``: rows, oldest first.
    ``evaluation``: the one that is shown. ``evaluations``: each, by the name of its folder.
    ``settings``: by dotted key. ``notes``: what is missing. ``trained``, ``evaluated``: where the
    last episodes of training, and those of the policy evaluated, were driven.
    """

    path: Path
    metrics: Columns
    episodes: Columns
    alerts: Optional[List[Dict[str, str]]]
    evaluation: Dict[str, Any]
    evaluations: Dict[str, Dict[str, Any]]
    settings: Dict[str, Any]
    summary: Dict[str, Any]
    notes: Tuple[str, ...]
    trained: Tuple[Trajectory, ...] = ()
    evaluated: Tuple[Trajectory, ...] = ()
    parents: int = 0

    @property
    def name(self) -> str:
        """The name of the folder, after those of so many ``parents`` of it."""
        parts = self.path.parts[-1 - self.parents :]
        return '/'.join(parts).encode(errors='replace').decode()  # a name may be any bytes

    @property
    def env_steps(self) -> int:
        """
        The last step that anything tells of.

        Where a resumed run is still behind what it drove before, nothing counts that is further on
        than its newest rows: neither the summary nor the other table need have been written since.
        """
        tables = [columns for columns in (self.metrics, self.episodes) if _any(columns)]
        told = [float(columns['env_step'][-1]) for columns in tables]
        told.append(float(self.summary.get('env_steps', 0)))
        for columns in tables:
            step = columns['env_step']
            if step[-1] < step.max():
                between = np.diff(_current(columns)['env_step']).max(initial=0.0)
                told = [end for end in told if end <= step[-1] + between]
        return int(max(told, default=0.0))

    @property
    def driven(self) -> Columns:
        """The episodes that were not aborted, nor driven again by a resumed run."""
        # Aborted ones first: one of no step would stand for that which ended at the same step.
        kept = self.episodes['outcome'] != 'aborted' if self.episodes else ()
        return _current({name: column[kept] for name, column in self.episodes.items()})

    def evidence(self, env_steps: Optional[int] = None) -> Evidence:
        """
        Return what the gates judge.

        :param env_steps: of a run that goes on, where it knows; None for the last one told of.
        """
        return Evidence(
            self.env_steps if env_steps is None else env_steps,
            _current(self.metrics),
            self.driven,
            self.alerts,
            [e for name, e in self.evaluations.items() if name != WITH_FROZEN_CAMERA],
            self.settings,
        )


def read(path: Union[str, Path]) -> Run:
    """
    Read a run.

    :raises ConfigError: for a path that is no run folder.
    """
    folder = Path(path).resolve()
    if not folder.is_dir() or not any((folder / sign).exists() for sign in SIGNS):
        reason = 'which holds none of' if folder.is_dir() else 'where there is no folder with'
        raise ConfigError(
            f'a run folder must be given, got {path}, {reason} {", ".join(SIGNS)}; '
            '`av-td3 train` makes one'
        )
    notes: List[str] = []
    metrics = _columns(folder / 'metrics.csv', ('env_step',), notes)
    episodes = _columns(folder / 'episodes.csv', EPISODE_COLUMNS, notes)
    if episodes and not len(episodes['env_step']):
        notes.append('No episode has ended yet.')
        episodes = {}
    alerts = _alerts(folder / 'alerts.csv', bool(metrics), notes)
    names = (*EVALUATIONS, ON_EMPTY_ROAD, WITH_FROZEN_CAMERA)
    found = {name: _evaluation(folder / name / 'evaluation.json', notes) for name in names}
    evaluations = {name: one for name, one in found.items() if one['metrics']}
    shown = next((name for name in EVALUATIONS if name in evaluations), EVALUATIONS[0])
    settings = _settings(folder / 'config.yaml', notes)
    trained = trajectories.read(folder / 'trajectories.csv', notes)
    policy = found[shown]['policy']
    evaluated = trajectories.read(folder / shown / 'trajectories.csv', notes, policy)
    return Run(
        folder,
        metrics,
        episodes,
        alerts,
        found[shown],
        evaluations,
        settings,
        _json(folder / 'summary.json', notes),
        tuple(notes),
        trained,
        evaluated,
    )


def read_all(paths: Sequence[Union[str, Path]]) -> List[Run]:
    """
    Read runs, and name them so that no two are named alike.

    :raises ConfigError: for a path that is no run folder, or is given twice.
    """
    folders = [Path(path).resolve() for path in paths]
    if len(set(folders)) < len(folders):
        raise ConfigError(f'runs must differ, got {" ".join(map(str, paths))}')
    found = [read(path) for path in paths]
    while len({run.name for run in found}) < len(found):
        names = [run.name for run in found]
        found = [run._replace(parents=run.parents + (names.count(run.name) > 1)) for run in found]
    return found


def _alerts(path: Path, recorded: bool, notes: List[str]) -> Optional[List[Dict[str, str]]]:
    """Return the alerts: their file comes with the first of them, where metrics are recorded."""
    if recorded and not path.exists():
        return []
    rows = _rows(path, ALERT_COLUMNS, notes)
    return rows and [row for row in rows if math.isfinite(_number(row['env_step']))]


def _rows(path: Path, needed: Tuple[str, ...], notes: List[str]) -> Optional[List[Dict[str, str]]]:
    """Return the whole rows of a CSV file; None where it is missing or of another kind."""
    try:
        text = path.read_text(errors='replace')
    except OSError:
        notes.append(f'There is no {path.name}.')
        return None
    whole = text[: text.rfind('\n') + 1]
    table = csv_rows.lines(whole)
    if not table:
        notes.append(f'{path.name} is empty.')
        return None
    head, *lines = table
    missing = [name for name in needed if name not in head]
    if missing:
        notes.append(f'{path.name} has no column {", ".join(missing)}, and is left out.')
        return None
    rows = [dict(zip(head, line)) for line in lines if len(line) == len(head)]
    broken = len(lines) - len(rows)
    if broken:
        notes.append(f'{path.name}: {broken} rows do not fit its head, and are left out.')
    if whole != text:
        notes.append(f'{path.name} ends within a row: the run is being written, or was killed.')
    return rows


def _columns(path: Path, needed: Tuple[str, ...], notes: List[str]) -> Columns:
    """Return a CSV file as columns: text as it is, numbers as float64, NaN where empty."""
    rows = _rows(path, needed, notes)
    if rows is None:
        return {}
    names = list(rows[0]) if rows else needed
    columns: Columns = {}
    for name in names:
        cells = [row[name] for row in rows]
        columns[name] = np.array(cells if name in TEXT else [_number(cell) for cell in cells])
    kept = np.isfinite(columns['env_step']) if rows else np.empty(0, bool)
    if not kept.all():
        notes.append(f'{path.name}: {(~kept).sum()} rows tell no step, and are left out.')
    return {name: column[kept] for name, column in columns.items()}


def _any(columns: Columns) -> bool:
    return bool(len(columns.get('env_step', ())))


def _current(columns: Columns) -> Columns:
    """Return columns without what a resumed run drove again."""
    kept = current(columns['env_step'], columns.get('updates')) if columns else ()
    return {name: column[kept] for name, column in columns.items()}


def _number(cell: str) -> float:
    """Return a cell: NaN where it is empty or no number, inf where it was not finite."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return math.inf if math.isnan(value) else value


def _json(path: Path, notes: List[str]) -> Dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError:
        return {}
    except ValueError:
        notes.append(f'{path.name} is not whole, and is left out.')
        return {}
    if not isinstance(data, dict):
        notes.append(f'{path.name} holds no mapping, and is left out.')
        return {}
    return _fitting(data, COUNTED, path.name, notes)


def _fitting(
    data: Mapping[str, Any], like: Mapping[str, Any], name: str, notes: List[str]
) -> Dict[str, Any]:
    """
    Return what has the type that it must have.

    :param like: values of that type, by name. :param name: of the file.
    """
    kept = {key: value for key, value in data.items() if _fits(value, like.get(key))}
    notes += [
        f'{name}: {key} must be {_kind(like[key])}, got {_short(data[key])}; it is left out.'
        for key in data
        if key not in kept
    ]
    return kept


def _fits(value: Any, like: Any) -> bool:
    if isinstance(like, (bool, str, list)):
        return isinstance(value, type(like))
    return not isinstance(like, (int, float)) or _is_number(value)


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and abs(value) <= sys.float_info.max  # NaN is not


def _kind(like: Any) -> str:
    names = {bool: 'true or false', str: 'text', list: 'a list'}
    return names.get(type(like), 'a number')


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= SHORT else f'{text[:SHORT]}...'


def _evaluation(path: Path, notes: List[str]) -> Dict[str, Any]:
    """Return an evaluation, its metrics as mean, low and high; NaN where there is no interval."""
    data = _json(path, notes)
    if data and 'metrics' not in data:
        notes.append(f'{path.name} is of an older version: it has no intervals.')
        data = {'episodes': data.get('episodes'), 'metrics': dict(data)}
        data['metrics'].pop('episodes', None)
    return {
        **_measured(data),
        'others': [
            _measured(_fitting(other, COUNTED, path.name, notes))
            for other in data.get('others', [])
            if isinstance(other, dict)
        ],
    }


def _measured(data: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what one policy drove, its metrics as intervals."""
    given = data.get('metrics')
    metrics = given if isinstance(given, dict) else {}
    found = {name: _interval(value) for name, value in metrics.items()}
    return {
        **data,
        'policy': str(data.get('policy', '')),
        'metrics': {name: value for name, value in found.items() if value},
    }


def _interval(value: Any) -> Dict[str, float]:
    given = value if isinstance(value, dict) else {'mean': value}
    found = {}
    for name in ('mean', 'low', 'high'):
        number = given.get(name)
        found[name] = float(number) if _is_number(number) else math.nan
    return found if math.isfinite(found['mean']) else {}


def _settings(path: Path, notes: List[str]) -> Dict[str, Any]:
    try:
        given = flatten(presets.read_yaml(path))
    except ConfigError:
        notes.append('There is no config.yaml that can be read.')
        return {}
    return _fitting(given, to_flat(RunConfig()), path.name, notes)
