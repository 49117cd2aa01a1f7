"""
The single-track model: two axles, each one tyre that slips and saturates.

Published: M. Althoff, M. Koschi, S. Manzinger, CommonRoad: Composable Benchmarks for Motion
Planning on Roads (IV 2017), and M. Althoff, G. Wuersching, CommonRoad: Vehicle Models (2020),
model ST (load transfer) with the lateral tyre of model STD (Pacejka). docs/design/vehicle.md lists
what differs.
"""

from dataclasses import dataclass, field
import math
from typing import Callable, NamedTuple, Tuple

from av_td3_ros.sim.powertrain import Actuators, Powertrain

GRAVITY = 9.81


@dataclass(frozen=True)
class VehicleParams:
    """
    CommonRoad's vehicle 2, a BMW 320i. SI units; values are those of its tables 6 and 7, under
    the names given here, where no other source is named.

    ``length``, ``width``: l, w. ``height``: data sheet of the E21. ``mass``: m. ``yaw_inertia``:
    I_z. ``front``, ``rear``: a, b, from the centre of gravity to the axles. ``height_cg``: h_s,
    which the published code of ST takes. ``max_steer``: rad at steering 1. CommonRoad allows
    1.066, a circle of 4 m; 35 deg give 10 m between kerbs, as usual in this class.
    ``max_deceleration``: a_max, which the brakes ask for at brake 1; ``brake_front``: T_sb, their
    share in front. ``hand_brake``: N on the rear axle, 0.3 g. ``drag_area``: with it the top speed
    is v_max, 50.8 m/s. ``air_density``: at 20 deg C. ``rolling``: coefficient of rolling
    resistance, Rajamani, Vehicle Dynamics and Control (2012), section 4.1. ``mu``, ``stiffness``,
    ``shape``, ``curvature``: the tyre's p_dy1, -p_ky1, p_cy1, p_ey1.

    Ours: ``lock``, the share of an axle's grip that engine and brakes may use, and ``rear_hold``,
    that of the rear axle which the brake pedal may. The wheels have no speed of their own here; an
    ideal anti-lock system that keeps the rear axle in its track stands for it. ``slow``: m/s
    below which slip is damped, see docs/design/vehicle.md.
    """

    length: float = 4.508
    width: float = 1.61
    height: float = 1.38
    mass: float = 1093.2952334674046
    yaw_inertia: float = 1791.5995300122856
    front: float = 1.1561957064
    rear: float = 1.4227170936
    height_cg: float = 0.61373004
    max_steer: float = 0.61
    max_deceleration: float = 11.5
    brake_front: float = 0.66
    hand_brake: float = 3200.0
    drag_area: float = 0.9
    air_density: float = 1.204
    rolling: float = 0.013
    mu: float = 1.0489
    stiffness: float = 21.92
    shape: float = 1.3507
    curvature: float = -0.0074722
    lock: float = 0.95
    rear_hold: float = 0.5
    slow: float = 2.0
    powertrain: Powertrain = field(default_factory=Powertrain)
    actuators: Actuators = field(default_factory=Actuators)

    @property
    def wheelbase(self) -> float:
        """Distance of the axles, m."""
        return self.front + self.rear

    @property
    def centre(self) -> float:
        """
        The middle of the bounding box ahead of the centre of gravity, m: midway between the axles.
        """
        return 0.5 * (self.front - self.rear)


class Motion(NamedTuple):
    """
    ``x``, ``y``: of the box's middle, m, map frame. ``yaw``: rad. ``forward``, ``lateral``:
    velocity of the centre of gravity in the vehicle frame, m/s. ``yaw_rate``: rad/s.
    """

    x: float
    y: float
    yaw: float = 0.0
    forward: float = 0.0
    lateral: float = 0.0
    yaw_rate: float = 0.0


class Drive(NamedTuple):
    """
    What engine and brakes may do during a step. ``force``: N at full throttle, forward positive.
    ``power``: W on the road. ``hand_brake``: N. ``grip``: of the road, (0, 1].
    """

    force: float
    power: float
    hand_brake: float
    grip: float


Pedals = Tuple[float, float, float]
"""Steering angle (rad), throttle and brake as they act, [0, 1]."""

Derivative = Callable[[Motion, Pedals, Drive, float], Tuple[float, ...]]


def tyre(p: VehicleParams) -> Callable[..., Tuple[float, float]]:
    """
    Return the tyre of an axle: the lateral Pacejka force of STD inside a circle of friction.

    Its arguments: speed of the contact along the wheel, unsigned, and across it, m/s; ``grip``,
    the axle's mu F_z, N; ``mu``; ``engine`` and ``brake``, N, signed, the brake's against the
    rolling. It returns the forces along and across the wheel, N.
    """
    # Locals of a closure: Python reads them faster than attributes, and this is the hot loop.
    atan, sin, sqrt = math.atan, math.sin, math.sqrt
    slow, lock, shape, curvature = p.slow, p.lock, p.shape, p.curvature
    slope = p.stiffness / p.shape

    def forces(along, across, grip, mu, engine, brake):
        tangent = across / (along if along > slow else slow)
        slip = slope / mu * atan(tangent)
        side = -grip * sin(shape * atan(slip - curvature * (slip - atan(slip))))
        # The brake acts against the slide of the contact, of which this is the part lengthwise.
        long = engine - brake / sqrt(1.0 + tangent * tangent)
        limit = lock * grip
        long = limit if long > limit else -limit if long < -limit else long
        use = long / grip
        return long, side * sqrt(1.0 - use * use)

    return forces


def single_track(p: VehicleParams) -> Derivative:
    """
    Return the right-hand side of the model for a car.

    Its arguments are a motion, the pedals, the drive and the direction in which the wheels roll:
    1, -1, or 0 where they stand and friction may hold them. It returns the time derivative of
    the motion, entry by entry.
    """
    sin, cos, copysign = math.sin, math.cos, math.copysign
    forces = tyre(p)
    mass, inertia, front, rear, centre = p.mass, p.yaw_inertia, p.front, p.rear, p.centre
    load_front = mass * GRAVITY * rear / p.wheelbase
    load_rear = mass * GRAVITY * front / p.wheelbase
    transfer = p.height_cg / p.wheelbase
    brakes_front = p.brake_front * mass * p.max_deceleration
    brakes_rear = (1.0 - p.brake_front) * mass * p.max_deceleration
    rear_hold, mu_dry, weight = p.rear_hold, p.mu, mass * GRAVITY
    rolling, drag = p.rolling * weight, 0.5 * p.air_density * p.drag_area

    def derivative(motion, pedals, drive, direction):
        _, _, yaw, forward, lateral, yaw_rate = motion
        angle, throttle, brake = pedals
        force, power, hand_brake, grip = drive
        speed = abs(forward)
        engine = throttle * force
        if abs(force) * speed > power:
            engine = copysign(throttle * power / speed, force)
        brake_front, brake_rear = brakes_front * brake, brakes_rear * brake
        friction = rolling + drag * forward * forward
        swerve = mass * yaw_rate * lateral
        held = False
        if not direction:
            push = engine + swerve
            held = abs(push) <= brake_front + brake_rear + hand_brake + friction
            if held:
                engine = 0.0
            else:
                direction = copysign(1.0, push)
        # The load moves with the acceleration asked for, as in ST, as far as the grip allows it.
        mu = mu_dry * grip
        moved = engine - direction * (brake_front + brake_rear + hand_brake + friction)
        most = mu * weight
        moved = transfer * (most if moved > most else -most if moved < -most else moved)
        grip_front, grip_rear = mu * (load_front - moved), mu * (load_rear + moved)
        if brake_rear > rear_hold * grip_rear:
            brake_rear = rear_hold * grip_rear
        cos_steer, sin_steer = cos(angle), sin(angle)
        across = lateral + front * yaw_rate
        long_front, side_front = forces(
            abs(forward * cos_steer + across * sin_steer),
            across * cos_steer - forward * sin_steer,
            grip_front,
            mu,
            0.0,
            direction * brake_front,
        )
        long_rear, side_rear = forces(
            speed,
            lateral - rear * yaw_rate,
            grip_rear,
            mu,
            engine,
            direction * (brake_rear + hand_brake),
        )
        ahead = long_front * cos_steer - side_front * sin_steer + long_rear - direction * friction
        aside = side_front * cos_steer + long_front * sin_steer
        cos_yaw, sin_yaw = cos(yaw), sin(yaw)
        beside = lateral + centre * yaw_rate
        return (
            forward * cos_yaw - beside * sin_yaw,
            forward * sin_yaw + beside * cos_yaw,
            yaw_rate,
            0.0 if held else (ahead + swerve) / mass,
            (aside + side_rear) / mass - yaw_rate * forward,
            (front * aside - rear * side_rear) / inertia,
        )

    return derivative
