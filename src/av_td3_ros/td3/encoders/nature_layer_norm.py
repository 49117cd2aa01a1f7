"""NatureCNN with LayerNorm over channels and pixels after each convolution (Ba et al. 2016)."""

from functools import partial
from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, NATURE, with_linear

FEATURE_SIZE = 512


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network, up to and including its linear layer."""
    # One group: mean and deviation of the whole image, gain and bias per channel.
    body = convolutions(image_shape[0], NATURE, norm=partial(nn.GroupNorm, 1))
    return with_linear(body, image_shape, feature_size)
