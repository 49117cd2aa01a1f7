"""
What is judged: a function for each alert, from measured quantities to one figure and its limits.

The symptoms are those of a system whose training diverged unseen; limits are ``HealthConfig``.
Features are judged as actor and critics see them. Before a normalising head their norm is free to
grow, 4 to 83 in healthy runs, and is judged by limits of its own: far above, the head hides an
encoder that has gone blind.
"""

from collections import deque
import math
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.learning_config import HealthConfig, LearnerConfig
from av_td3_ros.td3.metrics import reward_shares

# An alert is not cleared before its figure is this share of the limit: no flapping around it.
CALM = 0.8
# Q below this share of its bound counts as this large: early ratios of two small numbers say
# nothing.
SMALLEST_Q = 0.05
# What a head forgives: features before it may be as many times as large.
BEFORE_HEAD = 100.0
# Standard errors by which a return must have fallen to have fallen at all.
SIGNIFICANT = 3.0
# The TD error has fallen where its mean is below this share of what it was.
FALLEN = 0.9
# Share of the routes below which most of them are not driven.
DRIVEN = 0.5


class Reading(NamedTuple):
    """
    One figure of health.

    ``value``: the figure. ``warn``, ``halt``: its limits; equal where there is one only.
    ``fires``: further conditions hold. ``calm``: it is well below its limit. ``patience``: figures
    in a row that raise it, where those of all alerts are too few.
    """

    value: float
    warn: float
    halt: float
    fires: bool = True
    calm: Optional[bool] = None
    patience: int = 1

    @property
    def over_warn(self) -> bool:
        """Whether it is beyond its limit."""
        return self.fires and self.value > self.warn

    @property
    def over_halt(self) -> bool:
        """Whether it is beyond the limit to halt."""
        return self.fires and self.value > self.halt

    @property
    def is_calm(self) -> bool:
        """Whether an alert may be cleared."""
        return self.value <= CALM * self.warn if self.calm is None else self.calm


class History:
    """What the checks remember beside the newest record."""

    def __init__(self, config: HealthConfig, learner: LearnerConfig) -> None:
        """Begin with nothing seen."""
        self.config = config
        self.largest_reward = 0.0
        self.td_errors: Deque[float] = deque(maxlen=config.records)
        self.episodes: Deque[Mapping[str, Any]] = deque(maxlen=config.episodes)
        self.best: Optional[Tuple[float, float]] = None  # mean return, its standard error
        self._scale = learner.reward_scale / (1.0 - learner.discount)

    @property
    def q_bound(self) -> float:
        """
        r_max / (1 - discount), the largest value that a policy can have.

        n-step targets have the same: their rewards sum to at most r_max (1 - discount^n) / (1 -
        discount), and the bootstrap weighs discount^n.
        """
        return (self.config.reward_bound or self.largest_reward) * self._scale

    def add_record(self, metrics: Mapping[str, float]) -> None:
        """Take a record of the learner."""
        if 'td_error' in metrics:
            self.td_errors.append(metrics['td_error'] / max(_size(metrics), 1e-9))

    def add_episode(self, row: Mapping[str, Any]) -> None:
        """Take a finished episode, as for ``episodes.csv``."""
        self.episodes.append(row)
        now = self.mean_return()
        if now is not None and (self.best is None or now[0] > self.best[0]):
            self.best = now

    def q_size(self, metrics: Mapping[str, float]) -> float:
        """Return how large Q of replayed actions is, at least a share of its bound."""
        return max(_size(metrics), SMALLEST_Q * self.q_bound, 1e-9)

    def mean_return(self) -> Optional[Tuple[float, float]]:
        """Return mean and standard error of the newest returns; None before there are enough."""
        if len(self.episodes) < self.config.episodes:
            return None
        returns = [float(row['episode_return']) for row in self.episodes]
        return float(np.mean(returns)), float(np.std(returns, ddof=1)) / math.sqrt(len(returns))

    def state(self) -> Dict[str, Any]:
        """Return what a resumed run must know, as JSON data."""
        return {'largest_reward': self.largest_reward, 'best': self.best}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with what :meth:`state` returned."""
        self.largest_reward = float(state['largest_reward'])
        self.best = tuple(state['best']) if state['best'] else None

    def forget(self) -> None:
        """Judge anew, as after a roll-back; what rewards and returns can be stays known."""
        self.td_errors.clear()
        self.episodes.clear()


Metrics = Mapping[str, float]


def q_unbounded(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge the largest |Q| of replayed and of policy actions, over its bound."""
    names = [f'q_{of}_{which}' for of in ('replay', 'policy') for which in ('min', 'max')]
    values = [abs(metrics[name]) for name in names if name in metrics]
    if not values or not seen.q_bound:
        return None
    return Reading(max(values) / seen.q_bound, seen.config.q_warn, seen.config.q_halt)


def q_gap(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge how far Q of policy actions is from Q of replayed ones, over the size of these."""
    if 'q_policy_mean' not in metrics:
        return None
    gap = abs(metrics['q_policy_mean'] - metrics['q_replay_mean']) / seen.q_size(metrics)
    return Reading(gap, seen.config.gap_warn, seen.config.gap_halt)


def feature_explosion(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge the L2 norm of the image features: as seen, and before their head."""
    config = seen.config
    readings = []
    for name, factor in (('feature_l2_seen', 1.0), ('feature_l2', BEFORE_HEAD)):
        names = [known for known in metrics if known.endswith(name)]
        limits = factor * config.feature_warn, factor * config.feature_halt
        readings.append(_largest(names, metrics, *limits))
    found = [reading for reading in readings if reading is not None]
    return max(found, key=lambda reading: reading.value / reading.warn, default=None)


def gradient_explosion(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge the gradient norms before the clip."""
    return _largest(
        [
            name
            for name in metrics
            if name.startswith('gradient_norm_') and not name.endswith('_clipped')
        ],
        metrics,
        seen.config.gradient_warn,
        seen.config.gradient_halt,
    )


def saturation(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge the share of actor outputs on the flat of the tanh."""
    if 'tanh_saturation' not in metrics:
        return None
    limit = seen.config.saturation
    patience = seen.config.saturation_patience
    return Reading(metrics['tanh_saturation'], limit, limit, patience=patience)


def dead_actor(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge the gradient of a saturated actor: where it vanished the actor never moves again."""
    if 'tanh_saturation' not in metrics:
        return None
    limit, gradient = seen.config.dead_gradient, metrics['gradient_norm_actor']
    saturated = metrics['tanh_saturation'] > seen.config.saturation
    calm = not saturated or gradient > limit / CALM
    # The smaller the worse: turned round, so that beyond a limit means above it.
    return Reading(-gradient, -limit, -limit, fires=saturated, calm=calm)


def td_error_stuck(seen: History, metrics: Metrics) -> Optional[Reading]:
    """Judge a TD error that is as large as Q and does not fall, over the last records."""
    if len(seen.td_errors) < seen.config.records:
        return None
    errors, half = list(seen.td_errors), seen.config.records // 2
    before, now = float(np.mean(errors[:half])), float(np.mean(errors[half:]))
    return Reading(now, seen.config.td_error, seen.config.td_error, fires=now > FALLEN * before)


def return_collapse(seen: History) -> Optional[Reading]:
    """
    Judge what the mean return lost since its best, over that best, or over the standard deviation
    of the returns where that is more: a best near 0 is no measure.
    """
    now = seen.mean_return()
    if now is None or seen.best is None:
        return None
    lost = seen.best[0] - now[0]
    spread = max(now[1], seen.best[1]) * math.sqrt(seen.config.episodes)
    size = max(abs(seen.best[0]), spread, 1e-9)
    real = lost > SIGNIFICANT * math.hypot(now[1], seen.best[1])
    return Reading(lost / size, seen.config.return_drop, seen.config.return_drop, fires=real)


def standing_still(seen: History) -> Optional[Reading]:
    """Judge the share of episodes that hardly moved."""
    newest = list(seen.episodes)[-max(seen.config.episodes // 2, 1) :]
    if len(newest) < seen.config.episodes // 2:
        return None
    slow = [float(row['mean_speed']) < seen.config.standing_speed for row in newest]
    limit = seen.config.standing_share
    return Reading(float(np.mean(slow)), limit, limit)


def reward_dominance(seen: History) -> Optional[Reading]:
    """
    Judge the share of the largest reward term, where most of the routes are not driven.

    A good driver earns nearly all by progress, too; dominance is a fault where it comes without
    arriving.
    """
    if len(seen.episodes) < seen.config.episodes:
        return None
    totals: Dict[str, float] = {}
    for row in seen.episodes:
        for key, value in row.items():
            if key.startswith('reward_'):
                totals[key] = totals.get(key, 0.0) + abs(float(value))
    share = max(reward_shares(totals).values(), default=0.0)
    driven = float(np.mean([float(row['route_completion']) for row in seen.episodes]))
    limit = seen.config.reward_share
    calm = share <= CALM * limit or driven >= DRIVEN / CALM
    return Reading(share, limit, limit, fires=driven < DRIVEN, calm=calm)


def _size(metrics: Metrics) -> float:
    return abs(metrics['q_replay_mean']) + metrics['q_replay_std']


def _largest(names: List[str], metrics: Metrics, warn: float, halt: float) -> Optional[Reading]:
    if not names:
        return None
    return Reading(max(metrics[name] for name in names), warn, halt)


# Judged with every record of the learner, and with every finished episode.
OF_RECORDS: Dict[str, Callable[[History, Metrics], Optional[Reading]]] = {
    check.__name__: check
    for check in (
        q_unbounded,
        q_gap,
        feature_explosion,
        gradient_explosion,
        saturation,
        dead_actor,
        td_error_stuck,
    )
}
OF_EPISODES: Dict[str, Callable[[History], Optional[Reading]]] = {
    check.__name__: check for check in (return_collapse, standing_still, reward_dominance)
}
