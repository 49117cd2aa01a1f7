"""Actions in [-1, 1] as controls, speeds and angles."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from av_td3_ros.datatypes import Control
from av_td3_ros.driving.actuation import to_control, to_motion
from av_td3_ros.gate_config import VehicleConfig

CAR = VehicleConfig()
ACTIONS = st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))


@pytest.mark.parametrize(
    'action, control',
    [
        ((0.5, 0.3), Control(throttle=0.3, steering=0.5)),
        ((-1.0, -0.7), Control(brake=0.7, steering=-1.0)),
        ((0.0, 0.0), Control()),
    ],
)
def test_control(action, control):
    assert to_control(action) == control


def test_speed_that_is_reached_within_the_horizon():
    assert to_motion((0.0, 1.0), 5.0, CAR).speed == pytest.approx(5.0 + 3.0 * 0.5)
    assert to_motion((0.0, -0.5), 5.0, CAR).speed == pytest.approx(5.0 - 4.0 * 0.5)
    assert to_motion((0.0, 0.0), 5.0, CAR) == (5.0, 0.0, 0.0, 0.0)
    assert to_motion((0.0, -0.5), 5.0, CAR).acceleration == -4.0


def test_left_is_positive_and_a_car_turns_as_its_front_wheels_say():
    motion = to_motion((0.5, 0.0), 4.0, CAR)
    assert motion.steering_angle == pytest.approx(0.305)
    radius = CAR.wheel_base / math.tan(0.305)
    assert motion.yaw_rate == pytest.approx(4.0 / radius) and motion.yaw_rate > 0.0
    assert to_motion((-0.5, 0.0), 4.0, CAR).yaw_rate == -motion.yaw_rate


def test_a_full_brake_asks_for_standing_at_any_speed():
    assert to_motion((0.3, -1.0), 30.0, CAR).speed == 0.0
    assert to_motion((0.3, -1.0), float('nan'), CAR).speed == 0.0
    assert to_motion((0.0, -0.1), 0.4, CAR).speed == 0.0  # stands, does not creep


def test_nobody_who_looks_at_the_acceleration_alone_goes_beyond_the_largest_speed():
    assert to_motion((0.0, 0.5), 16.0, CAR)[:2] == (15.0, -2.0)  # downhill: back to it
    assert to_motion((0.0, 1.0), 14.5, CAR)[:2] == (15.0, 1.0)
    assert to_motion((0.0, 1.0), 15.0, CAR)[:2] == (15.0, 0.0)
    assert to_motion((0.0, -0.1), 16.0, CAR)[:2] == (15.0, -2.0)
    assert to_motion((0.0, -0.5), 16.0, CAR)[:2] == (14.0, -4.0)  # the policy brakes harder
    assert to_motion((0.0, 0.5), 60.0, CAR)[:2] == (15.0, -CAR.max_deceleration)


@given(ACTIONS, st.floats())
def test_whatever_the_speed_is_said_to_be_the_motion_is_finite_and_bounded(action, speed):
    motion = to_motion(action, speed, CAR)
    assert all(math.isfinite(value) for value in motion)
    assert 0.0 <= motion.speed <= CAR.max_speed
    assert -CAR.max_deceleration <= motion.acceleration <= CAR.max_acceleration
    assert abs(motion.steering_angle) <= CAR.max_steering_angle
    assert motion.acceleration > 0.0 or motion.speed <= max(speed, 0.0) or not speed >= 0.0
    if math.isfinite(speed) and motion.acceleration > -CAR.max_deceleration:
        reached = max(speed, 0.0) + motion.acceleration * CAR.horizon
        assert reached <= CAR.max_speed + 1e-9
