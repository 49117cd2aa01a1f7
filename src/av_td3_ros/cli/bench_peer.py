"""
Stable-Baselines3's TD3 beside the learner: the same experience, the same weights, the same noise.

With ``study_sb3.py`` the only module that touches stable_baselines3, and only when a function is
called: it is needed for the benchmarks, for the proof that preset ``sb3`` is what it says and for
the comparison in ``av-td3 study peer``, never to train or drive.
"""

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from torch import nn, Tensor

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec
from av_td3_ros.options import ConfigError
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.replay import Batch

# Networks of both that correspond, by what they are called in the results.
NETWORKS = ('actor', 'critic', 'target_actor', 'target_critic')


def version() -> str:
    """
    Return the version of Stable-Baselines3.

    :raises ConfigError: where it is not installed.
    """
    try:
        import stable_baselines3
    except ImportError as error:
        raise ConfigError(
            f'a comparison must have stable_baselines3 to compare with, got: {error}; install it '
            'with `pip install stable-baselines3` (CPU PyTorch is enough)'
        ) from None
    return stable_baselines3.__version__


def make(
    image_shape: Tuple[int, int, int],
    capacity: int,
    *,
    vector_size: int = 0,
    seed: int = 0,
    device: str = 'cpu',
    fused_adam: bool = False,
) -> Any:
    """
    Return Stable-Baselines3's TD3 with its defaults: CnnPolicy, or MultiInputPolicy with a vector.

    :param image_shape: (stack, height, width) of its observations.
    :param capacity: transitions of its replay buffer, which takes memory for all at once.
    :param vector_size: entries of the vector beside the image; 0 for none.
    :param seed: fixes its initial weights.
    :param device: torch device.
    :param fused_adam: its Adam with PyTorch's fused kernel, one of its own options: the same
        formula, rounded as in the learner.
    :raises ConfigError: where it is not installed.
    """
    version()
    import gymnasium
    from stable_baselines3 import TD3 as Peer
    from stable_baselines3.common.logger import Logger

    image = gymnasium.spaces.Box(0, 255, image_shape, np.uint8)
    vector = gymnasium.spaces.Box(-np.inf, np.inf, (vector_size,), np.float32)
    both = gymnasium.spaces.Dict({'image': image, 'vector': vector})

    class Spaces(gymnasium.Env):
        """Says what is observed and done; nothing is ever stepped."""

        observation_space = both if vector_size else image
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)

    model = Peer(
        'MultiInputPolicy' if vector_size else 'CnnPolicy',
        Spaces(),
        buffer_size=capacity,
        policy_kwargs={'optimizer_kwargs': {'fused': True}} if fused_adam else None,
        seed=seed,
        device=device,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def add(
    model: Any,
    image: np.ndarray,
    action: np.ndarray,
    reward: float,
    terminated: bool,
    next_image: np.ndarray,
) -> None:
    """
    Store one transition in its replay buffer.

    :param image: (stack, height, width) uint8; ``next_image`` alike.
    :param action: (2,) float32.
    """
    model.replay_buffer.add(
        image[None],
        next_image[None],
        action[None],
        np.array([reward], np.float32),
        np.array([terminated]),
        [{}],
    )


# -- the same networks ----------------------------------------------------------------------------


def copy_weights(model: Any, agent: TD3) -> None:
    """
    Give the learner the weights of Stable-Baselines3, targets included.

    :raises ValueError: where the networks differ, naming the first parameter that does.
    """
    with torch.no_grad():
        for _, theirs, ours in _pairs(model, agent):
            ours.copy_(theirs)


def largest_differences(model: Any, agent: TD3) -> Dict[str, float]:
    """Return the largest absolute difference of parameters, for each of ``NETWORKS``."""
    found = dict.fromkeys(NETWORKS, 0.0)
    for network, theirs, ours in _pairs(model, agent):
        difference = float((theirs.detach().double() - ours.detach().double()).abs().max())
        found[network] = max(found[network], difference)
    return found


def _pairs(model: Any, agent: TD3) -> Iterator[Tuple[str, Tensor, Tensor]]:
    """Yield (network, their parameter, our parameter) in the order of their layers."""
    sides: Dict[str, Tuple[nn.Module, Sequence[nn.Module]]] = {
        'actor': (model.actor, (agent.policy.encoder, agent.policy.actor)),
        'critic': (model.critic, (agent.critic_encoder, agent.critic)),
        'target_actor': (
            model.actor_target,
            (agent.target_policy.encoder, agent.target_policy.actor),
        ),
        'target_critic': (
            model.critic_target,
            (agent.target_critic_encoder, agent.target_critic),
        ),
    }
    for network, (their_module, our_modules) in sides.items():
        theirs = list(their_module.named_parameters())
        ours = [parameter for module in our_modules for parameter in module.parameters()]
        if len(theirs) != len(ours):
            raise ValueError(
                f"{network} must have Stable-Baselines3's {len(theirs)} parameters, got "
                f'{len(ours)}; only preset sb3 has the same networks'
            )
        for (name, their), our in zip(theirs, ours):
            if their.shape != our.shape:
                raise ValueError(
                    f"{network} must have Stable-Baselines3's {name} of {tuple(their.shape)}, got "
                    f'{tuple(our.shape)}; only preset sb3 has the same networks'
                )
            yield network, their, our


# -- the same updates -----------------------------------------------------------------------------


def random_batches(
    obs_spec: ObsSpec, size: int, count: int, gamma: float, seed: int = 0
) -> List[Batch]:
    """
    Return batches of noise, about half of their transitions terminated.

    :param obs_spec: shapes of the observations.
    :param size: transitions in each.
    :param count: batches.
    :param gamma: discount of what is not terminated.
    """
    rng = np.random.default_rng(seed)

    def images() -> np.ndarray:
        return rng.integers(0, 256, (size, *obs_spec.image_shape), np.uint8)

    def uniform(*shape: int) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, shape).astype(np.float32)

    return [
        Batch(
            image=images(),
            vector=uniform(size, obs_spec.vector_size),
            action=uniform(size, ACTION_SIZE),
            reward=uniform(size),
            discount=np.float32(gamma) * (rng.random(size) < 0.5).astype(np.float32),
            next_image=images(),
            next_vector=uniform(size, obs_spec.vector_size),
            weight=np.ones(size, np.float32),
            index=np.arange(size),
        )
        for _ in range(count)
    ]


def train_once(model: Any, batch: Batch, noise_seed: int, channels_last: bool = True) -> None:
    """
    Do one update of its own ``train`` on a given batch.

    :param model: of :func:`make`; its replay buffer is replaced.
    :param batch: of one-step returns with its discount.
    :param noise_seed: of the target noise, which it draws from PyTorch's global generator.
    :param channels_last: hand it the images in the memory layout that the learner uses. The
        numbers are the same, but the layout decides in which order a convolution adds them up.
    :raises ValueError: where a discount is neither 0 nor its own.
    """
    model.replay_buffer = _Given(batch, model.gamma, channels_last)
    torch.manual_seed(noise_seed)
    model.train(gradient_steps=1, batch_size=len(batch.action))


def update_side_by_side(model: Any, agent: TD3, batches: Sequence[Batch]) -> Dict[str, float]:
    """
    Update both with the same batches and the same target noise.

    :param model: of :func:`make`; its replay buffer is replaced.
    :param agent: with the weights of :func:`copy_weights`.
    :returns: :func:`largest_differences` afterwards.
    """
    for seed, batch in enumerate(batches):
        train_once(model, batch, seed)
        agent.generator.manual_seed(seed)
        agent.update(batch)
    return largest_differences(model, agent)


class _Given:
    """Stands where Stable-Baselines3 samples its replay buffer, and returns one batch."""

    def __init__(self, batch: Batch, gamma: float, channels_last: bool) -> None:
        """:param gamma: its discount; the batch holds it already."""
        from stable_baselines3.common.type_aliases import ReplayBufferSamples

        if not np.isin(batch.discount, (0.0, np.float32(gamma))).all():
            raise ValueError(
                f'discount must be 0 or {gamma:g} for one-step returns, got '
                f'{np.unique(batch.discount).tolist()}'
            )
        layout = torch.channels_last if channels_last else torch.contiguous_format

        def column(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.asarray(values, np.float32)[:, None])

        def observations(image: np.ndarray, vector: np.ndarray) -> Any:
            images = torch.from_numpy(image).contiguous(memory_format=layout)
            if not vector.shape[1]:
                return images
            return {'image': images, 'vector': torch.from_numpy(vector)}

        self._samples = ReplayBufferSamples(
            observations=observations(batch.image, batch.vector),
            actions=torch.from_numpy(batch.action),
            next_observations=observations(batch.next_image, batch.next_vector),
            dones=column(batch.discount == 0.0),
            rewards=column(batch.reward),
        )

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Return the batch, whatever its size is called."""
        return self._samples
