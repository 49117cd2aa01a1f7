"""
A route through the road network: points about a metre apart, and where a vehicle is on it.

numpy alone; whoever plans the route (the embedded simulator, CARLA) is not known here.
"""

from dataclasses import dataclass
from typing import NamedTuple, Tuple

import numpy as np

from av_td3_ros.datatypes import Pose, wrap_angle

WINDOW_BEHIND = 10
WINDOW_AHEAD = 30


class RoutePosition(NamedTuple):
    """
    Where a vehicle is on a route.

    ``distance``: m along it. ``lateral_deviation``: m, left positive. ``heading_error``: vehicle
    minus route, rad in [-pi, pi). ``remaining``: m to the goal.
    """

    distance: float
    lateral_deviation: float
    heading_error: float
    remaining: float


@dataclass(frozen=True)
class Route:
    """
    ``points``: (n, 2) m in the map frame. ``yaw``: (n,) rad. ``distance``: (n,) m along the route.
    """

    points: np.ndarray
    yaw: np.ndarray
    distance: np.ndarray

    @classmethod
    def from_points(cls, points: np.ndarray) -> 'Route':
        """
        Make a route of at least two distinct points.

        :param points: (n, 2) m; repeated ones are dropped.
        :raises ValueError: for fewer than two distinct points.
        """
        points = np.asarray(points, np.float64).reshape(-1, 2)
        keep = np.ones(len(points), bool)
        keep[1:] = np.hypot(*np.diff(points, axis=0).T) > 1e-3
        points = points[keep]
        if len(points) < 2:
            raise ValueError(f'a route needs at least 2 distinct points, got {len(points)}')
        steps = np.diff(points, axis=0)
        yaw = np.arctan2(steps[:, 1], steps[:, 0])
        distance = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
        return cls(points, np.append(yaw, yaw[-1]), distance)

    @property
    def length(self) -> float:
        """Length, m."""
        return float(self.distance[-1])

    @property
    def start(self) -> Pose:
        """Pose at the beginning, on the ground."""
        return Pose(float(self.points[0, 0]), float(self.points[0, 1]), 0.0, float(self.yaw[0]))

    @property
    def goal(self) -> Tuple[float, float]:
        """The end, (x, y) m."""
        return float(self.points[-1, 0]), float(self.points[-1, 1])

    def tracker(self) -> 'RouteTracker':
        """Return something that follows a vehicle along this route."""
        return RouteTracker(self)


class RouteTracker:
    """
    Follows one vehicle; remembers where it was.

    Only a window around the last position is searched, so that a route may cross itself.
    """

    def __init__(self, route: Route) -> None:
        """:param route: to follow."""
        self._route = route
        self._segment = 0
        self._fresh = True

    def update(self, x: float, y: float, yaw: float) -> RoutePosition:
        """
        Project the vehicle on the nearest segment.

        :param x: m. :param y: m. :param yaw: rad, all in the map frame.
        """
        route = self._route
        last = len(route.points) - 1
        first = 0 if self._fresh else max(self._segment - WINDOW_BEHIND, 0)
        end = last if self._fresh else min(self._segment + WINDOW_AHEAD, last)
        self._fresh = False
        begin, step = (
            route.points[first:end],
            route.points[first + 1 : end + 1] - route.points[first:end],
        )
        offset = np.array((x, y)) - begin
        length2 = step[:, 0] ** 2 + step[:, 1] ** 2
        share = np.clip(
            (offset[:, 0] * step[:, 0] + offset[:, 1] * step[:, 1]) / length2, 0.0, 1.0
        )
        away = offset - share[:, None] * step
        best = int(np.argmin(away[:, 0] ** 2 + away[:, 1] ** 2))
        self._segment = first + best
        length = float(np.sqrt(length2[best]))
        side = float(step[best, 0] * offset[best, 1] - step[best, 1] * offset[best, 0]) / length
        inside = 0.0 < share[best] < 1.0
        lateral = side if inside else float(np.copysign(np.hypot(*away[best]), side))
        distance = float(route.distance[self._segment] + share[best] * length)
        return RoutePosition(
            distance,
            lateral,
            wrap_angle(yaw - float(route.yaw[self._segment])),
            route.length - distance,
        )

    def ahead(
        self, x: float, y: float, yaw: float, distance: float, count: int, spacing: float
    ) -> np.ndarray:
        """
        Return route points in the vehicle frame.

        :param distance: m along the route of the first. :param count: points. :param spacing: m
            between them.
        :returns: (count, 2) float32 m, x forward, y left; beyond the goal, the goal.
        """
        route = self._route
        at = np.minimum(distance + spacing * np.arange(count), route.length)
        dx = np.interp(at, route.distance, route.points[:, 0]) - x
        dy = np.interp(at, route.distance, route.points[:, 1]) - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=1).astype(np.float32)
