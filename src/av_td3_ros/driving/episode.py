"""
One episode on one route: how each step is scored and when it ends.

Pure: states in, results out. The in-process environment and the episode manager both run this
class, so that a reward or an ending means the same with ROS and without.
"""

from typing import Any, Dict, NamedTuple

import numpy as np

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, VehicleState
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.measures import Measures, StepExtras
from av_td3_ros.driving.reward import Reward, StepFacts
from av_td3_ros.driving.route import Route, RoutePosition
from av_td3_ros.task_config import PRIVILEGED

WRONG_WAY_ANGLE = 2.0


# What ``episodes.csv`` tells of an episode itself, in the graph and without it.
SUMMARY = (
    'length',
    'episode_return',
    'route_completion',
    'duration',
    'distance',
    'mean_speed',
    'mean_lateral_deviation',
    'mean_heading_error',
    'mean_jerk',
    'max_jerk',
    'mean_lateral_acceleration',
    'max_lateral_acceleration',
    'longest_standing',
    'off_road_share',
    'min_time_to_collision',
    'collisions',
    'vehicle_collisions',
    'static_collisions',
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
        self._state = start
        self.route = route
        self.position = self._tracker.update(start.pose.x, start.pose.y, start.pose.yaw)
        self._start_distance = self.position.distance
        self._furthest = self.position.distance
        self._steering = 0.0
        self._speeds = start.speed, start.speed
        self.measures = Measures(start, period)
        self._off_road = self._wrong_way = 0.0
        self.episode_return = 0.0
        self._reward = Reward(config.reward)
        self.term_sums = {name: 0.0 for name in self._reward.names}

    @property
    def route_completion(self) -> float:
        """Share of the route driven, [0, 1]; all of it where the goal counts as reached."""
        if self.position.remaining <= self._config.termination.goal_distance:
            return 1.0
        whole = max(self.route.length - self._start_distance, 1e-6)
        return min(max((self._furthest - self._start_distance) / whole, 0.0), 1.0)

    def privileged(self) -> np.ndarray:
        """
        Return what the learner is told of the vehicle beside its route, after the last step.

        :returns: (23,) float32, ``PRIVILEGED_NAMES``, normalised as in an observation.
        """
        return preprocess.state_vector(PRIVILEGED, self._state, 0.0, self._tracker)[0]

    @property
    def length(self) -> int:
        """Steps so far."""
        return self.measures.length

    @property
    def summary(self) -> Dict[str, Any]:
        """What is told of the episode, by the names in ``SUMMARY``."""
        return {
            'length': self.length,
            'episode_return': self.episode_return,
            'route_completion': self.route_completion,
            **self.measures.summary(),
        }

    def step(
        self,
        state: VehicleState,
        steering: float,
        on_road: bool,
        collided: bool,
        extras: StepExtras = StepExtras(),
    ) -> StepResult:
        """
        Score the step that led to a state.

        :param state: where the vehicle is now.
        :param steering: steering that was commanded in this step, [-1, 1].
        :param on_road: whether the vehicle's centre is on a driving lane.
        :param collided: whether it hit something in this step.
        :param extras: what else is known of this step.
        """
        pose = state.pose
        position = self._tracker.update(pose.x, pose.y, pose.yaw)
        last, self.position, self._state = self.position, position, state
        furthest, self._furthest = self._furthest, max(self._furthest, position.distance)
        self.measures.add(state, position, on_road, collided, extras)

        self._off_road = 0.0 if on_road else self._off_road + self._period
        against = abs(position.heading_error) > WRONG_WAY_ANGLE
        self._wrong_way = self._wrong_way + self._period if against else 0.0
        outcome, reason = self._ending(position, collided, extras.in_traffic)

        facts = StepFacts(
            advance=position.distance - last.distance,
            lateral_deviation=position.lateral_deviation,
            heading_error=position.heading_error,
            speed=state.speed,
            steering=steering,
            last_steering=self._steering,
            duration=self._period,
            reason=reason,
            terminated=outcome is Outcome.TERMINATED,
            remaining=position.remaining,
            last_remaining=last.remaining,
            furthest=self._furthest,
            last_furthest=furthest,
            route_length=self.route.length,
            jerk=self._jerk(state.speed),
            lateral_acceleration=state.speed * state.yaw_rate,
        )
        self._steering = steering
        terms = self._reward.score(facts)
        reward = sum(terms.values())
        self.episode_return += reward
        for name, value in terms.items():
            self.term_sums[name] += value
        return StepResult(reward, terms, outcome, reason, position)

    def _jerk(self, speed: float) -> float:
        """Return the second difference of the speed, m/s^3; nought in the first step."""
        older, last = self._speeds
        self._speeds = last, speed
        return (speed - 2.0 * last + older) / self._period**2 if self.length > 1 else 0.0

    def _ending(self, position: RoutePosition, collided: bool, in_traffic: bool) -> tuple:
        limits = self._config.termination
        # Whoever waits for others may stand longer; where they are is not known in every world.
        standing_time = limits.standing_time_in_traffic if in_traffic else limits.standing_time
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
        elif self.measures.standing > standing_time:
            reason = 'standing_still'
        elif self.length >= limits.max_steps:
            return Outcome.TRUNCATED, 'time_limit'
        else:
            return Outcome.CONTINUES, ''
        return Outcome.TERMINATED, reason
