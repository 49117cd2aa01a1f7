"""The deployed nodes answer every frame of a foreign camera, whatever runs the policy."""

import csv
import json
import subprocess
import sys

from av_td3_ros.graph import PRIORITY
import pytest

# A machine that stands still for a moment must not make the gate brake, which is no measurement.
PATIENT = ('--set=policy.gate.observation_timeout=9.0', '--set=policy.gate.max_age=9.0')


def read_frames(folder):
    """Rows of frames.csv."""
    with open(folder / 'frames.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_the_bench_deploys_and_reports_each_engine(nothing_left, tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'deploy', '--json']
        + ['--seconds', '2', '--busy', '0', '--camera', '320x240', '--rate', '10']
        + ['--output', str(tmp_path), *PATIENT],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report['machine']['cores'] >= 1
    assert [result['engine'] for result in report['deploy']] == ['onnx', 'torch']
    for result in report['deploy']:
        assert result['frames'] >= 15 and result['commanded'] == result['frames']
        assert result['repeated'] == result['braked'] == result['unknown'] == 0
        assert result['priority'] == (0 if 'rtprio' in done.stderr else PRIORITY)
        assert 0.0 < result['p50_ms'] <= result['p99_ms'] <= result['p99_9_ms']
        own = [row for row in read_frames(tmp_path) if row['engine'] == result['engine']]
        assert len(own) == result['frames'] and own[0]['since_first_s'] == '0.000'
        assert max(float(row['answered_ms']) for row in own) == pytest.approx(
            result['max_ms'], abs=0.01
        )
    written = json.loads((tmp_path / 'deploy.json').read_text())
    assert written['deploy'] == report['deploy'] and written['options']['rate'] == 10.0


def test_a_car_that_brakes_is_no_measurement(nothing_left):
    """It brakes between two images, the second of which is so long in coming, and by them."""
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'deploy', '--json']
        + ['--engine', 'onnx', '--seconds', '2', '--busy', '0', '--camera', '320x240']
        + ['--rate', '7', '--set=policy.gate.observation_timeout=0.1'],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1, done.stderr
    assert 'no measurement with onnx: ' in done.stderr
    (result,) = json.loads(done.stdout)['deploy']
    assert result['unknown'] > 0 and result['braked'] > 0
    assert result['commanded'] > 0.5 * result['frames']


def test_new_weights_cost_no_command_and_each_of_them_drives(nothing_left, tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'swap', '--json']
        + ['--swaps', '20', '--swap-rate', '7', '--busy', '0', '--camera', '320x240']
        + ['--rate', '10', '--output', str(tmp_path), *PATIENT],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)['swap']
    assert result['published'] >= 20 and result['refused'] == 0
    # One that comes before the last was looked at replaces it.
    assert 0.8 * result['published'] <= result['adopted'] <= result['published']
    assert result['versions_that_drove'] > 0.5 * result['published']
    for part in ('with_swap', 'without'):
        assert result[part]['commanded'] == result[part]['frames'] > 0
        assert result[part]['repeated'] == result[part]['braked'] == 0
    assert result['unknown'] == 0
    rows = read_frames(tmp_path)
    assert sum(row['swap'] == '1' for row in rows) == result['with_swap']['frames']
    assert len(rows) == result['with_swap']['frames'] + result['without']['frames']
    assert json.loads((tmp_path / 'swap.json').read_text())['swap'] == result
    assert min(mib for _, mib in result['memory_mib']) > 10.0
