"""Bags: what goes in comes out, also of a full disk, of a kill, and through another reader."""

import errno
import os
from pathlib import Path
import subprocess
import sys

import pytest
import zstandard

from av_td3_ros.recording.bag_reader import BagReader
from av_td3_ros.recording.bag_writer import BagError, BagWriter, CHUNK
from av_td3_ros.recording.definitions import definition, DefinitionError
from av_td3_ros.recording.metadata import BagTopic
from av_td3_ros.recording.recording import Recording

QOS = '- history: 1\n  depth: 1\n  reliability: 1\n  durability: 1\n' + ''.join(
    f'  {name}: {{sec: 9223372036, nsec: 854775807}}\n'
    for name in ('deadline', 'lifespan', 'liveliness_lease_duration')
)
QOS += '  liveliness: 1\n  avoid_ros_namespace_conventions: false\n'
TEXT = BagTopic('/said', 'std_msgs/msg/String', 'string data\n', QOS)
BYTES = BagTopic('/seen', 'made_msgs/msg/Bytes', 'uint8[] data\n', QOS)
ROOM = 2**20


def text(words):
    data = words.encode() + b'\0'
    return b'\0\1\0\0' + len(data).to_bytes(4, 'little') + data


def block(value, size):
    return b'\0\1\0\0' + size.to_bytes(4, 'little') + bytes([value % 256]) * size


def write(folder, messages=100, size=10_000, **options):
    writer = BagWriter(folder, room=ROOM, **options)
    writer.add_topic(TEXT)
    writer.add_topic(BYTES)
    for number in range(messages):
        writer.write('/said', 1_000 + 2 * number, text(f'message {number}'), 7)
        writer.write('/seen', 1_001 + 2 * number, block(number, size))
    writer.close()
    return writer


@pytest.mark.parametrize('compression', ['zstd', 'lz4', 'none'])
def test_what_goes_in_comes_out(tmp_path, compression):
    write(tmp_path / 'drive', compression=compression)
    reader = BagReader(tmp_path / 'drive')
    assert reader.topics() == {'/said': TEXT, '/seen': BYTES}
    found = list(reader.messages())
    assert [message.received for message in found] == list(range(1_000, 1_200))
    assert found[20].content.data == 'message 10'
    assert bytes(found[21].content.data) == bytes([10]) * 10_000
    assert [m.topic.name for m in reader.messages({'std_msgs/msg/String'})] == ['/said'] * 100
    assert not reader.cut_off


def test_another_reader_opens_it_by_the_metadata(tmp_path):
    rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
    from rosbags.typesys import get_types_from_msg, get_typestore, Stores

    write(tmp_path / 'drive', size=CHUNK // 20, split=3 * CHUNK, compression='none')
    assert len(list((tmp_path / 'drive').glob('*.mcap'))) > 1
    types = get_typestore(Stores.ROS2_HUMBLE)
    types.register(get_types_from_msg('uint8[] data', 'made_msgs/msg/Bytes'))
    with rosbag2.Reader(tmp_path / 'drive') as reader:
        assert reader.message_count == 200 and reader.duration == 200
        assert {c.topic: c.msgcount for c in reader.connections} == {'/said': 100, '/seen': 100}
        profile = reader.connections[0].ext.offered_qos_profiles[0]
        assert profile.durability.name == 'TRANSIENT_LOCAL'
        for number, (connection, stamp, data) in enumerate(reader.messages()):
            assert stamp == 1_000 + number
            message = types.deserialize_cdr(data, connection.msgtype)
            if connection.topic == '/said':
                assert message.data == f'message {number // 2}'
            else:
                assert (message.data == number // 2).all()


def test_a_long_drive_goes_into_several_files(tmp_path):
    writer = write(tmp_path / 'drive', size=CHUNK // 10, split=2 * CHUNK, compression='none')
    files = writer.files
    assert len(files) > 3 and all(file.stat().st_size < 4 * CHUNK for file in files)
    assert writer.size == sum(file.stat().st_size for file in files)
    found = [message.received for message in BagReader(tmp_path / 'drive').messages()]
    assert found == list(range(1_000, 1_200))


@pytest.fixture
def synced(monkeypatch):
    """Return by inode how much of a file was on the disk when somebody last waited for it."""
    sizes = {}

    def wait(handle):
        found = os.fstat(handle)
        sizes[found.st_ino] = found.st_size

    monkeypatch.setattr(os, 'fdatasync', wait)
    return lambda path: sizes.get(path.stat().st_ino)


def test_what_was_flushed_is_on_the_disk_where_power_is_lost(tmp_path, synced):
    writer = BagWriter(tmp_path / 'drive', 'none', split=CHUNK, room=ROOM)
    writer.add_topic(BYTES)
    for number in range(5):
        writer.write('/seen', number, block(number, 1_000))
    (first,) = writer.files
    writer.flush()
    assert synced(first) == first.stat().st_size > 5_000
    while len(writer.files) == 1:  # no flush comes back to a file that is full
        writer.write('/seen', 5, block(5, CHUNK // 4))
    assert synced(first) == first.stat().st_size > CHUNK
    writer.close()
    assert synced(writer.files[-1]) == writer.files[-1].stat().st_size


def test_a_disk_that_fails_at_last_ends_the_recording_with_a_bag_that_reads(
    tmp_path, monkeypatch
):
    failures = [OSError(errno.EIO, 'Input/output error')]

    def fail(handle):
        if failures:
            raise failures.pop()

    writer = BagWriter(tmp_path / 'drive', room=ROOM)
    writer.add_topic(TEXT)
    writer.write('/said', 1, text('x'))
    monkeypatch.setattr(os, 'fdatasync', fail)
    with pytest.raises(BagError, match='Input/output error; .* closed with 1 messages'):
        writer.flush()
    assert [m.content.data for m in BagReader(tmp_path / 'drive').messages()] == ['x']


FILL = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_recording as t
writer = t.BagWriter(Path({folder!r}) / 'drive', 'none', room=t.ROOM + t.CHUNK)
writer.add_topic(t.BYTES)
try:
    for number in range(100_000):
        writer.write('/seen', number, t.block(number, 50_000))
except t.BagError as error:
    print(error)
found = list(t.BagReader(Path({folder!r}) / 'drive').messages())
assert [m.received for m in found] == list(range(writer.counts['/seen'])), len(found)
assert bytes(found[-1].content.data) == bytes([(len(found) - 1) % 256]) * 50_000
if {independent}:
    from rosbags.rosbag2 import Reader
    with Reader(Path({folder!r}) / 'drive') as reader:
        assert reader.message_count == sum(1 for _ in reader.messages()) == len(found)
print('read', len(found))
"""


def test_a_full_disk_leaves_a_bag_that_reads(tmp_path):
    """On a disk of 12 MiB, which is really full."""
    pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
    code = FILL.format(tests=str(Path(__file__).parent), folder=str(tmp_path), independent=True)
    mount = f'mount -t tmpfs -o size=12m tmpfs {tmp_path} && exec "$@"'
    command = ['unshare', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh']
    if subprocess.run([*command, 'true'], capture_output=True).returncode:
        pytest.skip('no small disk can be made here: unshare or mount is refused')
    done = subprocess.run([*command, sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said, read = done.stdout.splitlines()
    assert 'the disk is full' in said and 'was closed with' in said and 'can be read' in said
    assert int(read.split()[1]) > 100


def test_where_no_room_can_be_kept_back_nothing_begins(tmp_path):
    with pytest.raises(BagError, match='must have .* MiB of room for a recording to begin'):
        BagWriter(tmp_path / 'drive', room=2**62)
    assert not (tmp_path / 'drive').exists()


def test_a_killed_recording_gives_what_is_whole(tmp_path):
    write(tmp_path / 'drive', messages=200, size=CHUNK // 20, compression='none')
    (file,) = (tmp_path / 'drive').glob('*.mcap')
    (tmp_path / 'drive' / 'metadata.yaml').unlink()
    whole = file.read_bytes()
    for size in (len(whole) - 3, len(whole) // 2, len(whole) // 3 + 1):
        file.write_bytes(whole[:size])
        reader = BagReader(tmp_path / 'drive')
        found = [message.received for message in reader.messages()]
        assert found == list(range(1_000, 1_000 + len(found))) and len(found) > 100
        assert reader.cut_off == [file]
        assert set(reader.topics()) == {'/said', '/seen'}


@pytest.mark.parametrize('compression', ['zstd', 'lz4', 'none'])
def test_damage_is_named_and_never_read(tmp_path, compression):
    write(tmp_path / 'drive', compression=compression)
    (file,) = (tmp_path / 'drive').glob('*.mcap')
    whole = file.read_bytes()
    for place in range(100, len(whole) // 2, len(whole) // 23):
        torn = bytearray(whole)
        torn[place] ^= 0x10
        file.write_bytes(torn)
        reader = BagReader(tmp_path / 'drive')
        try:
            found = [message.received for message in reader.messages()]
        except BagError as error:
            assert 'without damage, got it near byte' in str(error)
        else:  # in what only tells of the file, or in a length that leads beyond its end
            assert found == list(range(1_000, 1_000 + len(found)))
            assert reader.cut_off or len(found) == 200


def squeeze(folder, mode, name):
    """Make a folder as of `ros2 bag record --compression-mode ...`."""
    folder.mkdir()
    (folder / name).write_bytes(b'')
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information:\n  storage_identifier: mcap\n'
        f'  relative_file_paths: [{name}]\n'
        f'  compression_format: zstd\n  compression_mode: {mode}\n'
    )


def test_messages_that_rosbag2_compressed_are_refused_without_their_metadata_too(tmp_path):
    writer = BagWriter(tmp_path / 'drive', room=ROOM)
    writer.add_topic(TEXT)
    writer.write('/said', 1, zstandard.ZstdCompressor().compress(text('x')))
    writer.close()
    with pytest.raises(BagError, match='^[^ ]*mcap must have its messages as they came'):
        list(BagReader(*writer.files).messages())


@pytest.mark.parametrize('size', [0, 8, 36, -1])
def test_the_topics_of_what_was_killed_before_its_first_flush_are_none(tmp_path, size):
    write(tmp_path / 'drive', messages=0)
    (file,) = (tmp_path / 'drive').glob('*.mcap')
    whole = file.read_bytes()
    # The last: the place of the index is beyond anything that a file can have.
    torn = whole[:size] if size >= 0 else whole[:-28] + b'\xff' * 16 + whole[-12:]
    file.write_bytes(torn)
    (tmp_path / 'drive' / 'metadata.yaml').unlink()
    reader = BagReader(tmp_path / 'drive')
    assert reader.topics() == {} == {m.topic.name: m for m in reader.messages()}
    assert set(reader.cut_off) == ({file} if size >= 0 else set())


@pytest.mark.parametrize(
    'make, said',
    [
        (lambda p: None, 'which is not there'),
        (lambda p: p.mkdir(), 'must hold its MCAP files'),
        (lambda p: p.write_bytes(b'no bag at all, but long enough'), 'without damage'),
        (lambda p: (p.mkdir(), (p / 'metadata.yaml').write_text('a: [')), 'must be of rosbag2'),
        (
            lambda p: (
                p.mkdir(),
                (p / 'metadata.yaml').write_text(
                    'rosbag2_bagfile_information:\n  storage_identifier: sqlite3\n'
                    '  relative_file_paths: [a.db3]\n'
                ),
            ),
            'must be mcap, got sqlite3',
        ),
        (lambda p: squeeze(p, 'MESSAGE', 'a.mcap'), 'compressed by rosbag2; convert it'),
        (lambda p: squeeze(p, 'FILE', 'a.mcap.zstd'), 'compressed by rosbag2; convert it'),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path, make, said):
    make(tmp_path / 'drive')
    with pytest.raises(BagError, match=said):
        list(BagReader(tmp_path / 'drive').messages())


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / 'drive').mkdir()
    with pytest.raises(BagError, match='needs a new folder'):
        BagWriter(tmp_path / 'drive')
    with pytest.raises(BagError, match='compression must be one of zstd, lz4, none'):
        BagWriter(tmp_path / 'other', 'gzip')


def test_a_definition_carries_everything_in_it(tmp_path):
    texts = {
        'a_msgs': {'A': 'uint8 X=1  # b_msgs/No\nb_msgs/B[] many\nOwn<=3 own\nstring<=5 name\n'},
        'b_msgs': {'B': 'a_msgs/Own[2] pair\nfloat64[<=3] values\n'},
    }
    texts['a_msgs']['Own'] = 'bool x'
    for package, messages in texts.items():
        (tmp_path / package / 'msg').mkdir(parents=True)
        for name, words in messages.items():
            (tmp_path / package / 'msg' / f'{name}.msg').write_text(words)
    line = '=' * 80
    assert definition('a_msgs/msg/A', lambda package: tmp_path / package) == '\n'.join(
        [
            texts['a_msgs']['A'],
            f'{line}\nMSG: b_msgs/B\n{texts["b_msgs"]["B"]}',
            f'{line}\nMSG: a_msgs/Own\nbool x',
        ]
    )
    with pytest.raises(DefinitionError, match='share/a_msgs/msg/C.msg'):
        definition('a_msgs/msg/C', lambda package: tmp_path / package)


class Blocked(BagWriter):
    """A disk that takes nothing until it is told to."""

    def __init__(self, folder, gate):
        super().__init__(folder, room=ROOM)
        self.gate = gate

    def write(self, *message):
        self.gate.wait(30)
        super().write(*message)


def test_a_slow_disk_costs_images_first_and_never_memory(tmp_path):
    import threading

    gate = threading.Event()
    writer = Blocked(tmp_path / 'drive', gate)
    writer.add_topic(TEXT)
    writer.add_topic(BYTES)
    recording = Recording(writer, memory=1_000_000)
    for number in range(20):
        recording.put('/seen', number, block(number, 100_000))
    assert recording.dropped['/seen'] in (12, 13) and recording.waiting < 750_000
    assert all(recording.put('/said', 20, text('x' * 100)) for _ in range(1_000))
    gate.set()
    recording.stop()
    assert not recording.failure and set(recording.dropped) == {'/seen'}
    assert writer.counts == {'/said': 1_000, '/seen': 20 - recording.dropped['/seen']}
    assert sum(1 for _ in BagReader(tmp_path / 'drive').messages()) == sum(writer.counts.values())


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_recording as t
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * t.CHUNK, 3 * t.CHUNK))
folder = Path({folder!r}) / 'drive'
writer = t.BagWriter(folder, 'none', room=t.ROOM)
writer.add_topic(t.BYTES)
recording = t.Recording(writer)
number = 0
while not recording.failure:
    number += recording.put('/seen', number, t.block(number, 50_000))
recording.stop()
print(recording.failure)
assert not recording.put('/seen', 0, b'') and recording.dropped
reader = t.BagReader(folder)
found = [message.received for message in reader.messages()]
assert found == list(range(len(found))) and len(found) * 50_000 > 1.5 * t.CHUNK
assert [file.name for file in reader.cut_off] == ['drive_0.mcap']
"""


def test_where_not_even_the_end_can_be_written_what_is_whole_is_read(tmp_path):
    """A file may not grow beyond a limit: no room that was kept back helps."""
    code = LIMITED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'could not be closed, got: File too large' in done.stdout


def test_topics_without_a_message_are_known_as_such(tmp_path):
    writer = BagWriter(tmp_path / 'drive', room=ROOM)
    writer.add_topic(TEXT)
    writer.add_topic(BYTES)
    writer.write('/said', 1, text('words'))
    writer.close()
    reader = BagReader(tmp_path / 'drive')
    assert set(reader.topics()) == {'/said', '/seen'} and reader.filled == {'/said'}
    (file,) = reader.files
    file.write_bytes(file.read_bytes()[:-40])  # without its index
    reader = BagReader(file)
    assert set(reader.topics()) == reader.filled == {'/said'}
