"""
Lane invasion: which markings the vehicle has crossed since the last tick.

As CARLA's sensor has it (``LaneInvasionSensor``, ``LaneCrossingCalculator``): each of the four
lower corners of the vehicle's box moves in a straight line from tick to tick, and what marking it
crosses is reported, so that a lane change reports a line up to four times, over several ticks.

A marking is the edge of a driving lane outside junctions, as OpenDRIVE draws it; where two driving
lanes share it, it is one. It has CARLA's code even where nothing is painted (10, NONE), as in
CARLA. A corner crosses it when it is on one side before and on the other after, and its path meets
it; a corner on the line counts as to its left. Ends of lanes are no markings.
"""

import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from av_td3_ros.driving.lane_grid import Cell, cells_touched
from av_td3_ros.driving.lanes import DRIVING, Lane, MARKING_CODES

CELL = 2.0
# A corner that moves further than this in a tick has been put there, m.
LONGEST_STEP = 20.0

Corners = Tuple[Tuple[float, float], ...]


class Piece(NamedTuple):
    """A straight piece of a marking: its ends, m, the marking that it is of, and its code."""

    ax: float
    ay: float
    bx: float
    by: float
    line: int
    code: int


class LaneWatch:
    """Follows one vehicle."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """:param lanes: of the map, of every kind."""
        pieces = list(marking_pieces(lanes))
        ends = np.array([piece[:4] for piece in pieces], np.float64).reshape(-1, 2, 2)
        self._cells: Dict[Cell, Tuple[Piece, ...]] = {
            cell: tuple(pieces[i] for i in members)
            for cell, members in (cells_touched(ends, CELL) if pieces else ())
        }
        self._corners: Corners = ()

    def reset(self, box: np.ndarray) -> None:
        """
        Put the vehicle somewhere; nothing is crossed on the way.

        :param box: (5,) float64, x, y, yaw, length, width, m and rad.
        """
        self._corners = _corners(box)

    def update(self, box: np.ndarray) -> List[int]:
        """
        Move the vehicle.

        :param box: (5,) float64, x, y, yaw, length, width, m and rad.
        :returns: CARLA's code of each marking that a corner has crossed, 0 to 10, corner by
            corner: front left, rear left, rear right, front right.
        """
        before, self._corners = self._corners, _corners(box)
        codes: List[int] = []
        for (ax, ay), (bx, by) in zip(before, self._corners):
            codes += self._crossed(ax, ay, bx, by)
        return codes

    def _crossed(self, ax: float, ay: float, bx: float, by: float) -> List[int]:
        i, j, k, m = (math.floor(value / CELL) for value in (ax, ay, bx, by))
        cells = self._cells
        if i == k and j == m:
            near = cells.get((i, j), ())
        elif math.hypot(bx - ax, by - ay) > LONGEST_STEP:
            return []
        else:
            near = [
                piece
                for u in range(min(i, k), max(i, k) + 1)
                for v in range(min(j, m), max(j, m) + 1)
                for piece in cells.get((u, v), ())
            ]
        lines: Dict[int, int] = {}
        for piece in near:
            if _meet(piece, ax, ay, bx, by):
                lines.setdefault(piece.line, piece.code)
        return list(lines.values())


def marking_pieces(lanes: Sequence[Lane]) -> List[Piece]:
    """Return every marking of the driving lanes outside junctions, once, in straight pieces."""
    driving = {lane.key: lane for lane in lanes if lane.kind == DRIVING and not lane.is_junction}
    pieces: List[Piece] = []
    line = 0
    for lane in driving.values():
        for edge, markings, other in (
            (lane.left_edge, lane.left_markings, lane.left_lane),
            (lane.right_edge, lane.right_markings, lane.right_lane),
        ):
            if other is None or other not in driving or lane.key < other:
                pieces += [
                    Piece(*a, *b, line, MARKING_CODES[marking[0]])
                    for a, b, marking in zip(edge.tolist(), edge[1:].tolist(), markings)
                ]
                line += 1
    return pieces


def _corners(box: np.ndarray) -> Corners:
    x, y, yaw, length, width = map(float, box)
    cos, sin = math.cos(yaw), math.sin(yaw)
    ahead_x, ahead_y = 0.5 * length * cos, 0.5 * length * sin
    left_x, left_y = -0.5 * width * sin, 0.5 * width * cos
    return (
        (x + ahead_x + left_x, y + ahead_y + left_y),
        (x - ahead_x + left_x, y - ahead_y + left_y),
        (x - ahead_x - left_x, y - ahead_y - left_y),
        (x + ahead_x - left_x, y + ahead_y - left_y),
    )


def _meet(piece: Piece, ax: float, ay: float, bx: float, by: float) -> bool:
    """
    Return whether a path goes through a piece.

    The side of a point that two pieces share is calculated from the same numbers for both, so that
    a path through it crosses exactly one.
    """
    px, py, qx, qy, _, _ = piece
    dx, dy = qx - px, qy - py
    if (dx * (ay - py) - dy * (ax - px) >= 0.0) == (dx * (by - py) - dy * (bx - px) >= 0.0):
        return False
    dx, dy = bx - ax, by - ay
    return (dx * (py - ay) - dy * (px - ax) >= 0.0) != (dx * (qy - ay) - dy * (qx - ax) >= 0.0)
