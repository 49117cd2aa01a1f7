"""Random shift against a naive one in NumPy."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from av_td3_ros.td3.augment import by_index, random_shift, shift


def naive_shift(image, down, right):
    """Pad by the border and cut, image by image."""
    pad = 8
    padded = np.pad(image, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode='edge')
    _, _, height, width = image.shape
    return np.stack(
        [
            padded[i, :, pad + d : pad + d + height, pad + r : pad + r + width]
            for i, (d, r) in enumerate(zip(down, right))
        ]
    )


def images(batch=16, stack=3, height=11, width=7):
    return torch.randint(0, 256, (batch, stack, height, width), dtype=torch.uint8)


@pytest.mark.parametrize('way', [shift, by_index])
def test_equals_padding_and_cutting(way):
    image = images()
    down, right = torch.randint(-8, 9, (16,)), torch.randint(-8, 9, (16,))
    got = way(image, down, right)
    assert got.dtype == torch.uint8
    expected = naive_shift(image.numpy(), down.tolist(), right.tolist())
    np.testing.assert_array_equal(got.numpy(), expected)


def test_all_shifts_within_the_pad_occur_and_none_beyond():
    # Pixel value = its row * 16 + its column, so the centre pixel tells the shift.
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(9), indexing='ij')
    image = (rows * 16 + columns).to(torch.uint8).expand(2000, 2, 9, 9).contiguous()
    centre = random_shift(image, 2, torch.Generator().manual_seed(0))[:, :, 4, 4].int()
    assert torch.equal(centre[:, 0], centre[:, 1]), 'frames of a stack move together'
    seen = {(value // 16 - 4, value % 16 - 4) for value in centre[:, 0].tolist()}
    assert seen == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}


def test_same_seed_same_shift_and_global_seed_has_no_part():
    image = images()
    torch.manual_seed(1)
    one = random_shift(image, 4, torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    two = random_shift(image, 4, torch.Generator().manual_seed(5))
    three = random_shift(image, 4, torch.Generator().manual_seed(6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_pad_zero_changes_nothing():
    image = images()
    assert torch.equal(random_shift(image, 0, torch.Generator()), image)


def test_by_index_reads_nothing_back():
    with FakeTensorMode(allow_non_fake_inputs=True):
        by_index(images(), torch.ones(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64))
