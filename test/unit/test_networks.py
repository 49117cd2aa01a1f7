"""Networks: shapes, bounds, gradients, first actions."""

import pytest
import torch

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.td3 import networks
from av_td3_ros.td3.networks import Actor, Encoder, Policy, TwinCritic


def images(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize('size', [(1, 36, 36), (4, 84, 84), (3, 48, 100)])
def test_encoder_fits_any_image_and_bounds_features(size):
    encoder = Encoder(size, 16)
    features = encoder(images(5, *size))
    assert features.shape == (5, 16)
    assert features.dtype == torch.float32
    assert features.abs().max() <= 1.0


def test_encoder_normalises_pixels_once():
    encoder = Encoder((2, 36, 36), 8)
    seen = []
    encoder.convolutions[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = images(1, 2, 36, 36)
    encoder(image)
    torch.testing.assert_close(seen[0], image / 255.0 - 0.5)


def test_encoder_does_not_change_its_input():
    image = images(2, 1, 36, 36)
    before = image.clone()
    Encoder((1, 36, 36), 8)(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize('vector_size', [0, 3])
def test_every_parameter_gets_a_gradient(vector_size):
    encoder, actor = Encoder((4, 36, 36), 16), Actor(16, vector_size, 12)
    critic = TwinCritic(16, vector_size, 12)
    features = encoder(images(8, 4, 36, 36))
    vector = torch.rand(8, vector_size)
    q1, q2 = critic(features, vector, actor(features, vector).action)
    (q1 + q2).sum().backward()
    for module in (encoder, actor, critic):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_actor_returns_pre_tanh_and_its_tanh():
    pre_tanh, action = Actor(8, 2, 16)(torch.randn(32, 8) * 50, torch.randn(32, 2))
    torch.testing.assert_close(action, torch.tanh(pre_tanh))
    assert pre_tanh.abs().max() > 1.0 >= action.abs().max()


def test_twin_critics_differ_and_first_is_the_first():
    critic = TwinCritic(8, 2, 16)
    inputs = torch.randn(4, 8), torch.randn(4, 2), torch.rand(4, 2)
    q1, q2 = critic(*inputs)
    assert q1.shape == q2.shape == (4,)
    assert not torch.allclose(q1, q2)
    assert torch.equal(critic.first(*inputs), q1)


def test_first_actions_are_small_and_depend_on_the_seed_alone():
    spec = ObsSpec(4, 84, 84, ('speed',))
    made = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        policy = Policy(spec, 64, 64)
        networks.initialise(policy, torch.Generator().manual_seed(7))
        made.append(policy)
    action = made[0].act(images(16, 4, 84, 84), torch.rand(16, 1))
    assert action.shape == (16, 2)
    assert 0.0 < action.abs().max() < 0.1
    for one, two in zip(made[0].parameters(), made[1].parameters()):
        assert torch.equal(one, two)


def test_initial_weights_are_orthogonal():
    critic = TwinCritic(8, 0, 32)
    networks.initialise(critic)
    weight = critic.q2[3].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(32), atol=1e-5, rtol=0)
    assert critic.q2[3].bias.abs().max() == 0


def test_polyak_by_hand():
    online, target = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    expected = [
        0.9 * t.detach() + 0.1 * o.detach()
        for o, t in zip(online.parameters(), target.parameters())
    ]
    networks.polyak(online, target, 0.1)
    for got, want in zip(target.parameters(), expected):
        torch.testing.assert_close(got.detach(), want)


def test_target_is_a_copy_that_no_gradient_reaches():
    online = TwinCritic(4, 0, 8)
    target = networks.target_of(online)
    with torch.no_grad():
        online.q1[0].weight.zero_()
    assert target.q1[0].weight.abs().sum() > 0
    assert not any(p.requires_grad for p in target.parameters())
