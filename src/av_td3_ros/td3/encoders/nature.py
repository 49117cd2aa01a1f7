"""NatureCNN (Mnih et al. 2015): convolutions 32 8x8/4, 64 4x4/2 and 64 3x3/1 with ReLU."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, NATURE, with_linear

FEATURE_SIZE = 512


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network, up to and including its linear layer."""
    return with_linear(convolutions(image_shape[0], NATURE), image_shape, feature_size)
