"""DrQ-v2's (Yarats et al. 2021): four 3x3 convolutions of 32, strides 2, 1, 1, 1, ReLU."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, with_linear

FEATURE_SIZE = 50
LAYERS = ((32, 3, 2), (32, 3, 1), (32, 3, 1), (32, 3, 1))


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network; its linear layer stands in for the trunks of actor and critic there."""
    return with_linear(convolutions(image_shape[0], LAYERS), image_shape, feature_size)
