"""
The networks: an image encoder with a feature head, an actor and one or two critics.

By default the head is the trunk of DrQ-v2 (Yarats et al. 2021): Linear, LayerNorm, tanh. It bounds
every feature to [-1, 1], so that neither the actor nor the critic can be driven away by exploding
features. LayerNorm in the critics bounds extrapolation (RLPD, Ball et al. 2023).
"""

import copy
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import torch
from torch import nn, Tensor

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.td3 import encoders

# Small enough that a new actor steers straight and its tanh has its full slope.
LAST_ACTOR_LAYER_GAIN = 0.01

# Pixels are divided by the first number, then the second is taken away.
PIXELS: Dict[str, Tuple[float, float]] = {
    'unit': (255.0, 0.0),
    'symmetric': (127.5, 1.0),
    'centred': (255.0, 0.5),
}
HEADS: Dict[str, Callable[[int], nn.Module]] = {
    'none': lambda size: nn.Identity(),
    'relu': lambda size: nn.ReLU(),
    'layer_norm_tanh': lambda size: nn.Sequential(nn.LayerNorm(size), nn.Tanh()),
    'layer_norm_elu': lambda size: nn.Sequential(nn.LayerNorm(size), nn.ELU()),
}


class ActorOutput(NamedTuple):
    """``pre_tanh``: (B, 2) float32, unbounded. ``action``: its tanh, in [-1, 1]."""

    pre_tanh: Tensor
    action: Tensor


class Encoder(nn.Module):
    """Image stack to features. The only place where pixels are normalised."""

    def __init__(self, image_shape: Tuple[int, int, int], config: NetworkConfig) -> None:
        """
        Build for one image size.

        :param image_shape: (stack, height, width), height and width at least 36.
        :param config: which encoder, its pixels, its features and their head.
        """
        super().__init__()
        self.feature_size = config.feature_size or encoders.published_size(config.encoder)
        self.body = encoders.build(config.encoder, image_shape, self.feature_size)
        self.head = HEADS[config.feature_head](self.feature_size)
        self._divisor, self._offset = PIXELS[config.pixels]
        self.channels_last = True  # which layout is faster depends on processor and precision

    def forward(self, image: Tensor) -> Tensor:
        """
        Encode a batch.

        :param image: (B, stack, height, width) uint8, grey, oldest first.
        :returns: (B, feature_size) float32, within the bounds of the feature head.
        """
        return self.head(self.unbounded(self.normalised(image)))

    def normalised(self, image: Tensor) -> Tensor:
        """
        Bring pixels into their range; several encoders of one config can share the result.

        :param image: (B, stack, height, width) uint8.
        :returns: the same shape, float32, or the precision of autocast where that is on.
        """
        device = image.device.type
        dtype = torch.float32
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)  # here already: one pass over the data less
        if self.channels_last:
            # Only the input is laid out so: convolutions follow it, and parameters stay
            # contiguous, which safetensors and the fused optimiser need. While it is uint8: 5
            # times faster.
            image = image.contiguous(memory_format=torch.channels_last)
        pixels = image.to(dtype)
        if not self._offset:
            return pixels.div_(self._divisor)  # not times 1 / 255: rounded as elsewhere
        # Both in one pass over the data.
        offset = torch.full((), -self._offset, dtype=dtype, device=image.device)
        return torch.add(offset, pixels, alpha=1.0 / self._divisor)

    def unbounded(self, pixels: Tensor) -> Tensor:
        """
        Encode a batch up to the head, whose bounds would hide an explosion.

        Under autocast, convolutions and linear layers run in its precision.

        :param pixels: (B, stack, height, width), of :meth:`normalised`.
        :returns: (B, feature_size) float32.
        """
        return self.body(pixels).float()


class Actor(nn.Module):
    """Features and vehicle-state vector to action."""

    def __init__(self, input_size: int, hidden: Tuple[int, int]) -> None:
        """
        Build the MLP.

        :param input_size: image features and entries of the vehicle-state vector.
        :param hidden: units of both layers.
        """
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(input_size, hidden[0]),
            nn.ReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Linear(hidden[1], ACTION_SIZE),
        )

    def forward(self, features: Tensor, vector: Tensor) -> ActorOutput:
        """
        Choose actions.

        :param features: (B, feature_size) float32.
        :param vector: (B, vector_size) float32.
        """
        pre_tanh = self.layers(torch.cat([features, vector], dim=1))
        return ActorOutput(pre_tanh, torch.tanh(pre_tanh))


class Predictor(nn.Module):
    """Features and vehicle-state vector to what the policy does not see: trains the encoder."""

    def __init__(self, input_size: int, size: int) -> None:
        """
        Build one layer, so that the features themselves must hold what it predicts.

        :param input_size: image features and entries of the vehicle-state vector.
        :param size: entries to predict.
        """
        super().__init__()
        self.layer = nn.Linear(input_size, size)

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:
        """
        Predict.

        :param features: (B, feature_size) float32.
        :param vector: (B, vector_size) float32.
        :returns: (B, size) float32.
        """
        return self.layer(torch.cat([features, vector], dim=1))


class Critics(nn.Module):
    """Independent action values: two (Fujimoto et al. 2018, section 4.2), or one for DDPG."""

    def __init__(
        self, count: int, input_size: int, hidden: Tuple[int, int], layer_norm: bool
    ) -> None:
        """
        Build the MLPs.

        :param count: how many.
        :param input_size: image features, entries of the vehicle-state vector, privileged ones.
        :param hidden: units of both layers.
        :param layer_norm: whether each layer is followed by a LayerNorm.
        """
        super().__init__()
        self.q = nn.ModuleList(
            _critic_layers(input_size + ACTION_SIZE, hidden, layer_norm) for _ in range(count)
        )

    def forward(self, features: Tensor, vector: Tensor, action: Tensor) -> Tensor:
        """
        Value actions by every critic.

        :param features: (B, feature_size) float32.
        :param vector: (B, n) float32, privileged entries last.
        :param action: (B, 2) float32, in [-1, 1].
        :returns: (critics, B) float32.
        """
        inputs = torch.cat([features, vector, action], dim=1)
        return torch.stack([q(inputs).squeeze(1) for q in self.q])

    def first(self, features: Tensor, vector: Tensor, action: Tensor) -> Tensor:
        """Value actions by the first critic alone, which trains the actor: (B,) float32."""
        return self.q[0](torch.cat([features, vector, action], dim=1)).squeeze(1)


class Policy(nn.Module):
    """Encoder and actor: what is shipped to the vehicle."""

    def __init__(self, obs_spec: ObsSpec, config: NetworkConfig) -> None:
        """
        Build for one observation specification.

        :param obs_spec: what the policy sees.
        :param config: what the networks are made of.
        """
        super().__init__()
        self.obs_spec = obs_spec
        self.encoder = Encoder(obs_spec.image_shape, config)
        self.actor = Actor(
            self.encoder.feature_size + obs_spec.vector_size, (config.hidden_1, config.hidden_2)
        )
        self.eval()  # acting is the rule; the learner trains for the moment of an update

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

    :param module: changed in place; normalisations and recurrent layers keep what they have.
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
    Move a target towards its online network: target = (1 - tau) target + tau online.

    Averages of a BatchNorm are slow already and are copied, as in Stable-Baselines3.

    :param tau: step, [0, 1].
    """
    slow = list(target.parameters())
    # Not lerp_: rounded as in the originals, so that preset sb3 stays equal to the last bits.
    torch._foreach_mul_(slow, 1.0 - tau)
    torch._foreach_add_(slow, list(online.parameters()), alpha=tau)
    for mine, its in zip(target.buffers(), online.buffers()):
        mine.copy_(its)


def _critic_layers(input_size: int, hidden: Tuple[int, int], layer_norm: bool) -> nn.Sequential:
    layers = []
    for size in hidden:
        layers += [nn.Linear(input_size, size)]
        layers += [nn.LayerNorm(size)] if layer_norm else []
        layers += [nn.ReLU()]
        input_size = size
    return nn.Sequential(*layers, nn.Linear(input_size, 1))
