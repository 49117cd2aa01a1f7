"""
The mean of the newest policies: what a run is judged and driven by.

The policy of TD3 circles around a good one without settling on it; the mean of its weights over a
stretch of the training lies nearer (Polyak and Juditsky 1992). Polynomial-decay averaging (Shamir
and Zhang, ICML 2013, section 4.1) makes that stretch a share of all updates so far, so that the
same setting fits a short and a long run. Training itself goes on with the newest policy.
"""

import torch
from torch import nn

from av_td3_ros.td3.networks import target_of


class Average:
    """A copy of a module that follows the mean of its newest states."""

    def __init__(self, module: nn.Module, share: float) -> None:
        """
        :param module: what is averaged; ``self.module`` begins as a copy of it.
        :param share: of all states so far that the mean looks back over, about; (0, 1], 1 is the
            plain mean.
        """
        self._online = module
        self._share = share
        self.module = target_of(module)

    @torch.no_grad()
    def add(self, number: int) -> None:
        """
        Take in the state of the module.

        :param number: of this state, from 1 on; the first is taken as it is.
        """
        weight = 1.0 / (self._share * (number - 1) + 1.0)
        pairs = zip(self.module.state_dict().values(), self._online.state_dict().values())
        for mine, its in pairs:  # averages of a BatchNorm belong to the weights
            if mine.is_floating_point():
                mine.lerp_(its, weight)
            else:
                mine.copy_(its)
