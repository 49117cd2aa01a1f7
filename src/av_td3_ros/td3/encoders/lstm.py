"""NatureCNN frame by frame, then an LSTM (Hochreiter and Schmidhuber 1997) over the stack."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import convolutions, NATURE, output_size, OverFrames

FEATURE_SIZE = 256


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network; the output of the LSTM at the newest frame is the feature vector."""
    body = convolutions(1, NATURE)
    size = output_size(body, (1, *image_shape[1:]))
    return OverFrames(body, nn.LSTM(size, feature_size, batch_first=True))
