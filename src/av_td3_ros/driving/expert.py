"""
The expert: follows a route with what the simulator knows, without learning.

Steering is pure pursuit (R. C. Coulter, Implementation of the Pure Pursuit Path Tracking
Algorithm, CMU-RI-TR-92-01, 1992), speed a PID controller, distance to others the Intelligent
Driver Model (M. Treiber, A. Hennecke, D. Helbing, Congested traffic states in empirical
observations and microscopic simulations, Phys. Rev. E 62, 2000). docs/design/expert.md has the
rest.
"""

from dataclasses import dataclass
import math
from typing import Iterator, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import VehicleState
from av_td3_ros.driving.route import Route

# Step of what is known along the route, and how far ahead it is looked at, m.
GRID = 1.0
RANGE = 45
STANDING = 0.3
# Room at the side of another vehicle, m.
SIDE = 0.3
# Where a vehicle is looked at, as shares of its length and width from its middle.
SPOTS = np.array([(a / 4.0, b / 2.0) for a in range(-2, 3) for b in range(-1, 2)])
# Vehicles that move nearly along the route do not cross it: sine of the smallest angle that does.
CROSSING = 0.5


@dataclass(frozen=True)
class ExpertParams:
    """
    What the expert knows of its car, and how it drives. SI units.

    The car: ``length``, ``width``: of its box. ``wheelbase``. ``rear_axle``: from the rear axle to
    the pose. ``max_steer``: angle of the front wheels at steering 1, rad. ``max_acceleration``,
    ``max_deceleration``: about what full throttle and full brake do. ``coasting``: deceleration
    without pedals. They need not be exact: the integral part of the PID makes up for it.

    Steering: ``preview``: s, the car is taken to be where it will be then, which makes up for the
    delay of its steering. ``lookahead_time``, ``lookahead``: the point that is pursued is as far
    along the route as is driven in that time, plus that distance (Coulter tunes one distance).

    Speed: ``target_speed``. ``lateral_acceleration``: comfortable in curves (ISO 15622 allows
    2.3 m/s^2 to adaptive cruise control). ``acceleration``, ``deceleration``, ``time_gap``,
    ``standing_gap``: a, b, T, s0 of the IDM, whose paper has 0.73, 1.67, 1.6 and 2 for motorways.
    ``jerk``: largest change of acceleration, m/s^3, but for braking harder than b.
    ``speed_time``: s in which the speed wanted there is reached. ``p``, ``i``, ``d``: of the PID,
    1/s, 1/s^2 and 1.

    Crossing traffic: ``horizon``: s that others are predicted for, straight on. ``margin``: s
    between two cars at one place. ``patience``: s of standing after which those below
    ``patient_speed`` have to wait.
    """

    length: float = 4.6
    width: float = 1.9
    wheelbase: float = 2.6
    rear_axle: float = 1.3
    max_steer: float = 0.61
    max_acceleration: float = 3.0
    max_deceleration: float = 10.0
    coasting: float = 0.13
    preview: float = 0.1
    lookahead_time: float = 0.3
    lookahead: float = 1.5
    target_speed: float = 8.33
    lateral_acceleration: float = 1.8
    acceleration: float = 1.5
    deceleration: float = 1.67
    time_gap: float = 1.2
    standing_gap: float = 2.0
    jerk: float = 4.0
    speed_time: float = 0.8
    p: float = 0.8
    i: float = 0.3
    d: float = 0.0
    horizon: float = 4.0
    margin: float = 1.0
    patience: float = 2.0
    patient_speed: float = 2.0


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
        self._tracker = route.tracker()
        self._speeds = speed_limits(route, self._params).tolist()
        self._view = RouteView(route, self._params)
        self._wanted = 0.0
        self._reference: Optional[float] = None
        self._integral = self._last_error = 0.0
        self._stood = 0.0

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
        ahead, left = self._tracker.ahead(x, y, yaw, distance + way + lookahead, 1, 1.0)[0]
        away2 = float(ahead * ahead + left * left)
        rear = p.rear_axle
        # tan of the angle between the car and the movement of its pose.
        slip = 2.0 * rear * float(left) / max(away2 + 2.0 * rear * float(ahead), 0.1)
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
        scene = self._view.scene(state, distance, others)
        for gap, other_speed in scene.leaders(p):
            wanted = min(wanted, follow(speed, gap, other_speed, p))
        slowest = STANDING if self._stood < p.patience else p.patient_speed
        for gap in scene.crossing(p, slowest):
            wanted = min(wanted, follow(speed, gap, 0.0, p))
        return wanted

    def _pedal(self, speed: float, wanted: float) -> float:
        """Reach an acceleration: limit its change, then control the speed that comes of it."""
        p, dt = self._params, self._period
        change = p.jerk * dt
        low = -math.inf if wanted < -p.deceleration else self._wanted - change
        self._wanted = min(max(wanted, low), self._wanted + change)
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


class RouteView:
    """The route in steps of a metre, to see others on."""

    def __init__(self, route: Route, p: ExpertParams) -> None:
        """:param route: that is driven. :param p: of the car that drives it."""
        at = np.arange(0.0, route.length + GRID, GRID)
        tracker = route.tracker()
        self._points = tracker.ahead(0.0, 0.0, 0.0, 0.0, len(at), GRID).astype(np.float64)
        self._yaw = np.interp(at, route.distance, np.unwrap(route.yaw))
        # On a circle the corners of a car run outside its sides by length^2 / (8 radius).
        swing = p.length**2 / 8.0 * np.abs(np.gradient(self._yaw, GRID))
        self._room = p.width / 2.0 + SIDE + swing

    def scene(self, state: VehicleState, distance: float, others: np.ndarray) -> 'Scene':
        """
        Return what matters now.

        :param state: of the own car. :param distance: of it along the route, m.
        :param others: (n, 6) as for :meth:`Expert.act`.
        """
        pose = state.pose
        dx, dy = others[:, 0] - pose.x, others[:, 1] - pose.y
        near = others[dx * dx + dy * dy < (RANGE + 15.0) ** 2]
        first = min(int(distance / GRID), len(self._yaw) - 1)
        part = slice(first, first + RANGE)
        return Scene(
            state,
            distance - first * GRID,
            near,
            self._points[part],
            self._yaw[part],
            self._room[part],
        )


class Scene(NamedTuple):
    """
    The route ahead and the vehicles near it.

    ``state``: of the own car. ``begun``: m of the route's first step that are driven. ``others``:
    (n, 6). ``points``: (k, 2) m of the route. ``yaw``: (k,) rad. ``room``: (k,) m that the own car
    needs on either side.
    """

    state: VehicleState
    begun: float
    others: np.ndarray
    points: np.ndarray
    yaw: np.ndarray
    room: np.ndarray

    def leaders(self, p: ExpertParams) -> Iterator[Tuple[float, float]]:
        """
        Yield the gap (m, bumper to bumper) and the speed along the route (m/s) of those on it.

        A vehicle is on it where a point of its sides is as near to the route as the own side is,
        which swings out in curves.
        """
        coarse = self.points[::4]
        dx, dy = self.others[:, :1] - coarse[:, 0], self.others[:, 1:2] - coarse[:, 1]
        reach = (self.others[:, 3] + self.others[:, 4]) / 2.0 + p.width + 2.0 * GRID
        others = self.others[(dx * dx + dy * dy).min(axis=1) < reach * reach]
        x, y, yaw, length, width, _ = (column[:, None] for column in others.T)
        cos, sin = np.cos(yaw), np.sin(yaw)
        ahead, left = SPOTS[:, 0] * length, SPOTS[:, 1] * width
        dx = (x + cos * ahead - sin * left)[..., None] - self.points[:, 0]
        dy = (y + sin * ahead + cos * left)[..., None] - self.points[:, 1]
        away2 = dx * dx + dy * dy
        at = away2.argmin(axis=2)
        met = (away2.min(axis=2) < self.room[at] ** 2) & (at > 0)
        for i in np.flatnonzero(met.any(axis=1)):
            # The spot that the own car comes to first, between the points of the route.
            spots = np.flatnonzero(met[i])
            spot = spots[np.argmin(at[i, spots])]
            place = at[i, spot]
            yaw_there = self.yaw[place]
            beyond = dx[i, spot, place] * math.cos(yaw_there) + dy[i, spot, place] * math.sin(
                yaw_there
            )
            along = others[i, 5] * math.cos(others[i, 2] - yaw_there)
            gap = place * GRID + beyond - self.begun - p.length / 2.0
            yield float(gap), max(float(along), 0.0)

    def crossing(self, p: ExpertParams, slowest: float) -> Iterator[float]:
        """
        Yield the gaps (m) to the places to wait at for those that will cross first.

        Others are taken to go straight on as they do now; the own car to drive as fast as it may.

        :param slowest: m/s; slower ones wait for the own car.
        """
        x, y, yaw, length, width, speed = (column[:, None] for column in self.others.T)
        cos, sin = np.cos(yaw), np.sin(yaw)
        dx, dy = self.points[:, 0] - x, self.points[:, 1] - y
        ahead, left = cos * dx + sin * dy, cos * dy - sin * dx
        reach = (length + p.width) / 2.0
        met = np.abs(left) < (width + p.width) / 2.0 + SIDE
        met &= (ahead > 0.0) & (ahead < speed * p.horizon + reach) & (speed > slowest)
        met &= np.abs(np.sin(self.yaw - yaw)) > CROSSING
        for i in np.flatnonzero(met.any(axis=1)):
            if self._is_behind(i):
                continue
            at = np.flatnonzero(met[i])
            begin = at[0] * GRID - self.begun - p.length / 2.0
            end = at[-1] * GRID - self.begun + p.length / 2.0
            comes = max(float((ahead[i, at].min() - reach[i, 0]) / speed[i, 0]), 0.0)
            goes = float((ahead[i, at].max() + reach[i, 0]) / speed[i, 0])
            is_free = self._time(end, p) + p.margin < comes or goes + p.margin < self._time(
                begin, p
            )
            if begin > 0.0 and not is_free:
                yield begin - p.margin

    def _is_behind(self, i: int) -> bool:
        """Whether another vehicle follows the own car."""
        pose, (x, y, yaw) = self.state.pose, self.others[i, :3]
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        return cos * (x - pose.x) + sin * (y - pose.y) < 0.0 and math.cos(yaw - pose.yaw) > 0.5

    def _time(self, way: float, p: ExpertParams) -> float:
        """Return how long the own car takes for so many metres, s."""
        speed = max(self.state.speed, 0.0)
        way = max(way, 0.0)
        top = math.sqrt(speed * speed + 2.0 * p.acceleration * way)
        if top <= p.target_speed:
            return (top - speed) / p.acceleration
        gained = max(p.target_speed - speed, 0.0) / p.acceleration
        rest = way - gained * (speed + p.target_speed) / 2.0
        return gained + rest / max(p.target_speed, speed)


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
