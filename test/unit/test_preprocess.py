"""Image and state to observation, by hand."""

import math

import numpy as np
import pytest

from av_td3_ros.config import ObservationConfig
from av_td3_ros.datatypes import Command, ObsSpec, Pose, SpecError, VehicleState
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.commands import Commands, crossings
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route import Route
from av_td3_ros.options import build
from av_td3_ros.task_config import OBSERVATIONS

CONFIG = ObservationConfig()


def test_the_sky_is_cropped_and_left_stays_left():
    image = np.zeros((100, 200, 4), np.uint8)
    image[:35] = 255  # sky
    image[35:, :100, :3] = 200  # left half bright
    frame = preprocess.grey_frame(image, CONFIG)
    assert frame.shape == (84, 84) and frame.dtype == np.uint8
    assert frame.max() == 200
    assert frame[:, :40].mean() == 200 and frame[:, 44:].mean() == 0


def test_grey_has_the_weights_of_bgr():
    image = np.zeros((10, 10, 4), np.uint8)
    image[..., 2] = 255  # red, last of B, G, R
    assert preprocess.grey_frame(image, CONFIG)[0, 0] == pytest.approx(0.299 * 255, abs=1)


@pytest.mark.parametrize(
    'image', [np.zeros((9, 9, 2), np.uint8), np.zeros((9, 9), np.float32), np.zeros(9, np.uint8)]
)
def test_other_images_are_refused(image):
    with pytest.raises(SpecError, match='camera image must be'):
        preprocess.grey_frame(image, CONFIG)


def test_a_stack_begins_full_and_shifts_oldest_first():
    stack = preprocess.FrameStack(ObsSpec(3, 2, 2, ()))
    frames = [np.full((2, 2), value, np.uint8) for value in (1, 2, 3, 4)]
    assert stack.reset(frames[0])[:, 0, 0].tolist() == [1, 1, 1]
    assert stack.push(frames[1])[:, 0, 0].tolist() == [1, 1, 2]
    kept = stack.push(frames[2])
    assert stack.push(frames[3])[:, 0, 0].tolist() == [2, 3, 4]
    assert kept[:, 0, 0].tolist() == [1, 2, 3]  # what was given out does not change


def test_the_vector_by_hand():
    route = Route.from_points(np.stack([np.arange(101.0), np.zeros(101)], axis=1))
    state = VehicleState(Pose(10.0, 1.0, 0.0, math.pi / 2), speed=7.5, yaw_rate=0.1)
    config = ObservationConfig(waypoints=2, waypoint_spacing=5.0)
    vector, position = preprocess.state_vector(config, state, -0.25, route.tracker())
    # Facing left: the road ahead lies to the right (-y), one metre behind (-x).
    expected = [0.75, 0.1, -0.25, 0.5, 1.0, -1 / 5, -5 / 5, -1 / 10, -10 / 10]
    assert vector == pytest.approx(expected, abs=1e-6)
    assert vector.dtype == np.float32 and len(vector) == config.spec().vector_size
    assert position.remaining == pytest.approx(90.0)


def test_entries_can_be_switched_off():
    config = ObservationConfig(
        yaw_rate=False,
        last_steering=False,
        lateral_deviation=False,
        heading_error=False,
        waypoints=0,
    )
    vector, _ = preprocess.state_vector(config, VehicleState(Pose(0.0, 0.0), 15.0), 0.0, None)
    assert vector.tolist() == [1.0]
    assert not preprocess.needs_route(config)


def test_a_missing_route_is_refused_where_it_is_needed():
    with pytest.raises(SpecError, match='needs a route'):
        preprocess.state_vector(CONFIG, VehicleState(Pose(0.0, 0.0)), 0.0, None)


def test_entries_are_clipped():
    route = Route.from_points(np.array([[0.0, 0.0], [100.0, 0.0]]))
    vector, _ = preprocess.state_vector(
        CONFIG, VehicleState(Pose(0.0, 90.0), 99.0), 0.0, route.tracker()
    )
    assert np.abs(vector).max() == 1.0


def test_the_camera_preset_sees_speed_steering_and_the_command_alone():
    pytest.importorskip('carla')
    config = build(ObservationConfig, OBSERVATIONS['camera'].values, 'x')
    assert config.spec().vector == (
        'speed',
        'last_steering',
        'command_follow',
        'command_left',
        'command_right',
        'command_straight',
    )
    assert config.spec().image_shape == CONFIG.spec().image_shape
    assert preprocess.needs_route(config)
    town = RoadMap.load('town')
    route = town.random_route(np.random.default_rng(0), 150.0, 200.0)
    first = crossings(route, town)[0]
    for distance, command in ((first.begin - 14.0, Command.FOLLOW), (first.begin, first.command)):
        x, y = (np.interp(distance, route.distance, route.points[:, k]) for k in (0, 1))
        state = VehicleState(Pose(x, y, yaw=route.start.yaw), 7.5)
        vector, _ = preprocess.state_vector(
            config, state, -0.25, route.tracker(), Commands(route, town)
        )
        assert vector.tolist() == [0.75, -0.25, *(float(command is c) for c in Command)]


def test_the_waypoints_preset_is_the_default():
    assert build(ObservationConfig, OBSERVATIONS['waypoints'].values, 'x') == CONFIG


def test_a_missing_map_is_refused_where_it_is_needed():
    tracker = Route.from_points(np.array([[0.0, 0.0], [100.0, 0.0]])).tracker()
    config = ObservationConfig(command=True)
    with pytest.raises(SpecError, match='needs a map, got none; publish /carla/world_info'):
        preprocess.state_vector(config, VehicleState(Pose(0.0, 0.0)), 0.0, tracker)
