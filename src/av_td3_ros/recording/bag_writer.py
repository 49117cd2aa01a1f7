"""
Writes a drive as a rosbag2 folder: MCAP files and ``metadata.yaml``.

The MCAP records are made by the library of the format's authors; messages go in as they came from
the wire. It writes into memory, and what it wrote goes to the disk in whole chunks, so that a file
that was cut off, by a kill or a full disk, ends between two records.
"""

from contextlib import suppress
import errno
from pathlib import Path
from typing import Dict, List, Optional

from mcap.writer import CompressionType, Writer

from av_td3_ros.recording.disk import RoomyFile
from av_td3_ros.recording.metadata import BagTopic, metadata, NAME, Part
from av_td3_ros.td3.storage import replace_bytes

COMPRESSIONS = {
    'zstd': CompressionType.ZSTD,
    'lz4': CompressionType.LZ4,
    'none': CompressionType.NONE,
}
CHUNK = 2 * 2**20
# A chunk that is over its limit by one camera image of 1920x1080, the index, metadata.yaml.
ROOM = CHUNK + 24 * 2**20
SPLIT = 4 * 2**30


class BagError(RuntimeError):
    """A bag that cannot be written or read; the text is for the user."""


class Spool:
    """What the MCAP library writes to: memory, at a place in a file."""

    def __init__(self) -> None:
        """Begin at the start of a file."""
        self._held = bytearray()
        self._begin = 0

    def write(self, data: bytes) -> int:
        """Take data; never fails."""
        self._held += data
        return len(data)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._begin + len(self._held)

    def flush(self) -> None:
        """Do nothing: who owns the file moves the data there."""

    def move_to(self, file: RoomyFile) -> None:
        """
        Write what is held into the file.

        :raises OSError: where that fails; it is still held then.
        """
        if self._held:
            file.write(bytes(self._held))
            self._begin += len(self._held)
            self._held.clear()


class BagWriter:
    """
    Writes one bag.

    ``size``: bytes on the disk. ``counts``: messages by topic. ``closed``: nothing more is taken.
    """

    def __init__(
        self, folder: Path, compression: str = 'zstd', split: int = SPLIT, room: int = ROOM
    ) -> None:
        """
        Make the folder and its first file.

        :param folder: must not exist.
        :param compression: of the chunks: 'zstd', 'lz4' or 'none'.
        :param split: bytes after which the next file begins; bounds the index in memory.
        :param room: bytes kept back, to close the bag on a full disk.
        :raises BagError: where the folder exists or cannot be made, or has less room than that.
        """
        if compression not in COMPRESSIONS:
            raise BagError(
                f'compression must be one of {", ".join(COMPRESSIONS)}, got {compression!r}'
            )
        self.counts: Dict[str, int] = {}
        self.closed = False
        self._folder, self._compression = folder, COMPRESSIONS[compression]
        self._split, self._room = split, room
        self._topics: Dict[str, BagTopic] = {}
        self._parts: List[Part] = []
        self._finished = 0
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise BagError(
                f'a recording needs a new folder, got {folder}, which is there; choose another'
            ) from None
        except OSError as error:
            raise BagError(f'{folder} must be a folder that can be made, got {error}') from None
        try:
            self._begin_part()
        except OSError as error:
            folder.rmdir()
            raise BagError(
                f'{folder} must have {room / 2**20:.0f} MiB of room for a recording to begin, '
                f'got: {error.strerror}; make room or record elsewhere'
            ) from None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._finished + self._file.size

    @property
    def files(self) -> List[Path]:
        """The MCAP files, in order."""
        return [self._folder / part.path for part in self._parts]

    def add_topic(self, topic: BagTopic) -> None:
        """Make a topic known; a second time changes nothing."""
        if topic.name not in self._topics:
            self._topics[topic.name] = topic
            self.counts[topic.name] = 0
            self._register(topic)

    def write(self, name: str, received: int, data: bytes, published: int = 0) -> None:
        """
        Store a message.

        :param name: of its topic.
        :param received: ns since the epoch.
        :param data: in CDR, as it came.
        :param published: ns since the epoch; 0: not known.
        :raises BagError: where the disk is full or failed. The bag is closed then: what was
            stored so far can be read.
        """
        if self.closed:
            raise BagError(f'a message needs an open bag, got {self._folder}, which is closed')
        self._writer.add_message(self._channels[name], received, data, published or received)
        self.counts[name] += 1
        part = self._parts[-1]
        self._parts[-1] = part._replace(
            begun=min(part.begun, received) if part.messages else received,
            ended=max(part.ended, received),
            messages=part.messages + 1,
        )
        self._move()
        if not self.closed and self._file.size >= self._split:
            try:
                self._finish_part()
                self._begin_part()
                self._move()
            except OSError as error:
                self._end_early(error)

    def flush(self) -> None:
        """
        Bring everything to the disk that was stored so far, and wait until it is there.

        :raises BagError: as :meth:`write`.
        """
        if not self.closed:
            self._writer.flush()
            self._move()
            try:
                self._file.sync()
            except OSError as error:
                self._end_early(error)

    def close(self) -> None:
        """
        End the bag whole; safe to call twice.

        :raises BagError: where not even the room that was kept back is enough.
        """
        if self.closed:
            return
        self.closed = True
        try:
            self._file.give_room()
            self._finish_part()
            text = metadata(self._topics, self.counts, self._parts)
            replace_bytes(self._folder / NAME, text.encode())
        except OSError as error:
            self._file.close()
            raise BagError(
                f'{self._folder} could not be closed, got: {error.strerror}; what is in it can be '
                'read by `av-td3 replay` and `mcap recover`, its end is missing'
            ) from None

    def remove(self) -> None:
        """Take a bag away that holds no message, once it is closed; any other stays."""
        if self.closed and not any(self.counts.values()):
            for file in (*self.files, self._folder / NAME):
                file.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else put something there
                self._folder.rmdir()

    def _move(self) -> None:
        try:
            self._spool.move_to(self._file)
        except OSError as error:
            self._end_early(error)

    def _end_early(self, error: OSError) -> None:
        """Close what there is, then say why."""
        self.close()
        why = 'the disk is full' if error.errno == errno.ENOSPC else str(error.strerror)
        raise BagError(
            f'recording ended after {self.size / 1e6:.1f} MB: {why}; {self._folder} was closed '
            f'with {sum(self.counts.values())} messages and can be read; make room or record '
            'elsewhere'
        ) from None

    def _begin_part(self) -> None:
        path = f'{self._folder.name}_{len(self._parts)}.mcap'
        self._file = RoomyFile(self._folder / path, self._room)
        self._parts.append(Part(path, 0, 0, 0))
        self._spool = Spool()
        self._channels: Dict[str, int] = {}
        self._schemas: Dict[str, int] = {}
        writer = Writer(self._spool, chunk_size=CHUNK, compression=self._compression)
        writer.start(profile='ros2', library='av_td3_ros')
        self._writer: Optional[Writer] = writer
        for topic in self._topics.values():
            self._register(topic)

    def _register(self, topic: BagTopic) -> None:
        if topic.type not in self._schemas:
            self._schemas[topic.type] = self._writer.register_schema(
                topic.type, 'ros2msg', topic.definition.encode()
            )
        self._channels[topic.name] = self._writer.register_channel(
            topic.name, 'cdr', self._schemas[topic.type], {'offered_qos_profiles': topic.qos}
        )

    def _finish_part(self) -> None:
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
        self._spool.move_to(self._file)
        self._file.sync()
        self._file.close()
        self._finished, self._file.size = self.size, 0
