"""
``av-td3 bench replay --codecs``: ways to compress frames, from which the replay's was chosen.

Each is tried on single frames, on groups of consecutive frames, and on groups of differences to
the frame before; on the frames as they are and with noise added, as real cameras have. Times are
of the processor: they hold on a busy machine, too.
"""

import csv
import sys
import time
from typing import Any, Callable, Iterator, List, NamedTuple, Tuple
import zlib

import numpy as np
import zstandard

COLUMNS = ('frames', 'codec', 'group', 'difference', 'bytes', 'compress_us', 'read_us')
GROUPS = (1, 4, 8, 16)
MOST = 1600  # frames; enough for the mean
NOISE = 2.0  # standard deviation, grey levels
# Decoded to sample one transition: a stack of 4 and the one three steps later.
WINDOW = 7


class Codec(NamedTuple):
    """A way to compress bytes and back."""

    name: str
    compress: Callable[[np.ndarray], bytes]
    decompress: Callable[[bytes, int], Any]


def run(frames: np.ndarray) -> None:
    """
    Print the comparison as CSV: bytes and microseconds per frame.

    ``read_us`` is the time to decode the groups that a transition needs, per transition.

    :param frames: (n, height, width) uint8, consecutive.
    """
    writer = csv.writer(sys.stdout, lineterminator='\n')
    writer.writerow(COLUMNS)
    half = len(frames) // 2
    learned, tried = frames[:half], frames[half : half + MOST]
    noise = np.random.default_rng(0).normal(0.0, NOISE, tried.shape)
    noisy = np.clip(np.round(tried + noise), 0, 255).astype(np.uint8)
    for name, pictures in (('simulated', tried), ('with noise', noisy)):
        for group in GROUPS:
            for codec in codecs(learned if group == 1 else learned[:0]):
                for difference in (False, True)[: 1 + (group > 1)]:
                    row = try_codec(codec, pictures, group, difference)
                    writer.writerow((name, codec.name, group, int(difference), *row))
                    sys.stdout.flush()


def codecs(learned: np.ndarray) -> Iterator[Codec]:
    """
    Yield the codecs that are installed.

    :param learned: frames to train a dictionary with; empty for none.
    """
    yield from _zstandard(learned)
    for level in (1, 6):
        yield Codec(
            f'zlib {level}',
            lambda data, level=level: zlib.compress(data, level),
            lambda data, size: zlib.decompress(data, bufsize=size),
        )
    try:
        from lz4 import block

        for name, options in (
            ('lz4', {}),
            ('lz4 high 9', {'mode': 'high_compression', 'compression': 9}),
        ):
            yield Codec(
                name,
                lambda data, options=options: block.compress(data, store_size=False, **options),
                lambda data, size: block.decompress(data, uncompressed_size=size),
            )
    except ImportError as error:
        print(f'lz4 is left out: {error}', file=sys.stderr)
    try:
        import blosc2

        for codec in (blosc2.Codec.LZ4, blosc2.Codec.ZSTD):
            for filters in (blosc2.Filter.NOFILTER, blosc2.Filter.BITSHUFFLE):
                settings = {'codec': codec, 'filters': [filters], 'clevel': 5, 'nthreads': 1}
                yield Codec(
                    f'blosc2 {codec.name} {filters.name}'.lower(),
                    lambda data, settings=settings: blosc2.compress2(data, typesize=1, **settings),
                    lambda data, size: blosc2.decompress2(data, nthreads=1),
                )
    except ImportError as error:
        print(f'blosc2 is left out: {error}', file=sys.stderr)


def _zstandard(learned: np.ndarray) -> Iterator[Codec]:
    for level in (-1, 1, 3, 6):
        yield Codec(
            f'zstandard {level}',
            zstandard.ZstdCompressor(level=level).compress,
            _decompress(zstandard.ZstdDecompressor()),
        )
    if len(learned) < 100:
        return
    samples: List[bytes] = [frame.tobytes() for frame in learned]
    for size in (16 << 10, 112 << 10):
        trained = zstandard.train_dictionary(size, samples)
        for level in (1, 3):
            yield Codec(
                f'zstandard {level}, dictionary of {size >> 10} kB',
                zstandard.ZstdCompressor(level=level, dict_data=trained).compress,
                _decompress(zstandard.ZstdDecompressor(dict_data=trained)),
            )


def _decompress(decompressor: zstandard.ZstdDecompressor) -> Callable[[bytes, int], bytes]:
    return lambda data, size: decompressor.decompress(data)


def try_codec(
    codec: Codec, frames: np.ndarray, group: int, difference: bool
) -> Tuple[int, float, float]:
    """
    Compress frames and decompress them again.

    :returns: bytes per frame, microseconds per frame to compress, microseconds per transition to
        read.
    :raises ValueError: where they come back different.
    """
    count = len(frames) // group
    groups = frames[: count * group].reshape(count, group, *frames.shape[1:])
    begun = time.thread_time()
    packed = [codec.compress(_differences(part) if difference else part) for part in groups]
    compressing = time.thread_time() - begun
    size = groups[0].nbytes
    begun = time.thread_time()
    for data in packed:
        found = np.frombuffer(codec.decompress(data, size), np.uint8).reshape(groups[0].shape)
        if difference:
            found = np.add.accumulate(found, axis=0, dtype=np.uint8)
    reading = time.thread_time() - begun
    if not np.array_equal(found, groups[-1]):
        raise ValueError(f'{codec.name} must return what it was given, got something else')
    decoded = 1.0 + (WINDOW - 1) / group  # groups that a window touches, on average
    return (
        round(sum(map(len, packed)) / (count * group)),
        round(compressing / (count * group) * 1e6, 1),
        round(reading / count * decoded * 1e6, 1),
    )


def _differences(group: np.ndarray) -> np.ndarray:
    return np.concatenate([group[:1], group[1:] - group[:-1]])
