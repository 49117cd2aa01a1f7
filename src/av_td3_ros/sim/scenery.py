"""
What stands beside the road: houses, trees, lamps, signs, hedges, parked cars; by a seed.

Footprints are circles and oriented boxes; whether a vehicle touches one is exact.
"""

from collections import defaultdict
import math
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.bodies import KINDS
from av_td3_ros.sim.boxes import box_at, touches
from av_td3_ros.sim.ground_plan import GroundPlan
from av_td3_ros.sim.parts import parts
from av_td3_ros.sim.strips import floors, Strip

KIND_NAMES = ('house', 'tree', 'lamp', 'sign', 'hedge', 'car')
ROUND = ('tree', 'lamp', 'sign')
# Variants of houses and of trees.
COTTAGE, FLATS, OFFICE, SHOP = range(4)
BROADLEAF, CONIFER, POPLAR, BUSH = range(4)
# Height of one, m.
STOREY = 3.0
LAMP_RADIUS, TRUNK_RADIUS, POST_RADIUS = 0.12, 0.25, 0.06
# Between a footprint and the edge of the nearest driving lane.
CLEARANCE = {'house': 2.0, 'tree': 1.2, 'lamp': 0.5, 'sign': 0.4, 'hedge': 1.0, 'car': 0.35}
LAMP_EVERY, SIGN_EVERY, TREE_EVERY, CAR_EVERY = 28.0, 75.0, 12.0, 8.0
PARKED_SHARE = 0.5
# From the lane's edge to what stands next to it.
KERB_GAP = 0.95
# Cars are not parked this near to the end of a lane.
CORNER = 9.0
# Shares of residential streets, of a town's; the rest is parkland.
RESIDENTIAL, TOWN = 0.45, 0.85
DISTRICT = 110.0
SHORTEST = 10.0
PARKED = ('compact', 'sedan', 'suv', 'van')
CELL = 16.0
OUTLINE_POINTS = 48
ITEM = np.dtype(
    [
        ('kind', np.uint8),
        ('variant', np.uint8),
        ('x', np.float64),
        ('y', np.float64),
        ('yaw', np.float64),
        ('length', np.float64),
        ('width', np.float64),
        ('height', np.float64),
        ('tint', np.float64),
    ]
)


class Item(NamedTuple):
    """
    One thing beside the road.

    ``kind``: one of ``KIND_NAMES``. ``length``, ``width``: of the footprint, m; a circle of that
    diameter for trees, lamps and signs. ``height``: m. ``tint``: [0, 1), for its colour.
    ``variant``: of its kind. The road is to its left.
    """

    kind: str
    x: float
    y: float
    yaw: float
    length: float
    width: float
    height: float
    tint: float
    variant: int = 0

    @property
    def is_round(self) -> bool:
        """Whether the footprint is a circle."""
        return self.kind in ROUND

    @property
    def radius(self) -> float:
        """Radius of a circle around the footprint, m."""
        return 0.5 * (self.length if self.is_round else math.hypot(self.length, self.width))

    @property
    def outline(self) -> np.ndarray:
        """The footprint: a (3,) circle or a (5,) box, as ``boxes.touches`` takes it."""
        if self.is_round:
            return np.array((self.x, self.y, self.radius))
        return np.array((self.x, self.y, self.yaw, self.length, self.width))


class Scenery:
    """The things beside the road of one map."""

    def __init__(self, road_map: RoadMap, seed: int) -> None:
        """:param road_map: where the roads are. :param seed: of sizes and places."""
        self.items: List[Item] = list(_Planter(road_map, seed).items)
        self._index()

    def records(self) -> np.ndarray:
        """Return every item, (n,) of ``ITEM``."""
        return np.array(
            [(KIND_NAMES.index(item.kind), item.variant, *item[1:8]) for item in self.items], ITEM
        )

    def collides(self, pose: Pose, length: float, width: float) -> Optional[int]:
        """
        Return the index of an item that a box touches, or None.

        :param pose: middle of the box, m and rad. :param length: m. :param width: m.
        """
        return next(self.touched(pose, length, width), None)

    def touched(self, pose: Pose, length: float, width: float) -> Iterator[int]:
        """Yield the index of every item that a box touches; as for :meth:`collides`."""
        reach = 0.5 * math.hypot(length, width)
        x, y = pose.x, pose.y
        first_i, last_i = math.floor((x - reach) / CELL), math.floor((x + reach) / CELL)
        first_j, last_j = math.floor((y - reach) / CELL), math.floor((y + reach) / CELL)
        for i in range(first_i, last_i + 1):
            for j in range(first_j, last_j + 1):
                for index, item_x, item_y, radius in self._cells.get((i, j), ()):
                    dx, dy, near = item_x - x, item_y - y, reach + radius
                    if dx * dx + dy * dy < near * near and touches(
                        box_at(pose, length, width), self.items[index].outline
                    ):
                        yield index

    def _index(self) -> None:
        """Note every item in each cell that its footprint may reach."""
        self._cells: Dict[Tuple[int, int], List[Tuple[int, float, float, float]]] = defaultdict(
            list
        )
        for index, item in enumerate(self.items):
            entry = index, item.x, item.y, item.radius
            for cell in _cells(item.x, item.y, item.radius):
                self._cells[cell].append(entry)
        self._cells.default_factory = None


class _Planter:
    """Walks along every road and plants what there is room for."""

    def __init__(self, road_map: RoadMap, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._taken: Dict[Tuple[int, int], List[Tuple[float, float, float]]] = defaultdict(list)
        self._districts = self._rng.random((16, 16))
        self.items: List[Item] = []
        strips = [Strip(lane) for lane in road_map.lanes]
        part = parts([np.concatenate([strip.left_edge, strip.right_edge]) for strip in strips])
        for number in range(part.max() + 1):
            self._plant([strip for strip, own in zip(strips, part) if own == number])

    def _plant(self, strips: List[Strip]) -> None:
        """Plant one part of the map; the plan of it alone fits into memory as fine as it is."""
        driven = [strip for strip in strips if strip.lane.kind == 'Driving']
        if not driven:
            return
        self._plan = GroundPlan(
            np.concatenate([strip.outline() for strip in driven]), floors(strips)
        )
        kerbs, outer = _outermost(driven), _outermost(strips)
        for strip in kerbs.values():
            self._kerbside(_edge(strip))
        for strip in outer.values():
            self._frontage(_edge(strip))

    # -- along a road -----------------------------------------------------------------------------

    def _kerbside(self, edge: 'Edge') -> None:
        """Cars parked half on the sidewalk, and signs."""
        rng = self._rng
        for place in _places(rng, CORNER, edge.length - CORNER, CAR_EVERY):
            body = KINDS[PARKED[int(rng.choice(4, p=(0.3, 0.4, 0.2, 0.1)))]]
            if rng.random() < PARKED_SHARE * (1.4 if self._is_town(edge, place) else 0.7):
                away = KERB_GAP + body.width / 2
                size = body.length, body.width, body.height
                self._put(edge, place, 'car', away, size, PARKED.index(body.kind), turn=0.02)
        for place in _places(rng, SHORTEST, edge.length - 3.0, SIGN_EVERY):
            size = 2 * POST_RADIUS, 2 * POST_RADIUS, 2.5
            self._put(edge, place, 'sign', KERB_GAP, size, int(rng.integers(3)))

    def _frontage(self, edge: 'Edge') -> None:
        rng = self._rng
        for place in _places(rng, 2.0, edge.length, LAMP_EVERY):
            self._put(edge, place, 'lamp', KERB_GAP, (2 * LAMP_RADIUS, 2 * LAMP_RADIUS, 6.5), 0)
        place = float(rng.uniform(2.0, 6.0))
        while place < edge.length:
            place += self._plot(edge, place)
        for place in _places(rng, 8.0, edge.length, 24.0):
            height = STOREY * int(rng.integers(3, 7))
            size = float(rng.uniform(14.0, 22.0)), float(rng.uniform(10.0, 14.0)), height
            if not self._is_park(edge, place):
                self._put(edge, place, 'house', rng.uniform(26.0, 34.0), size, FLATS)
            self._tree(edge, place + 12.0, rng.uniform(16.0, 30.0))
        for place in _places(rng, 3.0, edge.length, TREE_EVERY):
            self._tree(edge, place, rng.uniform(0.9, 4.0))

    def _plot(self, edge: 'Edge', place: float) -> float:
        """Fill one plot and return how long it is, m."""
        rng = self._rng
        district = self._district(edge, place)
        if district < RESIDENTIAL:
            length, width = float(rng.uniform(9.0, 13.0)), float(rng.uniform(8.0, 10.0))
            away = width / 2 + rng.uniform(3.5, 6.5)
            size = length, width, STOREY * int(rng.integers(1, 3)) + 0.4
            self._put(edge, place + length / 2, 'house', away, size, COTTAGE)
            if rng.random() < 0.6:
                hedge = float(rng.uniform(3.0, length)), 0.5, float(rng.uniform(0.7, 1.4))
                self._put(edge, place + length / 2, 'hedge', 0.7, hedge, int(rng.integers(2)))
            return length + float(rng.uniform(2.0, 6.0))
        if district < TOWN:
            length, width = float(rng.uniform(10.0, 18.0)), float(rng.uniform(9.0, 13.0))
            variant = int(rng.choice((FLATS, OFFICE, SHOP), p=(0.45, 0.2, 0.35)))
            size = length, width, STOREY * int(rng.integers(2, 6 if variant != OFFICE else 8))
            self._put(edge, place + length / 2, 'house', width / 2 + 1.4, size, variant)
            return length + float(rng.choice((0.3, 0.3, 5.0)))
        for _ in range(3):
            self._tree(edge, place + rng.uniform(0.0, 10.0), rng.uniform(3.0, 24.0))
        return 10.0

    def _tree(self, edge: 'Edge', place: float, away: float) -> None:
        rng = self._rng
        variant = int(rng.choice((BROADLEAF, CONIFER, POPLAR, BUSH), p=(0.5, 0.18, 0.14, 0.18)))
        height = float(rng.uniform(0.9, 1.8) if variant == BUSH else rng.uniform(4.5, 9.0))
        self._put(edge, place, 'tree', away, (2 * TRUNK_RADIUS, 2 * TRUNK_RADIUS, height), variant)

    # -- one thing --------------------------------------------------------------------------------

    def _put(
        self,
        edge: 'Edge',
        place: float,
        kind: str,
        away: float,
        size: Tuple[float, float, float],
        variant: int,
        turn: float = 0.0,
    ) -> None:
        """Put something ``away`` m to the right of the edge where there is room for it."""
        if not 0.0 <= place <= edge.length:
            return
        x, y, yaw = edge.at(place)
        item = Item(
            kind,
            x + float(away) * math.sin(yaw),
            y - float(away) * math.cos(yaw),
            yaw + (float(self._rng.normal(0.0, turn)) if turn else 0.0),
            *size,
            float(self._rng.random()),
            variant,
        )
        if self._has_room(item) and self._is_clear(item):
            self.items.append(item)
            for circle in _circles(item):
                for cell in _cells(*circle):
                    self._taken[cell].append(circle)

    def _is_clear(self, item: Item) -> bool:
        outline, gap = _outline(item)
        return bool(self._plan.clearance(outline).min() > CLEARANCE[item.kind] + gap / 2)

    def _has_room(self, item: Item) -> bool:
        return not any(
            (x - a) ** 2 + (y - b) ** 2 < (radius + other) ** 2
            for x, y, radius in _circles(item)
            for cell in _cells(x, y, radius)
            for a, b, other in self._taken.get(cell, ())
        )

    def _district(self, edge: 'Edge', place: float) -> float:
        x, y, _ = edge.at(place)
        return float(self._districts[math.floor(x / DISTRICT) % 16, math.floor(y / DISTRICT) % 16])

    def _is_town(self, edge: 'Edge', place: float) -> bool:
        return RESIDENTIAL <= self._district(edge, place) < TOWN

    def _is_park(self, edge: 'Edge', place: float) -> bool:
        return self._district(edge, place) >= TOWN


class Edge:
    """The right edge of a lane by arc length."""

    def __init__(self, points: np.ndarray, yaw: np.ndarray) -> None:
        """:param points: (n, 2) m. :param yaw: (n,) rad."""
        steps = np.hypot(*np.diff(points, axis=0).T)
        self._along = np.concatenate([[0.0], np.cumsum(steps)])
        self._points, self._yaw = points, np.unwrap(yaw)
        self.length = float(self._along[-1])

    def at(self, place: float) -> Tuple[float, float, float]:
        """Return x, y (m) and yaw (rad) at a distance from the beginning, m."""
        return (
            float(np.interp(place, self._along, self._points[:, 0])),
            float(np.interp(place, self._along, self._points[:, 1])),
            float(np.interp(place, self._along, self._yaw)),
        )


def _edge(strip: Strip) -> Edge:
    """Return the edge of a lane away from the middle of the road; the road is to its left."""
    yaw = strip.lane.yaw[strip.rows]
    road, section, number = strip.lane.key
    outside = (road, section, number + (1 if number > 0 else -1))
    inside = (road, section, number - (1 if number > 0 else -1) or -number)
    # Where traffic keeps to the left, the middle of the road is to the right.
    if strip.lane.left_lane == outside or strip.lane.right_lane == inside:
        return Edge(strip.left_edge[::-1], yaw[::-1] + np.pi)
    return Edge(strip.right_edge, yaw)


def _outermost(strips: List[Strip]) -> Dict[Tuple[int, int, bool], Strip]:
    """Return the lane furthest out on each side of every road outside junctions."""
    found: Dict[Tuple[int, int, bool], Strip] = {}
    for strip in strips:
        road, section, number = strip.lane.key
        side = road, section, number > 0
        if not strip.lane.is_junction and (
            side not in found or abs(number) > abs(found[side].lane.key[2])
        ):
            found[side] = strip
    return {side: strip for side, strip in found.items() if _edge(strip).length > SHORTEST}


def _places(rng: np.random.Generator, begin: float, end: float, every: float) -> Iterator[float]:
    place = begin + float(rng.uniform(0.0, every))
    while place < end:
        yield place
        place += every * float(rng.uniform(0.8, 1.3))


def _cells(x: float, y: float, radius: float) -> List[Tuple[int, int]]:
    columns = range(math.floor((x - radius) / CELL), math.floor((x + radius) / CELL) + 1)
    rows = range(math.floor((y - radius) / CELL), math.floor((y + radius) / CELL) + 1)
    return [(i, j) for i in columns for j in rows]


def _circles(item: Item) -> List[Tuple[float, float, float]]:
    """Circles that cover a footprint: a row of them along its length."""
    if item.is_round:
        return [(item.x, item.y, item.radius)]
    count = max(math.ceil(item.length / max(item.width, 1.0)), 1)
    part = item.length / count
    radius = 0.5 * math.hypot(part, item.width)
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    shifts = [(k + 0.5) * part - item.length / 2 for k in range(count)]
    return [(item.x + shift * cos, item.y + shift * sin, radius) for shift in shifts]


def _outline(item: Item) -> Tuple[np.ndarray, float]:
    """Points on the footprint's edge, (n, 2) m, and the distance between neighbours, m."""
    if item.is_round:
        turn = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * item.radius
        return ring + (item.x, item.y), 2 * item.radius * math.sin(math.pi / 8)
    perimeter = 2 * (item.length + item.width)
    at = np.linspace(0.0, perimeter, OUTLINE_POINTS)
    corners = np.array([0.0, item.length, item.length + item.width])
    corners = np.append(corners, [corners[2] + item.length, perimeter])
    a, b = item.length / 2, item.width / 2
    along = np.interp(at, corners, [-a, a, a, -a, -a])
    across = np.interp(at, corners, [-b, -b, b, b, -b])
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    points = np.stack(
        [item.x + along * cos - across * sin, item.y + along * sin + across * cos], 1
    )
    return points, perimeter / (OUTLINE_POINTS - 1)
