"""Exploration: schedule, bounds, bias and correlation."""

import numpy as np
import pytest

from av_td3_ros.learning_config import ExplorationConfig
from av_td3_ros.td3.behaviour import Behaviour
from av_td3_ros.td3.exploration import ActionNoise, Exploration

CONFIG = ExplorationConfig(
    warmup_steps=100, warmup_throttle=0.35, std_start=0.5, std_end=0.1, std_steps=200
)


@pytest.mark.parametrize('step, std', [(0, 0.5), (100, 0.5), (200, 0.3), (300, 0.1), (10**9, 0.1)])
def test_schedule_is_linear_after_warm_up(step, std):
    assert Exploration(CONFIG).std(step) == pytest.approx(std)


def test_random_actions_fill_the_square_and_lean_forward():
    exploration, rng = Exploration(CONFIG), np.random.default_rng(0)
    actions = np.stack([exploration.random_action(rng) for _ in range(20_000)])
    assert actions.dtype == np.float32
    assert np.abs(actions).max() == 1.0
    counts, _, _ = np.histogram2d(actions[:, 0], actions[:, 1], bins=4, range=[[-1, 1], [-1, 1]])
    assert counts.min() > 0
    assert abs(actions[:, 0].mean()) < 0.03
    assert 0.25 < actions[:, 1].mean() < 0.4


def test_uniform_random_actions_are_white_and_do_not_lean():
    exploration = Exploration(ExplorationConfig(warmup='uniform'))
    rng = np.random.default_rng(0)
    actions = np.stack([exploration.random_action(rng) for _ in range(20_000)])
    counts, _, _ = np.histogram2d(actions[:, 0], actions[:, 1], bins=4, range=[[-1, 1], [-1, 1]])
    np.testing.assert_allclose(counts, 20_000 / 16, rtol=0.12)
    assert abs(np.corrcoef(actions[1:, 0], actions[:-1, 0])[0, 1]) < 0.03


@pytest.mark.parametrize('correlation', [0.0, 0.9])
def test_the_config_sets_the_correlation(correlation):
    exploration = Exploration(ExplorationConfig(correlation=correlation))
    rng, still = np.random.default_rng(0), np.zeros(2, np.float32)
    noisy = np.stack([exploration.noisy(still, 0.1, rng) for _ in range(20_000)])
    got = np.corrcoef(noisy[1:, 0], noisy[:-1, 0])[0, 1]
    assert got == pytest.approx(correlation, abs=0.03)


def test_noise_has_the_standard_deviation_asked_for_and_different_numbers_per_action():
    exploration, rng = Exploration(CONFIG), np.random.default_rng(0)
    noisy = np.stack([exploration.noisy(np.zeros(2, np.float32), 0.2, rng) for _ in range(20_000)])
    np.testing.assert_allclose(noisy.std(axis=0), 0.2, rtol=0.05)
    assert abs(np.corrcoef(noisy.T)[0, 1]) < 0.1


def test_noisy_actions_stay_in_range_and_no_noise_changes_nothing():
    exploration, rng = Exploration(CONFIG), np.random.default_rng(0)
    corner = np.array([1.0, -1.0], np.float32)
    noisy = np.stack([exploration.noisy(corner, 2.0, rng) for _ in range(100)])
    assert np.abs(noisy).max() <= 1.0
    assert noisy[:, 0].min() < 0.0
    np.testing.assert_array_equal(exploration.noisy(corner, 0.0, rng), corner)


@pytest.mark.parametrize('correlation', [0.0, 0.8])
def test_noise_is_correlated_as_asked_and_of_unit_variance(correlation):
    noise, rng = ActionNoise(correlation), np.random.default_rng(0)
    values = np.stack([noise.sample(rng) for _ in range(40_000)])
    assert values.std() == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(values[1:, 0], values[:-1, 0])[0, 1] == pytest.approx(correlation, abs=0.03)


def test_reset_forgets_the_last_episode():
    noise, fresh = ActionNoise(0.8), ActionNoise(0.8)
    noise.sample(np.random.default_rng(1))
    noise.reset()
    one, two = (n.sample(np.random.default_rng(2)) for n in (noise, fresh))
    np.testing.assert_array_equal(one, two)


def test_same_seed_same_actions():
    def actions(seed):
        exploration, rng = Exploration(CONFIG), np.random.default_rng(seed)
        return np.stack([exploration.random_action(rng) for _ in range(10)])

    np.testing.assert_array_equal(actions(3), actions(3))
    assert not np.array_equal(actions(3), actions(4))


def test_a_run_that_goes_on_has_other_noise_and_the_same_at_the_same_step():
    def drawn(*steps):
        behaviour = Behaviour(3)
        for step in steps:
            behaviour.go_on(step)
        behaviour.explore(0.0, True, CONFIG)
        return behaviour.act(None, None, explore=True)

    assert drawn() == drawn(0) != drawn(500)
    assert drawn(500) == drawn(0, 500) != drawn(501)
    assert np.random.default_rng(3).random() == np.random.default_rng((3, 0)).random()
