"""What encoders are made of: convolutions, and a memory over the frames of a stack."""

from typing import Callable, Sequence, Tuple

import torch
from torch import nn, Tensor

# Output channels, kernel, stride.
Layer = Tuple[int, int, int]
NATURE: Tuple[Layer, ...] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def convolutions(
    channels: int,
    layers: Sequence[Layer],
    activation: Callable[..., nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] = nn.Identity,
) -> nn.Sequential:
    """
    Return unpadded convolutions, each followed by norm and activation, and a flattening.

    :param channels: of the input.
    :param norm: made for the channels of each convolution.
    """
    parts = []
    for out, kernel, stride in layers:
        made = norm(out)
        parts += [nn.Conv2d(channels, out, kernel, stride)]
        parts += [] if isinstance(made, nn.Identity) else [made]
        parts += [activation(inplace=True)]
        channels = out
    return nn.Sequential(*parts, nn.Flatten())


def with_linear(
    body: nn.Module, image_shape: Tuple[int, int, int], feature_size: int
) -> nn.Sequential:
    """Append a linear layer from whatever a body makes of one image of this shape."""
    return nn.Sequential(body, nn.Linear(output_size(body, image_shape), feature_size))


def output_size(body: nn.Module, image_shape: Tuple[int, int, int]) -> int:
    """Return the features that a body makes of one image, by a dry run that changes nothing."""
    was_training = body.training
    body.eval()  # normalisations over a batch must not learn from it
    with torch.no_grad():
        size = body(torch.zeros(1, *image_shape)).shape[1]
    body.train(was_training)
    return size


class OverFrames(nn.Module):
    """Each frame of the stack through the same body, oldest first, then through a memory."""

    def __init__(self, body: nn.Module, memory: nn.Module) -> None:
        """
        Join both.

        :param body: (B, 1, height, width) to (B, k).
        :param memory: a recurrent network, ``batch_first``; its last output is the feature vector.
        """
        super().__init__()
        self.body = body
        self.memory = memory

    def forward(self, pixels: Tensor) -> Tensor:
        """:param pixels: (B, stack, height, width) floating point."""
        batch, stack, height, width = pixels.shape
        features = self.body(pixels.reshape(batch * stack, 1, height, width))
        # Recurrent networks add up over time: in full precision, whatever the convolutions use.
        with torch.autocast(pixels.device.type, enabled=False):
            outputs, _ = self.memory(features.float().view(batch, stack, -1))
        return outputs[:, -1]
