"""The bicycle model against what can be computed by hand."""

import math

import pytest

from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.sim.vehicle import Vehicle, VehicleParams

DT = 0.05


def drive(vehicle, control, seconds):
    for _ in range(round(seconds / DT)):
        vehicle.step(control, DT)


def moving(speed, pose=Pose(0.0, 0.0)):
    vehicle = Vehicle()
    vehicle.place(pose)
    vehicle.set_velocity(speed, 0.0)
    return vehicle


def test_it_stands_until_it_is_driven():
    vehicle = moving(0.0, Pose(3.0, 4.0, 0.0, 1.0))
    drive(vehicle, Control(), 5.0)
    assert vehicle.state.pose == (3.0, 4.0, 0.0, 1.0, 0.0, 0.0)
    assert vehicle.state.speed == 0.0


def test_throttle_moves_it_forward():
    vehicle = moving(0.0, Pose(0.0, 0.0, 0.0, math.pi / 2))
    drive(vehicle, Control(throttle=1.0), 3.0)
    assert vehicle.state.pose.x == pytest.approx(0.0, abs=1e-9)
    assert vehicle.state.pose.y == pytest.approx(0.5 * 3.38 * 3.0**2, rel=0.02)
    assert 2.0 < vehicle.acceleration < VehicleParams().max_acceleration


def test_full_throttle_passes_30_metres_a_second_and_settles():
    vehicle = moving(0.0)
    drive(vehicle, Control(throttle=1.0), 60.0)
    assert vehicle.state.speed > 30.0
    drive(vehicle, Control(throttle=1.0), 600.0)
    assert abs(vehicle.acceleration) < 0.01
    assert vehicle.state.speed < 70.0


def test_the_brake_stops_it_in_the_distance_of_the_formula():
    vehicle = moving(10.0)
    while vehicle.state.speed > 0.0:
        vehicle.step(Control(brake=1.0), DT)
    assert vehicle.state.pose.x == pytest.approx(10.0**2 / (2 * 8.12), abs=0.15)


def test_the_brake_holds_and_never_reverses():
    vehicle = moving(2.0)
    for _ in range(200):
        vehicle.step(Control(brake=1.0), DT)
        assert vehicle.state.speed >= 0.0
    resting = vehicle.state.pose
    drive(vehicle, Control(brake=1.0), 2.0)
    assert vehicle.state.speed == 0.0 and vehicle.state.pose == resting


def test_braking_backwards_does_not_push_it_forward():
    vehicle = moving(-3.0)
    for _ in range(100):
        vehicle.step(Control(brake=1.0), DT)
        assert vehicle.state.speed <= 0.0
    assert vehicle.state.speed == 0.0


def test_coasting_slows_down():
    vehicle = moving(20.0)
    drive(vehicle, Control(), 5.0)
    assert 15.0 < vehicle.state.speed < 20.0


@pytest.mark.parametrize('steering', [1.0, -1.0])
def test_left_is_positive(steering):
    vehicle = moving(5.0)
    drive(vehicle, Control(throttle=0.2, steering=steering), 0.5)
    assert math.copysign(1.0, vehicle.state.pose.y) == steering
    assert math.copysign(1.0, vehicle.state.pose.yaw) == steering
    assert math.copysign(1.0, vehicle.state.yaw_rate) == steering


def test_it_turns_on_the_circle_of_the_bicycle():
    vehicle, params = moving(4.0), VehicleParams()
    drive(vehicle, Control(throttle=0.1, steering=0.5), 1.0)  # the steering settles
    angle = 0.5 * params.max_steer
    slip = math.atan(0.5 * math.tan(angle))
    radius = params.wheelbase / (math.tan(angle) * math.cos(slip))
    assert vehicle.state.speed / vehicle.state.yaw_rate == pytest.approx(radius, rel=0.01)


def test_the_steering_lags():
    vehicle = moving(5.0)
    vehicle.step(Control(steering=1.0), 0.01)
    first = vehicle.state.yaw_rate
    drive(vehicle, Control(steering=1.0), 1.0)
    assert 0.0 < first < 0.2 * vehicle.state.yaw_rate


def test_placing_keeps_the_velocity():
    vehicle = moving(7.0)
    vehicle.place(Pose(100.0, -50.0, 0.0, 1.0))
    assert vehicle.state.speed == 7.0
    assert vehicle.state.pose == (100.0, -50.0, 0.0, 1.0, 0.0, 0.0)


def test_yaw_stays_wrapped():
    vehicle = moving(5.0)
    for _ in range(400):
        vehicle.step(Control(throttle=0.3, steering=1.0), DT)
        assert -math.pi <= vehicle.state.pose.yaw < math.pi


def test_stopping_dead_says_what_it_took():
    vehicle = moving(10.0)
    vehicle.stop(-200.0)
    assert (vehicle.state.speed, vehicle.state.yaw_rate, vehicle.acceleration) == (
        0.0,
        0.0,
        -200.0,
    )
