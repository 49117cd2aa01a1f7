"""
Reads bags back, ours and those of rosbag2: a folder, or one MCAP file.

Files are read from front to back, a chunk at a time. One that was cut off gives what is whole.
"""

from pathlib import Path
import struct
from typing import IO, Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Set

from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory
import yaml
import zstandard

from av_td3_ros.recording.bag_writer import BagError
from av_td3_ros.recording.metadata import BagTopic, NAME, STORAGE

# What the library and its decompressors say of bytes that are not as they were written.
DAMAGE = (McapError, ValueError, RuntimeError, struct.error, zstandard.ZstdError)
# No chunk of a drive is near that: a length beyond it is damage, and not reserved.
LONGEST = 256 * 2**20
# What a message begins with that rosbag2 has compressed; CDR never does.
ZSTD = b'\x28\xb5\x2f\xfd'


class BagMessage(NamedTuple):
    """A message of a bag; ``received``: ns since the epoch; ``data``: in CDR."""

    topic: BagTopic
    received: int
    data: bytes
    decode: Callable[[bytes], Any]

    @property
    def content(self) -> Any:
        """
        The message with its fields as attributes.

        :raises BagError: where the bag lacks its definition.
        """
        return self.decode(self.data)


class CutOff(Exception):
    """A file ends before its end."""


class _Whole:
    """A stream whose reads give all that was asked for; the library takes less as it comes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise CutOff
        return data


class BagReader:
    """
    ``cut_off``: files whose end is missing; known once they have been read. ``filled``: topics
    that have a message, or may have one; known with the topics.
    """

    def __init__(self, path: Path) -> None:
        """
        Find the files.

        :raises BagError: where there are none, or they are of another storage.
        """
        self.path = path
        self.files = _files(path)
        self.cut_off: List[Path] = []
        self.filled: Set[str] = set()

    def topics(self) -> Dict[str, BagTopic]:
        """Return the topics by name; from the index where there is one."""
        found: Dict[str, BagTopic] = {}
        for path in self.files:
            with path.open('rb') as stream:
                try:
                    summary = SeekingReader(stream, record_size_limit=LONGEST).get_summary()
                except (*DAMAGE, OSError, OverflowError):  # cut off, or damaged just there
                    summary = None
                if summary is not None:
                    counts = summary.statistics and summary.statistics.channel_message_counts
                    for channel in summary.channels.values():
                        schema = summary.schemas.get(channel.schema_id)
                        found.setdefault(channel.topic, _topic(channel, schema))
                        if counts is None or counts.get(channel.id):
                            self.filled.add(channel.topic)
                    continue
            for message in self._read(path, None):
                found.setdefault(message.topic.name, message.topic)
                self.filled.add(message.topic.name)
        return found

    def messages(self, types: Optional[Collection[str]] = None) -> Iterator[BagMessage]:
        """
        Return the messages in the order in which they were stored.

        :param types: of messages, such as ``std_msgs/msg/Bool``; None for all.
        :raises BagError: where something in the middle of a file is damaged.
        """
        for path in self.files:
            yield from self._read(path, types)

    def _read(self, path: Path, types: Optional[Collection[str]]) -> Iterator[BagMessage]:
        schemas: Dict[int, Schema] = {}
        wanted: Dict[int, Optional[BagMessage]] = {}
        with path.open('rb') as stream:
            decoders = DecoderFactory()
            reader = StreamReader(
                _Whole(stream), validate_crcs=True, record_size_limit=LONGEST  # type: ignore
            )
            try:
                for record in reader.records:
                    if isinstance(record, Message):
                        form = wanted.get(record.channel_id)
                        if form is not None:
                            if record.data.startswith(ZSTD):
                                raise _compressed(path)
                            yield form._replace(received=record.log_time, data=record.data)
                    elif isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        schema = schemas.get(record.schema_id)
                        is_wanted = types is None or (schema is not None and schema.name in types)
                        wanted[record.id] = (
                            BagMessage(
                                _topic(record, schema), 0, b'', self._decoder(schema, decoders)
                            )
                            if is_wanted
                            else None
                        )
            except CutOff:
                self.cut_off.append(path)
            except BagError:
                raise
            except DAMAGE as error:
                raise BagError(
                    f'{path} must be an MCAP file without damage, got it near byte '
                    f'{stream.tell()}: {error or type(error).__name__}; `mcap recover` keeps '
                    'what is whole'
                ) from None

    def _decoder(
        self, schema: Optional[Schema], decoders: DecoderFactory
    ) -> Callable[[bytes], Any]:
        def decode(data: bytes) -> Any:
            decoder = decoders.decoder_for('cdr', schema)
            if decoder is None:
                name = schema.name if schema is not None else 'a message without a type'
                raise BagError(f'{self.path} must hold the definition of {name} as ros2msg')
            return decoder(data)

        return decode


def _compressed(path: Path) -> BagError:
    return BagError(
        f'{path} must have its messages as they came, got them or whole files compressed by '
        'rosbag2; convert it with `ros2 bag convert`: MCAP compresses by itself'
    )


def _topic(channel: Channel, schema: Optional[Schema]) -> BagTopic:
    return BagTopic(
        channel.topic,
        schema.name if schema is not None else '',
        schema.data.decode(errors='replace') if schema is not None else '',
        channel.metadata.get('offered_qos_profiles', ''),
    )


def _files(path: Path) -> List[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BagError(f'a bag must be a folder or an MCAP file, got {path}, which is not there')
    if not (path / NAME).is_file():  # a recording that was killed
        found = sorted(path.glob('*.mcap'), key=lambda file: (len(file.name), file.name))
    else:
        try:
            data = yaml.safe_load((path / NAME).read_text())['rosbag2_bagfile_information']
            storage, names = data['storage_identifier'], data['relative_file_paths']
            mode = str(data.get('compression_mode') or 'NONE')
            found = [path / Path(str(name)).name for name in names]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise BagError(f'{path / NAME} must be of rosbag2, got {error!r}') from None
        if storage != STORAGE:
            raise BagError(f'the storage of {path} must be {STORAGE}, got {storage}; convert it')
        if mode.upper() != 'NONE':
            raise _compressed(path)
    missing = [file for file in found if not file.is_file()]
    if missing or not found:
        raise BagError(f'{path} must hold its MCAP files, got none of {missing or "*.mcap"}')
    return found
