"""A plan of where is driven, as a raster: how far any point is from the nearest driving lane."""

from typing import Sequence

import cv2
import numpy as np

TEXEL = 0.25
# A plan of a large town is coarser, so that it fits into memory.
MOST_TEXELS = 16_000_000
MARGIN = 60.0


class GroundPlan:
    """Distance to driving lanes and to the floors of junctions."""

    def __init__(self, quads: np.ndarray, floors: Sequence[np.ndarray]) -> None:
        """
        Draw the plan.

        :param quads: (q, 4, 2) m, driving lanes. :param floors: outlines between them, (n, 2) m
            each.
        """
        self._low = quads.min(axis=(0, 1)) - MARGIN
        extent = quads.max(axis=(0, 1)) + MARGIN - self._low
        self._texel = max(TEXEL, float(np.sqrt(extent.prod() / MOST_TEXELS)))
        columns, rows = np.ceil(extent / self._texel).astype(int)
        free = np.full((rows, columns), 255, np.uint8)
        for quad in self._texels(quads):
            cv2.fillConvexPoly(free, quad, 0)
        for floor in floors:
            cv2.fillPoly(free, [self._texels(floor)], 0)
        self._distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """
        Return how far points are from where is driven, (n,) m: never too much; 0 on a lane.

        :param points: (n, 2) m.
        """
        columns, rows = self._texels(points).T
        height, width = self._distance.shape
        distance = self._distance[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        # The point and the lane's edge may lie anywhere in their texels.
        return np.maximum((distance - np.sqrt(2.0)) * self._texel, 0.0)

    def _texels(self, points: np.ndarray) -> np.ndarray:
        """Return column and row of points, (..., 2) m."""
        return np.floor((points - self._low) / self._texel).astype(np.int32)
