"""max - (last gap + |Q1 - Q2|) / 2: momentum-adjusted maximum (MPG), against under-estimation."""

from torch import Tensor


def combine(values: Tensor, weight: float, last_gap: Tensor) -> Tensor:
    """Return the larger value less half of the critics' difference now and in the last update."""
    return values.amax(dim=0) - 0.5 * (last_gap + (values[0] - values[1]).abs())
