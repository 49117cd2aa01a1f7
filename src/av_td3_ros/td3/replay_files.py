"""
The replay on disk, for buffers that live in memory: files of what is new, whole or not there.
"""

import io
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple
import zipfile
import zlib

import numpy as np

from av_td3_ros.td3.storage import replace_bytes

# Slots in one file: bounds the memory that saving and loading take beside the buffer (29 MB at
# 84x84).
SEGMENT_SLOTS = 4096
BROKEN_FILE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Segments:
    """The files of one buffer, named by the first index and the one after the last."""

    def __init__(self, columns: Dict[str, np.ndarray], frames: Any) -> None:
        """
        Take part in a buffer.

        :param columns: arrays by name, a row for each slot.
        :param frames: storage of its frames.
        """
        self._columns, self._frames = columns, frames
        self._saved = 0  # observations that are in files of `_folder`
        self._folder: Optional[Path] = None

    def write(self, folder: Path, oldest: int, count: int) -> None:
        """
        Write [oldest, count) as far as it is not there yet; what is there of other runs goes.

        :raises OSError: where it cannot be written; what was saved before stays readable.
        """
        if folder != self._folder:
            self._saved, self._folder = 0, folder
        for begin, _, path in _segments(folder):
            if begin >= self._saved:
                path.unlink()  # of a later state that this buffer has not come from
        begin = max(self._saved, oldest)
        while begin < count:
            end = min(begin + SEGMENT_SLOTS, count)
            slots = np.arange(begin, end) % len(self._columns['first'])
            columns = {name: array[slots] for name, array in self._columns.items()}
            packed = pack(**columns, **self._frames.pack(begin, end))
            replace_bytes(folder / f'{begin:012d}-{end:012d}.npz', packed)
            self._saved = begin = end

    def prune(self, folder: Path, oldest: int) -> None:
        """Remove files that hold only what is older."""
        for _, end, path in _segments(folder):
            if end <= oldest:
                path.unlink()

    def read(self, folder: Path, oldest: int, count: int) -> Tuple[int, int]:
        """
        Fill the ring with [oldest, count) as far as there are whole files, newest first.

        :returns: oldest and count of what was found, without a gap.
        """
        wanted = count  # everything from here on is there
        found = False
        for begin, end, path in reversed(_segments(folder)):
            if begin >= wanted:
                continue
            last = min(end, wanted)
            if last <= oldest or (found and last < wanted):
                break
            try:
                self._unpack(path, range(begin, end), max(begin, oldest), last)
            except BROKEN_FILE:
                if found:
                    break
                continue
            if not found:
                found, count = True, last
            wanted = max(begin, oldest)
        self._frames.finish(wanted, count)
        self._saved, self._folder = count, folder
        return wanted, count

    def _unpack(self, path: Path, segment: range, begin: int, end: int) -> None:
        """Copy [begin, end) of a file into the ring, checked before anything is written."""
        read = _arrays(path)
        for name, array in self._columns.items():
            shape = (len(segment), *array.shape[1:])
            if read[name].shape != shape or read[name].dtype != array.dtype:
                raise ValueError(f'{name} is {read[name].shape} {read[name].dtype}')
        self._frames.read(read, segment, begin, end)
        slots = np.arange(begin, end) % len(self._columns['first'])
        for name, array in self._columns.items():
            array[slots] = read[name][begin - segment.start : end - segment.start]


def pack(**arrays: np.ndarray) -> bytes:
    """Return arrays as the bytes of an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack(path: Path) -> Dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file; an empty mapping where it is not whole."""
    try:
        return _arrays(path)
    except BROKEN_FILE:
        return {}


def _arrays(path: Path) -> Dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _segments(folder: Path) -> List[Tuple[int, int, Path]]:
    """Return (begin, end, path) of every file of frames, oldest first."""
    return sorted(_parse(folder))


def _parse(folder: Path) -> Iterator[Tuple[int, int, Path]]:
    for path in folder.glob('*.npz'):
        begin, _, end = path.stem.partition('-')
        if begin.isdigit() and end.isdigit():
            yield int(begin), int(end), path
