"""
One episode on one route: how each step is scored and when it ends.

Pure: states in, results out. The in-process environment and the episode manager both run this
class, so that a reward or an ending means the same with ROS and without.
"""

from typing import Dict, NamedTuple

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, VehicleState
from av_td3_ros.driving.reward import StepFacts, TERMS, score
from av_td3_ros.driving.route import Route, RoutePosition

STANDING_SPEED = 0.5
WRONG_WAY_ANGLE = 2.0


# What ``episodes.csv`` tells of an episode itself, in the graph and without it.
SUMMARY = (
    'length',
    'episode_return',
    'route_completion',
    'mean_speed',
    'mean_lateral_deviation',
    'max_jerk',
    'collisions',
    'lane_invasions',
)


class StepResult(NamedTuple):
    """The verdict on one step; ``terms`` are weighted and sum to ``reward``."""

    reward: float
    terms: Dict[str, float]
    outcome: Outcome
    reason: str
    position: RoutePosition


class Episode:
    """Scores the steps of one episode."""

    def __init__(
        self, config: EpisodeConfig, route: Route, start: VehicleState, period: float
    ) -> None:
        """
        :param config: reward weights and limits.
        :param route: the route to follow.
        :param start: state at step 0.
        :param period: time of a step, s.
        """
        self._config = config
        self._period = period
        self._tracker = route.tracker()
        self.route = route
        self.position = self._tracker.update(start.pose.x, start.pose.y, start.pose.yaw)
        self._start_distance = self.position.distance
        self._furthest = self.position.distance
        self._steering = 0.0
        self._speed = start.speed
        self._acceleration = 0.0
        self._off_road = self._wrong_way = self._standing = 0.0
        self._lateral_sum = self._speed_sum = 0.0
        self.length = 0
        self.episode_return = 0.0
        self.term_sums = {name: 0.0 for name in TERMS}
        self.max_jerk = 0.0
        self.collisions = 0
        self.lane_invasions = 0

    @property
    def route_completion(self) -> float:
        """Share of the route driven, [0, 1]."""
        whole = max(self.route.length - self._start_distance, 1e-6)
        return min(max((self._furthest - self._start_distance) / whole, 0.0), 1.0)

    @property
    def mean_speed(self) -> float:
        """Mean speed, m/s."""
        return self._speed_sum / max(self.length, 1)

    @property
    def mean_lateral_deviation(self) -> float:
        """Mean distance from the route, m."""
        return self._lateral_sum / max(self.length, 1)

    def step(
        self, state: VehicleState, steering: float, on_road: bool, collided: bool
    ) -> StepResult:
        """
        Score the step that led to a state.

        :param state: where the vehicle is now.
        :param steering: steering that was commanded in this step, [-1, 1].
        :param on_road: whether the vehicle's centre is on a driving lane.
        :param collided: whether it hit something in this step.
        """
        pose = state.pose
        position = self._tracker.update(pose.x, pose.y, pose.yaw)
        advance = position.distance - self.position.distance
        self.position = position
        self._furthest = max(self._furthest, position.distance)
        self.length += 1
        self._measure(state)

        self._off_road = 0.0 if on_road else self._off_road + self._period
        against = abs(position.heading_error) > WRONG_WAY_ANGLE
        self._wrong_way = self._wrong_way + self._period if against else 0.0
        standing = abs(state.speed) < STANDING_SPEED
        self._standing = self._standing + self._period if standing else 0.0
        self.collisions += collided
        outcome, reason = self._ending(position, collided)

        facts = StepFacts(
            advance,
            position.lateral_deviation,
            position.heading_error,
            state.speed,
            steering,
            self._steering,
            self._period,
            reason,
        )
        self._steering = steering
        terms = score(facts, self._config.reward)
        reward = sum(terms.values())
        self.episode_return += reward
        for name, value in terms.items():
            self.term_sums[name] += value
        return StepResult(reward, terms, outcome, reason, position)

    def _ending(self, position: RoutePosition, collided: bool) -> tuple:
        limits = self._config.termination
        if collided:
            reason = 'collision'
        elif position.remaining <= limits.goal_distance:
            reason = 'goal'
        elif abs(position.lateral_deviation) > limits.lane_exit:
            reason = 'lane_exit'
        elif self._off_road > limits.off_road_time:
            reason = 'off_road'
        elif self._wrong_way > limits.wrong_way_time:
            reason = 'wrong_way'
        elif self._standing > limits.standing_time:
            reason = 'standing_still'
        elif self.length >= limits.max_steps:
            return Outcome.TRUNCATED, 'time_limit'
        else:
            return Outcome.CONTINUES, ''
        return Outcome.TERMINATED, reason

    def _measure(self, state: VehicleState) -> None:
        acceleration = (state.speed - self._speed) / self._period
        if self.length > 1:
            jerk = abs(acceleration - self._acceleration) / self._period
            self.max_jerk = max(self.max_jerk, jerk)
        self._speed, self._acceleration = state.speed, acceleration
        self._speed_sum += state.speed
        self._lateral_sum += abs(self.position.lateral_deviation)
