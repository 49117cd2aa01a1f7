"""
The road network: any OpenDRIVE file, read by ``carla.Map``, and routes through it.

Everything is in the map frame, x forward, y left. The world is flat: height is kept
(``Lane.centre``), but bridges and slopes are driven on as if they lay on the ground.
"""

import errno
import functools
import logging
import math
import os
from pathlib import Path
import stat
from typing import AbstractSet, Any, Dict, List, Optional, Set, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.driving.lane_grid import LaneGrid
from av_td3_ros.driving.lane_sampling import connect, packed, sample, unpacked
from av_td3_ros.driving.lanes import (
    DRIVING,
    Lane,
    LanePoint,
    LanePosition,
    MARKING_CODES,
    NO_MARKING,
)
from av_td3_ros.driving.map_cache import Arrays, cached, digest
from av_td3_ros.driving.opendrive import Key, lane_records, LARGEST_FILE, MapError, read
from av_td3_ros.driving.route import Route
from av_td3_ros.driving.towns import town, towns
from av_td3_ros.resources import GENERATED_MAP as GENERATED, share, SHIPPED_MAP as SHIPPED

__all__ = [
    'DRIVING',
    'Key',
    'Lane',
    'LanePoint',
    'LanePosition',
    'MapError',
    'NO_MARKING',
    'RoadMap',
    'regular',
]

LOG = logging.getLogger(__name__)
SPACING = 1.0
# Ways that are tried for a random route, and pairs of places that are drawn for them.
TRIES, DRAWS = 300, 30_000
# Of the seed of a generated map; one more is too large a number.
SEED_DIGITS = 19
END_CLEARANCE = 5.0
# Lanes that the file joins, but whose ends are further apart than this, m, are not joined.
LONGEST_GAP = 2.0
# A lane counts as leading past a point up to this far from its centre line, m.
BESIDE = 4.0


class RoadMap:
    """Lanes, and routes along them."""

    def __init__(self, name: str, opendrive: str, keep: bool = False) -> None:
        """
        Read a road network.

        :param name: such as ``Town01``.
        :param opendrive: text of the OpenDRIVE file.
        :param keep: whether its lanes are kept in the cache, and found there the next time.
        :raises MapError: where it is none, or has no drivable lane.
        """
        self.name = name
        self.opendrive = opendrive
        found = cached(f'{name} lanes', digest(opendrive), self._read) if keep else self._read()
        self._sampled = unpacked(found)
        self._driving = list(
            connect({k: lane for k, lane in self._sampled.items() if lane.kind == DRIVING}, {})
        )
        self._grid = LaneGrid(self._driving)
        self._points = {lane.key: _resampled(lane) for lane in self._driving}
        self._graph = self._connected()

    @classmethod
    def load(cls, map: str) -> 'RoadMap':
        """
        Read the shipped map, for ``'town'``, a generated one, or an OpenDRIVE file.

        :param map: ``'town'``, ``'random_town:SEED'``, ``'random_town:FIRST-LAST'`` or a path.
        :raises MapError: where there is no such file, it is no map, or SEED is no whole number.
        """
        kind, colon, seed = map.partition(':')
        if kind == GENERATED and colon:
            # Not kept: many of them would crowd the cache.
            first, dash, last = seed.partition('-')
            if dash and _is_seed(first) and _is_seed(last):
                return cls(f'{GENERATED}_{seed}', towns(int(first), int(last)))
            number = int(seed) if _is_seed(seed) else seed[: SEED_DIGITS + 1]
            return cls(f'{GENERATED}_{number}', town(number))
        path = share('maps', f'{SHIPPED}.xodr') if map == SHIPPED else Path(map)
        try:
            text = _read(path)
        except UnicodeDecodeError:
            raise MapError(
                f'map must be OpenDRIVE (XML text), got {path}; set it with --map '
                '(simulator.map)'
            ) from None
        except (OSError, ValueError) as error:  # a ValueError: no file can have such a name
            raise MapError(
                f"map must be '{SHIPPED}', '{GENERATED}:SEED' (or FIRST-LAST) or an OpenDRIVE "
                f'file, got {path}: {getattr(error, "strerror", None) or error}; set it with '
                '--map (simulator.map)'
            ) from None
        try:
            return cls(path.stem, text, keep=True)
        except MapError as error:
            told = str(error).replace(f'map {path.stem} ', f'map {map} ', 1)
            raise MapError(told) from None

    # -- lanes ------------------------------------------------------------------------------------

    def on_road(self, x: float, y: float) -> bool:
        """Return whether (x, y), m, is on a driving lane; exact to 5 mm."""
        return self._grid.covers(x, y)

    def lane_at(self, x: float, y: float) -> LanePosition:
        """
        Return where a point is on the driving lane under it, or else on the nearest one.

        Where lanes cross, it is the one with the nearest centre line.

        :param x: m. :param y: m.
        """
        under = self._grid.find(x, y)
        lane, i = self._driving[under.lane], under.strip
        width = lane.width[i] + under.share * (lane.width[i + 1] - lane.width[i])
        return LanePosition(
            lane.key,
            lane.is_junction,
            under.left,
            float(width),
            under.is_off,
            MARKING_CODES[lane.left_markings[i][0]],
            MARKING_CODES[lane.right_markings[i][0]],
        )

    def lane(self, key: Key) -> Lane:
        """
        Return a lane.

        :raises KeyError: where there is none of that key.
        """
        return self._by_key[key]

    @functools.cached_property
    def lanes(self) -> Tuple[Lane, ...]:
        """Every driving lane, then shoulders, sidewalks and what else lies beside them."""
        successors = {key: tuple(self._graph.successors(key)) for key in self._points}
        return tuple(connect(self._sampled, successors))

    @functools.cached_property
    def _parts(self) -> Dict[Key, int]:
        """Number of the part of the network that a lane is in; there is no way between two."""
        parts = enumerate(nx.weakly_connected_components(self._graph))
        return {key: number for number, part in parts for key in part}

    @functools.cached_property
    def _by_key(self) -> Dict[Key, Lane]:
        return {lane.key: lane for lane in self.lanes}

    # -- routes -----------------------------------------------------------------------------------

    def plan(
        self, start: Tuple[float, float], start_yaw: float, goal: Tuple[float, float]
    ) -> Route:
        """
        Return the shortest way along driving lanes.

        :param start: (x, y) m; the nearest lane in the direction of ``start_yaw`` (rad) is taken.
        :param goal: (x, y) m.
        :raises MapError: where no lanes lead there, or it is where the route starts.
        """
        begin, first = self._locate(*start, start_yaw)
        end, last = self._locate(*goal)
        if begin == end and last > first:
            return self._route(start, goal, self._points[begin][first : last + 1])
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
        parts = [
            self._points[begin][first:],
            *(self._points[key] for key in lanes[:-1]),
            self._points[end][: last + 1],
        ]
        return self._route(start, goal, np.concatenate(parts))

    def _route(
        self, start: Tuple[float, float], goal: Tuple[float, float], points: np.ndarray
    ) -> Route:
        try:
            return Route.from_points(points)
        except ValueError:  # either side of a joint of two lanes is one place
            raise MapError(
                f'a route must lead to another place, got one from ({start[0]:.1f}, '
                f'{start[1]:.1f}) to ({goal[0]:.1f}, {goal[1]:.1f}) on map {self.name}, which '
                'is none; choose a goal further on'
            ) from None

    @property
    def roads(self) -> Set[int]:
        """Ids of the roads that random routes start and end on; MapError where there is none."""
        return {key[0] for key in self._ends()}

    def random_route(
        self,
        rng: np.random.Generator,
        min_length: float,
        max_length: float,
        roads: Optional[AbstractSet[int]] = None,
    ) -> Route:
        """
        Return a shortest route between two random places on lanes outside junctions.

        :param min_length: m. :param max_length: m.
        :param roads: ids of those that it may start and end on; None for all.
        :raises MapError: where the network has no such route.
        """
        keys = [key for key in self._ends() if roads is None or key[0] in roads]
        weights = np.array([len(self._points[key]) for key in keys], np.float64)
        tries = 0
        for _ in range(DRAWS):
            if tries == TRIES:
                break
            start, goal = rng.choice(len(keys), size=2, p=weights / weights.sum())
            a, b = self._points[keys[start]], self._points[keys[goal]]
            i = int(rng.integers(1, len(a) - END_CLEARANCE))
            j = int(rng.integers(END_CLEARANCE, len(b) - 1))
            if self._parts[keys[start]] != self._parts[keys[goal]]:
                continue  # of 64 towns all but one pair in 64: no way was tried
            tries += 1
            yaw = math.atan2(a[i + 1, 1] - a[i, 1], a[i + 1, 0] - a[i, 0])
            try:
                route = self.plan((a[i, 0], a[i, 1]), yaw, (b[j, 0], b[j, 1]))
            except MapError:
                continue
            if route.length > max_length:
                route = self._shortened(route, rng.uniform(min_length, max_length), roads)
            if route is not None and min_length <= route.length <= max_length:
                return route
        raise MapError(
            f'map {self.name} must have routes of {min_length:g} to {max_length:g} m, found none; '
            'change route_length_min and route_length_max in episode_manager.param.yaml'
        )

    def _ends(self) -> List[Key]:
        """Return the lanes that random routes start and end on; MapError where there is none."""
        found = [
            key
            for key, points in self._points.items()
            if self._sampled[key].junction < 0 and len(points) > 3 * END_CLEARANCE
        ]
        if not found:
            raise MapError(
                f'map {self.name} must have lanes longer than {3 * END_CLEARANCE:.0f} m outside '
                'junctions, where routes start and end, got none; choose another map: --map '
                '(simulator.map)'
            )
        return found

    def _shortened(
        self, route: Route, length: float, roads: Optional[AbstractSet[int]]
    ) -> Optional[Route]:
        """Cut a route; its part is the shortest way, too, unless the cut lies in a junction."""
        count = int(np.searchsorted(route.distance, length))
        x, y = route.points[count - 1]
        lane = self.lane_at(x, y)
        if lane.is_junction or roads is not None and lane.key[0] not in roads:
            return None
        return self.plan(tuple(route.points[0]), float(route.yaw[0]), (x, y))

    def _locate(self, x: float, y: float, yaw: Optional[float] = None) -> Tuple[Key, int]:
        """Return the lane at a point and the index of its nearest route point."""
        under = self._grid.find(x, y)
        lane = self._driving[under.lane]
        key = lane.key
        if yaw is not None and (lane.is_junction or math.cos(lane.yaw[under.strip] - yaw) <= 0.0):
            key = self._along(x, y, yaw, key)
        away = self._points[key] - (x, y)
        return key, int(np.argmin(away[:, 0] ** 2 + away[:, 1] ** 2))

    def _along(self, x: float, y: float, yaw: float, nearest: Key) -> Key:
        """Where lanes cross, prefer the nearest one that leads in the direction of yaw."""
        best, best_cost = nearest, math.inf
        for key, points in self._points.items():
            away = np.hypot(points[:, 0] - x, points[:, 1] - y)
            i = int(np.argmin(away))
            if away[i] < BESIDE:
                step = points[min(i + 1, len(points) - 1)] - points[max(i - 1, 0)]
                direction = math.atan2(step[1], step[0])
                cost = away[i] + BESIDE * (1.0 - math.cos(direction - yaw))
                if cost < best_cost:
                    best, best_cost = key, cost
        return best

    # -- reading ----------------------------------------------------------------------------------

    def _read(self) -> Arrays:
        """Sample every lane, the driving ones first."""
        carla = _import_carla()
        records = sorted(
            lane_records(read(self.name, self.opendrive)), key=lambda r: not r.is_driving
        )
        try:
            found = sample(self.name, carla.Map(self.name, self.opendrive), records)
        except (RuntimeError, IndexError) as error:
            raise MapError(
                f'map {self.name} must be OpenDRIVE that CARLA reads, got: {error}; check the file'
            ) from None
        if not any(lane.kind == DRIVING and lane.is_wide for lane in found.values()):
            raise MapError(
                f'map {self.name} must have drivable lanes of some length and width, got none; '
                'check the file'
            )
        return packed(found)

    def _connected(self) -> nx.DiGraph:
        """Return which driving lane leads to which; an edge is as long as the lane it leaves."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self._points)
        apart = 0
        for key, points in self._points.items():
            length = float(np.hypot(*np.diff(points, axis=0).T).sum())
            for following in self._sampled[key].ends_in:
                if following == key or following not in self._points:
                    continue
                if math.dist(points[-1], self._points[following][0]) > LONGEST_GAP:
                    apart += 1
                else:
                    graph.add_edge(key, following, length=length)
        if apart:
            LOG.warning(
                'map %s joins %d lanes whose ends are more than %g m apart; they stay apart',
                self.name,
                apart,
                LONGEST_GAP,
            )
        return graph


def regular(path: Path) -> Path:
    """
    Return a path as it is.

    :raises OSError: where no file is there, or a pipe or a device, which may have no end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, 'not a regular file')
    return path


def _read(path: Path) -> str:
    with regular(path).open(encoding='utf-8') as file:
        return file.read(LARGEST_FILE + 1)


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= SEED_DIGITS


def _resampled(lane: Lane) -> np.ndarray:
    """Return points of the centre line up to 1 m apart, (n, 2) m."""
    at = np.linspace(0.0, lane.length, max(math.ceil(lane.length / SPACING), 1) + 1)
    return np.column_stack([np.interp(at, lane.distance, lane.centre[:, k]) for k in (0, 1)])


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
