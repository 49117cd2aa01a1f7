"""The vehicle around a deployed policy that is measured."""

from av_td3_ros.cli import bench_stack
from av_td3_ros.cli.bench_stack import PICTURES, Shown, Stack
from carla_msgs.msg import CarlaWorldInfo
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo, Image


def test_a_camera_whose_timer_was_late_does_not_expose_twice_at_once(ros, monkeypatch):
    """The policy rightly leaves out the second of two, which would count as not answered."""
    many = (Image(),) * PICTURES, (Odometry(),) * PICTURES
    shown = Shown(*many, Path(), CameraInfo(), CarlaWorldInfo())
    stack, moments = Stack(ros.node(), 'ego_vehicle', shown, 10.0), []
    monkeypatch.setattr(bench_stack.time, 'perf_counter', lambda: moments[-1])
    for moment in (7.0, 7.1, 7.27, 7.3, 7.4, 7.5, 7.549):
        moments.append(moment)
        stack._on_frame()
    assert list(stack.sent.values()) == [7.0, 7.1, 7.27, 7.4, 7.5]
