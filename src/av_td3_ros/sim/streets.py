"""
What lies on the ground: lanes, kerbs, markings and the floors of junctions, in layers.

Later layers cover earlier ones, so nothing needs a height and nothing flickers.
"""

from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np
from panda3d.core import Triangulator

from av_td3_ros.driving.road_map import Key, Lane, RoadMap
from av_td3_ros.sim.mesh import Faces, join, polygons
from av_td3_ros.sim.palette import CLASSES, Colour, GROUND, KERB, Label, PAINT, WHITE
from av_td3_ros.sim.strips import floors, gaps, ribbon, Strip

LINE_WIDTH, KERB_WIDTH = 0.14, 0.20
DASH, GAP = 3.0, 4.5
DOT, DOT_EVERY = 0.16, 1.0
# Half the distance between the two lines of a double marking.
DOUBLE = 0.13
# Neighbouring strips overlap by this much, so that no hair of grass shows between them.
OVERLAP = 0.04
# Metres of ground to one repetition of its texture.
GRAIN = 8.0
# Puddles: one each so many metres of lane, of so many corners.
PUDDLE_EVERY, PUDDLE_CORNERS, PUDDLE_SEED = 9.0, 9, 3

# Drawn in this order.
LAYERS = ('beside', 'road', 'paint')


def ground(road_map: RoadMap) -> Dict[str, Faces]:
    """Return the faces of every layer."""
    strips = [Strip(lane) for lane in road_map.lanes]
    lanes = {lane.key: lane for lane in road_map.lanes}
    kinds = {key: lane.kind for key, lane in lanes.items()}
    shown = [strip for strip in strips if strip.lane.kind in GROUND]
    beside = [_floor(part, 'Sidewalk') for part in gaps(shown)]
    road = [_floor(part, 'Driving') for part in floors(strips)]
    paint: List[Faces] = []
    for strip in shown:
        kind = strip.lane.kind
        part = flat_polygons(strip.outline(OVERLAP), GROUND[kind], CLASSES[kind])
        (road if kind == 'Driving' else beside).append(part)
        if kind == 'Sidewalk':
            beside += [flat_polygons(kerb, KERB, Label.SIDEWALKS) for kerb in _kerbs(strip, kinds)]
        if kind == 'Driving' and not strip.lane.is_junction:
            paint += [
                flat_polygons(quads, colour, Label.ROAD_LINES)
                for quads, colour in _markings(strip, lanes)
            ]
    return {'beside': join(beside), 'road': join(road), 'paint': join(paint)}


def flat_polygons(outlines: np.ndarray, colour: Colour, label: int = Label.GROUND) -> Faces:
    """Return polygons on the ground, (p, k, 2) m."""
    corners = np.concatenate([outlines, np.zeros((*outlines.shape[:2], 1))], axis=2)
    # Counter-clockwise from above, whatever came in.
    uv = outlines / GRAIN
    faces = polygons(corners, colour, label, uv, outlines.mean(axis=1))
    faces.normals[:] = (0.0, 0.0, 1.0)
    return faces


def _floor(outline: np.ndarray, kind: str) -> Faces:
    """Return what fills an outline, (n, 2) m, between lanes of a kind."""
    return flat_polygons(_triangulated(outline), GROUND[kind], CLASSES[kind])


def _triangulated(outline: np.ndarray) -> np.ndarray:
    """Return triangles, (t, 3, 2) m."""
    cutter = Triangulator()
    for index, (x, y) in enumerate(outline):
        cutter.addVertex(float(x), float(y))
        cutter.addPolygonVertex(index)
    cutter.triangulate()
    rows = [
        (cutter.getTriangleV0(k), cutter.getTriangleV1(k), cutter.getTriangleV2(k))
        for k in range(cutter.getNumTriangles())
    ]
    return outline[np.array(rows, int).reshape(-1, 3)]


def _kerbs(strip: Strip, kinds: Dict[Key, str]) -> Iterator[np.ndarray]:
    """Yield the kerbs of a sidewalk: along whatever lies beside it."""
    inwards = strip.across * KERB_WIDTH
    if kinds.get(strip.lane.left_lane, 'Sidewalk') != 'Sidewalk':
        yield ribbon(strip.left_edge, strip.left_edge - inwards)
    if kinds.get(strip.lane.right_lane, 'Sidewalk') != 'Sidewalk':
        yield ribbon(strip.right_edge + inwards, strip.right_edge)


# -- markings -------------------------------------------------------------------------------------


def _markings(strip: Strip, lanes: Dict[Key, Lane]) -> Iterator[Tuple[np.ndarray, Colour]]:
    """Yield quadrilaterals and colour of every marking that belongs to a lane."""
    lane = strip.lane
    across = lane.left_edge - lane.right_edge
    across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    sides = [(lane.right_markings, lane.right_edge, -across)]
    if not _painted_by_another(lane, lanes):
        sides.append((lane.left_markings, lane.left_edge, across))
    for markings, edge, outwards in sides:
        for first, last, (kind, colour) in _runs(markings):
            rows = strip.rows[(strip.rows > first) & (strip.rows < last)]
            rows = np.concatenate([[first], rows, [last]])
            for quads in _marking(kind, edge[rows], outwards[rows]):
                yield quads, PAINT.get(colour, WHITE)


def _painted_by_another(lane: Lane, lanes: Dict[Key, Lane]) -> bool:
    """Whether the line to the left is also that of another lane, which paints it."""
    other = lanes.get(lane.left_lane)
    if other is None or other.kind != 'Driving':
        return False
    return other.right_lane == lane.key or other.key < lane.key


def _runs(marks: Sequence[Tuple[str, str]]) -> Iterator[Tuple[int, int, Tuple[str, str]]]:
    """Yield first and last row of every stretch of one marking."""
    first = 0
    for row in range(1, len(marks)):
        if marks[row] != marks[first] or row == len(marks) - 1:
            yield first, row, marks[first]
            first = row


def _marking(kind: str, line: np.ndarray, outwards: np.ndarray) -> Iterator[np.ndarray]:
    """
    Yield the quadrilaterals of a marking along a line.

    A name of two parts, such as SolidBroken, is two lines, the inner one first.
    """
    parts = [part for part in kind.replace('Solid', ' Solid').replace('Broken', ' Broken').split()]
    if kind == 'BottsDots':
        yield _dashes(line, outwards, DOT, DOT_EVERY - DOT, DOT)
        return
    offsets = (0.0,) if len(parts) == 1 else (-DOUBLE, DOUBLE)
    for part, offset in zip(parts, offsets):
        here = line + offset * outwards
        if part == 'Solid':
            half = outwards * (LINE_WIDTH / 2)
            yield ribbon(here + half, here - half)
        elif part == 'Broken':
            yield _dashes(here, outwards, DASH, GAP, LINE_WIDTH)


def _dashes(
    line: np.ndarray, outwards: np.ndarray, dash: float, gap: float, width: float
) -> np.ndarray:
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    begins = np.arange(0.0, along[-1] - dash / 2, dash + gap)
    ends = np.minimum(begins + dash, along[-1])

    def at(places: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(places, along, values[:, k]) for k in (0, 1)], axis=1)

    first, last = at(begins, line), at(ends, line)
    half_first, half_last = (at(p, outwards) * width / 2 for p in (begins, ends))
    return np.stack(
        [first + half_first, first - half_first, last - half_last, last + half_last], axis=1
    )


# -- puddles --------------------------------------------------------------------------------------


def puddles(road_map: RoadMap) -> Faces:
    """Return where water stands on the lanes after rain."""
    rng = np.random.default_rng(PUDDLE_SEED)
    turn = np.arange(PUDDLE_CORNERS) * 2 * np.pi / PUDDLE_CORNERS
    outlines = []
    for lane in road_map.lanes:
        if lane.kind != 'Driving' or lane.is_junction:
            continue
        at = rng.uniform(0.0, lane.length, int(lane.length / PUDDLE_EVERY))
        x, y, yaw, width = (
            np.interp(at, lane.distance, values)[:, None]
            for values in (*lane.centre[:, :2].T, np.unwrap(lane.yaw), lane.width)
        )
        uneven = rng.uniform(0.6, 1.0, (len(at), PUDDLE_CORNERS))
        ahead = uneven * np.cos(turn) * rng.uniform(0.6, 2.6, (len(at), 1))
        left = uneven * np.sin(turn) * rng.uniform(0.2, 0.55, (len(at), 1))
        left = left + rng.uniform(-1.0, 1.0, (len(at), 1)) * (0.5 * width - 0.7)
        cos, sin = np.cos(yaw), np.sin(yaw)
        outlines.append(np.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos], 2))
    return flat_polygons(np.concatenate(outlines), GROUND['Driving'], Label.ROADS)
