"""What a gate looks at: what a run left behind, and how its columns are measured."""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

Columns = Dict[str, np.ndarray]

# A third of the records needs at least three of them for a median that one outlier cannot move.
FEWEST = 9
# A norm is scaled by limit / (norm + 1e-6), in single precision.
ROUNDING = 1.001


class Evidence(NamedTuple):
    """
    What a run left behind, as far as it is there.

    ``env_steps``: how far it is. ``metrics``: columns of metrics.csv, NaN where not computed, inf
    where a value was not finite. ``episodes``: columns of episodes.csv, without aborted ones.
    ``alerts``: rows of alerts.csv, None where there is no such file. ``evaluations``: every
    evaluation.json of the run's own world, its metrics as mean, low, high. ``settings``: of the
    run, by dotted key.
    """

    env_steps: int
    metrics: Columns
    episodes: Columns
    alerts: Optional[Sequence[Mapping[str, str]]]
    evaluations: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]


def current(env_step: np.ndarray, updates: Optional[np.ndarray] = None) -> np.ndarray:
    """
    Return which rows no later one goes back to, or before: a resumed run drove those again.

    A round of updates makes several records of one step: their updates tell them apart.

    :param env_step: (n,) float64. :param updates: (n,) float64, NaN where not known; None where
        there is but one row of a step. :returns: (n,) bool.
    """
    if not len(env_step):
        return np.empty(0, bool)
    counted = np.zeros(len(env_step)) if updates is None else np.nan_to_num(updates)
    places = np.unique(np.stack([env_step, counted], axis=1), axis=0, return_inverse=True)[1]
    place = places.reshape(-1)  # NumPy 2.0 gives it a second axis
    later = np.minimum.accumulate(place[::-1])[::-1]
    return np.append(place[:-1] < later[1:], True)


class Unjudged(Exception):
    """A criterion that the run holds nothing for; the text says what is missing."""


class Measured(NamedTuple):
    value: float
    figure: str
    limit: str
    passed: bool


def metric(run: Evidence, name: str) -> np.ndarray:
    """Return a column of the metrics with its gaps; (n,) float64."""
    column = run.metrics.get(name)
    if column is None or np.isnan(column).all():
        raise Unjudged(f'{name} was not recorded up to here')
    return column


def recorded(run: Evidence, names: Sequence[str]) -> List[str]:
    """Return those of several columns that hold something: not every learner has every part."""
    found = [n for n in names if n in run.metrics and not np.isnan(run.metrics[n]).all()]
    if not found:
        raise Unjudged(f'{names[0]} was not recorded up to here')
    return found


def episode(run: Evidence, name: str) -> np.ndarray:
    """Return a column of the episodes that were not aborted; (n,) float64."""
    column = run.episodes.get(name)
    if column is None or not len(column):
        raise Unjudged('no episode ended up to here')
    return column


def scale(run: Evidence) -> np.ndarray:
    """
    Return how large Q is; (n,) float64, never 0.

    Q, and with it every error of it, grows while the policy learns to earn: what must fall is the
    share.
    """
    size = np.fmax(np.abs(metric(run, 'q_replay_mean')), np.abs(metric(run, 'q_replay_max')))
    return np.maximum(size, 1e-3)


def largest(run: Evidence, name: str, limit: float) -> Measured:
    """Compare the largest magnitude of a column with a limit."""
    value = float(np.nanmax(np.abs(metric(run, name))))
    figure = f'at most {value:.3g}' if math.isfinite(value) else 'not finite'
    return Measured(value, figure, f'< {limit:.3g}', value < limit)


def thirds(values: np.ndarray) -> Tuple[float, float]:
    """Return the medians of the first and of the last third of the values."""
    values = values[~np.isnan(values)]
    if len(values) < FEWEST:
        raise Unjudged(f'{len(values)} records up to here; {FEWEST} are needed')
    third = len(values) // 3
    return float(np.median(values[:third])), float(np.median(values[-third:]))


def falling(values: np.ndarray) -> Measured:
    """Compare the last third with the first, which must be above it."""
    first, last = thirds(values)
    return Measured(last, f'{first:.3g} to {last:.3g}', f'< {first:.3g}', last < first)


def rising(values: np.ndarray, slack: float = 0.0) -> Measured:
    """Compare the last third with the first; ``slack`` is the share that it may fall by."""
    first, last = thirds(values)
    least = first - slack * abs(first)
    passed = last >= least if slack else last > least
    return Measured(
        last, f'{first:.3g} to {last:.3g}', f'{">=" if slack else ">"} {least:.3g}', passed
    )


def clipped(run: Evidence, step: str, groups: Sequence[str], limit: float) -> Measured:
    """Compare the gradients of a step after the clip with the limit of the run."""
    kind = run.settings.get('trainer.learner.optimiser.clip', 'none')
    if kind != 'none':
        limit = float(run.settings.get(f'trainer.learner.optimiser.{step}_clip', limit))
    names = {
        'group_norm': [f'gradient_norm_{group}_clipped' for group in groups],
        'value': [f'gradient_max_{step}_clipped'],
    }.get(kind, [f'gradient_norm_{step}_total_clipped'])
    values = np.concatenate([metric(run, name) for name in recorded(run, names)])
    value = float(np.nanmax(values))
    figure = f'at most {value:.3g}' if math.isfinite(value) else 'not finite'
    return Measured(value, figure, f'<= {limit:g}', value <= ROUNDING * limit)


def raised(run: Evidence, *parts: str) -> Measured:
    """Count the alerts whose names hold one of the parts; none may have been raised."""
    if run.alerts is None:
        raise Unjudged('alerts were not recorded')
    ignored = str(run.settings.get('trainer.health.ignored', ''))

    def counts(name: str) -> bool:
        return any(part in name for part in parts)

    if any(map(counts, filter(None, ignored.split(',')))):
        raise Unjudged(f'alerts are ignored: {ignored} (trainer.health.ignored)')
    names: List[str] = []
    standing: Set[str] = set()
    for row in filter(lambda row: counts(row['name']), run.alerts):
        name, is_raised = row['name'], row['state'] == 'raised'
        if is_raised or name not in standing:  # cleared alone: what raised it was not written
            names.append(name)
        (standing.add if is_raised else standing.discard)(name)
    listed = ', '.join(sorted(set(names)))
    figure = f'{len(names)}: {listed}' if names else '0'
    return Measured(float(len(names)), figure, '0', not names)
