"""The vehicle around a deployed policy that is measured."""

from av_td3_msgs.msg import Action
from av_td3_ros.bridge import convert
from av_td3_ros.cli import bench_stack
from av_td3_ros.cli.bench_stack import PICTURES, Shown, Stack
from carla_msgs.msg import CarlaEgoVehicleControl, CarlaWorldInfo
from nav_msgs.msg import Odometry, Path
import pytest
from sensor_msgs.msg import CameraInfo, Image


class Moments:
    """A clock that shows the last of what was put into it."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(bench_stack.time, 'perf_counter', lambda: self.now)


@pytest.fixture
def moments(monkeypatch):
    return Moments(monkeypatch)


@pytest.fixture
def vehicle(ros):
    many = (Image(),) * PICTURES, (Odometry(),) * PICTURES
    shown = Shown(*many, Path(), CameraInfo(), CarlaWorldInfo())
    return Stack(ros.node(), 'ego_vehicle', shown, 10.0)


def expose(stack, moments, times):
    """Show frames at these moments, s; return their stamps, ns."""
    for moments.now in times:
        stack._on_frame()
    return list(stack.sent)


def command(stamp):
    """A command for a frame, by its stamp, ns."""
    msg = CarlaEgoVehicleControl()
    msg.header.stamp = convert.from_ns(stamp)
    return msg


def test_a_camera_whose_timer_was_late_does_not_expose_twice_at_once(vehicle, moments):
    """The policy rightly leaves out the second of two, which would count as not answered."""
    expose(vehicle, moments, (7.0, 7.1, 7.27, 7.3, 7.4, 7.5, 7.549))
    assert list(vehicle.sent.values()) == [7.0, 7.1, 7.27, 7.4, 7.5]


def test_time_counts_from_the_stamp_though_other_sensors_publish_before_the_image(
    vehicle, moments
):
    def publish_slowly(msg):
        moments.now += 0.004

    vehicle._odometry = vehicle._info = publish_slowly
    (stamp,) = expose(vehicle, moments, (7.0,))
    moments.now += 0.002
    vehicle._on_command(command(stamp))
    assert vehicle.sent[stamp] == 7.0
    assert vehicle.answers[stamp] == [pytest.approx(0.010)]
    # The next exposure is a period after this one's stamp, not after its last message.
    assert len(expose(vehicle, moments, (7.052,))) == 2


def test_commands_for_no_image_are_counted_and_a_second_one_for_an_image_is_its_own(
    vehicle, moments
):
    (stamp,) = expose(vehicle, moments, (7.0,))
    for moments.now, answered in ((7.01, stamp), (7.02, stamp), (7.03, stamp + 1), (7.04, 0)):
        vehicle._on_command(command(answered))
    assert vehicle.answers == {stamp: [pytest.approx(0.01), pytest.approx(0.02)]}
    assert vehicle.unknown == [7.03, 7.04]


def test_it_hears_which_commands_were_brakes_and_which_weights_drove(ros, talker):
    many = (Image(),) * PICTURES, (Odometry(),) * PICTURES
    shown = Shown(*many, Path(), CameraInfo(), CarlaWorldInfo())
    stack = Stack(ros.node(), 'ego_vehicle', shown, 10.0)
    stack.showing = False
    for stamp, version, drive in ((5, 3, True), (6, 3, False), (7, 3, True), (8, 4, True)):
        msg = Action(policy_version=version, drive=drive)
        msg.header.stamp = convert.from_ns(stamp)
        talker.say('action', msg)
    ros.until(lambda: sum(stack.drove.values()) == 3)
    assert stack.drove == {3: 2, 4: 1}
    assert stack.braked == {6}
