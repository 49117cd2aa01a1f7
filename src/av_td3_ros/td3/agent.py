"""
TD3 (Fujimoto et al. 2018) from pixels; by default in the shape of DrQ-v2 (Yarats et al. 2021).

By default one encoder, trained with the critics, and an actor that sees detached features: an
update makes two encoder forwards and one backward. With encoders of their own, as in
Stable-Baselines3, it makes twice as many. What of the vehicle's place on its route the policy does
not see, the critics do (Pinto et al. 2018), and the features learn to predict it. Every deviation
is listed in ``docs/design/td3.md``.
"""

from contextlib import contextmanager
import math
from typing import Dict, Iterator, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional
from torch.profiler import record_function

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.td3 import targets
from av_td3_ros.td3.arithmetic import Arithmetic, autocast, FP32
from av_td3_ros.td3.augment import random_shift
from av_td3_ros.td3.averaging import Average
from av_td3_ros.td3.graphs import Recorder
from av_td3_ros.td3.learner_state import collect, restore
from av_td3_ros.td3.metrics import SATURATED
from av_td3_ros.td3.networks import (
    Critics,
    Encoder,
    initialise,
    Policy,
    polyak,
    Predictor,
    target_of,
)
from av_td3_ros.td3.optimiser import Group, Optimiser
from av_td3_ros.td3.replay import Batch
from av_td3_ros.td3.tensors import report_not_finite, Sight, spread, TensorBatch

LOSSES = {
    'huber': functional.smooth_l1_loss,
    'mse': functional.mse_loss,
}


class TD3:
    """The learner: networks, targets, optimisers, one update at a time."""

    def __init__(
        self,
        obs_spec: ObsSpec,
        config: LearnerConfig,
        device: str = 'cpu',
        seed: int = 0,
        arithmetic: Arithmetic = FP32,
    ) -> None:
        """
        Make a fresh learner.

        :param obs_spec: what the policy sees.
        :param config: all settings of the algorithm.
        :param device: torch device.
        :param seed: fixes initial weights, target noise and augmentation.
        :param arithmetic: of the convolutions and linear layers of the encoders; parameters,
            heads, losses and gradients are float32.
        """
        self.obs_spec = obs_spec
        self.config = config
        self._sight = Sight(obs_spec, config)
        self.privileged = self._sight.privileged  # what a batch has behind the policy's vector
        self.arithmetic = arithmetic
        self.updates = 0
        self._device = torch.device(device)
        network = config.network
        # Initial weights come from the CPU, so that a seed means the same on every device.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = Policy(obs_spec, network)
            features = self.policy.encoder.feature_size
            self.critic = Critics(
                config.target.critics,
                features + self._sight.critic_size,
                (network.hidden_1, network.hidden_2),
                network.critic_layer_norm,
            )
            self.predictor = None
            if self.privileged and config.privileged_loss:
                self.predictor = Predictor(features + obs_spec.vector_size, len(self.privileged))
            self.critic_encoder = self.policy.encoder
            if not network.shared_encoder:
                self.critic_encoder = Encoder(obs_spec.image_shape, network).eval()
        if network.initialisation == 'orthogonal':
            seeding = torch.Generator().manual_seed(seed)
            for module in self._trained():
                initialise(module, seeding)
        for module in self._trained():
            module.to(self._device)
        self.target_policy = target_of(self.policy)
        self.target_critic = target_of(self.critic)
        share = config.average_share
        self._average = Average(self.policy, share) if share else None
        self.target_critic_encoder = self.target_policy.encoder
        if not network.shared_encoder:
            self.target_critic_encoder = target_of(self.critic_encoder)
        self.generator = torch.Generator(self._device).manual_seed(seed)
        self._combine = targets.combiner(config.target.kind)
        self._loss = LOSSES[config.loss]
        # Memory of the targets: mean |Q1 - Q2| of the last update; range of the targets seen, and
        # the range in use. It begins at 0, as in TD7: no value is believed before one was seen.
        self._last_gap = torch.zeros((), device=self._device)
        self._seen = torch.tensor([math.inf, -math.inf], device=self._device)
        self._bounds = torch.zeros(2, device=self._device)
        self._td_error = torch.zeros(config.batch_size, device=self._device)
        self._critic_step, self._actor_step = self._optimisers()
        self._recorder = Recorder(self._device, self.generator)
        self._inputs: Tuple[Tensor, ...] = ()
        self._names: Dict[Tuple[bool, bool], Tuple[str, ...]] = {}

    # -- learning ---------------------------------------------------------------------------------

    def update(self, batch: Batch, account: bool = True) -> Dict[str, float]:
        """
        Do one update of the critics and, every ``policy_delay`` of them, of actor and targets.

        :param batch: transitions from the replay.
        :param account: whether to measure norms of weights and of their change as well.
        :returns: the metrics computed in this update, named as in ``td3/metrics.py``.
        :raises LearnerError: where a loss or a gradient norm is not finite. Parameters never take
            a step along such a gradient.
        """
        with_actor = (self.updates + 1) % self.config.policy_delay == 0
        self._receive(batch)
        values = self._recorder.call(
            (with_actor, account, len(batch.action)), lambda: self._update(with_actor, account)
        )
        metrics = dict(zip(self._names[with_actor, account], values.tolist()))
        finite = metrics.pop('finite')
        if not finite:
            report_not_finite(metrics, self.updates + 1)
        if with_actor:  # targets are as slow as the policy (TD3, section 5.2)
            self._recorder.call('polyak', self._move_targets)
            if self._average is not None:
                self._average.add((self.updates + 1) // self.config.policy_delay)
        self.updates += 1
        if self.config.target.clip_to_seen and self.updates % self.config.target.clip_refresh == 0:
            self._bounds.copy_(self._seen)
        return metrics

    @property
    def settled_policy(self) -> Policy:
        """What to drive with: the mean of the newest policies, or the newest alone."""
        if self._average is None or self.updates < self.config.policy_delay:
            return self.policy
        return self._average.module

    @property
    def td_error(self) -> np.ndarray:
        """Largest |target - Q| of both critics in the last update, (B,) float32: priorities."""
        return self._td_error.cpu().numpy()

    def _receive(self, batch: Batch) -> None:
        """Bring a batch to the device; a recorded update reads it at the same place each time."""
        self._sight.check(batch)
        arrays = TensorBatch(*batch[: len(TensorBatch._fields)])
        fresh = [torch.as_tensor(array) for array in arrays]
        if self._device.type == 'cpu':
            self._inputs = tuple(fresh)
        elif [x.shape for x in self._inputs] != [x.shape for x in fresh]:
            self._inputs = tuple(tensor.to(self._device, copy=True) for tensor in fresh)
            self._recorder.forget()
        else:
            for place, tensor in zip(self._inputs, fresh):
                place.copy_(tensor, non_blocking=True)
        if len(self._td_error) != len(batch.action):
            self._td_error = torch.zeros(len(batch.action), device=self._device)

    def _update(self, with_actor: bool, account: bool) -> Tensor:
        """
        Do one update with what :meth:`_receive` brought, never waiting for the device.

        :returns: the metrics, and at the end whether all was finite; names in ``self._names``.
        """
        with record_function('prepare'):
            data = self._augmented(TensorBatch(*self._inputs))
        with self._training():
            features, metrics, finite = self._update_critic(data, account)
            if with_actor:
                more, finite = self._update_actor(data, features, finite, account)
                metrics.update(more)
        metrics['finite'] = finite.float()
        self._names[with_actor, account] = tuple(metrics)
        return torch.stack(list(metrics.values()))

    def _move_targets(self) -> None:
        with record_function('polyak'):
            for name, online in self._online().items():
                polyak(online, self._targets()[name], self.config.tau)

    def _augmented(self, data: TensorBatch) -> TensorBatch:
        pad, encoder = self.config.shift_pad, self.critic_encoder
        encoder.channels_last = self.arithmetic.channels_last
        with autocast(self.arithmetic, self._device):  # once: all encoders want the same pixels
            return data._replace(
                reward=data.reward * self.config.reward_scale,
                image=encoder.normalised(random_shift(data.image, pad, self.generator)),
                next_image=encoder.normalised(random_shift(data.next_image, pad, self.generator)),
            )

    @torch.no_grad()
    def _target(self, data: TensorBatch) -> Tensor:
        """Return the value that all critics learn, (B,) float32: TD3, equations 10 and 14."""
        config = self.config.target
        features, _ = self._encode(self.target_policy.encoder, data.next_image)
        action = self.target_policy.actor(features, self._sight.of_policy(data.next_vector)).action
        if config.noise > 0.0:
            noise = torch.randn(action.shape, generator=self.generator, device=self._device)
            noise = (config.noise * noise).clamp_(-config.noise_clip, config.noise_clip)
            action = (action + noise).clamp_(-1.0, 1.0)
        if not self.config.network.shared_encoder:
            features, _ = self._encode(self.target_critic_encoder, data.next_image)
        values = self.target_critic(features, self._sight.of_critics(data.next_vector), action)
        value = self._combine(values, config.weight, self._last_gap)
        if config.clip_to_seen:
            value = value.clamp(self._bounds[0], self._bounds[1])
        return data.reward + data.discount * value

    def _update_critic(
        self, data: TensorBatch, account: bool
    ) -> Tuple[Tensor, Dict[str, Tensor], Tensor]:
        with record_function('target'):
            target = self._target(data)
        with record_function('critic_forward'):
            features, unbounded = self._encode(self.critic_encoder, data.image)
            values = self.critic(features, self._sight.of_critics(data.vector), data.action)
            each = self._loss(values, target.expand_as(values), reduction='none')
            loss = (each * data.weight).mean(dim=1).sum()
            error = self._prediction_error(features, data.vector)
        step = self._critic_step.step(
            loss if error is None else loss + self.config.privileged_loss * error, account=account
        )
        with torch.no_grad(), record_function('metrics'):
            errors = (values - target).abs()
            gap = (values[0] - values[-1]).abs().mean()
            self._td_error.copy_(errors.amax(dim=0))
            self._remember(step.finite, gap, target)
            metrics = {
                'critic_loss': loss,
                **spread('q_replay', values[0]),
                'q_target_mean': target.mean(),
                'q_difference': gap,
                'td_error': errors[0].mean(),
                'feature_l2': unbounded.norm(dim=1).mean(),
                'feature_l2_seen': features.norm(dim=1).mean(),
                'feature_mean': features.mean(),
                'feature_std': features.std(dim=0, correction=0).mean(),
                **step.metrics,
            }
            if error is not None:
                metrics['prediction_error'] = error.sqrt()
        return features.detach(), metrics, step.finite

    def _prediction_error(self, features: Tensor, vector: Tensor) -> Optional[Tensor]:
        """Return how wrong the features are of what the policy does not see; None: nobody asks."""
        if self.predictor is None:
            return None
        predicted = self.predictor(features, self._sight.of_policy(vector))
        return functional.mse_loss(predicted, self._sight.hidden_from_policy(vector))

    def _remember(self, finite: Tensor, gap: Tensor, target: Tensor) -> None:
        """Keep what later targets depend on, unless this update went wrong."""
        self._last_gap.copy_(torch.where(finite, gap, self._last_gap))
        low = torch.minimum(self._seen[0], target.min())
        high = torch.maximum(self._seen[1], target.max())
        self._seen.copy_(torch.where(finite, torch.stack([low, high]), self._seen))

    def _update_actor(
        self, data: TensorBatch, features: Tensor, allowed: Tensor, account: bool
    ) -> Tuple[Dict[str, Tensor], Tensor]:
        """
        Update the actor.

        :param features: of the critics' encoder, from before its step.
        :param allowed: () bool, whether to take the step.
        """
        with record_function('actor'):
            metrics = {}
            if self.config.network.shared_encoder:
                pre_tanh, action = self.policy.actor(features, self._sight.of_policy(data.vector))
            else:
                own, unbounded = self._encode(self.policy.encoder, data.image)
                pre_tanh, action = self.policy.actor(own, self._sight.of_policy(data.vector))
                metrics['actor_feature_l2'] = unbounded.detach().norm(dim=1).mean()
                metrics['actor_feature_l2_seen'] = own.detach().norm(dim=1).mean()
                with torch.no_grad():  # the critics' encoder has moved, and TD3 values by it now
                    features, _ = self._encode(self.critic_encoder, data.image)
            q = self.critic.first(features, self._sight.of_critics(data.vector), action)
            bound = self.config.actor_q_clamp
            climbed = q.clamp(-bound, bound) if bound else q
            penalty = self.config.pre_tanh_penalty * pre_tanh.square().mean()
            loss = penalty - climbed.mean()
        step = self._actor_step.step(loss, allowed, account)
        with torch.no_grad(), record_function('metrics'):
            metrics.update(
                {
                    'actor_loss': loss,
                    'pre_tanh_penalty': penalty,
                    **spread('q_policy', q),
                    'tanh_saturation': (pre_tanh.abs() > SATURATED).float().mean(),
                    'action_std': action.std(dim=0, correction=0).mean(),
                    **step.metrics,
                }
            )
        return metrics, step.finite

    def _encode(self, encoder: Encoder, pixels: Tensor) -> Tuple[Tensor, Tensor]:
        """Return features and what they were before the head, both (B, feature_size) float32."""
        with autocast(self.arithmetic, self._device):
            unbounded = encoder.unbounded(pixels)
        return encoder.head(unbounded), unbounded

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Let normalisations over a batch learn for as long as an update lasts."""
        online = self._online().values()
        for module in online:
            module.train()
        try:
            yield
        finally:
            for module in online:
                module.eval()

    # -- parts ------------------------------------------------------------------------------------

    def _optimisers(self) -> Tuple[Optimiser, Optimiser]:
        config = self.config.optimiser
        encoder = Group('encoder', self.critic_encoder, config.encoder_lr)
        critic = [encoder, Group('critic', self.critic, config.critic_lr)]
        if self.predictor is not None:
            critic.append(Group('predictor', self.predictor, config.critic_lr))
        actor = [Group('actor', self.policy.actor, config.actor_lr)]
        if not self.config.network.shared_encoder:
            actor.insert(0, Group('actor_encoder', self.policy.encoder, config.encoder_lr))
        return (
            Optimiser('critic', critic, config, config.critic_clip, self._device),
            Optimiser('actor', actor, config, config.actor_clip, self._device),
        )

    def state_dict(self) -> Dict[str, Tensor]:
        """Return all that the next update depends on, as flat tensors (copies, on the CPU)."""
        memory = {
            **self._memory(),
            'generator': self.generator.get_state(),
            'updates': torch.tensor(self.updates),
        }
        return collect(self._modules(), (self._critic_step, self._actor_step), memory)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """
        Go on where :meth:`state_dict` was taken; on another kind of device with other noise.

        :raises LearnerError: naming the first tensor that is missing, unknown or of another shape;
            nothing is changed then.
        """
        generator, updates = self.generator.get_state(), torch.tensor(0)
        memory = {**self._memory(), 'generator': generator, 'updates': updates}
        restore(state, self._modules(), (self._critic_step, self._actor_step), memory)
        self.generator.set_state(generator)
        self.updates = int(updates)
        self._recorder.forget()

    def _memory(self) -> Dict[str, Tensor]:
        return {'last_gap': self._last_gap, 'seen': self._seen, 'bounds': self._bounds}

    def _modules(self) -> Dict[str, nn.Module]:
        online = self._online()
        average = {} if self._average is None else {'average_policy': self._average.module}
        targets = {f'target_{name}': self._targets()[name] for name in online}
        predictor = {} if self.predictor is None else {'predictor': self.predictor}
        return {**online, **targets, **average, **predictor}

    def _online(self) -> Dict[str, nn.Module]:
        online = {'policy': self.policy, 'critic': self.critic}
        if not self.config.network.shared_encoder:
            online['critic_encoder'] = self.critic_encoder
        return online

    def _trained(self) -> Tuple[nn.Module, ...]:
        """Return all that has a gradient; the predictor needs no target."""
        return (*self._online().values(), *([] if self.predictor is None else [self.predictor]))

    def _targets(self) -> Dict[str, nn.Module]:
        return {
            'policy': self.target_policy,
            'critic': self.target_critic,
            'critic_encoder': self.target_critic_encoder,
        }
