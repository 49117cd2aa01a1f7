"""Storages of frames alone: the compressed arena, a device's tensor, memory that is given back."""

from hypothesis import given, settings, strategies
import numpy as np
import pytest
import torch

from av_td3_ros.td3.frames import CompressedFrames, DeviceFrames, GROUP, MemoryFrames

SHAPE = (6, 5)


def noise(index):
    return np.random.default_rng(index).integers(0, 256, SHAPE, np.uint8)


def plain(index):
    return np.full(SHAPE, index % 251, np.uint8)


def storage(kind, capacity):
    if kind is DeviceFrames:
        return DeviceFrames(capacity, SHAPE, 'cpu')
    return kind(capacity, SHAPE)


KINDS = pytest.mark.parametrize('kind', [MemoryFrames, CompressedFrames, DeviceFrames])


@KINDS
@settings(max_examples=30)
@given(
    capacity=strategies.integers(1, 60),
    count=strategies.integers(1, 200),
    picture=strategies.sampled_from([noise, plain]),
)
def test_gives_back_all_that_is_held(kind, capacity, count, picture):
    frames = storage(kind, capacity)
    for index in range(count):
        frames.put(index, picture(index), max(0, index + 1 - capacity))
    held = np.arange(max(0, count - capacity), count)
    wanted = np.array([picture(index) for index in held])
    np.testing.assert_array_equal(np.asarray(frames.get(held)), wanted)
    mixed = np.random.default_rng(0).choice(held, (2, 3, 4))
    found = frames.get(mixed)
    assert found.shape == (2, 3, 4, *SHAPE)
    np.testing.assert_array_equal(np.asarray(found), wanted[mixed - held[0]])


@pytest.mark.parametrize('kind', [MemoryFrames, CompressedFrames])
def test_fills_the_array_that_it_is_given(kind):
    frames = storage(kind, 20)
    for index in range(20):
        frames.put(index, noise(index), 0)
    out = np.zeros((2, 3, *SHAPE), np.uint8)
    found = frames.get(np.arange(6).reshape(2, 3), out)
    assert np.shares_memory(found, out)
    np.testing.assert_array_equal(out[1, 2], noise(5))


@KINDS
@settings(max_examples=30)
@given(cuts=strategies.lists(strategies.integers(1, 20), min_size=1, max_size=8))
def test_goes_on_from_files_that_end_anywhere(kind, cuts):
    """Files may meet within a compressed group, and the last one may end in one."""
    frames, files, index = storage(kind, 200), [], 0
    for length in cuts:
        begin = index
        for index in range(begin, begin + length):
            frames.put(index, noise(index), 0)
        index += 1
        files.append((range(begin, index), frames.pack(begin, index)))
    copy = storage(kind, 200)
    oldest = min(3, index - 1)
    for segment, file in reversed(files):
        if segment.stop > oldest:
            copy.read(file, segment, max(segment.start, oldest), segment.stop)
    copy.finish(oldest, index)
    for more in range(index, index + 2 * GROUP):
        copy.put(more, noise(more), oldest)
    held = np.arange(oldest, index + 2 * GROUP)
    wanted = np.array([noise(number) for number in held])
    np.testing.assert_array_equal(np.asarray(copy.get(held)), wanted)


@KINDS
def test_refuses_files_of_other_frames(kind):
    frames = storage(kind, 20)
    for index in range(16):
        frames.put(index, noise(index), 0)
    file = frames.pack(0, 16)
    other = DeviceFrames(20, (4, 4), 'cpu') if kind is DeviceFrames else kind(20, (4, 4))
    with pytest.raises(ValueError, match='must be'):
        other.read(file, range(0, 16), 0, 16)
    with pytest.raises(ValueError, match='must be|make up'):
        frames.read(file, range(0, 40), 0, 40)


def test_chunks_are_used_again_and_memory_stays_bounded():
    shape = (16, 16)
    frames = CompressedFrames(400, shape)
    rng = np.random.default_rng(0)
    most = 0
    for index in range(10_000):
        # Noise and plain frames by turns: what a group takes varies.
        frame = (
            rng.integers(0, 256, shape, np.uint8) if index // 300 % 2 else np.zeros(shape, 'u1')
        )
        frames.put(index, frame, max(0, index + 1 - 400))
        most = max(most, sum(len(chunk) for chunk in frames._chunks.values()))
    assert most <= 400 * 16 * 16 + 4 * frames._chunk


def test_compressed_reads_without_a_copy_of_the_open_group_changing():
    frames = CompressedFrames(100, SHAPE)
    for index in range(3):
        frames.put(index, noise(index), 0)
    first = frames.get(np.arange(3))
    for index in range(3, 3 * GROUP):
        frames.put(index, noise(index), 0)
    np.testing.assert_array_equal(first, frames.get(np.arange(3)))


def test_device_frames_take_read_only_frames_and_return_tensors():
    frames = DeviceFrames(4, SHAPE, 'cpu')
    frame = noise(0)
    frame.flags.writeable = False
    with np.errstate(all='raise'):
        frames.put(0, frame, 0)
    found = frames.get(np.array([[0]]))
    assert isinstance(found, torch.Tensor) and found.dtype == torch.uint8
    np.testing.assert_array_equal(found[0, 0].numpy(), frame)


def test_frames_stay_on_the_host_where_there_is_no_gpu_or_it_is_too_small(monkeypatch):
    assert not DeviceFrames.fits(10, SHAPE, 'cpu')
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (1000, 2000))
    assert DeviceFrames.fits(16, SHAPE, 'cuda')
    assert not DeviceFrames.fits(17, SHAPE, 'cuda')
