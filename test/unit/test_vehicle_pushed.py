"""The vehicle when the world puts, sets or hits it, and what it shows of itself."""

import math

import numpy as np
import pytest

from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.sim.single_track import GRAVITY
from av_td3_ros.sim.vehicle import Vehicle
from vehicles import CAR, drive, DT, moving


def test_placing_keeps_the_velocity():
    vehicle = moving(7.0)
    vehicle.place(Pose(100.0, -50.0, 0.0, 1.0))
    assert vehicle.state.speed == 7.0
    assert vehicle.state.pose == (100.0, -50.0, 0.0, 1.0, 0.0, 0.0)


def test_setting_the_velocity_is_exact_and_without_slip():
    vehicle = moving(0.0)
    vehicle.set_velocity(6.0, 0.5)
    assert vehicle.state == (Pose(0.0, 0.0), 6.0, 0.5, 0.0)


def test_speed_nought_leaves_nothing_behind():
    vehicle = moving(12.0)
    drive(vehicle, Control(1.0, 0.3, 1.0), 2.0)
    vehicle.place(Pose(0.0, 0.0))
    vehicle.set_velocity(0.0, 0.0)
    fresh = Vehicle()
    for car in (vehicle, fresh):
        drive(car, Control(throttle=0.5, steering=-0.2), 2.0)
    assert vehicle.state == fresh.state and vehicle.gear == fresh.gear


def test_yaw_stays_wrapped():
    vehicle = moving(5.0)
    for _ in range(400):
        vehicle.step(Control(throttle=0.3, steering=1.0), DT)
        assert -math.pi <= vehicle.state.pose.yaw < math.pi


def test_a_push_keeps_momentum_and_angular_momentum():
    pose = Pose(5.0, -2.0, 0.0, 0.7)
    vehicle = moving(10.0, pose)
    vehicle.step(Control(), DT)
    before, pose, impulse = vehicle.state, vehicle.state.pose, (3000.0, -1200.0)
    point = pose.x + 2.0, pose.y + 1.0
    centre = vehicle.centre_of_gravity
    vehicle.push(impulse, point)
    after, cos, sin = vehicle.state, math.cos(pose.yaw), math.sin(pose.yaw)

    def momentum(state):
        lateral = state.lateral_speed - CAR.centre * state.yaw_rate
        return (
            CAR.mass * (state.speed * cos - lateral * sin),
            CAR.mass * (state.speed * sin + lateral * cos),
        )

    change = np.subtract(momentum(after), momentum(before))
    assert change == pytest.approx(impulse)
    spin = CAR.yaw_inertia * (after.yaw_rate - before.yaw_rate)
    arm = point[0] - centre[0], point[1] - centre[1]
    assert spin == pytest.approx(arm[0] * impulse[1] - arm[1] * impulse[0])
    assert vehicle.acceleration * DT == pytest.approx(after.speed - 10.0, abs=0.02)
    assert after.pose == pose


def test_a_push_from_the_side_slides_and_ends():
    vehicle = moving(0.0)
    vehicle.push((0.0, 4.0 * CAR.mass), (1.5, 0.0))
    assert vehicle.state.yaw_rate > 1.0
    drive(vehicle, Control(brake=1.0), 5.0)
    assert vehicle.state[1:] == (0.0, 0.0, 0.0)
    slid = vehicle.state.pose.y
    assert 4.0**2 / (2 * CAR.mu * GRAVITY) < slid < 4.0


def test_the_acceleration_is_that_of_the_pose():
    vehicle, points = moving(12.0), []
    for _ in range(41):
        vehicle.step(Control(throttle=0.3, steering=0.2), 0.0125)
        points.append((vehicle.state.pose.x, vehicle.state.pose.y))
        inside = vehicle.acceleration, vehicle.lateral_acceleration, vehicle.state.pose.yaw
        if len(points) == 40:
            ahead, aside, yaw = inside
    second = (np.array(points[-1]) - 2 * np.array(points[-2]) + np.array(points[-3])) / 0.0125**2
    measured = second @ np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    assert (ahead, aside) == pytest.approx(measured, rel=0.05, abs=0.05)


def test_the_brake_lights_follow_the_pedal():
    vehicle = Vehicle()
    vehicle.step(Control(throttle=1.0), 0.05)
    assert not vehicle.is_braking
    vehicle.step(Control(brake=1.0), 0.05)
    assert vehicle.is_braking


def test_a_reset_of_any_length_begins_the_same():
    starts = set()
    for ticks in (1, 2, 3, 7, 40):
        vehicle = moving(9.0)
        drive(vehicle, Control(0.6, 1.0), 1.0)
        vehicle.place(Pose(0.0, 0.0))
        vehicle.set_velocity(0.0, 0.0)
        for _ in range(ticks):
            vehicle.step(Control(brake=1.0), DT)
        drive(vehicle, Control(throttle=0.5, steering=-0.2), 2.0)
        starts.add((vehicle.state, vehicle.gear))
    assert len(starts) == 1
