"""
Where vehicles are on the lanes and which way they go on: each has a path of segments of its own.

Places on a path are metres travelled; they grow for ever, so that two places of one vehicle
compare whatever lies between. Four points of each vehicle are followed along its path: front
bumper, both axles, rear bumper. Both axles are on the centre line, and so is, but for the inside
of a curve, the middle of the box.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.sim.traffic_conflicts import WHEELBASE
from av_td3_ros.sim.traffic_lanes import LaneNetwork
from av_td3_ros.sim.traffic_strings import BRAKING

FRONT, FRONT_AXLE, REAR_AXLE, REAR = range(4)
# Paths lead at least this far ahead, m; IDM at 12 m/s begins to brake for a standing vehicle here.
LOOK_AHEAD = 60.0
# Of so many lanes ahead the speed limits are kept; further ones count as if they were nearer.
LIMITS = 6
# After so many closed segments in a row a path takes the nearest way out of them.
WANDER = 4

# Segments, and where each begins on a path.
Crossing = List[Tuple[int, float]]


class Left(NamedTuple):
    """A rear bumper has gone from one segment to another."""

    vehicle: int
    segment: int
    entered: int


class Paths:
    """
    Paths of n vehicles.

    ``front``: (n,) float64 m, the place of each front bumper on its path. ``behind``: (4, n), how
    far behind that each followed point is. ``segment``, ``begin``, ``end``: (4, n), the segment
    that each point is on, and its place on the path. ``stop``: (n,) where to stop unless there is
    leave to go on: the beginning of a closed segment, or the end of a lane that leads nowhere.
    ``is_last``: (n,) bool, whether it is the latter. ``reach``: (s, n), where each segment begins
    on each path, inf where it is not on it.
    """

    def __init__(self, network: LaneNetwork, lengths: np.ndarray) -> None:
        """:param lengths: (n,) float64 m, of vehicles."""
        count = len(lengths)
        overhang = 0.5 * (1.0 - WHEELBASE) * lengths
        self._network = network
        self._lengths: List[float] = network.length.tolist()
        self._closed: List[bool] = network.closed.tolist()
        self.behind = np.stack([0.0 * lengths, overhang, lengths - overhang, lengths])
        self.front = np.zeros(count)
        self.segment = np.zeros((4, count), np.int64)
        self.begin, self.end = np.zeros((4, count)), np.zeros((4, count))
        self.stop = np.full(count, math.inf)
        self.is_last = np.zeros(count, bool)
        self.reach = np.full((len(network.length), count), math.inf)
        self._limit_at = np.full((count, LIMITS), math.inf)
        self._limit = np.zeros((count, LIMITS))
        self._extend_at = np.full(count, math.inf)
        self._ways: List[List[int]] = [[] for _ in range(count)]
        self._starts: List[List[float]] = [[] for _ in range(count)]
        self._index = [[0] * count for _ in range(4)]
        self._stop_index = [0] * count
        self._crossing: List[Optional[Tuple[Crossing, int]]] = [None] * count
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> None:
        """:param rng: where to go at junctions."""
        self._rng = rng

    def place(self, vehicle: int, segment: int, front: float) -> None:
        """Put a vehicle on a segment, whole, with its front bumper ``front`` m from its start."""
        self._ways[vehicle], self._starts[vehicle] = [segment], [0.0]
        self.front[vehicle] = front
        for point in range(4):
            self._index[point][vehicle] = 0
            self._on(point, vehicle)
        self._look_ahead(vehicle)
        self._find_stop(vehicle, 0)
        self._refresh(vehicle)

    # -- every tick -------------------------------------------------------------------------------

    def advance(self) -> List[Left]:
        """Follow every vehicle after ``front`` has grown; return what they have left behind."""
        left: List[Left] = []
        for point, vehicle in np.argwhere(self.front - self.behind > self.end).tolist():
            way, place = self._ways[vehicle], self.front[vehicle] - self.behind[point, vehicle]
            while place > self.end[point, vehicle]:
                self._index[point][vehicle] += 1
                if point == REAR:
                    left.append(Left(vehicle, way[0], way[1]))
                    self._forget(vehicle)
                self._on(point, vehicle)
            if point in (FRONT, FRONT_AXLE):
                self._refresh(vehicle)
        for vehicle in np.flatnonzero(self.front > self._extend_at).tolist():
            known = len(self._ways[vehicle])
            self._look_ahead(vehicle)
            if self._stop_index[vehicle] < 0:
                self._find_stop(vehicle, known)
            self._refresh(vehicle)
        return left

    def poses(self, boxes: np.ndarray) -> np.ndarray:
        """
        Put boxes where the vehicles are.

        :param boxes: (n, 5) float64: x, y (m) and yaw (rad) are written.
        :returns: (n,) float64 squared speed that the lanes allow there, m^2/s^2.
        """
        axles = slice(FRONT_AXLE, REAR)
        segment, network = self.segment[axles], self._network
        along = self.front - self.behind[axles]
        along -= self.begin[axles]
        steps = np.maximum(along / network.step[segment], 0.0)
        whole = steps.astype(np.int64)
        at = network.first[segment] + whole
        place = network.course[at]
        # The last point of all has none after it.
        following = network.course[np.minimum(at + 1, len(network.course) - 1)]
        place += (steps - whole)[..., None] * (following - place)
        ahead, behind = place
        boxes[:, :2] = 0.5 * (ahead[:, :2] + behind[:, :2])
        boxes[:, 2] = np.arctan2(ahead[:, 1] - behind[:, 1], ahead[:, 0] - behind[:, 0])
        return np.minimum(ahead[:, 2], behind[:, 2])

    def limit_ahead(self) -> np.ndarray:
        """Return the squared speed that lanes further on allow here, (n,) float64 m^2/s^2."""
        distance = np.maximum(self._limit_at - self.front[:, None], 0.0)
        return (self._limit + 2.0 * BRAKING * distance).min(axis=1)

    # -- junctions --------------------------------------------------------------------------------

    def is_free(self) -> np.ndarray:
        """Return who has leave to go on from the segment that its front is on, (n,) bool."""
        return self.stop > self.end[FRONT] + 1e-6

    def crossing(self, vehicle: int) -> Tuple[Crossing, int]:
        """
        Return what lies behind the stop of a vehicle.

        :returns: closed segments and their places on the path; the open segment behind them.
        """
        known = self._crossing[vehicle]
        if known is None:
            way, starts = self._ways[vehicle], self._starts[vehicle]
            begin = end = self._stop_index[vehicle]
            while end == len(way) or self._closed[way[end]]:
                if end == len(way):
                    self._extend(vehicle)
                else:
                    end += 1
            known = list(zip(way[begin:end], starts[begin:end])), way[end]
            self._crossing[vehicle] = known
        return known

    def permit(self, vehicle: int) -> None:
        """Let a vehicle go on: its stop is now the one after this crossing."""
        segments, _ = self.crossing(vehicle)
        self._find_stop(vehicle, self._stop_index[vehicle] + len(segments))

    def forbid(self, vehicle: int) -> None:
        """Let a vehicle stop before the crossing that it has not yet driven on to."""
        self._find_stop(vehicle, self._index[FRONT][vehicle])

    def turn_elsewhere(self, vehicle: int) -> None:
        """Choose the way on from the segment that the front is on anew."""
        keep = self._index[FRONT][vehicle] + 1
        del self._ways[vehicle][keep:], self._starts[vehicle][keep:]
        self._look_ahead(vehicle)
        self._find_stop(vehicle, keep - 1)
        self._refresh(vehicle)

    # -- paths ------------------------------------------------------------------------------------

    def _look_ahead(self, vehicle: int) -> None:
        while self._path_end(vehicle) - self.front[vehicle] < LOOK_AHEAD and self._extend(vehicle):
            pass
        open_end = self._network.successors[self._ways[vehicle][-1]]
        self._extend_at[vehicle] = self._path_end(vehicle) - LOOK_AHEAD if open_end else math.inf

    def _path_end(self, vehicle: int) -> float:
        return self._starts[vehicle][-1] + self._lengths[self._ways[vehicle][-1]]

    def _extend(self, vehicle: int) -> bool:
        way = self._ways[vehicle]
        options = self._network.successors[way[-1]]
        if not options:
            return False
        if (
            len(options) > 1
            and len(way) > WANDER
            and all(self._closed[segment] for segment in way[-WANDER:])
        ):
            options = (min(options, key=self._network.hops.__getitem__),)
        choice = int(self._rng.integers(len(options))) if len(options) > 1 else 0
        self._starts[vehicle].append(self._path_end(vehicle))
        way.append(options[choice])
        return True

    def _find_stop(self, vehicle: int, begin: int) -> None:
        """Set the stop to the first closed segment of the path from index ``begin`` on."""
        way = self._ways[vehicle]
        index = next((k for k in range(begin, len(way)) if self._closed[way[k]]), -1)
        is_last = index < 0 and not self._network.successors[way[-1]]
        self._stop_index[vehicle], self._crossing[vehicle] = index, None
        self.is_last[vehicle] = is_last
        self.stop[vehicle] = (
            self._starts[vehicle][index]
            if index >= 0
            else self._path_end(vehicle) if is_last else math.inf
        )

    def _forget(self, vehicle: int) -> None:
        """Drop the first segment of a path."""
        del self._ways[vehicle][0], self._starts[vehicle][0]
        for index in self._index:
            index[vehicle] -= 1
        if self._stop_index[vehicle] >= 0:
            self._stop_index[vehicle] -= 1

    def _on(self, point: int, vehicle: int) -> None:
        index = self._index[point][vehicle]
        segment, begin = self._ways[vehicle][index], self._starts[vehicle][index]
        self.segment[point, vehicle] = segment
        self.begin[point, vehicle] = begin
        self.end[point, vehicle] = begin + self._lengths[segment]

    def _refresh(self, vehicle: int) -> None:
        """Write what lies ahead of a front bumper into the arrays."""
        index = self._index[FRONT][vehicle]
        way, starts = self._ways[vehicle][index:], self._starts[vehicle][index:]
        self.reach[:, vehicle] = math.inf
        # Backwards: of a segment that comes twice, the nearer one counts.
        self.reach[way[::-1], vehicle] = starts[::-1]
        # The lane under the front axle sets its own limit (poses); what the bumper is on already
        # counts as ahead of it until then.
        following = self._index[FRONT_AXLE][vehicle] + 1
        ahead = self._starts[vehicle][following:]
        entries = [self._network.entries[k] for k in self._ways[vehicle][following:]]
        if len(ahead) > LIMITS:
            entries[LIMITS - 1 :] = [min(entries[LIMITS - 1 :])]
            del ahead[LIMITS:]
        self._limit_at[vehicle] = math.inf
        self._limit_at[vehicle, : len(ahead)] = ahead
        self._limit[vehicle, : len(ahead)] = entries
