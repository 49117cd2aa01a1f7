"""
Where the frames of the replay live: memory, compressed memory, the memory of a GPU.

Every storage is a ring of single frames, named by an index that only grows, with the same methods.
``put`` is called by one thread at a time; ``get`` may run in others beside it: the replay sees to
it that nobody reads a frame that is being overwritten.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import torch
import zstandard

# Consecutive frames that are compressed together: they share most of what they show. Codec, level
# and group were chosen by measurement, docs/results/replay/codecs.csv.
GROUP = 8
LEVEL = 1
LARGEST_CHUNK = 1 << 24
# Of the free memory of a GPU: the rest is for the learner.
DEVICE_SHARE = 0.5


class MemoryFrames:
    """Frames as they are, in an array of this process or of a mapped file."""

    def __init__(
        self, capacity: int, shape: Tuple[int, int], array: Optional[np.ndarray] = None
    ) -> None:
        """
        Reserve memory; the system provides it as frames come in.

        :param capacity: frames kept.
        :param shape: (height, width).
        :param array: (capacity, height, width) uint8 to use instead of memory of its own.
        """
        self._array = np.empty((capacity, *shape), np.uint8) if array is None else array

    def put(self, index: int, frame: np.ndarray, oldest: int) -> None:
        """
        Store a frame.

        :param index: one more than that of the frame before.
        :param frame: (height, width) uint8.
        :param oldest: index of the oldest frame that is still wanted.
        """
        self._array[index % len(self._array)] = frame

    def get(self, indices: np.ndarray, out: Optional[np.ndarray] = None) -> Any:
        """
        Return frames by index.

        :param indices: (...) int64, of frames that are held.
        :param out: (..., height, width) uint8 to fill; None for a new array.
        """
        # 'clip' as the indices are right already: with 'raise' NumPy fills a copy of ``out``.
        return np.take(self._array, indices % len(self._array), axis=0, out=out, mode='clip')

    def pack(self, begin: int, end: int) -> Dict[str, np.ndarray]:
        """Return [begin, end) as arrays for a file."""
        return {'frame': self.get(np.arange(begin, end))}

    def read(self, file: Mapping[str, np.ndarray], segment: range, begin: int, end: int) -> None:
        """
        Take [begin, end) from a file; :meth:`finish` follows the last one.

        :param file: what :meth:`pack` returned for ``segment``.
        :raises ValueError: where it is something else; nothing is taken then.
        """
        frames = file['frame']
        wanted = (len(segment), *self._array.shape[1:])
        if frames.shape != wanted or frames.dtype != np.uint8:
            raise ValueError(f'frame must be {wanted} uint8, got {frames.shape} {frames.dtype}')
        slots = np.arange(begin, end) % len(self._array)
        self._array[slots] = frames[begin - segment.start : end - segment.start]

    def finish(self, oldest: int, count: int) -> None:
        """Go on after [oldest, count) was read from files; nothing else is held."""

    def adopt(self, images: np.ndarray) -> Any:
        """Return images as if :meth:`get` had returned them."""
        return images


class _Piece(NamedTuple):
    """Compressed groups as a file holds them."""

    first: int
    data: np.ndarray
    ends: np.ndarray


class CompressedFrames:
    """
    Groups of consecutive frames, each compressed as one, end to end in large chunks of memory.

    The newest, unfinished group stays as it is. A chunk whose frames are all forgotten is used
    again, so that memory follows what the frames need.
    """

    def __init__(self, capacity: int, shape: Tuple[int, int]) -> None:
        """Hold nothing yet; parameters as in :class:`MemoryFrames`."""
        self._shape = shape
        self._size = GROUP * shape[0] * shape[1]
        # A group at each end of the ring may be held in part.
        slots = capacity // GROUP + 3
        self._position = np.zeros(slots, np.int64)
        self._length = np.zeros(slots, np.int64)
        # Frames of noise grow a little by compression.
        least = 2 * self._size + 4096
        self._chunk = max(least, min(LARGEST_CHUNK, capacity * self._size // GROUP // 16))
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._pieces: List[_Piece] = []
        self._clear()

    def _clear(self) -> None:
        self._chunks: Dict[int, np.ndarray] = {}
        self._last: Dict[int, int] = {}  # number of the last group in each chunk
        self._spare: List[np.ndarray] = []
        self._head = 0  # bytes since the beginning: chunk and place in it
        self._open: Tuple[int, np.ndarray] = (-1, np.zeros((GROUP, *self._shape), np.uint8))

    def put(self, index: int, frame: np.ndarray, oldest: int) -> None:
        """Store a frame, as :meth:`MemoryFrames.put`."""
        group, place = divmod(index, GROUP)
        number, frames = self._open
        if group != number:
            # A new array: a reader may still hold the one before.
            frames = np.zeros_like(frames)
            self._open = (group, frames)
        frames[place] = frame
        if place == GROUP - 1:
            self._append(group, self._compressor.compress(frames), oldest)

    def get(self, indices: np.ndarray, out: Optional[np.ndarray] = None) -> Any:
        """Return frames by index, as :meth:`MemoryFrames.get`; each group is decoded once."""
        if out is None:
            out = np.empty((*indices.shape, *self._shape), np.uint8)
        rows = out.reshape(-1, *self._shape)
        groups, places = np.divmod(indices.ravel(), GROUP)
        order = np.argsort(groups, kind='stable')
        groups, places = groups[order], places[order]
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        ends = np.r_[starts[1:], len(groups)]
        decompressor = zstandard.ZstdDecompressor()  # not to be shared between threads
        number, frames = self._open  # one look: it changes as a whole
        for start, end in zip(starts.tolist(), ends.tolist()):
            group = int(groups[start])
            if group != number:
                data = decompressor.decompress(self._compressed(group))
                decoded = np.frombuffer(data, np.uint8).reshape(GROUP, *self._shape)
            else:
                decoded = frames
            rows[order[start:end]] = decoded[places[start:end]]
        return out

    def pack(self, begin: int, end: int) -> Dict[str, np.ndarray]:
        """Return [begin, end) as arrays for a file: whole groups, as they are in memory."""
        packed = [self._compressed(group) for group in range(begin // GROUP, -(-end // GROUP))]
        return {
            'group_bytes': np.concatenate([np.frombuffer(data, np.uint8) for data in packed]),
            'group_length': np.array([len(data) for data in packed], np.int64),
        }

    def read(self, file: Mapping[str, np.ndarray], segment: range, begin: int, end: int) -> None:
        """Take [begin, end) from a file, as :meth:`MemoryFrames.read`, without decoding it."""
        data, lengths = file['group_bytes'], file['group_length']
        first = segment.start // GROUP
        if data.dtype != np.uint8 or lengths.dtype != np.int64:
            raise ValueError(f'groups must be uint8 and int64, got {data.dtype} {lengths.dtype}')
        if len(lengths) != -(-segment.stop // GROUP) - first or lengths.sum() != len(data):
            raise ValueError(f'{len(lengths)} groups do not make up {segment}')
        piece = _Piece(first, data, np.cumsum(lengths))
        for number in range(first, first + len(lengths)):
            if zstandard.frame_content_size(_cut(piece, number)) != self._size:
                raise ValueError(f'group {number} must be of {self._size} bytes')
        self._pieces.append(piece)

    def finish(self, oldest: int, count: int) -> None:
        """Go on after [oldest, count) was read from files, as :meth:`MemoryFrames.finish`."""
        self._clear()
        # Files that met within a group both have it: the newer one has more of it.
        pieces = sorted(self._pieces, key=lambda piece: piece.first, reverse=True)
        self._pieces = []
        number = oldest // GROUP
        while pieces and number * GROUP < count:
            piece = pieces.pop()
            past = pieces[-1].first if pieces else piece.first + len(piece.ends)
            while number < past and number * GROUP < count:
                data = _cut(piece, number)
                if (number + 1) * GROUP > count:  # the unfinished one
                    decoded = zstandard.ZstdDecompressor().decompress(data)
                    frames = np.frombuffer(decoded, np.uint8).reshape(GROUP, *self._shape)
                    self._open = (number, frames.copy())
                else:
                    self._append(number, data, oldest)
                number += 1

    def adopt(self, images: np.ndarray) -> Any:
        """Return images as if :meth:`get` had returned them."""
        return images

    def _compressed(self, group: int) -> Any:
        number, frames = self._open
        if group == number:
            return self._compressor.compress(frames)
        slot = group % len(self._position)
        chunk, place = divmod(int(self._position[slot]), self._chunk)
        return self._chunks[chunk][place : place + int(self._length[slot])]

    def _append(self, group: int, data: Any, oldest: int) -> None:
        used = self._head % self._chunk
        if not self._chunks or used == 0 or used + len(data) > self._chunk:
            self._head = -(-self._head // self._chunk) * self._chunk
            self._reuse(oldest)
            fresh = self._spare.pop() if self._spare else np.empty(self._chunk, np.uint8)
            self._chunks[self._head // self._chunk] = fresh
        chunk, place = divmod(self._head, self._chunk)
        self._chunks[chunk][place : place + len(data)] = np.frombuffer(data, np.uint8)
        slot = group % len(self._position)
        self._position[slot], self._length[slot] = self._head, len(data)
        self._last[chunk] = group
        self._head += len(data)

    def _reuse(self, oldest: int) -> None:
        """Take back the chunks of which no frame is wanted any more."""
        for chunk in list(self._chunks):
            if (self._last[chunk] + 1) * GROUP > oldest:
                return
            del self._last[chunk]
            self._spare = [self._chunks.pop(chunk)]  # one is enough; the system gets the others


def _cut(piece: _Piece, number: int) -> np.ndarray:
    place = number - piece.first
    begin = int(piece.ends[place - 1]) if place else 0
    return piece.data[begin : int(piece.ends[place])]


class DeviceFrames:
    """Frames as they are, in a tensor on a device, where stacks are put together, too."""

    def __init__(self, capacity: int, shape: Tuple[int, int], device: str) -> None:
        """
        Reserve memory on the device.

        :param device: torch device; others as in :class:`MemoryFrames`.
        """
        self._ring = torch.empty((capacity, *shape), dtype=torch.uint8, device=device)
        self._staged = np.empty(shape, np.uint8)  # frames may come read-only, which torch refuses

    @staticmethod
    def fits(capacity: int, shape: Tuple[int, int], device: str) -> bool:
        """Return whether as many frames leave the learner its share of the device."""
        if torch.device(device).type != 'cuda':
            return False
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return capacity * shape[0] * shape[1] <= DEVICE_SHARE * free

    def put(self, index: int, frame: np.ndarray, oldest: int) -> None:
        """Store a frame, as :meth:`MemoryFrames.put`."""
        self._staged[...] = frame
        self._ring[index % len(self._ring)].copy_(torch.from_numpy(self._staged))

    def get(self, indices: np.ndarray, out: Optional[np.ndarray] = None) -> Any:
        """
        Return frames by index, on the device.

        :param indices: (...) int64, of frames that are held.
        :param out: not used: the device keeps its own memory ready.
        :returns: (..., height, width) uint8 tensor.
        """
        return self._ring[torch.from_numpy(indices % len(self._ring)).to(self._ring.device)]

    def pack(self, begin: int, end: int) -> Dict[str, np.ndarray]:
        """Return [begin, end) as arrays for a file, the same as in memory."""
        return {'frame': self.get(np.arange(begin, end)).cpu().numpy()}

    def read(self, file: Mapping[str, np.ndarray], segment: range, begin: int, end: int) -> None:
        """Take [begin, end) from a file, as :meth:`MemoryFrames.read`."""
        frames = file['frame']
        wanted = (len(segment), *self._ring.shape[1:])
        if frames.shape != wanted or frames.dtype != np.uint8:
            raise ValueError(f'frame must be {wanted} uint8, got {frames.shape} {frames.dtype}')
        slots = torch.arange(begin, end, device=self._ring.device) % len(self._ring)
        part = torch.from_numpy(frames[begin - segment.start : end - segment.start])
        self._ring[slots] = part.to(self._ring.device)

    def finish(self, oldest: int, count: int) -> None:
        """Go on after files were read, as :meth:`MemoryFrames.finish`."""

    def adopt(self, images: np.ndarray) -> Any:
        """Return images as if :meth:`get` had returned them."""
        return torch.from_numpy(images).to(self._ring.device)
