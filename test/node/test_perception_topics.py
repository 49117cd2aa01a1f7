"""Perception in a foreign stack: any topic, and one clear word where it cannot be."""

from builtin_interfaces.msg import Time
from carla_msgs.msg import CarlaWorldInfo
from foreign_stack import (
    ERROR,
    grey_image,
    IMAGE,
    INFO,
    info,
    odometry,
    scene,
    Stack,
    started,
    started_topics,
)
from nav_msgs.msg import Odometry, Path
import pytest
import rclpy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from test_perception_node import ROUTE as STRAIGHT

from av_td3_ros.bridge import convert, qos
from av_td3_ros.driving.camera_model import ideal


def test_every_topic_can_be_remapped_and_camera_info_follows_its_image(ros):
    stack = Stack(ros)
    stack.hear('/pilot/seen')
    node = started(
        ros,
        arguments=[
            f'{IMAGE}:=/front/image_raw',
            '/carla/ego_vehicle/odometry:=/localisation/odometry',
            'observation:=/pilot/seen',
        ],
    )
    camera = ideal(800, 600, 100.0)
    stack.say('/front/camera_info', info(camera))
    ros.until(lambda: node._camera._view is not None, 60.0)
    msg = grey_image(scene(800, 600), 1.0)
    stack.say('/front/image_raw', msg)
    stack.say('/localisation/odometry', odometry(1.0))
    ros.until(lambda: stack.heard, 60.0)


@pytest.mark.parametrize(
    'rules, image, information',
    [
        ([f'{IMAGE}:=/front/image_raw'], '/front/image_raw/compressed', '/front/camera_info'),
        ([f'{IMAGE}/compressed:=/a/jpeg'], '/a/jpeg', INFO),
        ([f'{INFO}:=/b/info'], f'{IMAGE}/compressed', '/b/info'),
    ],
)
def test_where_compressed_images_and_camera_info_are_looked_for(ros, rules, image, information):
    node = started(ros, arguments=rules, camera__transport='compressed')
    topics = started_topics(node).split()
    assert image in topics and information in topics
    assert (node._camera.topic, node._camera.info_topic) == (image, information)


def test_a_topic_that_does_not_exist_is_named_with_those_that_do(ros, stack, capfd):
    node = started(ros, image_timeout=0.3)
    ros.until(lambda: 'nobody publishes it, nor any other image' in node.health()[1], 60.0)
    profile = qos.PROFILES['sensor']
    stack.node.create_publisher(Image, '/front/image_raw', profile)
    stack.node.create_publisher(CompressedImage, '/rear/jpeg', profile)
    ros.until(lambda: '/rear/jpeg' in node.health()[1], 60.0)
    assert '/front/image_raw' in node.health()[1] and f'remap {IMAGE}' in node.health()[1]
    ros.until(lambda: stack.said('/front/image_raw'), 60.0)
    stack.node.create_publisher(Image, IMAGE, profile)
    ros.until(lambda: 'its publisher is silent (/av_td3/foreign)' in node.health()[1], 60.0)
    assert capfd.readouterr().err.count(f'on {IMAGE}: nobody publishes it') == 1


ODOMETRY = '/carla/ego_vehicle/odometry'
ROUTE = '/carla/ego_vehicle/waypoints'
MAP = '/carla/world_info'


@pytest.fixture
def log(capfd):
    """Return what counts the lines of the log, so far, that hold a text."""
    told = []

    def count(text):
        told.append(capfd.readouterr().err)
        return sum(text in line for line in ''.join(told).splitlines())

    return count


class Ticks:
    """A camera and, where asked for, odometry of the same stamps, each time that it is called."""

    def __init__(self, stack, with_odometry=True):
        self._stack, self._at, self._odometry = stack, 1.0, with_odometry

    def __call__(self):
        self._at += 0.05
        self._stack.say(IMAGE, grey_image(scene(96, 54), self._at))
        if self._odometry:
            self._stack.say(ODOMETRY, odometry(self._at))


def test_odometry_that_nobody_publishes_is_named_and_not_taken_for_clocks_that_differ(
    ros, stack, log
):
    node, tick = started(ros, image_timeout=0.5), Ticks(stack, with_odometry=False)

    def says(text):
        tick()
        level, message, _ = node.health()
        return level == ERROR and message.startswith('no odometry for') and text in message

    ros.until(lambda: says(f'on {ODOMETRY}: nobody publishes it, nor any other odometry'), 60.0)
    ros.until(lambda: tick() or log(f'on {ODOMETRY}: nobody publishes it'), 60.0)
    stack.node.create_publisher(Odometry, '/localisation/odometry', qos.PROFILES['bridge'])
    ros.until(lambda: says(f'there is /localisation/odometry; remap {ODOMETRY}'), 60.0)
    stack.node.create_publisher(Odometry, ODOMETRY, qos.PROFILES['sensor'])
    ros.until(lambda: says('its publisher is silent (/av_td3/foreign)'), 60.0)
    ros.until(lambda: stack.said('its publisher is silent'), 60.0)
    node._watch()
    assert log('no odometry for ') == 1 and not log('of one clock')
    assert not stack.heard


@pytest.mark.parametrize(
    'params, what, topic, kind, then',
    [
        ({'observation__waypoints': 10}, 'route', ROUTE, Path, b'\x01'),
        ({'observation__command': True}, 'map', MAP, CarlaWorldInfo, ERROR),
        ({'camera__info': 'required'}, 'CameraInfo', INFO, CameraInfo, ERROR),
    ],
)
def test_what_a_picture_waits_for_too_long_is_named_once_on_the_log(
    ros, stack, log, monkeypatch, params, what, topic, kind, then
):
    node, tick = started(ros, **params), Ticks(stack)
    if what == 'map':
        node.on_route(convert.to_path(STRAIGHT, Time(sec=1)))

    def says(level, text):
        tick()
        return node.health()[0] == level and text in node.health()[1]

    ros.until(lambda: says(b'\x01', 'waiting for '), 60.0)
    node._watch()
    node._camera._watch()
    assert not log(topic)
    monkeypatch.setattr(node._awaited, '_grace', 0.1)
    monkeypatch.setattr(node._camera.awaited, '_grace', 0.1)
    text = f'on {topic}: nobody publishes it, nor any other {what}; remap {topic}'
    ros.until(lambda: says(ERROR, text) and stack.said(text), 60.0)
    ros.until(lambda: log(text), 60.0)
    stack.node.create_publisher(kind, topic, qos.PROFILES['bridge_latched'])
    ros.until(lambda: says(then, 'its publisher is silent'), 60.0)
    assert log(text) == 1 and not stack.heard


@pytest.fixture
def elsewhere(ros):
    """A node that knows nothing of the types in this test's own context."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros.context.get_domain_id())
    node = rclpy.create_node('elsewhere', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_a_compressed_topic_where_a_raw_one_is_wanted_is_named(ros, elsewhere):
    node = started(ros, arguments=[f'{IMAGE}:=/cam'], image_timeout=0.3)
    elsewhere.create_publisher(CompressedImage, '/cam', qos.PROFILES['bridge'])
    text = 'it is published as sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image'
    ros.until(lambda: text in node.health()[1], 60.0)


def test_a_camera_that_publishes_best_effort_is_heard(ros, stack):
    started(ros)
    say = stack.node.create_publisher(Image, IMAGE, qos.PROFILES['sensor'])
    ros.until(lambda: say.get_subscription_count() > 0, 60.0)
    stack.say('/carla/ego_vehicle/odometry', odometry(1.0))

    def heard():
        say.publish(grey_image(scene(96, 54), 1.0))
        return stack.heard

    ros.until(heard, 60.0)
