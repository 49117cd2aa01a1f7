"""
Hits: where a moving box first touches what is in its way, and the impulse that stops it there.

Planar rigid bodies, one contact, no friction, Newton's coefficient of restitution: Baraff, An
Introduction to Physically Based Modeling: Rigid Body Simulation II (SIGGRAPH course notes, 1997),
equation 8-18.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import Pose, wrap_angle
from av_td3_ros.sim.boxes import box_at, corners, touches

# Cars crumple: they hardly bounce.
RESTITUTION = 0.1
# Halvings of a tick's way; of 1 m they leave 4 mm.
HALVINGS = 8
HAIR = 1e-3
Vector = Tuple[float, float]


class Contact(NamedTuple):
    """
    Where a box touches something.

    ``normal``: of length one, away from what it touches. ``depth``: overlap along it, m.
    ``point``: (x, y) m.
    """

    normal: Vector
    depth: float
    point: Vector


class Mover(NamedTuple):
    """
    A rigid body in the plane.

    ``centre``: of gravity, (x, y) m. ``velocity``: of that, m/s. ``yaw_rate``: rad/s. ``mass``:
    kg, infinite for what stands fast. ``inertia``: about the vertical, kg m^2.
    """

    centre: Vector = (0.0, 0.0)
    velocity: Vector = (0.0, 0.0)
    yaw_rate: float = 0.0
    mass: float = math.inf
    inertia: float = math.inf


def way_to(before: Pose, after: Pose, size: Vector, obstacle: np.ndarray) -> Optional[Pose]:
    """
    Return the last pose on a short straight way before a box touches an obstacle.

    :param before: at its beginning. :param after: at its end, where it touches.
    :param size: length and width of the box, m.
    :param obstacle: (5,) box or (3,) circle.
    :returns: the pose, or None where it touches from the beginning.
    """
    if touches(box_at(before, *size), obstacle):
        return None
    free, hit = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (free + hit)
        if touches(box_at(between(before, after, middle), *size), obstacle):
            hit = middle
        else:
            free = middle
    return between(before, after, free)


def between(before: Pose, after: Pose, share: float) -> Pose:
    """Return the pose that lies a share of the way from one to another, turning the short way."""
    return Pose(
        before.x + share * (after.x - before.x),
        before.y + share * (after.y - before.y),
        before.z,
        wrap_angle(before.yaw + share * wrap_angle(after.yaw - before.yaw)),
    )


def contact(box: np.ndarray, obstacle: np.ndarray) -> Contact:
    """
    Return where a box touches an obstacle, or is nearest to it.

    :param box: (5,) x, y, yaw, length, width. :param obstacle: (5,) box or (3,) circle.
    """
    return _with_circle(box, obstacle) if len(obstacle) == 3 else _with_box(box, obstacle)


def impulse(touch: Contact, one: Mover, other: Mover) -> float:
    """
    Return the impulse (N s, >= 0) along the contact's normal on ``one``; the other gets its
    opposite.
    """
    closing = sum(
        n * (_at(other, touch.point)[i] - _at(one, touch.point)[i])
        for i, n in enumerate(touch.normal)
    )
    if closing <= 0.0:
        return 0.0
    yielding = sum(
        1.0 / body.mass + _lever(body, touch) ** 2 / body.inertia for body in (one, other)
    )
    return (1.0 + RESTITUTION) * closing / yielding


def _at(body: Mover, point: Vector) -> Vector:
    """Velocity of the body's matter at a point."""
    rx, ry = point[0] - body.centre[0], point[1] - body.centre[1]
    return body.velocity[0] - body.yaw_rate * ry, body.velocity[1] + body.yaw_rate * rx


def _lever(body: Mover, touch: Contact) -> float:
    rx, ry = touch.point[0] - body.centre[0], touch.point[1] - body.centre[1]
    return rx * touch.normal[1] - ry * touch.normal[0]


def _with_circle(box: np.ndarray, circle: np.ndarray) -> Contact:
    x, y, yaw, length, width = (float(value) for value in box)
    cx, cy, radius = (float(value) for value in circle)
    cos, sin = math.cos(yaw), math.sin(yaw)
    ahead = (cx - x) * cos + (cy - y) * sin
    left = (cy - y) * cos - (cx - x) * sin
    near_ahead = min(max(ahead, -length / 2), length / 2)
    near_left = min(max(left, -width / 2), width / 2)
    u, v = near_ahead - ahead, near_left - left
    away = math.hypot(u, v)
    if away == 0.0:  # its middle is inside the box: out by the nearest side
        along, aside = length / 2 - abs(ahead), width / 2 - abs(left)
        if along < aside:
            u, v, away = math.copysign(1.0, -ahead), 0.0, -along
        else:
            u, v, away = 0.0, math.copysign(1.0, -left), -aside
    else:
        u, v = u / away, v / away
    point = x + near_ahead * cos - near_left * sin, y + near_ahead * sin + near_left * cos
    return Contact((u * cos - v * sin, u * sin + v * cos), radius - away, point)


def _with_box(box: np.ndarray, other: np.ndarray) -> Contact:
    one, two = corners(box), corners(other)
    dx, dy = float(box[0] - other[0]), float(box[1] - other[1])
    depth, normal = math.inf, (1.0, 0.0)
    for yaw in (float(box[2]), float(other[2])):
        for nx, ny in ((math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))):
            axis = np.array((nx, ny))
            reach = float(np.ptp(one @ axis) + np.ptp(two @ axis)) / 2
            apart = dx * nx + dy * ny
            if reach - abs(apart) < depth:
                sign = math.copysign(1.0, apart)
                depth, normal = reach - abs(apart), (sign * nx, sign * ny)

    def away(point: List[float]) -> float:
        return math.hypot(point[0] - other[0], point[1] - other[1])

    if depth <= 0.0:  # a hair apart, as way_to leaves them
        one = one + (depth - HAIR) * np.array(normal)
    shared = _clipped(one.tolist(), two.tolist()) or [min(one.tolist(), key=away)]
    xs, ys = zip(*shared)
    return Contact(normal, depth, (sum(xs) / len(xs), sum(ys) / len(ys)))


def _clipped(subject: List[List[float]], frame: List[List[float]]) -> List[List[float]]:
    """Corners of what two convex polygons share (Sutherland and Hodgman 1974)."""
    for (ax, ay), (bx, by) in zip(frame, frame[1:] + frame[:1]):
        inside = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in subject]
        kept: List[List[float]] = []
        for k, (x, y) in enumerate(subject):
            before, now = inside[k - 1], inside[k]
            if before * now < 0.0:
                share = before / (before - now)
                px, py = subject[k - 1]
                kept.append([px + share * (x - px), py + share * (y - py)])
            if now >= 0.0:
                kept.append([x, y])
        subject = kept
    return subject
