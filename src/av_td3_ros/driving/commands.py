"""
What a navigator says of a route: follow, left, right or straight on at the next junction.

F. Codevilla, M. Mueller, A. Lopez, V. Koltun, A. Dosovitskiy, End-to-end Driving via Conditional
Imitation Learning, ICRA 2018. Pure: a route and a map in, commands out; the graph and the loop in
one process run the same.
"""

import bisect
import math
from typing import List, NamedTuple

import numpy as np

from av_td3_ros.datatypes import Command
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route import Route

# A command is given this far before its junction, m: 1.4 s at 30 km/h.
NOTICE = 12.0
# A junction that turns less is crossed straight on: ``_compute_connection`` in CARLA's
# agents/navigation/local_planner.py.
STRAIGHT = math.radians(35.0)
# Where lanes overlap at the edge of a junction, a route seems to leave or to enter it for less
# than this, m.
SLIVER = 2.0


class Crossing(NamedTuple):
    """A junction on a route: where it begins and ends, m along the route, and what to do there."""

    begin: float
    end: float
    command: Command


def crossings(route: Route, road_map: RoadMap) -> List[Crossing]:
    """
    Return the junctions of a route in their order.

    A route that begins or ends in a junction turns there as far as it runs in it; junctions less
    than ``SLIVER`` apart are one.

    :param route: points about 1 m apart.
    :param road_map: of the world that the route is in.
    """
    inside = [road_map.lane_at(x, y).is_junction for x, y in route.points.tolist()]
    found: List[Crossing] = []
    for first, last in _spans(inside, route.distance):
        yaw = np.unwrap(route.yaw[max(first - 1, 0) : last + 2])
        begin, end = float(route.distance[first]), float(route.distance[last])
        if end - begin > SLIVER:
            found.append(Crossing(begin, end, _command(float(yaw[-1] - yaw[0]))))
    return found


class Commands:
    """What to do, anywhere along one route."""

    def __init__(self, route: Route, road_map: RoadMap) -> None:
        """:param route: that is followed. :param road_map: of the world that it is in."""
        self._crossings = crossings(route, road_map)
        self._ends = [crossing.end for crossing in self._crossings]

    def at(self, distance: float) -> Command:
        """
        Return what to do.

        :param distance: of the vehicle, m along the route.
        """
        index = bisect.bisect_left(self._ends, distance)
        if index == len(self._ends) or distance < self._crossings[index].begin - NOTICE:
            return Command.FOLLOW
        return self._crossings[index].command


def _spans(inside: List[bool], distance: np.ndarray) -> List[List[int]]:
    """Return the first and the last index of every run of points in a junction."""
    spans: List[List[int]] = []
    for index in np.flatnonzero(inside).tolist():
        if spans and distance[index] - distance[spans[-1][1]] <= SLIVER:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return spans


def _command(turned: float) -> Command:
    if abs(turned) < STRAIGHT:
        return Command.STRAIGHT
    return Command.LEFT if turned > 0.0 else Command.RIGHT
