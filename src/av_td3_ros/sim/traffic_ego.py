"""
The ego as the traffic sees it: which pieces of lanes it is on, and which junction it comes to.
"""

import math
from typing import Dict, FrozenSet, Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree

from av_td3_ros.sim.boxes import corners, touching
from av_td3_ros.sim.traffic_lanes import LaneNetwork
from av_td3_ros.sim.traffic_strings import BRAKING, CELL

# After so long without moving, s, it no longer takes its turn at a junction.
PATIENCE, STANDING = 5.0, 0.3
# It comes to a junction when it is as near as this, s and m, besides its way to brake.
ASK_TIME, ASK_DISTANCE = 0.5, 4.0
# Slower than this, m/s, it is not driven on behind into a junction.
MOVING = 1.0
ALONG = 0.5

Ego = Tuple[float, float, float, float, float, float]


class EgoOnLanes:
    """
    Pieces of lanes that the ego is on.

    ``segment``: (k,) int64. ``low``, ``high``: (k,) float64 m, from where to where on each.
    ``own``: of each segment that leads the way it looks, how far it is on it, m. ``asked``: time
    (s) since when it is about to cross, inf where it is not. ``claims``: closed segments that it
    may be about to drive on.
    """

    def __init__(self, network: LaneNetwork) -> None:
        """:param network: that the traffic drives on."""
        self._network = network
        self._tree = cKDTree(network.cells[:, :2])
        self._reach = 0.5 * math.hypot(*network.cells[:, 3:].max(axis=0))
        self._box: Tuple[float, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forget when it came."""
        self.asked, self._stood = math.inf, 0.0
        self.claims: FrozenSet[int] = frozenset()

    def update(self, time: float, duration: float, ego: Ego) -> None:
        """
        Note where it is.

        :param time: s. :param duration: since the last time, s. :param ego: x, y (m), yaw (rad),
            length, width (m), speed (m/s).
        """
        self.speed, self.yaw = ego[5], ego[2]
        if ego[:5] != self._box:
            self._box = tuple(ego[:5])
            self._locate()
        self._stood = self._stood + duration if abs(self.speed) < STANDING else 0.0
        self.claims = frozenset() if self._stood > PATIENCE else self._ways()
        self.asked = min(self.asked, time) if self.claims else math.inf

    def blocks(self, crossing: Sequence[Tuple[int, float]]) -> bool:
        """Return whether it is in the way, or may soon be, of who would drive on segments."""
        for segment, _ in crossing:
            if segment in self._touched:
                if not self._touched[segment] or self.speed < MOVING:
                    return True
            elif self._is_inside and any(
                other in self.claims for other, _ in self._network.conflicts[segment]
            ):
                return True
        return False

    def _locate(self) -> None:
        network, box = self._network, np.array(self._box)
        reach = self._reach + 0.5 * math.hypot(*box[3:])
        near = np.array(sorted(self._tree.query_ball_point(box[:2], reach)), np.int64)
        cell = near[touching(box, network.cells[near])]
        cos, sin = np.cos(network.cells[cell, 2]), np.sin(network.cells[cell, 2])
        away = corners(box) - network.cells[cell, None, :2]
        along = away[..., 0] * cos[:, None] + away[..., 1] * sin[:, None]
        half, place = 0.5 * CELL, network.cell_place[cell]
        self.segment = network.cell_segment[cell]
        self.low = place + np.clip(along.min(axis=1), -half, half)
        self.high = place + np.clip(along.max(axis=1), -half, half)
        is_along = np.cos(network.cells[cell, 2] - self.yaw) > ALONG
        self._touched: Dict[int, bool] = {}
        self.own: Dict[int, float] = {}
        for segment, same, high in zip(
            self.segment.tolist(), is_along.tolist(), self.high.tolist()
        ):
            self._touched[segment] = self._touched.get(segment, True) and same
            if same:
                self.own[segment] = max(self.own.get(segment, 0.0), high)
        self._is_inside = any(network.closed[segment] for segment in self.own)

    def _ways(self) -> FrozenSet[int]:
        network = self._network
        speed = max(self.speed, 0.0)
        near = speed * (speed / (2.0 * BRAKING) + ASK_TIME) + ASK_DISTANCE
        claims = set()
        for segment, high in self.own.items():
            if network.closed[segment]:
                claims.add(segment)
                claims.update(network.crossings(segment))
            elif network.length[segment] - high < near:
                claims.update(network.crossings(segment))
        return frozenset(claims)
