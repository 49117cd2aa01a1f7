"""
The road network: any OpenDRIVE file, read by ``carla.Map``, and routes through it.

CARLA's axes are left-handed; they are turned right-handed here and nowhere else: everything that
comes out is in the map frame, x forward, y left.
"""

from dataclasses import dataclass
import functools
import math
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.datatypes import wrap_angle
from av_td3_ros.driving.opendrive import Key, lanes_beside, MapError, read
from av_td3_ros.driving.route import Route
from av_td3_ros.resources import share

SHIPPED = 'town'
SPACING = 1.0
TRIES = 300
END_CLEARANCE = 5.0
NO_MARKING, NO_MARKING_CODE = 'NONE', 10
DRIVING = 'Driving'


class LanePoint(NamedTuple):
    """
    One cross-section of a lane.

    ``x``, ``y``, ``z``: centre, m. ``yaw``: rad. ``width``: m. ``kind``: CARLA's lane type, such
    as Driving or Sidewalk. ``left``, ``right``: (type, colour) of the markings. ``s``: m along the
    road.
    """

    x: float
    y: float
    z: float
    yaw: float
    width: float
    kind: str
    left: Tuple[str, str]
    right: Tuple[str, str]
    s: float


@dataclass(frozen=True)
class Lane:
    """
    A lane section: its cross-sections in driving order.

    ``junction``: id of its junction, -1 outside one. ``successors``: lanes that a vehicle may go
    on to from its end; empty for what is not driven on.
    """

    key: Key
    kind: str
    junction: int
    successors: Tuple[Key, ...]
    points: List[LanePoint]

    @property
    def is_junction(self) -> bool:
        """Whether it crosses a junction."""
        return self.junction >= 0

    @functools.cached_property
    def centre(self) -> np.ndarray:
        """Middle line, (n, 3) float64 m."""
        return np.array([(p.x, p.y, p.z) for p in self.points])

    @functools.cached_property
    def yaw(self) -> np.ndarray:
        """Driving direction at each cross-section, (n,) float64 rad in [-pi, pi)."""
        return np.array([wrap_angle(p.yaw) for p in self.points])

    @functools.cached_property
    def width(self) -> np.ndarray:
        """Width at each cross-section, (n,) float64 m."""
        return np.array([p.width for p in self.points])


class LanePosition(NamedTuple):
    """
    Where a point is on a lane.

    ``left``: m to the left of its centre. ``width``: of the lane, m. ``left_marking``,
    ``right_marking``: as ``CarlaLaneInvasionEvent`` codes them, 0 to 10.
    """

    key: Key
    is_junction: bool
    left: float
    width: float
    left_marking: int
    right_marking: int

    @property
    def is_off(self) -> bool:
        """Whether the point is beside the lane."""
        return abs(self.left) > self.width / 2


class RoadMap:
    """Lanes, and routes along them."""

    def __init__(self, name: str, opendrive: str) -> None:
        """
        Read a road network.

        :param name: such as ``Town01``.
        :param opendrive: text of the OpenDRIVE file.
        :raises MapError: where it is none, or has no drivable lane.
        """
        self.name = name
        self.opendrive = opendrive
        self._waypoints: Dict[Key, List[Any]] = {}
        self._points: Dict[Key, np.ndarray] = {}
        self._graph = nx.DiGraph()
        self._carla = _import_carla()
        self._root = read(name, opendrive)
        try:
            self._map = self._carla.Map(name, opendrive)
            self._build_graph()
        except (RuntimeError, IndexError) as error:
            raise MapError(
                f'map {name} must be OpenDRIVE that CARLA reads, got: {error}; check the ' 'file'
            ) from None
        if not self._waypoints:
            raise MapError(f'map {name} must have drivable lanes, got none; check the file')

    @classmethod
    def load(cls, map: str) -> 'RoadMap':
        """
        Read the shipped map, for ``'town'``, or an OpenDRIVE file.

        :raises MapError: where there is no such file, or it is no map.
        """
        path = share('maps', f'{SHIPPED}.xodr') if map == SHIPPED else Path(map)
        try:
            return cls(path.stem, path.read_text())
        except OSError as error:
            raise MapError(
                f"map must be '{SHIPPED}' or an OpenDRIVE file, got {path}: {error.strerror}; "
                'set it with --map (simulator.map)'
            ) from None
        except UnicodeDecodeError:
            raise MapError(
                f'map must be OpenDRIVE (XML text), got {path}; set it with --map '
                '(simulator.map)'
            ) from None

    # -- lanes ------------------------------------------------------------------------------------

    def on_road(self, x: float, y: float) -> bool:
        """Return whether (x, y), m, is on a driving lane."""
        return self._waypoint(x, y, project=False) is not None

    def lane_at(self, x: float, y: float) -> LanePosition:
        """
        Return where a point is on the driving lane nearest to it.

        :param x: m. :param y: m.
        """
        w = self._waypoint(x, y)
        place, yaw = w.transform.location, -math.radians(w.transform.rotation.yaw)
        left = (y + place.y) * math.cos(yaw) - (x - place.x) * math.sin(yaw)
        return LanePosition(
            _key(w),
            w.is_junction,
            left,
            w.lane_width,
            _code(w.left_lane_marking),
            _code(w.right_lane_marking),
        )

    @functools.cached_property
    def lanes(self) -> Tuple[Lane, ...]:
        """Every driving lane, then shoulders, sidewalks and what else lies beside them."""
        return tuple(self._sampled())

    def _sampled(self) -> Iterator[Lane]:
        for key, waypoints in self._waypoints.items():
            successors = tuple(self._graph.successors(key))
            yield Lane(
                key, DRIVING, _junction(waypoints[0]), successors, [_point(w) for w in waypoints]
            )
        for key, begin, end in lanes_beside(self._root):
            places = np.linspace(begin, end, max(math.ceil((end - begin) / SPACING) + 1, 2))
            found = [self._map.get_waypoint_xodr(key[0], key[2], float(s)) for s in places]
            waypoints = [w for w in found if w is not None]
            if len(waypoints) > 1:
                points = [_point(w) for w in waypoints]
                yield Lane(
                    key,
                    points[0].kind,
                    _junction(waypoints[0]),
                    (),
                    points if key[2] < 0 else points[::-1],
                )

    # -- routes -----------------------------------------------------------------------------------

    def plan(
        self, start: Tuple[float, float], start_yaw: float, goal: Tuple[float, float]
    ) -> Route:
        """
        Return the shortest way along driving lanes.

        :param start: (x, y) m; the nearest lane in the direction of ``start_yaw`` (rad) is taken.
        :param goal: (x, y) m.
        :raises MapError: where no lanes lead there.
        """
        begin, first = self._locate(*start, start_yaw)
        end, last = self._locate(*goal)
        if begin == end and last > first:
            return Route.from_points(self._points[begin][first : last + 1])
        ways = []
        for successor in self._graph.successors(begin):
            try:
                ways.append(
                    nx.single_source_dijkstra(self._graph, successor, end, weight='length')
                )
            except nx.NetworkXNoPath:
                continue
        if not ways:
            raise MapError(
                f'a route must lead from ({start[0]:.1f}, {start[1]:.1f}) to ({goal[0]:.1f}, '
                f'{goal[1]:.1f}) on map {self.name}, got none; choose another goal'
            )
        lanes = min(ways, key=lambda way: way[0])[1]
        return Route.from_points(
            np.concatenate(
                [
                    self._points[begin][first:],
                    *(self._points[key] for key in lanes[:-1]),
                    self._points[end][: last + 1],
                ]
            )
        )

    def random_route(
        self, rng: np.random.Generator, min_length: float, max_length: float
    ) -> Route:
        """
        Return a shortest route between two random places on lanes outside junctions.

        :param min_length: m. :param max_length: m.
        :raises MapError: where the network has no such route.
        """
        keys = [
            key
            for key, points in self._points.items()
            if not self._waypoints[key][0].is_junction and len(points) > 3 * END_CLEARANCE
        ]
        if not keys:
            raise MapError(
                f'map {self.name} must have lanes longer than {3 * END_CLEARANCE:.0f} m, got none'
            )
        weights = np.array([len(self._points[key]) for key in keys], np.float64)
        for _ in range(TRIES):
            start, goal = rng.choice(len(keys), size=2, p=weights / weights.sum())
            a, b = self._points[keys[start]], self._points[keys[goal]]
            i = int(rng.integers(1, len(a) - END_CLEARANCE))
            j = int(rng.integers(END_CLEARANCE, len(b) - 1))
            yaw = math.atan2(a[i + 1, 1] - a[i, 1], a[i + 1, 0] - a[i, 0])
            try:
                route = self.plan((a[i, 0], a[i, 1]), yaw, (b[j, 0], b[j, 1]))
            except MapError:
                continue
            if route.length > max_length:
                route = self._shortened(route, rng.uniform(min_length, max_length))
            if route is not None and min_length <= route.length <= max_length:
                return route
        raise MapError(
            f'map {self.name} must have routes of {min_length:g} to {max_length:g} m, found none; '
            'change route_length_min and route_length_max in episode_manager.param.yaml'
        )

    def _shortened(self, route: Route, length: float) -> Optional[Route]:
        """Cut a route; its part is the shortest way, too, unless the cut lies in a junction."""
        count = int(np.searchsorted(route.distance, length))
        x, y = route.points[count - 1]
        if self._waypoint(x, y).is_junction:
            return None
        return self.plan(tuple(route.points[0]), float(route.yaw[0]), (x, y))

    # -- CARLA ------------------------------------------------------------------------------------

    def _waypoint(self, x: float, y: float, project: bool = True) -> Any:
        return self._map.get_waypoint(
            self._carla.Location(x=float(x), y=-float(y)),
            project_to_road=project,
            lane_type=self._carla.LaneType.Driving,
        )

    def _build_graph(self) -> None:
        topology = self._map.get_topology()
        # First the starts of lanes; the ends bring in only lanes that nothing starts from.
        for waypoint in [pair[0] for pair in topology] + [pair[1] for pair in topology]:
            if _key(waypoint) not in self._waypoints:
                self._waypoints[_key(waypoint)] = [
                    waypoint,
                    *waypoint.next_until_lane_end(SPACING),
                ]
        for key, lane in self._waypoints.items():
            points = np.array([(w.transform.location.x, -w.transform.location.y) for w in lane])
            if not np.isfinite(points).all():
                raise MapError(
                    f'map {self.name} must have finite geometry, got lane {key} without; check '
                    'the file'
                )
            self._points[key] = points
            self._graph.add_node(key)
            length = float(np.hypot(*np.diff(points, axis=0).T).sum()) if len(points) > 1 else 0.0
            for following in lane[-1].next(SPACING / 2):
                if _key(following) != key and _key(following) in self._waypoints:
                    self._graph.add_edge(key, _key(following), length=length)

    def _locate(self, x: float, y: float, yaw: Optional[float] = None) -> Tuple[Key, int]:
        """Return the lane at a point and the index of its nearest cross-section."""
        key = _key(self._waypoint(x, y))
        if yaw is not None:
            key = self._along(x, y, yaw, key)
        if key not in self._points:
            raise MapError(
                f'({x:.1f}, {y:.1f}) must be near a lane of map {self.name} that leads somewhere'
            )
        away = self._points[key] - (x, y)
        return key, int(np.argmin(away[:, 0] ** 2 + away[:, 1] ** 2))

    def _along(self, x: float, y: float, yaw: float, nearest: Key) -> Key:
        """Where lanes cross, prefer the nearest one that leads in the direction of yaw."""
        waypoint = self._waypoint(x, y)
        if (
            not waypoint.is_junction
            and math.cos(-math.radians(waypoint.transform.rotation.yaw) - yaw) > 0.0
        ):
            return nearest
        best, best_cost = nearest, math.inf
        for key, points in self._points.items():
            away = np.hypot(points[:, 0] - x, points[:, 1] - y)
            i = int(np.argmin(away))
            if away[i] < 4.0:
                direction = -math.radians(self._waypoints[key][i].transform.rotation.yaw)
                cost = away[i] + 4.0 * (1.0 - math.cos(direction - yaw))
                if cost < best_cost:
                    best, best_cost = key, cost
        return best


def _import_carla() -> Any:
    # CARLA's library ends the process where HOME is unset, as it is in some services and
    # containers.
    os.environ.setdefault('HOME', os.path.expanduser('~'))
    try:
        import carla
    except ImportError as error:
        raise MapError(
            f'the carla library must be importable to read maps, got: {error}; pip install '
            'carla==0.9.16 (x86-64, Python 3.10 to 3.12)'
        ) from None
    return carla


def _key(waypoint: Any) -> Key:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _junction(waypoint: Any) -> int:
    return int(waypoint.junction_id) if waypoint.is_junction else -1


def _point(waypoint: Any) -> LanePoint:
    place = waypoint.transform
    return LanePoint(
        place.location.x,
        -place.location.y,
        place.location.z,
        -math.radians(place.rotation.yaw),
        waypoint.lane_width,
        str(waypoint.lane_type),
        _marking(waypoint.left_lane_marking),
        _marking(waypoint.right_lane_marking),
        waypoint.s,
    )


def _marking(marking: Any) -> Tuple[str, str]:
    return (str(marking.type), str(marking.color)) if marking is not None else (NO_MARKING, '')


def _code(marking: Any) -> int:
    return int(marking.type) if marking is not None else NO_MARKING_CODE
