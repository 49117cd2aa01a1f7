"""A recorder hears every publisher, whatever quality of service it offers, each message once."""

import pytest

from av_td3_ros.bridge.watching import watched
from av_td3_ros.nodes.recorder import ADAPT_PERIOD, RecorderNode
from av_td3_ros.recording.bag_writer import BagWriter
from av_td3_ros.recording.recording import Recording


def test_a_best_effort_camera_is_heard(ros, tmp_path):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    topic = watched('ego_vehicle')['image']
    writer = BagWriter(tmp_path / 'drive', room=2**20)
    recording = Recording(writer)
    recorder = ros._add(RecorderNode([topic], writer, recording, context=ros.context))
    camera = ros.node('camera').create_publisher(
        Image, topic.name, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )

    def heard():
        camera.publish(Image(height=1, width=1, encoding='mono8', step=1, data=b'x'))
        return recorder.counts[topic.name]

    ros.until(heard, 30.0)
    recording.stop()
    assert writer.counts[topic.name] > 0


@pytest.fixture
def records(ros, tmp_path):
    """Begins to record a topic; tells how often it was, and what is in the bag in the end."""
    made = []

    def record(key):
        topic = watched('ego_vehicle')[key]
        writer = BagWriter(tmp_path / 'drive', room=2**20)
        made.append(Recording(writer))
        recorder = ros._add(RecorderNode([topic], writer, made[0], context=ros.context))
        return topic, lambda: recorder.counts[topic.name]

    yield record
    made[0].stop()


def test_who_publishes_with_less_quality_than_others_before_is_recorded(ros, records):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    topic, count = records('image')
    driver = ros.node('driver')
    for number, quality in enumerate(
        (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT), 1
    ):
        camera = driver.create_publisher(
            Image, topic.name, QoSProfile(depth=1, reliability=quality)
        )
        ros.until(camera.get_subscription_count, 30.0)
        camera.publish(Image())
        ros.until(lambda: count() == number)


def test_what_is_latched_is_recorded_once_though_others_come_and_go(ros, records):
    from nav_msgs.msg import Path as Route
    from rclpy.qos import QoSProfile

    topic, count = records('waypoints')
    planner = ros.node('planner')

    def asks_for_what_was_said():
        infos = planner.get_subscriptions_info_by_topic(topic.name)
        return [each.qos_profile.durability for each in infos] == [topic.qos.durability]

    keeps = planner.create_publisher(Route, topic.name, topic.qos)
    keeps.publish(Route())
    ros.until(count)
    other = planner.create_publisher(Route, topic.name, QoSProfile(depth=1))
    ros.until(other.get_subscription_count, 30.0)
    other.publish(Route())
    ros.until(lambda: count() == 2)
    planner.destroy_publisher(other)
    ros.spin(2.0 * ADAPT_PERIOD)
    assert count() == 2 and not asks_for_what_was_said()
    planner.destroy_publisher(keeps)
    ros.until(asks_for_what_was_said, 30.0)
