"""
The lanes that traffic drives on, as flat arrays: segments, their curves, and where they conflict.

Lanes are cut into segments. An open segment touches no other; a vehicle may stand on it. A closed
one crosses, leaves or joins others: a junction's lane, a merge, or what is too short to stand on.
"""

import math
from typing import Dict, FrozenSet, List, NamedTuple, Set, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.traffic_conflicts import conflicts, corridor
from av_td3_ros.sim.traffic_strings import CELL, LENGTH, POINT, Strings, strings_of

# Between standing vehicles, m.
STANDING_GAP = 2.5
SHORTEST_OPEN = LENGTH + 2 * STANDING_GAP
# A lane that leads to itself is cut, so that a vehicle tells what is ahead from what is behind.
RING_PIECES = 3


class Piece(NamedTuple):
    """Where a segment lies on its string of lanes: ``begin``, ``end`` m."""

    string: int
    begin: float
    end: float
    closed: bool


class LaneNetwork:
    """
    Segments of lanes.

    ``course``: (m, 3) float64, the centre lines at equal steps, one segment after the other: x, y
    (m), and the squared speed (m^2/s^2) that the curves of the lane allow from there on.
    ``first``: (s,) int64, of each segment on the course. ``step``, ``length``: (s,) float64 m.
    ``closed``: (s,) bool. ``entries``: of each segment, its first limit. ``successors``: of each.
    ``hops``: of each segment, how many further ones to an open one. ``conflicts``: of each, those
    that must be clear of vehicles before it is driven on, with the place (m) after which they are.
    ``cells``: (c, 5) float64 boxes, the corridor in pieces; ``cell_segment``, ``cell_place``:
    (c,), the segment of each and its middle on it, m.
    """

    def __init__(self, road_map: RoadMap) -> None:
        """:param road_map: of any size; lanes that lead nowhere are left out where others do."""
        strings = strings_of(road_map.lanes)
        if not strings.lines:
            raise ValueError(
                f'map {road_map.name} must have lanes wide enough for traffic, got none; set '
                'simulator.vehicles to 0'
            )
        self.cells = corridor(strings)
        pairs = conflicts(strings, self.cells)
        pieces = _pieces(strings, np.unique(pairs), len(self.cells))
        self._measure(strings, pieces)
        self._name_cells(strings, pieces)
        self._link(strings, pieces)
        self.conflicts = self._conflicts(pairs)
        self._crossings: Dict[int, FrozenSet[int]] = {}

    def crossings(self, segment: int) -> FrozenSet[int]:
        """Return the closed segments that may follow before the next open one."""
        known = self._crossings.get(segment)
        if known is None:
            found: Set[int] = set()
            ahead = list(self.successors[segment])
            while ahead:
                following = ahead.pop()
                if self.closed[following] and following not in found:
                    found.add(following)
                    ahead.extend(self.successors[following])
            known = self._crossings[segment] = frozenset(found)
        return known

    def _measure(self, strings: Strings, pieces: List[Piece]) -> None:
        self.closed = np.array([piece.closed for piece in pieces])
        self.length = np.array([piece.end - piece.begin for piece in pieces])
        counts = np.maximum(np.ceil(self.length / POINT), 1.0).astype(np.int64)
        self.step = self.length / counts
        self.first = np.concatenate([[0], np.cumsum(counts + 1)[:-1]])
        poses = [
            strings.lines[piece.string].poses(np.linspace(piece.begin, piece.end, count + 1))
            for piece, count in zip(pieces, counts.tolist())
        ]
        self.course = np.concatenate(poses)[:, [0, 1, 4]]
        self.entries: List[float] = self.course[self.first, 2].tolist()

    def _name_cells(self, strings: Strings, pieces: List[Piece]) -> None:
        begins = np.cumsum([0.0] + [line.length for line in strings.lines])
        along = np.concatenate(
            [begin + line.cell_places for begin, line in zip(begins, strings.lines)]
        )
        starts = np.array([begins[piece.string] + piece.begin for piece in pieces])
        self.cell_segment = np.searchsorted(starts, along, 'right') - 1
        self.cell_place = along - starts[self.cell_segment]

    def _link(self, strings: Strings, pieces: List[Piece]) -> None:
        heads: Dict[int, int] = {}
        for k, piece in enumerate(pieces):
            heads.setdefault(piece.string, k)
        graph = nx.DiGraph()
        graph.add_nodes_from(range(len(pieces)))
        for k, piece in enumerate(pieces):
            if k + 1 < len(pieces) and pieces[k + 1].string == piece.string:
                graph.add_edge(k, k + 1)
            else:
                graph.add_edges_from((k, heads[s]) for s in strings.following[piece.string])
        opened = {k for k, piece in enumerate(pieces) if not piece.closed}
        hops = nx.multi_source_dijkstra_path_length(graph.reverse(), opened) if opened else {}
        self.hops = [hops.get(k, math.inf) for k in graph]
        self.successors = tuple(tuple(n for n in graph.successors(k) if n in hops) for k in graph)

    def _conflicts(self, pairs: np.ndarray) -> Tuple[Tuple[Tuple[int, float], ...], ...]:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        segment = self.cell_segment[both]
        codes, inverse = np.unique(
            segment[:, 0] * len(self.first) + segment[:, 1], return_inverse=True
        )
        clear = np.zeros(len(codes))
        np.maximum.at(clear, inverse, self.cell_place[both[:, 1]] + CELL)
        found: List[List[Tuple[int, float]]] = [[] for _ in self.first]
        for code, place in zip(codes.tolist(), clear.tolist()):
            own, other = divmod(code, len(self.first))
            if own != other:
                found[own].append((other, min(place, float(self.length[other]))))
        return tuple(tuple(row) for row in found)


def _pieces(strings: Strings, contested: np.ndarray, count: int) -> List[Piece]:
    """Cut strings where they begin and end to conflict with others."""
    is_contested = np.zeros(count, bool)
    is_contested[contested] = True
    pieces, offset = [], 0
    for number, line in enumerate(strings.lines):
        closed = is_contested[offset : offset + line.cells]
        offset += line.cells
        ring = number in strings.following[number]
        if line.is_junction or line.length < SHORTEST_OPEN:
            closed = np.ones_like(closed)
        bounds = [0, *(np.flatnonzero(np.diff(closed)) + 1).tolist(), line.cells]
        runs = [(a, b, bool(closed[a])) for a, b in zip(bounds, bounds[1:])]
        cell = line.length / line.cells
        runs = [(a, b, shut or (b - a) * cell < SHORTEST_OPEN) for a, b, shut in runs]
        for begin, end, shut in _merged(runs):
            parts = min(RING_PIECES if ring else 1, end - begin)
            edges = [begin + (end - begin) * k // parts for k in range(parts + 1)]
            pieces += [Piece(number, a * cell, b * cell, shut) for a, b in zip(edges, edges[1:])]
    return pieces


def _merged(runs: List[Tuple[int, int, bool]]) -> List[Tuple[int, int, bool]]:
    merged = [runs[0]]
    for begin, end, shut in runs[1:]:
        if shut and merged[-1][2]:
            merged[-1] = (merged[-1][0], end, True)
        else:
            merged.append((begin, end, shut))
    return merged
