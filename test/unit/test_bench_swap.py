"""``av-td3 bench swap``: which frames met a swap, and what it refuses."""

import json
from types import SimpleNamespace

import pytest

from av_td3_ros.cli import bench_swap
from av_td3_ros.cli.bench_swap import growth, NEAR, split
from av_td3_ros.cli.main import main
from av_td3_ros.config import RunConfig


def test_frames_that_meet_a_swap_by_hand():
    sent = {1: 10.0, 2: 10.05, 3: 10.1, 4: 10.15, 5: 10.2}
    answers = {1: [0.005], 2: [0.005], 3: [0.005], 4: [0.02]}
    swaps = [9.0, 10.05 - 0.5 * NEAR, 10.1 + 0.006, 10.16, 30.0]
    # Before the second, just behind the third's command, within the fourth; the fifth has none.
    assert split(sent, answers, [1, 2, 3, 4, 5], swaps) == ([2, 4], [1, 3, 5])


def looks(count=40, held=lambda place: 225.0):
    """The memory every five seconds, from the twelfth second on."""
    return [(12.0 + 5.0 * place, held(place)) for place in range(count)]


@pytest.mark.parametrize(
    'series, quarters, grew',
    [
        (looks(), [225.0, 225.0], ''),
        (looks(held=lambda place: 225.0 if place > 9 else 100.0), [225.0, 225.0], ''),
        (looks(held=lambda place: 225.0 + 0.9 * place), [247.05, 256.05], 'own memory by 9.0 MiB'),
        (looks(held=lambda place: 400.0 + 0.9 * place), [422.05, 431.05], ''),  # below 3 %
        (looks(7, held=lambda place: 100.0 * place), None, ''),
        ([], None, ''),
    ],
)
def test_memory_is_flat_or_not_by_its_last_two_quarters(series, quarters, grew):
    found = growth(series)
    assert found['memory_grew'] == grew
    told = found['memory_quarters_mib']
    assert told == (quarters and pytest.approx(quarters))


@pytest.mark.parametrize(
    'change, text, code',
    [
        ({}, 'too short to tell', 0),
        ({'braked': {103}}, '0 commanded again, 1 braked', 1),
        ({'unknown': [4.01, 0.5]}, '; 1 commands for no image', 1),
        ({'memory_mib': looks()}, '225.0 to 225.0 in the last two quarters, flat', 0),
        ({'memory_mib': looks(held=lambda place: 9.0 * place)}, 'GREW: own memory by 90.0 MiB', 1),
    ],
)
def test_what_was_measured_is_kept_and_judged(monkeypatch, capsys, tmp_path, change, text, code):
    pytest.importorskip('av_td3_ros.nodes.supervisor')
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')  # put back after the bench has chosen its own
    frames = {
        'sent': {100 + turn: 1.0 * turn for turn in range(6)},
        'answers': {100 + turn: [0.005] for turn in range(6)},
        'unknown': [],
        'braked': set(),
        'drove': {1: 4, 2: 2},
        'priority': 0,
    }
    held = {'memory_mib': change.pop('memory_mib', looks(2))}
    trainer = SimpleNamespace(sent=[0.0, 3.002], adopted=2, refused=0, **held)
    stack = SimpleNamespace(**{**frames, **change})

    def drive(config, shown, options, folder, seconds, begin, settled):
        begin(None, None)
        return stack, 2

    monkeypatch.setattr(bench_swap, 'Trainer', lambda *_: trainer)
    monkeypatch.setattr(bench_swap, 'make_weights', lambda config: [])
    monkeypatch.setattr(bench_swap.bench_stack, 'prepare', lambda *_: RunConfig())
    monkeypatch.setattr(bench_swap.bench_stack, 'show', lambda *_: None)
    monkeypatch.setattr(bench_swap.bench_stack, 'drive', drive)
    assert main(['bench', 'swap', '--rate', '1', '--output', str(tmp_path / 'out')]) == code
    assert text in capsys.readouterr().out
    lines = (tmp_path / 'out' / 'frames.csv').read_text().splitlines()
    assert lines[0] == 'since_first_s,gap_ms,answered_ms,swap,commands,braked'
    assert [line.split(',')[3] for line in lines[1:]] == ['0', '1', '0', '0']
    assert [line.split(',')[5] for line in lines[1:]].count('1') == len(stack.braked)
    data = json.loads((tmp_path / 'out' / 'swap.json').read_text())
    assert data['options']['rate'] == 1.0 and data['machine']['cores'] >= 1
    found = data['swap']
    assert (found['published'], found['adopted'], found['refused']) == (2, 2, 0)
    assert (found['versions_that_drove'], found['frames_driven']) == (2, 6)
    assert (found['with_swap']['frames'], found['without']['frames']) == (1, 3)
    assert found['memory_mib'] == [list(look) for look in held['memory_mib']]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(refused, tmp_path):
    (tmp_path / 'file').write_text('')
    for bench in ('deploy', 'swap'):
        said = refused('bench', bench, '--output', str(tmp_path / 'file'))
        assert '--output must be a folder that can be written, got' in said


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--swaps', '0'], '--swaps must be >= 1, got 0'),
        (['--swap-rate', '0'], '--swap-rate must be 0.1 to 1000 a second, got 0'),
        (['--camera', 'x'], '--camera must be WIDTHxHEIGHT'),
    ],
)
def test_nonsense_is_refused(refused, monkeypatch, arguments, text):
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')  # put back after the bench has chosen its own
    assert text in refused('bench', 'swap', *arguments)
