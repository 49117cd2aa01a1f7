"""
What a vehicle runs into during one tick: it is held there, and slides on along what it touches.

The way of the tick is followed in steps shorter than the vehicle is wide, so that nothing thin is
jumped over. At each first touch the impulse acts, and the rest of the way loses its part into the
obstacle.
"""

import math
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import Pose, wrap_angle
from av_td3_ros.sim.collisions import between, Contact, contact, HAIR, impulse, Mover, way_to
from av_td3_ros.sim.vehicle import Vehicle

# Obstacles that one tick may bring in turn, such as the walls of a corner; then it is wedged.
MOST = 6


class Obstacle(NamedTuple):
    """
    Something in the way. ``outline``: (5,) box or (3,) circle. ``body``: how it moves.
    ``actor_id``: CARLA's.
    """

    outline: np.ndarray
    body: Mover
    actor_id: int


class Hit(NamedTuple):
    """An obstacle, and the impulse (x, y) on the vehicle, N s, map frame."""

    obstacle: Obstacle
    impulse: Tuple[float, float]


Touched = Callable[[Pose], List[Obstacle]]


def resolve(vehicle: Vehicle, before: Pose, touched: Touched) -> Iterator[Hit]:
    """
    Hold a vehicle where it touches obstacles, and yield each hit as it happens.

    :param vehicle: where its motion alone has taken it in this tick. :param before: where it was
        before. :param touched: tells what a pose touches.
    """
    start, target = before, vehicle.state.pose
    for _ in range(MOST):
        found = _first(vehicle, start, target, touched)
        if found is None:
            vehicle.place(target)
            return
        pose, obstacle = found
        vehicle.place(pose)
        touch = contact(vehicle.box, obstacle.outline)
        force = impulse(touch, mover(vehicle), obstacle.body)
        if force > 0.0:
            pushed = force * touch.normal[0], force * touch.normal[1]
            vehicle.push(pushed, touch.point)
            yield Hit(obstacle, pushed)
        start, target = _out_of(pose, touch), _along(pose, target, touch)
    vehicle.place(start)
    vehicle.set_velocity(0.0, 0.0)


def mover(vehicle: Vehicle) -> Mover:
    """Return a vehicle as a rigid body."""
    params, state = vehicle.params, vehicle.state
    cos, sin = math.cos(state.pose.yaw), math.sin(state.pose.yaw)
    # The middle of the box turns about the centre of gravity.
    left = state.lateral_speed - params.centre * state.yaw_rate
    velocity = state.speed * cos - left * sin, state.speed * sin + left * cos
    return Mover(
        vehicle.centre_of_gravity, velocity, state.yaw_rate, params.mass, params.yaw_inertia
    )


def _first(
    vehicle: Vehicle, start: Pose, target: Pose, touched: Touched
) -> Optional[Tuple[Pose, Obstacle]]:
    """Return the last free pose on the way and what comes then; None for a free way."""
    size = vehicle.params.length, vehicle.params.width
    way = math.hypot(target.x - start.x, target.y - start.y)
    count = max(math.ceil(way / (0.5 * size[1])), 1)
    free = start
    for k in range(1, count + 1):
        pose = between(start, target, k / count)
        obstacles = touched(pose)
        if obstacles:
            stops = [way_to(free, pose, size, obstacle.outline) for obstacle in obstacles]
            # What it touches from the beginning comes before all others.
            _, nearest = min(
                (0.0 if s is None else 1.0 + _way(free, s), i) for i, s in enumerate(stops)
            )
            return stops[nearest] or free, obstacles[nearest]
        free = pose
    return None


def _way(start: Pose, end: Pose) -> float:
    return math.hypot(end.x - start.x, end.y - start.y) + abs(wrap_angle(end.yaw - start.yaw))


def _out_of(pose: Pose, touch: Contact) -> Pose:
    """Return the pose a hair away from what it touches."""
    out = max(touch.depth, 0.0) + HAIR
    return pose._replace(x=pose.x + out * touch.normal[0], y=pose.y + out * touch.normal[1])


def _along(pose: Pose, target: Pose, touch: Contact) -> Pose:
    """Return the target without the part of the way there that leads into what is touched."""
    (nx, ny), free = touch.normal, _out_of(pose, touch)
    dx, dy = target.x - pose.x, target.y - pose.y
    into = min(dx * nx + dy * ny, 0.0)
    return target._replace(x=free.x + dx - into * nx, y=free.y + dy - into * ny)
