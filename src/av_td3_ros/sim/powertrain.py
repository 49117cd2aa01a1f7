"""
Engine, gears and pedals: what the driver asks for becomes a force that the tyres may pass on.

CommonRoad bounds the acceleration by ``a_max`` and by ``a_max * v_switch / v``, a power. The
engine has that power; its torque and the gears are the automatic BMW 320i's.
"""

from dataclasses import dataclass
import math
from typing import Tuple

NEUTRAL, REVERSE = 0, -1
RPM = math.pi / 30.0


@dataclass(frozen=True)
class Powertrain:
    """
    SI units. Sources: [CR] CommonRoad vehicle 2, [BMW] data sheet of the BMW 320i of 1975 (E21),
    [ZF] of its three-speed automatic gearbox 3HP22.

    ``max_power``: W, [CR] m * a_max * v_switch, which is the 125 PS of [BMW]. ``max_torque``: N m
    at the crank, [BMW]. ``gears``, ``reverse_gear``: [ZF]. ``final_drive``: [BMW]. ``efficiency``:
    crank to wheel, usual for an automatic gearbox. ``wheel_radius``: m, [CR] R_w. ``shift_speed``,
    ``shift_speed_throttle``: engine speed (rad/s) at which it shifts up without throttle, and what
    full throttle adds. ``shift_back``: share of that above which no lower gear is taken, below 1
    lest it hunts. ``max_engine_speed``: rad/s; there the fuel is cut.
    """

    max_power: float = 92.0e3
    max_torque: float = 172.0
    gears: Tuple[float, ...] = (2.478, 1.478, 1.0)
    reverse_gear: float = 2.09
    final_drive: float = 3.64
    efficiency: float = 0.85
    wheel_radius: float = 0.344
    shift_speed: float = 2000.0 * RPM
    shift_speed_throttle: float = 3500.0 * RPM
    shift_back: float = 0.8
    max_engine_speed: float = 6200.0 * RPM

    def engine_speed(self, speed: float, gear: int) -> float:
        """Return the speed of the crank (rad/s) at a forward speed (m/s)."""
        return abs(speed) / self.wheel_radius * abs(self.ratio(gear))

    def ratio(self, gear: int) -> float:
        """Return turns of the crank for one of the wheels; negative where they oppose."""
        if gear == NEUTRAL:
            return 0.0
        if gear < 0:
            return -self.reverse_gear * self.final_drive
        return self.gears[gear - 1] * self.final_drive

    def max_force(self, speed: float, gear: int) -> float:
        """
        Return the force on the road (N, forward positive) at full throttle, below the power limit.
        """
        if self.engine_speed(speed, gear) > self.max_engine_speed:
            return 0.0
        return self.max_torque * self.ratio(gear) * self.efficiency / self.wheel_radius

    def shifted(self, gear: int, speed: float, throttle: float) -> int:
        """
        Return the gear that the automatic gearbox takes.

        :param gear: the last one; from neutral and reverse it starts in first.
        :param throttle: in [0, 1]; with more of it, it shifts up later.
        """
        gear, top = max(gear, 1), len(self.gears)
        up = self.shift_speed + self.shift_speed_throttle * throttle
        while gear < top and self.engine_speed(speed, gear) > up:
            gear += 1
        while gear > 1 and self.engine_speed(speed, gear - 1) < self.shift_back * up:
            gear -= 1
        return gear


@dataclass(frozen=True)
class Actuators:
    """
    How fast the car follows its driver. s, rad/s, rad.

    ``steering_rate``: of the front wheels, 2.5 of their range in a second, as CARLA's turn (the
    steering input rate of Unreal's wheeled vehicles); CommonRoad has 0.4. ``steering_lag``,
    ``throttle_lag``, ``brake_lag``: time constants of a first order: electric steering of 3 Hz, a
    naturally aspirated engine behind a converter, a hydraulic brake with a booster. They are
    usual magnitudes, no one car's.
    """

    steering_rate: float = 1.525
    steering_lag: float = 0.05
    throttle_lag: float = 0.2
    brake_lag: float = 0.1


def follow(value: float, target: float, decay: float) -> float:
    """Return a first-order lag's value later; ``decay`` is exp(-time / time constant)."""
    return target + (value - target) * decay


def steer(angle: float, target: float, time: float, rate: float, lag: float) -> float:
    """
    Return the solution of angle' = clip((target - angle) / lag, -rate, rate) after ``time`` s.
    """
    error = target - angle
    linear = rate * lag  # an error below this no longer meets the limit of the rate
    ramp = (abs(error) - linear) / rate
    if ramp >= time:
        return angle + math.copysign(rate * time, error)
    if ramp > 0.0:
        error, time = math.copysign(linear, error), time - ramp
    return target - error * math.exp(-time / lag)
