"""Where a command leads, and what is told of the learner."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from av_td3_ros.watching import Geometry, geometry, planned_path, SHORTEST, told, vitals

CAR = Geometry(max_steer=0.6, wheelbase=2.7)


@pytest.mark.parametrize('steering', [-1.0, -0.3, -1e-9, 0.0, 1e-9, 0.3, 1.0])
def test_a_kept_command_is_a_circle(steering):
    path = planned_path(steering, 8.0, CAR)
    steps = np.hypot(*np.diff(path, axis=0).T)
    assert np.allclose(steps, steps[0], rtol=1e-6) and tuple(path[0]) == (0.0, 0.0)
    assert np.sign(path[-1, 1]) == np.sign(round(steering, 6))  # left is positive
    if abs(steering) > 0.1:
        radius = CAR.wheelbase / math.tan(steering * CAR.max_steer)
        assert np.hypot(path[:, 0], path[:, 1] - radius) == pytest.approx(abs(radius))
    else:
        assert path[-1] == pytest.approx((16.0, 0.0), abs=1e-6)


def test_nonsense_draws_straight_on_and_standing_shows_a_stub():
    for steering, speed in ((math.nan, math.nan), (0.0, math.inf), (0.0, 0.0)):
        assert planned_path(steering, speed)[-1] == pytest.approx((SHORTEST, 0.0))
    assert planned_path(5.0, 3.0, CAR) == pytest.approx(planned_path(1.0, 3.0, CAR))


def test_wheels_tell_how_a_car_turns():
    assert geometry([(0.5, 1.4), (0.5, 1.4), (0.0, -1.4), (0.0, -1.4)]) == (0.5, 2.8)
    assert geometry([]) == geometry([(70.0, 140.0), (0.0, -140.0)]) == Geometry()


def test_only_numbers_are_told():
    found = vitals({'q_policy_mean': '3.5', 'feature_l2_seen': 'inf', 'q_replay_mean': 'soon'})
    assert found == {'q_policy': 3.5}
    assert told(found) == ['Q 3.5']
    state = SimpleNamespace(episode_id=2, step_id=9, speed=5.0, reward=-0.5)
    lines = told({'q_policy': 3.5, 'q_replay': 2.0, 'feature_norm': 7.0}, state)
    assert lines[1] == '18 km/h  reward -0.50' and lines[2] == 'Q 3.5 (replayed 2.0)'
    assert told({}) == []
