"""The smaller value: clipped double Q (Fujimoto et al. 2018, eq. 10); with one critic, DDPG's."""

from torch import Tensor


def combine(values: Tensor, weight: float, last_gap: Tensor) -> Tensor:
    """Return min(Q1, Q2)."""
    return values.amin(dim=0)
