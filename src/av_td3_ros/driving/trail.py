"""
Where an episode was driven: its first point, one every two metres, and its last.

Thinned while it is driven: an episode of any length is a line of a small file, and a small part of
a message.
"""

import math
from typing import List, Tuple

from av_td3_ros.datatypes import Pose

Point = Tuple[float, float]
SPACING = 2.0
# Of more points every second one is dropped, and the spacing doubled: 1 km at 2 m.
MOST = 512


class Trail:
    """Collects (x, y), m, map frame, of one episode."""

    def __init__(self, start: Pose) -> None:
        """:param start: where it begins."""
        self._kept: List[Point] = [(start.x, start.y)]
        self._last = self._kept[0]
        self._spacing = SPACING

    def add(self, pose: Pose) -> None:
        """:param pose: where the vehicle is now."""
        self._last = pose.x, pose.y
        if math.dist(self._kept[-1], self._last) >= self._spacing:
            self._kept.append(self._last)
            if len(self._kept) > MOST:
                self._kept = self._kept[::2]
                self._spacing *= 2.0

    @property
    def points(self) -> Tuple[Point, ...]:
        """Its points, first to last; the last one is where the vehicle is now."""
        ends = () if self._kept[-1] == self._last else (self._last,)
        return (*self._kept, *ends)
