"""
What stands beside the road: buildings, trees and lamps, seeded, never on or over a lane.

Footprints are circles and oriented boxes; whether a vehicle touches one is exact.
"""

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree

from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import Lane, RoadMap

LAMP_EVERY, TREE_EVERY, HOUSE_EVERY = 28.0, 11.0, 17.0
LAMP_RADIUS, TRUNK_RADIUS = 0.12, 0.25
# Between a footprint and the edge of the nearest driving lane.
HOUSE_CLEARANCE, TREE_CLEARANCE, LAMP_CLEARANCE = 3.5, 2.2, 0.5


class Item(NamedTuple):
    """
    One thing beside the road.

    ``kind``: house, tree or lamp. ``length``, ``width``: of the footprint, m; a circle of that
    diameter for trees and lamps. ``height``: m. ``tint``: [0, 1), for its colour.
    """

    kind: str
    x: float
    y: float
    yaw: float
    length: float
    width: float
    height: float
    tint: float

    @property
    def radius(self) -> float:
        """Radius of a circle around the footprint, m."""
        return (
            0.5 * math.hypot(self.length, self.width)
            if self.kind == 'house'
            else 0.5 * self.length
        )


class Scenery:
    """The things beside the road of one map."""

    def __init__(self, road_map: RoadMap, seed: int) -> None:
        """:param road_map: where the roads are. :param seed: of sizes and places."""
        self._rng = np.random.default_rng(seed)
        lanes = road_map.lanes
        self._keep_free(lanes)
        self.items: List[Item] = []
        self._taken: List[Tuple[float, float, float]] = []
        outermost: Dict[Tuple[int, int, bool], Lane] = {}
        for lane in lanes:
            road, section, number = lane.key
            side = road, section, number > 0
            if not lane.is_junction and (
                side not in outermost or abs(number) > abs(outermost[side].key[2])
            ):
                outermost[side] = lane
        for lane in outermost.values():
            self._line(lane)
        self._index()

    def collides(self, pose: Pose, length: float, width: float) -> Optional[int]:
        """
        Return the index of an item that a box touches, or None.

        :param pose: middle of the box, m and rad. :param length: m. :param width: m.
        """
        if self._tree is None:
            return None
        reach = 0.5 * math.hypot(length, width) + self._largest
        for index in self._tree.query_ball_point((pose.x, pose.y), reach):
            if _touches(pose, length, width, self.items[index]):
                return index
        return None

    # -- placing ----------------------------------------------------------------------------------

    def _keep_free(self, lanes: Sequence[Lane]) -> None:
        drivable = np.array(
            [(p.x, p.y) for lane in lanes for p in lane.points if p.kind == 'Driving']
        )
        self._road = cKDTree(drivable)
        self._half_width = (
            max(p.width for lane in lanes for p in lane.points if p.kind == 'Driving') / 2
        )

    def _line(self, lane: Lane) -> None:
        edge = np.array(
            [
                (p.x + p.width / 2 * math.sin(p.yaw), p.y - p.width / 2 * math.cos(p.yaw), p.yaw)
                for p in lane.points
            ]
        )
        if len(edge) < 8:
            return
        for kind, every in (('lamp', LAMP_EVERY), ('house', HOUSE_EVERY), ('tree', TREE_EVERY)):
            place = self._rng.uniform(2.0, every)
            while place < len(edge) - 2:
                self._put(kind, *edge[int(place)])
                place += every * self._rng.uniform(0.8, 1.3)

    def _put(self, kind: str, x: float, y: float, yaw: float) -> None:
        rng = self._rng
        if kind == 'lamp':
            away, size, height, clearance = 0.4, 2 * LAMP_RADIUS, 6.0, LAMP_CLEARANCE
            length = width = size
        elif kind == 'tree':
            away, height, clearance = rng.uniform(1.5, 5.0), rng.uniform(4.0, 8.0), TREE_CLEARANCE
            length = width = 2 * TRUNK_RADIUS
        else:
            length, width = rng.uniform(9.0, 15.0), rng.uniform(8.0, 12.0)
            away, height = width / 2 + rng.uniform(4.0, 7.0), rng.uniform(5.0, 14.0)
            clearance = HOUSE_CLEARANCE
        item = Item(
            kind,
            x + away * math.sin(yaw),
            y - away * math.cos(yaw),
            yaw,
            length,
            width,
            height,
            float(rng.random()),
        )
        if self._far_from_road(item, clearance) and self._free(item):
            self.items.append(item)
            self._taken.append((item.x, item.y, item.radius))

    def _far_from_road(self, item: Item, clearance: float) -> bool:
        distance, _ = self._road.query(_outline(item))
        return bool(distance.min() > self._half_width + clearance)

    def _free(self, item: Item) -> bool:
        x, y, radius = item.x, item.y, item.radius
        return all((x - a) ** 2 + (y - b) ** 2 > (radius + c) ** 2 for a, b, c in self._taken)

    def _index(self) -> None:
        self._tree = cKDTree([(item.x, item.y) for item in self.items]) if self.items else None
        self._largest = max((item.radius for item in self.items), default=0.0)


def _outline(item: Item) -> np.ndarray:
    """Points on the footprint's edge, (n, 2) m."""
    share = np.linspace(-0.5, 0.5, 7)
    along = np.concatenate([share, share, np.full(7, -0.5), np.full(7, 0.5)]) * item.length
    across = np.concatenate([np.full(7, -0.5), np.full(7, 0.5), share, share]) * item.width
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    return np.stack(
        [item.x + along * cos - across * sin, item.y + along * sin + across * cos], axis=1
    )


def _touches(pose: Pose, length: float, width: float, item: Item) -> bool:
    cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
    dx, dy = item.x - pose.x, item.y - pose.y
    ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
    if item.kind != 'house':
        beyond = max(abs(ahead) - length / 2, 0.0), max(abs(left) - width / 2, 0.0)
        return math.hypot(*beyond) < item.radius
    return _boxes_touch(length, width, ahead, left, item.yaw - pose.yaw, item.length, item.width)


def _boxes_touch(
    length: float,
    width: float,
    ahead: float,
    left: float,
    turn: float,
    other_length: float,
    other_width: float,
) -> bool:
    """Separating axes of two rectangles, in the frame of the first."""
    cos, sin = math.cos(turn), math.sin(turn)
    c, s = abs(cos), abs(sin)
    if abs(ahead) > (length + other_length * c + other_width * s) / 2:
        return False
    if abs(left) > (width + other_length * s + other_width * c) / 2:
        return False
    along, across = ahead * cos + left * sin, left * cos - ahead * sin
    return (
        abs(along) <= (other_length + length * c + width * s) / 2
        and abs(across) <= (other_width + length * s + width * c) / 2
    )
