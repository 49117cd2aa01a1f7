"""``av-td3 record``, ``replay`` and ``view``: what is refused, and what is told of a bag."""

import builtins
import json
import re
import sys

import pytest
from test_recording import ROOM, TEXT, text, write

from av_td3_ros.cli.main import main
from av_td3_ros.options import ConfigError
from av_td3_ros.recording.bag_reader import BagReader
from av_td3_ros.recording.bag_writer import BagWriter


@pytest.mark.parametrize(
    'arguments, said',
    [
        (['record', '--memory', '0'], '--memory must be >= 1, got 0'),
        (['record', '--split', 'nan'], '--split must be >= 0.001, got nan'),
        (['record', '--seconds', '-1'], '--seconds must be >= 0, got -1'),
        (['replay', 'no/such/bag'], 'no/such/bag, which is not there'),
        (['replay', 'no/such/bag', '--info'], 'no/such/bag, which is not there'),
        (['replay', 'bag', '--rate', '0'], '--rate must be in (0, 1000], got 0'),
        (['replay', 'bag', '--rate', 'nan'], '--rate must be in (0, 1000], got nan'),
        (['view', '--port', '80'], '--port must be in [1024, 65535], got 80'),
        (['view', '--data-port', '0'], '--data-port must be in [1024, 65535], got 0'),
        (['view', '--memory', '1'], '--memory must be in [16, 65536], got 1'),
    ],
)
def test_bad_input_gets_one_line(refused, arguments, said):
    assert said in refused(*arguments)


def test_a_recording_into_a_folder_that_is_there_is_refused(refused, tmp_path):
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    assert 'needs a new folder' in refused('record', '--output', tmp_path)
    assert not list(tmp_path.iterdir())
    said = refused('record', '--output', tmp_path / 'new', '--topics', 'image', 'nonsense')
    assert "got 'nonsense', expected some of" in said and not (tmp_path / 'new').exists()


def test_a_recording_that_could_not_begin_leaves_no_folder(refused, tmp_path, monkeypatch):
    rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

    def fail(**kwargs):
        raise ConfigError('the domain must be one that there is')

    monkeypatch.setattr(rclpy, 'init', fail)
    assert 'the domain must be' in refused('record', '--output', tmp_path / 'runs' / 'night')
    assert not list((tmp_path / 'runs').iterdir())


def test_only_a_bag_without_messages_is_taken_away(tmp_path):
    for messages, stays in ((0, False), (1, True)):
        folder = tmp_path / str(messages)
        writer = write(folder, messages)
        writer.remove()
        assert folder.exists() is stays
    assert len(list(BagReader(folder).messages())) == 2


@pytest.mark.parametrize(
    'rules, said',
    [
        (
            ['image'],
            "--remap must be FROM:=TO, once for a topic of the graph and to .*, got 'image'",
        ),
        (
            ['image:=/front image'],
            "got 'image:=/front image'; FROM may be in full or one of action,",
        ),
        (['image:='], "got 'image:='"),
        (['/nowhere:=/there'], "got '/nowhere:=/there'"),
        (['image:=/one', 'image:=/two'], "got 'image:=/two'"),
        (['image:=/seen', 'depth:=/seen'], 'each topic its own name, got /seen for two'),
        (['image:=/clock'], 'each topic its own name, got /clock for two'),
    ],
)
def test_a_rule_that_is_none_is_refused(refused, tmp_path, rules, said):
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    arguments = [part for rule in rules for part in ('--remap', rule)]
    assert re.search(said, refused('record', '--output', tmp_path / 'new', *arguments))
    assert not (tmp_path / 'new').exists()


def test_without_the_viewer_one_line_says_what_to_do(refused, monkeypatch):
    def none(name, *rest, **more):
        if name.partition('.')[0] == 'rerun':
            raise ImportError(name)
        return real(name, *rest, **more)

    real = builtins.__import__
    for name in [name for name in sys.modules if name.partition('.')[0] == 'rerun']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'rerun', None)
    monkeypatch.setattr(builtins, '__import__', none)
    assert 'rerun-sdk, which is not installed' in refused('view')


def test_what_is_in_a_bag_is_told(capsys, tmp_path):
    write(tmp_path / 'drive')
    assert main(['replay', str(tmp_path / 'drive'), '--info']) == 0
    told = capsys.readouterr().out
    assert '100  /said  std_msgs/msg/String' in told and 'transitions: 0 received' in told
    assert main(['replay', str(tmp_path / 'drive'), '--info', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['topics']['/seen'] == {'type': 'made_msgs/msg/Bytes', 'messages': 100}
    assert found['begun'] == 1_000 and found['cut_off'] == []


def test_an_empty_bag_is_told_too(capsys, tmp_path):
    writer = BagWriter(tmp_path / 'drive', room=ROOM)
    writer.close()
    assert main(['replay', str(tmp_path / 'drive'), '--info']) == 0
    assert ': 0.0 s' in capsys.readouterr().out


def test_damage_is_told_in_one_line(refused, tmp_path):
    writer = BagWriter(tmp_path / 'drive', 'none', room=ROOM)
    writer.add_topic(TEXT)
    writer.write('/said', 1, text('x' * 1_000))
    writer.close()
    (file,) = (tmp_path / 'drive').glob('*.mcap')
    torn = bytearray(file.read_bytes())
    torn[torn.index(b'xxxx') + 100] ^= 1
    file.write_bytes(torn)
    assert 'without damage, got it near byte' in refused('replay', tmp_path / 'drive', '--info')
