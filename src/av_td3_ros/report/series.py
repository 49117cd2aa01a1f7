"""Curves of runs: smoothed, on one axis, and as mean and spread over the seeds of a group."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.config import RunConfig
from av_td3_ros.gate_evidence import current
from av_td3_ros.options import to_flat
from av_td3_ros.report.runs import Run

# Episodes, and records of the metrics, that a curve is averaged over.
EPISODES, RECORDS = 10, 5
POINTS = 160
# Runs that differ in these alone are seeds of one group.
OF_A_SEED = ('seed', 'run_dir', 'resume', 'threads', 'precision', 'steps')
STEPS, MINUTES = 'environment steps', 'wall clock (min)'


class Curve(NamedTuple):
    """One line: ``x`` and ``y`` (n,) float64, finite, ``x`` rising."""

    x: np.ndarray
    y: np.ndarray


class Group(NamedTuple):
    """Runs of the same settings but for their seeds."""

    label: str
    runs: Tuple[Run, ...]


class Band(NamedTuple):
    """Mean, smallest and largest of a group's curves; all (n,) float64."""

    label: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def groups(runs: Sequence[Run]) -> List[Group]:
    """
    Return the runs by their settings, in the order in which they are given.

    A setting that a run does not tell of, because its version had none, is the default.
    """
    default = to_flat(RunConfig())
    found: Dict[Tuple[Any, ...], List[Run]] = {}
    for run in runs:
        given = {**default, **run.settings}
        key = tuple(sorted((k, str(v)) for k, v in given.items() if not _of_a_seed(k)))
        # Nothing is known of a run without settings, not even which runs it belongs to.
        found.setdefault(key if run.settings else (str(run.path),), []).append(run)
    return [Group(_label(members), tuple(members)) for members in found.values()]


def _of_a_seed(key: str) -> bool:
    return key.split('.')[-1] in OF_A_SEED


def _label(runs: Sequence[Run]) -> str:
    first = runs[0].name
    return first if len(runs) == 1 else f'{first} and {len(runs) - 1} more'


def episode_curve(run: Run, name: str, axis: str, scale: float = 1.0) -> Curve:
    """Return a column of the episodes, averaged over the last ten of them."""
    driven = run.driven
    if name not in driven:
        return Curve(np.empty(0), np.empty(0))
    return _curve(run, driven['env_step'], scale * driven[name], EPISODES, axis)


def goal_curve(run: Run, axis: str) -> Curve:
    """Return the share of the last ten episodes that reached the goal, %."""
    driven = run.driven
    if not driven:
        return Curve(np.empty(0), np.empty(0))
    reached = 100.0 * (driven['reason'] == 'goal')
    return _curve(run, driven['env_step'], reached, EPISODES, axis)


def metric_curve(run: Run, name: str, axis: str) -> Curve:
    """Return a column of the metrics, averaged over the last five records that have it."""
    if name not in run.metrics:
        return Curve(np.empty(0), np.empty(0))
    columns = run.metrics
    return _curve(run, columns['env_step'], columns[name], RECORDS, axis, columns.get('updates'))


def band(group: Group, curves: Sequence[Curve]) -> List[Band]:
    """Return the mean and spread of those curves of a group that are there, place by place."""
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return []
    begin, end = min(c.x[0] for c in curves), max(c.x[-1] for c in curves)
    x = np.linspace(begin, end, POINTS)
    values = np.array([np.interp(x, c.x, c.y, left=np.nan, right=np.nan) for c in curves])
    known = ~np.isnan(values).all(axis=0)  # between the end of one and the beginning of another
    x, values = x[known], values[:, known]
    spread = (function(values, axis=0) for function in (np.nanmean, np.nanmin, np.nanmax))
    return [Band(group.label, x, *spread)]


def minutes(run: Run, env_step: np.ndarray) -> np.ndarray:
    """Return when steps were taken, min after the start; empty where no clock was recorded."""
    known = run.metrics.get('seconds')
    if known is None or not np.isfinite(known).any():
        return np.empty(0)
    kept = np.isfinite(known)
    at, seconds = run.metrics['env_step'][kept], known[kept]
    # Before the first record the rate up to it is all that is known.
    at, seconds = np.insert(at, 0, 0.0), np.insert(seconds, 0, 0.0)
    order = np.argsort(at, kind='stable')
    return np.interp(env_step, at[order], seconds[order]) / 60.0


def _curve(
    run: Run,
    env_step: np.ndarray,
    values: np.ndarray,
    window: int,
    axis: str,
    updates: Optional[np.ndarray] = None,
) -> Curve:
    kept = np.isfinite(values) & np.isfinite(env_step) & current(env_step, updates)
    x, y = env_step[kept], smooth(values[kept], window)
    if axis == MINUTES:
        x = minutes(run, x)
    return Curve(x, y) if len(x) else Curve(np.empty(0), np.empty(0))


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """
    Return the mean of the last ``window`` values at each place, of fewer at the beginning.

    :param values: (n, ...) float64.
    """
    sums = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), axis=0)
    ends = np.arange(1, len(values) + 1)
    begin = np.maximum(ends - window, 0)
    count = (ends - begin).reshape(-1, *[1] * (values.ndim - 1))
    return (sums[ends] - sums[begin]) / count


def shares(run: Run) -> Tuple[np.ndarray, Dict[str, np.ndarray]]:
    """
    Return what each reward term makes of the sum of all, by size, over the last ten episodes.

    :returns: environment steps (n,), and shares in % (n,) by the name of the term; terms that were
        0 throughout are left out.
    """
    driven = run.driven
    names = [name for name in driven if name.startswith('reward_')]
    if not names:
        return np.empty(0), {}
    kept = current(driven['env_step'])
    driven = {name: column[kept] for name, column in driven.items()}
    sizes = smooth(np.nan_to_num(np.abs(np.stack([driven[n] for n in names], axis=1))), EPISODES)
    part = 100.0 * sizes / np.maximum(sizes.sum(axis=1, keepdims=True), 1e-12)
    counted = {name.removeprefix('reward_'): part[:, i] for i, name in enumerate(names)}
    few = np.unique(np.linspace(0, len(part) - 1, POINTS).astype(int))
    return driven['env_step'][few], {
        name: values[few] for name, values in counted.items() if values.any()
    }
