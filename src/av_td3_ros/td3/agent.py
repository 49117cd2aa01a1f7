"""
TD3 (Fujimoto et al. 2018) from pixels, in the shape of DrQ-v2 (Yarats et al. 2021).

One encoder, trained by the critic loss alone; the actor sees detached features. An update makes
two encoder forwards and one backward: four forward-equivalents, against seven where actor and
critics have their own. Every deviation from TD3 and DrQ-v2 is listed in ``docs/design/td3.md``.
"""

import math
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional

from av_td3_ros.config import LearnerConfig
from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.td3.augment import random_shift
from av_td3_ros.td3.networks import initialise, Policy, polyak, target_of, TwinCritic
from av_td3_ros.td3.replay import Batch

# An action is on the flat of the tanh from here on: its slope is below 0.07.
SATURATED = 2.0

# What `TD3.update` returns; those of the actor only where the actor was updated.
CRITIC_METRICS: Dict[str, str] = {
    'critic_loss': 'Huber loss of both critics, summed',
    'q_replay_mean': 'mean Q1 of replayed actions',
    'q_replay_max': 'largest Q1 of replayed actions',
    'q_target_mean': 'mean target of the critics',
    'q_difference': 'mean |Q1 - Q2| of replayed actions',
    'td_error': 'mean |target - Q1|',
    'feature_l2': 'mean L2 norm of the image features',
    'feature_mean': 'mean image feature',
    'feature_std': 'standard deviation of each feature over the batch, averaged',
    'gradient_norm_encoder': 'gradient norm of the encoder, before the clip',
    'gradient_norm_critic': 'gradient norm of both critics, before the clip',
    'gradient_norm_critic_total': 'norm of both together, which critic_clip limits, before it',
    'gradient_norm_critic_total_clipped': 'the same norm after the clip',
}
ACTOR_METRICS: Dict[str, str] = {
    'actor_loss': 'minus mean Q1 of policy actions, plus the pre-tanh penalty',
    'q_policy_mean': 'mean Q1 of policy actions',
    'q_policy_max': 'largest Q1 of policy actions',
    'gradient_norm_actor': 'gradient norm of the actor, which actor_clip limits, before the clip',
    'gradient_norm_actor_clipped': 'the same norm after the clip',
    'tanh_saturation': f'share of actor outputs beyond {SATURATED:g} before the tanh',
    'action_std': 'standard deviation of each policy action over the batch, averaged',
}


class LearnerError(RuntimeError):
    """Learning that went wrong; the text names the quantity."""


class _TensorBatch(NamedTuple):
    """A :class:`Batch` on the device, images shifted."""

    image: Tensor
    vector: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_image: Tensor
    next_vector: Tensor


class TD3:
    """The learner: networks, targets, optimisers, one update at a time."""

    def __init__(
        self, obs_spec: ObsSpec, config: LearnerConfig, device: str = 'cpu', seed: int = 0
    ) -> None:
        """
        Make a fresh learner.

        :param obs_spec: what the policy sees.
        :param config: all settings of the algorithm.
        :param device: torch device.
        :param seed: fixes initial weights, target noise and augmentation.
        """
        self.obs_spec = obs_spec
        self.config = config
        self.updates = 0
        self._device = torch.device(device)
        # Initial weights come from the CPU, so that a seed means the same on every device.
        seeding = torch.Generator().manual_seed(seed)
        self.policy = Policy(obs_spec, config.feature_size, config.hidden_size)
        self.critic = TwinCritic(config.feature_size, obs_spec.vector_size, config.hidden_size)
        initialise(self.policy, seeding)
        initialise(self.critic, seeding)
        self.policy.to(self._device)
        self.critic.to(self._device)
        self.target_policy = target_of(self.policy)
        self.target_critic = target_of(self.critic)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._critic_optimiser = torch.optim.Adam(
            [
                {'params': list(self.policy.encoder.parameters()), 'lr': config.encoder_lr},
                {'params': list(self.critic.parameters()), 'lr': config.critic_lr},
            ],
            fused=True,
        )
        self._actor_optimiser = torch.optim.Adam(
            self.policy.actor.parameters(), lr=config.actor_lr, fused=True
        )

    def act(self, image: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """
        Choose the deterministic action for one observation.

        :param image: (stack, height, width) uint8, grey, oldest first.
        :param vector: (n,) float32.
        :returns: (2,) float32, [steering, acceleration] in [-1, 1].
        """
        action = self.policy.act(
            torch.tensor(image[None], device=self._device),
            torch.tensor(vector[None], device=self._device),
        )
        return action[0].cpu().numpy()

    # -- learning ---------------------------------------------------------------------------------

    def update(self, batch: Batch) -> Dict[str, float]:
        """
        Do one update of the critics and, every ``policy_delay`` of them, of actor and targets.

        :param batch: transitions from the replay.
        :returns: the metrics computed in this update, named as in ``CRITIC_METRICS`` and
            ``ACTOR_METRICS``.
        :raises LearnerError: where a loss or a gradient norm is not finite. Parameters never take
            a step along such a gradient.
        """
        data = self._prepare(batch)
        features, metrics = self._update_critic(data)
        if (self.updates + 1) % self.config.policy_delay == 0:
            metrics.update(self._update_actor(features.detach(), data.vector))
            # Targets are as slow as the policy (TD3, section 5.2).
            polyak(self.policy, self.target_policy, self.config.tau)
            polyak(self.critic, self.target_critic, self.config.tau)
        self.updates += 1
        return metrics

    def _prepare(self, batch: Batch) -> _TensorBatch:
        data = _TensorBatch(*(torch.from_numpy(array).to(self._device) for array in batch))
        pad = self.config.shift_pad
        return data._replace(
            image=random_shift(data.image, pad, self._generator),
            next_image=random_shift(data.next_image, pad, self._generator),
        )

    @torch.no_grad()
    def _target(self, data: _TensorBatch) -> Tensor:
        """Return the value that both critics learn, (B,) float32: TD3, equations 10 and 14."""
        features = self.target_policy.encoder(data.next_image)
        action = self.target_policy.actor(features, data.next_vector).action
        noise = torch.randn(action.shape, generator=self._generator, device=self._device)
        limit = self.config.target_noise_clip
        noise = (self.config.target_noise * noise).clamp(-limit, limit)
        action = (action + noise).clamp(-1.0, 1.0)
        q1, q2 = self.target_critic(features, data.next_vector, action)
        return data.reward + data.discount * torch.min(q1, q2)

    def _update_critic(self, data: _TensorBatch) -> Tuple[Tensor, Dict[str, float]]:
        target = self._target(data)
        features = self.policy.encoder(data.image)
        q1, q2 = self.critic(features, data.vector, data.action)
        loss = functional.smooth_l1_loss(q1, target) + functional.smooth_l1_loss(q2, target)
        self._critic_optimiser.zero_grad()
        loss.backward()
        groups = {'encoder': self.policy.encoder, 'critic': self.critic}
        norms = {name: gradient_norm([module]) for name, module in groups.items()}
        total = gradient_norm(groups.values())
        with torch.no_grad():
            metrics = _to_floats(
                {
                    'critic_loss': loss,
                    'q_replay_mean': q1.mean(),
                    'q_replay_max': q1.max(),
                    'q_target_mean': target.mean(),
                    'q_difference': (q1 - q2).abs().mean(),
                    'td_error': (target - q1).abs().mean(),
                    'feature_l2': features.norm(dim=1).mean(),
                    'feature_mean': features.mean(),
                    'feature_std': features.std(dim=0, correction=0).mean(),
                    'gradient_norm_encoder': norms['encoder'],
                    'gradient_norm_critic': norms['critic'],
                    'gradient_norm_critic_total': total,
                }
            )
        self._require_finite(metrics, 'critic_loss', 'gradient_norm_critic_total')
        metrics['gradient_norm_critic_total_clipped'] = clip_gradients(
            groups.values(), metrics['gradient_norm_critic_total'], self.config.critic_clip
        )
        self._critic_optimiser.step()
        return features, metrics

    def _update_actor(self, features: Tensor, vector: Tensor) -> Dict[str, float]:
        actor = self.policy.actor
        pre_tanh, action = actor(features, vector)
        q = self.critic.first(features, vector, action)
        loss = -q.mean() + self.config.pre_tanh_penalty * pre_tanh.square().mean()
        self._actor_optimiser.zero_grad()
        loss.backward(inputs=list(actor.parameters()))
        with torch.no_grad():
            metrics = _to_floats(
                {
                    'actor_loss': loss,
                    'q_policy_mean': q.mean(),
                    'q_policy_max': q.max(),
                    'gradient_norm_actor': gradient_norm([actor]),
                    'tanh_saturation': (pre_tanh.abs() > SATURATED).float().mean(),
                    'action_std': action.std(dim=0, correction=0).mean(),
                }
            )
        self._require_finite(metrics, 'actor_loss', 'gradient_norm_actor')
        metrics['gradient_norm_actor_clipped'] = clip_gradients(
            [actor], metrics['gradient_norm_actor'], self.config.actor_clip
        )
        self._actor_optimiser.step()
        return metrics

    def _require_finite(self, metrics: Mapping[str, float], *names: str) -> None:
        for name in names:
            if not math.isfinite(metrics[name]):
                raise LearnerError(
                    f'{name} must be finite, got {metrics[name]} in update '
                    f'{self.updates + 1}; that step was not taken'
                )

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> Dict[str, Tensor]:
        """Return all that the next update depends on, as flat tensors (copies, on the CPU)."""
        state = {
            f'{group}.{name}': tensor
            for group, module in self._modules().items()
            for name, tensor in module.state_dict().items()
        }
        for name, parameter, optimiser in self._optimised():
            for key, value in optimiser.state.get(parameter, {}).items():
                state[f'adam.{key}.{name}'] = value
        state['generator'] = self._generator.get_state()
        state['updates'] = torch.tensor(self.updates)
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """
        Go on where :meth:`state_dict` was taken.

        :raises LearnerError: naming the first tensor that is missing, unknown or of another shape;
            nothing is changed then.
        """
        self._check_state(state)
        for group, module in self._modules().items():
            names = module.state_dict()
            module.load_state_dict({name: state[f'{group}.{name}'] for name in names})
        for optimiser in (self._critic_optimiser, self._actor_optimiser):
            optimiser.state.clear()
        for name, parameter, optimiser in self._optimised():
            if f'adam.step.{name}' in state:
                # Written like the parameter in layout and device: the fused kernel relies on it.
                moments = {
                    key: torch.empty_like(parameter, requires_grad=False)
                    for key in ('exp_avg', 'exp_avg_sq')
                }
                for key, moment in moments.items():
                    moment.copy_(state[f'adam.{key}.{name}'])
                step = state[f'adam.step.{name}'].to(self._device, copy=True)
                optimiser.state[parameter] = {'step': step, **moments}
        self._generator.set_state(state['generator'])
        self.updates = int(state['updates'])

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        expected: Dict[str, Any] = {'generator': self._generator.get_state().shape, 'updates': ()}
        for group, module in self._modules().items():
            expected.update(
                {f'{group}.{name}': tensor.shape for name, tensor in module.state_dict().items()}
            )
        for name, parameter, _ in self._optimised():
            if f'adam.step.{name}' in state:
                expected.update(
                    {
                        f'adam.step.{name}': (),
                        f'adam.exp_avg.{name}': parameter.shape,
                        f'adam.exp_avg_sq.{name}': parameter.shape,
                    }
                )
        for name in sorted(set(expected) | set(state)):
            wanted = tuple(expected[name]) if name in expected else 'no such tensor'
            got = tuple(state[name].shape) if name in state else 'no such tensor'
            if wanted != got:
                raise LearnerError(
                    f'learner state {name} must be {wanted}, got {got}; it is of '
                    'another network'
                )

    def _modules(self) -> Dict[str, nn.Module]:
        return {
            'policy': self.policy,
            'critic': self.critic,
            'target_policy': self.target_policy,
            'target_critic': self.target_critic,
        }

    def _optimised(self) -> List[Tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        groups = (
            ('policy.encoder', self.policy.encoder, self._critic_optimiser),
            ('critic', self.critic, self._critic_optimiser),
            ('policy.actor', self.policy.actor, self._actor_optimiser),
        )
        return [
            (f'{group}.{name}', parameter, optimiser)
            for group, module, optimiser in groups
            for name, parameter in module.named_parameters()
        ]


def gradient_norm(modules: Iterable[nn.Module]) -> Tensor:
    """Return the L2 norm over all gradients of some modules, as limited and as logged."""
    return torch.nn.utils.get_total_norm(
        [p.grad for module in modules for p in module.parameters() if p.grad is not None]
    )


def clip_gradients(modules: Iterable[nn.Module], norm: float, limit: float) -> float:
    """
    Scale the gradients of some modules so that their common norm is within a limit.

    :param norm: their :func:`gradient_norm` now, finite.
    :param limit: largest norm allowed.
    :returns: their :func:`gradient_norm` afterwards, measured again.
    """
    modules = list(modules)
    if norm > limit:
        for module in modules:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(limit / norm)
    return float(gradient_norm(modules))


def _to_floats(tensors: Mapping[str, Tensor]) -> Dict[str, float]:
    """Read scalars with one wait for the device."""
    return dict(zip(tensors, torch.stack(list(tensors.values())).tolist()))
