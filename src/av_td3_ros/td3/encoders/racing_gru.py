"""Race-driving CNN: stride 1 and max-pool, frame by frame, GRU (after Perot et al. 2017)."""

from typing import Tuple

from torch import nn

from av_td3_ros.td3.convolutions import output_size, OverFrames

FEATURE_SIZE = 48
CHANNELS = 32


def build(image_shape: Tuple[int, int, int], feature_size: int) -> nn.Module:
    """Return the network; the state of the GRU after the newest frame is the feature vector."""
    body = nn.Sequential(
        *_block(1, kernel=5),
        *_block(CHANNELS, kernel=3),
        *_block(CHANNELS, kernel=3),
        nn.Flatten()
    )
    size = output_size(body, (1, *image_shape[1:]))
    return OverFrames(body, nn.GRU(size, feature_size, batch_first=True))


def _block(channels: int, kernel: int) -> Tuple[nn.Module, ...]:
    # Dense filtering, then pooling: more exact about where things are than a stride.
    return (
        nn.Conv2d(channels, CHANNELS, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.MaxPool2d(3),
    )
