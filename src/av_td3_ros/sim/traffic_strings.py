"""
Strings of lanes: lanes that follow each other with no other way to go, and their centre lines.
"""

import math
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.driving.road_map import DRIVING, Key, Lane
from av_td3_ros.sim.bodies import KINDS

# Of all vehicles: the longest and the widest decide where there is room.
LENGTH = max(body.length for body in KINDS.values())
WIDTH = max(body.width for body in KINDS.values())
# Beside a vehicle on its lane, m; between two vehicles twice that.
SIDE = 0.15
CELL, POINT = 1.0, 0.5
# On the centre line in curves; across a surveyed one it comes to 2.5 here and there. m/s^2, m/s.
LATERAL_ACCELERATION, BRAKING, FASTEST = 1.9, 2.0, 12.0
# The length that a curve is measured over, m.
CURVE_OVER = 3.0
U_TURN = math.radians(150.0)


class Strings(NamedTuple):
    """``lines``: centre line of each string. ``following``: numbers of those that follow each."""

    lines: Tuple['Line', ...]
    following: Tuple[Tuple[int, ...], ...]


class Line:
    """
    The centre line of a string of lanes, by arc length.

    ``length``: m. ``cells``: number of equal pieces of about ``CELL``; ``cell_places``: their
    middles, m.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """:param lanes: one after the other."""
        self.is_junction = lanes[0].is_junction
        raw = np.concatenate([lane.centre[:, :2] for lane in lanes])
        raw = raw[np.concatenate([[True], np.hypot(*np.diff(raw, axis=0).T) > 1e-3])]
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(raw, axis=0).T))])
        self.length = float(along[-1])
        self.cells = max(round(self.length / CELL), 1)
        self.cell_places = (np.arange(self.cells) + 0.5) * (self.length / self.cells)
        self._at = np.linspace(0.0, self.length, max(math.ceil(self.length / POINT), 2) + 1)
        xy = np.stack([np.interp(self._at, along, raw[:, k]) for k in (0, 1)], axis=1)
        yaw, curvature = self._bend(xy)
        self._columns = (*xy.T, yaw, curvature, self._limit(curvature))

    def _bend(self, xy: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return heading and curvature; over some metres, as a surveyed line is not smooth."""
        ahead = np.diff(xy, axis=0)
        yaw = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
        middle = 0.5 * (self._at[1:] + self._at[:-1])
        before = np.maximum(self._at - 0.5 * CURVE_OVER, middle[0])
        after = np.minimum(self._at + 0.5 * CURVE_OVER, middle[-1])
        turn = np.interp(after, middle, yaw) - np.interp(before, middle, yaw)
        return np.interp(self._at, middle, yaw), turn / np.maximum(after - before, POINT)

    def _limit(self, curvature: np.ndarray) -> np.ndarray:
        """Return the squared speed that this curve, and braking for the next one, allow."""
        curve = LATERAL_ACCELERATION / np.maximum(np.abs(curvature), 1e-6)
        from_there = np.minimum(curve, FASTEST**2) + 2.0 * BRAKING * self._at
        return np.minimum.accumulate(from_there[::-1])[::-1] - 2.0 * BRAKING * self._at

    def poses(self, places: np.ndarray) -> np.ndarray:
        """
        Return x, y (m), yaw (rad), curvature (1/m, left positive), squared speed (m^2/s^2).

        :param places: (n,) float64, arc length, m. :returns: (n, 5) float64.
        """
        return np.stack([np.interp(places, self._at, column) for column in self._columns], axis=1)


def strings_of(lanes: Sequence[Lane]) -> Strings:
    """Return the lanes that traffic drives on, as strings."""
    graph, by_key = _graph(lanes)
    joined = {
        key: following[0]
        for key in graph
        if len(following := list(graph.successors(key))) == 1
        and graph.in_degree(following[0]) == 1
        and not by_key[key].is_junction
        and not by_key[following[0]].is_junction
    }
    groups = _groups(list(graph), joined)
    number = {group[0]: k for k, group in enumerate(groups)}
    following = tuple(tuple(number[k] for k in graph.successors(group[-1])) for group in groups)
    return Strings(tuple(Line([by_key[key] for key in group]) for group in groups), following)


def _groups(keys: Sequence[Key], joined: Dict[Key, Key]) -> List[List[Key]]:
    """Return chains of keys; a ring is opened at its first key."""
    later = set(joined.values())
    seen: Set[Key] = set()
    groups = []
    for key in [k for k in keys if k not in later] + list(keys):
        if key in seen:
            continue
        group = [key]
        while group[-1] in joined and joined[group[-1]] != key:
            group.append(joined[group[-1]])
        seen.update(group)
        groups.append(group)
    return groups


def _graph(lanes: Sequence[Lane]) -> Tuple[nx.DiGraph, Dict[Key, Lane]]:
    """Return lanes wide enough; where most of them are on circuits, those alone."""
    by_key = {
        lane.key: lane
        for lane in lanes
        if lane.kind == DRIVING
        and _length(lane) > 0.1
        and (lane.is_junction or lane.width.min() >= WIDTH + 2 * SIDE)
    }
    whole = nx.DiGraph()
    whole.add_nodes_from(by_key)
    for key, lane in by_key.items():
        options = [k for k in lane.successors if k in by_key]
        onwards = [k for k in options if not _turns_back(by_key[k])]
        whole.add_edges_from((key, k) for k in onwards or options)
    lengths = {key: _length(lane) for key, lane in by_key.items()}
    circuits = [part for part in nx.strongly_connected_components(whole) if len(part) > 1]
    circuit = {key: number for number, part in enumerate(circuits) for key in part}
    if 2.0 * sum(lengths[k] for k in circuit) < sum(lengths.values()):
        return whole, by_key
    graph = nx.DiGraph()
    graph.add_nodes_from(key for key in whole if key in circuit)
    # Who leaves a circuit for another one never comes back.
    graph.add_edges_from(
        (a, b) for a, b in whole.edges if a in circuit and circuit[a] == circuit.get(b)
    )
    return graph, by_key


def _length(lane: Lane) -> float:
    return float(np.hypot(*np.diff(lane.centre[:, :2], axis=0).T).sum())


def _turns_back(lane: Lane) -> bool:
    return lane.is_junction and abs(np.unwrap(lane.yaw)[-1] - lane.yaw[0]) > U_TURN
