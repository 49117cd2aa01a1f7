"""
The vehicle once more, written and integrated independently of the one under test.

Straight ahead it is one equation. In a bend the motion of the centre of gravity is written in
speed and slip angle, as CommonRoad's ST has it, and forces are complex numbers; the actuators
are differential equations of their own. Everything goes through scipy's DOP853 at a tenth of the
vehicle's substep.
"""

import cmath
import math

import numpy as np
from scipy.integrate import solve_ivp

from av_td3_ros.sim.vehicle import SUBSTEP, VehicleParams

CAR = VehicleParams()
G = 9.81
FIRST = 172.0 * 2.478 * 3.64 * 0.85 / 0.344
WEIGHT = CAR.mass * G
OPTIONS = {'method': 'DOP853', 'rtol': 1e-10, 'atol': 1e-12, 'max_step': SUBSTEP / 10}


def straight(throttle, brake, speed, until_speed):
    """
    Return when (s) and where (m) a speed is reached in first gear on a straight line.
    """

    def rates(t, state):
        _, v = state
        engine = throttle * (1.0 - math.exp(-t / 0.2)) * min(FIRST, 92e3 * 0.85 / max(v, 1.0))
        pressed = brake * (1.0 - math.exp(-t / 0.1)) * CAR.mass * 11.5
        drag = 0.013 * WEIGHT + 0.5 * 1.204 * 0.9 * v * v
        shift = (engine - pressed - drag) * 0.61373004 / 2.5789128
        shift = max(-1.0489 * WEIGHT * 0.61373004 / 2.5789128, shift)
        on_front = WEIGHT * 1.4227170936 / 2.5789128 - shift
        on_rear = WEIGHT - on_front
        front = min(0.66 * pressed, 0.95 * 1.0489 * on_front)
        rear = min(0.34 * pressed, 0.5 * 1.0489 * on_rear)
        pull = engine - front - rear - drag
        return v, max(pull, 0.0) / CAR.mass if v <= 0.0 else pull / CAR.mass

    def reached(t, state):
        return state[1] - until_speed

    reached.terminal = True
    reached.direction = 1.0 if throttle else -1.0
    done = solve_ivp(rates, (0.0, 60.0), (0.0, speed), events=reached, **OPTIONS)
    return done.t[-1], done.y[0, -1]


def bend(steering, throttle, speed, times, rate=1.525):
    """
    Return the motion with the steering thrown over at time 0, in first gear.

    :param times: s, at which it is wanted.
    :param rate: of the front wheels at most, rad/s.
    :return: (len(times), 5): x, y of the box's middle (m), speed along the car (m/s), yaw rate
        (rad/s), slip angle of the centre of gravity (rad).
    """
    front, rear = 1.1561957064, -1.4227170936
    wheelbase, height = front - rear, 0.61373004

    def rates(t, state):
        _, _, yaw, v, beta, r, angle, pedal = state
        velocity = cmath.rect(v, beta)
        engine = pedal * min(FIRST, 92e3 * 0.85 / velocity.real)
        drag = 0.013 * WEIGHT + 0.5 * 1.204 * 0.9 * velocity.real**2
        shift = (engine - drag) * height / wheelbase
        loads = WEIGHT * -rear / wheelbase - shift, WEIGHT * front / wheelbase + shift
        total = complex(-drag)
        moment = 0.0
        for place, wheel, load, pull in (
            (front, cmath.rect(1.0, angle), loads[0], 0.0),
            (rear, 1.0, loads[1], engine),
        ):
            contact = (velocity + 1j * r * place) / wheel
            slip = math.atan2(contact.imag, max(contact.real, 2.0))
            side = pacejka(-slip, load) * math.sqrt(1.0 - (pull / (1.0489 * load)) ** 2)
            force = complex(pull, side) * wheel
            total += force
            moment += place * force.imag
        total /= cmath.rect(CAR.mass, beta)
        return (
            v * math.cos(yaw + beta),
            v * math.sin(yaw + beta),
            r,
            total.real,
            total.imag / v - r,
            moment / 1791.5995300122856,
            max(-rate, min(rate, (steering * 0.61 - angle) / 0.05)),
            (throttle - pedal) / 0.2,
        )

    middle = 0.5 * (front + rear)
    start = (-middle, 0.0, 0.0, speed, 0.0, 0.0, 0.0, 0.0)
    done = solve_ivp(rates, (0.0, times[-1]), start, t_eval=times, **OPTIONS)
    x, y, yaw, v, beta, r, _, _ = done.y
    return np.stack(
        [x + middle * np.cos(yaw), y + middle * np.sin(yaw), v * np.cos(beta), r, beta], 1
    )


def pacejka(slip, load):
    """Return CommonRoad's lateral force of a tyre (table 7) at a slip angle, N."""
    peak, shape, curvature = 1.0489 * load, 1.3507, -0.0074722
    b = 21.92 * load / (shape * peak)
    return peak * math.sin(
        shape * math.atan(b * slip - curvature * (b * slip - math.atan(b * slip)))
    )
