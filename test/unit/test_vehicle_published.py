"""
The vehicle against its publication: within 2 % of an independent integration at a tenth of the
step, and of what the authors' own package says (docs/results/sim/vehicle/published.csv).
"""

import csv
from dataclasses import replace
import math
from pathlib import Path

import numpy as np
import pytest
from vehicle_reference import bend, CAR, straight

from av_td3_ros.datatypes import Control
from av_td3_ros.sim import vehicle as vehicle_module
from av_td3_ros.sim.vehicle import Vehicle

DT = 0.05
FIFTY = 50.0 / 3.6
PUBLISHED = Path(__file__).resolve().parents[2] / 'docs/results/sim/vehicle/published.csv'


def moving(speed, car=CAR):
    vehicle = Vehicle(car)
    vehicle.set_velocity(speed, 0.0)
    return vehicle


def turned(steering, throttle, speed, seconds, car=CAR):
    """Return what :func:`vehicle_reference.bend` does, by the vehicle; and the times."""
    vehicle, rows = moving(speed, car), []
    for _ in range(round(seconds / DT)):
        vehicle.step(Control(throttle, 0.0, steering, False, False, 1, True), DT)
        state = vehicle.state
        aside = state.lateral_speed - CAR.centre * state.yaw_rate
        slip = math.atan2(aside, state.speed)
        rows.append((*state.pose[:2], state.speed, state.yaw_rate, slip))
    return np.array(rows), DT * np.arange(1, len(rows) + 1)


def test_0_to_50_km_h():
    vehicle, ticks, before = moving(0.0), 0, 0.0
    while vehicle.state.speed < FIFTY:
        before, ticks = vehicle.state.speed, ticks + 1
        vehicle.step(Control(throttle=1.0), DT)
    time = DT * (ticks - (vehicle.state.speed - FIFTY) / (vehicle.state.speed - before))
    expected, _ = straight(1.0, 0.0, 0.0, FIFTY)
    assert time == pytest.approx(expected, rel=0.002)
    assert 4.0 < time < 5.0


def test_braking_distance_from_50_km_h():
    vehicle = moving(FIFTY)
    while vehicle.state.speed > 0.0:
        vehicle.step(Control(brake=1.0), DT)
    _, expected = straight(0.0, 1.0, FIFTY, 0.0)
    assert vehicle.state.pose.x == pytest.approx(expected, rel=0.002)
    assert 11.0 < vehicle.state.pose.x < 13.0


def test_turning_circle():
    ours, times = turned(1.0, 0.06, 2.0, 16.0)
    reference = bend(1.0, 0.06, 2.0, times)

    def circle(path):
        return np.ptp(path[:, :2], axis=0)

    assert circle(ours) == pytest.approx(circle(reference), rel=0.002)
    assert np.hypot(*(ours - reference)[:, :2].T).max() < 0.01
    radius = math.hypot(CAR.wheelbase / math.tan(CAR.max_steer), CAR.wheelbase / 2)
    assert circle(ours) == pytest.approx(2 * radius, rel=0.01)  # the kinematic car's


@pytest.mark.parametrize('steering', [0.03, 0.08, 0.4])
@pytest.mark.parametrize('speed', [8.0, 15.0, 20.0])
def test_step_steer(speed, steering):
    ours, times = turned(steering, 0.2, speed, 3.0)
    reference = bend(steering, 0.2, speed, times)
    for column, name in ((3, 'yaw rate'), (4, 'slip angle')):
        scale = np.abs(reference[:, column]).max()
        error = np.abs(ours - reference)[:, column].max()
        assert error < 0.002 * scale, f'{name} is off by {error / scale:.2%}'
    assert np.hypot(*(ours - reference)[:, :2].T).max() < 0.005


@pytest.mark.skipif(not PUBLISHED.exists(), reason='no reference of the published package')
@pytest.mark.parametrize('model, steering', [('ST', 0.03), ('STD', 0.03), ('STD', 0.2)])
def test_the_published_package_turns_alike(model, steering):
    with PUBLISHED.open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row['model'] == model and float(row['steering']) == steering
        ]
    car = replace(CAR, actuators=replace(CAR.actuators, steering_rate=0.4))  # as it has there
    ours, times = turned(steering, 0.07, 15.0, 3.0, car)
    assert times == pytest.approx([float(row['time']) for row in rows])
    published = np.array([float(row['yaw_rate']) for row in rows])
    assert np.abs(ours[:, 3] - published).max() < 0.005 * np.abs(published).max()


def test_the_error_of_the_substep_is_below_the_stated_bound(monkeypatch):
    def path():
        rng, vehicle, points = np.random.default_rng(5), moving(5.0), []
        for _ in range(200):
            steering, pedal = rng.uniform(-1.0, 1.0, 2)
            vehicle.step(Control(max(pedal, 0.0), 0.5 * max(-pedal, 0.0), steering), DT)
            points.append(vehicle.state.pose[:2])
        return np.array(points)

    coarse = path()
    monkeypatch.setattr(vehicle_module, 'SUBSTEP', vehicle_module.SUBSTEP / 10)
    error = np.hypot(*(coarse - path()).T).max()
    assert 0.0 < error < 5e-4
