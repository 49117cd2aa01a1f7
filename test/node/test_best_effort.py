"""Publishers that are best effort, as microcontrollers and sensor drivers are: they are heard."""

from nav_msgs.msg import Odometry, Path
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from av_td3_ros.bridge import convert
from av_td3_ros.driving.route import Route
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode

EGO = '/carla/ego_vehicle/'
ROUTE = Route.from_points(np.stack([np.arange(100.0), np.zeros(100)], axis=1))


@pytest.mark.parametrize('reliability', ['BEST_EFFORT', 'RELIABLE'])
@pytest.mark.parametrize('durability', ['VOLATILE', 'TRANSIENT_LOCAL'])
def test_a_driver_is_heard_however_his_button_publishes(ros, talker, reliability, durability):
    node = ros.start(PolicyNode)
    quality = QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy[reliability],
        durability=DurabilityPolicy[durability],
    )
    button = talker.node.create_publisher(Bool, f'{EGO}vehicle_control_manual_override', quality)

    def pressed():
        button.publish(Bool(data=True))
        return node.gate.state.value == 'manual'

    ros.until(pressed, 60.0)


def test_the_speed_of_a_best_effort_odometry_is_known_to_a_policy_that_says_speeds(ros, talker):
    node = ros.start(PolicyNode, output='twist')
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = talker.node.create_publisher(Odometry, f'{EGO}odometry', quality)
    moving = Odometry()
    moving.twist.twist.linear.x = 5.0

    def known():
        publisher.publish(moving)
        return node._speed == 5.0

    ros.until(known, 60.0)


def test_the_speed_of_a_reliable_odometry_is_known_too(ros, talker):
    node = ros.start(PolicyNode, output='twist')
    moving = Odometry()
    moving.twist.twist.linear.x = 5.0
    talker.say('odometry', moving)
    ros.until(lambda: node._speed == 5.0, 60.0)


def best_effort(talker, kind, name):
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    return talker.node.create_publisher(kind, EGO + name, quality)


def test_a_foreign_localization_and_planner_that_publish_best_effort_are_heard(ros, talker):
    node = ros.start(PerceptionNode, episodes=False)
    odometry = best_effort(talker, Odometry, 'odometry')
    route = best_effort(talker, Path, 'waypoints')
    placed = Odometry()
    placed.pose.pose.orientation.w = 1.0
    placed.header.frame_id = 'map'
    way = convert.to_path(ROUTE, convert.from_ns(7))

    def heard():
        odometry.publish(placed)
        route.publish(way)
        return node._frame_of['odometry'] == 'map' and node._routes

    ros.until(heard, 60.0)


def test_in_training_odometry_stays_reliable_and_a_reliable_one_does_in_a_car(ros, talker):
    talker.node.create_publisher(Odometry, f'{EGO}odometry', 10)
    for episodes in (True, False):
        node = ros.start(PerceptionNode, episodes=episodes)
        ros.until(lambda: node.count_publishers(f'{EGO}odometry'), 60.0)
        ros.spin(1.0)
        kinds = [
            info.qos_profile.reliability
            for info in node.get_subscriptions_info_by_topic(f'{EGO}odometry')
        ]
        assert kinds == [ReliabilityPolicy.RELIABLE]
        node.close()
        ros.until(lambda: not talker.node.count_subscribers(f'{EGO}odometry'), 60.0)
