"""
Who may drive on to a junction, and when: first come, first served, if it can be left again.

A vehicle before closed segments gets leave for all of them at once, up to the next open one, where

1. nobody who has leave is still on, or before, what conflicts with them;
2. nobody who came earlier waits for the same; and
3. the open segment behind them has room for it, whatever stands there or is on its way there.

So nobody who has leave ever waits for another in a junction: it is always left again. Whom rule
3 has stopped for some seconds blocks nobody by rule 2 any more, and turns elsewhere. Then for all
to stand for ever every lane that leads from a vehicle would have to be full, and so all that these
lead to, which on a circuit is the whole network: no deadlock while vehicles are fewer than places.
"""

import math
from typing import AbstractSet, FrozenSet, List, Sequence, Set, Tuple

import numpy as np

from av_td3_ros.sim.traffic_ego import EgoOnLanes
from av_td3_ros.sim.traffic_lanes import LaneNetwork, STANDING_GAP
from av_td3_ros.sim.traffic_paths import Crossing, FRONT, Left, Paths, REAR
from av_td3_ros.sim.traffic_strings import BRAKING

# A vehicle asks when it would otherwise begin to brake; so much earlier, s and m.
ASK_TIME, ASK_DISTANCE = 0.5, 2.0
# What is ahead of the exit comes to rest after v^2 / (2 * HARDEST), m at least.
HARDEST = 8.0
# Standing with leave, or before a full lane, for so long: give it back, or turn elsewhere, s.
GIVE_BACK, TURN_ELSEWHERE = 3.0, 4.0
STANDING = 0.1
# The ego takes its turn, too: it stands for one more request in the order.
EGO = -1


class RightOfWay:
    """Leave to drive on to closed segments."""

    def __init__(self, network: LaneNetwork, paths: Paths) -> None:
        """:param paths: of the vehicles; their stops are moved on by leave."""
        self._network, self._paths = network, paths
        self._needs = (paths.behind[REAR] + STANDING_GAP).tolist()
        self.reset()

    def reset(self) -> None:
        """Forget who has leave and who waits."""
        count, segments = len(self._paths.front), len(self._network.length)
        self._holders: List[List[Tuple[int, float]]] = [[] for _ in range(segments)]
        self._arriving: List[List[int]] = [[] for _ in range(segments)]
        self._asked = np.full(count, math.inf)
        self._has_leave = np.zeros(count, bool)
        self._stood = np.zeros(count)
        self._full = np.zeros(count)

    def leave(self, left: Sequence[Left]) -> None:
        """Note what rear bumpers have left."""
        for vehicle, segment, entered in left:
            self._holders[segment] = [h for h in self._holders[segment] if h[0] != vehicle]
            if vehicle in self._arriving[entered]:
                self._arriving[entered].remove(vehicle)

    def decide(
        self,
        time: float,
        duration: float,
        speed: np.ndarray,
        may_ask: np.ndarray,
        ego: EgoOnLanes,
    ) -> None:
        """
        Give leave.

        :param time: s. :param duration: of this step, s. :param speed: (n,) float64 m/s.
        :param may_ask: (n,) bool, who has nobody without leave between itself and its stop.
        :param ego: where the ego is.
        """
        self._stood = np.where(speed < STANDING, self._stood + duration, 0.0)
        self._give_back()
        paths = self._paths
        near = speed * (speed / (2.0 * BRAKING) + ASK_TIME) + ASK_DISTANCE
        asks = may_ask & (paths.stop - paths.front < near) & ~paths.is_last
        # One leave at a time: the next one is for who has left the junction with its front.
        asks &= ~(self._has_leave | self._network.closed[paths.segment[FRONT]])
        self._asked = np.where(asks, np.minimum(self._asked, time), math.inf)
        order = [(asked, k) for k, asked in enumerate(self._asked.tolist()) if asked <= time]
        if not order:
            return
        if ego.asked <= time:
            order.append((ego.asked, EGO))
        rear = (paths.front - paths.behind[REAR]).tolist()
        room = self._room(speed, ego)
        waiting: Set[int] = set()
        full: Set[int] = set()
        claims: FrozenSet[int] = frozenset()
        for _, vehicle in sorted(order):
            if vehicle == EGO:
                claims = ego.claims
                continue
            crossing, behind = paths.crossing(vehicle)
            if behind in full or not self._has_room(vehicle, behind, room):
                full.add(behind)
                if self._wait_for_room(vehicle, duration):
                    waiting.update(segment for segment, _ in crossing)
                continue
            # Who is on the ego's lane is ahead of it.
            ahead = paths.segment[FRONT, vehicle] in ego.own
            if (
                self._is_taken(vehicle, crossing, rear)
                or self._meets(crossing, waiting)
                or (claims and not ahead and self._meets(crossing, claims))
                or ego.blocks(crossing)
            ):
                waiting.update(segment for segment, _ in crossing)
            else:
                self._give(vehicle, crossing, behind)

    # -- rules ------------------------------------------------------------------------------------

    def _is_taken(self, vehicle: int, crossing: Crossing, rear: Sequence[float]) -> bool:
        for segment, _ in crossing:
            for other, clear in self._network.conflicts[segment]:
                for holder, start in self._holders[other]:
                    if holder != vehicle and rear[holder] - start < clear:
                        return True
        return False

    def _meets(self, crossing: Crossing, segments: AbstractSet[int]) -> bool:
        return any(
            other in segments
            for segment, _ in crossing
            for other, _ in self._network.conflicts[segment]
        )

    def _room(self, speed: np.ndarray, ego: EgoOnLanes) -> np.ndarray:
        """Return how far from its start each segment is free, once all have come to rest."""
        paths, room = self._paths, self._network.length.copy()
        rest = paths.front - paths.behind[REAR] - paths.begin[REAR]
        np.minimum.at(room, paths.segment[REAR], rest + speed**2 / (2.0 * HARDEST))
        np.minimum.at(room, ego.segment, ego.low)
        return room

    def _has_room(self, vehicle: int, segment: int, room: np.ndarray) -> bool:
        needed = self._needs[vehicle] + sum([self._needs[k] for k in self._arriving[segment]])
        return bool(room[segment] >= needed)

    def _wait_for_room(self, vehicle: int, duration: float) -> bool:
        """Return whether a vehicle keeps its turn; every few seconds it may turn elsewhere."""
        before, self._full[vehicle] = self._full[vehicle], self._full[vehicle] + duration
        turns = before // TURN_ELSEWHERE < self._full[vehicle] // TURN_ELSEWHERE
        if turns and self._stood[vehicle] > 0.0:
            self._paths.turn_elsewhere(vehicle)
        return bool(self._full[vehicle] < TURN_ELSEWHERE)

    # -- leave ------------------------------------------------------------------------------------

    def _give(self, vehicle: int, crossing: Crossing, behind: int) -> None:
        for segment, start in crossing:
            self._holders[segment].append((vehicle, start))
        self._arriving[behind].append(vehicle)
        self._has_leave[vehicle] = True
        self._asked[vehicle] = math.inf
        self._stood[vehicle] = self._full[vehicle] = 0.0
        self._paths.permit(vehicle)

    def _give_back(self) -> None:
        """Take leave from who stands before a junction: something is in its way."""
        self._has_leave &= ~self._network.closed[self._paths.segment[FRONT]]
        for vehicle in np.flatnonzero(self._has_leave & (self._stood > GIVE_BACK)).tolist():
            self._withdraw(vehicle)

    def _withdraw(self, vehicle: int) -> None:
        """Take leave from a vehicle that has not yet driven on to a junction."""
        paths = self._paths
        self._drop(vehicle, paths.begin[FRONT, vehicle], paths.segment[FRONT, vehicle])
        paths.forbid(vehicle)

    def remove(self, vehicle: int) -> None:
        """Forget a vehicle that is taken from the road."""
        self._drop(vehicle, -math.inf, -1)

    def _drop(self, vehicle: int, begin: float, here: int) -> None:
        """Drop what it has leave for from ``begin`` on its path, but for room on ``here``."""
        self._has_leave[vehicle] = False
        for segment, (holders, arriving) in enumerate(zip(self._holders, self._arriving)):
            holders[:] = [h for h in holders if h[0] != vehicle or h[1] < begin]
            if vehicle in arriving and segment != here:
                arriving.remove(vehicle)
