"""The learner: norms before and after the clip, and losses and gradients that are not finite."""

import numpy as np
import pytest
import torch

from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.metrics import ACTOR_METRICS, CRITIC_METRICS
from learners import changed, EXACT, make_batch, small, snapshot, SPEC, STILL


def norm_by_hand(*modules):
    return float(
        np.sqrt(
            sum(
                (parameter.grad.double() ** 2).sum().item()
                for module in modules
                for parameter in module.parameters()
            )
        )
    )


def test_gradient_norms_before_and_after_the_clip_are_of_one_definition():
    limits = {'optimiser__critic_clip': 1e-3, 'optimiser__actor_clip': 2e-3}
    batch = make_batch(reward=np.full(16, 5.0, np.float32))
    clipped = TD3(SPEC, small(**EXACT, **STILL, policy_delay=1, **limits))
    free = TD3(
        SPEC,
        small(
            **EXACT, **STILL, policy_delay=1, optimiser__critic_clip=1e6, optimiser__actor_clip=1e6
        ),
    )
    got, unclipped = clipped.update(batch), free.update(batch)
    for name in CRITIC_METRICS.keys() | ACTOR_METRICS.keys():
        if not any(after in name for after in ('clipped', 'weight_norm', 'update_norm')):
            assert got[name] == unclipped[name], name
    for agent, metrics in ((clipped, got), (free, unclipped)):
        norm = norm_by_hand(agent.policy.encoder, agent.critic)
        assert metrics['gradient_norm_critic_total_clipped'] == pytest.approx(norm, 1e-5)
        norm = norm_by_hand(agent.policy.actor)
        assert metrics['gradient_norm_actor_clipped'] == pytest.approx(norm, 1e-5)
        assert metrics['gradient_norm_critic_total'] == pytest.approx(
            np.hypot(metrics['gradient_norm_encoder'], metrics['gradient_norm_critic']), 1e-5
        )
    assert unclipped['gradient_norm_critic_total'] == pytest.approx(
        norm_by_hand(free.policy.encoder, free.critic), 1e-5
    )
    assert got['gradient_norm_critic_total'] > 1e-3
    assert got['gradient_norm_critic_total_clipped'] == pytest.approx(1e-3, 1e-4)
    assert got['gradient_norm_actor'] > 2e-3
    assert got['gradient_norm_actor_clipped'] == pytest.approx(2e-3, 1e-4)
    for name in ('gradient_norm_critic_total', 'gradient_norm_actor'):
        assert unclipped[f'{name}_clipped'] == unclipped[name]
    for name in ('clipped_critic', 'clipped_actor'):
        assert (got[name], unclipped[name]) == (1.0, 0.0)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_before_any_step(bad):
    agent = TD3(SPEC, small(policy_delay=1))
    agent.update(make_batch())
    before = agent.state_dict()
    with pytest.raises(LearnerError, match=f'critic_loss must be finite, got {bad} in update 2'):
        agent.update(make_batch(reward=np.full(16, bad, np.float32)))
    for name, tensor in agent.state_dict().items():
        assert name == 'generator' or torch.equal(tensor, before[name]), name
    agent.update(make_batch())


@pytest.mark.parametrize(
    'part, name', [('critic', 'gradient_norm_critic'), ('actor', 'gradient_norm_actor')]
)
def test_a_gradient_that_is_not_finite_stops_before_its_step(part, name):
    agent = TD3(SPEC, small(policy_delay=1))
    module = agent.critic if part == 'critic' else agent.policy.actor
    list(module.parameters())[0].register_hook(lambda grad: grad * float('inf'))
    before = snapshot(module)
    with pytest.raises(LearnerError, match=f'{name} must be finite'):
        agent.update(make_batch())
    assert not changed(before, module)
