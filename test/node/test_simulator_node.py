"""The simulator node honours the CARLA ROS bridge's contract."""

import math

from carla_msgs.msg import CarlaControl, CarlaEgoVehicleControl
from geometry_msgs.msg import Point, Pose, PoseStamped, Twist, Vector3
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.bridge import convert  # noqa: E402
from av_td3_ros.bridge.topics import TOPICS, topic_name  # noqa: E402
from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.nodes.simulator_node import SimulatorNode  # noqa: E402
from av_td3_ros.sim.scenery import Scenery  # noqa: E402
from drivers import BRIDGE, Driver, TICK  # noqa: E402
from pictures import bgra  # noqa: E402


@pytest.fixture
def driver(ros, talker):
    return Driver(ros, talker, control_timeout=5.0)


def test_types_names_and_qos_are_the_bridge_s(ros, talker, driver):
    for key in BRIDGE:
        name = topic_name(key, 'ego_vehicle')
        assert name == TOPICS[key].name.format(role_name='ego_vehicle')
        info = talker.node.get_publishers_info_by_topic(name)
        assert len(info) == 1, name
        assert info[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE, name
        latched = key in ('world_info', 'vehicle_info', 'waypoints')
        wanted = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        assert info[0].qos_profile.durability == wanted, name


def test_one_command_one_tick_and_every_stamp_of_a_frame_is_one(ros, driver):
    driver.command(throttle=0.5)
    driver.command(throttle=0.5)
    ros.spin(0.2)
    assert driver.frames == 3  # the first, and one for each command
    assert [m.frame for m in driver.heard['status']] == [1, 2, 3]
    stamps = [convert.to_ns(m.header.stamp) for m in driver.heard['image']]
    assert stamps == [TICK, 2 * TICK, 3 * TICK]
    for key in ('camera_info', 'odometry', 'vehicle_status'):
        assert [convert.to_ns(m.header.stamp) for m in driver.heard[key]] == stamps, key
    assert [convert.to_ns(m.clock) for m in driver.heard['clock']] == stamps


def test_frames_encodings_and_intrinsics(driver):
    image, info, odometry = (
        driver.last('image'),
        driver.last('camera_info'),
        driver.last('odometry'),
    )
    assert (image.encoding, image.width, image.height, image.step) == ('bgra8', 64, 48, 256)
    assert image.header.frame_id == info.header.frame_id == 'ego_vehicle/rgb_front'
    assert info.distortion_model == 'plumb_bob' and list(info.d) == [0.0] * 5
    f = 32.0 / math.tan(math.radians(60.0))
    assert info.k == pytest.approx([f, 0, 32, 0, f, 24, 0, 0, 1])  # 120 degrees
    assert (odometry.header.frame_id, odometry.child_frame_id) == ('map', 'ego_vehicle')
    assert np.ptp(bgra(image)[..., :3]) > 50  # a street, not a plane


def test_right_is_positive_for_the_command_and_left_for_odometry(driver):
    for _ in range(30):
        driver.command(throttle=1.0)
    start = convert.from_odometry(driver.last('odometry'))
    for _ in range(10):
        driver.command(throttle=0.5, steer=-0.3)
    state = convert.from_odometry(driver.last('odometry'))
    assert state.speed > 1.0 and state.yaw_rate > 0.05
    assert math.remainder(state.pose.yaw - start.pose.yaw, 2 * math.pi) > 0.0
    status = driver.last('vehicle_status')
    assert status.control.steer == pytest.approx(-0.3)
    sideways = driver.last('odometry').twist.twist.linear.y
    assert status.velocity == pytest.approx(math.hypot(state.speed, sideways)) and sideways != 0.0
    assert driver.last('speedometer').data == pytest.approx(state.speed)
    assert status.control.header.stamp.sec == 0


def test_latched_topics_reach_who_comes_late(ros, talker, driver):
    late = {key: talker.hear(key) for key in ('world_info', 'vehicle_info')}
    ros.until(lambda: all(late.values()))
    assert late['world_info'][0].map_name == 'Carla/Maps/town'
    assert '<OpenDRIVE' in late['world_info'][0].opendrive
    assert 0.2 < max(w.max_steer_angle for w in late['vehicle_info'][0].wheels) < 1.3  # rad


def test_pause_holds_step_once_steps_and_play_goes_on(ros, talker, driver):
    told = driver.heard['status']
    talker.say('world_control', CarlaControl(command=CarlaControl.PAUSE))
    ros.until(lambda: driver.simulator._paused and len(told) == 2)
    assert driver.simulator.health()[2]['awaits_command']
    driver.command(wait=False, throttle=0.5)
    ros.until(lambda: len(told) == 3)
    # As the bridge: it stands once the frame has had its command.
    assert [status.synchronous_mode_running for status in told] == [True, True, False]
    assert not driver.simulator.health()[2]['awaits_command']
    ros.spin(0.2)
    assert driver.frames == 1 and driver.simulator.commands == 1
    del told[:]
    talker.say('world_control', CarlaControl(command=CarlaControl.STEP_ONCE))
    ros.until(lambda: driver.frames == 2)
    driver.command(wait=False)
    ros.spin(0.2)
    assert driver.frames == 2
    assert [status.synchronous_mode_running for status in told] == [True, True, False]
    assert [status.frame for status in told] == [1, 2, 2]
    talker.say('world_control', CarlaControl(command=CarlaControl.PLAY))
    ros.until(lambda: driver.frames == 3)
    assert driver.last('status').synchronous_mode_running


def test_reset_by_transform_and_velocity_and_a_goal_gives_a_route(ros, talker, driver):
    route = driver.simulator._world.road_map.random_route(np.random.default_rng(5), 80.0, 200.0)
    for _ in range(20):
        driver.command(throttle=1.0)
    talker.say('set_target_velocity', Twist())
    talker.say('set_transform', convert.to_pose_msg(route.start))
    goal = PoseStamped()
    goal.pose.position.x, goal.pose.position.y = route.goal
    talker.say('goal', goal)
    ros.until(lambda: driver.heard['waypoints'])
    ros.until(
        lambda: math.dist(driver.simulator._world.state.pose[:2], route.points[0]) < 0.01
        and driver.simulator._world.state.speed == 0.0
    )
    driver.command(brake=1.0)
    state = convert.from_odometry(driver.last('odometry'))
    assert math.dist(state.pose[:2], route.points[0]) < 0.1 and state.speed == 0.0
    ros.until(lambda: len(driver.heard['waypoints'][-1].poses) > 1)
    got = convert.from_path(driver.last('waypoints'))
    assert math.dist(got.points[-1], route.points[-1]) < 2.0
    spacing = np.hypot(*np.diff(got.points, axis=0).T)
    assert 0.5 < np.median(spacing) < 1.5
    assert driver.last('waypoints').header.frame_id == 'map'


def before_a_house(world):
    """Return a free place, facing a wall."""
    for item in world.scenery.items:
        reach = item.radius + 6.0
        for k in range(8 if item.kind == 'house' else 0):
            cos, sin = math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)
            yaw = math.atan2(-sin, -cos)
            start = convert.Pose(item.x + reach * cos, item.y + reach * sin, 0.0, yaw)
            if world.scenery.collides(start, 5.0, 2.0) is None:
                return start
    raise AssertionError('no free place before a house')


def test_hitting_something_is_an_event_with_an_impulse_against_the_motion(ros, talker, driver):
    world = driver.simulator._world
    start = before_a_house(world)
    yaw = start.yaw
    talker.say('set_transform', convert.to_pose_msg(start))
    talker.say('set_target_velocity', Twist())
    ros.until(lambda: math.dist(world.state.pose[:2], start[:2]) < 0.01)
    for _ in range(120):
        if driver.heard['collision']:
            break
        driver.command(throttle=1.0)
    event = driver.last('collision')
    assert event.header.frame_id == 'ego_vehicle/collision' and event.other_actor_id == 0
    # y is not flipped on this one topic: it is left-handed.
    against = event.normal_impulse.x * math.cos(yaw) - event.normal_impulse.y * math.sin(yaw)
    assert against < -100.0
    driver.command(throttle=0.0)
    assert driver.last('speedometer').data < 0.5


def test_no_command_for_a_while_ticks_anyway_and_is_counted(ros, talker):
    driver = Driver(ros, talker, control_timeout=0.2)
    ros.until(lambda: driver.frames >= 3)
    # What is ticked within a spin is heard in one of the next.
    ros.until(lambda: driver.simulator.timeouts == driver.frames - 1)
    assert driver.simulator.timeouts >= 2


def test_a_command_for_an_earlier_frame_is_counted_as_late(ros, driver):
    driver.command(throttle=0.1)
    msg = CarlaEgoVehicleControl()
    msg.header.stamp = convert.from_ns(TICK)
    driver.talker.say('vehicle_control_cmd', msg)
    ros.until(lambda: driver.simulator.late_commands == 1)
    assert 'answered an earlier frame' in driver.simulator.health()[1]


def test_a_command_that_is_no_number_brakes(ros, driver):
    for _ in range(20):
        driver.command(throttle=1.0)
    speed = driver.last('speedometer').data
    for _ in range(10):
        driver.command(throttle=math.nan, steer=math.inf)
    applied = driver.last('vehicle_status').control
    assert (applied.throttle, applied.brake, applied.steer) == (0.0, 1.0, 0.0)
    assert driver.last('speedometer').data < speed - 0.5


def place(x, y=0.0):
    return Pose(position=Point(x=x, y=y))


def in_a_house():
    scenery = Scenery(RoadMap.load('town'), SimulatorConfig().seed)
    house = next(item for item in scenery.items if item.kind == 'house')
    return place(house.x, house.y)


def velocity(x=0.0, z=0.0):
    return Twist(linear=Vector3(x=x), angular=Vector3(z=z))


@pytest.mark.parametrize(
    'key, bad, why',
    [
        ('set_target_velocity', velocity(x=math.nan), 'speed must lie within 100 m/s'),
        ('set_target_velocity', velocity(x=1e200), 'speed must lie within 100 m/s'),
        ('set_target_velocity', velocity(z=1000.0), 'yaw rate within 10 rad/s'),
        ('set_transform', place(math.inf), 'a pose must be finite and within 100000 m'),
        ('set_transform', place(1e300, 1e15), 'a pose must be finite and within 100000 m'),
        ('set_transform', in_a_house, 'where a house stands'),
        ('goal', PoseStamped(pose=place(math.nan)), 'goal must be finite and within 100000 m'),
        ('goal', PoseStamped(pose=place(1e9)), 'goal must be finite and within 100000 m'),
    ],
)
def test_nonsense_is_refused_by_name_and_changes_nothing(
    ros, talker, driver, capfd, key, bad, why
):
    for _ in range(20):
        driver.command(throttle=1.0)
    before, said = driver.simulator._world.state, []
    assert before.speed > 0.5
    talker.say(key, bad() if callable(bad) else bad)
    ros.until(lambda: said.append(capfd.readouterr().err) or why in ''.join(said))
    assert driver.simulator._world.state == before  # the world waits for its command
    for _ in range(3):
        driver.command(throttle=1.0)
    state = convert.from_odometry(driver.last('odometry'))  # raises where a number is not finite
    assert before.speed <= state.speed < before.speed + 2.0
    assert math.dist(state.pose[:2], before.pose[:2]) < 0.2 * state.speed
    assert not driver.heard['waypoints']


def test_real_time_without_waiting(ros, talker):
    driver = Driver(ros, talker, wait_for_vehicle_control_command=False, fixed_delta_seconds=0.02)
    ros.until(lambda: driver.frames > 10)
    assert driver.simulator.timeouts == 0


@pytest.mark.parametrize(
    'params, text',
    [
        ({'map': '/no/such.xodr'}, 'No such file'),
        ({'image_width': 5}, 'image_width must be 32 to 1920 px'),
        ({'colour': 1}, "unknown key 'colour'"),
    ],
)
def test_bad_parameters_are_refused(ros, params, text, capfd):
    node = ros.make(SimulatorNode, **params)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert text in capfd.readouterr().err
