"""Networks: shapes, bounds, gradients, first actions."""

import pytest
import torch

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.td3 import networks
from av_td3_ros.td3.networks import Actor, Critics, Encoder, Policy


def images(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def critics(count=2, input_size=10, layer_norm=True):
    return Critics(count, input_size, (16, 12), layer_norm)


@pytest.mark.parametrize('size', [(1, 36, 36), (4, 84, 84), (3, 48, 100)])
def test_encoder_fits_any_image_and_bounds_features(size):
    encoder = Encoder(size, NetworkConfig(feature_size=16))
    features = encoder(images(5, *size))
    assert features.shape == (5, 16)
    assert features.dtype == torch.float32
    assert features.abs().max() <= 1.0


@pytest.mark.parametrize(
    'pixels, divisor, offset',
    [('unit', 255.0, 0.0), ('symmetric', 127.5, 1.0), ('centred', 255.0, 0.5)],
)
@pytest.mark.parametrize('channels_last', [True, False])
def test_encoder_normalises_pixels_once(pixels, divisor, offset, channels_last):
    encoder = Encoder((2, 36, 36), NetworkConfig(pixels=pixels, feature_size=8))
    encoder.channels_last = channels_last
    seen = []
    encoder.body.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    image = images(1, 2, 36, 36)
    encoder(image)
    torch.testing.assert_close(seen[0], image / divisor - offset)


def test_encoder_does_not_change_its_input():
    image = images(2, 1, 36, 36)
    before = image.clone()
    Encoder((1, 36, 36), NetworkConfig(feature_size=8))(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    'head, low, high, centred',
    [
        ('none', -1e9, 1e9, False),
        ('relu', 0.0, 1e9, False),
        ('layer_norm_tanh', -1.0, 1.0, True),
        ('layer_norm_elu', -1.0, 1e9, False),
    ],
)
def test_each_feature_head_has_its_bounds(head, low, high, centred):
    torch.manual_seed(0)
    encoder = Encoder((1, 36, 36), NetworkConfig(feature_head=head, feature_size=32))
    with torch.no_grad():
        linear = encoder.body[-1]
        linear.weight.mul_(1e3)  # an explosion
        features = encoder(images(8, 1, 36, 36))
        unbounded = encoder.unbounded(encoder.normalised(images(8, 1, 36, 36)))
    assert low <= features.min() and features.max() <= high
    assert unbounded.norm(dim=1).mean() > 50.0, 'what the head hides can be seen before it'
    exploded = features.norm(dim=1).mean() > 50.0
    assert exploded == (head in ('none', 'relu'))
    if centred:
        assert features.mean().abs() < 0.3


@pytest.mark.parametrize('vector_size', [0, 3])
@pytest.mark.parametrize('layer_norm', [True, False])
def test_every_parameter_gets_a_gradient(vector_size, layer_norm):
    encoder = Encoder((4, 36, 36), NetworkConfig(feature_size=16))
    actor, critic = Actor(16 + vector_size, (12, 8)), critics(2, 16 + vector_size, layer_norm)
    features = encoder(images(8, 4, 36, 36))
    vector = torch.rand(8, vector_size)
    critic(features, vector, actor(features, vector).action).sum().backward()
    for module in (encoder, actor, critic):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_layers_have_the_sizes_asked_for():
    config = NetworkConfig(hidden_1=24, hidden_2=40, feature_size=16, critic_layer_norm=False)
    policy = Policy(ObsSpec(1, 36, 36, ('speed',)), config)
    shapes = [tuple(layer.weight.shape) for layer in policy.actor.layers[::2]]
    assert shapes == [(24, 17), (40, 24), (2, 40)]
    shapes = [tuple(p.shape) for p in critics(1, 17, False).parameters()]
    assert shapes == [(16, 19), (16,), (12, 16), (12,), (1, 12), (1,)]


def test_actor_returns_pre_tanh_and_its_tanh():
    pre_tanh, action = Actor(10, (16, 16))(torch.randn(32, 8) * 50, torch.randn(32, 2))
    torch.testing.assert_close(action, torch.tanh(pre_tanh))
    assert pre_tanh.abs().max() > 1.0 >= action.abs().max()


def test_twin_critics_differ_and_first_is_the_first():
    critic = critics()
    inputs = torch.randn(4, 8), torch.randn(4, 2), torch.rand(4, 2)
    values = critic(*inputs)
    assert values.shape == (2, 4)
    assert not torch.allclose(values[0], values[1])
    assert torch.equal(critic.first(*inputs), values[0])
    assert critics(1)(*inputs).shape == (1, 4)


def test_first_actions_are_small_and_depend_on_the_seed_alone():
    spec = ObsSpec(4, 84, 84, ('speed',))
    made = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        policy = Policy(spec, NetworkConfig(feature_size=64))
        networks.initialise(policy, torch.Generator().manual_seed(7))
        made.append(policy)
    action = made[0].act(images(16, 4, 84, 84), torch.rand(16, 1))
    assert action.shape == (16, 2)
    assert 0.0 < action.abs().max() < 0.1
    for one, two in zip(made[0].parameters(), made[1].parameters()):
        assert torch.equal(one, two)


def test_initial_weights_are_orthogonal():
    critic = critics(2, 30)
    networks.initialise(critic)
    weight = critic.q[1][3].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(12), atol=1e-5, rtol=0)
    assert critic.q[1][3].bias.abs().max() == 0


def test_polyak_by_hand_and_averages_of_a_batch_norm_are_copied():
    online, target = (
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)) for _ in range(2)
    )
    online(torch.randn(8, 2))
    expected = [
        0.9 * t.detach() + 0.1 * o.detach()
        for o, t in zip(online.parameters(), target.parameters())
    ]
    networks.polyak(online, target, 0.1)
    for got, want in zip(target.parameters(), expected):
        torch.testing.assert_close(got.detach(), want)
    assert online[1].running_mean.abs().sum() > 0
    assert torch.equal(target[1].running_mean, online[1].running_mean)


def test_target_is_a_copy_that_no_gradient_reaches():
    online = critics()
    target = networks.target_of(online)
    with torch.no_grad():
        online.q[0][0].weight.zero_()
    assert target.q[0][0].weight.abs().sum() > 0
    assert not any(p.requires_grad for p in target.parameters())
