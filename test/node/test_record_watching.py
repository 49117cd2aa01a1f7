"""What people watch: rviz, rqt, the node that draws for them, and the viewer in a browser."""

import ast
import json
import math
from pathlib import Path

from av_td3_msgs.msg import Action, EpisodeState
from carla_msgs.msg import CarlaEgoVehicleInfo, CarlaEgoVehicleInfoWheel
import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from drivers import Driver
from geometry_msgs.msg import Vector3
from nav_msgs.msg import Odometry, Path as Route
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray
import yaml

from av_td3_ros import watching
from av_td3_ros.bridge import convert
from av_td3_ros.bridge.convert import from_pose_msg
from av_td3_ros.bridge.watching import watched
from av_td3_ros.bridge.world_messages import EGO_ID
from av_td3_ros.nodes.viewer import ViewerNode
from av_td3_ros.nodes.watch_node import WatchNode

CONFIG = Path(__file__).resolve().parents[2] / 'config'
SHOWS = {'Path': Route, 'MarkerArray': MarkerArray, 'Odometry': Odometry, 'Image': Image}
# Plugins of rqt that have their topic built in, by the names in their `plugin.xml`.
HEARS = {
    'rqt_runtime_monitor/RuntimeMonitor': '/diagnostics',
    'rqt_robot_monitor/RobotMonitor': '/diagnostics_agg',  # of diagnostic_aggregator
}
BY_NAME = {topic.name: topic for topic in watched('ego_vehicle').values()}


def displays():
    settings = yaml.safe_load((CONFIG / 'av_td3.rviz').read_text())
    return settings['Visualization Manager']['Displays']


@pytest.mark.parametrize('display', displays(), ids=lambda display: display['Name'])
def test_every_topic_of_rviz_is_of_the_graph(display):
    if 'Topic' not in display:
        assert display['Class'].endswith('/Grid')
        return
    found = display['Topic']
    topic = BY_NAME[found['Value']]
    assert topic.type is SHOWS[display['Class'].rpartition('/')[2]]
    latched = topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert found['Durability Policy'] == ('Transient Local' if latched else 'Volatile')
    assert topic.qos.reliability == ReliabilityPolicy.RELIABLE
    assert found['Reliability Policy'] == 'Reliable'


def test_rviz_shows_what_there_is_to_see():
    shown = {display['Topic']['Value'] for display in displays() if 'Topic' in display}
    wanted = ('image', 'debug_stack', 'waypoints', 'odometry', 'markers', 'watch_markers')
    assert {watched('ego_vehicle')[key].name for key in wanted} <= shown


def test_every_topic_of_rqt_is_of_the_graph():
    tree = json.loads((CONFIG / 'av_td3.perspective').read_text())
    groups = tree['groups']['pluginmanager']['groups']
    running = ast.literal_eval(tree['groups']['pluginmanager']['keys']['running-plugins']['repr'])
    plots, images = [], []
    for name, group in groups.items():
        keys = group['groups']['plugin']['keys']
        _, package, plugin, number = name.split('__')
        assert int(number) in running[f'{package}/{plugin}']
        if plugin == 'Plot':
            plots += ast.literal_eval(keys['topics']['repr'])
        else:
            images.append(ast.literal_eval(keys['topic']['repr']))
    assert images and all(BY_NAME[name].type is Image for name in images)
    told = {'rqt_plot/Plot', 'rqt_image_view/ImageView'}
    built_in = [HEARS[plugin] for plugin in running if plugin not in told]
    assert built_in and all(BY_NAME[name].type is DiagnosticArray for name in built_in)
    for path in plots:
        name, _, field = path.rpartition('/')
        kind = BY_NAME[name].type.get_fields_and_field_types()[field]
        assert kind in ('float', 'double'), path
    for key in ('watch_q_policy', 'watch_q_replay', 'watch_feature_norm', 'watch_steering'):
        assert f'{watched("ego_vehicle")[key].name}/data' in plots


def test_the_simulator_draws_every_vehicle(ros, talker):
    driver = Driver(ros, talker, hear=('markers',), vehicles=3)
    for _ in range(3):
        driver.command(throttle=0.5)
    ros.until(lambda: driver.heard['markers'])
    boxes = {marker.id: marker for marker in driver.last('markers').markers}
    actors = {actor.id for actor in driver.last('actor_list').actors}
    assert set(boxes) == actors and len(boxes) == 4
    own = boxes[EGO_ID]
    where = driver.last('odometry').pose.pose.position
    assert math.hypot(own.pose.position.x - where.x, own.pose.position.y - where.y) < 1.0
    for box in boxes.values():
        assert box.type == Marker.CUBE and box.header.frame_id == 'map'
        assert 2.0 < box.scale.x < 12.0 and 1.0 < box.scale.y < 4.0
        assert math.isfinite(from_pose_msg(box.pose).yaw)


def trainer_says(**values):
    return DiagnosticArray(
        status=[
            DiagnosticStatus(name='policy: health', values=[KeyValue(key='q_policy_mean')]),
            DiagnosticStatus(
                name='trainer: health',
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            ),
        ]
    )


def test_command_and_health_are_drawn(ros, talker):
    ros._add(WatchNode(context=ros.context, namespace='av_td3'))
    keys = ('watch_markers', 'watch_steering', 'watch_acceleration')
    keys += tuple(f'watch_{name}' for name in watching.VITALS)
    heard = {key: talker.hear(key) for key in keys}
    wheels = [
        CarlaEgoVehicleInfoWheel(max_steer_angle=0.5, position=Vector3(x=1.5)),
        CarlaEgoVehicleInfoWheel(position=Vector3(x=-1.5)),
    ]
    talker.say('vehicle_info', CarlaEgoVehicleInfo(wheels=wheels))
    says = trainer_says(q_policy_mean='12.5', q_replay_mean='nan', feature_l2_seen='3.25')
    talker.say('diagnostics', says)
    ros.until(lambda: heard['watch_q_policy'] and heard['watch_feature_norm'])
    assert heard['watch_q_policy'][0].data == 12.5
    assert heard['watch_feature_norm'][0].data == 3.25 and not heard['watch_q_replay']
    talker.say('episode_state', EpisodeState(episode_id=3, step_id=7, speed=10.0, reward=0.5))

    def drawn():
        talker.say('action', Action(steering=0.5, acceleration=-0.25))
        ros.executor.spin_once(timeout_sec=0.05)
        texts = [array.markers[2].text for array in heard['watch_markers'][-1:]]
        whole = any('episode 3 step 7' in text and 'Q 12.5' in text for text in texts)
        return whole and heard['watch_steering'] and heard['watch_acceleration']

    ros.until(drawn, 30.0)
    line, bar, text = heard['watch_markers'][-1].markers
    assert line.header.frame_id == 'ego_vehicle'
    assert 'Q 12.5' in text.text and 'features 3.2' in text.text and '36 km/h' in text.text
    assert bar.points[1].x < 0.0 and bar.color.r > bar.color.g
    ends = [np.hypot(point.x, point.y) for point in line.points]
    assert ends[0] == 0.0 and ends[-1] > 3.0 and line.points[-1].y > 0.0
    assert heard['watch_steering'][-1].data == 0.5
    assert heard['watch_acceleration'][-1].data == -0.25


class Page:
    """Takes what the viewer's page takes, and checks it."""

    def __init__(self):
        self.plotted, self.lanes, self.points, self.scenes, self.seconds = {}, [], [], [], []

    def at(self, seconds):
        self.seconds.append(seconds)

    def camera(self, pixels):
        assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
        self.pixels = pixels

    def stack(self, pixels):
        assert pixels.ndim == 2 and pixels.dtype == np.uint8

    def numbers(self, found):
        self.plotted.update({path: float(value) for path, value in found.items()})

    def roads(self, lanes):
        assert all(lane.ndim == 2 and lane.shape[1] == 2 for lane in lanes)
        self.lanes = lanes

    def route(self, points):
        assert points.shape[1] == 2
        self.points = points

    def scene(self, pose, route, others, path, is_braking):
        assert others.shape[1] == 5
        self.scenes.append((pose, route, others, path, is_braking))


@pytest.fixture
def viewer(ros):
    return ros._add(ViewerNode(Page(), 'ego_vehicle', context=ros.context))


def test_the_viewer_shows_a_camera_that_sends_other_colours(viewer):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    viewer.on_image(convert.to_image(red, 'rgb8', Header()))
    assert viewer._view.pixels[..., 0].min() == 200 and not viewer._view.pixels[..., 1:].any()
    viewer.on_image(convert.to_image(red[..., :2], 'uyvy', Header()))  # luma 0, shown in grey
    assert not viewer._view.pixels.any()


def test_the_viewer_shows_a_compressed_camera_until_there_is_a_raw_one(viewer):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 2] = 200
    data = cv2.imencode('.png', red)[1].tobytes()
    viewer.on_image(Image(height=48, width=64, encoding='32FC1', step=1))  # not one to be shown
    viewer.on_compressed(CompressedImage(format='png', data=data))
    assert viewer._view.pixels[..., 0].min() == 200
    viewer.on_image(convert.to_image(red, 'rgb8', Header()))
    viewer.on_compressed(CompressedImage(format='png', data=data))
    assert viewer._view.pixels[..., 2].min() == 200


def test_images_that_cannot_be_shown_do_not_end_the_viewer(viewer):
    for bad in (
        Image(height=2, width=2, encoding='mono8', step=2, data=b'xyz'),
        Image(height=2, width=2, encoding='rgb9', step=6, data=b'x' * 12),
        Image(encoding='bgra8'),
    ):
        viewer.on_stack(bad)
        viewer.on_image(bad)
    viewer.on_compressed(CompressedImage(format='jpeg', data=b'jpeg?'))
    assert not viewer._view.seconds and not hasattr(viewer._view, 'pixels')


def test_the_viewer_never_takes_the_vehicle_for_another(viewer):
    """However old the pose is that it has, and however near another one drives."""
    viewer.on_vehicle(CarlaEgoVehicleInfo(id=EGO_ID))
    viewer.on_odometry(odometry(x=0.0))
    markers = [Marker(id=EGO_ID, scale=Vector3(x=4.0, y=2.0)), Marker(id=7)]
    for marker, x in zip(markers, (2.4, 0.5)):
        marker.pose.position.x, marker.pose.orientation.w = x, 1.0
    viewer.on_markers(MarkerArray(markers=markers))
    viewer.on_odometry(odometry(x=2.4))
    others = viewer._view.scenes[-1][2]
    assert others[:, 0].tolist() == [0.5]


def odometry(x):
    msg = Odometry()
    msg.pose.pose.position.x, msg.pose.pose.orientation.w = x, 1.0
    return msg


def test_the_viewer_listens_where_the_graph_was_remapped(ros):
    rules = ['image:=/front/image_raw', 'odometry:=/odom']
    viewer = ros._add(ViewerNode(Page(), 'ego_vehicle', rules=rules, context=ros.context))
    heard = {subscription.topic_name for subscription in viewer.subscriptions}
    assert {'/front/image_raw', '/front/image_raw/compressed', '/odom'} <= heard


def test_the_viewer_shows_what_the_graph_says(ros, talker):
    page = Page()
    viewer = ros._add(ViewerNode(page, 'ego_vehicle', context=ros.context))
    driver = Driver(ros, talker, hear=('markers',), vehicles=3)
    talker.say('diagnostics', trainer_says(q_policy_mean='12.5', feature_l2_seen='3.25'))
    state = EpisodeState(reward=0.5, reward_terms=['speed'], reward_values=[0.25])

    def shown():
        driver.command(throttle=0.5)
        talker.say('action', Action(steering=0.5, acceleration=-0.25))
        talker.say('episode_state', state)
        wanted = {'world_info', 'image', 'markers', 'odometry', 'action', 'episode_state'}
        return wanted <= set(viewer.shown) and page.scenes[-1][3] is not None

    ros.until(shown, 60.0)
    ros.until(lambda: 'q/policy' in page.plotted)
    assert page.plotted['q/policy'] == 12.5 and page.plotted['features/l2'] == 3.25
    assert page.plotted['command/steering'] == 0.5
    assert page.plotted['command/acceleration'] == -0.25
    assert page.plotted['reward/sum'] == 0.5 and page.plotted['reward/speed'] == 0.25
    pose, _, others, path, is_braking = page.scenes[-1]
    assert len(others) == 3 and is_braking and path[-1, 1] > 0.0  # without the vehicle itself
    assert len(page.lanes) > 10 and max(page.seconds) > 0.0
    blue, red = page.pixels[:10, :, 2].mean(), page.pixels[:10, :, 0].mean()
    assert blue > red  # the sky
