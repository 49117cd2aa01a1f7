"""
Image encoders: one module each, found by its file name.

A module says ``FEATURE_SIZE``, the number of features that it was published with, and
``build(image_shape, feature_size)``, which returns a network from (B, stack, height, width)
normalised pixels to (B, feature_size), before any feature head. Its first line is its row in the
docs.
"""

from importlib import import_module
from typing import Tuple

from torch import nn


def published_size(name: str) -> int:
    """Return the features that an encoder was published with."""
    return import_module(f'{__name__}.{name}').FEATURE_SIZE


def build(name: str, image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """
    Make an encoder.

    :param name: of its module.
    :param image_shape: (stack, height, width), height and width at least 36.
    :param feature_size: features that come out.
    """
    return import_module(f'{__name__}.{name}').build(image_shape, feature_size)
