"""Keys that a node alone reads: each is set, and the node does otherwise."""

import pytest
from rclpy.lifecycle import TransitionCallbackReturn

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_msgs.msg import TrainingStatus  # noqa: E402
from av_td3_ros.driving.camera_model import ideal  # noqa: E402
from av_td3_ros.nodes import episode_manager_node, realtime  # noqa: E402
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode  # noqa: E402
from av_td3_ros.nodes.perception_node import PerceptionNode  # noqa: E402
from av_td3_ros.nodes.policy_node import PolicyNode  # noqa: E402
from av_td3_ros.nodes.simulator_node import SimulatorNode  # noqa: E402
from foreign_stack import grey_image, IMAGE, INFO, info, odometry, scene, started  # noqa: E402
from test_episode_manager_node import World  # noqa: E402

PICTURE = scene(96, 54)


def stream(rate, count):
    return [grey_image(PICTURE, 5.0 + k / rate) for k in range(count)]


@pytest.mark.parametrize(
    'node_class', [SimulatorNode, PerceptionNode, PolicyNode, EpisodeManagerNode]
)
def test_the_role_name_is_in_the_topics_of_the_vehicle(ros, node_class):
    node = ros.make(node_class, role_name='hero')
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    names = {made.topic_name for made in (*node.publishers, *node.subscriptions)}
    assert any(name.startswith('/carla/hero/') for name in names)
    assert not any('ego_vehicle' in name for name in names)


@pytest.mark.parametrize('distance, driven', [({}, 7), ({'frozen_distance': 1.0}, 3)])
def test_so_far_it_drives_under_one_picture(ros, stack, distance, driven):
    started(ros, **distance)
    ros.until(lambda: stack.node.count_publishers('/av_td3/observation') > 0, 60.0)
    for number in range(12):
        at = 5.0 + 0.05 * number
        moving = odometry(at)
        moving.twist.twist.linear.x = 5.0  # a quarter of a metre for each picture
        stack.say(IMAGE, grey_image(PICTURE, at))
        stack.say('/carla/ego_vehicle/odometry', moving)
        ros.until(lambda: len(stack.heard) > number, 60.0)
    assert [msg.drive for msg in stack.heard[1:]] == [True] * driven + [False] * (11 - driven)


@pytest.mark.parametrize('rate, left_out', [({}, 0), ({'camera__rate': 10.0}, 4)])
def test_faster_streams_are_thinned_to_the_rate_that_is_set(ros, rate, left_out):
    node = started(ros, **rate)
    for msg in stream(20.0, 8):
        node._camera._on_image(msg)
    assert node.health()[2]['thinned_images'] == left_out


@pytest.mark.parametrize('rate, drives', [({}, False), ({'camera__min_rate': 5.0}, True)])
def test_fewer_images_than_are_set_do_not_drive(ros, stack, rate, drives):
    started(ros, **rate)
    stack.drive(stream(8.0, 5), IMAGE)
    assert [msg.drive for msg in stack.heard[1:]] == [drives] * 4


@pytest.mark.parametrize('how, fits', [({}, False), ({'camera__rectified': True}, True)])
def test_a_rectified_image_has_no_distortion(ros, stack, how, fits):
    node = started(ros, **how)
    msg = info(ideal(640, 480, 90.0))
    msg.distortion_model, msg.d = 'of its own', [0.1]
    stack.say(INFO, msg)
    ros.until(lambda: node._camera._view is not None or node._camera.fault(), 60.0)
    assert (node._camera._view is not None) is fits
    assert ('distortion_model must be one of' in node.health()[1]) is not fits


@pytest.mark.parametrize('params, goes_on', [({}, False), ({'pacing_timeout': 0.2}, True)])
def test_so_long_a_step_waits_for_the_trainer(ros, talker, monkeypatch, params, goes_on):
    time = [1000.0]
    monkeypatch.setattr(episode_manager_node, 'now', lambda: time[0])
    world = World(ros, talker, **params).start()
    talker.say('training_status', TrainingStatus(transition_limit=0))
    ros.until(lambda: world.manager._trainer_at == time[0])
    world.see()
    world.act()
    world.frame(wait=False)
    ros.until(lambda: world.manager._held)
    time[0] += 0.5
    ros.spin(0.3)  # many looks at the time
    assert (world.manager.unpaced == 1) is goes_on
    time[0] += 0.5
    ros.until(lambda: world.manager.unpaced == 1)


@pytest.mark.parametrize('node_class', [PerceptionNode, PolicyNode])
@pytest.mark.parametrize('is_own, asked', [(True, [7]), (False, [])])
def test_the_priority_is_asked_for_where_the_process_is_the_nodes(
    ros, monkeypatch, node_class, is_own, asked
):
    """A process that somebody composed of several nodes is theirs to schedule."""
    told = []
    monkeypatch.setattr(realtime, 'keep_what_is', lambda: None)
    monkeypatch.setattr(realtime, 'prioritise', lambda priority: told.append(priority) or '')
    node = ros.make(node_class, priority=7)
    node.owns_process = is_own
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert told == asked


def test_a_refused_priority_is_told_and_drives_on(ros, monkeypatch):
    warned = []
    monkeypatch.setattr(realtime, 'keep_what_is', lambda: None)
    monkeypatch.setattr(realtime, 'prioritise', lambda priority: 'not permitted')
    node = ros.make(PolicyNode, priority=7)
    monkeypatch.setattr(node.get_logger(), 'warning', warned.append)
    node.owns_process = True
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert warned == ['not permitted']
