"""
The vehicle: a kinematic bicycle with a lagging steering, a fading engine and honest brakes.

Model: Rajamani, Vehicle Dynamics and Control (2012), section 2.2, slip angle at the centre between
the axles. It holds below the grip limit; a dynamic model comes with the simulator's next version.
"""

from dataclasses import dataclass
import math

from av_td3_ros.datatypes import Control, Pose, VehicleState, wrap_angle

SUBSTEP = 0.01


@dataclass(frozen=True)
class VehicleParams:
    """
    A mid-size electric car. SI units; ``max_steer`` is that of the bicycle's one front wheel.
    """

    length: float = 4.6
    width: float = 1.9
    height: float = 1.45
    wheelbase: float = 2.9
    mass: float = 1800.0
    max_steer: float = 0.61
    steering_lag: float = 0.1
    max_acceleration: float = 3.5
    max_power: float = 90e3
    max_braking: float = 8.0
    drag: float = 0.00028
    rolling: float = 0.12


class Vehicle:
    """Origin: on the ground, in the middle between the axles."""

    def __init__(self, params: VehicleParams = VehicleParams()) -> None:
        """:param params: of the car."""
        self.params = params
        self.state = VehicleState(Pose(0.0, 0.0))
        self.acceleration = 0.0
        self._steer = 0.0

    def place(self, pose: Pose) -> None:
        """Put the car somewhere; its velocity stays."""
        self.state = VehicleState(pose, self.state.speed, self.state.yaw_rate)

    def set_velocity(self, speed: float, yaw_rate: float) -> None:
        """Set forward speed (m/s) and yaw rate (rad/s)."""
        self.state = VehicleState(self.state.pose, speed, yaw_rate)
        if speed == 0.0:
            self._steer = 0.0

    def stop(self, acceleration: float) -> None:
        """Stop dead, as against a wall; ``acceleration`` (m/s^2) is what that took."""
        self.set_velocity(0.0, 0.0)
        self.acceleration = acceleration

    def step(self, control: Control, duration: float) -> None:
        """
        Drive for a while with one control.

        :param control: throttle and brake in [0, 1], steering in [-1, 1], positive left.
        :param duration: s.
        """
        count = max(round(duration / SUBSTEP), 1)
        before = self.state.speed
        for _ in range(count):
            self._substep(control, duration / count)
        self.acceleration = (self.state.speed - before) / duration

    def _substep(self, control: Control, dt: float) -> None:
        p, (pose, speed, _) = self.params, self.state
        wanted = control.steering * p.max_steer
        self._steer += (wanted - self._steer) * min(dt / p.steering_lag, 1.0)
        slip = math.atan(0.5 * math.tan(self._steer))
        yaw_rate = speed * math.cos(slip) * math.tan(self._steer) / p.wheelbase
        x = pose.x + speed * math.cos(pose.yaw + slip) * dt
        y = pose.y + speed * math.sin(pose.yaw + slip) * dt
        pose = Pose(x, y, pose.z, wrap_angle(pose.yaw + yaw_rate * dt))
        self.state = VehicleState(pose, self._next_speed(control, speed, dt), yaw_rate)

    def _next_speed(self, control: Control, speed: float, dt: float) -> float:
        p = self.params
        engine = (
            min(p.max_acceleration, p.max_power / (p.mass * max(abs(speed), 1.0)))
            * control.throttle
        )
        resistance = control.brake * p.max_braking + p.rolling + p.drag * speed * speed
        pushed = speed + engine * dt
        # Resistance slows down and never turns round.
        slowed = max(abs(pushed) - resistance * dt, 0.0)
        return math.copysign(slowed, pushed) if slowed else 0.0
