"""What is measured of an episode, by hand."""

import math

import numpy as np
import pytest

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, Pose, VehicleState
from av_td3_ros.driving.episode import Episode, SUMMARY
from av_td3_ros.driving.measures import driving_score, HORIZON, StepExtras, time_to_collision
from av_td3_ros.driving.route import Route
from av_td3_ros.task_config import TerminationConfig

ROUTE = Route.from_points(np.stack([np.arange(101.0), np.zeros(101)], axis=1))
PERIOD = 0.05
SIZE = (4.0, 2.0)


def state(x=0.0, y=0.0, yaw=0.0, speed=0.0, yaw_rate=0.0):
    return VehicleState(Pose(x, y, 0.0, yaw), speed, yaw_rate)


def episode(**limits):
    return Episode(EpisodeConfig(termination=TerminationConfig(**limits)), ROUTE, state(), PERIOD)


def car(x, y=0.0, yaw=0.0, speed=0.0):
    return [x, y, yaw, *SIZE, speed]


def test_figures_by_hand():
    it = episode()
    steps = [(0.5, 0.0, 1.0, 0.0, True), (1.0, 0.3, 2.0, 0.5, True), (2.0, -0.6, 4.0, -1.0, False)]
    for x, y, speed, yaw_rate, on_road in steps:
        it.step(state(x, y, 0.1, speed, yaw_rate), 0.0, on_road, False)
    found = it.summary
    assert tuple(found) == SUMMARY
    way = 0.5 + math.hypot(0.5, 0.3) + math.hypot(1.0, 0.9)
    expected = {
        'length': 3,
        'duration': 0.15,
        'distance': way,
        'route_completion': 0.02,
        'mean_speed': 7.0 / 3.0,
        'mean_lateral_deviation': 0.3,
        'mean_heading_error': 0.1,
        'mean_jerk': 200.0,  # accelerations 20, 20, 40 m/s^2
        'max_jerk': 400.0,
        'mean_lateral_acceleration': 5.0 / 3.0,
        'max_lateral_acceleration': 4.0,
        'longest_standing': 0.0,
        'off_road_share': math.hypot(1.0, 0.9) / way,
        'collisions': 0,
        'lane_invasions': 0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert math.isnan(found['min_time_to_collision'])


def test_hits_are_told_apart_and_the_least_time_is_kept():
    it = episode()
    for extras, collided in (
        (StepExtras(time_to_collision=4.0, lane_invaded=True), False),
        (StepExtras(hit_vehicle=True, time_to_collision=0.5), True),
        (StepExtras(time_to_collision=3.0), True),
        (StepExtras(), True),
    ):
        it.step(state(1.0), 0.0, True, collided, extras)
    found = it.summary
    assert (found['vehicle_collisions'], found['static_collisions']) == (1, 2)
    assert found['collisions'] == 3 and found['lane_invasions'] == 1
    assert found['min_time_to_collision'] == 0.5


def test_the_goal_is_the_whole_route():
    it = episode()
    result = it.step(state(97.5, speed=5.0), 0.0, True, False)
    assert result.reason == 'goal' and it.route_completion == 1.0


@pytest.mark.parametrize('in_traffic, seconds', [(False, 1.0), (True, 3.0)])
def test_who_waits_in_traffic_may_stand_longer(in_traffic, seconds):
    it = episode(standing_time=1.0, standing_time_in_traffic=3.0)
    for step in range(1, 200):
        result = it.step(state(5.0), 0.0, True, False, StepExtras(in_traffic=in_traffic))
        if result.outcome is not Outcome.CONTINUES:
            break
    assert result.reason == 'standing_still'
    assert abs(step * PERIOD - seconds) <= 2 * PERIOD
    assert it.summary['longest_standing'] == pytest.approx(step * PERIOD)


@pytest.mark.parametrize(
    'own, other, seconds',
    [
        (state(speed=10.0), car(24.0), 2.0),  # 20 m from bumper to bumper
        (state(speed=10.0), car(24.0, speed=5.0), 4.0),
        (state(speed=10.0), car(44.0, yaw=math.pi, speed=10.0), 2.0),
        (state(speed=10.0), car(24.0, speed=10.0), HORIZON),
        (state(speed=5.0), car(24.0, speed=10.0), HORIZON),  # it drives away
        (state(speed=10.0), car(24.0, y=3.5), HORIZON),  # the next lane
        (state(speed=10.0), car(-24.0), HORIZON),
        (state(), car(3.0), 0.0),
    ],
)
def test_time_to_collision(own, other, seconds):
    found = time_to_collision(own, SIZE, np.array([car(500.0), other]))
    assert found == pytest.approx(seconds, abs=0.1)


def test_nobody_is_never_met():
    assert time_to_collision(state(speed=10.0), SIZE, np.zeros((0, 6))) == HORIZON


def test_time_to_collision_agrees_with_driving_on():
    """Move both in small steps until their boxes touch."""
    from av_td3_ros.sim.boxes import touching

    rng = np.random.default_rng(3)
    near = 0
    for _ in range(60):
        angle = rng.uniform(-math.pi, math.pi)
        meeting = rng.uniform(1.0, 6.0)
        speed, other_speed = rng.uniform(2.0, 12.0, 2)
        x, y = speed * meeting, rng.uniform(-0.5, 0.5)
        other = car(
            x - other_speed * meeting * math.cos(angle),
            y - other_speed * meeting * math.sin(angle),
            angle,
            other_speed,
        )
        found = time_to_collision(state(speed=speed), SIZE, np.array([other]))
        for step in range(1000):
            t = 0.01 * step
            own = np.array([speed * t, 0.0, 0.0, *SIZE])
            there = np.array([other[:5]])
            there[0, 0] += other_speed * t * math.cos(angle)
            there[0, 1] += other_speed * t * math.sin(angle)
            if touching(own, there)[0]:
                break
        near += abs(found - t) < 0.25
    assert near >= 55


def row(**values):
    return {
        'route_completion': 0.5,
        'off_road_share': 0.0,
        'vehicle_collisions': 0,
        'static_collisions': 0,
        **values,
    }


@pytest.mark.parametrize(
    'version, values, score',
    [
        ('1.0', {}, 0.5),
        ('1.0', {'vehicle_collisions': 2}, 0.5 * 0.36),
        ('2.0', {'vehicle_collisions': 1, 'static_collisions': 1}, 0.5 * 0.6 * 0.65),
        ('2.1', {'vehicle_collisions': 2, 'static_collisions': 1}, 0.5 / 3.0),
        ('1.0', {'off_road_share': 0.2}, 0.4),
        ('2.1', {'off_road_share': 0.2, 'static_collisions': 1}, 0.5 / 1.6 * 0.8),
    ],
)
def test_driving_scores_are_those_of_the_leaderboard(version, values, score):
    assert driving_score(row(**values), version) == pytest.approx(score)
