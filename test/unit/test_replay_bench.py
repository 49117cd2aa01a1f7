"""``av-td3 bench replay``: every side is filled and measured, what is missing is said."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest

from av_td3_ros.cli import bench_codecs, bench_replay
from av_td3_ros.options import ConfigError


@pytest.fixture
def bench(monkeypatch, capsys):
    """Return a function that runs the command with made-up frames and returns its output."""

    def frames(config, count):
        steps = np.arange(count, dtype=np.uint8)[:, None, None]
        return np.broadcast_to(steps, (count, *config.observation.spec().frame_shape)).copy()

    monkeypatch.setattr(bench_replay, 'simulated_frames', frames)
    monkeypatch.setattr(bench_replay, 'STORED_PER_ROUND', 20)
    monkeypatch.setattr(bench_replay, 'BATCHES_PER_ROUND', 2)

    def run(*arguments):
        parser = argparse.ArgumentParser()
        bench_replay.add_parser(parser.add_subparsers())
        options = parser.parse_args(['replay', '--set', 'observation.height=36', *arguments])
        assert options.run(options) == 0
        return capsys.readouterr().out

    return run


def test_measures_every_side():
    pytest.importorskip('carla')
    pytest.importorskip('panda3d')
    # In a process of its own: this one may have kept memory that it would fill again unseen. And
    # enough transitions that what the interpreter takes beside does not count.
    options = '--json --transitions 4000 --frames 100 --rounds 2 --set observation.height=36'
    command = [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'replay', *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row['side']: row for row in report['replay']}
    own = set(bench_replay.SIDES)
    assert own <= set(rows) <= own | set(bench_replay.PEERS)
    frame = 36 * 84
    for row in rows.values():
        assert row['transitions'] >= 4000
        for key in ('inserts_per_second', 'sample_128_ms', 'sample_256_ms'):
            assert 0 < row[key]['low'] <= row[key]['median'] <= row[key]['high']
    assert frame < rows['memory']['bytes_per_transition'] < frame + 500
    assert frame < rows['mapped']['bytes_per_transition'] < frame + 500
    assert rows['compressed']['bytes_per_transition'] < 0.75 * frame
    if 'Stable-Baselines3' in rows:
        assert 7.5 * frame < rows['Stable-Baselines3']['bytes_per_transition'] < 9 * frame


def test_prints_a_table_and_says_what_is_missing(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, 'stable_baselines3', None)
    text = bench('--transitions', '1000', '--frames', '100', '--rounds', '1')
    lines = text.splitlines()
    assert [line.split('  ')[0] for line in lines[1:-1]] == list(bench_replay.SIDES)
    assert lines[-1].endswith('not installed; pip install stable-baselines3')


@pytest.mark.parametrize('name', ['transitions', 'frames', 'rounds'])
def test_refuses_numbers_that_measure_nothing(bench, name):
    with pytest.raises(ConfigError, match=f'--{name} must be >= .*, got 0'):
        bench(f'--{name}', '0')


def test_compares_codecs(bench, monkeypatch):
    monkeypatch.setattr(bench_codecs, 'GROUPS', (1, 4))
    lines = bench('--codecs', '--frames', '400').splitlines()
    assert lines[0] == ','.join(bench_codecs.COLUMNS)
    rows = [line.rsplit(',', 5) for line in lines[1:]]
    kinds = {(head.split(',')[0], group, difference) for head, group, difference, *_ in rows}
    assert kinds == {
        (frames, *how)
        for frames in ('simulated', 'with noise')
        for how in (('1', '0'), ('4', '0'), ('4', '1'))
    }
    assert any('dictionary' in head for head, *_ in rows)


def test_a_codec_that_changes_frames_is_an_error():
    broken = bench_codecs.Codec('broken', lambda data: b'', lambda data, size: bytes(size))
    with pytest.raises(ValueError, match='broken must return what it was given'):
        bench_codecs.try_codec(broken, np.ones((8, 4, 4), np.uint8), 4, False)
