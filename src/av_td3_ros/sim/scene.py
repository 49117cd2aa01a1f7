"""
The street as coloured triangles, for Panda3D.

What lies on the ground is drawn in a fixed order without depth: exact on a flat world, and nothing
flickers. What stands on it is depth-tested. Everything is cut into tiles, so that what is behind
the camera costs nothing.
"""

from collections import defaultdict
import math
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from panda3d.core import (
    CullBinManager,
    Geom,
    GeomNode,
    GeomTriangles,
    GeomVertexData,
    GeomVertexFormat,
    GeomVertexWriter,
    NodePath,
)

from av_td3_ros.driving.road_map import Key, Lane, LanePoint, NO_MARKING, RoadMap
from av_td3_ros.sim.scenery import Item, Scenery

TILE = 40.0
LINE_WIDTH, KERB_WIDTH = 0.14, 0.22
DASH, GAP = 3.0, 4.5
LONGEST_STRAIGHT = 12.0
# Neighbouring strips overlap by this much, so that no hair of grass shows between them.
OVERLAP = 0.04
BEND = 0.02
STOREY, WINDOW_EVERY, RELIEF = 2.9, 2.4, 0.1

Colour = Tuple[float, float, float]
Point = Tuple[float, float, float]

SKY: Colour = (0.62, 0.77, 0.92)
GRASS: Colour = (0.36, 0.47, 0.27)
GROUND: Dict[str, Colour] = {
    'Driving': (0.25, 0.25, 0.27),
    'Shoulder': (0.33, 0.33, 0.34),
    'Sidewalk': (0.62, 0.60, 0.57),
    'Parking': (0.30, 0.30, 0.32),
}
KERB: Colour = (0.78, 0.77, 0.74)
PAINT: Dict[str, Colour] = {'Yellow': (0.93, 0.74, 0.16)}
WHITE: Colour = (0.94, 0.94, 0.92)
WALLS: Sequence[Colour] = (
    (0.72, 0.45, 0.35),
    (0.80, 0.72, 0.58),
    (0.58, 0.60, 0.64),
    (0.85, 0.82, 0.76),
    (0.55, 0.38, 0.32),
    (0.66, 0.70, 0.62),
)
WINDOW: Colour = (0.20, 0.27, 0.36)
ROOF: Colour = (0.32, 0.24, 0.22)
TRUNK: Colour = (0.34, 0.25, 0.17)
CROWN: Colour = (0.20, 0.42, 0.18)
POLE: Colour = (0.30, 0.31, 0.33)
# Light on the four sides of a box.
SHADES = (1.0, 0.82, 0.92, 0.74)
LAMP: Colour = (0.96, 0.94, 0.80)

# Drawn in this order; within the ground, later covers earlier.
LAYERS = ('grass', 'beside', 'road', 'paint')


class Mesh:
    """Triangles of one tile and layer."""

    def __init__(self) -> None:
        self._data = GeomVertexData('mesh', GeomVertexFormat.getV3c4(), Geom.UHStatic)
        self._vertex = GeomVertexWriter(self._data, 'vertex')
        self._colour = GeomVertexWriter(self._data, 'color')
        self._triangles = GeomTriangles(Geom.UHStatic)
        self._count = 0

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Add a convex polygon."""
        for point in points:
            self._vertex.addData3(*point)
            self._colour.addData4(*colour, 1.0)
        for i in range(1, len(points) - 1):
            self._triangles.addVertices(self._count, self._count + i, self._count + i + 1)
        self._count += len(points)

    def node(self, name: str) -> GeomNode:
        """Return the finished node."""
        geom = Geom(self._data)
        geom.addPrimitive(self._triangles)
        node = GeomNode(name)
        node.addGeom(geom)
        return node


class Scene:
    """The root of everything that a camera can see."""

    def __init__(self, road_map: RoadMap, scenery: Scenery) -> None:
        """Build the street."""
        self._meshes: Dict[Tuple[str, int, int], Mesh] = defaultdict(Mesh)
        lanes = road_map.lanes
        keys = {lane.key for lane in lanes}
        self._grass(lanes)
        for lane in lanes:
            self._lane(lane, keys)
            if not lane.is_junction and lane.kind == 'Driving':
                self._paint(lane, keys)
        for item in scenery.items:
            self._item(item)
        self.root = NodePath('street')
        self._attach()

    # -- ground -----------------------------------------------------------------------------------

    def _grass(self, lanes: Sequence[Lane]) -> None:
        tiles = {_tile(p.x, p.y) for lane in lanes for p in lane.points[::8]}
        wide = {(i + a, j + b) for i, j in tiles for a in range(-4, 5) for b in range(-4, 5)}
        for i, j in wide:
            x, y = i * TILE, j * TILE
            shade = 1.0 + 0.05 * (((i * 7 + j * 13) % 5) / 2.0 - 1.0)
            self._meshes['grass', i, j].polygon(
                [(x, y, 0.0), (x + TILE, y, 0.0), (x + TILE, y + TILE, 0.0), (x, y + TILE, 0.0)],
                _shaded(GRASS, shade),
            )

    def _lane(self, lane: Lane, keys: Set[Key]) -> None:
        kind = lane.kind
        colour = GROUND.get(kind)
        if colour is None:
            return
        layer = 'road' if kind == 'Driving' else 'beside'
        points = _straightened(lane.points)
        road, section, number = lane.key
        inside = (road, section, number - (1 if number > 0 else -1))
        kerb = 1.0 if inside in keys else -1.0
        for a, b in zip(points, points[1:]):
            if math.hypot(b.x - a.x, b.y - a.y) > 2 * LONGEST_STRAIGHT:
                continue
            self._strip(layer, a, b, a.width / 2 + OVERLAP, -a.width / 2 - OVERLAP, colour)
            if kind == 'Sidewalk':
                edge = kerb * a.width / 2
                self._strip('beside', a, b, edge, edge - kerb * KERB_WIDTH, KERB)

    def _paint(self, lane: Lane, keys: Set[Key]) -> None:
        road, section, number = lane.key
        for side, sign in (('left', 1.0), ('right', -1.0)):
            points = lane.points
            if side == 'left' and number == 1 and (road, section, -1) in keys:
                continue  # the middle of the road belongs to the lane that comes the other way
            if getattr(points[len(points) // 2], side)[0].startswith('Broken'):
                self._dashes(points, side, sign)
            else:
                points = _straightened(points)
                for a, b in zip(points, points[1:]):
                    kind, colour = getattr(a, side)
                    if kind not in (NO_MARKING, 'Curb', 'Grass'):
                        self._line(a, b, sign, colour)

    def _dashes(self, points: List[LanePoint], side: str, sign: float) -> None:
        phase = 0.0
        for a, b in zip(points, points[1:]):
            kind, colour = getattr(a, side)
            if phase % (DASH + GAP) < DASH and kind != NO_MARKING:
                self._line(a, b, sign, colour)
            phase += math.hypot(b.x - a.x, b.y - a.y)

    def _line(self, a: LanePoint, b: LanePoint, sign: float, colour: str) -> None:
        middle = sign * a.width / 2
        self._strip(
            'paint',
            a,
            b,
            middle + LINE_WIDTH / 2,
            middle - LINE_WIDTH / 2,
            PAINT.get(colour, WHITE),
        )

    def _strip(
        self, layer: str, a: LanePoint, b: LanePoint, left: float, right: float, colour: Colour
    ) -> None:
        self._meshes[(layer, *_tile(a.x, a.y))].polygon(
            [_beside(a, left), _beside(a, right), _beside(b, right), _beside(b, left)], colour
        )

    # -- what stands ------------------------------------------------------------------------------

    def _item(self, item: Item) -> None:
        mesh = self._meshes[('standing', *_tile(item.x, item.y))]
        if item.kind == 'house':
            _house(mesh, item)
        elif item.kind == 'tree':
            _box(mesh, item, 0.0, 0.35 * item.height, _shaded(TRUNK, 0.9 + 0.2 * item.tint))
            _crown(mesh, item)
        else:
            _box(mesh, item, 0.0, item.height, POLE)
            _box(mesh, item._replace(length=0.9, width=0.3), item.height - 0.15, item.height, LAMP)

    def _attach(self) -> None:
        bins = CullBinManager.getGlobalPtr()
        for order, layer in enumerate(LAYERS):
            if bins.findBin(layer) == -1:
                bins.addBin(layer, CullBinManager.BTUnsorted, order)
        for (layer, i, j), mesh in self._meshes.items():
            path = self.root.attachNewNode(mesh.node(f'{layer}_{i}_{j}'))
            path.setTwoSided(True)
            if layer in LAYERS:
                path.setBin(layer, 0)
                path.setDepthTest(False)
                path.setDepthWrite(False)
        self._meshes.clear()


def _house(mesh: Mesh, item: Item) -> None:
    wall = WALLS[int(item.tint * len(WALLS))]
    _box(mesh, item, 0.0, item.height, wall, top=ROOF)
    corners = _corners(item)
    for k in range(4):
        (x0, y0), (x1, y1) = corners[k], corners[(k + 1) % 4]
        outwards = (y1 - y0, x0 - x1)
        length = math.hypot(*outwards)
        count = max(int(length / WINDOW_EVERY), 1)
        out_x, out_y = (RELIEF * value / length for value in outwards)
        for column in range(count):
            a, b = ((column + 0.5 + half) / count for half in (-0.25, 0.25))
            ends = [
                (x0 + share * (x1 - x0) + out_x, y0 + share * (y1 - y0) + out_y)
                for share in (a, b)
            ]
            floor = 1.0
            while floor + 1.6 < item.height:
                _wall(mesh, *ends, floor, floor + 1.3, _shaded(WINDOW, SHADES[k]))
                floor += STOREY


def _crown(mesh: Mesh, item: Item) -> None:
    low, high, radius = 0.28 * item.height, item.height, 0.27 * item.height
    middle = low + 0.4 * (high - low)
    colour = _shaded(CROWN, 0.8 + 0.5 * item.tint)
    ring = [
        (item.x + radius * math.cos(a), item.y + radius * math.sin(a), middle)
        for a in (item.yaw + k * math.pi / 3 for k in range(6))
    ]
    for k in range(6):
        near, far = ring[k], ring[(k + 1) % 6]
        mesh.polygon(
            [near, far, (item.x, item.y, high)], _shaded(colour, 1.0 + 0.12 * math.cos(k))
        )
        mesh.polygon([near, far, (item.x, item.y, low)], _shaded(colour, 0.75))


def _box(
    mesh: Mesh, item: Item, low: float, high: float, colour: Colour, top: Optional[Colour] = None
) -> None:
    corners = _corners(item)
    for k in range(4):
        _wall(mesh, corners[k], corners[(k + 1) % 4], low, high, _shaded(colour, SHADES[k]))
    mesh.polygon([(x, y, high) for x, y in corners], top or colour)


def _wall(
    mesh: Mesh,
    a: Tuple[float, float],
    b: Tuple[float, float],
    low: float,
    high: float,
    colour: Colour,
) -> None:
    mesh.polygon([(*a, low), (*b, low), (*b, high), (*a, high)], colour)


def _corners(item: Item) -> List[Tuple[float, float]]:
    """Corners of the footprint, counter-clockwise."""
    cos, sin = math.cos(item.yaw), math.sin(item.yaw)
    a, b = item.length / 2, item.width / 2
    return [
        (item.x + u * cos - v * sin, item.y + u * sin + v * cos)
        for u, v in ((a, b), (-a, b), (-a, -b), (a, -b))
    ]


def _beside(point: LanePoint, left: float) -> Point:
    return point.x - left * math.sin(point.yaw), point.y + left * math.cos(point.yaw), 0.0


def _straightened(points: List[LanePoint]) -> List[LanePoint]:
    """Leave out cross-sections that a straight strip needs not."""
    kept: List[LanePoint] = points[:1]
    for point, following in zip(points[1:], points[2:]):
        last = kept[-1]
        far = math.hypot(following.x - last.x, following.y - last.y) > LONGEST_STRAIGHT
        bent = abs(math.remainder(following.yaw - last.yaw, 2 * math.pi)) > BEND
        if far or bent or following.width != last.width:
            kept.append(point)
    return kept + points[-1:] if len(points) > 1 else kept


def _tile(x: float, y: float) -> Tuple[int, int]:
    return math.floor(x / TILE), math.floor(y / TILE)


def _shaded(colour: Iterable[float], factor: float) -> Colour:
    red, green, blue = (min(value * factor, 1.0) for value in colour)
    return red, green, blue
