"""
Which symptoms a run shows, from which update on, and how far they go: from its files alone.

Most symptoms are alerts of ``td3/health.py``, and ``alerts.csv`` says when one was raised. The
same monitor judges the records once more, with the power to halt: that says how far each figure
went, and where the run would have been halted. Three symptoms have no alert of their own.
"""

from collections import deque
from dataclasses import replace
import math
from typing import Any, Deque, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.gates import LIMITS
from av_td3_ros.learning_config import HealthConfig, LearnerConfig
from av_td3_ros.options import build
from av_td3_ros.report.runs import Run
from av_td3_ros.td3.health import HALT, Monitor, RAISED

# Actions that differ by less from image to image, in [-1, 1], are frozen where more than this
# share is saturated; a fresh policy makes no difference between images, too, but in the middle.
FROZEN, AT_THE_END = 0.01, 0.5
# Episodes have become short where they last less than this share of the longest mean before.
SHORT = 0.5
EPISODES = 10
LARGEST_REWARD = 'largest_reward'


class Symptom(NamedTuple):
    """``title``: for people, short. ``meaning``: one line. ``figure``: what is shown of it."""

    title: str
    meaning: str
    figure: str


SYMPTOMS: Dict[str, Symptom] = {
    'dead_actor': Symptom(
        'dead actor',
        'the actor is saturated and its MLP gets no gradient',
        'smallest gradient norm',
    ),
    'saturation': Symptom(
        'saturation', 'nearly all actions lie on the flat of the tanh', 'share of actions'
    ),
    'frozen_policy': Symptom(
        'frozen policy',
        f'saturated actions differ by less than {FROZEN:g} from image to image',
        'standard deviation',
    ),
    'q_gap': Symptom(
        'Q gap', 'Q of policy actions leaves Q of replayed ones', 'gap over size of Q'
    ),
    'q_unbounded': Symptom(
        'Q beyond bound', 'the largest Q is more than any policy can earn', 'over the bound'
    ),
    'feature_explosion': Symptom(
        'feature explosion', 'the image features of an encoder are too large', 'L2 norm'
    ),
    'gradient_explosion': Symptom(
        'gradient explosion', 'a gradient norm is too large, before the clip', 'norm'
    ),
    'encoder_imbalance': Symptom(
        'encoders apart',
        "the actor's own encoder gets gradients more than 10 times those of the critics'",
        'ratio of norms',
    ),
    'td_error_stuck': Symptom(
        'TD error flat', 'the TD error is as large as Q and does not fall', 'over size of Q'
    ),
    'return_collapse': Symptom(
        'return collapse', 'the mean return lost half of its best', 'share lost'
    ),
    'short_episodes': Symptom(
        'short episodes',
        f'{EPISODES} episodes last on average less than half of what they did',
        'share of the longest',
    ),
    'standing_still': Symptom('standing still', 'most episodes hardly move', 'share of episodes'),
    'reward_dominance': Symptom(
        'reward dominance', 'one term makes nearly all reward, routes are not driven', 'share'
    ),
    'non_finite': Symptom('not finite', 'a loss, gradient or metric is no number', ''),
}
# Where little is bad; of all others the largest figure is the worst.
SMALL_IS_BAD = ('dead_actor', 'frozen_policy', 'short_episodes')


class Finding(NamedTuple):
    """
    What a run shows of one symptom.

    ``update``, ``env_step``, ``value``: where it first appears, and its figure there; None where
    it does not. ``limit``: what the figure passed. ``worst``: the figure at its worst, NaN where
    it was not measured. ``halts_at``: update at which health would have ended the run for it.
    """

    symptom: str
    update: Optional[int] = None
    env_step: Optional[int] = None
    value: float = math.nan
    limit: float = math.nan
    worst: float = math.nan
    halts_at: Optional[int] = None


class _Record(NamedTuple):
    """Something that happened: a record of the learner, or an episode."""

    env_step: float
    update: float
    metrics: Mapping[str, float]
    episode: Optional[Mapping[str, Any]]


def find(run: Run) -> List[Finding]:
    """
    Return what a run shows of each symptom, in the order of ``SYMPTOMS``.

    :param run: a run, best one that was allowed to go on (``trainer.health.on_halt=warn``).
    :raises ConfigError: where its settings cannot be read.
    """
    found = {name: Finding(name) for name in SYMPTOMS}
    happened = _timeline(run)
    for name, change in _judged(run, happened).items():
        found[name] = found[name]._replace(**change)
    for row in run.alerts or ():
        name = row['name']
        if name not in found or row['state'] != RAISED:
            continue
        if found[name].update is None:
            found[name] = found[name]._replace(
                update=int(row['updates']),
                env_step=int(row['env_step']),
                value=float(row['value']),
                limit=float(row['limit']),
            )
        # It did end the run; of an update that went wrong there is no record to judge again.
        if row['action'] == HALT and found[name].halts_at is None:
            found[name] = found[name]._replace(halts_at=int(row['updates']))
    found['frozen_policy'] = _frozen_policy(happened)
    found['encoder_imbalance'] = _encoder_imbalance(happened)
    found['short_episodes'] = _short_episodes(happened)
    return list(found.values())


def halting(findings: List[Finding]) -> Optional[Finding]:
    """Return what would have ended the run first, or None."""
    ending = [finding for finding in findings if finding.halts_at is not None]
    return min(ending, key=lambda finding: finding.halts_at or 0, default=None)


def _timeline(run: Run) -> List[_Record]:
    """Return records and episodes since the first update, in the order in which they came."""
    happened = []
    metrics = run.metrics
    steps = metrics.get('env_step', np.empty(0))
    updates = metrics.get('updates', np.empty(0))
    for i in range(len(steps)):
        values = {
            name: float(column[i])
            for name, column in metrics.items()
            if name not in ('env_step', 'updates', 'seconds') and not math.isnan(column[i])
        }
        happened.append(_Record(float(steps[i]), float(updates[i]), values, None))
    if not happened:
        return []
    # Only records tell of updates: on the way to the first one they came at its rate.
    begun = float(run.settings.get('trainer.update_after', 0.0))
    at, count = np.insert(steps, 0, min(begun, steps[0])), np.insert(updates, 0, 0.0)
    driven = run.driven
    for i, step in enumerate(driven.get('env_step', ())):
        if step > begun:
            row = {name: column[i] for name, column in driven.items()}
            happened.append(_Record(float(step), float(np.interp(step, at, count)), {}, row))
    return sorted(happened, key=lambda item: (item.env_step, item.episode is not None))


def _judged(run: Run, happened: List[_Record]) -> Dict[str, Dict[str, Any]]:
    """Let the monitor of health judge again; return worst figures and ends by alert."""
    health = build(HealthConfig, _below(run, 'trainer.health.'), str(run.path))
    learner = build(LearnerConfig, _below(run, 'trainer.learner.'), str(run.path))
    monitor = Monitor(replace(health, on_halt=HALT), learner)
    # Of a run that is over its largest reward is known; a run knows it from when it came.
    monitor.reward(float(run.summary.get(LARGEST_REWARD, 0.0)))
    found: Dict[str, Dict[str, Any]] = {}
    for item in happened:
        if item.episode is None:
            changes = monitor.record(item.metrics)
        else:
            changes = monitor.episode(item.episode)
        for name, value in monitor.readings.items():
            worst = min if name in SMALL_IS_BAD else max
            known = found.setdefault(name, {'worst': value})
            known['worst'] = worst(known['worst'], value)
        for change in changes:
            if change.stops and change.action == HALT:
                found.setdefault(change.name, {}).setdefault('halts_at', int(item.update))
    return found


def _below(run: Run, prefix: str) -> Dict[str, Any]:
    return {
        key.removeprefix(prefix): value
        for key, value in run.settings.items()
        if key.startswith(prefix)
    }


def _frozen_policy(happened: List[_Record]) -> Finding:
    """Judge how much saturated actions differ over a batch: so many records in a row."""
    figures = [
        (item, item.metrics['action_std'])
        for item in happened
        if item.metrics.get('tanh_saturation', 0.0) > AT_THE_END and 'action_std' in item.metrics
    ]
    return _first('frozen_policy', figures, FROZEN, HealthConfig().saturation_patience)


def _encoder_imbalance(happened: List[_Record]) -> Finding:
    """Judge the gradient norms of both encoders, before the clip: three records in a row."""
    above, below = 'gradient_norm_actor_encoder', 'gradient_norm_encoder'
    figures = [
        (item, item.metrics[above] / max(item.metrics[below], 1e-9))
        for item in happened
        if above in item.metrics and below in item.metrics
    ]
    name, patience = 'encoder_imbalance', HealthConfig().patience
    return _first(name, figures, LIMITS['encoder_gradient_ratio'], patience)


def _short_episodes(happened: List[_Record]) -> Finding:
    """Judge the mean length of the newest episodes, over the largest such mean so far."""
    lengths: Deque[float] = deque(maxlen=EPISODES)
    figures: List[Tuple[_Record, float]] = []
    longest = 0.0
    for item in happened:
        if item.episode is not None:
            lengths.append(float(item.episode['length']))
            if len(lengths) == EPISODES:
                mean = float(np.mean(lengths))
                longest = max(longest, mean)
                figures.append((item, mean / longest))
    return _first('short_episodes', figures, SHORT, 1)


def _first(
    name: str, figures: List[Tuple[_Record, float]], limit: float, patience: int
) -> Finding:
    """Return where figures were beyond a limit so many times in a row."""
    worst = min if name in SMALL_IS_BAD else max
    finding = Finding(name, worst=worst((value for _, value in figures), default=math.nan))
    beyond = 0
    for item, value in figures:
        bad = value < limit if name in SMALL_IS_BAD else value > limit
        beyond = beyond + 1 if bad else 0
        if beyond == patience:
            return finding._replace(
                update=int(item.update), env_step=int(item.env_step), value=value, limit=limit
            )
    return finding
