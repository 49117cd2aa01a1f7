"""
The ring of the replay: columns, frames, what of them is held, and who reads it.

What is held never changes, so that readers need no lock while they copy. They register what they
read; a slot is used again only when no reader needs it.
"""

from pathlib import Path
from threading import Condition, RLock
from typing import Any, List, Optional, Tuple, Union

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, SpecError
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.td3.frames import CompressedFrames, DeviceFrames, MemoryFrames
from av_td3_ros.td3.priorities import Priorities
from av_td3_ros.td3.replay_batch import Draw
from av_td3_ros.td3.replay_mapped import MappedFile


class Ring:
    """The newest ``capacity`` observations, each with the step that led to it."""

    def __init__(
        self,
        spec: ObsSpec,
        config: ReplayConfig,
        folder: Union[str, Path, None] = None,
        device: str = 'cpu',
        privileged: Tuple[str, ...] = (),
    ) -> None:
        """
        Reserve memory, or the mapped file; nothing is held yet.

        Parameters and errors are those of :class:`~av_td3_ros.td3.replay.ReplayBuffer`.
        """
        if config.capacity <= spec.stack:
            raise SpecError(
                f'replay capacity must be above the stack of {spec.stack} frames, got '
                f'{config.capacity}; check replay.capacity in trainer.param.yaml'
            )
        self.capacity = config.capacity
        self.count = 0  # observations ever stored: the next index
        self.oldest = 0  # the oldest index still held
        self.changed = Condition()  # guards counts, starts, priorities and readers
        self.inserting = RLock()  # one thread at a time changes what is held
        self.reading: List[Draw] = []
        self.priorities = Priorities(config) if config.prioritised else None
        self._stack = spec.stack
        rows = {
            'vector': ((spec.vector_size + len(privileged),), np.float32),
            'action': ((ACTION_SIZE,), np.float32),
            'reward': ((), np.float32),
            'terminated': ((), np.bool_),
            'first': ((), np.int64),  # index of the first observation of the episode
        }
        self.file: Optional[MappedFile] = None
        if config.storage == 'mapped':
            if folder is None:
                raise SpecError('replay of storage mapped must have a folder, got none')
            columns = {**rows, 'frame': (spec.frame_shape, np.uint8)}
            self.file = MappedFile(Path(folder), spec, config.capacity, columns, privileged)
            self.columns = {name: self.file.columns[name] for name in rows}
        else:
            self.columns = {
                name: np.zeros((config.capacity, *row), dtype)
                for name, (row, dtype) in rows.items()
            }
        # Whether the file holds something that was not taken over.
        self._stale = self.file is not None and self.file.count > 0
        self.frames = self._frame_storage(spec, config.storage, device)
        # Indices of the observations from which a transition can be sampled, oldest first: a ring,
        # too.
        self._starts = np.zeros(config.capacity, np.int64)
        self._head = self._tail = 0

    def _frame_storage(self, spec: ObsSpec, storage: str, device: str) -> Any:
        if self.file is not None:
            return MemoryFrames(self.capacity, spec.frame_shape, self.file.columns['frame'])
        if storage == 'compressed':
            return CompressedFrames(self.capacity, spec.frame_shape)
        if DeviceFrames.fits(self.capacity, spec.frame_shape, device):
            return DeviceFrames(self.capacity, spec.frame_shape, device)
        return MemoryFrames(self.capacity, spec.frame_shape)

    # -- storing: with ``inserting`` held ---------------------------------------------------------

    def write(
        self,
        first: Optional[int],
        action: np.ndarray,
        reward: float,
        terminated: bool,
        frame: np.ndarray,
        vector: np.ndarray,
    ) -> None:
        """
        Store an observation and the step that led to it.

        :param first: index of the first observation of the episode; None where this is it.
        """
        if self._stale:
            self.file.discard()
            self._stale = False
        index = self.count
        slot = index % self.capacity
        self._give_up(index - self.capacity)
        self.frames.put(index, frame, self.oldest)
        columns = self.columns
        columns['vector'][slot] = vector
        columns['action'][slot] = action
        columns['reward'][slot] = reward
        columns['terminated'][slot] = terminated
        columns['first'][slot] = index if first is None else first
        with self.changed:
            self.count = index + 1
            if self.file is not None:
                self.file.count = self.count
            if first is not None:
                self._starts[self._tail % self.capacity] = index - 1
                self._tail += 1
                if self.priorities is not None:
                    self.priorities.add((index - 1) % self.capacity)
                self._forget_starts()

    def _give_up(self, index: int) -> None:
        """Stop drawing what needs an observation, and wait for the batches that still do."""
        if index < self.oldest:
            return
        with self.changed:
            self.oldest = index + 1
            if self.file is not None:
                self.file.oldest = self.oldest
            self._forget_starts()
            self.changed.wait_for(lambda: all(draw.lowest > index for draw in self.reading))

    def _forget_starts(self) -> None:
        """Drop the starts whose stack has lost a frame; later starts need later frames."""
        while self._head < self._tail:
            start = int(self._starts[self._head % self.capacity])
            first = int(self.columns['first'][start % self.capacity])
            if start >= self.oldest and max(first, start - self._stack + 1) >= self.oldest:
                return
            self._head += 1
            if self.priorities is not None:
                self.priorities.remove(start % self.capacity)

    def hold(self, oldest: int, count: int) -> None:
        """Go on with [oldest, count), which columns and frames hold already."""
        with self.changed:
            self._stale = False
            self.oldest, self.count = min(oldest, count), count
            held = np.arange(self.oldest, self.count)
            begun = self.columns['first'][held[1:] % self.capacity]
            starts = held[1:][begun < held[1:]] - 1
            self._starts[: len(starts)] = starts
            self._head, self._tail = 0, len(starts)
            self._forget_starts()

    def check_folder(self, folder: Path) -> None:
        """:raises SpecError: where it is not that of the mapped file, if there is one."""
        if self.file is not None and folder.resolve() != self.file.path.parent.resolve():
            raise SpecError(
                f'replay of storage mapped must stay in its folder {self.file.path.parent}, got '
                f'{folder}'
            )

    # -- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the transitions that can be drawn."""
        return self._tail - self._head

    def starts(self) -> np.ndarray:
        """Return where transitions begin that can be drawn, oldest first, (n,) int64."""
        return self._starts[np.arange(self._head, self._tail) % self.capacity]

    def draw(self, rng: np.random.Generator, batch_size: int) -> Draw:
        """
        Draw transitions and register their reader, who calls :meth:`release` in the end.

        :raises SpecError: where there is none.
        """
        with self.changed:
            if not len(self):
                raise SpecError('replay must hold at least 1 transition to sample, got 0')
            if self.priorities is None:
                number = rng.integers(self._head, self._tail, batch_size)
                index = self._starts[number % self.capacity]
                weight = np.ones(batch_size, np.float32)
            else:
                slot, weight = self.priorities.draw(rng, batch_size, len(self))
                index = self.oldest + (slot - self.oldest) % self.capacity
            first = self.columns['first'][index % self.capacity]
            lowest = int(np.maximum(first, index - self._stack + 1).min())
            draw = Draw(index, weight, self.count, lowest)
            self.reading.append(draw)
            return draw

    def release(self, draw: Draw) -> None:
        """Let the slots of a draw be used again."""
        with self.changed:
            self.reading.remove(draw)
            self.changed.notify_all()
