"""
The expert: follows a route with what the simulator knows, without learning.

Steering is pure pursuit (R. C. Coulter, Implementation of the Pure Pursuit Path Tracking
Algorithm, CMU-RI-TR-92-01, 1992), speed a PID controller, distance to others the Intelligent
Driver Model (M. Treiber, A. Hennecke, D. Helbing, Congested traffic states in empirical
observations and microscopic simulations, Phys. Rev. E 62, 2000). docs/design/expert.md has the
rest.
"""

import math
from typing import Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import VehicleState
from av_td3_ros.driving.expert_params import ExpertParams
from av_td3_ros.driving.expert_scene import GRID, RouteView, STANDING
from av_td3_ros.driving.route import Route

# No vehicle is faster, m/s; a row that moves more is another vehicle than before.
FASTEST = 50.0


class Expert:
    """
    Drives one car along a route.

    Deterministic: what it does follows from the route and the states since ``begin``.
    """

    def __init__(self, params: ExpertParams = ExpertParams(), period: float = 0.05) -> None:
        """
        :param params: of the car and the driving.
        :param period: time between two calls of :meth:`act`, s.
        """
        self._params = params
        self._period = period

    def begin(self, route: Route) -> None:
        """Begin to follow a route."""
        self._route, self._tracker = route, route.tracker()
        self._speeds = speed_limits(route, self._params).tolist()
        self._view = RouteView(route, self._params)
        self._wanted = 0.0
        self._reference: Optional[float] = None
        self._integral = self._last_error = 0.0
        self._stood = 0.0
        self._others: Optional[np.ndarray] = None

    def act(self, state: VehicleState, others: np.ndarray) -> Tuple[float, float]:
        """
        Choose an action.

        :param state: of the own car; its pose is the middle of its box.
        :param others: (n, 6) of the other vehicles: x, y (m), yaw (rad), length, width (m),
            speed (m/s).
        :returns: (steering, acceleration), each in [-1, 1].
        """
        pose = state.pose
        position = self._tracker.update(pose.x, pose.y, pose.yaw)
        self._stood = self._stood + self._period if abs(state.speed) < STANDING else 0.0
        wanted = self._free(state.speed, position.distance)
        if len(others):
            wanted = min(wanted, self._beside_others(state, position.distance, others))
        return self._steer(state, position.distance), self._pedal(state.speed, wanted)

    # -- steering ---------------------------------------------------------------------------------

    def _steer(self, state: VehicleState, distance: float) -> float:
        """
        Pursue a point ahead.

        Coulter steers the rear axle on the circle through the point; here it is the pose, which
        moves at an angle to the car (Rajamani, Vehicle Dynamics and Control, 2012, section 2.2).
        """
        p, pose = self._params, state.pose
        way = state.speed * p.preview
        yaw = pose.yaw + state.yaw_rate * p.preview
        heading = 0.5 * (pose.yaw + yaw)
        x, y = pose.x + way * math.cos(heading), pose.y + way * math.sin(heading)
        lookahead = p.lookahead + max(state.speed, 0.0) * p.lookahead_time
        there = distance + way + lookahead
        ahead, left = self._tracker.ahead(x, y, yaw, there, 1, 1.0)[0].tolist()
        if there > self._route.length:
            # Beyond the goal, which may lie behind, the route goes on straight.
            turn = float(self._route.yaw[-1]) - yaw
            cos, sin = math.cos(turn), math.sin(turn)
            beyond = there - self._route.length + max(-cos * ahead - sin * left, 0.0)
            ahead, left = ahead + beyond * cos, left + beyond * sin
        if ahead <= 0.0:
            return math.copysign(1.0, left)
        rear = p.rear_axle
        # tan of the angle between the car and the movement of its pose.
        slip = 2.0 * rear * left / (ahead * ahead + left * left + 2.0 * rear * ahead)
        return _bounded(math.atan(p.wheelbase / rear * slip) / p.max_steer, 1.0)

    # -- speed ------------------------------------------------------------------------------------

    def _free(self, speed: float, distance: float) -> float:
        """Return the acceleration on an empty road, m/s^2."""
        p = self._params
        there = distance + max(speed, 0.0) * p.speed_time
        limit = self._speeds[min(max(int(there / GRID), 0), len(self._speeds) - 1)]
        cruise = p.acceleration * (1.0 - (max(speed, 0.0) / p.target_speed) ** 4)
        return min(cruise, (limit - speed) / p.speed_time)

    def _beside_others(self, state: VehicleState, distance: float, others: np.ndarray) -> float:
        """Return the acceleration that others leave, m/s^2."""
        p, speed = self._params, max(state.speed, 0.0)
        wanted = math.inf
        scene = self._view.scene(state, distance, others, self._turning(others))
        for gap, other_speed in scene.leaders(p):
            wanted = min(wanted, follow(speed, gap, other_speed, p))
        for gap in scene.crossing(p, self._stood > p.patience):
            # The speed from which it stops there in comfort, as before a curve.
            most = math.sqrt(2.0 * p.deceleration * max(gap, 0.0))
            wanted = min(wanted, max((most - speed) / p.stop_time, -p.max_deceleration))
        return wanted

    def _turning(self, others: np.ndarray) -> np.ndarray:
        """Return the yaw rates of others from their last poses, (n,) rad/s."""
        last, self._others = self._others, others.copy()
        if last is None or len(last) != len(others):
            return np.zeros(len(others))
        step = others[:, :3] - last[:, :3]
        is_same = np.hypot(step[:, 0], step[:, 1]) < FASTEST * self._period
        turned = (step[:, 2] + math.pi) % (2.0 * math.pi) - math.pi
        return np.where(is_same, turned / self._period, 0.0)

    def _pedal(self, speed: float, wanted: float) -> float:
        """Reach an acceleration: limit its change, then control the speed that comes of it."""
        p, dt = self._params, self._period
        change = p.jerk * dt
        # Hard braking begins and ends at once.
        low = -math.inf if wanted < -p.deceleration else self._wanted - change
        high = max(self._wanted, -p.deceleration) + change
        self._wanted = min(max(wanted, low), high)
        last = speed if self._reference is None else self._reference
        self._reference = min(max(last + self._wanted * dt, speed - 1.0, 0.0), speed + 1.0)
        error = self._reference - speed
        slope, self._last_error = (error - self._last_error) / dt, error
        if self._wanted < 0.0 and speed < STANDING:
            self._integral = 0.0
        else:
            self._integral = _bounded(self._integral + p.i * error * dt, 1.0)
        total = self._wanted + p.p * error + self._integral + p.d * slope + p.coasting
        return _bounded(total / (p.max_acceleration if total > 0.0 else p.max_deceleration), 1.0)


def follow(speed: float, gap: float, other_speed: float, p: ExpertParams) -> float:
    """
    Return the acceleration of the IDM behind another car, m/s^2.

    :param speed: m/s. :param gap: m from bumper to bumper. :param other_speed: m/s.
    """
    dynamic = speed * p.time_gap + speed * (speed - other_speed) / (
        2.0 * math.sqrt(p.acceleration * p.deceleration)
    )
    wanted = p.standing_gap + max(dynamic, 0.0)
    free = 1.0 - (speed / p.target_speed) ** 4
    return max(p.acceleration * (free - (wanted / max(gap, 0.1)) ** 2), -p.max_deceleration)


def speed_limits(route: Route, p: ExpertParams) -> np.ndarray:
    """
    Return the speed to have at every metre: that of curves, reached by comfortable braking.

    :returns: (n,) float64 m/s.
    """
    distance = np.arange(0.0, route.length + GRID, GRID)
    yaw = np.interp(distance, route.distance, np.unwrap(route.yaw))
    turned = np.abs(
        np.interp(distance + 1.0, distance, yaw) - np.interp(distance - 1.0, distance, yaw)
    )
    curvature = np.maximum(turned / 2.0, 1e-6)
    speeds = np.minimum(np.sqrt(p.lateral_acceleration / curvature), p.target_speed)
    for i in range(len(speeds) - 2, -1, -1):
        speeds[i] = min(speeds[i], math.sqrt(speeds[i + 1] ** 2 + 2.0 * p.deceleration * GRID))
    return speeds


def _bounded(value: float, bound: float) -> float:
    return max(-bound, min(bound, value))
