"""Targets by hand, in NumPy: each way to combine critics, each way an episode can end."""

import numpy as np
import pytest
import torch

from av_td3_ros.datatypes import Outcome
from av_td3_ros.learning_config import parts, ReplayConfig, TargetConfig
from av_td3_ros.options import build, ConfigError
from av_td3_ros.td3 import targets
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.replay import ReplayBuffer
from learners import make_batch, small, SPEC

Q1 = np.array([1.0, -2.0, 0.5, 4.0], np.float32)
Q2 = np.array([3.0, -5.0, 0.5, 3.0], np.float32)
GAP = 0.8
BY_HAND = {
    'minimum': np.minimum(Q1, Q2),
    'weighted': 0.7 * np.minimum(Q1, Q2) + 0.3 * np.maximum(Q1, Q2),
    'mpg': np.maximum(Q1, Q2) - 0.5 * (GAP + np.abs(Q1 - Q2)),
}


def test_every_target_is_worked_out_here():
    assert set(BY_HAND) == set(parts('targets'))


@pytest.mark.parametrize('kind', sorted(BY_HAND))
def test_combination_by_hand(kind):
    values = torch.from_numpy(np.stack([Q1, Q2]))
    got = targets.combiner(kind)(values, 0.7, torch.tensor(GAP))
    np.testing.assert_allclose(got.numpy(), BY_HAND[kind], rtol=1e-6)


def exact(**options):
    return small(target__noise=0.0, shift_pad=0, **options)


def disturb(agent):
    """Make targets unlike the online networks, and the critics unlike each other."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in (agent.target_policy, agent.target_critic):
            for parameter in module.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def next_values(agent, batch):
    """Return what the target critics say of the next observation: (critics, B)."""
    with torch.no_grad():
        image, vector = torch.from_numpy(batch.next_image), torch.from_numpy(batch.next_vector)
        action = agent.target_policy.act(image, vector)
        features = agent.target_critic_encoder(image)
        return agent.target_critic(features, vector, action).numpy()


@pytest.mark.parametrize('kind', sorted(BY_HAND))
def test_an_update_learns_its_target(kind):
    agent, batch = TD3(SPEC, exact(target__kind=kind, target__weight=0.6)), make_batch()
    disturb(agent)
    gap = 0.0  # before the first update there is none
    for _ in range(3):
        low, high = np.sort(next_values(agent, batch), axis=0)
        value = {
            'minimum': low,
            'weighted': 0.6 * low + 0.4 * high,
            'mpg': high - 0.5 * (gap + (high - low)),
        }[kind]
        metrics = agent.update(batch)
        expected = (batch.reward + batch.discount * value).mean()
        assert metrics['q_target_mean'] == pytest.approx(expected, abs=1e-5)
        gap = metrics['q_difference']
        assert gap > 0.01


def test_one_critic_learns_its_own_value():
    agent, batch = TD3(SPEC, exact(target__critics=1)), make_batch()
    disturb(agent)
    values = next_values(agent, batch)
    assert values.shape[0] == 1
    metrics = agent.update(batch)
    expected = (batch.reward + batch.discount * values[0]).mean()
    assert metrics['q_target_mean'] == pytest.approx(expected, abs=1e-5)
    assert metrics['q_difference'] == 0.0


def test_values_are_kept_within_the_range_seen():
    config = exact(target__clip_to_seen=True, target__clip_refresh=2)
    agent, batch = TD3(SPEC, config), make_batch()
    disturb(agent)
    low = high = 0.0  # nothing is believed before it was seen, as in TD7
    seen = []
    for update in range(1, 6):
        value = np.clip(next_values(agent, batch).min(axis=0), low, high)
        target = batch.reward + batch.discount * value
        metrics = agent.update(batch)
        assert metrics['q_target_mean'] == pytest.approx(target.mean(), abs=1e-5)
        seen += [target.min(), target.max()]
        if update % 2 == 0:
            low, high = min(seen), max(seen)


def test_reward_is_scaled():
    batch = make_batch(discount=np.zeros(16, np.float32))
    metrics = TD3(SPEC, exact(reward_scale=20.0)).update(batch)
    assert metrics['q_target_mean'] == pytest.approx(20.0 * batch.reward.mean(), abs=1e-5)


GAMMA, N = 0.9, 3
# How an episode of two steps ends: its reward of the first transition, and its discount.
ENDINGS = {
    Outcome.TERMINATED: 0.0,
    Outcome.TRUNCATED: GAMMA**2,
    None: GAMMA**2,  # aborted
}


@pytest.mark.parametrize('outcome', ENDINGS)
def test_n_step_targets_at_the_end_of_an_episode(outcome):
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(SPEC, ReplayConfig(capacity=100), N, GAMMA)

    def observation():
        return rng.integers(0, 256, SPEC.frame_shape, np.uint8), rng.random(2).astype(np.float32)

    replay.begin(*observation())
    replay.add(np.zeros(2), 1.0, Outcome.CONTINUES, *observation())
    replay.add(np.zeros(2), 0.5, outcome or Outcome.CONTINUES, *observation())
    if outcome is None:
        replay.abort()
    batch = replay.sample(64)
    first = batch.reward > 0.6
    assert first.any() and not first.all()
    agent = TD3(SPEC, exact(discount=GAMMA, n_step=N, batch_size=64))
    disturb(agent)
    value = next_values(agent, batch).min(axis=0)
    ending = ENDINGS[outcome]
    expected = np.where(first, 1.0 + GAMMA * 0.5, 0.5)
    expected = expected + np.where(first, ending, ending / GAMMA) * value
    assert agent.update(batch)['q_target_mean'] == pytest.approx(expected.mean(), abs=1e-5)


@pytest.mark.parametrize(
    'values, text',
    [
        ({'critics': 1, 'kind': 'mpg'}, "kind must be 'minimum' with critics 1, got 'mpg'"),
        ({'critics': 1, 'kind': 'weighted'}, "kind must be 'minimum' with critics 1"),
        ({'noise': 0.2, 'noise_clip': 0.0}, 'noise_clip must be above 0 with noise 0.2'),
    ],
)
def test_contradictions_are_refused(values, text):
    with pytest.raises(ConfigError, match=text):
        build(TargetConfig, values, 'the test')
