"""
What the expert sees: the route ahead, who is on it, and who will cross it.
"""

import math
from typing import Iterator, NamedTuple, Tuple

import numpy as np

from av_td3_ros.datatypes import VehicleState
from av_td3_ros.driving.expert_params import ExpertParams
from av_td3_ros.driving.route import Route

# Step of what is known along the route, and how far ahead it is looked at, m.
GRID = 1.0
RANGE = 45
# Below this a vehicle stands, m/s.
STANDING = 0.3
# Where a vehicle is looked at, as shares of its length and width from its middle.
SPOTS = np.array([(a / 4.0, b / 2.0) for a in range(-2, 3) for b in range(-1, 2)])
# Vehicles that move nearly along the route do not cross it: sine of the smallest angle that does.
CROSSING = 0.5
# Others are predicted in steps of so many s, for every second point of the route (every fourth to
# find who is near at all); a turn that goes on ends at so many rad.
PREDICTED_EVERY = 0.5
COARSE = 2
ROUGH = 4
LARGEST_TURN = 1.0


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
        self._room = p.width / 2.0 + p.side + swing
        self._horizon = p.horizon

    def scene(
        self, state: VehicleState, distance: float, others: np.ndarray, turning: np.ndarray
    ) -> 'Scene':
        """
        Return what matters now.

        :param state: of the own car. :param distance: of it along the route, m.
        :param others: (n, 6) as for :meth:`Expert.act`. :param turning: (n,) their yaw rates.
        """
        first = min(int(distance / GRID), len(self._yaw) - 1)
        part = slice(first, first + RANGE)
        points = self._points[part]
        rough = points[::ROUGH]
        dx, dy = others[:, :1] - rough[:, 0], others[:, 1:2] - rough[:, 1]
        away = np.sqrt((dx * dx + dy * dy).min(axis=1)) - (others[:, 3] + others[:, 4]) / 2.0
        near = away < others[:, 5] * self._horizon + ROUGH * GRID
        return Scene(
            state,
            distance - first * GRID,
            others[near],
            turning[near],
            away[near],
            points,
            self._yaw[part],
            self._room[part],
        )


class Scene(NamedTuple):
    """
    The route ahead and the vehicles near it.

    ``state``: of the own car. ``begun``: m of the route's first step that are driven. ``others``:
    (n, 6). ``turning``: (n,) rad/s. ``away``: (n,) m, about how far from the route. ``points``:
    (k, 2) m of the route. ``yaw``: (k,) rad. ``room``: (k,) m that the own car needs on either
    side.
    """

    state: VehicleState
    begun: float
    others: np.ndarray
    turning: np.ndarray
    away: np.ndarray
    points: np.ndarray
    yaw: np.ndarray
    room: np.ndarray

    def leaders(self, p: ExpertParams) -> Iterator[Tuple[float, float]]:
        """
        Yield the gap (m, bumper to bumper) and the speed along the route (m/s) of those on it.

        A vehicle is on it where a point of its sides is as near to the route as the own side is,
        which swings out in curves.
        """
        others = self.others[self.away < p.width + ROUGH * GRID]
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

    def crossing(self, p: ExpertParams, impatient: bool) -> Iterator[float]:
        """
        Yield the gaps (m) to the places to wait at for those that will cross first.

        :param impatient: slow ones wait for the own car, and the others get no margin.
        """
        slowest, margin = (p.patient_speed, 0.0) if impatient else (STANDING, p.margin)
        meant = np.flatnonzero((self.others[:, 5] > slowest) & ~self._follows())
        if not len(meant):
            return
        others = self.others[meant]
        x, y, yaw = predict(others, self.turning[meant], p)
        cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
        # As far as the own car may come meanwhile.
        part = slice(0, int(p.target_speed * p.horizon / GRID) + 1, COARSE)
        points, route_yaw = self.points[part], self.yaw[part]
        dx, dy = points[:, 0] - x[..., None], points[:, 1] - y[..., None]
        length, width, speed = (others[:, k, None, None] for k in (3, 4, 5))
        # What a box covers between two of its predicted places.
        reach = (length + p.width + speed * PREDICTED_EVERY) / 2.0
        met = np.abs(cos * dx + sin * dy) < reach
        met &= np.abs(cos * dy - sin * dx) < (width + p.width) / 2.0 + p.side
        met &= np.abs(sin * np.cos(route_yaw) - cos * np.sin(route_yaw)) > CROSSING
        when, where = met.any(axis=2), met.any(axis=1)
        (comes, goes), (begins, ends) = _span(when), _span(where)
        for i in np.flatnonzero(when.any(axis=1)).tolist():
            comes_at = (comes[i] - 0.5) * PREDICTED_EVERY
            gone_at = (goes[i] + 0.5) * PREDICTED_EVERY
            begin = begins[i] * COARSE * GRID - self.begun - p.length / 2.0
            end = ends[i] * COARSE * GRID - self.begun + p.length / 2.0
            is_first = self._time(end, p) + margin < comes_at
            is_free = gone_at + margin < self._time(begin, p)
            if begin > 0.0 and not is_first and not is_free:
                yield float(begin) - p.wait_before

    def _follows(self) -> np.ndarray:
        """Whether others drive behind the own car, (n,) bool."""
        pose = self.state.pose
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        ahead = cos * (self.others[:, 0] - pose.x) + sin * (self.others[:, 1] - pose.y)
        return (ahead < 0.0) & (np.cos(self.others[:, 2] - pose.yaw) > 0.5)

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


def predict(
    others: np.ndarray, turning: np.ndarray, p: ExpertParams
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return where vehicles will be: they keep their speed and turn on, but by no more than a bend.

    :param others: (n, 6) as for :meth:`Expert.act`. :param turning: (n,) rad/s.
    :returns: x, y (m), yaw (rad), each (n, k), every ``PREDICTED_EVERY`` s from now on.
    """
    count = int(p.horizon / PREDICTED_EVERY) + 1
    time = PREDICTED_EVERY * np.arange(count)
    yaw = others[:, 2, None] + np.clip(turning[:, None] * time, -LARGEST_TURN, LARGEST_TURN)
    middle = 0.5 * (yaw[:, 1:] + yaw[:, :-1])
    step = others[:, 5, None] * PREDICTED_EVERY
    x, y = np.empty_like(yaw), np.empty_like(yaw)
    x[:, 0], y[:, 0] = others[:, 0], others[:, 1]
    x[:, 1:] = x[:, :1] + np.cumsum(step * np.cos(middle), axis=1)
    y[:, 1:] = y[:, :1] + np.cumsum(step * np.sin(middle), axis=1)
    return x, y, yaw


def _span(flags: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the first and the last True of every row; (n,) int64 each."""
    return flags.argmax(axis=1), flags.shape[1] - 1 - flags[:, ::-1].argmax(axis=1)
