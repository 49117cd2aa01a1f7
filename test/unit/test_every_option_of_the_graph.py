"""A key that changes nothing is a defect: every key of the nodes is set, and something differs."""

from dataclasses import replace
import functools
import math
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from av_td3_ros.config import (
    EpisodeConfig,
    PerceptionConfig,
    PolicyConfig,
    RunConfig,
    SimulatorConfig,
)
from av_td3_ros.datatypes import Outcome, Pose, VehicleState
from av_td3_ros.driving.actuation import to_motion
from av_td3_ros.driving.camera_model import ideal, View
from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import Reason, State
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.route import Route
from av_td3_ros.driving.route_limits import beyond
from av_td3_ros.learning_config import ExplorationConfig
from av_td3_ros.options import build, options
from av_td3_ros.task_config import RewardConfig

TESTS = Path(__file__).resolve().parents[1]
ROUTE = Route.from_points(np.stack([np.arange(101.0), np.zeros(101)], axis=1))
PERIOD = 0.05
TRIED = np.arange(0.05, 12.0, 0.1)  # m, s or times: a limit lies between two of them


# -- what is seen of a config ---------------------------------------------------------------------


def camera_of(config):
    """Return how the front camera is opened, and where a picture is taken from the vehicle."""
    pytest.importorskip('carla')
    pytest.importorskip('panda3d')
    from av_td3_ros.sim.world import World

    with mock.patch('av_td3_ros.sim.cameras.Camera') as camera:
        world = World(config)
        world.image()
        world.close()
    (place, _), _ = camera.return_value.render.call_args
    pose = world.state.pose
    ahead = math.hypot(place.x - pose.x, place.y - pose.y)
    return camera.call_args.kwargs['renderer'], ahead, place.z - pose.z


def is_plain(config):
    """Return whether a camera of 256x144 and 120 deg is that of training."""
    return View(ideal(256, 144, 120.0), config.camera, config.observation).is_plain


def drives(config, x=50.0, y=0.0):
    return not beyond(ROUTE.tracker().update(x, y, 0.0), config)


def motion(config, steering=0.0, pedal=0.0, speed=5.0):
    return to_motion((steering, pedal), speed, config.vehicle)


def first_draw(config):
    pytest.importorskip('torch')
    from av_td3_ros.deployment.driver import load_driver

    behaviour, _ = load_driver(config)
    behaviour.explore(0.0, True, ExplorationConfig())
    return behaviour.act(None, None, explore=True)


def driving(config, lock_step=False):
    """Return a gate that drives at time 0."""
    gate = GateMachine(config.gate, PERIOD, lock_step)
    gate.activate(0.0)
    assert gate.observe(0.0, 0.0)
    return gate


def driven_on(config, step, count, lock_step=False):
    """Whether the gate drives on after some observations, so many seconds from each other."""
    gate = driving(config, lock_step)
    for number in range(1, count + 1):
        is_driven = gate.observe(number * step, number * step)
    return is_driven


def brakes(config, seconds):
    """Return how hard it brakes so long after it had to."""
    gate = driving(config)
    gate.observe(PERIOD, PERIOD, Reason.BAD_OBSERVATION)
    gate.brake(PERIOD)
    return -gate.brake(PERIOD + seconds)[1]


def refused(config):
    """Whether weights that are refused every half second make it brake."""
    gate = driving(config)
    for number in range(config.gate.refusal_storm):
        gate.weights_refused(0.5 * number)
    return gate.state is State.BRAKING


def ended(config, reason, states, on_road=True):
    """Return in which state an episode ended for that reason, and after how long, s."""
    episode = Episode(config, ROUTE, VehicleState(states[0]), PERIOD)
    for number, pose in enumerate(states, 1):
        result = episode.step(VehicleState(pose, 5.0), 0.0, on_road, False)
        if result.outcome is not Outcome.CONTINUES:
            assert result.reason == reason
            return pose, number * PERIOD
    raise AssertionError('it does not end')


@functools.lru_cache
def start(config):
    """Return where the first route begins."""
    pytest.importorskip('carla')
    from av_td3_ros.sim.env import DrivingEnv

    env = DrivingEnv(replace(RunConfig(), episode_manager=config), camera=False)
    env.reset()
    env.close()
    return env.episode.route.start


def lengths(config):
    """Return the lengths of some routes, m."""
    pytest.importorskip('carla')
    from av_td3_ros.driving.road_map import RoadMap
    from av_td3_ros.driving.route_set import RouteSet

    routes = RouteSet(config, RoadMap.load('town'))
    return [routes.at(number, 0, training=False).route.length for number in range(20)]


# -- the keys -------------------------------------------------------------------------------------

# By key: another value, what is seen of a config, and that by default and with the other value.
SIMULATOR = {
    'renderer': ('gpu', lambda c: camera_of(c)[0], 'software', 'gpu'),
    'camera_x': (1.0, lambda c: camera_of(c)[1], 2.0, 1.0),
    'camera_z': (3.0, lambda c: camera_of(c)[2], 1.5, 3.0),
}
PERCEPTION = {
    'route_end': (10.0, lambda c: min(s for s in TRIED if drives(c, x=100.0 - s)), 3.0, 10.0),
    'route_distance': (4.0, lambda c: max(s for s in TRIED if drives(c, y=s)), 2.0, 4.0),
    'camera.width': (512, is_plain, True, False),
    'camera.height': (100, is_plain, True, False),
    'camera.fov_deg': (90.0, is_plain, True, False),
}
POLICY = {
    'seed': (1, lambda c: first_draw(c) == first_draw(PolicyConfig(seed=1)), False, True),
    'vehicle.max_steering_angle': (0.3, lambda c: motion(c, 1.0).steering_angle, 0.61, 0.3),
    'vehicle.wheel_base': (
        1.5,
        lambda c: 5.0 * math.tan(0.305) / motion(c, 0.5).yaw_rate,
        2.58,
        1.5,
    ),
    'vehicle.max_acceleration': (1.5, lambda c: motion(c, pedal=1.0).acceleration, 3.0, 1.5),
    'vehicle.max_deceleration': (4.0, lambda c: motion(c, pedal=-0.5).acceleration, -4.0, -2.0),
    'vehicle.max_speed': (6.0, lambda c: motion(c, pedal=1.0, speed=30.0).speed, 15.0, 6.0),
    'vehicle.horizon': (1.0, lambda c: motion(c, pedal=1.0).speed, 6.5, 8.0),
    'gate.clock_jump': (
        3.0,
        lambda c: max(s for s in TRIED if driven_on(c, s, 1, lock_step=True)),
        1.0,
        3.0,
    ),
    'gate.rate_factor': (
        5.0,
        lambda c: max(s for s in TRIED if driven_on(c, s * PERIOD, 12)),
        3.0,
        5.0,
    ),
    'gate.comfort_brake': (0.7, lambda c: brakes(c, 0.0), 0.4, 0.7),
    'gate.comfort_time': (3.0, lambda c: max(s for s in TRIED if brakes(c, s) < 1.0), 1.5, 3.0),
    'gate.refusal_window': (2.0, refused, True, False),
}
EPISODE = {
    'seed': (1, lambda c: start(c) == start(EpisodeConfig(seed=1)), False, True),
    'route_length_min': (150.0, lambda c: min(lengths(c)) > 149.0, False, True),
    'route_length_max': (100.0, lambda c: max(lengths(c)) < 101.0, False, True),
    'termination.goal_distance': (
        10.0,
        lambda c: 100.0 - ended(c, 'goal', [Pose(100.0 - s, 0.0) for s in TRIED[::-1]])[0].x,
        3.0,
        10.0,
    ),
    'termination.lane_exit': (
        4.0,
        lambda c: ended(c, 'lane_exit', [Pose(50.0, s) for s in TRIED])[0].y,
        2.0,
        4.0,
    ),
    'termination.off_road_time': (
        1.0,
        lambda c: ended(c, 'off_road', [Pose(50.0, 0.0)] * 200, on_road=False)[1],
        3.0,
        1.0,
    ),
    'termination.wrong_way_time': (
        2.0,
        lambda c: ended(c, 'wrong_way', [Pose(50.0, 0.0, yaw=3.1)] * 200)[1],
        5.0,
        2.0,
    ),
}
TABLE = {
    SimulatorConfig: SIMULATOR,
    PerceptionConfig: PERCEPTION,
    PolicyConfig: POLICY,
    EpisodeConfig: EPISODE,
}


def prefixed(prefix, keys, file):
    return {f'{prefix}{key}': file for key in keys.split()}


# Shown in other files.
OBSERVATION = {
    **prefixed('observation.', 'height width stack', 'unit/test_every_option.py'),
    'observation.crop_top': 'node/test_perception_artefact.py',
    'observation.speed': 'unit/test_config.py',
    **prefixed(
        'observation.',
        'yaw_rate last_steering lateral_deviation heading_error command waypoints '
        'waypoint_spacing',
        'unit/test_preprocess.py',
    ),
}
ELSEWHERE = {
    SimulatorConfig: {
        'role_name': 'node/test_options_of_nodes.py',
        **prefixed('', 'map seed first_episode vehicles weather', 'unit/test_world.py'),
        **prefixed('', 'image_width image_height fov_deg', 'unit/test_deployment_artefact.py'),
        **prefixed('', 'segmentation depth', 'node/test_simulator_node_world.py'),
        **prefixed(
            '',
            'fixed_delta_seconds wait_for_vehicle_control_command control_timeout',
            'node/test_simulator_node.py',
        ),
    },
    PerceptionConfig: {
        **OBSERVATION,
        **prefixed(
            '',
            'role_name frozen_distance priority camera.rectified camera.rate camera.min_rate',
            'node/test_options_of_nodes.py',
        ),
        **prefixed('', 'episodes artefact checkpoint', 'node/test_perception_artefact.py'),
        'image_timeout': 'node/test_perception_topics.py',
        **prefixed('camera.', 'info transport', 'node/test_perception_camera.py'),
        'camera.max_uncovered': 'unit/test_camera_model.py',
    },
    PolicyConfig: {
        **OBSERVATION,
        **prefixed('', 'role_name priority', 'node/test_options_of_nodes.py'),
        **prefixed(
            '', 'checkpoint artefact accept_weights engine', 'node/test_policy_artefact.py'
        ),
        'engine_threads': 'unit/test_deployment_runtime.py',
        'lock_step': 'node/test_policy_node.py',
        'output': 'node/test_policy_node_deployed.py',
        **prefixed(
            'gate.', 'max_steering_rate max_acceleration_rate', 'unit/test_command_gate.py'
        ),
        'gate.observation_timeout': 'node/test_policy_node.py',
        **prefixed(
            'gate.',
            'engaged max_age resume_after refusal_storm',
            'unit/test_command_gate_machine.py',
        ),
    },
    EpisodeConfig: {
        **prefixed('', 'role_name pacing_timeout', 'node/test_options_of_nodes.py'),
        **prefixed('', 'routes turning_share route_file', 'unit/test_route_set.py'),
        'start_in_evaluation': 'node/test_episode_measures.py',
        'reset_timeout': 'unit/test_episode_machine.py',
        'first_route': 'unit/test_train.py',
        **{f'reward.{item.key}': 'unit/test_reward.py' for item in options(RewardConfig)},
        'termination.max_steps': 'unit/test_episode.py',
        **prefixed(
            'termination.', 'standing_time standing_time_in_traffic', 'unit/test_measures.py'
        ),
    },
}
EACH = [(cls, key) for cls, keys in TABLE.items() for key in keys]


def test_every_key_is_listed():
    for cls, keys in TABLE.items():
        assert {item.key for item in options(cls)} == set(keys) | set(ELSEWHERE[cls])
        assert not set(keys) & set(ELSEWHERE[cls])


@pytest.mark.parametrize('cls', ELSEWHERE)
def test_what_is_shown_elsewhere_is_named_there(cls):
    for key, file in ELSEWHERE[cls].items():
        assert key.rpartition('.')[2] in (TESTS / file).read_text(), f'{key} in {file}'


@pytest.mark.parametrize('cls, key', EACH, ids=[f'{cls.__name__}.{key}' for cls, key in EACH])
def test_a_key_has_an_effect(cls, key):
    value, seen, before, after = TABLE[cls][key]
    assert seen(cls()) == pytest.approx(before, abs=0.06)
    assert seen(build(cls, {key: value}, 'test')) == pytest.approx(after, abs=0.06)
