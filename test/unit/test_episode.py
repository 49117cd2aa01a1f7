"""How an episode is scored and when it ends."""

import numpy as np
import pytest

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, Pose, VehicleState
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.route import Route
from av_td3_ros.task_config import TerminationConfig

ROUTE = Route.from_points(np.stack([np.arange(101.0), np.zeros(101)], axis=1))


def state(x=10.0, y=0.0, yaw=0.0, speed=5.0):
    return VehicleState(Pose(x, y, 0.0, yaw), speed)


def episode(start=0.0, **limits):
    return Episode(
        EpisodeConfig(termination=TerminationConfig(**limits)),
        ROUTE,
        state(start, speed=0.0),
        0.05,
    )


def repeat(it, where, limit, **facts):
    for count in range(1, limit + 1):
        result = it.step(where, 0.0, facts.get('on_road', True), facts.get('collided', False))
        if result.outcome is not Outcome.CONTINUES:
            return count, result
    return limit, result


@pytest.mark.parametrize(
    'where, facts, reason',
    [
        (state(), {'collided': True}, 'collision'),
        (state(x=97.5), {}, 'goal'),
        (state(y=2.1), {}, 'lane_exit'),
        (state(y=-2.1), {}, 'lane_exit'),
    ],
)
def test_endings_at_once(where, facts, reason):
    count, result = repeat(episode(start=where.pose.x - 5.0), where, 5, **facts)
    assert (count, result.outcome, result.reason) == (1, Outcome.TERMINATED, reason)


@pytest.mark.parametrize(
    'where, facts, reason, steps',
    [
        (state(), {'on_road': False}, 'off_road', 60),
        (state(yaw=3.1), {}, 'wrong_way', 100),
        (state(speed=0.4), {}, 'standing_still', 80),
    ],
)
def test_endings_after_their_time(where, facts, reason, steps):
    count, result = repeat(episode(), where, 200, **facts)
    assert (result.outcome, result.reason) == (Outcome.TERMINATED, reason)
    assert abs(count - steps) <= 1


def test_time_beside_the_road_must_be_in_one_piece():
    it = episode()
    for _ in range(5):
        count, result = repeat(it, state(), 50, on_road=False)
        assert result.outcome is Outcome.CONTINUES
        it.step(state(), 0.0, True, False)


def test_the_step_limit_truncates():
    count, result = repeat(episode(max_steps=30), state(), 100)
    assert (count, result.outcome, result.reason) == (30, Outcome.TRUNCATED, 'time_limit')


def test_progress_and_completion_are_along_the_route():
    it = episode()
    result = it.step(state(x=0.4165), 0.0, True, False)
    assert result.terms['progress'] == pytest.approx(0.6)
    it.step(state(x=25.0), 0.0, True, False)
    it.step(state(x=50.0), 0.0, True, False)
    it.step(state(x=40.0), 0.0, True, False)
    assert it.route_completion == pytest.approx(0.5)


def test_left_of_the_route_is_positive():
    result = episode().step(state(y=0.7, yaw=0.2), 0.0, True, False)
    assert result.position.lateral_deviation == pytest.approx(0.7)
    assert result.position.heading_error == pytest.approx(0.2)


def test_jerk_by_hand():
    it = episode()
    for x, speed in ((1.0, 1.0), (2.0, 1.0), (3.0, 1.1)):
        it.step(state(x=x, speed=speed), 0.0, True, False)
    # accelerations 20, 0, 2 m/s^2; the first has no predecessor
    assert it.measures.max_jerk == pytest.approx(400.0)
