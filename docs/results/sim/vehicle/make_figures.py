"""
Make what lies beside this file: the vehicle against an independent integration and its publisher.

python -m venv venv && venv/bin/pip install commonroad-vehicle-models==3.0.2 numpy scipy matplotlib
PYTHONPATH=src:test/unit venv/bin/python docs/results/sim/vehicle/make_figures.py
"""

import csv
from dataclasses import replace
import math
from pathlib import Path

import matplotlib
import numpy as np
from scipy.integrate import solve_ivp
from vehicle_reference import bend, CAR, straight
from vehiclemodels.parameters_vehicle2 import parameters_vehicle2
from vehiclemodels.vehicle_dynamics_ks import vehicle_dynamics_ks
from vehiclemodels.vehicle_dynamics_st import vehicle_dynamics_st
from vehiclemodels.vehicle_dynamics_std import vehicle_dynamics_std

from av_td3_ros.datatypes import Control
from av_td3_ros.sim import vehicle as vehicle_module
from av_td3_ros.sim.vehicle import Vehicle

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).parent
DT, FIFTY, TRACK = 0.05, 50.0 / 3.6, 1.38684
STEPS = (0.05, 0.025, 0.05 / 3, 0.0125, 0.01, 0.005, 0.0025)
STEERS, SPEED, THROTTLE = (0.03, 0.08, 0.2), 15.0, 0.07
P = parameters_vehicle2()
# At the wheel, rad/s, in the package; the simulator's own turn faster.
RATE = 0.4
AS_PUBLISHED = replace(CAR, actuators=replace(CAR.actuators, steering_rate=RATE))


def moving(speed):
    vehicle = Vehicle(AS_PUBLISHED)
    vehicle.set_velocity(speed, 0.0)
    return vehicle


def write(name, header, rows):
    with (HERE / name).open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(header)
        writer.writerows(rows)


# -- ours -----------------------------------------------------------------------------------------


def launch():
    """Return time (s) from 0 to 50 km/h and the accelerations on the way, one a tick."""
    vehicle, speeds = moving(0.0), [0.0]
    while speeds[-1] < FIFTY:
        vehicle.step(Control(throttle=1.0), DT)
        speeds.append(vehicle.state.speed)
    over = (speeds[-1] - FIFTY) / (speeds[-1] - speeds[-2])
    return DT * (len(speeds) - 1 - over), np.diff(speeds) / DT


def brake(grip=1.0, speed=FIFTY):
    """Return the way to a stop (m) and the accelerations on it, one a tick."""
    vehicle, speeds = moving(speed), [speed]
    vehicle.grip = grip
    while speeds[-1] > 0.0:
        vehicle.step(Control(brake=1.0), DT)
        speeds.append(vehicle.state.speed)
    return vehicle.state.pose.x, np.diff(speeds) / DT


def turn(steering, throttle, speed, seconds):
    """Return x, y, forward speed, yaw rate, slip angle, steering angle, one row a tick."""
    vehicle, rows = moving(speed), []
    for _ in range(round(seconds / DT)):
        vehicle.step(Control(throttle, 0.0, steering, False, False, 1, True), DT)
        state = vehicle.state
        slip = math.atan2(state.lateral_speed - CAR.centre * state.yaw_rate, state.speed)
        row = (state.speed, state.yaw_rate, slip, vehicle.steering_angle)
        rows.append((*state.pose[:2], *row))
    return np.array(rows)


# -- the published package ------------------------------------------------------------------------


def package(model, start, angles, pulls, times):
    """
    Integrate a right-hand side of the package with our steering and acceleration as its inputs.

    :param angles, pulls: steering angle (rad) and acceleration (m/s^2) at ``times`` (s), the first
        of which is 0.
    :return: the states at ``times[1:]``.
    """
    rates = np.diff(angles) / np.diff(times)

    def derivative(t, x):
        i = min(np.searchsorted(times, t, side='right') - 1, len(rates) - 1)
        return model(list(x), [rates[i], np.interp(t, times, pulls)], P)

    done = solve_ivp(
        derivative, (0.0, times[-1]), start, 'LSODA', times, rtol=1e-8, atol=1e-10, max_step=0.005
    )
    return done.y[:, 1:].T


def published_step(steering):
    """Return times, our rows, the yaw rates of ST and of STD after a step of the steering."""
    ours = turn(steering, THROTTLE, SPEED, 3.0)
    fine = fine_inputs(steering)
    st = package(vehicle_dynamics_st, (0, 0, 0, SPEED, 0, 0, 0), *fine['st'])
    wheel = SPEED / P.R_w
    std = package(vehicle_dynamics_std, (0, 0, 0, SPEED, 0, 0, 0, wheel, wheel), *fine['std'])
    every = round(DT / FINE)
    return (
        DT * np.arange(1, len(ours) + 1),
        ours,
        st[every - 1 :: every, 5],
        std[every - 1 :: every, 5],
    )


FINE = 0.0025


def fine_inputs(steering):
    """
    Return our steering and accelerations every 2.5 ms: of the speed for ST, whose tyres do not
    slow it down in a bend, and of engine and drag alone for STD, whose do.
    """
    vehicle, angles, speeds, pulls = moving(SPEED), [0.0], [SPEED], []
    force = CAR.powertrain.max_force(SPEED, 1)
    for i in range(round(3.0 / FINE)):
        v = vehicle.state.speed
        drag = CAR.rolling * 9.81 + 0.5 * CAR.air_density * CAR.drag_area * v * v / CAR.mass
        pedal = THROTTLE * (1.0 - math.exp(-i * FINE / CAR.actuators.throttle_lag))
        pulls.append(pedal * force / CAR.mass - drag)
        vehicle.step(Control(THROTTLE, 0.0, steering, False, False, 1, True), FINE)
        state = vehicle.state
        angles.append(vehicle.steering_angle)
        speeds.append(math.hypot(state.speed, state.lateral_speed - CAR.centre * state.yaw_rate))
    times = FINE * np.arange(len(angles))
    pulls.append(pulls[-1])
    return {
        'st': (np.array(angles), np.gradient(speeds, FINE), times),
        'std': (np.array(angles), np.array(pulls), times),
    }


def package_straight(accelerations, speed):
    """Return the package's speeds and ways with our accelerations, through its own limits."""
    x = [0, 0, 0, speed, 0, 0, 0]
    states = [tuple(x)]
    for a in accelerations:
        for _ in range(50):
            f = vehicle_dynamics_st(x, [0.0, a], P)
            half = [value + 0.5 * DT / 50 * rate for value, rate in zip(x, f)]
            f = vehicle_dynamics_st(half, [0.0, a], P)
            x = [value + DT / 50 * rate for value, rate in zip(x, f)]
        states.append(tuple(x))
    return np.array(states)[:, [3, 0]]


# -- tables and pictures --------------------------------------------------------------------------


def manoeuvres(steps):
    rows = []

    def row(manoeuvre, unit, ours, independent, model='', theirs=''):
        def off(other):
            return f'{100 * (ours / other - 1):.3f}' if other else ''

        numbers = [f'{v:.4f}' if v else '' for v in (ours, independent, theirs)]
        rows.append(
            [manoeuvre, unit, *numbers[:2], off(independent), model, numbers[2], off(theirs)]
        )

    time, accelerations = launch()
    speeds = package_straight(accelerations, 0.0)[:, 0]
    theirs = np.interp(FIFTY, speeds, DT * np.arange(len(speeds)))
    row('0 to 50 km/h', 's', time, straight(1.0, 0.0, 0.0, FIFTY)[0], 'ST', theirs)
    way, decelerations = brake()
    theirs = package_straight(decelerations, FIFTY)[-1, 1]
    row('50 km/h to 0', 'm', way, straight(0.0, 1.0, FIFTY, 0.0)[1], 'ST', theirs)
    row('50 km/h to 0, grip 0.6', 'm', brake(0.6)[0], '')
    ours = turn(1.0, 0.06, 2.0, 16.0)
    other = bend(1.0, 0.06, 2.0, DT * np.arange(1, len(ours) + 1), RATE)
    angle = ours[-1, 5]
    yaw_rate = vehicle_dynamics_ks([0, 0, angle, 2.0, 0], [0, 0], P)[4]
    theirs = 2 * math.hypot(2.0 / yaw_rate, 0.5 * CAR.wheelbase)
    diameters = [np.ptp(path[:, 0]) for path in (ours, other)]
    row('turning circle of the middle, 2.5 m/s', 'm', *diameters, 'KS', theirs)
    radius = math.sqrt((diameters[0] / 2) ** 2 - (CAR.wheelbase / 2) ** 2)
    kerbs = 2 * math.hypot(radius + TRACK / 2, CAR.wheelbase)
    row('turning circle of the outer front wheel', 'm', kerbs, '')
    for steering, (times, ours, st, std) in steps.items():
        other = bend(steering, THROTTLE, SPEED, times, RATE)
        lateral = ours[-1, 2] * ours[-1, 3]
        name = f'step steer {steering:g} at 15 m/s ({lateral:.1f} m/s^2)'
        for model, theirs in (('ST', st), ('STD', std)):
            row(
                f'{name}: yaw rate after 3 s',
                'rad/s',
                ours[-1, 3],
                other[-1, 3],
                model,
                theirs[-1],
            )
        for model, theirs in (('ST', st), ('STD', std)):
            peaks = [max(rates) for rates in (ours[:, 3], other[:, 3], theirs)]
            row(f'{name}: its peak', 'rad/s', *peaks[:2], model, peaks[2])
        level = 0.9 * ours[-1, 3]
        rises = [
            np.interp(level, y[: 1 + np.argmax(y > level)], times[: 1 + np.argmax(y > level)])
            for y in (ours[:, 3], other[:, 3], st, std)
        ]
        row(
            f'{name}: time to 90 % of the yaw rate after 3 s',
            's',
            rises[0],
            rises[1],
            'ST',
            rises[2],
        )
        row(
            f'{name}: time to 90 % of the yaw rate after 3 s',
            's',
            rises[0],
            rises[1],
            'STD',
            rises[3],
        )
    write(
        'manoeuvres.csv',
        [
            'manoeuvre',
            'unit',
            'ours',
            'independent',
            'difference_percent',
            'published_model',
            'published',
            'published_difference_percent',
        ],
        rows,
    )


def draw(steps):
    figure, axes = plt.subplots(1, len(steps), figsize=(13, 4), sharex=True)
    for axis, (steering, (times, ours, st, std)) in zip(axes, steps.items()):
        other = bend(steering, THROTTLE, SPEED, times, RATE)
        axis.plot(times, ours[:, 3], 'k', lw=2.5, label='this simulator, 12.5 ms')
        axis.plot(times, other[:, 3], 'c--', label='independent, 1.25 ms')
        axis.plot(times, std, 'r:', lw=2, label='package, STD (Pacejka)')
        axis.plot(times, st, 'b-.', lw=1, label='package, ST (linear tyre)')
        axis.set_title(f'steering {steering:g}, {ours[-1, 2] * ours[-1, 3]:.1f} m/s² lateral')
        axis.set_xlabel('time, s')
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0.0)
    axes[0].set_ylabel('yaw rate, rad/s')
    axes[0].legend(loc='lower right', fontsize=8)
    figure.suptitle('Step steer at 15 m/s, 0.4 rad/s at the wheel')
    figure.tight_layout()
    figure.savefig(HERE / 'step_steer.png', dpi=100)


SCENARIOS = {
    'launch, stop': (0.0, lambda t: Control(float(t < 5), float(t >= 5))),
    'step steer': (20.0, lambda t: Control(0.3, 0.0, 0.08)),
    'slide': (20.0, lambda t: Control(0.3, 0.0, 0.5)),
    'braking in a bend': (15.0, lambda t: Control(0.0, 0.35 * (t > 1), 0.3)),
    'parking': (
        0.0,
        lambda t: Control(
            0.12 * (t % 4 < 2), 0.3 * (t % 4 > 2.5), math.sin(t), False, bool(t > 5)
        ),
    ),
    'stop and go': (
        0.0,
        lambda t: Control(0.5 * (t % 4 < 2), 0.5 * (t % 4 > 2), 0.1 * math.sin(t)),
    ),
    'slalom': (10.0, lambda t: Control(0.25, 0.0, math.copysign(0.25, math.sin(1.5 * t)))),
    'random pedals': (5.0, None),
}


def path(name, substep):
    """Return where it is after each tick of 10 s."""
    vehicle_module.SUBSTEP = substep
    speed, drive = SCENARIOS[name]
    rng, vehicle, points = np.random.default_rng(5), moving(speed), []
    for i in range(200):
        if drive is None:
            steering, pedal = rng.uniform(-1.0, 1.0, 2)
            control = Control(max(pedal, 0.0), 0.5 * max(-pedal, 0.0), steering)
        else:
            control = drive(i * DT)
        vehicle.step(control, DT)
        points.append(vehicle.state.pose[:2])
    return np.array(points)


def substeps():
    rows = []
    for name in SCENARIOS:
        errors = []
        for step in STEPS:
            error = np.hypot(*(path(name, step) - path(name, step / 10)).T).max()
            errors.append(f'{1e3 * error:.3f}')
        rows.append([name, *errors])
    write('substeps.csv', ['10 s of', *(f'{1e3 * s:.2f} ms' for s in STEPS)], rows)


def main():
    steps = {steering: published_step(steering) for steering in STEERS}
    write(
        'published.csv',
        ['model', 'steering', 'time', 'yaw_rate'],
        [
            [model, steering, f'{t:.2f}', f'{rate:.6f}']
            for steering, (times, _, *both) in steps.items()
            for model, rates in zip(('ST', 'STD'), both)
            for t, rate in zip(times, rates)
        ],
    )
    manoeuvres(steps)
    draw(steps)
    substeps()


if __name__ == '__main__':
    main()
