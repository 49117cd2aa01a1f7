"""
What commands can leave as: the bridge's control, Twist, Ackermann, Autoware.

The last two live in packages that not every installation has; they are imported when asked for.
"""

from importlib import import_module
from typing import Any, Callable, Dict, NamedTuple, Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import Topic, TOPICS
from av_td3_ros.driving.actuation import Motion, to_control, to_motion
from av_td3_ros.gate_config import VehicleConfig
from av_td3_ros.options import ConfigError

Build = Callable[[Sequence[float], float, Time], Any]


class Output(NamedTuple):
    """
    One kind of command.

    ``build``: from an action in [-1, 1], the forward speed now (m/s) and the stamp of the frame
    that it answers. ``needs_speed``: whether that speed is looked at.
    """

    topic: Topic
    build: Build
    needs_speed: bool


class _Foreign(NamedTuple):
    """A message of a package that may be missing: topic, package, type, how to fill one."""

    topic: str
    package: str
    name: str
    fill: Callable[[Any, Motion, Time], Any]


def choose(kind: str, vehicle: VehicleConfig) -> Output:
    """
    Return an output by its name.

    :param kind: 'carla', 'twist', 'ackermann' or 'autoware'.
    :param vehicle: limits of the vehicle, for all but the first.
    :raises ConfigError: where the messages are not installed.
    """
    if kind == 'carla':
        return Output(
            TOPICS['vehicle_control_cmd'],
            lambda action, speed, stamp: convert.to_control_msg(to_control(action), stamp),
            False,
        )
    if kind == 'twist':
        return Output(
            TOPICS['cmd_vel'],
            lambda action, speed, stamp: to_twist(to_motion(action, speed, vehicle)),
            True,
        )
    foreign, topic = FOREIGN[kind], _topic(kind)
    return Output(
        topic,
        lambda action, speed, stamp: foreign.fill(
            topic.type(), to_motion(action, speed, vehicle), stamp
        ),
        True,
    )


def foreign_topics() -> Dict[str, Topic]:
    """Return the topics that are in no table, by name: of the outputs with messages installed."""
    found = {}
    for kind, foreign in FOREIGN.items():
        try:
            found[foreign.topic] = _topic(kind)
        except ConfigError:  # not installed: then nobody here can send it, either
            continue
    return found


def to_twist(motion: Motion) -> Twist:
    """Return a motion as a twist: forward speed and yaw rate."""
    msg = Twist()
    msg.linear.x, msg.angular.z = motion.speed, motion.yaw_rate
    return msg


def fill_ackermann(msg: Any, motion: Motion, stamp: Time) -> Any:
    """
    Return a motion as a stamped Ackermann command.

    Its acceleration is a magnitude, for speeding up and slowing down alike. Nought would mean as
    quickly as possible: a policy that rolls would get the opposite, so it is never sent.

    :param msg: an empty ackermann_msgs/AckermannDriveStamped.
    """
    msg.header.stamp = stamp
    msg.drive.speed = motion.speed
    msg.drive.acceleration = max(abs(motion.acceleration), LEAST_ACCELERATION)
    msg.drive.steering_angle = motion.steering_angle
    return msg


def fill_autoware(msg: Any, motion: Motion, stamp: Time) -> Any:
    """
    Return a motion as Autoware's control command; its acceleration has a sign.

    :param msg: an empty autoware_control_msgs/Control.
    """
    msg.stamp = msg.lateral.stamp = msg.longitudinal.stamp = stamp
    msg.lateral.steering_tire_angle = motion.steering_angle
    msg.longitudinal.velocity = motion.speed
    msg.longitudinal.acceleration = motion.acceleration
    msg.longitudinal.is_defined_acceleration = True
    return msg


LEAST_ACCELERATION = 0.01
FOREIGN: Dict[str, _Foreign] = {
    'ackermann': _Foreign(
        'ackermann_cmd', 'ackermann_msgs', 'AckermannDriveStamped', fill_ackermann
    ),
    'autoware': _Foreign('control_cmd', 'autoware_control_msgs', 'Control', fill_autoware),
}


def _topic(kind: str) -> Topic:
    foreign = FOREIGN[kind]
    made = _type(kind, foreign)
    return Topic(foreign.topic, made, 'bridge', 'every frame', f'policy.output: {kind}')


def _type(kind: str, foreign: _Foreign) -> Any:
    try:
        return getattr(import_module(f'{foreign.package}.msg'), foreign.name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"output '{kind}' needs {foreign.package}/{foreign.name}, which cannot be "
            f'imported ({error}); install {foreign.package} or choose another output in '
            'policy.param.yaml'
        ) from None
