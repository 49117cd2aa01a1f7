"""The deployed graph, without trainer and episode manager: one command per frame, none late."""

import json
import subprocess
import sys


def test_the_bench_runs_in_lock_step_and_reports(nothing_left):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'graph', '--json', '--seconds', '3']
        + ['--camera', '128x72'],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (result,) = report['graph']
    assert report['machine']['cores'] >= 1
    assert result['camera'] == '128x72' and result['steps_per_second'] > 20
    assert result['timeouts'] == result['late_commands'] == 0
    assert abs(result['commands'] - result['frames']) <= 1
    assert 0.0 < result['latency_p50_ms'] <= result['latency_p99_ms']
