"""
The road network: any OpenDRIVE file, read by ``carla.Map``.

CARLA's axes are left-handed; they are turned right-handed here and nowhere else: everything that comes out is
in the map frame, x forward, y left.
"""

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple
from xml.etree import ElementTree

import networkx as nx
import numpy as np

from av_td3_ros.driving.route import Route
from av_td3_ros.resources import share

SHIPPED = 'town'
SPACING = 1.0
TRIES = 200
CLEARANCE = 5.0

Key = Tuple[int, int, int]


class MapError(ValueError):
    """A map or a route that cannot be had; the text says what, got, expected and where to fix it."""


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
        self._carla = _import_carla()
        _check(name, opendrive)
        try:
            self._map = self._carla.Map(name, opendrive)
        except RuntimeError as error:
            raise MapError(f'map {name} must be OpenDRIVE that CARLA reads, got: {error}; check the file') from None
        self._lanes: Dict[Key, List[Any]] = {}
        self._points: Dict[Key, np.ndarray] = {}
        self._graph = nx.DiGraph()
        self._build()

    @classmethod
    def load(cls, map: str) -> 'RoadMap':
        """
        Read the shipped map, for ``'town'``, or an OpenDRIVE file.

        :raises MapError: where there is no such file.
        """
        path = share('maps', f'{SHIPPED}.xodr') if map == SHIPPED else Path(map)
        try:
            return cls(path.stem, path.read_text())
        except OSError as error:
            raise MapError(f"map must be '{SHIPPED}' or an OpenDRIVE file, got {path}: {error.strerror}; "
                           'set it with --map (simulator.map)') from None
        except UnicodeDecodeError:
            raise MapError(f'map must be OpenDRIVE (XML), got {path}, which is no text; set it with --map '
                           '(simulator.map)') from None

    # -- lanes -----------------------------------------------------------------------------------------

    def on_road(self, x: float, y: float) -> bool:
        """Return whether (x, y), m, is on a driving lane."""
        return self._waypoint(x, y, project=False) is not None

    def _waypoint(self, x, y, project=True):
        return self._map.get_waypoint(self._carla.Location(x=x, y=-y), project_to_road=project,
                                      lane_type=self._carla.LaneType.Driving)

    def _build(self):
        for first, second in self._map.get_topology():
            for w in (first, second):
                key = (w.road_id, w.section_id, w.lane_id)
                if key in self._lanes:
                    continue
                pts = [w] + list(w.next_until_lane_end(SPACING))
                self._lanes[key] = pts
        for key, pts in self._lanes.items():
            self._points[key] = np.array([(p.transform.location.x, -p.transform.location.y) for p in pts])
            self._graph.add_node(key)
        for key, pts in self._lanes.items():
            length = float(np.hypot(*np.diff(self._points[key], axis=0).T).sum()) if len(pts) > 1 else 0.1
            for n in pts[-1].next(0.5):
                k = (n.road_id, n.section_id, n.lane_id)
                if k != key and k in self._lanes:
                    self._graph.add_edge(key, k, weight=length)

    def _locate(self, x, y):
        w = self._waypoint(x, y)
        key = (w.road_id, w.section_id, w.lane_id)
        return key, int(np.argmin(np.hypot(*(self._points[key] - (x, y)).T)))

    def plan(self, start_xy, start_yaw, goal_xy):
        a, i = self._locate(*start_xy)
        b, j = self._locate(*goal_xy)
        if a == b and j > i:
            return Route.from_points(self._points[a][i:j + 1])
        try:
            path = min((nx.shortest_path(self._graph, s, b, weight='weight') for s in self._graph.successors(a)), key=len)
        except (ValueError, nx.NetworkXException):
            raise MapError(f'no route from {start_xy} to {goal_xy}') from None
        pts = [self._points[a][i:]] + [self._points[k] for k in path[:-1]] + [self._points[b][:j + 1]]
        return Route.from_points(np.concatenate(pts))

    def random_route(self, rng, low, high):
        keys = [k for k in self._lanes if not self._lanes[k][0].is_junction and len(self._lanes[k]) > 12]
        for _ in range(TRIES):
            a, b = (keys[i] for i in rng.integers(len(keys), size=2))
            s = self._points[a][rng.integers(len(self._points[a]) - 6)]
            g = self._points[b][rng.integers(5, len(self._points[b]))]
            try:
                r = self.plan(s, 0.0, g)
            except MapError:
                continue
            if low <= r.length <= high:
                return r
        raise MapError('no route of that length')


def _import_carla():
    import carla
    return carla


def _check(name, text):
    if not text.lstrip().startswith('<'):
        raise MapError(f'map {name} must be OpenDRIVE, got something else')
