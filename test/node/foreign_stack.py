"""Somebody else's stack around a perception node, over real DDS."""

from av_td3_msgs.msg import Observation
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from av_td3_ros.bridge import convert, qos
from av_td3_ros.config import ObservationConfig
from av_td3_ros.nodes.perception_node import PerceptionNode

SPEC = ObservationConfig(lateral_deviation=False, heading_error=False, waypoints=0).spec()
# Nothing that needs a route; silence of a slow machine is no fault here.
PARAMS = {
    'episodes': False,
    'image_timeout': 10.0,
    'camera__fov_deg': 90.0,
    'observation__lateral_deviation': False,
    'observation__heading_error': False,
    'observation__waypoints': 0,
}
ERROR, OK = b'\x02', b'\x00'
TICK = 0.05


def header(at):
    return Header(stamp=convert.from_ns(round(at * 1e9)), frame_id='front_optical')


def odometry(at):
    msg = Odometry(header=header(at))
    msg.pose.pose.orientation.w = 1.0
    return msg


def scene(width, height):
    """A picture with something everywhere, (rows, columns) uint8."""
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    return np.round(128 + 60 * np.sin(x + y) + 50 * np.cos(2 * y - x)).astype(np.uint8)


def grey_image(pixels, at):
    return convert.to_image(pixels, 'mono8', header(at))


class Stack:
    """Somebody else's stack: publishes what it likes, with the quality of service it likes."""

    def __init__(self, ros):
        self.ros, self.node = ros, ros.node('foreign')
        self.heard, self.diagnostics, self._pubs = [], [], {}

    def hear(self, topic='/av_td3/observation'):
        self._topic = topic
        self.node.create_subscription(
            Observation, topic, self.heard.append, qos.PROFILES['bridge']
        )
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self.diagnostics.append, qos.PROFILES['bridge']
        )

    def say(self, topic, msg, profile='bridge', wait=True):
        if topic not in self._pubs:
            made = self.node.create_publisher(type(msg), topic, qos.PROFILES[profile])
            self._pubs[topic] = made
            if wait:
                self.ros.until(lambda: made.get_subscription_count() > 0, 60.0)
        self._pubs[topic].publish(msg)

    def drive(self, images, topic):
        """Publish images with odometry of the same stamps, each after the last was taken."""
        self.ros.until(lambda: self.node.count_publishers(self._topic) > 0, 60.0)
        for number, msg in enumerate(images):
            self.say(topic, msg)
            self.say('/carla/ego_vehicle/odometry', Odometry(header=msg.header))
            self.ros.until(lambda: len(self.heard) > number, 60.0)

    def said(self, text):
        """Whether /diagnostics says something of perception."""
        return any(text in status.message for msg in self.diagnostics for status in msg.status)


IMAGE = '/carla/ego_vehicle/rgb_front/image'
INFO = '/carla/ego_vehicle/rgb_front/camera_info'


def configured(ros, arguments=(), **params):
    """Perception, configured, with command-line arguments as a launch file gives them."""
    overrides = [
        Parameter(key.replace('__', '.'), value=value)
        for key, value in {**PARAMS, **params}.items()
    ]
    cli = [part for rule in arguments for part in ('-r', rule)]
    node = ros._add(
        PerceptionNode(
            context=ros.context,
            namespace='av_td3',
            parameter_overrides=overrides,
            cli_args=['--ros-args', *cli] if cli else None,
        )
    )
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    return node


def started(ros, arguments=(), **params):
    """The same, active."""
    node = configured(ros, arguments, **params)
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return node


def newest_frame(msg):
    image, _ = convert.to_image_stack(msg, SPEC)
    return image[-1].astype(int)


def info(camera, time=0.0):
    msg = convert.to_camera_info(camera.width, camera.height, 90.0, header(time))
    msg.k[0] = msg.k[4] = camera.fx
    return msg


def started_topics(node):
    return ' '.join(made.topic_name for made in node.subscriptions)
