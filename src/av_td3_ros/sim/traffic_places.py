"""
Where vehicles may be put on the lanes: open segments, cut into places with room for the longest.
"""

from typing import Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree

from av_td3_ros.driving.road_map import DRIVING, Lane
from av_td3_ros.sim.parts import parts
from av_td3_ros.sim.traffic_lanes import LaneNetwork, STANDING_GAP
from av_td3_ros.sim.traffic_strings import LENGTH, POINT

PITCH = LENGTH + 2 * STANDING_GAP
# Of the points where an ego may be, m.
SPACING = 1.0


class Places:
    """
    Places on open segments.

    ``segment``: (p,) int64. ``begin``, ``size``: (p,) float64 m, along it. ``middle``: (p, 2) m.
    """

    def __init__(self, network: LaneNetwork) -> None:
        """:param network: of any size."""
        opened = np.flatnonzero(~network.closed)
        counts = (network.length[opened] / PITCH).astype(np.int64)
        self.segment = np.repeat(opened, counts)
        self.size = np.repeat(network.length[opened] / np.maximum(counts, 1), counts)
        number = np.arange(len(self.segment)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.begin = number * self.size
        step = network.step[self.segment]
        index = ((self.begin + 0.5 * self.size) / step).astype(np.int64)
        self.middle = network.course[network.first[self.segment] + index, :2]
        courses = np.split(network.course[:, :2], network.first[1:])
        self._part = parts(courses)[self.segment]

    def in_part_of(self, point: Sequence[float]) -> np.ndarray:
        """
        Return which places are in the part of the map that a point is in, or is nearest to.

        :param point: (x, y) m. :returns: (p,) bool.
        """
        return self._part == self._part[np.hypot(*(self.middle - point).T).argmin()]

    def away_from(self, points: np.ndarray, distance: float) -> np.ndarray:
        """
        Return the places that no part of is near points.

        :param points: (n, 2) float64 m. :param distance: m.
        :returns: indices, int64, in order.
        """
        apart = np.hypot(*(self.middle[:, None] - points).T).min(axis=0)
        return np.flatnonzero(apart > distance + 0.5 * self.size + POINT)

    def room(self, distance: float, lanes: Sequence[Lane]) -> int:
        """
        Return how many places are left, at least, wherever on driving lanes one is kept clear.

        :param distance: m around it, as for :meth:`away_from`. :param lanes: of the map.
        """
        points = np.concatenate([_along(lane) for lane in lanes if lane.kind == DRIVING])
        tree, taken = cKDTree(points), np.zeros(len(points), np.int64)
        reach = distance + 0.5 * self.size + POINT + 0.5 * SPACING
        for middle, radius in zip(self.middle, reach):
            taken[tree.query_ball_point(middle, radius)] += 1
        return len(self.middle) - int(taken.max())

    def front(self, place: int, length: float, rng: np.random.Generator) -> Tuple[int, float]:
        """
        Draw where in a place a vehicle is.

        :param length: of the vehicle, m. :returns: segment; place of the front bumper on it, m.
        """
        spare = self.size[place] - length - STANDING_GAP
        front = self.begin[place] + 0.5 * STANDING_GAP + length + rng.uniform(0.0, spare)
        return int(self.segment[place]), float(front)


def _along(lane: Lane) -> np.ndarray:
    """Return points of a centre line no further apart than ``SPACING``, (n, 2) m."""
    at = np.arange(0.0, lane.length + SPACING, SPACING)
    return np.stack([np.interp(at, lane.distance, lane.centre[:, k]) for k in (0, 1)], axis=1)
