"""The one place where actions in [-1, 1] become vehicle controls, or speeds and angles."""

import math
from typing import NamedTuple, Sequence

from av_td3_ros.datatypes import Control
from av_td3_ros.gate_config import VehicleConfig

# Below it a braking car is told to stand, not to creep.
STANDING = 0.1


class Motion(NamedTuple):
    """
    What a vehicle that takes speeds and angles is told.

    ``speed``: to be reached, m/s, never backward. ``acceleration``: wanted now, m/s^2, negative
    where it brakes. ``steering_angle``: of a front wheel in the middle, rad, positive left.
    ``yaw_rate``: of a car without slip at that speed and angle, rad/s, positive left.
    """

    speed: float
    acceleration: float
    steering_angle: float
    yaw_rate: float


def to_control(action: Sequence[float]) -> Control:
    """
    Turn an action into a control.

    :param action: [steering, acceleration], each in [-1, 1]; steering is positive to the left,
        acceleration is throttle where positive and brake where negative.
    """
    steering, acceleration = float(action[0]), float(action[1])
    return Control(
        throttle=max(acceleration, 0.0), brake=max(-acceleration, 0.0), steering=steering
    )


def to_motion(action: Sequence[float], speed: float, vehicle: VehicleConfig) -> Motion:
    """
    Turn an action into the motion that it asks of a vehicle.

    A full brake asks for standing, whatever the speed is said to be. Beyond the largest speed the
    acceleration is what leads back to it, whatever the action: a receiver may look at that alone.

    :param action: as for :func:`to_control`.
    :param speed: forward, now, m/s; one that is no number counts as standing.
    :param vehicle: its limits.
    """
    steering, wanted = float(action[0]), float(action[1])
    speed = max(speed, 0.0) if math.isfinite(speed) else 0.0
    limit = vehicle.max_acceleration if wanted >= 0.0 else vehicle.max_deceleration
    # What is left to the largest speed; negative beyond it.
    room = (vehicle.max_speed - speed) / vehicle.horizon
    acceleration = max(min(wanted * limit, room), -vehicle.max_deceleration)
    target = min(max(speed + acceleration * vehicle.horizon, 0.0), vehicle.max_speed)
    if wanted <= -1.0 or (wanted < 0.0 and target < STANDING):
        target = 0.0
    angle = steering * vehicle.max_steering_angle
    return Motion(target, acceleration, angle, target * math.tan(angle) / vehicle.wheel_base)
