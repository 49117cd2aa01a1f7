"""NatureCNN with BatchNorm after each convolution (Ioffe and Szegedy 2015)."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, NATURE, with_linear

FEATURE_SIZE = 512


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network, up to and including its linear layer."""
    body = convolutions(image_shape[0], NATURE, norm=nn.BatchNorm2d)
    return with_linear(body, image_shape, feature_size)
