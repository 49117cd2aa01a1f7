"""One gradient step: limits by each definition, decay, learning rates, steps not taken."""

import numpy as np
import pytest
import torch
from torch import nn

from av_td3_ros.learning_config import OptimiserConfig
from av_td3_ros.options import build
from av_td3_ros.td3.optimiser import Group, Optimiser

CPU = torch.device('cpu')


def make(limit=1.0, lr=1e-2, **config):
    torch.manual_seed(0)
    cnn, mlp = nn.Linear(3, 4), nn.Linear(4, 2)
    config = build(OptimiserConfig, config, 'the test')
    groups = [Group('cnn', cnn, lr), Group('mlp', mlp, lr)]
    return cnn, mlp, Optimiser('both', groups, config, limit, CPU)


def loss_of(cnn, mlp, scale=100.0):
    return scale * mlp(cnn(torch.ones(5, 3))).square().mean()


def first_moment(optimiser, *modules):
    """Return the gradient that Adam saw in its first step."""
    return [
        10.0 * optimiser.adam.state[parameter]['exp_avg'].numpy().ravel()
        for module in modules
        for parameter in module.parameters()
    ]


def norm(arrays):
    return float(np.linalg.norm(np.concatenate(arrays)))


def test_each_limit_bounds_what_it_names_and_says_so():
    plain, plain_mlp, free = make(clip='none')
    before = free.step(loss_of(plain, plain_mlp)).metrics
    gradients = first_moment(free, plain, plain_mlp)
    total, cnn_norm, mlp_norm = norm(gradients), norm(gradients[:2]), norm(gradients[2:])
    assert before['gradient_norm_both_total'] == pytest.approx(total, rel=1e-4)
    assert before['gradient_norm_both_total_clipped'] == before['gradient_norm_both_total']
    assert min(cnn_norm, mlp_norm) > 2.0

    for clip, expected in (
        ('norm', [g / total for g in gradients]),
        (
            'group_norm',
            [g / cnn_norm for g in gradients[:2]] + [g / mlp_norm for g in gradients[2:]],
        ),
        ('value', [g.clip(-1.0, 1.0) for g in gradients]),
    ):
        cnn, mlp, optimiser = make(clip=clip)
        metrics = optimiser.step(loss_of(cnn, mlp)).metrics
        for got, wanted in zip(first_moment(optimiser, cnn, mlp), expected):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
        for name, arrays in (
            ('both_total', expected),
            ('cnn', expected[:2]),
            ('mlp', expected[2:]),
        ):
            clipped = metrics[f'gradient_norm_{name}_clipped']
            assert clipped == pytest.approx(norm(arrays), rel=1e-4), (clip, name)
            assert metrics[f'gradient_norm_{name}'] == before[f'gradient_norm_{name}']
        assert ('gradient_max_both' in metrics) == (clip == 'value')
        if clip == 'value':
            assert metrics['gradient_max_both'] > 1.0
            assert metrics['gradient_max_both_clipped'] == 1.0


def test_below_the_limit_nothing_changes_bit_for_bit():
    runs = []
    for clip in ('none', 'norm', 'group_norm', 'value'):
        cnn, mlp, optimiser = make(limit=1e6, clip=clip)
        for _ in range(3):
            optimiser.step(loss_of(cnn, mlp))
        runs.append([p.detach().clone() for m in (cnn, mlp) for p in m.parameters()])
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other))


def test_weight_decay_spares_biases_and_gains():
    norm_layer = nn.LayerNorm(2)
    cnn, mlp, _ = make()
    module = nn.Sequential(cnn, mlp, norm_layer)
    config = OptimiserConfig(weight_decay=0.5, clip='none')
    optimiser = Optimiser('both', [Group('all', module, 0.1)], config, 1.0, CPU)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimiser.step(0.0 * module(torch.ones(1, 3)).sum())
    for name, parameter in module.named_parameters():
        factor = 1.0 if parameter.ndim == 1 else 1.0 - 0.1 * 0.5
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_each_group_has_its_own_rate():
    cnn, mlp = nn.Linear(3, 4), nn.Linear(4, 2)
    groups = [Group('cnn', cnn, 1e-3), Group('mlp', mlp, 1e-1)]
    optimiser = Optimiser('both', groups, OptimiserConfig(clip='none'), 1.0, CPU)
    before = [p.detach().clone() for p in (*cnn.parameters(), *mlp.parameters())]
    optimiser.step(loss_of(cnn, mlp))
    # Adam's first step is the learning rate, whatever the gradient.
    moved = [
        (p.detach() - old).abs().max()
        for p, old in zip((*cnn.parameters(), *mlp.parameters()), before)
    ]
    assert [float(m) for m in moved] == pytest.approx([1e-3, 1e-3, 1e-1, 1e-1], rel=1e-3)


@pytest.mark.parametrize('allowed', [None, torch.tensor(False)])
def test_a_step_that_is_not_finite_or_not_allowed_changes_nothing(allowed):
    cnn, mlp, optimiser = make(weight_decay=0.1)
    optimiser.step(loss_of(cnn, mlp))
    before = [p.detach().clone() for m in (cnn, mlp) for p in m.parameters()]
    moments = [s['exp_avg'].clone() for s in optimiser.adam.state.values()]
    scale = float('nan') if allowed is None else 1.0
    step = optimiser.step(loss_of(cnn, mlp, scale), allowed)
    assert not step.finite
    after = [p.detach() for m in (cnn, mlp) for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    for moment, state in zip(moments, optimiser.adam.state.values()):
        assert torch.equal(moment, state['exp_avg']) and state['step'] == 1
    assert optimiser.step(loss_of(cnn, mlp)).finite


def test_only_its_own_parameters_get_a_gradient():
    cnn, mlp, _ = make()
    optimiser = Optimiser('mlp', [Group('mlp', mlp, 1e-2)], OptimiserConfig(), 1.0, CPU)
    optimiser.step(loss_of(cnn, mlp))
    assert all(p.grad is None for p in cnn.parameters())


def test_the_account_of_weights_and_of_what_a_step_changed():
    cnn, mlp, optimiser = make(lr=1e-2)
    for _ in range(2):  # the second step begins from what the first one left
        before = [parameter.detach().clone() for parameter in mlp.parameters()]
        metrics = optimiser.step(loss_of(cnn, mlp)).metrics
    after = list(mlp.parameters())
    change = norm([(a - b).detach().numpy().ravel() for a, b in zip(after, before)])
    assert metrics['update_norm_mlp'] == pytest.approx(change, rel=1e-4)
    weights = norm([parameter.detach().numpy().ravel() for parameter in after])
    assert metrics['weight_norm_mlp'] == pytest.approx(weights, rel=1e-5)
    assert change > 0.0 and metrics['update_norm_cnn'] != metrics['update_norm_mlp']
    left_out = optimiser.step(loss_of(cnn, mlp), account=False).metrics
    assert set(metrics) - set(left_out) == {
        f'{kind}_norm_{name}' for kind in ('weight', 'update') for name in ('cnn', 'mlp')
    }


@pytest.mark.parametrize('clip', ['none', 'norm', 'group_norm', 'value'])
def test_a_step_says_whether_its_limit_bound_it(clip):
    for limit, bound in ((1e-3, clip != 'none'), (1e6, False)):
        cnn, mlp, optimiser = make(limit=limit, clip=clip)
        assert optimiser.step(loss_of(cnn, mlp)).metrics['clipped_both'] == float(bound)
