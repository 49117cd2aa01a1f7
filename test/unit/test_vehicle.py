"""The vehicle against what can be computed by hand, and against what a car may never do."""

import math
import subprocess
import sys

import numpy as np
import pytest

from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.sim.single_track import GRAVITY, single_track, Drive, Motion
from av_td3_ros.sim.vehicle import Vehicle
from costs import cost
from vehicles import CAR, drive, DT, moving


def held(vehicle, speed, steering, seconds):
    """Drive at a constant speed: a proportional driver."""
    for _ in range(round(seconds / DT)):
        throttle = min(max(0.05 + 0.5 * (speed - vehicle.state.speed), 0.0), 1.0)
        vehicle.step(Control(throttle, 0.0, steering), DT)


# -- at rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'control',
    [Control(), Control(brake=1.0), Control(steering=1.0), Control(throttle=0.03)],
    ids=['nothing', 'brake', 'steering', 'less throttle than rolls it'],
)
def test_it_stands_until_it_is_driven(control):
    vehicle = moving(0.0, Pose(3.0, 4.0, 0.0, 1.0))
    drive(vehicle, control, 5.0)
    assert vehicle.state == ((3.0, 4.0, 0.0, 1.0, 0.0, 0.0), 0.0, 0.0, 0.0)
    assert vehicle.acceleration == vehicle.lateral_acceleration == 0.0


@pytest.mark.parametrize('steering', [0.0, 0.3, -1.0])
@pytest.mark.parametrize('speed', [2.0, -2.0, 8.0])
def test_the_brake_stops_it_and_holds_it_without_a_shiver(speed, steering):
    vehicle = moving(speed)
    for _ in range(100):
        vehicle.step(Control(brake=1.0, steering=steering), DT)
        assert vehicle.state.speed * speed >= 0.0
    resting = vehicle.state
    assert resting.speed == resting.yaw_rate == resting.lateral_speed == 0.0
    for _ in range(40):
        vehicle.step(Control(brake=1.0, steering=-steering), DT)
        assert vehicle.state == resting


@pytest.mark.parametrize('pedal', [{'brake': 1.0}, {'hand_brake': True}])
def test_the_brakes_hold_against_the_engine(pedal):
    vehicle = moving(0.0)
    drive(vehicle, Control(brake=1.0), 1.0)
    drive(vehicle, Control(throttle=0.5, **pedal), 2.0)
    assert vehicle.state.pose.x == 0.0


# -- engine, gears, brakes ------------------------------------------------------------------------


def test_throttle_moves_it_straight_ahead():
    vehicle = moving(0.0, Pose(0.0, 0.0, 0.0, math.pi / 2))
    drive(vehicle, Control(throttle=1.0), 3.0)
    box = CAR.powertrain
    force = box.max_torque * box.ratio(1) * box.efficiency / box.wheel_radius
    acceleration = force / CAR.mass - CAR.rolling * GRAVITY
    delayed = 3.0 - CAR.actuators.throttle_lag
    assert vehicle.state.pose.x == pytest.approx(0.0, abs=1e-9)
    assert vehicle.state.speed == pytest.approx(acceleration * delayed, rel=0.01)
    assert vehicle.acceleration == pytest.approx(acceleration, rel=0.02)


def test_the_top_speed_is_the_published_one():
    vehicle = moving(45.0)
    drive(vehicle, Control(throttle=1.0), 200.0)
    assert vehicle.state.speed == pytest.approx(50.8, rel=0.01)
    assert vehicle.gear == 3 and abs(vehicle.acceleration) < 1e-3


def test_the_gearbox_shifts_up_with_speed_and_back_without_hunting():
    vehicle, gears = moving(0.0), []
    for control in [Control(throttle=1.0)] * 300 + [Control(brake=0.3)] * 400:
        vehicle.step(control, DT)
        gears.append(vehicle.gear)
    changes = [gears[0]] + [b for a, b in zip(gears, gears[1:]) if a != b]
    assert changes in ([1, 2, 3, 2, 1], [1, 2, 1], [1, 2, 3, 1])
    held(vehicle, 9.0, 0.0, 5.0)
    settled = vehicle.gear
    for _ in range(100):
        held(vehicle, 9.0, 0.0, DT)
        assert vehicle.gear == settled


def test_gears_by_hand_are_honoured():
    def shove(**gear):
        vehicle = moving(0.0)
        drive(vehicle, Control(throttle=1.0, **gear), 2.0)
        return vehicle

    first, third = (shove(gear=gear, manual_gear_shift=True) for gear in (1, 3))
    assert (first.gear, third.gear) == (1, 3)
    assert first.state == shove().state
    assert 0.0 < third.state.speed < 0.5 * first.state.speed
    assert shove(gear=0, manual_gear_shift=True).state.speed == 0.0
    assert shove(gear=99, manual_gear_shift=True).gear == 3
    assert shove(gear=-1, manual_gear_shift=True).state == shove(reverse=True).state


def test_the_fuel_is_cut_where_the_engine_would_burst():
    vehicle = moving(0.0)
    drive(vehicle, Control(throttle=1.0, gear=1, manual_gear_shift=True), 20.0)
    top = CAR.powertrain.max_engine_speed * CAR.powertrain.wheel_radius / CAR.powertrain.ratio(1)
    assert vehicle.state.speed == pytest.approx(top, rel=0.02)


def test_reverse_drives_backwards_and_turns_the_other_way():
    vehicle = moving(0.0)
    drive(vehicle, Control(throttle=0.3, steering=0.5, reverse=True), 2.0)
    assert vehicle.gear == -1
    assert vehicle.state.speed < -0.5 and vehicle.state.pose.x < -0.5
    assert vehicle.state.yaw_rate < 0.0
    drive(vehicle, Control(throttle=1.0, brake=0.0), 4.0)
    assert vehicle.gear == 1 and vehicle.state.speed > 0.5


def test_reverse_on_the_move_slows_down_first():
    vehicle, speeds = moving(5.0), []
    for _ in range(100):
        vehicle.step(Control(throttle=1.0, reverse=True), DT)
        speeds.append(vehicle.state.speed)
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] > 4.5 and speeds[-1] < -2.0


def test_coasting_slows_down():
    vehicle = moving(20.0)
    drive(vehicle, Control(), 5.0)
    assert 15.0 < vehicle.state.speed < 20.0


def test_the_hand_brake_is_the_weaker_one():
    stops = []
    for control in (Control(brake=1.0), Control(hand_brake=True)):
        vehicle = moving(10.0)
        drive(vehicle, control, 10.0)
        assert vehicle.state.speed == 0.0
        stops.append(vehicle.state.pose.x)
    assert stops[0] < 0.5 * stops[1] < 12.0


def test_the_pedals_and_the_steering_take_their_time():
    vehicle = moving(5.0)
    before = vehicle.steering_angle
    vehicle.step(Control(brake=1.0, steering=1.0), DT)
    early = vehicle.acceleration
    assert vehicle.steering_angle - before == pytest.approx(CAR.actuators.steering_rate * DT)
    vehicle.step(Control(brake=1.0, steering=1.0), 3 * DT)
    assert 0.0 > early > 0.5 * vehicle.acceleration
    drive(vehicle, Control(steering=1.0), 3.0)
    assert vehicle.steering_angle == pytest.approx(CAR.max_steer)
    assert vehicle.steering_angle <= CAR.max_steer


def test_controls_beyond_their_limits_are_clipped():
    within, beyond = moving(5.0), moving(5.0)
    drive(within, Control(1.0, 0.0, 1.0), 1.0)
    drive(beyond, Control(7.0, -2.0, 5.0), 1.0)
    assert within.state == beyond.state


# -- turning and slip -----------------------------------------------------------------------------


@pytest.mark.parametrize('steering', [1.0, -1.0])
def test_left_is_positive(steering):
    vehicle = moving(5.0)
    drive(vehicle, Control(throttle=0.2, steering=steering), 0.5)
    assert math.copysign(1.0, vehicle.state.pose.y) == steering
    assert math.copysign(1.0, vehicle.state.pose.yaw) == steering
    assert math.copysign(1.0, vehicle.state.yaw_rate) == steering
    assert math.copysign(1.0, vehicle.steering_angle) == steering
    assert math.copysign(1.0, vehicle.lateral_acceleration) == steering


def test_left_and_right_are_mirror_images():
    left, right = moving(9.0), moving(9.0)
    drive(left, Control(0.3, 0.0, 0.4), 3.0)
    drive(right, Control(0.3, 0.0, -0.4), 3.0)
    assert left.state.pose.x == right.state.pose.x
    assert left.state.pose.y == -right.state.pose.y
    assert left.state.lateral_speed == -right.state.lateral_speed


@pytest.mark.parametrize('speed', [0.2, 1.0, 2.0, -1.0])
def test_slow_it_is_the_kinematic_car(speed):
    vehicle = moving(0.0)
    drive(vehicle, Control(steering=0.5), 2.0)
    vehicle.set_velocity(speed, speed * math.tan(0.5 * CAR.max_steer) / CAR.wheelbase)
    drive(vehicle, Control(steering=0.5), 0.2)
    state = vehicle.state
    turn = math.tan(0.5 * CAR.max_steer) / CAR.wheelbase
    assert state.yaw_rate / state.speed == pytest.approx(turn, rel=0.01)
    assert state.lateral_speed / state.yaw_rate == pytest.approx(CAR.wheelbase / 2, rel=0.02)


def test_fast_it_slips_where_the_kinematic_car_would_not():
    vehicle = moving(15.0)
    held(vehicle, 15.0, 1.0, 6.0)
    state = vehicle.state
    kinematic = state.speed * math.tan(CAR.max_steer) / CAR.wheelbase
    assert 0.1 < state.yaw_rate / kinematic < 0.4
    assert vehicle.lateral_acceleration < CAR.mu * GRAVITY


@pytest.mark.parametrize('grip', [1.0, 0.6, 0.3])
def test_no_manoeuvre_takes_more_than_the_grip(grip):
    rng = np.random.default_rng(4)
    vehicle = moving(20.0)
    vehicle.grip = grip
    most = 0.0
    for i in range(2000):
        if i % 40 == 0:
            throttle, brake, steering = rng.uniform((0, -2, -1), 1.0)
            vehicle.set_velocity(rng.uniform(-5.0, 30.0), 0.0)
        vehicle.step(Control(throttle, brake, steering), 0.0125)
        total = math.hypot(vehicle.acceleration, vehicle.lateral_acceleration)
        most = max(most, total / (CAR.mu * grip * GRAVITY))
    # Drag and rolling resistance at 30 m/s add to what the tyres do; the yaw moves the middle.
    assert 0.8 < most < 1.3


def test_both_axles_stay_within_the_circle_of_friction():
    rng = np.random.default_rng(0)
    derivative = single_track(CAR)
    for _ in range(2000):
        motion = Motion(0.0, 0.0, *rng.uniform((-3, -10, -5, -2), (3, 40, 5, 2)))
        pedals = tuple(rng.uniform((-0.6, 0, 0), (0.6, 1, 1)))
        grip = rng.uniform(0.2, 1.0)
        rates = derivative(motion, pedals, Drive(3800.0, 78e3, 0.0, grip), np.sign(motion.forward))
        ahead = rates[3] - motion.yaw_rate * motion.lateral
        aside = rates[4] + motion.yaw_rate * motion.forward
        resistance = CAR.rolling * GRAVITY
        resistance += 0.5 * CAR.air_density * CAR.drag_area * motion.forward**2 / CAR.mass
        reach = CAR.mu * grip * GRAVITY + resistance
        assert math.hypot(ahead, aside) <= reach * (1.0 + 1e-9)


def test_a_wet_road_lengthens_the_stop_and_widens_the_bend():
    def tried(grip):
        stopping, turning = moving(15.0), moving(15.0)
        stopping.grip = turning.grip = grip
        drive(stopping, Control(brake=1.0), 15.0)
        held(turning, 15.0, 0.3, 3.0)
        return stopping.state.pose.x, turning.state.speed / turning.state.yaw_rate

    dry, wet = tried(1.0), tried(0.5)
    assert 1.7 < wet[0] / dry[0] < 2.1 and wet[1] > 1.3 * dry[1]


@pytest.mark.parametrize('grip', [0.0, -1.0, 1.01, math.nan])
def test_a_grip_that_no_road_has_is_refused(grip):
    with pytest.raises(ValueError, match=r'grip must lie in \(0, 1\], got'):
        Vehicle().grip = grip


def test_it_brakes_in_its_track():
    vehicle = moving(50.0 / 3.6)
    drive(vehicle, Control(brake=1.0, steering=0.03), 3.0)
    assert vehicle.state.speed == 0.0 and abs(vehicle.state.pose.yaw) < 0.2


# -- numbers --------------------------------------------------------------------------------------

RANDOM_DRIVE = """
import hashlib
import numpy as np
from av_td3_ros.datatypes import Control
from av_td3_ros.sim.vehicle import Vehicle
rng, vehicle, digest = np.random.default_rng(1), Vehicle(), hashlib.sha256()
for _ in range(400):
    vehicle.step(Control(*rng.uniform((0, 0, -1), (1, 0.5, 1))), 0.05)
    digest.update(np.array([*vehicle.state.pose, *vehicle.state[1:]]).tobytes())
print(digest.hexdigest())
"""


def test_two_processes_drive_the_same_bits():
    digests = {
        subprocess.run(
            [sys.executable, '-c', RANDOM_DRIVE], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1 and len(digests.pop()) == 65


def test_numbers_of_numpy_do_not_stay_in_it():
    vehicle = Vehicle()
    vehicle.place(Pose(*np.ones(6)))
    vehicle.set_velocity(np.float64(3.0), np.float32(0.1))
    vehicle.step(Control(*np.float32([0.3, 0.0, 0.2])), DT)
    assert all(type(value) is float for value in vehicle.state[1:])


def test_a_step_is_cheap():
    vehicle, control = moving(8.0), Control(0.1, 0.0, 0.05)
    assert cost(lambda: vehicle.step(control, DT)) < 250e-6  # 45 us on an idle core
