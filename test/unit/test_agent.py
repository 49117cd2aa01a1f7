"""The learner: targets by hand, who trains what, clipping, exact continuation, learning."""

from pathlib import Path

import numpy as np
import pytest
import torch

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.metrics import (
    ACTOR_METRICS,
    CRITIC_METRICS,
    OPTIONAL_METRICS,
    RECORD_METRICS,
)
from av_td3_ros.td3.replay import Batch
from learners import changed, EXACT, make_batch, small, snapshot, SPEC, STILL


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def q_by_hand(layers, inputs):
    """Run a critic in float64 NumPy: Linear, LayerNorm, ReLU, twice, then Linear."""
    parameters = [p.detach().double().numpy() for p in layers.parameters()]
    for i in (0, 4):
        weight, bias, scale, offset = parameters[i : i + 4]
        inputs = inputs @ weight.T + bias
        mean, variance = inputs.mean(axis=1, keepdims=True), inputs.var(axis=1, keepdims=True)
        inputs = np.maximum((inputs - mean) / np.sqrt(variance + 1e-5) * scale + offset, 0)
    return (inputs @ parameters[8].T + parameters[9])[:, 0]


def huber(error):
    return np.where(np.abs(error) < 1, 0.5 * error**2, np.abs(error) - 0.5).mean()


# -- targets --------------------------------------------------------------------------------------


def test_target_and_loss_by_hand():
    agent = TD3(SPEC, small(**EXACT), seed=1)
    steps = 1 + np.arange(16) % 3
    discount = np.where(steps == 1, 0.0, 0.97**steps).astype(np.float32)
    batch = make_batch(discount=discount)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in (agent.target_policy, agent.target_critic):  # unlike the online networks
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        image, next_image = tensors(batch.image, batch.next_image)
        features = agent.policy.encoder(image).double().numpy()
        pixels = agent.policy.encoder.normalised(image)
        length = agent.policy.encoder.unbounded(pixels).norm(dim=1).numpy()
        next_features = agent.target_policy.encoder(next_image).double().numpy()
        next_action = agent.target_policy.act(next_image, torch.from_numpy(batch.next_vector))
    next_inputs = np.concatenate([next_features, batch.next_vector, next_action.numpy()], axis=1)
    next_q = np.minimum(
        q_by_hand(agent.target_critic.q[0], next_inputs),
        q_by_hand(agent.target_critic.q[1], next_inputs),
    )
    target = batch.reward + discount * next_q
    inputs = np.concatenate([features, batch.vector, batch.action], axis=1)
    q1, q2 = q_by_hand(agent.critic.q[0], inputs), q_by_hand(agent.critic.q[1], inputs)

    metrics = agent.update(batch)

    assert metrics['q_target_mean'] == pytest.approx(target.mean(), abs=1e-5)
    loss = huber(target - q1) + huber(target - q2)
    assert metrics['critic_loss'] == pytest.approx(loss, abs=1e-5)
    assert metrics['td_error'] == pytest.approx(np.abs(target - q1).mean(), abs=1e-5)
    assert metrics['q_difference'] == pytest.approx(np.abs(q1 - q2).mean(), abs=1e-5)
    assert metrics['q_replay_mean'] == pytest.approx(q1.mean(), abs=1e-5)
    assert metrics['q_replay_max'] == pytest.approx(q1.max(), abs=1e-5)
    assert metrics['q_replay_min'] == pytest.approx(q1.min(), abs=1e-5)
    assert metrics['q_replay_std'] == pytest.approx(q1.std(), abs=1e-5)
    assert metrics['feature_l2'] == pytest.approx(length.mean(), abs=1e-5)
    seen = np.linalg.norm(features, axis=1).mean()
    assert metrics['feature_l2_seen'] == pytest.approx(seen, abs=1e-5)
    assert metrics['feature_mean'] == pytest.approx(features.mean(), abs=1e-5)
    assert metrics['feature_std'] == pytest.approx(features.std(axis=0).mean(), abs=1e-5)


def test_terminated_transitions_learn_the_reward_alone():
    agent = TD3(SPEC, small())
    batch = make_batch(discount=np.zeros(16, np.float32))
    assert agent.update(batch)['q_target_mean'] == pytest.approx(batch.reward.mean(), abs=1e-6)


def test_target_policy_is_smoothed_within_its_bounds():
    config = small(target__noise=0.5, target__noise_clip=0.3)
    agent, seen = TD3(SPEC, config), []
    agent.target_critic.register_forward_pre_hook(lambda module, args: seen.append(args[2]))
    with torch.no_grad():
        agent.target_policy.actor.layers[-1].bias.copy_(torch.tensor([0.0, 1.8]))  # 0 and 0.95
    agent.update(make_batch(512))
    noise = seen[0] - torch.tanh(torch.tensor([0.0, 1.8]))
    steering, acceleration = noise.unbind(1)
    assert steering.abs().max() == pytest.approx(0.3, abs=0.05)  # the clip is reached
    assert steering.std() == pytest.approx(0.24, abs=0.03)  # of N(0, 0.5) clipped at 0.3
    assert seen[0].abs().max() <= 1.0
    assert acceleration.max() < 0.1


# -- who trains what, and when --------------------------------------------------------------------


def test_every_parameter_is_trained():
    agent = TD3(SPEC, small(policy_delay=1))
    policy, critic = snapshot(agent.policy), snapshot(agent.critic)
    agent.update(make_batch())
    assert changed(policy, agent.policy) == set(policy)
    assert changed(critic, agent.critic) == set(critic)


def test_the_actor_loss_reaches_neither_encoder_nor_critics():
    with_actor = TD3(SPEC, small(policy_delay=1))
    without = TD3(SPEC, small(policy_delay=100))
    before = snapshot(with_actor.policy.actor)
    for agent in (with_actor, without):
        agent.update(make_batch())
    assert changed(before, with_actor.policy.actor) == set(before)
    assert not changed(before, without.policy.actor)
    assert not changed(snapshot(with_actor.policy.encoder), without.policy.encoder)
    assert not changed(snapshot(with_actor.critic), without.critic)


def test_actor_and_targets_wait_for_the_delay_and_polyak_is_by_hand():
    agent = TD3(SPEC, small(policy_delay=3, tau=0.1))
    actor, target = snapshot(agent.policy.actor), snapshot(agent.target_policy)
    target_critic = snapshot(agent.target_critic)
    for _ in range(2):
        assert set(agent.update(make_batch())) == set(CRITIC_METRICS)
        assert not changed(actor, agent.policy.actor)
        assert not changed(target, agent.target_policy)
        assert not changed(target_critic, agent.target_critic)
    assert set(agent.update(make_batch())) == set(CRITIC_METRICS) | set(ACTOR_METRICS)
    assert agent.updates == 3
    assert changed(actor, agent.policy.actor) == set(actor)
    for before, online, moved in (
        (target, agent.policy, agent.target_policy),
        (target_critic, agent.critic, agent.target_critic),
    ):
        new, now = snapshot(online), snapshot(moved)
        for name in before:
            torch.testing.assert_close(now[name], 0.9 * before[name] + 0.1 * new[name])


@pytest.mark.parametrize('rate', ['encoder_lr', 'critic_lr', 'actor_lr'])
def test_each_learning_rate_moves_its_own_part(rate):
    still = {f'optimiser__{name}_lr': 0.0 for name in ('encoder', 'critic', 'actor')}
    still[f'optimiser__{rate}'] = 1e-3
    agent = TD3(SPEC, small(policy_delay=1, **still))
    parts = {
        'encoder_lr': agent.policy.encoder,
        'critic_lr': agent.critic,
        'actor_lr': agent.policy.actor,
    }
    before = {name: snapshot(module) for name, module in parts.items()}
    agent.update(make_batch())
    moved = {name for name, module in parts.items() if changed(before[name], module)}
    assert moved == {rate}


def test_an_update_runs_each_encoder_once():
    agent, passes = TD3(SPEC, small(policy_delay=1)), []
    for name, policy in (('online', agent.policy), ('target', agent.target_policy)):
        policy.encoder.body.register_forward_hook(lambda *args, name=name: passes.append(name))
    agent.update(make_batch())
    assert sorted(passes) == ['online', 'target']


def test_actor_metrics_by_hand():
    config = small(**EXACT, **STILL, policy_delay=1, pre_tanh_penalty=0.5)
    agent, batch = TD3(SPEC, config), make_batch()
    with torch.no_grad():
        agent.policy.actor.layers[-1].bias.copy_(torch.tensor([3.0, -0.5]))
        image, vector = tensors(batch.image, batch.vector)
        features = agent.policy.encoder(image)
        pre_tanh, action = agent.policy.actor(features, vector)
        q = agent.critic.first(features, vector, action)
    metrics = agent.update(batch)
    loss = float(-q.mean() + 0.5 * (pre_tanh**2).mean())
    assert metrics['actor_loss'] == pytest.approx(loss, abs=1e-5)
    assert metrics['pre_tanh_penalty'] == pytest.approx(loss + float(q.mean()), abs=1e-5)
    assert metrics['q_policy_mean'] == pytest.approx(float(q.mean()), abs=1e-5)
    assert metrics['q_policy_max'] == pytest.approx(float(q.max()), abs=1e-5)
    assert metrics['q_policy_min'] == pytest.approx(float(q.min()), abs=1e-5)
    assert metrics['q_policy_std'] == pytest.approx(float(q.numpy().std()), abs=1e-5)
    assert metrics['tanh_saturation'] == 0.5
    spread = float(action.std(dim=0, correction=0).mean())
    assert metrics['action_std'] == pytest.approx(spread, abs=1e-5)


@pytest.mark.parametrize('penalty, shrinks', [(0.0, False), (1.0, True)])
def test_the_pre_tanh_penalty_brings_a_saturated_actor_back(penalty, shrinks):
    agent = TD3(SPEC, small(policy_delay=1, pre_tanh_penalty=penalty, optimiser__actor_lr=1e-2))
    with torch.no_grad():
        agent.policy.actor.layers[-1].bias.fill_(20.0)  # the slope of tanh is 0 here in float32
    for _ in range(5):
        agent.update(make_batch())
    bias = agent.policy.actor.layers[-1].bias
    assert bool((bias < 19.97).all()) is shrinks


@pytest.mark.parametrize('pad', [0, 4])
def test_images_are_shifted_where_asked(pad):
    agent, seen = TD3(SPEC, small(shift_pad=pad)), []
    agent.policy.encoder.body.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    batch = make_batch()
    agent.update(batch)
    pixels = torch.from_numpy(batch.image) / 255.0 - 0.5
    assert torch.allclose(seen[0], pixels) is (pad == 0)


def test_vector_may_be_empty():
    spec = ObsSpec(1, 40, 50, ())
    agent, batch = TD3(spec, small(policy_delay=1)), make_batch(spec=spec)
    agent.update(batch)
    action = agent.policy.act(*tensors(batch.image[3:4], batch.vector[3:4]))[0].numpy()
    assert action.shape == (2,) and action.dtype == np.float32


def test_every_metric_is_explained():
    page = (Path(__file__).parents[2] / 'docs' / 'design' / 'td3.md').read_text()
    for name, meaning in {
        **CRITIC_METRICS,
        **ACTOR_METRICS,
        **OPTIONAL_METRICS,
        **RECORD_METRICS,
    }.items():
        assert f'| `{name}` | {meaning} |' in page


# -- seeds and state ------------------------------------------------------------------------------


def test_same_seed_same_bits_whatever_the_global_seed():
    runs = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        agent = TD3(SPEC, small(), seed=seed)
        metrics = [agent.update(make_batch(seed=i)) for i in range(4)]
        runs.append((metrics, agent.state_dict()))
    (one, state_one), (two, state_two), (three, _) = runs
    assert one == two
    assert all(torch.equal(state_one[name], state_two[name]) for name in state_one)
    assert one != three


@pytest.mark.parametrize('updates', [0, 1, 4])
def test_a_restored_learner_goes_on_bit_for_bit(updates):
    agent = TD3(SPEC, small(), seed=1)
    for i in range(updates):
        agent.update(make_batch(seed=i))
    state = agent.state_dict()
    other = TD3(SPEC, small(), seed=2)
    other.update(make_batch(seed=9))
    other.load_state_dict(state)
    for i in range(10, 15):
        assert agent.update(make_batch(seed=i)) == other.update(make_batch(seed=i))
    mine, its = agent.state_dict(), other.state_dict()
    assert mine.keys() == its.keys()
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    name = 'policy.actor.layers.0.weight'
    assert not torch.equal(state[name], mine[name]), 'the state is a copy'


@pytest.mark.parametrize(
    'harm, text',
    [
        (
            lambda s: s.pop('critic.q.0.0.weight'),
            r'critic.q.0.0.weight must be \(16, 20\), got no such tensor',
        ),
        (
            lambda s: s.update(surplus=torch.zeros(1)),
            r'surplus must be no such tensor, got \(1,\)',
        ),
        (
            lambda s: s.update({'policy.actor.layers.0.bias': torch.zeros(3)}),
            r'must be \(16,\), got \(3,\)',
        ),
        (
            lambda s: s.pop('adam.exp_avg.critic.q.1.0.weight'),
            'adam.exp_avg.critic.q.1.0.weight must be',
        ),
    ],
)
def test_a_state_of_another_learner_is_refused_whole(harm, text):
    agent = TD3(SPEC, small())
    agent.update(make_batch())
    state = agent.state_dict()
    harm(state)
    fresh = TD3(SPEC, small(), seed=4)
    before = fresh.state_dict()
    with pytest.raises(LearnerError, match=text):
        fresh.load_state_dict(state)
    after = fresh.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# -- learning -------------------------------------------------------------------------------------


def test_learns_an_action_that_depends_on_the_image():
    """One-step episodes: steer to +0.6 where the left is bright, else to -0.6; accelerate 0.3."""
    spec = ObsSpec(1, 36, 36, ())
    config = small(
        batch_size=64,
        network__feature_size=32,
        network__hidden_1=64,
        network__hidden_2=64,
        optimiser__encoder_lr=1e-3,
        optimiser__critic_lr=1e-3,
        optimiser__actor_lr=1e-3,
        shift_pad=2,
    )
    agent, rng = TD3(spec, config, seed=0), np.random.default_rng(0)

    def observe(size):
        left = rng.random(size) < 0.5
        image = rng.integers(0, 60, (size, 1, 36, 36), np.uint8)
        image[left, :, :, :18] += 150
        image[~left, :, :, 18:] += 150
        best = np.stack([np.where(left, 0.6, -0.6), np.full(size, 0.3)], axis=1)
        return image, best.astype(np.float32)

    empty = np.zeros((64, 0), np.float32)
    for _ in range(400):
        image, best = observe(64)
        action = rng.uniform(-1, 1, (64, 2)).astype(np.float32)
        reward = 1.0 - np.abs(action - best).sum(axis=1)
        agent.update(
            Batch(
                image,
                empty,
                action,
                reward,
                np.zeros(64, np.float32),
                image,
                empty,
                np.ones(64, np.float32),
                np.arange(64),
            )
        )
    image, best = observe(64)
    chosen = agent.policy.act(*tensors(image, empty)).numpy()
    assert np.abs(chosen - best).max() < 0.3
    assert np.abs(chosen - best).mean() < 0.15
