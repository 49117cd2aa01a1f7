"""
Commands as other stacks take them.

ackermann_msgs and autoware_control_msgs have no wheels. Where they are missing their messages are
replaced by classes with the fields of the published definitions, which check names and types, and
only the filling is tested.
"""

from importlib.util import find_spec

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
import pytest
from std_msgs.msg import Header

from av_td3_ros.bridge import outputs
from av_td3_ros.driving.actuation import Motion, to_motion
from av_td3_ros.gate_config import VehicleConfig
from av_td3_ros.options import ConfigError

CAR = VehicleConfig()
STAMP = Time(sec=3, nanosec=7)
MOTION = Motion(speed=4.0, acceleration=-2.0, steering_angle=0.1, yaw_rate=0.2)


class Typed:
    """A stand-in for a message: these fields and no others, of these types."""

    FIELDS = {}

    def __init__(self):
        for name, kind in self.FIELDS.items():
            object.__setattr__(self, name, kind())

    def __setattr__(self, name, value):
        assert name in self.FIELDS, f'{type(self).__name__} has no {name}'
        assert isinstance(value, self.FIELDS[name]), (name, value)
        object.__setattr__(self, name, value)


class AckermannDrive(Typed):
    FIELDS = {
        'steering_angle': float,
        'steering_angle_velocity': float,
        'speed': float,
        'acceleration': float,
        'jerk': float,
    }


class AckermannDriveStamped(Typed):
    FIELDS = {'header': Header, 'drive': AckermannDrive}


class Lateral(Typed):
    FIELDS = {
        'stamp': Time,
        'control_time': Time,
        'steering_tire_angle': float,
        'steering_tire_rotation_rate': float,
        'is_defined_steering_tire_rotation_rate': bool,
    }


class Longitudinal(Typed):
    FIELDS = {
        'stamp': Time,
        'control_time': Time,
        'velocity': float,
        'acceleration': float,
        'jerk': float,
        'is_defined_acceleration': bool,
        'is_defined_jerk': bool,
    }


class AutowareControl(Typed):
    FIELDS = {
        'stamp': Time,
        'control_time': Time,
        'lateral': Lateral,
        'longitudinal': Longitudinal,
    }


def made(package, name, stand_in):
    """The real message where it is installed, else the stand-in."""
    if find_spec(package) is None:
        return stand_in()
    return getattr(__import__(f'{package}.msg', fromlist=[name]), name)()


def test_the_bridge_s_control_is_positive_to_the_right():
    output = outputs.choose('carla', CAR)
    msg = output.build((0.25, -0.5), 9.0, STAMP)
    assert (msg.steer, msg.throttle, msg.brake, msg.header.stamp) == (-0.25, 0.0, 0.5, STAMP)
    assert output.topic.name == '/carla/{role_name}/vehicle_control_cmd' and not output.needs_speed


def test_twist():
    output = outputs.choose('twist', CAR)
    msg = output.build((0.5, 0.4), 5.0, STAMP)
    motion = to_motion((0.5, 0.4), 5.0, CAR)
    assert isinstance(msg, Twist) and output.needs_speed and output.topic.name == 'cmd_vel'
    assert (msg.linear.x, msg.angular.z) == (motion.speed, motion.yaw_rate)
    assert msg.angular.z > 0.0
    assert output.build((0.5, -1.0), 5.0, STAMP) == Twist()


def test_ackermann_has_a_magnitude_for_its_acceleration():
    msg = made('ackermann_msgs', 'AckermannDriveStamped', AckermannDriveStamped)
    outputs.fill_ackermann(msg, MOTION, STAMP)
    assert msg.header.stamp == STAMP
    assert (msg.drive.speed, msg.drive.acceleration) == (4.0, 2.0)
    assert msg.drive.steering_angle == pytest.approx(0.1)
    outputs.fill_ackermann(msg, MOTION._replace(acceleration=0.0), STAMP)
    assert msg.drive.acceleration > 0.0  # nought would mean: as quickly as possible


def test_autoware_has_a_sign_for_its_acceleration():
    msg = made('autoware_control_msgs', 'Control', AutowareControl)
    outputs.fill_autoware(msg, MOTION, STAMP)
    assert msg.stamp == msg.lateral.stamp == msg.longitudinal.stamp == STAMP
    assert (msg.longitudinal.velocity, msg.longitudinal.acceleration) == (4.0, -2.0)
    assert msg.longitudinal.is_defined_acceleration and not msg.longitudinal.is_defined_jerk
    assert msg.lateral.steering_tire_angle == pytest.approx(0.1)
    assert not msg.lateral.is_defined_steering_tire_rotation_rate


@pytest.mark.parametrize(
    'kind, package, name',
    [
        ('ackermann', 'ackermann_msgs', 'AckermannDriveStamped'),
        ('autoware', 'autoware_control_msgs', 'Control'),
    ],
)
def test_messages_that_are_not_installed_are_named(kind, package, name):
    if find_spec(package) is not None:
        output = outputs.choose(kind, CAR)
        assert type(output.build((0.0, 0.0), 1.0, STAMP)).__name__ == name
        return
    with pytest.raises(ConfigError, match=f"output '{kind}' needs {package}/{name}.*install"):
        outputs.choose(kind, CAR)
