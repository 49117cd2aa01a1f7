"""
Which driving lane is under a point: exact, on the lanes' own cross-sections.

``carla.Map.get_waypoint`` takes the lane whose centre line is nearest and asks whether it is
nearer than half a width; where lanes of several widths meet, at the ends of lanes and between two
centre lines it errs by decimetres. Here a lane is what lies between its edges.

Every strip between two cross-sections is a convex polygon; a grid of square cells knows which
strips touch a cell.
"""

import math
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from av_td3_ros.driving.lanes import Lane

CELL = 2.0
# Strips are this much larger than drawn, m: no hair of nothing lies between neighbours, whose
# places CARLA gives in single precision.
GROW = 1e-3

Cell = Tuple[int, int]


class Under(NamedTuple):
    """
    What is under a point.

    ``lane``: index of the lane. ``strip``: index of its cross-section at the strip's begin.
    ``left``: m to the left of the centre line. ``share``: of the strip that lies behind, [0, 1].
    ``is_off``: whether the point is beside or beyond every lane.
    """

    lane: int
    strip: int
    left: float
    share: float
    is_off: bool


class LaneGrid:
    """Finds the lane under a point among lanes of one kind."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """:param lanes: at least one."""
        polygons, owners = _strips(lanes)
        self._polygons = polygons
        self._owner: List[Tuple[int, int]] = owners.tolist()
        self._middle = polygons.mean(axis=1)
        self._radius = np.hypot(*(polygons - self._middle[:, None]).transpose(2, 0, 1)).max(axis=1)
        self._axis = [_axes(lane) for lane in lanes]
        shapes = [
            (*shape, *owner) for shape, owner in zip(_shapes(polygons).tolist(), self._owner)
        ]
        self._cells: Dict[Cell, Tuple[Tuple[float, ...], ...]] = {
            cell: tuple(shapes[i] for i in members)
            for cell, members in cells_touched(polygons, CELL)
        }

    def covers(self, x: float, y: float) -> bool:
        """Return whether (x, y), m, is on a lane."""
        for shape in self._cells.get((math.floor(x / CELL), math.floor(y / CELL)), ()):
            if _is_inside(shape, x, y):
                return True
        return False

    def find(self, x: float, y: float) -> Under:
        """Return the lane under (x, y), m: of several the one with the nearest centre line."""
        best = None
        for shape in self._cells.get((math.floor(x / CELL), math.floor(y / CELL)), ()):
            if _is_inside(shape, x, y):
                under = self._on(shape[16], shape[17], x, y, False)
                if best is None or abs(under.left) < abs(best.left):
                    best = under
        if best is None:
            best = self._on(*self._owner[self._nearest(x, y)], x, y, True)
        return best

    def _on(self, lane: int, strip: int, x: float, y: float, is_off: bool) -> Under:
        ax, ay, dx, dy, length = self._axis[lane][strip]
        ahead, left = (x - ax) * dx + (y - ay) * dy, (y - ay) * dx - (x - ax) * dy
        share = min(max(ahead / length, 0.0), 1.0) if length > 0.0 else 0.0
        return Under(lane, strip, left, share, is_off)

    def _nearest(self, x: float, y: float) -> int:
        """Return the strip whose edge is nearest to a point that is on none."""
        away = np.hypot(self._middle[:, 0] - x, self._middle[:, 1] - y)
        near = np.flatnonzero(away - self._radius <= away.min())
        begin = self._polygons[near] - (x, y)
        step = np.roll(begin, -1, axis=1) - begin
        length2 = np.maximum((step * step).sum(axis=2), 1e-12)
        share = np.clip(-(begin * step).sum(axis=2) / length2, 0.0, 1.0)
        distance = np.hypot(*(begin + share[..., None] * step).transpose(2, 0, 1)).min(axis=1)
        return int(near[np.argmin(distance)])


def cells_touched(polygons: np.ndarray, size: float) -> Iterator[Tuple[Cell, List[int]]]:
    """
    Yield the square cells that convex polygons touch, each with the polygons in it, in order.

    :param polygons: (n, k, 2) float64 m, counter-clockwise; two points are a line.
    :param size: of a cell, m; cell (i, j) begins at (i, j) * size.
    """
    low = np.floor(polygons.min(axis=1) / size).astype(np.int64)
    count = np.floor(polygons.max(axis=1) / size).astype(np.int64) - low + 1
    total = count.prod(axis=1)
    which = np.repeat(np.arange(len(polygons)), total)
    place = np.arange(len(which)) - np.repeat(np.cumsum(total) - total, total)
    rows = count[which, 1]
    cells = low[which] + np.stack([place // rows, place % rows], axis=1)
    touch = np.ones(len(cells), bool)
    # A cell is apart where all of it lies beyond a side.
    middle, half = (cells + 0.5) * size, 0.5 * size
    for normal, offset in _sides(polygons):
        reach = half * np.abs(normal).sum(axis=1)
        touch &= (normal[which] * middle).sum(axis=1) + (reach - offset)[which] >= 0.0
    cells, which = cells[touch], which[touch]
    order = np.lexsort((which, cells[:, 1], cells[:, 0]))
    cells, which = cells[order], which[order]
    first = np.flatnonzero(np.any(np.diff(cells, axis=0, prepend=cells[:1] - 1), axis=1))
    members, bounds = which.tolist(), [*first.tolist(), len(which)]
    for (i, j), begin, end in zip(cells[first].tolist(), bounds, bounds[1:]):
        yield (i, j), members[begin:end]


def _sides(polygons: np.ndarray) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Yield per side the normal inwards, (n, 2), and the least of normal . point inside, (n,)."""
    for k in range(polygons.shape[1]):
        step = np.roll(polygons, -1, axis=1)[:, k] - polygons[:, k]
        length = np.hypot(step[:, 0], step[:, 1])
        normal = np.stack([-step[:, 1], step[:, 0]], axis=1)
        normal /= np.where(length > 0.0, length, 1.0)[:, None]
        yield normal, (normal * polygons[:, k]).sum(axis=1) - GROW


def _shapes(polygons: np.ndarray) -> np.ndarray:
    """
    Return the least and the greatest x and y, then a, b, c per side: a x + b y >= c inside; (n,
    16) float64.
    """
    low, high = polygons.min(axis=1) - GROW, polygons.max(axis=1) + GROW
    return np.column_stack(
        [low[:, 0], high[:, 0], low[:, 1], high[:, 1]]
        + [column for side in _sides(polygons) for column in side]
    )


def _is_inside(shape: Tuple[float, ...], x: float, y: float) -> bool:
    # The bounds keep the tip of an acute polygon from growing far.
    return (
        shape[0] <= x <= shape[1]
        and shape[2] <= y <= shape[3]
        and shape[4] * x + shape[5] * y >= shape[6]
        and shape[10] * x + shape[11] * y >= shape[12]
        and shape[7] * x + shape[8] * y >= shape[9]
        and shape[13] * x + shape[14] * y >= shape[15]
    )


def _strips(lanes: Sequence[Lane]) -> Tuple[np.ndarray, np.ndarray]:
    """
    Return the convex polygons of all strips, (n, 4, 2) m counter-clockwise, and for each the index
    of its lane and of the strip, (n, 2).
    """
    polygons, owners = [], []
    for index, lane in enumerate(lanes):
        left, right = lane.left_edge, lane.right_edge
        polygons.append(np.stack([right[:-1], right[1:], left[1:], left[:-1]], axis=1))
        strips = np.arange(len(left) - 1)
        owners.append(np.column_stack([np.full(len(strips), index), strips]))
    quads, owner = np.concatenate(polygons), np.concatenate(owners)
    folded = ~_is_convex(quads)
    # Where an edge runs backwards, inside a bend tighter than the lane is wide, or edges cross.
    parts = quads[folded]
    halves = np.concatenate([parts[:, (0, 1, 2, 2)], parts[:, (0, 2, 3, 3)]])
    clockwise = _turn(halves[:, 0], halves[:, 1], halves[:, 2]) < 0.0
    halves[clockwise] = halves[clockwise][:, ::-1]
    return (
        np.concatenate([quads[~folded], halves]),
        np.concatenate([owner[~folded], owner[folded], owner[folded]]),
    )


def _is_convex(quads: np.ndarray) -> np.ndarray:
    corners = [quads[:, k % 4] for k in range(6)]
    turns = [_turn(*corners[k : k + 3]) for k in range(4)]
    return np.min(turns, axis=0) >= 0.0


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return twice the area of triangles, positive counter-clockwise."""
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _axes(lane: Lane) -> List[List[float]]:
    """Return per strip the centre's begin, its direction and its length."""
    begin = lane.centre[:-1, :2]
    step = np.diff(lane.centre[:, :2], axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    direction = step / np.where(length > 0.0, length, 1.0)[:, None]
    return np.column_stack([begin, direction, length]).tolist()
