"""
Replay of single frames: every image is stored once, stacks are rebuilt when sampled.

One slot of the ring holds an observation (its newest frame and vector) and the step that led to
it, as one transition message does. An episode fills consecutive slots; its first slot holds no
step. Slots are named by an index that only grows, so that wrap-around and overwritten episodes are
comparisons, not special cases.

The n-step return (Watkins 1989) and the bootstrap are worked out here and nowhere else: the
learner's target is ``reward + discount * Q(next_obs)`` as in DrQ-v2, and ``discount`` is 0 after a
termination.

Threads may add and sample at the same time, ``td3/replay_ring.py``.
"""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, Outcome, SpecError
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.frames import DeviceFrames
from av_td3_ros.td3.replay_batch import Batch, Draw
from av_td3_ros.td3.replay_checks import check_errors, check_step, checked_vector
from av_td3_ros.td3.replay_files import pack, Segments, unpack
from av_td3_ros.td3.replay_ring import Ring
from av_td3_ros.td3.replay_state import read_state, SavedState, STATE
from av_td3_ros.td3.storage import replace_bytes

PRIORITIES, AHEAD = 'priorities.npz', 'ahead.npz'
NOTHING = np.zeros(0, np.float32)


class ReplayBuffer:
    """Ring of the newest ``capacity`` observations and the steps between them."""

    def __init__(
        self,
        obs_spec: ObsSpec,
        config: ReplayConfig,
        n_step: int,
        discount: float,
        seed: int = 0,
        folder: Union[str, Path, None] = None,
        device: str = 'cpu',
        privileged: Tuple[str, ...] = (),
    ) -> None:
        """
        Reserve memory, or the mapped file; the buffer is empty.

        :param obs_spec: what an observation is.
        :param config: ``capacity`` counts observations; an episode of T steps takes T + 1.
        :param n_step: steps of reward before the bootstrap.
        :param discount: of one step, [0, 1].
        :param seed: of the sampling.
        :param folder: of the file of storage ``mapped``. A file that is there is taken over by
            :meth:`reopen` or :meth:`load`; without these the first observation discards what it
            holds.
        :param device: torch device that uses the batches; frames of storage ``memory`` live there
            where they fit.
        :param privileged: names of ``PRIVILEGED_NAMES`` to keep; they are stored and drawn behind
            the vector.
        :raises SpecError: where not even one transition would fit, or the mapped file has no
            folder or is of another observation, capacity or format.
        :raises OSError: where there is no room for the mapped file.
        """
        self._spec, self._storage = obs_spec, config.storage
        self._kept = [PRIVILEGED_NAMES.index(name) for name in privileged]
        self._privileged = privileged
        self._n_step, self._discount = n_step, discount
        self._rng = np.random.default_rng(seed)
        self._ring = Ring(obs_spec, config, folder, device, privileged)
        self._segments = Segments(self._ring.columns, self._ring.frames)
        self._open = False
        self._ahead: Optional[Draw] = None
        self._ahead_restored = False

    def __len__(self) -> int:
        """Return the transitions that can be sampled."""
        with self._ring.changed:
            return len(self._ring)

    @property
    def capacity(self) -> int:
        """Observations kept at most."""
        return self._ring.capacity

    @property
    def count(self) -> int:
        """Observations stored so far, overwritten ones too: the index of the next."""
        return self._ring.count

    @property
    def is_full(self) -> bool:
        """Whether the next observation takes the place of an old one."""
        return self._ring.count - self._ring.oldest >= self.capacity

    @property
    def frames_on_host(self) -> bool:
        """Whether images of batches are NumPy arrays, not tensors on a device."""
        return not isinstance(self._ring.frames, DeviceFrames)

    def images_shape(self, batch_size: int) -> Tuple[int, ...]:
        """Return the shape of both images of a batch in one array, as :meth:`gather` fills it."""
        return (2, batch_size, *self._spec.image_shape)

    # -- storing ----------------------------------------------------------------------------------

    def begin(
        self, frame: np.ndarray, vector: np.ndarray, privileged: np.ndarray = NOTHING
    ) -> None:
        """
        Store the first observation of an episode; an unfinished one before it is aborted.

        :param frame: (height, width) uint8.
        :param vector: (n,) float32, finite.
        :param privileged: (23,) float32, finite, as ``PRIVILEGED_NAMES`` of ``task_config``; what
            this replay does not keep of it is dropped.
        :raises SpecError: where the data do not fit; nothing is stored then.
        """
        vector = checked_vector(self._spec, frame, vector, privileged, self._kept)
        with self._ring.inserting:
            self.abort()
            action = np.zeros(ACTION_SIZE, np.float32)
            self._ring.write(None, action, 0.0, False, frame, vector)
            self._open = True

    def add(
        self,
        action: np.ndarray,
        reward: float,
        outcome: Outcome,
        frame: np.ndarray,
        vector: np.ndarray,
        privileged: np.ndarray = NOTHING,
    ) -> None:
        """
        Store one step and the observation that it led to.

        :param action: (2,), [steering, acceleration] in [-1, 1].
        :param reward: of this step, finite.
        :param outcome: how the step ended; all but ``CONTINUES`` end the episode.
        :param frame: (height, width) uint8, newest grey frame.
        :param vector: (n,) float32, finite.
        :param privileged: as in :meth:`begin`.
        :raises SpecError: where the data do not fit or no episode is open; nothing is stored then.
        """
        vector = checked_vector(self._spec, frame, vector, privileged, self._kept)
        with self._ring.inserting:
            if not self._open:
                raise SpecError(
                    'a step must follow begin() of its episode, got add() with none open'
                )
            action, outcome = check_step(action, reward, outcome)
            first = int(self._ring.columns['first'][(self._ring.count - 1) % self.capacity])
            self._ring.write(first, action, reward, outcome is Outcome.TERMINATED, frame, vector)
            self._open = outcome is Outcome.CONTINUES

    def abort(self) -> None:
        """End the open episode at its last good observation, from which to bootstrap."""
        with self._ring.inserting:
            self._open = False

    # -- sampling ---------------------------------------------------------------------------------

    def sample(self, batch_size: int) -> Batch:
        """
        Draw transitions with replacement, uniformly or in proportion to their priorities.

        Where the episode ends within n steps the return is shorter: a terminated one has discount
        0, a truncated, aborted or still running one bootstraps from its last observation with
        gamma^k.

        :param batch_size: transitions to draw.
        :raises SpecError: where there is none.
        """
        with self._ring.changed:
            if self._ahead_restored:
                self._ahead, self._ahead_restored = None, False
            draw = self._ring.draw(self._rng, batch_size)
        return self.gather(draw)

    def draw_ahead(self, batch_size: int) -> Draw:
        """
        Draw a batch to be gathered by any thread; it belongs to :meth:`state` until the next one.

        What was drawn ahead when the state was saved is returned first.

        :param batch_size: transitions to draw.
        :raises SpecError: where there is none.
        """
        with self._ring.changed:
            kept, self._ahead_restored = self._ahead_restored, False
            if not kept or self._ahead is None or len(self._ahead.index) != batch_size:
                self._ahead = self._ring.draw(self._rng, batch_size)
            return self._ahead

    @property
    def ahead(self) -> Optional[Draw]:
        """What :meth:`draw_ahead` returned last; another one after :meth:`load`."""
        return self._ahead

    def gather(self, draw: Draw, out: Optional[np.ndarray] = None) -> Batch:
        """
        Read the transitions of a draw; once for each, by any thread.

        :param draw: of :meth:`draw_ahead`.
        :param out: (2, B, stack, height, width) uint8 to fill with the images where they live on
            the host; None for new memory.
        """
        if draw.batch is None:
            try:
                draw.batch = self._gather(draw, out)
            finally:
                self._ring.release(draw)
        return draw.batch

    def _gather(self, draw: Draw, out: Optional[np.ndarray] = None) -> Batch:
        columns, start = self._ring.columns, draw.index
        first = columns['first'][start % self.capacity]
        # Steps ahead, shape (B, n_step): those of the same episode that were stored by then.
        ahead = start[:, None] + np.arange(1, self._n_step + 1)
        slots = ahead % self.capacity
        same = (ahead < draw.count) & (columns['first'][slots] == first[:, None])
        length = same.sum(axis=1)
        end = start + length
        gamma = self._discount ** np.arange(self._n_step + 1)
        reward = (np.where(same, columns['reward'][slots], 0.0) * gamma[:-1]).sum(axis=1)
        terminated = columns['terminated'][end % self.capacity]
        # Stacks; before an episode's start its first frame repeats, as in perception.
        newest = np.stack([start, end])[:, :, None] + np.arange(1 - self._spec.stack, 1)
        images = self._ring.frames.get(np.maximum(newest, first[:, None]), out)
        return Batch(
            image=images[0],
            vector=columns['vector'][start % self.capacity],
            action=columns['action'][slots[:, 0]],
            reward=reward.astype(np.float32),
            discount=np.where(terminated, 0.0, gamma[length]).astype(np.float32),
            next_image=images[1],
            next_vector=columns['vector'][end % self.capacity],
            weight=draw.weight,
            index=start,
        )

    def update_priorities(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """
        Set the priorities of transitions; those that are no longer held are left out.

        :param index: (B,) int64, of a batch.
        :param td_error: (B,), finite.
        :raises SpecError: where it does not fit, or the buffer is not prioritised.
        """
        priorities = self._ring.priorities
        if priorities is None:
            raise SpecError('priorities must be switched on with replay.prioritised, got false')
        index, td_error = np.asarray(index), np.asarray(td_error, np.float64)
        check_errors(index, td_error)
        with self._ring.changed:
            held = (index >= self._ring.oldest) & (index < self._ring.count)
            priorities.update(index[held] % self.capacity, td_error[held])

    # -- files ------------------------------------------------------------------------------------

    def state(self) -> Dict[str, Any]:
        """Return what :meth:`load` needs beside the files to go on bit for bit, as JSON data."""
        with self._ring.inserting, self._ring.changed:
            priorities = self._ring.priorities
            state = SavedState(
                self._ring.count,
                self._ring.oldest,
                self._open,
                self._rng.bit_generator.state,
                priorities.largest if priorities is not None else 1.0,
                priorities.draws if priorities is not None else 0,
                self._ahead,
            )
            return state.to_dict(self._spec, self._storage, self._privileged)

    def save(self, folder: Union[str, Path]) -> None:
        """
        Write what is new since the last save into the folder: the cost is that of the new frames.

        New frames go into new files, each complete or absent; files that hold only overwritten
        frames are removed, so that the folder stays about as large as the buffer. The file of
        storage ``mapped`` has the frames already; it is flushed to the disk. Others may sample
        meanwhile; who adds waits.

        :raises OSError: where it cannot be written; what was saved before stays readable.
        :raises SpecError: where storage ``mapped`` is to be saved into another folder than its
            own.
        """
        folder, ring = Path(folder), self._ring
        ring.check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with ring.inserting:
            if ring.file is not None:
                ring.file.flush()
            else:
                self._segments.write(folder, ring.oldest, ring.count)
            state, ahead = self.state(), self._ahead
            if ring.priorities is not None:
                with ring.changed:
                    slots = np.arange(ring.oldest, ring.count) % ring.capacity
                    priority = ring.priorities.get(slots)
                begin = np.int64(ring.oldest)
                replace_bytes(folder / PRIORITIES, pack(begin=begin, priority=priority))
            if ahead is not None and ahead.lowest < ring.oldest:
                # Gathered long ago, or its frames could not have been overwritten.
                packed = pack(count=np.int64(ahead.count), **ahead.batch.to_arrays())
                replace_bytes(folder / AHEAD, packed)
            replace_bytes(folder / STATE, json.dumps(state, indent=2).encode())
            if ring.file is None:
                self._segments.prune(folder, ring.oldest)

    def load(self, folder: Union[str, Path], state: Optional[Mapping[str, Any]] = None) -> None:
        """
        Replace the contents by those of a folder.

        Damaged files at the end (a torn write) are left out; one in the middle costs what is
        older. Files may hold more than this buffer: the newest are kept. Storage ``mapped`` takes
        over its file as :meth:`reopen` does: what was stored after the state is kept.

        :param folder: written by :meth:`save`.
        :param state: of :meth:`state` at that time, or of an earlier save: later frames are left
            out then. None: that of the last save.
        :raises SpecError: where the folder is of another observation or storage, or cannot be read
            at all; nothing is changed then.
        """
        folder, ring = Path(folder), self._ring
        ring.check_folder(folder)
        saved = read_state(folder, state, self._spec, self._storage, self._privileged)
        with ring.inserting, ring.changed:
            ring.changed.wait_for(lambda: not ring.reading)
            if ring.file is not None:
                oldest, count = ring.file.oldest, ring.file.count
            else:
                oldest = max(saved.oldest, saved.count - ring.capacity)
                oldest, count = self._segments.read(folder, oldest, saved.count)
            ring.hold(oldest, count)
            self._rng.bit_generator.state = saved.rng
            exact = count == saved.count
            self._open = saved.open and exact and ring.oldest < count
            self._restore_priorities(
                unpack(folder / PRIORITIES), saved.largest_priority, saved.prioritised_draws
            )
            self._ahead = self._restored(saved.ahead, folder) if exact else None
            self._ahead_restored = self._ahead is not None

    def reopen(self) -> None:
        """
        Take over what the file of storage ``mapped`` holds, after whatever end of its process.

        That is everything up to the last completed :meth:`add`. The unfinished episode ends as an
        aborted one. Unlike :meth:`load` this needs no saved state; sampling begins with the seed.

        :raises SpecError: where the storage is another.
        """
        ring = self._ring
        if ring.file is None:
            raise SpecError(f'reopen() must have storage mapped, got {self._storage}; use load()')
        with ring.inserting, ring.changed:
            ring.changed.wait_for(lambda: not ring.reading)
            ring.hold(ring.file.oldest, ring.file.count)
            self._open = False
            self._restore_priorities({}, 1.0, 0)
            self._ahead, self._ahead_restored = None, False

    def _restored(self, draw: Optional[Draw], folder: Path) -> Optional[Draw]:
        """Return what was drawn ahead with its batch, None where it is lost."""
        if draw is None:
            return None
        if draw.lowest >= self._ring.oldest:
            draw.batch = self._gather(draw)
            return draw
        arrays = unpack(folder / AHEAD)
        known = int(arrays.pop('count', -1)) == draw.count and set(arrays) == set(Batch._fields)
        if not known or not np.array_equal(arrays['index'], draw.index):
            return None
        for name in ('image', 'next_image'):
            arrays[name] = self._ring.frames.adopt(arrays[name])
        draw.batch = Batch(**arrays)
        return draw

    def _restore_priorities(
        self, saved: Mapping[str, np.ndarray], largest: float, draws: int
    ) -> None:
        if self._ring.priorities is None:
            return
        starts = self._ring.starts()
        priority = np.zeros(len(starts))
        if set(saved) == {'begin', 'priority'}:
            place = starts - int(saved['begin'])
            known = (place >= 0) & (place < len(saved['priority']))
            read = saved['priority'][place[known]]
            priority[known] = np.where(np.isfinite(read) & (read >= 0.0), read, 0.0)
        self._ring.priorities.restore(starts % self.capacity, priority, largest, draws)
