"""
What acts: the policy, with exploration where it is wanted. The policy node and the in-process loop
share it.
"""

from typing import Optional, Tuple

import numpy as np
import torch

from av_td3_ros.learning_config import ExplorationConfig
from av_td3_ros.td3.exploration import Exploration
from av_td3_ros.td3.networks import Policy


class Behaviour:
    """Chooses actions; what to explore with is told from outside."""

    def __init__(self, seed: int) -> None:
        """:param seed: of the exploration noise."""
        self._seed = seed
        self.go_on(0)
        self._policy: Optional[Policy] = None
        self._std = 0.0
        self._random = False
        self._config = ExplorationConfig()
        self._exploration = Exploration(self._config)

    def go_on(self, env_step: int) -> None:
        """Explore from a step of the run on with noise that it has not had before."""
        self._rng = np.random.default_rng((self._seed, env_step))

    @property
    def ready(self) -> bool:
        """Whether there is a policy to act with."""
        return self._policy is not None

    def adopt(self, policy: Policy) -> None:
        """Act with this policy from the next observation on."""
        self._policy = policy

    def explore(self, std: float, random: bool, config: ExplorationConfig) -> None:
        """
        Set what exploring means from now on.

        :param std: standard deviation of the noise on the policy's action.
        :param random: random actions instead of the policy's.
        :param config: what the noise and the random actions are like.
        """
        self._std, self._random = std, random
        if config != self._config:
            self._config, self._exploration = config, Exploration(config)

    def begin_episode(self) -> None:
        """Forget the noise of the last episode."""
        self._exploration.reset()

    def act(self, image: np.ndarray, vector: np.ndarray, explore: bool) -> Tuple[float, float]:
        """
        Choose an action.

        :param image: (stack, height, width) uint8.
        :param vector: (n,) float32.
        :param explore: whether to explore.
        :returns: (steering, acceleration), each in [-1, 1].
        """
        if explore and self._random:
            action = self._exploration.random_action(self._rng)
        else:
            # The arrays may be read-only views of a message; torch copies them.
            device = next(self._policy.parameters()).device
            action = self._policy.act(
                torch.tensor(image, device=device).unsqueeze(0),
                torch.tensor(vector, device=device).unsqueeze(0),
            )
            action = action.squeeze(0).cpu().numpy()
            if explore and self._std > 0.0:
                action = self._exploration.noisy(action, self._std, self._rng)
        return float(action[0]), float(action[1])
