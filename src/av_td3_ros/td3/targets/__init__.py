"""
How the target critics make one value: one module each, found by its file name.

A module says ``combine(values, weight, last_gap)``: from the values of the target critics,
(critics, B) float32, to (B,). ``weight`` is ``target.weight``; ``last_gap`` is the mean
difference of both critics in the update before, () float32. Its first line is its row in the docs.
"""

from importlib import import_module
from typing import Callable

from torch import Tensor


def combiner(name: str) -> Callable[[Tensor, float, Tensor], Tensor]:
    """Return the function ``combine`` of a target."""
    return import_module(f'{__name__}.{name}').combine
