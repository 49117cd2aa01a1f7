"""The deployed graph, without trainer and episode manager: one command per frame, none late."""

import json
import subprocess
import sys


def test_the_bench_runs_in_lock_step_and_reports(nothing_left):
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'graph', '--json', '--seconds', '3']
        # A machine that is busy elsewhere must not make the simulation tick without a command.
        + ['--camera', '128x72', '--set=simulator.control_timeout=10.0'],
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


def test_the_soak_trains_looks_and_judges(nothing_left, tmp_path):
    from test_training_graph import SMALL

    small = [f'--set={key}={value}' for key, value in SMALL.items() if key != 'trainer.steps']
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'soak', '--minutes', '0.2']
        + ['--every', '1', '--output', str(tmp_path), *small],
        capture_output=True,
        text=True,
        timeout=240,
    )
    # Within seconds of its start a process may still grow; it must say so, and by its exit code.
    assert done.returncode == int('GREW' in done.stdout), done.stdout + done.stderr
    assert ' 0 lost or doubled' in done.stdout and 'restarts: none' in done.stdout
    found = json.loads((tmp_path / 'soak.json').read_text())
    rows = {row['process']: row for row in found['processes']}
    assert rows.keys() == {'trainer', 'policy', 'perception', 'episode_manager', 'simulator'}
    for row in rows.values():
        # Each of the six participants, the supervisor with them, has a segment and ports.
        assert min(row['segments']) > 6 and row['resident_mib'] > row['memory_mib']
    assert found['graph']['transitions_stored'] > 20
