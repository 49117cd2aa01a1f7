"""
Stable-Baselines3's TD3 as a learner of the driving task, with its own loop and its own settings.

Like ``bench_peer.py`` it touches stable_baselines3 only when a function is called.
"""

from typing import Any, Callable, Dict, Mapping

import numpy as np

from av_td3_ros.cli import bench_peer
from av_td3_ros.datatypes import ACTION_SIZE, Observation
from av_td3_ros.td3.exploration import Exploration

# Its own arguments, but for noise, returns of several steps and warm-up: it wants objects there.
SETTINGS: Dict[str, Dict[str, Any]] = {
    # The best that was found for this task, docs/results/peer says how.
    'sb3_best': {
        'learning_rate': 1e-4,
        'batch_size': 32,
        'learning_starts': 1000,
        'ou_noise': 0.3,  # it lasts: white noise on throttle and brake cancels out, the car stands
        'n_steps': 3,
        'train_freq': 4,  # as many updates a step as ours
        'forward_warmup': True,
    },
    'sb3_tuned': {
        'learning_rate': 3e-4,
        'batch_size': 128,
        'learning_starts': 1000,
        'noise': 0.1,
        'n_steps': 3,
    },
    'sb3_defaults': {},
}
DEFAULT_BATCH = 256
# Observations kept. It holds each stack twice, and a million of them would need 57 GB; no run of
# an hour takes this many steps, so that nothing is forgotten.
CAPACITY = 100_000
FOR_EVER = 10**9


def make(env: Any, settings: Mapping[str, Any], seed: int, capacity: int = CAPACITY) -> Any:
    """
    Return its TD3 with MultiInputPolicy.

    :param env: of ``gym_env``, with image and vector.
    :param settings: of ``SETTINGS``.
    :raises ConfigError: where it is not installed.
    """
    bench_peer.version()
    from stable_baselines3 import TD3
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    arguments = dict(settings)
    noise, steps = arguments.pop('noise', 0.0), arguments.pop('n_steps', 1)
    lasting, forward = arguments.pop('ou_noise', 0.0), arguments.pop('forward_warmup', False)
    if noise or lasting:
        kind = OrnsteinUhlenbeckActionNoise if lasting else NormalActionNoise
        size = np.full(ACTION_SIZE, noise or lasting)
        arguments['action_noise'] = kind(np.zeros(ACTION_SIZE), size)
    if steps > 1:
        gamma = arguments.get('gamma', 0.99)
        arguments['replay_buffer_class'] = buffer_of_returns()
        arguments['replay_buffer_kwargs'] = {'n_steps': steps, 'gamma': gamma}
    model = TD3(
        'MultiInputPolicy', env, buffer_size=capacity, seed=seed, device='cpu', **arguments
    )
    if forward:
        model.action_space = forward_space(model.action_space, seed)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def forward_space(space: Any, seed: int) -> Any:
    """Return a space of the same actions; its samples, taken in warm-up, are those of ours."""
    from gymnasium.spaces import Box

    exploration, rng = Exploration(), np.random.default_rng(seed)

    class Forward(Box):
        """Biased forwards, correlated in time."""

        def sample(self, mask: Any = None, probability: Any = None) -> np.ndarray:
            return exploration.random_action(rng)

    return Forward(space.low, space.high, dtype=space.dtype)


def learn(model: Any, step: Callable[[int, int], bool]) -> None:
    """
    Let it learn with its own loop.

    :param step: called after every step with steps and updates so far; true ends it.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    class Look(BaseCallback):
        """Calls after every step."""

        def _on_step(self) -> bool:
            return not step(self.num_timesteps, self.model._n_updates)

    model.learn(FOR_EVER, Look(), log_interval=None)


def act(model: Any, obs: Observation) -> np.ndarray:
    """Return its action without noise, (2,) float32."""
    action, _ = model.predict({'image': obs.image, 'vector': obs.vector}, deterministic=True)
    return action


def buffer_of_returns() -> Any:
    """
    Return its replay buffer for images with a vector, with returns of several steps.

    It offers these for plain observations alone (2.9); its train() takes them from any buffer.
    """
    from stable_baselines3.common.buffers import DictReplayBuffer
    from stable_baselines3.common.type_aliases import DictReplayBufferSamples

    class Returns(DictReplayBuffer):
        """One environment; nothing is normalised."""

        def __init__(self, *arguments: Any, n_steps: int, gamma: float, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self._count, self._gamma = n_steps, gamma

        def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
            first, newest = np.asarray(batch_inds), (self.pos - 1) % self.buffer_size
            goes_on = np.ones(len(first), bool)
            last, count = first.copy(), np.zeros(len(first), int)
            reward = np.zeros(len(first), np.float32)
            for step in range(self._count):
                at = (first + step) % self.buffer_size
                reward += goes_on * np.float32(self._gamma**step) * self.rewards[at, 0]
                last[goes_on] = at[goes_on]
                count += goes_on
                # What ends an episode, for good or by its time, has nothing of it behind it.
                goes_on = goes_on & (self.dones[at, 0] == 0.0) & (at != newest)
            ended = self.dones[last, 0] * (1.0 - self.timeouts[last, 0])
            discount = (self._gamma**count).astype(np.float32)
            return DictReplayBufferSamples(
                {key: self.to_torch(kept[first, 0]) for key, kept in self.observations.items()},
                self.to_torch(self.actions[first, 0]),
                {key: self.to_torch(k[last, 0]) for key, k in self.next_observations.items()},
                self.to_torch(ended[:, None]),
                self.to_torch(reward[:, None]),
                self.to_torch(discount[:, None]),
            )

    return Returns
