"""
Perception: one observation per whole frame, whatever order its parts come in, and a name for what
is wrong.
"""

import math

from av_td3_msgs.msg import EpisodeState
from builtin_interfaces.msg import Time
from carla_msgs.msg import CarlaStatus, CarlaWorldInfo
from nav_msgs.msg import Odometry, Path
import numpy as np
import pytest
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import topic_name, TOPICS
from av_td3_ros.config import ObservationConfig
from av_td3_ros.datatypes import Command, COMMAND_NAMES
from av_td3_ros.driving.commands import crossings
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route import Route
from av_td3_ros.nodes.perception_node import PerceptionNode

SPEC = ObservationConfig().spec()
ROUTE = Route.from_points(np.stack([np.arange(100.0), np.zeros(100)], axis=1))
TICK = 50_000_000


def stamp(frame):
    return convert.from_ns(frame * TICK)


class Frame:
    def __init__(self, talker, number, **episode):
        self.talker, self.number = talker, number
        self.fields = dict(
            episode_id=1,
            step_id=number,
            phase=EpisodeState.RUNNING,
            mode=EpisodeState.TRAINING,
            steering=0.25,
        )
        self.fields.update(episode)

    def image(self, value=100, **change):
        header = Header(stamp=stamp(self.number), frame_id='ego_vehicle/rgb_front')
        msg = convert.to_image(np.full((144, 256, 4), value, np.uint8), 'bgra8', header)
        for key, item in change.items():
            setattr(msg, key, item)
        self.talker.say('image', msg)

    def odometry(self, x=10.0, y=1.0, frame_id='map', turned=False, length=1.0):
        msg = Odometry(header=Header(stamp=stamp(self.number), frame_id=frame_id))
        msg.pose.pose.position.x, msg.pose.pose.position.y = x, y
        turn = msg.pose.pose.orientation
        turn.z, turn.w = length * turned, length * (1.0 - turned)
        msg.twist.twist.linear.x = 7.5
        self.talker.say('odometry', msg)

    def episode(self):
        msg = EpisodeState(**self.fields)
        msg.header.stamp = stamp(self.number)
        msg.route_stamp = Time(sec=9)
        self.talker.say('episode_state', msg)

    def whole(self, **image):
        self.image(**image)
        self.odometry()
        self.episode()


@pytest.fixture
def perception(ros):
    return ros.start(PerceptionNode)


@pytest.fixture(scope='module')
def town():
    pytest.importorskip('carla')
    return RoadMap.load('town')


@pytest.fixture
def heard(talker, perception):
    return talker.hear('observation')


@pytest.fixture
def route(ros, talker, perception):
    talker.say('waypoints', convert.to_path(ROUTE, Time(sec=9)))
    ros.until(lambda: perception._routes)


def test_a_whole_frame_becomes_one_observation(ros, talker, heard, route):
    Frame(talker, 0).whole()
    ros.until(lambda: heard)
    msg = heard[0]
    assert (msg.episode_id, msg.step_id, msg.drive, msg.explore, msg.spec) == (
        1,
        0,
        True,
        True,
        SPEC.digest,
    )
    image, vector = convert.to_image_stack(msg, SPEC)
    assert np.all(image == 100)
    assert vector[:5] == pytest.approx([0.75, 0.0, 0.25, 0.5, 0.0], abs=1e-5)
    assert vector[5:7] == pytest.approx([2 / 2, -1 / 2], abs=1e-5)
    assert convert.to_ns(msg.header.stamp) == 0 and msg.header.frame_id == 'ego_vehicle/rgb_front'


def test_order_does_not_matter_and_stacks_shift(ros, talker, heard, route):
    Frame(talker, 0).whole(value=10)
    ros.until(lambda: len(heard) == 1)
    late = Frame(talker, 1)
    late.episode()
    late.odometry()
    late.image(value=20)
    ros.until(lambda: len(heard) == 2)
    image, _ = convert.to_image_stack(heard[1], SPEC)
    assert image[:, 0, 0].tolist() == [10, 10, 10, 20]


@pytest.mark.parametrize('map_first', [True, False])
def test_the_command_needs_the_map_and_waits_for_it(ros, talker, town, map_first):
    """A left turn: the graph says what the loop in one process says of the same route."""
    info = CarlaWorldInfo(map_name='Carla/Maps/town', opendrive=town.opendrive)
    node = ros.start(PerceptionNode, observation__command=True)
    heard = talker.hear('observation')
    route = next(
        route
        for route in (town.random_route(np.random.default_rng(i), 150.0, 300.0) for i in range(50))
        if crossings(route, town)[0].command is Command.LEFT
    )
    turn = crossings(route, town)[0]
    if map_first:
        talker.say('world_info', info)
        ros.until(lambda: node._routes.road_map is not None)
    talker.say('waypoints', convert.to_path(route, Time(sec=9)))
    ros.until(lambda: node._routes)
    x, y = (np.interp(turn.begin, route.distance, route.points[:, k]) for k in (0, 1))
    frame = Frame(talker, 0)
    frame.image()
    frame.odometry(x=x, y=y)
    frame.episode()
    if not map_first:
        ros.until(lambda: node.health()[1] == 'waiting for the map of /carla/world_info')
        assert not heard
        talker.say('world_info', info)
    ros.until(lambda: heard)
    spec = ObservationConfig(command=True).spec()
    _, vector = convert.to_image_stack(heard[0], spec)
    assert [vector[spec.vector.index(name)] for name in COMMAND_NAMES] == [0, 1, 0, 0]


def test_a_map_that_cannot_be_read_is_named(ros, talker):
    node = ros.start(PerceptionNode, observation__command=True)
    talker.say('world_info', CarlaWorldInfo(map_name='bad', opendrive='<nothing/>'))
    ros.until(lambda: 'map bad must be OpenDRIVE' in node.health()[1])


def test_an_image_of_another_frame_completes_nothing(ros, talker, heard, route):
    Frame(talker, 1).image()
    Frame(talker, 2).odometry()
    Frame(talker, 2).episode()
    ros.spin(0.2)
    assert not heard
    Frame(talker, 2).image()
    ros.until(lambda: heard)
    assert len(heard) == 1


def test_a_doubled_image_gives_one_observation(ros, talker, heard, route):
    Frame(talker, 1).whole()
    Frame(talker, 1).image()
    ros.until(lambda: heard)
    ros.spin(0.2)
    assert len(heard) == 1


def test_a_reset_is_observed_without_a_route_and_does_not_drive(ros, talker, heard):
    Frame(talker, 0, phase=EpisodeState.RESETTING).whole()
    ros.until(lambda: heard)
    assert not heard[0].drive and set(heard[0].vector) == {0.0}


def test_the_frame_waits_for_its_episode_s_route(ros, talker, perception, heard):
    Frame(talker, 0).whole()
    ros.until(lambda: perception._waiting is not None)
    assert not heard and perception.health()[1] == 'waiting for a route'
    talker.say('waypoints', convert.to_path(ROUTE, Time(sec=9)))
    ros.until(lambda: heard)
    assert heard[0].step_id == 0


def test_a_frame_whose_route_is_gone_is_forgotten_with_the_next_one(
    ros, talker, perception, heard, route
):
    talker.say('waypoints', Path())
    ros.until(lambda: not perception._routes)
    Frame(talker, 1).whole()
    ros.until(lambda: perception.health()[1] == 'waiting for a route')
    Frame(talker, 2, phase=EpisodeState.RESETTING).whole()
    ros.until(lambda: heard)
    assert perception.health()[:2] == (b'\x00', 'observing')


@pytest.mark.parametrize(
    'change, text',
    [
        ({'encoding': 'h264'}, "image encoding must be one of mono8, "),
        ({'encoding': 'h264'}, "got 'h264'; check the camera"),
        ({'height': 999}, 'step * height bytes'),
        ({'step': 3}, 'must have step >= 1024'),
    ],
)
def test_an_image_that_does_not_fit_is_named_and_the_next_one_works(
    ros, talker, perception, heard, route, change, text
):
    Frame(talker, 0).image(**change)
    ros.until(lambda: text in perception.health()[1])
    Frame(talker, 1).whole()
    ros.until(lambda: heard)
    assert perception.health()[0] == b'\x00'


def test_no_image_for_a_while_is_an_error_until_one_comes(ros, talker, route):
    node = ros.start(PerceptionNode, image_timeout=0.2)
    ros.until(lambda: 'no image for' in node.health()[1])
    assert '/carla/ego_vehicle/rgb_front/image' in node.health()[1]
    Frame(talker, 1).whole()
    ros.until(lambda: node.health()[0] == b'\x00')


def test_no_image_of_a_paused_simulation_is_no_error(ros, talker, route, capfd):
    """As at the orderly end of every training."""
    node = ros.start(PerceptionNode, image_timeout=0.2)

    def age():
        return float(node.health()[2]['image_age'])

    Frame(talker, 1).whole()
    ros.until(lambda: node.observations == 1)
    paused = CarlaStatus(synchronous_mode=True, synchronous_mode_running=False)
    talker.say('status', paused)
    ros.until(lambda: node.health()[1] == 'the simulation is paused')
    ros.until(lambda: age() > 1.5)  # looked at meanwhile
    assert node.health()[:2] == (b'\x01', 'the simulation is paused')
    assert 'no image' not in capfd.readouterr().err
    talker.say('status', CarlaStatus(synchronous_mode=True, synchronous_mode_running=True))
    ros.until(lambda: 'no image for' in node.health()[1])
    assert age() < 1.5  # since it should have gone on


@pytest.mark.parametrize(
    'place, text', [({'y': math.nan}, 'finite'), ({'length': 0.0}, 'length 1, got 0;')]
)
def test_odometry_that_tells_no_place_gives_no_observation(
    ros, talker, perception, heard, route, place, text
):
    Frame(talker, 1).image()
    Frame(talker, 1).odometry(**place)
    Frame(talker, 1).episode()
    ros.until(lambda: text in perception.health()[1])
    assert not heard


def test_a_deployment_needs_no_episodes(ros, talker):
    node = ros.start(PerceptionNode, episodes=False)
    heard = talker.hear('observation')
    talker.say('waypoints', convert.to_path(ROUTE, Time(sec=1)))
    ros.until(lambda: node._routes)
    for number in range(3):
        Frame(talker, number).image()
        Frame(talker, number).odometry()
        ros.until(lambda: len(heard) == number + 1)
    assert [m.step_id for m in heard] == [0, 1, 2] and not any(m.explore for m in heard)
    # How often images come is known from the second on.
    assert [m.drive for m in heard] == [False, True, True]


@pytest.fixture
def deployed(ros, talker):
    """Perception of a deployment, on the first route; and what it says."""
    node = ros.start(PerceptionNode, episodes=False, image_timeout=10.0)
    heard = talker.hear('observation')
    talker.say('waypoints', path(ROUTE, 9))
    ros.until(lambda: node._routes)

    def see(first, count, x, y=0.0, frame_id='map', turned=False):
        for number in range(first, first + count):
            frame, known = Frame(talker, number), len(heard)
            frame.image(value=number % 200)
            frame.odometry(x, y, frame_id, turned)
            ros.until(lambda: len(heard) > known)
        return heard[-1].drive

    return node, see


def path(route, second, frame_id='map'):
    msg = convert.to_path(route, Time(sec=second))
    msg.header.frame_id = frame_id
    return msg


@pytest.mark.parametrize(
    'place, text',
    [
        ({'x': 97.0}, 'not driving: the route ends in 2.0 m'),
        ({'x': 140.0}, 'not driving: the route ends in 0.0 m'),
        ({'x': 50.0, 'y': 2.5}, 'not driving: 2.5 m from the route, 2 m at most'),
        ({'x': -30.0}, 'not driving: 30.0 m from the route, 2 m at most'),
        ({'x': 50.0, 'turned': True}, 'points back along its route, at'),
        ({'x': 50.0, 'frame_id': 'odom'}, "the route is in frame 'map', odometry in 'odom'"),
    ],
)
def test_a_deployment_does_not_drive_beyond_its_route(deployed, place, text):
    node, see = deployed
    assert see(10, 8, 50.0)
    assert not see(18, 1, **place)
    assert text in node.health()[1] and node.health()[0] == b'\x02'
    assert see(19, 1, 50.0) and node.health()[1] == 'observing'


def test_a_planner_that_does_not_latch_its_route_is_heard(ros, talker):
    node = ros.start(PerceptionNode, episodes=False)
    topic = topic_name('waypoints', 'ego_vehicle')
    planner = talker.node.create_publisher(TOPICS['waypoints'].type, topic, 10)
    ros.until(lambda: planner.get_subscription_count() == 1)  # the other wants it latched
    planner.publish(path(ROUTE, 9))
    ros.until(lambda: len(node._routes) == 1)


def test_a_route_that_is_sent_again_is_followed_again(ros, talker, deployed):
    node, see = deployed
    other = Route.from_points(np.stack([np.arange(100.0), np.full(100, 60.0)], axis=1))
    for second, route in ((20, other), (9, ROUTE)):
        talker.say('waypoints', path(route, second))
        ros.until(lambda: next(reversed(node._routes)) == second * 1_000_000_000)
    assert see(10, 8, 50.0)


def test_a_deployment_keeps_its_map_and_forgets_a_picture_of_before(ros, talker, town):
    node = ros.start(PerceptionNode, episodes=False, observation__command=True)
    heard = talker.hear('observation')
    talker.say('world_info', CarlaWorldInfo(map_name='Maps/town', opendrive=town.opendrive))
    ros.until(lambda: node._routes.road_map is not None)
    other = town.opendrive.replace('<OpenDRIVE>', '<OpenDRIVE> ', 1)
    talker.say('world_info', CarlaWorldInfo(map_name='Maps/other', opendrive=other))
    ros.until(lambda: 'the map must stay that of town' in node.health()[1])
    assert node._routes.road_map.opendrive == town.opendrive
    frame = Frame(talker, 0)
    frame.image()
    frame.odometry()
    ros.until(lambda: node.health()[1] == 'waiting for a route' or node._waiting)
    node.trigger_deactivate()
    node.trigger_activate()
    assert node._waiting is None and node._routes.road_map.opendrive == other
    talker.say('waypoints', path(ROUTE, 9))
    ros.until(lambda: node._routes)
    assert not heard
