"""A batch as tensors, and who sees which part of its vector."""

import math
from typing import Dict, Mapping, NamedTuple

import torch
from torch import Tensor

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.task_config import unseen
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.replay import Batch


class TensorBatch(NamedTuple):
    """A :class:`Batch` on the device, without its index; images become normalised pixels."""

    image: Tensor
    vector: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_image: Tensor
    next_vector: Tensor
    weight: Tensor


class Sight:
    """
    What of a vector, (B, n + p), the policy and the critics see: n entries, and behind them the p
    ``privileged`` ones, which the policy does not.
    """

    def __init__(self, obs_spec: ObsSpec, config: LearnerConfig) -> None:
        """
        :param obs_spec: what the policy sees.
        :param config: whether critics or features learn from what it does not.
        """
        self.privileged = unseen(obs_spec) if config.sees_privileged else ()
        self._size = obs_spec.vector_size
        self._critics_see = config.privileged_critics
        self.critic_size = self._size + len(self.privileged) * self._critics_see

    def of_policy(self, vector: Tensor) -> Tensor:
        """Return (B, n) float32."""
        return vector[:, : self._size]

    def of_critics(self, vector: Tensor) -> Tensor:
        """Return (B, n + p) float32, or (B, n) where critics see no more than the policy."""
        return vector if self._critics_see else self.of_policy(vector)

    def hidden_from_policy(self, vector: Tensor) -> Tensor:
        """Return (B, p) float32."""
        return vector[:, self._size :]

    def check(self, batch: Batch) -> None:
        """:raises LearnerError: where a batch does not have the n + p entries."""
        expected = self._size + len(self.privileged)
        if batch.vector.shape[1] != expected:
            raise LearnerError(
                f'a batch must have {expected} entries of the vector, those of {self.privileged} '
                f'last, got {batch.vector.shape[1]}; make the replay with '
                'privileged=agent.privileged'
            )


def spread(name: str, values: Tensor) -> Dict[str, Tensor]:
    """Return mean, extremes and standard deviation of a batch of values, (B,) float32."""
    std, mean = torch.std_mean(values, correction=0)
    low, high = torch.aminmax(values)
    return {
        f'{name}_mean': mean,
        f'{name}_min': low,
        f'{name}_max': high,
        f'{name}_std': std,
    }


def report_not_finite(metrics: Mapping[str, float], update: int) -> None:
    """
    Name the first metric of an update that is not finite.

    :raises LearnerError: always; the step was not taken.
    """
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    name = wrong[0] if wrong else 'gradient'
    raise LearnerError(
        f'{name} must be finite, got {metrics.get(name, math.nan)} in update {update}; that step '
        'was not taken'
    )
