"""
The reward: a weighted sum of named terms, each bounded before its weight, each logged alone.

A new term is one function here, one weight in ``RewardConfig`` of the same name, one test. The
first paragraph of a term says what it is and ends with its bounds, its last says where it is from;
docs/design/task.md has all of them in one table, written by ``tools/write_tables.py``.
"""

import math
from typing import Callable, Dict, NamedTuple, Tuple

from av_td3_ros.task_config import RewardConfig

FAILURES = frozenset({'collision', 'lane_exit', 'off_road', 'wrong_way', 'standing_still'})
STEERING_RANGE = 2.0
# Beyond this distance from the route a lane of 3.5 to 4 m ends, m.
HALF_LANE = 2.0
WAYPOINT_SPACING = 2.0
# The edge of the lane repels within this distance, m.
REPELLED = 1.0
ROACH_STEERING, ROACH_ACTION = 0.01, 0.1


class StepFacts(NamedTuple):
    """
    What happened in one step.

    ``advance``: metres gained along the route. ``lateral_deviation``: m, left positive.
    ``heading_error``: rad. ``speed``: m/s. ``steering``, ``last_steering``: [-1, 1].
    ``duration``: s. ``reason``: why the episode ended here, or ''. ``terminated``: whether it
    ended for good rather than at its step limit. ``remaining``, ``last_remaining``: m to the goal.
    ``furthest``, ``last_furthest``: m along the route, of the whole episode. ``route_length``: m.
    ``jerk``: of the forward speed, m/s^3. ``lateral_acceleration``: m/s^2.
    """

    advance: float
    lateral_deviation: float
    heading_error: float
    speed: float
    steering: float
    last_steering: float
    duration: float
    reason: str
    terminated: bool
    remaining: float
    last_remaining: float
    furthest: float
    last_furthest: float
    route_length: float
    jerk: float
    lateral_acceleration: float


Term = Callable[[StepFacts, RewardConfig], float]


# -- by default -----------------------------------------------------------------------------------


def progress(step: StepFacts, config: RewardConfig) -> float:
    """
    Metres along the route over those at target speed, so that standing still loses: advance /
    (v* dt), [-1, 1].

    Source: the distance term of CARLA's own agent, Dosovitskiy et al. 2017.
    """
    return _bounded(step.advance / (config.target_speed * step.duration))


def lateral_deviation(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus the distance from the route over half a lane: -|d| / 2 m, [-1, 0].

    Source: lane keeping, r_position of Zhang et al. 2021 (Roach).
    """
    return -min(abs(step.lateral_deviation) / HALF_LANE, 1.0)


def heading_error(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus the angle to the route over a right angle: -|alpha| / (pi / 2), [-1, 0].

    Source: lane keeping, r_rotation of Zhang et al. 2021, with a bound.
    """
    return -min(abs(step.heading_error) / (math.pi / 2.0), 1.0)


def steering_change(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus the change of steering over its range: -|steer - last steer| / 2, [-1, 0].

    Source: comfort.
    """
    return -min(abs(step.steering - step.last_steering) / STEERING_RANGE, 1.0)


def overspeed(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus the excess over the target speed, over that speed: -(v / v* - 1), [-1, 0].

    Source: efficiency.
    """
    return -min(max(step.speed / config.target_speed - 1.0, 0.0), 1.0)


def collision(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus one where the episode ends by a collision, [-1, 0].

    Source: safety.
    """
    return _ended(step, 'collision')


def lane_exit(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus one where it ends because the vehicle left its lane, [-1, 0].

    Source: safety.
    """
    return _ended(step, 'lane_exit')


def off_road(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus one where it ends beside the road, [-1, 0].

    Source: safety.
    """
    return _ended(step, 'off_road')


def wrong_way(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus one where it ends against the direction of the route, [-1, 0].

    Source: safety.
    """
    return _ended(step, 'wrong_way')


def standing_still(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus one where it ends because the vehicle stood still, [-1, 0].

    Source: efficiency.
    """
    return _ended(step, 'standing_still')


def goal(step: StepFacts, config: RewardConfig) -> float:
    """
    One where the goal is reached, [0, 1].

    Source: the task.
    """
    return 1.0 if step.reason == 'goal' else 0.0


# -- on offer -------------------------------------------------------------------------------------


def waypoint(step: StepFacts, config: RewardConfig) -> float:
    """
    One in each step that passes another 2 m of the route for the first time, [0, 1].

    Source: the task; first passages alone count, so that driving to and fro earns nothing.
    """
    passed = math.floor(step.furthest / WAYPOINT_SPACING)
    return 1.0 if passed > math.floor(step.last_furthest / WAYPOINT_SPACING) else 0.0


def goal_distance(step: StepFacts, config: RewardConfig) -> float:
    """
    Potential-based shaping: gamma P(next) - P, P = -(way left) / (length of the route) and nought
    once the episode has terminated, [-1, 1].

    Which policy is the best does not change, as long as gamma is that of the learner.

    Source: Ng, Harada, Russell 1999; P of the end: Grzes 2017.
    """
    left = 0.0 if step.terminated else step.remaining
    potential, last = -left / step.route_length, -step.last_remaining / step.route_length
    return _bounded(config.shaping_discount * potential - last)


def efficiency(step: StepFacts, config: RewardConfig) -> float:
    """
    One at the target speed, nought standing or at twice that: 1 - |v - v*| / v*, [0, 1].

    Source: r_speed of Zhang et al. 2021, with a lower bound.
    """
    return max(1.0 - abs(step.speed - config.target_speed) / config.target_speed, 0.0)


def jerk(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus the change of acceleration over its limit: -|j| / 5 m/s^3, [-1, 0].

    Source: the limit is that of UN Regulation 79 for automated steering.
    """
    return -min(abs(step.jerk) / config.jerk_limit, 1.0)


def lateral_acceleration(step: StepFacts, config: RewardConfig) -> float:
    """
    Minus speed times yaw rate over its limit: -|v r| / 3 m/s^2, [-1, 0].

    Source: the limit is that of UN Regulation 79 for automated steering.
    """
    return -min(abs(step.lateral_acceleration) / config.lateral_acceleration_limit, 1.0)


def perot(step: StepFacts, config: RewardConfig) -> float:
    """
    Speed along the lane, less that times the distance from its centre: v / v* (cos alpha -
    |d| / 1 m), [-1, 1].

    Source: Perot, Jaritz, Toromanoff, de Charette 2017.
    """
    along = math.cos(step.heading_error) - abs(step.lateral_deviation)
    return _bounded(step.speed / config.target_speed * along)


def potential_field(step: StepFacts, config: RewardConfig) -> float:
    """
    The edges of the lane repel: -(1 m / r - 1)^2 within r = 1 m of an edge, 2 m beside the route,
    [-1, 0].

    Source: the repulsive potential of Khatib 1986, cut at 1, which it reaches at r = 0.5 m.
    """
    room = HALF_LANE - abs(step.lateral_deviation)
    if room >= REPELLED:
        return 0.0
    return -1.0 if room <= REPELLED / 2.0 else -((REPELLED / room - 1.0) ** 2)


def roach(step: StepFacts, config: RewardConfig) -> float:
    """
    Speed, place, angle and calm steering at once: 1 - |v - v*| / v* - |d| / 2 m -
    |alpha| - 0.1 (where the steering changed by more than 0.01), [-1, 1].

    Its wish to stand before hazards and red lights needs what the graph does not know.

    Source: Zhang et al. 2021 (Roach), without its terminal part: that is in terms of their own.
    """
    speed = 1.0 - abs(step.speed - config.target_speed) / config.target_speed
    place = abs(step.lateral_deviation) / HALF_LANE + abs(step.heading_error)
    restless = abs(step.steering - step.last_steering) > ROACH_STEERING
    return _bounded(speed - place - ROACH_ACTION * restless)


# -------------------------------------------------------------------------------------------------


TERMS: Dict[str, Term] = {
    term.__name__: term
    for term in (
        progress,
        lateral_deviation,
        heading_error,
        steering_change,
        overspeed,
        collision,
        lane_exit,
        off_road,
        wrong_way,
        standing_still,
        goal,
        waypoint,
        goal_distance,
        efficiency,
        jerk,
        lateral_acceleration,
        perot,
        potential_field,
        roach,
    )
}


class Reward:
    """Scores steps by the terms that have a weight; the others cost nothing."""

    def __init__(self, config: RewardConfig) -> None:
        """:param config: the weights."""
        self._config = config
        weights = {name: getattr(config, name) for name in TERMS}
        self._active = [(name, weight, TERMS[name]) for name, weight in weights.items() if weight]

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of the terms that have a weight, in the order of :data:`TERMS`."""
        return tuple(name for name, _, _ in self._active)

    def score(self, step: StepFacts) -> Dict[str, float]:
        """Return every weighted term by name; the reward is their sum."""
        return {name: weight * term(step, self._config) for name, weight, term in self._active}


def _ended(step: StepFacts, reason: str) -> float:
    return -1.0 if step.reason == reason else 0.0


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value))
