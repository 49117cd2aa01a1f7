"""
The reward: a weighted sum of named terms, each bounded in [-1, 1] before its weight, each logged
alone.

A new term is one function here, one weight in ``RewardConfig`` of the same name, one test.
"""

import math
from typing import Callable, Dict, NamedTuple

from av_td3_ros.config import RewardConfig

FAILURES = frozenset({'collision', 'lane_exit', 'off_road', 'wrong_way', 'standing_still'})
STEERING_RANGE = 2.0


class StepFacts(NamedTuple):
    """
    What happened in one step.

    ``advance``: metres gained along the route. ``lateral_deviation``: m, left positive.
    ``heading_error``: rad. ``speed``: m/s. ``steering``, ``last_steering``: [-1, 1].
    ``duration``: s. ``reason``: why the episode ended here, or ''.
    """

    advance: float
    lateral_deviation: float
    heading_error: float
    speed: float
    steering: float
    last_steering: float
    duration: float
    reason: str


Term = Callable[[StepFacts, RewardConfig], float]


def progress(step: StepFacts, config: RewardConfig) -> float:
    """
    Metres along the route over those at target speed, [-1, 1]: dense, so that standing still
    loses.
    """
    return _bounded(step.advance / (config.target_speed * step.duration))


def lateral_deviation(step: StepFacts, config: RewardConfig) -> float:
    """Minus the distance from the route over 2 m, [-1, 0]."""
    return -min(abs(step.lateral_deviation) / 2.0, 1.0)


def heading_error(step: StepFacts, config: RewardConfig) -> float:
    """Minus the angle to the route over a right angle, [-1, 0]."""
    return -min(abs(step.heading_error) / (math.pi / 2.0), 1.0)


def steering_change(step: StepFacts, config: RewardConfig) -> float:
    """Minus the change of steering over its range, [-1, 0]."""
    return -min(abs(step.steering - step.last_steering) / STEERING_RANGE, 1.0)


def overspeed(step: StepFacts, config: RewardConfig) -> float:
    """Minus the excess over the target speed, over that speed, [-1, 0]."""
    return -min(max(step.speed / config.target_speed - 1.0, 0.0), 1.0)


def failure(step: StepFacts, config: RewardConfig) -> float:
    """Minus one where the episode ends by a failure, else zero."""
    return -1.0 if step.reason in FAILURES else 0.0


def goal(step: StepFacts, config: RewardConfig) -> float:
    """One where the goal is reached, else zero."""
    return 1.0 if step.reason == 'goal' else 0.0


TERMS: Dict[str, Term] = {
    term.__name__: term
    for term in (
        progress,
        lateral_deviation,
        heading_error,
        steering_change,
        overspeed,
        failure,
        goal,
    )
}


def score(step: StepFacts, config: RewardConfig) -> Dict[str, float]:
    """Return every weighted term by name; the reward is their sum."""
    return {name: getattr(config, name) * term(step, config) for name, term in TERMS.items()}


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value))
