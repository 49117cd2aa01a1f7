"""
Go/no-go gates: what must hold before a run goes on to be a long one.

A stage has criteria, each a small function over what the run left behind up to that many steps; a
later stage includes the earlier ones. What cannot be judged does not pass. Limits: ``LIMITS``, on
the scale of the default reward; rules: docs/design/report.md.
"""

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.gate_evidence import (
    clipped,
    Columns,
    episode,
    Evidence,
    falling,
    largest,
    Measured,
    metric,
    raised,
    recorded,
    rising,
    scale,
    thirds,
    Unjudged,
)
from av_td3_ros.options import ConfigError

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
# Episodes may get shorter by this share: a route that is driven faster takes fewer steps.
SHORTER = 0.1
# Episodes that a rate is taken over.
RECENT = 20
# An evaluation is of a checkpoint, and those are made now and then: so much too early will do.
EARLIER = 1.2
# Episodes of an evaluation that say enough.
EVALUATED = 20


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


Criterion = Callable[[Evidence], Measured]


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


def q_policy_mean(run: Evidence) -> Measured:
    """Q of policy actions, mean."""
    return largest(run, 'q_policy_mean', LIMITS['q_policy_mean'])


def q_policy_max(run: Evidence) -> Measured:
    """Q of policy actions, max."""
    return largest(run, 'q_policy_max', LIMITS['q_policy_max'])


def gradient_alerts(run: Evidence) -> Measured:
    """Gradient alerts: exploded, gone, or not finite."""
    return raised(run, 'gradient', 'dead_actor', 'non_finite')


def critic_loss_falling(run: Evidence) -> Measured:
    """Critic loss over the square of the scale of Q, falling."""
    return falling(metric(run, 'critic_loss') / scale(run) ** 2)


# -- 5k -------------------------------------------------------------------------------------------


def actor_clipped(run: Evidence) -> Measured:
    """Actor gradient after the clip."""
    return clipped(run, 'actor', ('actor', 'actor_encoder'), LIMITS['actor_clip'])


def critic_clipped(run: Evidence) -> Measured:
    """Critic gradient after the clip."""
    return clipped(run, 'critic', ('critic', 'encoder', 'predictor'), LIMITS['critic_clip'])


def return_rising(run: Evidence) -> Measured:
    """Return of an episode, rising."""
    return rising(episode(run, 'episode_return'))


def length_not_falling(run: Evidence) -> Measured:
    """Steps of an episode, not falling."""
    return rising(episode(run, 'length'), SHORTER)


def td_error_falling(run: Evidence) -> Measured:
    """TD error over the scale of Q, falling."""
    return falling(metric(run, 'td_error') / scale(run))


# -- 10k ------------------------------------------------------------------------------------------


def better_than_random(run: Evidence) -> Measured:
    """Route completion of the evaluation, against random actions."""
    evaluation = _evaluated(run, 'route_completion')
    found = evaluation['metrics']['route_completion']
    low = found['low'] if math.isfinite(found['low']) else found['mean']
    random, of = _random(run, evaluation)
    figure = f'{found["mean"]:.1%}, at least {low:.1%}, step {evaluation["env_step"]:,}'
    return Measured(low, figure, f'> {random:.1%}, {of}', low > random)


def _evaluated(run: Evidence, metric: str, vehicles: Optional[int] = None) -> Mapping[str, Any]:
    """
    Return the evaluation that tells of a metric at this stage.

    It counts for the last stage that its step has reached, as a run that goes on is judged anew.

    :param vehicles: in its world; None for any.
    """
    later = [steps(stage) for stage in STAGES if steps(stage) > run.env_steps]
    reasons = []
    for found in run.evaluations:
        if metric not in found['metrics'] or vehicles not in (None, found.get('vehicles')):
            continue
        step, episodes = found.get('env_step'), found.get('episodes') or 0
        if found.get('camera', 'live') != 'live':
            reasons.append(f'the evaluation is one with the camera {found["camera"]}')
        elif step is None:
            reasons.append('the evaluation does not tell its step: run `av-td3 evaluate` again')
        elif not run.env_steps / EARLIER <= step < min(later, default=math.inf):
            reasons.append(f'the evaluation is of step {step:,}, not of {run.env_steps:,}')
        elif found.get('partial'):
            reasons.append('the evaluation was stopped before its end')
        elif episodes < EVALUATED:
            reasons.append(f'the evaluation is of {episodes} episodes; {EVALUATED} are needed')
        else:
            return found
    raise Unjudged(reasons[0] if reasons else 'no evaluation; run `av-td3 evaluate` on the run')


def _random(run: Evidence, evaluation: Mapping[str, Any]) -> Tuple[float, str]:
    """Return the route completion of random actions, and where it is from."""
    for other in evaluation.get('others', ()):
        if other['policy'] == 'random' and 'route_completion' in other['metrics']:
            return other['metrics']['route_completion']['mean'], 'random'
    warm_up = run.settings.get('trainer.exploration.warmup_steps', 0)
    is_random = episode(run, 'env_step') <= warm_up
    driven = episode(run, 'route_completion')[is_random]
    if not len(driven):
        raise Unjudged('no episode of random actions: none evaluated, none within warm-up')
    # Many routes of a training are cut short, which are easier to complete by chance: as if each
    # had been as long as those that are measured are at least.
    shortest = run.settings.get('episode_manager.route_length_min', 0.0)
    lengths = episode(run, 'route_length')[is_random]
    return float(np.mean(driven * np.minimum(lengths / max(shortest, 1e-9), 1.0))), 'warm-up'


def q_bounded(run: Evidence) -> Measured:
    """Alerts of Q: beyond r_max / (1 - discount), or off the data."""
    return raised(run, 'q_')


def collision_rate(run: Evidence) -> Measured:
    """Episodes that end by collision, on an empty road."""
    limit = LIMITS['collision_rate']
    try:
        found = _evaluated(run, 'collision_rate', vehicles=0)
        rate, of = found['metrics']['collision_rate']['mean'], 'the evaluation'
    except Unjudged as reason:
        if run.settings.get('simulator.vehicles') != 0:
            raise Unjudged(f'{reason}, with --vehicles 0') from reason
        reasons = episode(run, 'reason')[-RECENT:]
        if len(reasons) < RECENT:
            raise Unjudged(f'{len(reasons)} episodes up to here; {RECENT} are needed') from reason
        rate, of = float(np.mean(reasons == 'collision')), f'the last {len(reasons)}'
    return Measured(rate, f'{rate:.0%} of {of}', f'< {limit:.0%}', rate < limit)


# -- 50k ------------------------------------------------------------------------------------------


def feature_l2(run: Evidence) -> Measured:
    """L2 norm of the image features, before their head."""
    # A head that bounds them would hide an encoder that explodes.
    names = ('feature_l2', 'actor_feature_l2')
    found = [largest(run, name, LIMITS['feature_l2']) for name in recorded(run, names)]
    return max(found, key=lambda one: one.value)


def critic_loss(run: Evidence) -> Measured:
    """Critic loss."""
    return largest(run, 'critic_loss', LIMITS['critic_loss'])


def td_error(run: Evidence) -> Measured:
    """TD error, median of the last third."""
    value, limit = thirds(metric(run, 'td_error'))[1], LIMITS['td_error']
    return Measured(value, f'{value:.3g}', f'< {limit:g}', value < limit)


def encoder_gradient_ratio(run: Evidence) -> Measured:
    """Gradient of the actor's encoder over that of the critic's."""
    limit = LIMITS['encoder_gradient_ratio']
    if run.settings.get('trainer.learner.network.shared_encoder'):
        return Measured(0.0, 'one encoder for both', f'< {limit:g}', True)
    ratios = metric(run, 'gradient_norm_actor_encoder') / metric(run, 'gradient_norm_encoder')
    value = thirds(ratios)[1]
    return Measured(value, f'{value:.3g}', f'< {limit:g}', value < limit)


def no_alert(run: Evidence) -> Measured:
    """Alerts of any kind."""
    return raised(run, '')


STAGES: Dict[str, Tuple[Criterion, ...]] = {
    '2k': (q_policy_mean, q_policy_max, gradient_alerts, critic_loss_falling),
    '5k': (actor_clipped, critic_clipped, return_rising, length_not_falling, td_error_falling),
    '10k': (better_than_random, q_bounded, collision_rate),
    '50k': (feature_l2, critic_loss, td_error, encoder_gradient_ratio, no_alert),
}
