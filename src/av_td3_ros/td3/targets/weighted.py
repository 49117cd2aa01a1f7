"""weight * min + (1 - weight) * max: less pessimistic (BCQ, Fujimoto et al. 2019, eq. 13)."""

from torch import Tensor


def combine(values: Tensor, weight: float, last_gap: Tensor) -> Tensor:
    """Return the mixture of the smaller and the larger value."""
    return weight * values.amin(dim=0) + (1.0 - weight) * values.amax(dim=0)
