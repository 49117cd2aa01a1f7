"""The deployed nodes answer every frame of a foreign camera, whatever runs the policy."""

import json
import subprocess
import sys

from av_td3_ros.graph import PRIORITY


def test_the_bench_deploys_and_reports_each_engine(nothing_left):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'deploy', '--json']
        + ['--seconds', '2', '--busy', '0', '--camera', '320x240', '--rate', '10'],
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
        assert result['repeated'] == 0
        assert result['priority'] == (0 if 'rtprio' in done.stderr else PRIORITY)
        assert 0.0 < result['p50_ms'] <= result['p99_ms'] <= result['p99_9_ms']


def test_new_weights_cost_no_command_and_each_of_them_drives(nothing_left):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'swap', '--json']
        + ['--swaps', '20', '--swap-rate', '7', '--busy', '0', '--camera', '320x240']
        + ['--rate', '10'],
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
        assert result[part]['repeated'] == 0
    assert min(mib for _, mib in result['memory_mib']) > 10.0
