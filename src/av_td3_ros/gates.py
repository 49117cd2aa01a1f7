"""
Go/no-go gates: what must hold before a run goes on to be a long one.

A stage has criteria, each a small function over what the run left behind up to that many steps; a
later stage includes the earlier ones. What cannot be judged does not pass. Limits: ``LIMITS``, on
the scale of the default reward; rules: docs/design/report.md.
"""

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.options import ConfigError

Columns = Dict[str, np.ndarray]

# Every limit of every gate.
LIMITS: Dict[str, float] = {
    'q_policy_mean': 50.0,
    'q_policy_max': 100.0,
    # Norms after the clip, where the run has no limits of its own.
    'actor_clip': 1.0,
    'critic_clip': 10.0,
    'collision_rate': 0.10,
    'feature_l2': 100.0,
    'critic_loss': 100.0,
    'td_error': 5.0,
    'encoder_gradient_ratio': 10.0,
}
LENGTH = 'Steps driven'
# A third of the records needs at least three of them for a median that one outlier cannot move.
FEWEST = 9
# Episodes may get shorter by this share: a route that is driven faster takes fewer steps.
SHORTER = 0.1
# Episodes that a rate is taken over.
RECENT = 20
# A norm is scaled by limit / (norm + 1e-6), in single precision.
ROUNDING = 1.001
# An evaluation is of a checkpoint, and those are made now and then: so much later is near enough.
LATER = 1.2


class Evidence(NamedTuple):
    """
    What a run left behind, as far as it is there.

    ``env_steps``: how far it is. ``metrics``: columns of metrics.csv, NaN where not computed, inf
    where a value was not finite. ``episodes``: columns of episodes.csv. ``alerts``: rows of
    alerts.csv, None where there is no such file. ``evaluation``: evaluation.json, its metrics as
    mean, low, high. ``settings``: of the run, by dotted key.
    """

    env_steps: int
    metrics: Columns
    episodes: Columns
    alerts: Optional[Sequence[Mapping[str, str]]]
    evaluation: Mapping[str, Any]
    settings: Mapping[str, Any]


class Finding(NamedTuple):
    """
    One criterion, judged: ``passed`` is None where it could not be, and ``figure`` says why.

    ``figure`` and ``limit`` are text for people; ``value`` is the number behind, or None.
    """

    stage: str
    criterion: str
    figure: str
    limit: str
    passed: Optional[bool]
    value: Optional[float]


class Judgement(NamedTuple):
    """The verdict on a stage; ``passed`` only where every finding did."""

    stage: str
    findings: Tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the run may go on."""
        return all(finding.passed for finding in self.findings)

    @property
    def verdict(self) -> str:
        """GO or NO-GO."""
        return 'GO' if self.passed else 'NO-GO'


class Unjudged(Exception):
    """A criterion that the run holds nothing for; the text says what is missing."""


class _Measured(NamedTuple):
    value: float
    figure: str
    limit: str
    passed: bool


Criterion = Callable[[Evidence], _Measured]


def judge(run: Evidence, stage: str) -> Judgement:
    """
    Judge a run at a stage.

    :param stage: '2k', '5k', '10k' or '50k'; the earlier ones are judged with it, at its step.
    :raises ConfigError: for another stage.
    """
    if stage not in STAGES:
        raise ConfigError(f'--stage must be one of {", ".join(STAGES)}, got {stage}')
    seen = _until(run, steps(stage))
    findings = [_length(run, stage)]
    for name, criteria in STAGES.items():
        with np.errstate(all='ignore'):  # what is not finite fails its limit, and that is told
            findings += [_finding(name, criterion, seen) for criterion in criteria]
        if name == stage:
            break
    return Judgement(stage, tuple(findings))


def steps(stage: str) -> int:
    """Return the environment steps of a stage."""
    return 1000 * int(stage.removesuffix('k'))


def reached(env_steps: int) -> List[str]:
    """Return the stages that a run of that many environment steps has reached."""
    return [stage for stage in STAGES if env_steps >= steps(stage)]


def _length(run: Evidence, stage: str) -> Finding:
    enough = run.env_steps >= steps(stage)
    return Finding(
        stage,
        LENGTH,
        f'{run.env_steps:,}' if enough else f'{run.env_steps:,}: the run is shorter',
        f'>= {steps(stage):,}',
        True if enough else None,
        float(run.env_steps),
    )


def _finding(stage: str, criterion: Criterion, run: Evidence) -> Finding:
    name = (criterion.__doc__ or '').split('.')[0].strip()
    try:
        value, figure, limit, passed = criterion(run)
    except Unjudged as reason:
        return Finding(stage, name, str(reason), '-', None, None)
    return Finding(stage, name, figure, limit, passed, value if math.isfinite(value) else None)


def _until(run: Evidence, step: int) -> Evidence:
    """Return what was there at a step."""

    def cut(columns: Columns) -> Columns:
        at = columns.get('env_step')
        return {} if at is None else {k: v[at <= step] for k, v in columns.items()}

    alerts = run.alerts
    if alerts is not None:
        alerts = [row for row in alerts if float(row['env_step']) <= step]
    return run._replace(
        env_steps=min(run.env_steps, step),
        metrics=cut(run.metrics),
        episodes=cut(run.episodes),
        alerts=alerts,
    )


# -- 2k -------------------------------------------------------------------------------------------


def q_policy_mean(run: Evidence) -> _Measured:
    """Q of policy actions, mean."""
    return _largest(run, 'q_policy_mean', LIMITS['q_policy_mean'])


def q_policy_max(run: Evidence) -> _Measured:
    """Q of policy actions, max."""
    return _largest(run, 'q_policy_max', LIMITS['q_policy_max'])


def gradient_alerts(run: Evidence) -> _Measured:
    """Gradient alerts."""
    return _raised(run, 'gradient')


def critic_loss_falling(run: Evidence) -> _Measured:
    """Critic loss over the square of the scale of Q, falling."""
    return _falling(_metric(run, 'critic_loss') / _scale(run) ** 2)


# -- 5k -------------------------------------------------------------------------------------------


def actor_clipped(run: Evidence) -> _Measured:
    """Actor gradient after the clip."""
    return _clipped(run, 'actor', ('actor', 'actor_encoder'))


def critic_clipped(run: Evidence) -> _Measured:
    """Critic gradient after the clip."""
    return _clipped(run, 'critic', ('critic', 'encoder', 'predictor'))


def return_rising(run: Evidence) -> _Measured:
    """Return of an episode, rising."""
    return _rising(_episode(run, 'episode_return'))


def length_not_falling(run: Evidence) -> _Measured:
    """Steps of an episode, not falling."""
    return _rising(_episode(run, 'length'), SHORTER)


def td_error_falling(run: Evidence) -> _Measured:
    """TD error over the scale of Q, falling."""
    return _falling(_metric(run, 'td_error') / _scale(run))


# -- 10k ------------------------------------------------------------------------------------------


def better_than_random(run: Evidence) -> _Measured:
    """Route completion of the evaluation, against random actions."""
    found = _evaluated(run).get('route_completion')
    if not found:
        raise Unjudged('no evaluation; run `av-td3 evaluate` on the run')
    low = found['low'] if math.isfinite(found['low']) else found['mean']
    random, of = _random(run)
    return _Measured(
        low, f'{found["mean"]:.1%}, at least {low:.1%}', f'> {random:.1%}, {of}', low > random
    )


def _evaluated(run: Evidence) -> Mapping[str, Any]:
    """Return what the evaluation measured, where it is one of this run at this step."""
    found = run.evaluation
    if not found.get('metrics'):
        return {}
    if found.get('camera', 'live') != 'live':
        raise Unjudged(f'the evaluation is one with the camera {found["camera"]}')
    step = found.get('env_step')
    if step is None:
        raise Unjudged('the evaluation does not tell its step: run `av-td3 evaluate` again')
    if step > LATER * run.env_steps:
        raise Unjudged(f'the evaluation is of step {step:,}, not of {run.env_steps:,}')
    return found['metrics']


def _random(run: Evidence) -> Tuple[float, str]:
    """Return the route completion of random actions, and where it is from."""
    for other in run.evaluation.get('others', ()):
        if other['policy'] == 'random' and 'route_completion' in other['metrics']:
            return other['metrics']['route_completion']['mean'], 'random'
    warm_up = run.settings.get('trainer.exploration.warmup_steps', 0)
    is_random = _episode(run, 'env_step') <= warm_up
    driven = _episode(run, 'route_completion')[is_random]
    if not len(driven):
        raise Unjudged('no episode of random actions: none evaluated, none within warm-up')
    # Many routes of a training are cut short, which are easier to complete by chance: as if each
    # had been as long as those that are measured are at least.
    shortest = run.settings.get('episode_manager.route_length_min', 0.0)
    lengths = _episode(run, 'route_length')[is_random]
    return float(np.mean(driven * np.minimum(lengths / max(shortest, 1e-9), 1.0))), 'warm-up'


def q_bounded(run: Evidence) -> _Measured:
    """Alerts of Q: beyond r_max / (1 - discount), or off the data."""
    return _raised(run, 'q_')


def collision_rate(run: Evidence) -> _Measured:
    """Episodes that end by collision, on an empty road."""
    limit = LIMITS['collision_rate']
    evaluated = _evaluated(run).get('collision_rate')
    if evaluated and run.evaluation.get('vehicles') == 0:
        rate, of = evaluated['mean'], 'the evaluation'
    elif run.settings.get('simulator.vehicles') == 0:
        reasons = _episode(run, 'reason')[-RECENT:]
        rate, of = float(np.mean(reasons == 'collision')), f'the last {len(reasons)}'
    else:
        raise Unjudged('no empty road: run `av-td3 evaluate` with simulator.vehicles=0')
    return _Measured(rate, f'{rate:.0%} of {of}', f'< {limit:.0%}', rate < limit)


# -- 50k ------------------------------------------------------------------------------------------


def feature_l2(run: Evidence) -> _Measured:
    """L2 norm of the image features, as actor and critics see them."""
    # Before a normalising head it is free to grow, and says nothing.
    names = ('feature_l2_seen', 'actor_feature_l2_seen')
    found = [_largest(run, name, LIMITS['feature_l2']) for name in names if name in run.metrics]
    if not found:
        raise Unjudged(f'{names[0]} was not recorded up to here')
    return max(found, key=lambda one: one.value)


def critic_loss(run: Evidence) -> _Measured:
    """Critic loss."""
    return _largest(run, 'critic_loss', LIMITS['critic_loss'])


def td_error(run: Evidence) -> _Measured:
    """TD error, median of the last third."""
    value, limit = _thirds(_metric(run, 'td_error'))[1], LIMITS['td_error']
    return _Measured(value, f'{value:.3g}', f'< {limit:g}', value < limit)


def encoder_gradient_ratio(run: Evidence) -> _Measured:
    """Gradient of the actor's encoder over that of the critic's."""
    limit = LIMITS['encoder_gradient_ratio']
    if run.settings.get('trainer.learner.network.shared_encoder'):
        return _Measured(0.0, 'one encoder for both', f'< {limit:g}', True)
    ratios = _metric(run, 'gradient_norm_actor_encoder') / _metric(run, 'gradient_norm_encoder')
    value = _thirds(ratios)[1]
    return _Measured(value, f'{value:.3g}', f'< {limit:g}', value < limit)


def no_alert(run: Evidence) -> _Measured:
    """Alerts of any kind."""
    return _raised(run, '')


STAGES: Dict[str, Tuple[Criterion, ...]] = {
    '2k': (q_policy_mean, q_policy_max, gradient_alerts, critic_loss_falling),
    '5k': (actor_clipped, critic_clipped, return_rising, length_not_falling, td_error_falling),
    '10k': (better_than_random, q_bounded, collision_rate),
    '50k': (feature_l2, critic_loss, td_error, encoder_gradient_ratio, no_alert),
}


# -- how they measure -----------------------------------------------------------------------------


def _metric(run: Evidence, name: str) -> np.ndarray:
    """Return a column of the metrics with its gaps; (n,) float64."""
    column = run.metrics.get(name)
    if column is None or np.isnan(column).all():
        raise Unjudged(f'{name} was not recorded up to here')
    return column


def _episode(run: Evidence, name: str) -> np.ndarray:
    """Return a column of the episodes that were not aborted; (n,) float64."""
    column, outcome = run.episodes.get(name), run.episodes.get('outcome')
    if column is None or outcome is None or not (outcome != 'aborted').any():
        raise Unjudged('no episode ended up to here')
    return column[outcome != 'aborted']


def _scale(run: Evidence) -> np.ndarray:
    """
    Return how large Q is; (n,) float64, never 0.

    Q, and with it every error of it, grows while the policy learns to earn: what must fall is the
    share.
    """
    size = np.fmax(np.abs(_metric(run, 'q_replay_mean')), np.abs(_metric(run, 'q_replay_max')))
    return np.maximum(size, 1e-3)


def _largest(run: Evidence, name: str, limit: float) -> _Measured:
    value = float(np.nanmax(np.abs(_metric(run, name))))
    figure = f'at most {value:.3g}' if math.isfinite(value) else 'not finite'
    return _Measured(value, figure, f'< {limit:.3g}', value < limit)


def _thirds(values: np.ndarray) -> Tuple[float, float]:
    """Return the medians of the first and of the last third of the values."""
    values = values[~np.isnan(values)]
    if len(values) < FEWEST:
        raise Unjudged(f'{len(values)} records up to here; {FEWEST} are needed')
    third = len(values) // 3
    return float(np.median(values[:third])), float(np.median(values[-third:]))


def _falling(values: np.ndarray) -> _Measured:
    first, last = _thirds(values)
    return _Measured(last, f'{first:.3g} to {last:.3g}', f'< {first:.3g}', last < first)


def _rising(values: np.ndarray, slack: float = 0.0) -> _Measured:
    """Compare the last third with the first; ``slack`` is the share that it may fall by."""
    first, last = _thirds(values)
    least = first - slack * abs(first)
    passed = last >= least if slack else last > least
    return _Measured(
        last, f'{first:.3g} to {last:.3g}', f'{">=" if slack else ">"} {least:.3g}', passed
    )


def _clipped(run: Evidence, step: str, groups: Sequence[str]) -> _Measured:
    """Compare the gradients of a step after the clip with the limit of the run."""
    kind = run.settings.get('trainer.learner.optimiser.clip', 'none')
    limit = LIMITS[f'{step}_clip']
    if kind != 'none':
        limit = float(run.settings.get(f'trainer.learner.optimiser.{step}_clip', limit))
    names = {
        'group_norm': [f'gradient_norm_{group}_clipped' for group in groups],
        'value': [f'gradient_max_{step}_clipped'],
    }.get(kind, [f'gradient_norm_{step}_total_clipped'])
    found = [name for name in names if name in run.metrics]
    values = np.concatenate([_metric(run, name) for name in found or names])
    value = float(np.nanmax(values))
    figure = f'at most {value:.3g}' if math.isfinite(value) else 'not finite'
    return _Measured(value, figure, f'<= {limit:g}', value <= ROUNDING * limit)


def _raised(run: Evidence, part: str) -> _Measured:
    if run.alerts is None:
        raise Unjudged('alerts were not recorded')
    ignored = str(run.settings.get('trainer.health.ignored', ''))
    if any(part in name for name in filter(None, ignored.split(','))):
        raise Unjudged(f'alerts are ignored: {ignored} (trainer.health.ignored)')
    names = [r['name'] for r in run.alerts if r['state'] == 'raised' and part in r['name']]
    listed = ', '.join(sorted(set(names)))
    figure = f'{len(names)}: {listed}' if names else '0'
    return _Measured(float(len(names)), figure, '0', not names)
