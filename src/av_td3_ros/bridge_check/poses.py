"""
What the poses of the odometry say of motion: the reference of every other quantity.

Ways are (ahead, left) in m, in the frame of the vehicle half-way through the frame.
"""

import math
from statistics import median
from typing import List, Optional, Tuple

from av_td3_ros.bridge_check.facts import Facts, Motion

# Below this, m/s, nothing is concluded; below the other, rad/s, it does not really turn.
SLOW, TURNING = 1.0, 0.1


def ways_of(facts: Facts, name: str) -> List[Tuple[float, float]]:
    """Return the way of every frame of a span in the vehicle's frame: (ahead, left), m."""
    span = facts.span(name)
    return [way_of(before, after) for before, after in zip(span, span[1:])]


def way_of(before: Motion, after: Motion) -> Tuple[float, float]:
    """Return the way (m) between two poses: (ahead, left)."""
    dx, dy = after.x - before.x, after.y - before.y
    yaw = before.yaw + wrapped(after.yaw - before.yaw) / 2.0
    return dx * math.cos(yaw) + dy * math.sin(yaw), -dx * math.sin(yaw) + dy * math.cos(yaw)


def moving(facts: Facts) -> List[Tuple[Motion, Tuple[float, float]]]:
    """Return motion and way of the frames of the drive in which the vehicle really moved."""
    found = []
    for name in ('ahead', 'left', 'right'):
        span = facts.span(name)
        for before, after in zip(span, span[1:]):
            way = way_of(before, after)
            if math.hypot(*way) > SLOW * facts.expected.fixed_delta_seconds:
                found.append((after, way))
    return found


def turning(facts: Facts) -> List[Tuple[int, float]]:
    """Return stamp and yaw rate (rad/s), by the poses, of the frames in which it really turned."""
    found = []
    for name in ('left', 'right'):
        span = facts.span(name)
        for before, after in zip(span, span[1:]):
            rate = wrapped(after.yaw - before.yaw) / facts.expected.fixed_delta_seconds
            if abs(rate) > TURNING:
                found.append((after.stamp, rate))
    return found


def fastest(facts: Facts) -> float:
    """Return the greatest speed of the drive, m/s."""
    ways = [math.hypot(*way) for _, way in moving(facts)]
    return max(ways, default=0.0) / facts.expected.fixed_delta_seconds


def turned(span: List[Motion]) -> float:
    """Return by how much the yaw rose in a span, rad."""
    return sum(wrapped(b.yaw - a.yaw) for a, b in zip(span, span[1:]))


def ratio_of(pairs: List[Tuple[float, float]]) -> Optional[float]:
    """Return the median of given over true, or None for fewer than five pairs."""
    return median(given / true for given, true in pairs) if len(pairs) >= 5 else None


def wrapped(angle: float) -> float:
    """Return an angle (rad) brought into [-pi, pi]."""
    return math.remainder(angle, 2.0 * math.pi)
