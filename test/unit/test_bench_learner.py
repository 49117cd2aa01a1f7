"""`av-td3 bench learner`: what its JSON promises, ratios by hand, refusals, a whole profile."""

import argparse
import json
from pathlib import Path
import subprocess
import sys
import time

import pytest
import torch

from av_td3_ros.cli import bench_learner, bench_peer, bench_profile
from av_td3_ros.cli.bench_learner import Case, PEER, RECOMMENDED, SAME, Settings, Turn
from av_td3_ros.cli.bench_sides import Load, Side
from av_td3_ros.options import ConfigError

SHORT = ('--threads', '1', '--rounds', '2', '--seconds', '0.01')


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench_learner, 'FRAMES', 300)
    monkeypatch.setattr(bench_learner, 'PEER_BATCH', 16)
    monkeypatch.setattr(bench_profile, 'FRAMES', 300)
    monkeypatch.setattr(bench_profile, 'WINDOW', 2)
    monkeypatch.setattr(bench_profile, 'PEAK_SIZES', (128,))


def run(*arguments):
    """Run the command as `av-td3 bench` does."""
    parser = argparse.ArgumentParser()
    bench_learner.add_parser(parser.add_subparsers())
    options = parser.parse_args(['learner', *arguments])
    return options.run(options)


def test_side_by_side(capsys):
    pytest.importorskip('stable_baselines3', reason='compares with stable_baselines3')
    assert run(*SHORT, '--batch', '8', '--json') == 0
    result = json.loads(capsys.readouterr().out)
    assert result['rounds'] == 2 and result['stable_baselines3']
    assert {'processor', 'cores', 'torch', 'bf16_instructions'} <= set(result['machine'])
    assert all(peak > 0 for peak in result['machine']['matrix_peak_gflops']['1'].values())
    rows = {(row['learner'], row['precision'], row['batch']): row for row in result['learner']}
    assert set(rows) == {
        *((PEER, 'fp32', batch) for batch in (8, 16, 32)),
        *((SAME, precision, 8) for precision in ('fp32', 'bf16')),
        *((RECOMMENDED, precision, 32) for precision in ('fp32', 'bf16')),
    }
    for (learner, precision, _), row in rows.items():
        assert row['threads'] == 1 and row['updates'] >= 4 and not row['prefetch']
        assert row['arithmetic'].startswith(precision)
        spreads = [row['updates_per_second'], row['core_ms_per_update']]
        assert (learner == PEER) == ('ratio' not in row) == ('ratio_to_defaults' not in row)
        spreads += [row[key] for key in ('ratio', 'ratio_to_defaults') if key in row]
        assert all(0 < s['low'] <= s['median'] <= s['high'] for s in spreads)
    assert result['cores_used_by_others'] is None or result['cores_used_by_others'] >= 0.0
    exact = result['exactness']
    assert exact['batch'] == 8 and set(exact['by_network']) == set(bench_peer.NETWORKS)
    assert 0.0 <= exact['largest_difference'] <= 1e-5
    text = bench_learner.to_text(result)
    assert max(len(line) for line in text.splitlines()) < 100
    assert 'recommended bf16' in text and 'largest difference' in text


def test_ratios_are_taken_within_a_round():
    ours, peer = Case(SAME, 'bf16', 8, 1), Case(PEER, 'fp32', 8, 1)
    turns = {
        ours: [Turn(40, 1.0, 1.0), Turn(20, 1.0, 1.0), Turn(30, 1.0, 1.5)],
        peer: [Turn(20, 1.0, 1.0), Turn(5, 1.0, 1.0), Turn(10, 1.0, 1.0)],
        peer._replace(batch=16): [Turn(10, 1.0, 1.0)] * 3,
    }
    row = bench_learner.row(ours, turns)
    assert row['updates_per_second'] == {'median': 30.0, 'low': 25.0, 'high': 35.0}
    assert row['ratio'] == {'median': 3.0, 'low': 2.5, 'high': 3.5}  # 2, 4, 3
    assert row['ratio_to_defaults']['median'] == 3.0
    assert row['core_ms_per_update']['median'] == 50.0 and row['updates'] == 90


def test_all_cases_by_default():
    cases = bench_learner.list_cases(bench_learner.BATCHES, (1, 2), 128)
    assert len(cases) == len(set(cases))
    assert {case for case in cases if case.threads == 2} == {
        *(Case(PEER, 'fp32', batch, 2) for batch in (256, 128, 64, 16)),
        *(Case(SAME, each, batch, 2) for batch in (256, 128, 64) for each in ('fp32', 'bf16')),
        *(Case(RECOMMENDED, each, 128, 2) for each in ('fp32', 'bf16')),
    }


def test_profile_accounts_for_a_whole_update(capsys, monkeypatch):
    profiled = bench_profile._profiled

    def undisturbed(*how):
        # A machine that stands still in so short a window has spent that time in any part.
        for _ in range(3):
            entry = profiled(*how)
            other = [r['share'] for r in entry['rows'] if r['part'] == bench_profile.OTHER]
            if other[0] < 0.2 and entry['metrics_share'] < 0.1:
                break
        return entry

    monkeypatch.setattr(bench_profile, '_profiled', undisturbed)
    assert run('--profile', *SHORT, '--json') == 0
    result = json.loads(capsys.readouterr().out)
    assert [entry['precision'] for entry in result['profile']] == ['fp32', 'bf16']
    for entry in result['profile']:
        rows = {row['part']: row for row in entry['rows']}
        assert sum(row['share'] for row in rows.values()) == pytest.approx(1.0, abs=0.02)
        total = sum(row['ms'] for row in rows.values())
        assert total == pytest.approx(entry['profiled_update_ms'], rel=0.02)
        assert entry['update_ms'] > 0 and 0 < entry['metrics_share'] < 0.1
        named = set(bench_profile.SIMPLE.values()) | {
            'target encoder forward',
            'encoder forward',
            'MLPs forward',
            'pixels to floats, heads, loss',
            'backward, MLPs, heads and activations',
            'gradient norms and clip',
            'Adam',
            bench_profile.LINEAR_BACKWARD,
            *(bench_profile.CONVOLUTION_BACKWARD.format(i) for i in (1, 2, 3)),
        }
        assert named <= set(rows)
        assert rows[bench_profile.OTHER]['share'] < 0.2
        # By hand, NatureCNN at batch 32: 32 8x8/4, 64 4x4/2, 64 3x3/1, 3136 to 50.
        first = 2 * 32 * 32 * 20 * 20 * 4 * 8 * 8
        second = 2 * 32 * 64 * 9 * 9 * 32 * 4 * 4
        third = 2 * 32 * 64 * 7 * 7 * 64 * 3 * 3
        linear = 2 * 32 * 3136 * 50
        gflop = {part: row['gflop'] * 1e9 for part, row in rows.items() if row['gflop']}
        assert gflop == pytest.approx(
            {
                'target encoder forward': first + second + third + linear,
                'encoder forward': first + second + third + linear,
                bench_profile.CONVOLUTION_BACKWARD.format(1): first,  # weights alone
                bench_profile.CONVOLUTION_BACKWARD.format(2): 2 * second,
                bench_profile.CONVOLUTION_BACKWARD.format(3): 2 * third,
                bench_profile.LINEAR_BACKWARD: 2 * linear,
            }
        )
    assert max(len(line) for line in bench_profile.text(result).splitlines()) < 100


@pytest.mark.parametrize(
    'arguments, text',
    [
        (('--rounds', '0'), '--rounds must be >= 1, got 0'),
        (('--seconds', '0'), '--seconds must be above 0 and finite, got 0'),
        (('--seconds', 'nan'), '--seconds must be above 0 and finite, got nan'),
        (('--threads', '0'), '--threads must be 1 to .* got 0'),
        (('--threads', '5000'), '--threads must be 1 to .* got 5000'),
        (('--batch', '0'), '--batch must be 1 to 4096, got 0'),
        (('--profile', '--batch', '8'), '--profile must stand without --batch'),
    ],
)
def test_refuses(arguments, text):
    with pytest.raises(ConfigError, match=text):
        run(*arguments)


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'stable_baselines3', None)
    with pytest.raises(ConfigError, match='must have stable_baselines3.*pip install'):
        run(*SHORT)


@pytest.mark.skipif(torch.cuda.is_available(), reason='of a machine without CUDA')
def test_refuses_a_gpu_that_is_not_there():
    with pytest.raises(ConfigError, match='--device cuda must have a CUDA device, got none'):
        run('--device', 'cuda')


@pytest.mark.skipif(not Path('/proc/stat').exists(), reason='asks /proc')
def test_notices_other_processes():
    busy = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
        foreign, own = Load(), Load(busy.pid)
        time.sleep(0.5)
        assert foreign.cores() - own.cores() > 0.1  # a core, or what others leave of it
    finally:
        busy.kill()
        busy.wait()


def test_a_side_that_fails_says_why():
    side = Side(SAME, Settings(300, 'cpu'))
    try:
        with pytest.raises(ConfigError, match='preset must be one of'):
            side.ask('turn', Case('unknown', 'fp32', 8, 1), 0.0)
        side._process.kill()
        with pytest.raises(RuntimeError, match='must live to its end, got exit code -9'):
            side.ask('turn', Case(SAME, 'fp32', 8, 1), 0.0)
    finally:
        side.close()
