"""The deployed nodes answer every frame of a foreign camera, whatever runs the policy."""

import json
import subprocess
import sys


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
        assert 0.0 < result['p50_ms'] <= result['p99_ms'] <= result['p99_9_ms']
