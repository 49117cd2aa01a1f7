"""
Replay of single frames: every image is stored once, stacks are rebuilt when sampled.

One slot of the ring holds an observation (its newest frame and vector) and the step that led to
it, as one transition message does. An episode fills consecutive slots; its first slot holds no
step. Slots are named by an index that only grows, so that wrap-around and overwritten episodes are
comparisons, not special cases.

The n-step return (Watkins 1989) and the bootstrap are worked out here and nowhere else: the
learner's target is ``reward + discount * Q(next_obs)`` as in DrQ-v2, and ``discount`` is 0 after a
termination.

Not thread-safe: one thread adds and samples.
"""

import io
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union
import zipfile
import zlib

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, Outcome, SpecError
from av_td3_ros.td3.storage import replace_bytes

FORMAT = 1
MAX_REWARD = float(np.finfo(np.float32).max)
# Slots in one file: bounds the memory that saving and loading take beside the buffer (29 MB at
# 84x84).
SEGMENT_SLOTS = 4096
BROKEN_FILE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Batch(NamedTuple):
    """
    Transitions for one update, as arrays.

    ``image``, ``next_image``: (B, stack, height, width) uint8, oldest first. ``vector``,
    ``next_vector``: (B, n) float32. ``action``: (B, 2) float32 in [-1, 1]. ``reward``: (B,)
    float32, discounted sum of up to n_step rewards. ``discount``: (B,) float32, gamma^k, or 0
    where the last of those k steps terminated.
    """

    image: np.ndarray
    vector: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    next_image: np.ndarray
    next_vector: np.ndarray


class ReplayBuffer:
    """Ring of the newest ``capacity`` observations and the steps between them."""

    def __init__(self, obs_spec: ObsSpec, capacity: int, n_step: int, discount: float,
                 seed: int = 0) -> None:
        """
        Reserve memory; the system provides it as frames come in.

        :param obs_spec: what an observation is.
        :param capacity: observations kept; an episode of T steps takes T + 1.
        :param n_step: steps of reward before the bootstrap.
        :param discount: of one step, [0, 1].
        :param seed: of the sampling.
        :raises SpecError: where not even one transition would fit.
        """
        if capacity <= obs_spec.stack:
            raise SpecError(f'replay capacity must be above the stack of {obs_spec.stack} frames, '
                            f'got {capacity}; check replay_capacity in trainer.param.yaml')
        self._spec = obs_spec
        self._capacity = capacity
        self._n_step = n_step
        self._discount = discount
        self._rng = np.random.default_rng(seed)
        # np.empty on purpose: pages are touched when frames arrive, not now.
        self._frame = np.empty((capacity, *obs_spec.frame_shape), np.uint8)
        self._vector = np.zeros((capacity, obs_spec.vector_size), np.float32)
        self._action = np.zeros((capacity, ACTION_SIZE), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._terminated = np.zeros(capacity, np.bool_)
        self._first = np.zeros(capacity, np.int64)  # index of the first observation of the episode
        # Indices of the observations from which a transition can be sampled, oldest first: a ring,
        # too.
        self._starts = np.zeros(capacity, np.int64)
        self._starts_head = self._starts_tail = 0
        self._count = 0    # observations ever stored: the next index
        self._oldest = 0   # the oldest index still held
        self._open = False
        self._saved = 0    # observations that are in files of `_saved_folder`
        self._saved_folder: Optional[Path] = None

    def __len__(self) -> int:
        """Return the transitions that can be sampled."""
        return self._starts_tail - self._starts_head

    @property
    def capacity(self) -> int:
        """Observations kept at most."""
        return self._capacity

    # -- storing ----------------------------------------------------------------------------------

    def begin(self, frame: np.ndarray, vector: np.ndarray) -> None:
        """
        Store the first observation of an episode; an unfinished one before it is aborted.

        :param frame: (height, width) uint8.
        :param vector: (n,) float32, finite.
        :raises SpecError: where the data do not fit; nothing is stored then.
        """
        self._check_observation(frame, vector)
        self.abort()
        self._write(self._count, np.zeros(ACTION_SIZE, np.float32), 0.0, False, frame, vector)
        self._open = True

    def add(self, action: np.ndarray, reward: float, outcome: Outcome, frame: np.ndarray,
            vector: np.ndarray) -> None:
        """
        Store one step and the observation that it led to.

        :param action: (2,), [steering, acceleration] in [-1, 1].
        :param reward: of this step, finite.
        :param outcome: how the step ended; all but ``CONTINUES`` end the episode.
        :param frame: (height, width) uint8, newest grey frame.
        :param vector: (n,) float32, finite.
        :raises SpecError: where the data do not fit or no episode is open; nothing is stored then.
        """
        self._check_observation(frame, vector)
        action, outcome = self._check_step(action, reward, outcome)
        first = int(self._first[(self._count - 1) % self._capacity])
        self._write(first, action, reward, outcome is Outcome.TERMINATED, frame, vector)
        self._open = outcome is Outcome.CONTINUES

    def abort(self) -> None:
        """End the open episode at its last good observation, from which to bootstrap."""
        self._open = False

    def _write(self, first: int, action: np.ndarray, reward: float, terminated: bool,
               frame: np.ndarray, vector: np.ndarray) -> None:
        slot = self._count % self._capacity
        self._frame[slot] = frame
        self._vector[slot] = vector
        self._action[slot] = action
        self._reward[slot] = reward
        self._terminated[slot] = terminated
        self._first[slot] = first
        self._count += 1
        self._oldest = max(self._oldest, self._count - self._capacity)
        if first < self._count - 1:
            self._starts[self._starts_tail % self._capacity] = self._count - 2
            self._starts_tail += 1
        self._forget_starts()

    def _forget_starts(self) -> None:
        """Drop the starts whose stack has lost a frame; later starts need later frames."""
        while self._starts_head < self._starts_tail:
            start = int(self._starts[self._starts_head % self._capacity])
            first = int(self._first[start % self._capacity])
            if start >= self._oldest and max(first, start - self._spec.stack + 1) >= self._oldest:
                return
            self._starts_head += 1

    # -- sampling ---------------------------------------------------------------------------------

    def sample(self, batch_size: int) -> Batch:
        """
        Draw transitions uniformly, with replacement.

        Where the episode ends within n steps the return is shorter: a terminated one has discount
        0, a truncated, aborted or still running one bootstraps from its last observation with
        gamma^k.

        :param batch_size: transitions to draw.
        :raises SpecError: where there is none.
        """
        if not len(self):
            raise SpecError('replay must hold at least 1 transition to sample, got 0')
        drawn = self._rng.integers(self._starts_head, self._starts_tail, batch_size)
        return self._gather(self._starts[drawn % self._capacity])

    def _gather(self, start: np.ndarray) -> Batch:
        """Build the transitions that begin at given indices, (B,) int64."""
        first = self._first[start % self._capacity]
        # Steps ahead, shape (B, n_step): those of the same episode that are stored already.
        ahead = start[:, None] + np.arange(1, self._n_step + 1)
        slots = ahead % self._capacity
        same = (ahead < self._count) & (self._first[slots] == first[:, None])
        length = same.sum(axis=1)
        end = start + length
        gamma = self._discount ** np.arange(self._n_step + 1)
        reward = (np.where(same, self._reward[slots], 0.0) * gamma[:-1]).sum(axis=1)
        discount = np.where(self._terminated[end % self._capacity], 0.0, gamma[length])
        return Batch(
            image=self._stack(start, first), vector=self._vector[start % self._capacity],
            action=self._action[slots[:, 0]], reward=reward.astype(np.float32),
            discount=discount.astype(np.float32), next_image=self._stack(end, first),
            next_vector=self._vector[end % self._capacity])

    def _stack(self, newest: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Rebuild stacks; before an episode's start its first frame repeats, as in perception."""
        indices = newest[:, None] + np.arange(1 - self._spec.stack, 1)
        return self._frame[np.maximum(indices, first[:, None]) % self._capacity]

    # -- checks -----------------------------------------------------------------------------------

    def _check_observation(self, frame: np.ndarray, vector: np.ndarray) -> None:
        if getattr(frame, 'shape', None) != self._spec.frame_shape or frame.dtype != np.uint8:
            raise SpecError(f'frame must be {self._spec.frame_shape} uint8, got '
                            f'{_describe(frame)}; check observation.param.yaml')
        size = self._spec.vector_size
        if getattr(vector, 'shape', None) != (size,) or vector.dtype != np.float32:
            raise SpecError(f'vector must be ({size},) float32, got {_describe(vector)}; check '
                            'observation.param.yaml')
        if not np.all(np.isfinite(vector)):
            raise SpecError(f'vector must be finite, got {vector.tolist()}')

    def _check_step(self, action: np.ndarray, reward: float,
                    outcome: Outcome) -> Tuple[np.ndarray, Outcome]:
        if not self._open:
            raise SpecError('a step must follow begin() of its episode, got add() with none open')
        action = np.asarray(action, np.float32)
        # Written so that NaN fails, too.
        if action.shape != (ACTION_SIZE,) or not np.all(np.abs(action) <= 1.0):
            raise SpecError(f'action must be {ACTION_SIZE} numbers in [-1, 1], got '
                            f'{action.tolist()}')
        if not abs(reward) <= MAX_REWARD:
            raise SpecError(f'reward must be a finite float32, got {reward}; check the reward '
                            'terms')
        try:
            return action, Outcome(outcome)
        except ValueError:
            known = [int(value) for value in Outcome]
            raise SpecError(f'outcome must be one of {known}, got {outcome}') from None

    # -- files ------------------------------------------------------------------------------------

    def state(self) -> Dict[str, Any]:
        """Return what :meth:`load` needs beside the files to go on bit for bit, as JSON data."""
        return {'format': FORMAT, 'observation': self._spec.to_dict(), 'count': self._count,
                'oldest': self._oldest, 'open': self._open, 'rng': self._rng.bit_generator.state}

    def save(self, folder: Union[str, Path]) -> None:
        """
        Write what is new since the last save into the folder: the cost is that of the new frames.

        New frames go into new files, each complete or absent; files that hold only overwritten
        frames are removed, so that the folder stays about as large as the buffer.

        :raises OSError: where it cannot be written; what was saved before stays readable.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if folder != self._saved_folder:
            self._saved, self._saved_folder = 0, folder
        for begin, _, path in _segments(folder):
            if begin >= self._saved:
                path.unlink()  # of a later state that this buffer has not come from
        begin = max(self._saved, self._oldest)
        while begin < self._count:
            end = min(begin + SEGMENT_SLOTS, self._count)
            replace_bytes(folder / f'{begin:012d}-{end:012d}.npz', self._packed(begin, end))
            self._saved = begin = end
        replace_bytes(folder / 'replay.json', json.dumps(self.state(), indent=2).encode())
        for _, end, path in _segments(folder):
            if end <= self._oldest:
                path.unlink()

    def load(self, folder: Union[str, Path], state: Optional[Mapping[str, Any]] = None) -> None:
        """
        Replace the contents by those of a folder.

        Damaged files at the end (a torn write) are left out; one in the middle costs what is
        older. Files may hold more than this buffer: the newest are kept.

        :param folder: written by :meth:`save`.
        :param state: of :meth:`state` at that time, or of an earlier save: later frames are left
            out then. None: that of the last save.
        :raises SpecError: where the folder is of another observation or cannot be read at all.
        """
        folder = Path(folder)
        try:
            state = state or json.loads((folder / 'replay.json').read_text())
            spec = ObsSpec.from_dict(state['observation'])
            count, was_open = int(state['count']), bool(state['open'])
            version, rng = int(state['format']), state['rng']
            oldest = int(state['oldest'])
            np.random.default_rng().bit_generator.state = rng
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(f'replay in {folder} is unreadable: {error}; remove the folder to '
                            'start with an empty one') from None
        if version != FORMAT or spec != self._spec:
            raise SpecError(f'replay in {folder} must be of format {FORMAT} and observation '
                            f'{self._spec.digest}, got format {version} and {spec.digest}; keep '
                            'the settings of the run or remove the folder')
        self._rng.bit_generator.state = rng
        self._count = count
        self._read(folder, max(oldest, count - self._capacity))
        self._open = was_open and self._oldest < self._count == count
        self._saved, self._saved_folder = self._count, folder
        self._index()

    def _packed(self, begin: int, end: int) -> bytes:
        slots = np.arange(begin, end) % self._capacity
        buffer = io.BytesIO()
        np.savez(buffer, **{name: array[slots] for name, array in self._columns().items()})
        return buffer.getvalue()

    def _columns(self) -> Dict[str, np.ndarray]:
        return {'frame': self._frame, 'vector': self._vector, 'action': self._action,
                'reward': self._reward, 'terminated': self._terminated, 'first': self._first}

    def _read(self, folder: Path, oldest: int) -> None:
        """Fill the ring with [oldest, _count) as far as there are whole files, newest first."""
        wanted = self._count  # everything from here on is there
        found = False
        for begin, end, path in reversed(_segments(folder)):
            if begin >= wanted:
                continue
            end = min(end, wanted)
            if end <= oldest or (found and end < wanted):
                break
            try:
                self._unpack(path, begin, max(begin, oldest), end)
            except BROKEN_FILE:
                if found:
                    break
                continue
            if not found:
                found, self._count = True, end
            wanted = max(begin, oldest)
        self._oldest = wanted

    def _unpack(self, path: Path, segment_begin: int, begin: int, end: int) -> None:
        """Copy [begin, end) of a file into the ring, checked before anything is written."""
        columns = self._columns()
        part = slice(begin - segment_begin, end - segment_begin)
        with np.load(path, allow_pickle=False) as file:
            read = {name: file[name][part] for name in columns}
        for name, array in columns.items():
            shape = (end - begin, *array.shape[1:])
            if read[name].shape != shape or read[name].dtype != array.dtype:
                raise ValueError(f'{name} is {_describe(read[name])}')
        slots = np.arange(begin, end) % self._capacity
        for name, array in columns.items():
            array[slots] = read[name]

    def _index(self) -> None:
        """Find again from which observations a transition starts."""
        held = np.arange(self._oldest, self._count)
        starts = held[1:][self._first[held[1:] % self._capacity] < held[1:]] - 1
        self._starts[:len(starts)] = starts
        self._starts_head, self._starts_tail = 0, len(starts)
        self._forget_starts()


def _segments(folder: Path) -> List[Tuple[int, int, Path]]:
    """Return (begin, end, path) of every file of frames, oldest first."""
    return sorted(_parse(folder))


def _parse(folder: Path) -> Iterator[Tuple[int, int, Path]]:
    for path in folder.glob('*.npz'):
        begin, _, end = path.stem.partition('-')
        if begin.isdigit() and end.isdigit():
            yield int(begin), int(end), path


def _describe(value: Any) -> str:
    return f"{getattr(value, 'shape', None)} {getattr(value, 'dtype', type(value).__name__)}"
