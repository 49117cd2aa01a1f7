"""
How actions vary while training: random during warm-up, then noise on the policy that falls.

The schedule is DrQ-v2's. Unlike there, noise is by default correlated in time (a first-order
autoregressive process of the same standard deviation): a car at 20 Hz averages white noise away
and would stay where it is.
"""

import math
from typing import Optional

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE
from av_td3_ros.learning_config import ExplorationConfig

# Of forward warm-up.
WARMUP_STEERING_STD = 0.4
WARMUP_ACCELERATION_STD = 0.5


class ActionNoise:
    """Standard normal noise, correlated in time: x' = c x + sqrt(1 - c^2) e."""

    def __init__(self, correlation: float) -> None:
        """:param correlation: of one step with the next, [0, 1); 0 is white noise, as in TD3."""
        self._correlation = correlation
        self._innovation = math.sqrt(1.0 - correlation**2)
        self._value: Optional[np.ndarray] = None

    def reset(self) -> None:
        """Begin an episode: the next sample does not depend on the last one."""
        self._value = None

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return (2,) float64 of mean 0 and standard deviation 1."""
        fresh = rng.standard_normal(ACTION_SIZE)
        if self._value is None:
            self._value = fresh
        else:
            self._value = self._correlation * self._value + self._innovation * fresh
        return self._value


class Exploration:
    """Turns a policy's action into one that explores."""

    def __init__(self, config: Optional[ExplorationConfig] = None) -> None:
        """:param config: warm-up and schedule; None for the defaults."""
        self._config = config or ExplorationConfig()
        self._noise = ActionNoise(self._config.correlation)

    def reset(self) -> None:
        """Begin an episode."""
        self._noise.reset()

    def std(self, env_step: int) -> float:
        """
        Return the standard deviation of the noise on the policy.

        :param env_step: environment steps taken so far; the schedule begins when warm-up ends.
        """
        config = self._config
        share = min(max((env_step - config.warmup_steps) / config.std_steps, 0.0), 1.0)
        return config.std_start + share * (config.std_end - config.std_start)

    def random_action(self, rng: np.random.Generator) -> np.ndarray:
        """
        Return a random action: uniform as in TD3, or correlated and biased forwards, because a car
        that stands still shows a learner nothing.

        :returns: (2,) float32, [steering, acceleration] in [-1, 1].
        """
        if self._config.warmup == 'uniform':
            return rng.uniform(-1.0, 1.0, ACTION_SIZE).astype(np.float32)
        mean = np.array([0.0, self._config.warmup_throttle])
        spread = np.array([WARMUP_STEERING_STD, WARMUP_ACCELERATION_STD])
        return _clip(mean + spread * self._noise.sample(rng))

    def noisy(self, action: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
        """
        Add noise to the policy's action.

        :param action: (2,) float32, in [-1, 1].
        :param std: standard deviation of the noise; 0 returns the action itself.
        :returns: (2,) float32, in [-1, 1].
        """
        return _clip(action + std * self._noise.sample(rng))


def _clip(action: np.ndarray) -> np.ndarray:
    return np.clip(action, -1.0, 1.0).astype(np.float32)
