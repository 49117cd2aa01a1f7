"""
A recording that never makes who delivers the messages wait.

Messages go into a bounded backlog; one thread writes them. Where the disk is slower than the drive
the backlog fills, and messages are dropped and counted: large ones, camera images, first.
"""

from collections import Counter, deque
from contextlib import suppress
import threading
import time
from typing import Counter as CounterType, Deque, NamedTuple, Optional

from av_td3_ros.recording.bag_writer import BagError, BagWriter

MEMORY = 128 * 2**20
LARGE = 64 * 2**10
LARGE_SHARE = 0.75
FLUSH_PERIOD = 2.0


class Item(NamedTuple):
    """A message on its way to the bag; as :meth:`BagWriter.write`."""

    topic: str
    received: int
    data: bytes
    published: int


class Recording:
    """
    Owns the writer and its thread.

    ``failure``: why the recording ended by itself, or ''. ``dropped``: messages by topic.
    """

    def __init__(self, writer: BagWriter, memory: int = MEMORY) -> None:
        """
        Begin.

        :param writer: of a bag, with its topics.
        :param memory: bytes that may wait for the disk.
        """
        self.failure = ''
        self.dropped: CounterType[str] = Counter()
        self._writer, self._memory = writer, memory
        self._backlog: Deque[Item] = deque()
        self._waiting = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name='recording', daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._waiting

    def put(self, topic: str, received: int, data: bytes, published: int = 0) -> bool:
        """
        Take a message; never waits for the disk.

        :param topic: its name; :param received: ns since the epoch; :param data: in CDR;
        :param published: ns since the epoch, 0: not known.
        :returns: whether there was room for it.
        """
        share = LARGE_SHARE if len(data) > LARGE else 1.0
        with self._changed:
            if self.failure or self._waiting + len(data) > share * self._memory:
                self.dropped[topic] += 1
                return False
            self._backlog.append(Item(topic, received, data, published))
            self._waiting += len(data)
            self._changed.notify()
        return True

    def stop(self) -> None:
        """Write what waits, close the bag; safe to call twice. ``failure`` says how it went."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        flushed = time.monotonic()
        try:
            while True:
                item = self._take()
                if item is not None:
                    self._writer.write(*item)
                elif self._stopping:
                    break
                if time.monotonic() - flushed > FLUSH_PERIOD:
                    self._writer.flush()
                    flushed = time.monotonic()
            self._writer.close()
        except BagError as error:
            self._fail(str(error))
        except Exception as error:  # the thread's boundary: close what there is, say why
            self._fail(f'{type(error).__name__}: {error}')
            with suppress(BagError):
                self._writer.close()

    def _take(self) -> Optional[Item]:
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._stopping, FLUSH_PERIOD)
            if not self._backlog:
                return None
            item = self._backlog.popleft()
            self._waiting -= len(item.data)
            return item

    def _fail(self, why: str) -> None:
        with self._changed:
            self.failure = why
            self._backlog.clear()
            self._waiting = 0
