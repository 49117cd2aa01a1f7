"""
What is measured of an episode, from its states alone: the same figures in the graph and without.

Leaderboard scores: CARLA leaderboard, ``leaderboard/utils/statistics_manager.py``, and
https://leaderboard.carla.org/evaluation_v2_1. Time to collision: J. C. Hayward, Near-miss
determination through use of a scale of danger, Highway Research Record 384, 1972.
"""

import math
from typing import Any, Dict, Mapping, NamedTuple, Tuple

import numpy as np

from av_td3_ros.datatypes import VehicleState
from av_td3_ros.driving.route import RoutePosition
from av_td3_ros.driving.trail import Trail

STANDING_SPEED = 0.5
# Farthest that two vehicles are followed, each with the velocity that it has, s.
HORIZON = 10.0
# A box is covered by so many circles along its length, that of a truck not quite
# (docs/evaluation.md).
CIRCLES = 3
# What one infraction of a kind costs, by version of the leaderboard. This world has no
# pedestrians, traffic lights, stop signs or scenarios; the others' mean speed is not known.
PENALTIES: Dict[str, Dict[str, float]] = {
    '1.0': {'vehicle_collisions': 0.60, 'static_collisions': 0.65},
    '2.0': {'vehicle_collisions': 0.60, 'static_collisions': 0.65},
    '2.1': {'vehicle_collisions': 0.70, 'static_collisions': 0.60},
}


class StepExtras(NamedTuple):
    """
    What only some worlds know of a step.

    ``hit_vehicle``: whether the thing that was hit is a vehicle. ``lane_invaded``: whether a
    marking was crossed. ``in_traffic``: whether there are other vehicles in this world.
    ``time_to_collision``: s, at most ``HORIZON``; NaN where nobody knows where the others are, and
    in training, where nobody asks.
    """

    hit_vehicle: bool = False
    lane_invaded: bool = False
    in_traffic: bool = False
    time_to_collision: float = math.nan


class Measures:
    """Adds up the steps of one episode; ``standing``: s since it moved; ``trail``: its way."""

    def __init__(self, start: VehicleState, period: float) -> None:
        """:param start: state at step 0. :param period: time of a step, s."""
        self._period = period
        self._last = start
        self.trail = Trail(start.pose)
        self._acceleration = 0.0
        self._lateral = self._heading = self._speed = self._sideways = self._jerk = 0.0
        self._off_road = 0.0
        self.standing = 0.0
        self.length = 0
        self.distance = 0.0
        self.max_jerk = 0.0
        self.max_lateral_acceleration = 0.0
        self.longest_standing = 0.0
        self.min_time_to_collision = math.nan
        self.vehicle_collisions = 0
        self.static_collisions = 0
        self.lane_invasions = 0

    def add(
        self,
        state: VehicleState,
        position: RoutePosition,
        on_road: bool,
        collided: bool,
        extras: StepExtras,
    ) -> None:
        """
        Add the step that led to a state.

        :param state: where the vehicle is now. :param position: the same, along the route.
        :param on_road: whether its centre is on a driving lane.
        :param collided: whether it hit something.
        """
        last, self._last = self._last, state
        self.trail.add(state.pose)
        self.length += 1
        way = math.hypot(state.pose.x - last.pose.x, state.pose.y - last.pose.y)
        self.distance += way
        self._off_road += 0.0 if on_road else way
        self._lateral += abs(position.lateral_deviation)
        self._heading += abs(position.heading_error)
        self._add_motion(state, last)
        self.vehicle_collisions += collided and extras.hit_vehicle
        self.static_collisions += collided and not extras.hit_vehicle
        self.lane_invasions += extras.lane_invaded
        # fmin: of a number and NaN, the number.
        self.min_time_to_collision = float(
            np.fmin(self.min_time_to_collision, extras.time_to_collision)
        )

    def _add_motion(self, state: VehicleState, last: VehicleState) -> None:
        acceleration = (state.speed - last.speed) / self._period
        if self.length > 1:
            jerk = abs(acceleration - self._acceleration) / self._period
            self._jerk += jerk
            self.max_jerk = max(self.max_jerk, jerk)
        self._acceleration = acceleration
        self._speed += state.speed
        sideways = abs(state.speed * state.yaw_rate)
        self._sideways += sideways
        self.max_lateral_acceleration = max(self.max_lateral_acceleration, sideways)
        stands = abs(state.speed) < STANDING_SPEED
        self.standing = self.standing + self._period if stands else 0.0
        self.longest_standing = max(self.longest_standing, self.standing)

    @property
    def collisions(self) -> int:
        """Steps in which something was hit."""
        return self.vehicle_collisions + self.static_collisions

    def summary(self) -> Dict[str, float]:
        """
        Return every figure by name, in SI units.

        ``mean_...`` are means over steps, of absolute values where there is a sign; lateral
        acceleration is speed times yaw rate; jerk is the second difference of the speed;
        ``off_road_share`` is the share of the way that was driven beside the lanes.
        """
        steps = max(self.length, 1)
        return {
            'duration': self.length * self._period,
            'distance': self.distance,
            'mean_speed': self._speed / steps,
            'mean_lateral_deviation': self._lateral / steps,
            'mean_heading_error': self._heading / steps,
            'mean_jerk': self._jerk / max(self.length - 1, 1),
            'max_jerk': self.max_jerk,
            'mean_lateral_acceleration': self._sideways / steps,
            'max_lateral_acceleration': self.max_lateral_acceleration,
            'longest_standing': self.longest_standing,
            'off_road_share': self._off_road / self.distance if self.distance > 0.0 else 0.0,
            'min_time_to_collision': self.min_time_to_collision,
            'collisions': self.collisions,
            'vehicle_collisions': self.vehicle_collisions,
            'static_collisions': self.static_collisions,
            'lane_invasions': self.lane_invasions,
        }


def driving_score(row: Mapping[str, Any], version: str) -> float:
    """
    Return the leaderboard's score of one episode, [0, 1]: route completion times penalty.

    :param row: an episode as ``Episode.summary`` and ``evaluation.csv`` have it.
    :param version: a key of ``PENALTIES``.
    """
    counts = {kind: float(row[kind]) for kind in PENALTIES[version]}
    costs = PENALTIES[version]
    if version == '2.1':
        penalty = 1.0 / (1.0 + sum(costs[kind] * count for kind, count in counts.items()))
    else:
        penalty = math.prod(costs[kind] ** count for kind, count in counts.items())
    on_lanes = 1.0 - min(max(float(row['off_road_share']), 0.0), 1.0)
    return float(row['route_completion']) * penalty * on_lanes


def time_to_collision(state: VehicleState, size: Tuple[float, float], others: np.ndarray) -> float:
    """
    Return when the vehicle would first touch another, each going on with its velocity.

    :param state: of the vehicle; its pose is the middle of its box.
    :param size: its length and width, m.
    :param others: (n, 6) float64: x, y (m), yaw (rad), length, width (m), speed (m/s).
    :returns: s, at most ``HORIZON``, which also stands for never.
    """
    if not len(others):
        return HORIZON
    pose = state.pose
    own = np.array([[pose.x, pose.y, pose.yaw, *size, state.speed]])
    points, velocity, radius = _circles(own)
    their_points, their_velocity, their_radius = _circles(others)
    # (n, own circle, other circle, xy)
    apart = their_points[:, None, :, :] - points[0][None, :, None, :]
    closing = (their_velocity - velocity)[:, None, None, :]
    reach = (their_radius + radius)[:, None, None]
    # |apart + closing t| = reach
    a = (closing * closing).sum(-1)
    b = (apart * closing).sum(-1)
    c = (apart * apart).sum(-1) - reach * reach
    root = b * b - a * c
    meets = (root >= 0.0) & (b < 0.0)
    time = np.full(c.shape, HORIZON)
    np.divide(-b - np.sqrt(np.maximum(root, 0.0)), a, out=time, where=meets)
    time[c <= 0.0] = 0.0
    return float(np.clip(time, 0.0, HORIZON).min())


def _circles(boxes: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cover (n, 6) boxes: centres (n, CIRCLES, 2) m, velocities (n, 2) m/s, radii (n,) m."""
    x, y, yaw, length, width, speed = boxes.T
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    radius = width / 2.0
    # The outermost touch the bumpers; corners stick out a little.
    reach = np.maximum(length / 2.0 - radius, 0.0)
    along = reach[:, None] * np.linspace(-1.0, 1.0, CIRCLES)
    centres = np.stack([x, y], axis=1)[:, None, :] + along[:, :, None] * ahead[:, None, :]
    return centres, speed[:, None] * ahead, radius
