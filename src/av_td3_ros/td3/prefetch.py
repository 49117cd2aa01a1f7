"""
The next batch, gathered on a thread of its own while the learner works on this one.

Which transitions it holds does not depend on the timing of threads: they are drawn when
:meth:`Prefetcher.next` is called, and only read later.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import List, Optional

import numpy as np
import torch

from av_td3_ros.td3.replay import ReplayBuffer
from av_td3_ros.td3.replay_batch import Batch, Draw


class Prefetcher:
    """Hands out batches of one size; a batch is one call behind the newest experience."""

    def __init__(self, replay: ReplayBuffer, batch_size: int, device: str = 'cpu') -> None:
        """
        Start the thread.

        :param replay: where to draw from; others may add to it and sample from it meanwhile.
        :param batch_size: transitions in a batch.
        :param device: torch device that uses the batches. For a GPU they are gathered in
            page-locked memory, from which it copies on its own; such a batch holds until the next
            call of :meth:`next`.
        """
        self._replay, self._batch_size = replay, batch_size
        self._draw: Optional[Draw] = None
        self._batch: 'Future[Batch]'
        self._pool: Optional[ThreadPoolExecutor] = None
        self._locked: List[np.ndarray] = []
        # Frames on a device are gathered by kernels that run beside this process as it is; a
        # thread that asks the device for memory could spoil the recording of a CUDA graph.
        if replay.frames_on_host:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
            if torch.device(device).type == 'cuda':
                shape = replay.images_shape(batch_size)
                self._locked = [
                    torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
                    for _ in range(2)
                ]

    def next(self) -> Batch:
        """
        Return the batch that was drawn before, and draw the next one.

        :raises SpecError: where the replay is empty. Errors of the thread are raised here, too.
        """
        if self._draw is None or self._draw is not self._replay.ahead:
            self._start()  # the first one, or after the replay was loaded
        self._draw = None
        batch = self._batch.result()
        self._start()
        return batch

    def close(self) -> None:
        """Wait for the thread to end; :meth:`next` must not be called again."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _start(self) -> None:
        draw = self._replay.draw_ahead(self._batch_size)
        out = None
        if self._locked:
            self._locked.reverse()
            out = self._locked[0]
        if self._pool is not None:
            self._batch = self._pool.submit(self._replay.gather, draw, out)
        else:
            self._batch = Future()
            self._batch.set_result(self._replay.gather(draw))
        self._draw = draw
