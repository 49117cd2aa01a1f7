"""
The networks: one image encoder, an actor and twin critics on its features.

NatureCNN (Mnih et al. 2015) followed by the trunk of DrQ-v2 (Yarats et al. 2021): Linear,
LayerNorm, tanh. The trunk bounds every feature to [-1, 1], so that neither the actor nor the
critic can be driven away by exploding features. LayerNorm in the critics bounds extrapolation
(RLPD, Ball et al. 2023).
"""

import copy
from typing import NamedTuple, Optional, Tuple

import torch
from torch import nn, Tensor

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec

# Small enough that a new actor steers straight and its tanh has its full slope.
LAST_ACTOR_LAYER_GAIN = 0.01


class ActorOutput(NamedTuple):
    """``pre_tanh``: (B, 2) float32, unbounded. ``action``: its tanh, in [-1, 1]."""

    pre_tanh: Tensor
    action: Tensor


class Encoder(nn.Module):
    """Image stack to features. The only place where pixels are normalised."""

    def __init__(self, image_shape: Tuple[int, int, int], feature_size: int) -> None:
        """
        Build for one image size; the flattened size comes from a dry forward.

        :param image_shape: (stack, height, width), height and width at least 36.
        :param feature_size: features that come out.
        """
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(image_shape[0], 32, kernel_size=8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            flat_size = self.convolutions(torch.zeros(1, *image_shape)).shape[1]
        self.trunk = nn.Sequential(
            nn.Linear(flat_size, feature_size), nn.LayerNorm(feature_size), nn.Tanh()
        )

    def forward(self, image: Tensor) -> Tensor:
        """
        Encode a batch.

        :param image: (B, stack, height, width) uint8, grey, oldest first.
        :returns: (B, feature_size) float32, in [-1, 1].
        """
        # Only the input is laid out channels_last: convolutions follow it, and parameters stay
        # contiguous, which safetensors and the fused optimiser need. While it is uint8: 5 times
        # faster.
        pixels = image.contiguous(memory_format=torch.channels_last).float()
        return self.trunk(self.convolutions(pixels.div_(255.0).sub_(0.5)))


class Actor(nn.Module):
    """Features and vehicle-state vector to action."""

    def __init__(self, feature_size: int, vector_size: int, hidden_size: int) -> None:
        """
        Build the MLP.

        :param feature_size: image features.
        :param vector_size: entries of the vehicle-state vector; 0 for none.
        :param hidden_size: units of each of the two layers.
        """
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_size + vector_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, ACTION_SIZE),
        )

    def forward(self, features: Tensor, vector: Tensor) -> ActorOutput:
        """
        Choose actions.

        :param features: (B, feature_size) float32.
        :param vector: (B, vector_size) float32.
        """
        pre_tanh = self.layers(torch.cat([features, vector], dim=1))
        return ActorOutput(pre_tanh, torch.tanh(pre_tanh))


class TwinCritic(nn.Module):
    """Two independent action values (Fujimoto et al. 2018, section 4.2)."""

    def __init__(self, feature_size: int, vector_size: int, hidden_size: int) -> None:
        """
        Build both MLPs.

        :param feature_size: image features.
        :param vector_size: entries of the vehicle-state vector; 0 for none.
        :param hidden_size: units of each of the two layers.
        """
        super().__init__()
        input_size = feature_size + vector_size + ACTION_SIZE
        self.q1 = _critic_layers(input_size, hidden_size)
        self.q2 = _critic_layers(input_size, hidden_size)

    def forward(self, features: Tensor, vector: Tensor, action: Tensor) -> Tuple[Tensor, Tensor]:
        """
        Value actions by both critics.

        :param features: (B, feature_size) float32.
        :param vector: (B, vector_size) float32.
        :param action: (B, 2) float32, in [-1, 1].
        :returns: two tensors of (B,) float32.
        """
        inputs = torch.cat([features, vector, action], dim=1)
        return self.q1(inputs).squeeze(1), self.q2(inputs).squeeze(1)

    def first(self, features: Tensor, vector: Tensor, action: Tensor) -> Tensor:
        """Value actions by the first critic alone, which trains the actor: (B,) float32."""
        return self.q1(torch.cat([features, vector, action], dim=1)).squeeze(1)


class Policy(nn.Module):
    """Encoder and actor: what is shipped to the vehicle."""

    def __init__(self, obs_spec: ObsSpec, feature_size: int, hidden_size: int) -> None:
        """
        Build for one observation specification.

        :param obs_spec: what the policy sees.
        :param feature_size: image features.
        :param hidden_size: units of each layer of the actor.
        """
        super().__init__()
        self.obs_spec = obs_spec
        self.encoder = Encoder(obs_spec.image_shape, feature_size)
        self.actor = Actor(feature_size, obs_spec.vector_size, hidden_size)

    @torch.no_grad()
    def act(self, image: Tensor, vector: Tensor) -> Tensor:
        """
        Choose the deterministic action.

        :param image: (B, stack, height, width) uint8, grey, oldest first.
        :param vector: (B, vector_size) float32.
        :returns: (B, 2) float32, [steering, acceleration] in [-1, 1].
        """
        return self.actor(self.encoder(image), vector).action


def initialise(module: nn.Module, generator: Optional[torch.Generator] = None) -> None:
    """
    Orthogonal weights and zero biases, as DrQ-v2 (``utils.weight_init``).

    :param module: changed in place; normalisation layers keep their ones and zeros.
    :param generator: source of randomness, so that a seed fixes every bit.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            gain = nn.init.calculate_gain('relu') if isinstance(layer, nn.Conv2d) else 1.0
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)
    for actor in module.modules():
        if isinstance(actor, Actor):
            last = actor.layers[-1]
            nn.init.orthogonal_(last.weight, LAST_ACTOR_LAYER_GAIN, generator=generator)


def target_of(module: nn.Module) -> nn.Module:
    """Return a copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def polyak(online: nn.Module, target: nn.Module, tau: float) -> None:
    """
    Move a target towards its online network: target += tau (online - target).

    :param tau: step, [0, 1].
    """
    for slow, fast in zip(target.parameters(), online.parameters()):
        slow.lerp_(fast, tau)


def _critic_layers(input_size: int, hidden_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(input_size, hidden_size),
        nn.LayerNorm(hidden_size),
        nn.ReLU(),
        nn.Linear(hidden_size, hidden_size),
        nn.LayerNorm(hidden_size),
        nn.ReLU(),
        nn.Linear(hidden_size, 1),
    )
