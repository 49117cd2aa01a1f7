"""``av-td3 bench sim``: every side is measured in a process of its own; what fails is said."""

import argparse
from contextlib import suppress
import json
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.cli import bench_sim, bench_sim_profile  # noqa: E402
from av_td3_ros.cli.main import main  # noqa: E402
from av_td3_ros.options import ConfigError  # noqa: E402
from waiting import until  # noqa: E402

SHORT = ['--rounds', '2', '--seconds', '0.1']


def test_measures_and_profiles_every_side(capsys):
    sizes = ['--camera', '84x84', '--vehicles', '0', '--vehicles', '3']
    length = ['--rounds', '3', '--seconds', '0.5']  # many times what a machine stands still
    assert main(['bench', 'sim', '--json', '--profile', *length, *sizes]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['map'] == 'town' and report['machine']['cores'] >= 1
    rows = report['sim']
    assert [(row['camera'], row['vehicles']) for row in rows] == [('84x84', 0), ('84x84', 3)]
    lines = bench_sim.table(rows).splitlines()
    assert lines[0].split() == 'steps/s per s of a core reset peak cold cached'.split()
    for row, line in zip(rows, lines[1:]):
        assert line.startswith(row['side'])
        rate = row['steps_per_second']
        assert 10 < rate['low'] <= rate['median'] <= rate['high'] < 100_000
        core = row['steps_per_core_second']
        assert 0.8 * rate['median'] < core['median'] < 100_000
        assert 50e6 < row['peak_bytes'] < 1e9
        assert 0.0 < row['load_cached_seconds'] < 30.0 and 0.0 < row['load_cold_seconds'] < 30.0
        profile = row['profile']
        assert sum(part['share'] for part in profile) == pytest.approx(1.0)
        whole = sum(part['ms'] for part in profile)
        assert 0.3 < whole * core['median'] / 1e3 < 3.0
        assert profile[0]['ms'] >= profile[-1]['ms']
        assert {'render', 'physics', 'preprocess', 'reward'} <= {p['part'] for p in profile}


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--camera', 'big'], "--camera must be WIDTHxHEIGHT, such as 256x144, got 'big'"),
        (['--camera', '8x8'], 'simulator.image_width must be 32 to 1920 px, got 8'),
        (['--vehicles', '10000'], 'simulator.vehicles must be 0 to 100, got 10000'),
        (['--rounds', '0'], '--rounds must be >= 1, got 0'),
        (['--seconds', '0'], '--seconds must be >= 0.1, got 0'),
        (['--seconds', 'nan'], '--seconds must be >= 0.1, got nan'),
    ],
)
def test_refuses_what_measures_nothing(arguments, text):
    parser = argparse.ArgumentParser()
    bench_sim.add_parser(parser.add_subparsers())
    options = parser.parse_args(['sim', *arguments])
    with pytest.raises(ConfigError) as error:
        options.run(options)
    assert text in str(error.value)


@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('phase', ['loading', 'rounds'])
def test_a_stop_ends_every_process_and_leaves_nothing(tmp_path, stop, phase):
    command = [sys.executable, '-m', 'av_td3_ros.cli.main', 'bench', 'sim', '--rounds', '1000']
    process = subprocess.Popen(
        [*command, '--camera', '84x84', '--vehicles', '0'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'TMPDIR': str(tmp_path)},
        start_new_session=True,
    )
    try:
        # Lanes are kept there while a side loads, and are gone when it measures.
        until(lambda: list(tmp_path.glob('av_td3_bench_*/*')), process=process)
        if phase == 'rounds':
            until(lambda: not os.listdir(tmp_path), process=process)
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does: to all of them
        else:
            process.send_signal(stop)
        _, errors = process.communicate(timeout=20)  # until every process let go of the pipes
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130 and errors == ''
    assert not list(tmp_path.iterdir())


def test_an_error_in_the_process_of_a_side_is_told(capsys):
    assert main(['bench', 'sim', '--map', 'no/such.xodr', *SHORT]) == 2
    assert 'No such file or directory' in capsys.readouterr().err


def test_time_outside_the_package_counts_for_its_caller():
    camera = (str(bench_sim_profile.ROOT / 'sim' / 'camera.py'), 1, 'render')
    reward = (str(bench_sim_profile.ROOT / 'driving' / 'reward.py'), 1, 'score')
    new = (str(bench_sim_profile.ROOT / 'sim' / 'moon.py'), 1, 'rise')
    numpy, inner = ('numpy.py', 1, 'dot'), ('~', 0, 'copy')
    stats = {
        camera: (1, 1, 2.0, 6.0, {}),
        reward: (1, 1, 1.0, 2.0, {}),
        new: (1, 1, 0.5, 0.5, {}),
        numpy: (4, 4, 1.0, 5.0, {camera: (3, 3, 0.75, 4.0), reward: (1, 1, 0.25, 1.0)}),
        inner: (1, 1, 4.0, 4.0, {numpy: (1, 1, 4.0, 4.0), inner: (1, 1, 0.0, 0.0)}),
    }
    times, calls = bench_sim_profile.by_part(stats)
    assert times == pytest.approx({'render': 2.0 + 4.0, 'reward': 1.0 + 1.0, 'sim/moon': 0.5})
    assert calls == pytest.approx(
        {'render': 1 + 3.2 + 0.8, 'reward': 1 + 0.8 + 0.2, 'sim/moon': 1}
    )
