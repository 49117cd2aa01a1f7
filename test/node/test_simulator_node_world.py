"""The simulator node: traffic, weather, further cameras, gears and the manual override."""

import math

from carla_msgs.msg import CarlaEgoVehicleControl, CarlaWeatherParameters
from geometry_msgs.msg import Twist
import numpy as np
import pytest
from std_msgs.msg import Bool

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.bridge import convert  # noqa: E402
from av_td3_ros.datatypes import Pose  # noqa: E402
from av_td3_ros.sim.weather import PRESETS, Weather  # noqa: E402
from drivers import Driver  # noqa: E402
from pictures import bgra  # noqa: E402


@pytest.fixture
def driver(ros, talker):
    return Driver(ros, talker, control_timeout=5.0)


def weather_msg(weather):
    return CarlaWeatherParameters(**{name: float(v) for name, v in weather._asdict().items()})


# -- traffic --------------------------------------------------------------------------------------


def test_the_traffic_is_in_the_actor_list(ros, talker):
    driver = Driver(ros, talker, vehicles=6, control_timeout=5.0)
    actors = driver.last('actor_list').actors
    assert len({actor.id for actor in actors}) == 7
    assert all(actor.type.startswith('vehicle.') for actor in actors)
    assert [actor.rolename for actor in actors].count('ego_vehicle') == 1


def test_a_hit_vehicle_is_named_by_its_id(ros, talker):
    driver = Driver(ros, talker, vehicles=4, control_timeout=5.0)
    world = driver.simulator._world
    x, y, yaw, length, _ = world.traffic.boxes[0]
    away = length / 2 + world.vehicle.params.length / 2 + 0.3
    world.vehicle.place(Pose(x - away * math.cos(yaw), y - away * math.sin(yaw), 0.0, yaw))
    talker.say('set_target_velocity', Twist(linear=convert.geometry_msgs.msg.Vector3(x=20.0)))
    ros.until(lambda: world.state.speed == 20.0)
    for _ in range(20):
        if driver.heard['collision']:
            break
        driver.command()
    event = driver.last('collision')
    listed = {actor.id: actor for actor in driver.last('actor_list').actors}
    assert listed[event.other_actor_id].rolename == 'autopilot'
    against = event.normal_impulse.x * math.cos(yaw) - event.normal_impulse.y * math.sin(yaw)
    assert against < -100.0


# -- weather --------------------------------------------------------------------------------------


def test_weather_changes_the_picture_and_back(ros, talker, driver):
    driver.command(brake=1.0)
    clear = bgra(driver.last('image')).copy()
    talker.say('weather_control', weather_msg(PRESETS['foggy_noon']))
    ros.until(lambda: driver.simulator._world.weather == PRESETS['foggy_noon'])
    driver.command(brake=1.0)
    foggy = bgra(driver.last('image')).copy()
    assert np.abs(clear.astype(int) - foggy).mean() > 5.0
    talker.say('weather_control', weather_msg(PRESETS['clear_noon']))
    ros.until(lambda: driver.simulator._world.weather == PRESETS['clear_noon'])
    driver.command(brake=1.0)
    assert np.array_equal(bgra(driver.last('image')), clear)


def test_carla_s_own_presets_are_taken(ros, talker, driver):
    import carla

    theirs = carla.WeatherParameters.HardRainNoon  # with an azimuth of -1
    msg = CarlaWeatherParameters(**{n: float(getattr(theirs, n)) for n in Weather._fields})
    talker.say('weather_control', msg)
    ros.until(lambda: driver.simulator._world.weather.precipitation == 100.0)
    assert driver.simulator._world.weather.sun_azimuth_angle == 359.0


@pytest.mark.parametrize('bad', [{'cloudiness': 101.0}, {'fog_density': math.nan}])
def test_weather_out_of_range_is_ignored_and_said(ros, talker, driver, capfd, bad):
    talker.say('weather_control', weather_msg(Weather(**bad)))
    talker.say('weather_control', weather_msg(PRESETS['wet_noon']))
    ros.until(lambda: driver.simulator._world.weather == PRESETS['wet_noon'])
    name, value = next(iter(bad.items()))
    assert f'weather {name} must lie in [0, 100], got {value}' in capfd.readouterr().err


# -- cameras --------------------------------------------------------------------------------------


def test_semantic_and_depth_camera_share_stamp_and_intrinsics(ros, talker):
    keys = ('segmentation', 'segmentation_info', 'depth', 'depth_info')
    driver = Driver(ros, talker, keys, segmentation=True, depth=True, control_timeout=5.0)
    ros.until(lambda: all(driver.heard[key] for key in keys))
    classes, depth, info = (driver.last(key) for key in ('segmentation', 'depth', 'depth_info'))
    assert (classes.encoding, classes.step) == ('bgra8', 4 * 64)
    assert (depth.encoding, depth.step, depth.is_bigendian) == ('32FC1', 4 * 64, 0)
    assert list(info.k) == list(driver.last('camera_info').k)
    assert classes.header.frame_id == 'ego_vehicle/semantic_segmentation_front'
    assert depth.header.frame_id == info.header.frame_id == 'ego_vehicle/depth_front'
    stamps = {convert.to_ns(driver.heard[key][0].header.stamp) for key in (*keys, 'image')}
    assert len(stamps) == 1
    metres = np.frombuffer(depth.data, np.float32).reshape(48, 64)
    # The lowest row looks down by nearly the half field of view, from 1.5 m above flat ground.
    assert metres[-1, 32] == pytest.approx(1.5 * info.k[0] / 23.5, rel=0.03)
    colours = np.frombuffer(classes.data, np.uint8).reshape(48, 64, 4)[..., :3]
    assert tuple(colours[-1, 32]) == (128, 64, 128)  # a road in CARLA's palette, B G R


def test_further_cameras_are_off_unless_asked_for(talker, driver):
    for name in ('semantic_segmentation_front', 'depth_front'):
        assert not talker.node.get_publishers_info_by_topic(f'/carla/ego_vehicle/{name}/image')


# -- control --------------------------------------------------------------------------------------


def test_reverse_drives_backwards_and_the_status_tells_gear_and_flags(driver):
    for _ in range(30):
        driver.command(throttle=0.5, reverse=True)
    assert driver.last('speedometer').data < -0.5
    status = driver.last('vehicle_status')
    assert status.control.reverse and status.control.gear == -1 and status.velocity > 0.5
    for _ in range(60):
        driver.command(throttle=0.7)
    assert driver.last('vehicle_status').control.gear >= 1


def test_the_hand_brake_holds(driver):
    for _ in range(20):
        driver.command(throttle=1.0, hand_brake=True)
    assert abs(driver.last('speedometer').data) < 0.2
    assert driver.last('vehicle_status').control.hand_brake


def test_under_manual_override_the_manual_command_alone_drives(ros, talker, driver):
    talker.say('manual_override', Bool(data=True))
    ros.until(lambda: driver.simulator._overridden)
    driver.command(wait=False, brake=1.0)
    ros.spin(0.2)
    assert driver.frames == 1  # of the wrong mode: it releases no tick
    for _ in range(20):
        known = driver.frames
        talker.say('vehicle_control_cmd_manual', CarlaEgoVehicleControl(throttle=1.0))
        ros.until(lambda: driver.frames > known)
    assert driver.last('speedometer').data > 1.0
    talker.say('manual_override', Bool(data=False))
    ros.until(lambda: not driver.simulator._overridden)
    driver.command(brake=1.0)
    assert driver.last('vehicle_status').control.brake == 1.0
