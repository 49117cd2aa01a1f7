"""Each encoder: shapes, gradients, its published size, what it is made of, both precisions."""

import pytest
import torch
from torch import nn

from av_td3_ros.learning_config import NetworkConfig, parts
from av_td3_ros.td3 import encoders
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.arithmetic import Arithmetic
from av_td3_ros.td3.networks import Encoder
from learners import changed, make_batch, small, snapshot, SPEC

NAMES = parts('encoders')

# What tells an encoder from the others: published features, layers by type.
FACTS = {
    'nature': (512, {nn.Conv2d: 3, nn.ReLU: 3}),
    'nature_leaky': (512, {nn.Conv2d: 3, nn.LeakyReLU: 3, nn.ReLU: 0}),
    'nature_layer_norm': (512, {nn.Conv2d: 3, nn.GroupNorm: 3}),
    'nature_batch_norm': (512, {nn.Conv2d: 3, nn.BatchNorm2d: 3}),
    'racing_gru': (48, {nn.Conv2d: 3, nn.MaxPool2d: 3, nn.GRU: 1}),
    'lstm': (256, {nn.Conv2d: 3, nn.LSTM: 1}),
    'drqv2': (50, {nn.Conv2d: 4, nn.ReLU: 4}),
    'mrq': (512, {nn.Conv2d: 4, nn.ELU: 4}),
}


def images(*shape):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()


def test_every_encoder_is_described_here():
    assert set(FACTS) == set(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_layers_and_published_size(name):
    size, layers = FACTS[name]
    assert encoders.published_size(name) == size
    encoder = Encoder((4, 84, 84), NetworkConfig(encoder=name, feature_size=0))
    assert encoder.feature_size == size
    for kind, count in layers.items():
        assert sum(type(module) is kind for module in encoder.modules()) == count, kind


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('shape', [(4, 84, 84), (2, 36, 36), (3, 48, 100)])
def test_any_image_and_every_parameter_gets_a_gradient(name, shape):
    encoder = Encoder(shape, NetworkConfig(encoder=name, feature_size=24))
    features = encoder(images(6, *shape))
    assert features.shape == (6, 24) and features.dtype == torch.float32
    (features * torch.randn(6, 24)).sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize('name', ['racing_gru', 'lstm'])
def test_a_memory_reads_the_frames_in_order(name):
    encoder = Encoder((4, 36, 36), NetworkConfig(encoder=name, feature_size=16))
    image = images(2, 4, 36, 36)
    with torch.no_grad():
        assert not torch.allclose(encoder(image), encoder(image.flip(1)), atol=1e-4)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_a_learner_trains_with_it(name, precision):
    config = small(network__encoder=name, policy_delay=1)
    agent = TD3(SPEC, config, seed=3, arithmetic=Arithmetic(precision, True))
    before = snapshot(agent.policy)
    for i in range(3):
        agent.update(make_batch(seed=i))
    assert changed(before, agent.policy) == set(before)
    assert all(p.dtype == torch.float32 for p in agent.policy.parameters())


def test_batch_norm_learns_its_averages_in_updates_alone():
    agent = TD3(SPEC, small(network__encoder='nature_batch_norm'))
    norm = next(m for m in agent.policy.encoder.modules() if isinstance(m, nn.BatchNorm2d))
    batch = make_batch()
    first = norm.running_mean.clone()
    agent.policy.act(torch.tensor(batch.image[:1]), torch.tensor(batch.vector[:1]))
    assert torch.equal(norm.running_mean, first)
    agent.update(batch)
    assert not torch.equal(norm.running_mean, first)
    assert not agent.policy.training


def test_leaky_differs_from_nature_where_activations_are_negative():
    torch.manual_seed(0)
    one, two = (
        Encoder((1, 36, 36), NetworkConfig(encoder=name, feature_size=16, feature_head='none'))
        for name in ('nature', 'nature_leaky')
    )
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        difference = (one(images(4, 1, 36, 36)) - two(images(4, 1, 36, 36))).abs().max()
    assert 0.0 < difference < 0.1
