"""
The vehicle: a single-track car whose tyres slip, with an engine, gears, brakes and their delays.

The equations are in ``single_track.py``, the powertrain in ``powertrain.py``; here they are
integrated by the classical Runge-Kutta method of order 4.
"""

import math
from typing import Sequence, Tuple

import numpy as np

from av_td3_ros.datatypes import Control, Pose, VehicleState, wrap_angle
from av_td3_ros.sim.boxes import box_at
from av_td3_ros.sim.powertrain import REVERSE, follow, steer
from av_td3_ros.sim.single_track import (
    Derivative,
    Drive,
    Motion,
    Pedals,
    VehicleParams,
    single_track,
)

SUBSTEP = 0.0125
"""The longest step of the integration, s; docs/design/vehicle.md has its error."""

REST = 1e-3
"""Standing on its wheels the car is at rest below this slip, m/s, and yaw rate, rad/s."""

BRAKE_LIGHT = 0.05
"""The brake lights are on where the brake is pressed more than this."""


class Vehicle:
    """Its pose is the middle of its bounding box, on the ground."""

    def __init__(self, params: VehicleParams = VehicleParams()) -> None:
        """:param params: of the car."""
        self.params = params
        self.acceleration = 0.0
        self.lateral_acceleration = 0.0
        self.gear = 1
        self._derivative = single_track(params)
        self._motion = Motion(0.0, 0.0)
        self._pedals: Pedals = (0.0, 0.0, 0.0)
        self._grip = 1.0
        self._duration = SUBSTEP
        self._report(Pose(0.0, 0.0))

    @property
    def grip(self) -> float:
        """Grip of the road in (0, 1], as a share of that of a dry one."""
        return self._grip

    @grip.setter
    def grip(self, grip: float) -> None:
        if not 0.0 < grip <= 1.0:
            raise ValueError(
                f'grip must lie in (0, 1], got {grip}; 1 is a dry road, see the weather'
            )
        self._grip = grip

    @property
    def steering_angle(self) -> float:
        """Angle of the front wheels, rad, positive left."""
        return self._pedals[0]

    @property
    def box(self) -> np.ndarray:
        """Where it is: (5,) float64, x, y, yaw, length, width."""
        return box_at(self.state.pose, self.params.length, self.params.width)

    @property
    def is_braking(self) -> bool:
        """Whether the brake lights are on."""
        return self._pedals[2] > BRAKE_LIGHT

    @property
    def centre_of_gravity(self) -> Tuple[float, float]:
        """Where the mass is, m, map frame."""
        x, y, yaw = self._motion[:3]
        return x - self.params.centre * math.cos(yaw), y - self.params.centre * math.sin(yaw)

    def place(self, pose: Pose) -> None:
        """Put the car somewhere; its velocity stays."""
        self._motion = self._motion._replace(x=float(pose.x), y=float(pose.y), yaw=float(pose.yaw))
        self._report(pose)

    def set_velocity(self, speed: float, yaw_rate: float) -> None:
        """
        Set the velocity of the box's middle, without slip; speed 0 also frees wheels and pedals.

        :param speed: m/s, forward.
        :param yaw_rate: rad/s.
        """
        speed, yaw_rate = float(speed), float(yaw_rate)
        self._motion = self._motion._replace(
            forward=speed, lateral=-self.params.centre * yaw_rate, yaw_rate=yaw_rate
        )
        if speed == 0.0:
            self._pedals, self.gear = (0.0, 0.0, 0.0), 1
        self._report(self.state.pose)

    def push(self, impulse: Tuple[float, float], point: Tuple[float, float]) -> None:
        """
        Take a blow; the accelerations of the last step take it in.

        :param impulse: N s, map frame.
        :param point: where it acts, m, map frame.
        """
        params, motion = self.params, self._motion
        cos, sin = math.cos(motion.yaw), math.sin(motion.yaw)
        centre = self.centre_of_gravity
        ahead = (impulse[0] * cos + impulse[1] * sin) / params.mass
        aside = (impulse[1] * cos - impulse[0] * sin) / params.mass
        arm = point[0] - centre[0], point[1] - centre[1]
        turn = (arm[0] * impulse[1] - arm[1] * impulse[0]) / params.yaw_inertia
        self._motion = motion._replace(
            forward=motion.forward + ahead,
            lateral=motion.lateral + aside,
            yaw_rate=motion.yaw_rate + turn,
        )
        self.acceleration += ahead / self._duration
        self.lateral_acceleration += (aside + params.centre * turn) / self._duration
        self._report(self.state.pose)

    def step(self, control: Control, duration: float) -> None:
        """
        Drive for a while with one control; what is beyond its limits is clipped.

        :param control: see :class:`~av_td3_ros.datatypes.Control`.
        :param duration: s.
        """
        target = (
            float(min(max(control.steering, -1.0), 1.0)) * self.params.max_steer,
            float(min(max(control.throttle, 0.0), 1.0)),
            float(min(max(control.brake, 0.0), 1.0)),
        )
        drive = self._shift(control, target[1])
        self._hold(target[2])
        count = max(math.ceil(duration / SUBSTEP - 1e-9), 1)
        dt = duration / count
        before, self._duration = self._motion, duration
        lags = self._lags(dt)
        for _ in range(count):
            self._substep(drive, target, lags, dt)
        self._accelerate(before)
        yaw = self._motion.yaw
        if not -math.pi <= yaw < math.pi:
            self._motion = self._motion._replace(yaw=wrap_angle(yaw))
        pose = self.state.pose
        self._report(pose._replace(x=self._motion.x, y=self._motion.y, yaw=self._motion.yaw))

    def _hold(self, brake: float) -> None:
        """
        A car at rest has its brake on at once: its lag would be seen only later, as a start that
        depends on how many ticks a reset took.
        """
        if self._motion[3:6] == (0.0, 0.0, 0.0):
            angle, throttle, applied = self._pedals
            self._pedals = angle, throttle, max(applied, brake)

    def _shift(self, control: Control, throttle: float) -> Drive:
        """Choose the gear for a step and return what the powertrain may do in it."""
        powertrain, speed = self.params.powertrain, self._motion.forward
        if control.reverse:
            self.gear = REVERSE
        elif control.manual_gear_shift:
            self.gear = min(max(control.gear, REVERSE), len(powertrain.gears))
        else:
            self.gear = powertrain.shifted(self.gear, speed, throttle)
        return Drive(
            powertrain.max_force(speed, self.gear),
            powertrain.max_power * powertrain.efficiency,
            self.params.hand_brake if control.hand_brake else 0.0,
            self._grip,
        )

    def _lags(self, dt: float) -> Tuple[float, float, float, float]:
        """Return what is left of a difference after half a substep and a whole one."""
        actuators = self.params.actuators
        return (
            math.exp(-0.5 * dt / actuators.throttle_lag),
            math.exp(-dt / actuators.throttle_lag),
            math.exp(-0.5 * dt / actuators.brake_lag),
            math.exp(-dt / actuators.brake_lag),
        )

    def _substep(
        self, drive: Drive, target: Pedals, lags: Tuple[float, float, float, float], dt: float
    ) -> None:
        angle, throttle, brake = first = self._pedals
        rate, lag = self.params.actuators.steering_rate, self.params.actuators.steering_lag
        middle = (
            steer(angle, target[0], 0.5 * dt, rate, lag),
            follow(throttle, target[1], lags[0]),
            follow(brake, target[2], lags[2]),
        )
        self._pedals = (
            steer(angle, target[0], dt, rate, lag),
            follow(throttle, target[1], lags[1]),
            follow(brake, target[2], lags[3]),
        )
        self._motion = self._roll(self._motion, (first, middle, self._pedals), drive, dt)

    def _roll(
        self, motion: Motion, pedals: Tuple[Pedals, Pedals, Pedals], drive: Drive, dt: float
    ) -> Motion:
        """Advance one substep; where the wheels come to a stand in it, friction changes sides."""
        forward = motion[3]
        direction = (forward > 0.0) - (forward < 0.0)
        after = runge_kutta(self._derivative, motion, pedals, drive, direction, dt)
        if after[3] * direction < 0.0:
            until = dt * forward / (forward - after[3])
            after = runge_kutta(self._derivative, motion, pedals, drive, direction, until)
            after = after._replace(forward=0.0)
            after = runge_kutta(self._derivative, after, pedals, drive, 0.0, dt - until)
        if after[3] == 0.0 and abs(after[4]) < REST and abs(after[5]) < REST:
            after = after._replace(lateral=0.0, yaw_rate=0.0)
        return after

    def _accelerate(self, before: Motion) -> None:
        """Set the mean acceleration of the box's middle over a step, in its mean attitude."""
        after, centre = self._motion, self.params.centre
        half = 0.5 * (after.yaw - before.yaw)
        cos, sin = math.cos(half), math.sin(half)
        ahead, aside = before.forward, before.lateral + centre * before.yaw_rate
        ahead_now, aside_now = after.forward, after.lateral + centre * after.yaw_rate
        self.acceleration = (
            (ahead_now - ahead) * cos - (aside_now + aside) * sin
        ) / self._duration
        self.lateral_acceleration = (
            (ahead_now + ahead) * sin + (aside_now - aside) * cos
        ) / self._duration

    def _report(self, pose: Pose) -> None:
        motion = self._motion
        lateral = motion.lateral + self.params.centre * motion.yaw_rate
        self.state = VehicleState(pose, motion.forward, motion.yaw_rate, lateral)


def runge_kutta(
    derivative: Derivative,
    motion: Motion,
    pedals: Tuple[Pedals, Pedals, Pedals],
    drive: Drive,
    direction: float,
    dt: float,
) -> Motion:
    """
    Return the motion one step of the classical fourth order later.

    :param pedals: at the beginning, the middle and the end of the step.
    :param dt: s.
    """
    half = 0.5 * dt
    a = derivative(motion, pedals[0], drive, direction)
    b = derivative(_moved(motion, a, half), pedals[1], drive, direction)
    c = derivative(_moved(motion, b, half), pedals[1], drive, direction)
    d = derivative(_moved(motion, c, dt), pedals[2], drive, direction)
    x, y, yaw, forward, lateral, yaw_rate = motion
    sixth = dt / 6.0
    return Motion(
        x + sixth * (a[0] + 2.0 * (b[0] + c[0]) + d[0]),
        y + sixth * (a[1] + 2.0 * (b[1] + c[1]) + d[1]),
        yaw + sixth * (a[2] + 2.0 * (b[2] + c[2]) + d[2]),
        forward + sixth * (a[3] + 2.0 * (b[3] + c[3]) + d[3]),
        lateral + sixth * (a[4] + 2.0 * (b[4] + c[4]) + d[4]),
        yaw_rate + sixth * (a[5] + 2.0 * (b[5] + c[5]) + d[5]),
    )


def _moved(motion: Motion, slope: Sequence[float], dt: float) -> Tuple[float, ...]:
    """Return a motion a time later by one slope; its place stays, nothing depends on that."""
    x, y, yaw, forward, lateral, yaw_rate = motion
    return (
        x,
        y,
        yaw + dt * slope[2],
        forward + dt * slope[3],
        lateral + dt * slope[4],
        yaw_rate + dt * slope[5],
    )
