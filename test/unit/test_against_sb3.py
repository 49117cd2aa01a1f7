"""
Preset sb3 is Stable-Baselines3's TD3: the same weights, batches and noise, the same networks.

Adam moves a parameter by its step size however small the gradient is, and a ReLU flips at 0. So in
float32 a sum taken in another order grows within 20 updates to the size of the steps themselves:
Stable-Baselines3 against itself ends up to 1e-2 apart with the same images in another memory
layout, or with another number of threads. The comparison therefore gives both the same layout and
the same Adam kernel, an option of Stable-Baselines3, and then asks for the same numbers.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip('stable_baselines3', reason='compares with stable_baselines3')

from av_td3_ros import presets  # noqa: E402
from av_td3_ros.cli import bench_peer  # noqa: E402
from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.datatypes import ObsSpec  # noqa: E402
from av_td3_ros.td3.agent import TD3  # noqa: E402

TOLERANCE = 1e-5
UPDATES = 20
SPEC = ObsSpec(4, 84, 84, ())
CONFIG = build_run(presets.load('sb3'), 'preset sb3').trainer.learner


def twins(spec=SPEC, config=CONFIG, seed=0, **options):
    """Return both learners with the same weights."""
    model = bench_peer.make(
        spec.image_shape, 1, vector_size=spec.vector_size, seed=seed, **options
    )
    agent = TD3(spec, config, seed=seed + 1)
    bench_peer.copy_weights(model, agent)
    return model, agent


def batches(count=UPDATES, spec=SPEC, seed=0, size=32):
    return bench_peer.random_batches(spec, size, count, CONFIG.discount, seed)


@pytest.mark.parametrize('size', (32, 256))
def test_the_same_seed_is_the_same_target_noise(size):
    torch.manual_seed(3)
    theirs = torch.rand(size, 2)
    torch.manual_seed(3)
    theirs = theirs.clone().data.normal_(0, CONFIG.target.noise)  # as in its train()
    agent = TD3(SPEC, CONFIG)
    agent.generator.manual_seed(3)
    ours = torch.randn((size, 2), generator=agent.generator) * CONFIG.target.noise
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize('seed', (0, 1))
def test_20_updates_end_in_the_same_networks(seed):
    model, agent = twins(seed=seed, fused_adam=True)
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    differences = bench_peer.update_side_by_side(model, agent, batches(seed=seed))
    assert set(differences) == set(bench_peer.NETWORKS)
    assert max(differences.values()) <= TOLERANCE, differences
    for name in ('policy', 'critic_encoder', 'critic', 'target_policy', 'target_critic'):
        moved = max(
            float((tensor - before[key]).abs().max())
            for key, tensor in agent.state_dict().items()
            if key.startswith(f'{name}.')
        )
        assert moved > 10 * TOLERANCE, name


def test_image_and_vector_too():
    """MultiInputPolicy has other sizes: 256 image features and the vector, then 400 and 300."""
    spec = ObsSpec(4, 84, 84, ('speed', 'steering', 'deviation'))
    network = replace(CONFIG.network, feature_size=256, hidden_1=400, hidden_2=300)
    model, agent = twins(spec, replace(CONFIG, network=network), fused_adam=True)
    differences = bench_peer.update_side_by_side(model, agent, batches(spec=spec))
    assert max(differences.values()) <= TOLERANCE, differences


def test_its_default_adam_takes_the_same_first_step():
    model, agent = twins()
    differences = bench_peer.update_side_by_side(model, agent, batches(1))
    assert max(differences.values()) <= 1e-7, differences


@pytest.mark.parametrize(
    'change',
    (
        {'tau': 0.006},
        {'policy_delay': 1},
        {'loss': 'huber'},
        {'reward_scale': 1.01},
        {'pre_tanh_penalty': 1e-3},
        {'shift_pad': 1},
        {'target': replace(CONFIG.target, noise=0.25)},
        {'optimiser': replace(CONFIG.optimiser, actor_lr=9e-4)},
        {'network': replace(CONFIG.network, pixels='centred')},
    ),
    ids=lambda change: next(iter(change)),
)
def test_any_other_setting_shows(change):
    model, agent = twins(config=replace(CONFIG, **change), fused_adam=True)
    differences = bench_peer.update_side_by_side(model, agent, batches(4))
    assert max(differences.values()) > TOLERANCE


def test_refuses_other_networks_and_discounts():
    model = bench_peer.make(SPEC.image_shape, 1)
    shared = replace(CONFIG, network=replace(CONFIG.network, shared_encoder=True, hidden_1=64))
    with pytest.raises(ValueError, match='only preset sb3 has the same networks'):
        bench_peer.copy_weights(model, TD3(SPEC, shared))
    odd = batches(1)[0]._replace(discount=np.full(32, 0.5, np.float32))
    with pytest.raises(ValueError, match=r'discount must be 0 or 0.99 .* got \[0.5\]'):
        bench_peer.train_once(model, odd, 0)
