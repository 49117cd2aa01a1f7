"""MR.Q's (Fujimoto et al. 2025): four 3x3 convolutions of 32, strides 2, 2, 2, 1, ELU."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, with_linear

FEATURE_SIZE = 512
LAYERS = ((32, 3, 2), (32, 3, 2), (32, 3, 2), (32, 3, 1))


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network; published with the feature head ``layer_norm_elu``."""
    body = convolutions(image_shape[0], LAYERS, activation=nn.ELU)
    return with_linear(body, image_shape, feature_size)
