"""
Random shift: keeps a critic-trained encoder from overfitting to its own targets.

DrQ (Kostrikov et al. 2020), DrQ-v2; why it matters: A-LIX (Cetin et al. 2022). Whole pixels on
uint8: a gather of rows and one of columns, five to ten times faster than ``grid_sample``.
"""

import torch
from torch import Tensor


def random_shift(image: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """
    Shift every stack by its own random offset; its frames move together.

    :param image: (B, stack, height, width) uint8.
    :param pad: largest shift, px; 0 returns the images as they are.
    :param generator: source of randomness, on the device of the images.
    :returns: the same shape and dtype; what comes in from outside repeats the border.
    """
    if pad == 0:
        return image
    down, right = torch.randint(
        -pad, pad + 1, (2, len(image)), generator=generator, device=image.device
    )
    return shift(image, down, right)


def shift(image: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """
    Read every stack at given offsets.

    :param image: (B, stack, height, width) uint8.
    :param down: (B,) int64, px; output row i is input row i + down, clamped to the border.
    :param right: (B,) int64, px; likewise for columns.
    """
    batch, stack, height, width = image.shape
    steps = torch.arange(max(height, width), device=image.device)
    rows = (steps[:height] + down[:, None]).clamp_(0, height - 1)
    columns = (steps[:width] + right[:, None]).clamp_(0, width - 1)
    first_rows = torch.arange(batch * stack, device=image.device).view(batch, stack, 1) * height
    taken = image.reshape(-1, width).index_select(0, (first_rows + rows[:, None]).flatten())
    columns = columns[:, None, None, :].expand(batch, stack, height, width)
    return taken.view(image.shape).gather(3, columns)
