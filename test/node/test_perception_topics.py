"""Perception in a foreign stack: any topic, and one clear word where it cannot be."""

from foreign_stack import (
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
import pytest
import rclpy
from sensor_msgs.msg import CompressedImage, Image

from av_td3_ros.bridge import qos
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


def test_a_topic_that_does_not_exist_is_named_with_those_that_do(ros, stack):
    node = started(ros, image_timeout=0.3)
    ros.until(lambda: 'nobody publishes it, nor any other image' in node.health()[1], 60.0)
    profile = qos.PROFILES['sensor']
    stack.node.create_publisher(Image, '/front/image_raw', profile)
    stack.node.create_publisher(CompressedImage, '/rear/jpeg', profile)
    ros.until(lambda: '/rear/jpeg' in node.health()[1], 60.0)
    assert '/front/image_raw' in node.health()[1] and f'remap {IMAGE}' in node.health()[1]
    ros.until(lambda: stack.said('/front/image_raw'), 60.0)
    stack.node.create_publisher(Image, IMAGE, profile)
    ros.until(lambda: 'its publisher is silent' in node.health()[1], 60.0)


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
