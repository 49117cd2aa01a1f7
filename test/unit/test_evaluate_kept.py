"""``av-td3 evaluate``: what was driven is kept, whoever reads; what the files say was driven."""

from pathlib import Path
import subprocess
import sys

import pytest

pytest.importorskip('carla')

from av_td3_ros.cli import common, evaluate, evaluate_drive  # noqa: E402
from av_td3_ros.cli.main import parser  # noqa: E402
from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402

COMMAND = [sys.executable, '-m', 'av_td3_ros.cli.main', 'evaluate', '--baselines', 'random']
SHORT = ['--episodes', '1', '--set', 'episode_manager.termination.max_steps=25']
FILES = ('evaluation.json', 'evaluation.csv', 'evaluation.tex', 'trajectories.csv')


class Shut:
    """Standard output whose other end is closed."""

    def isatty(self):
        return False

    def write(self, text):
        raise BrokenPipeError(32, 'Broken pipe')

    def flush(self):
        raise BrokenPipeError(32, 'Broken pipe')


def test_a_reader_that_leaves_loses_no_episode(tmp_path):
    """As ``head`` does, here before the first line."""
    command = [*COMMAND, *SHORT, '--output', str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        told = process.stderr.read().decode()
    assert (process.returncode, told) == (0, '')
    assert all((tmp_path / name).stat().st_size for name in FILES)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='/dev/full is not there')
def test_a_table_that_finds_a_full_disk_is_a_fault_and_the_files_are_there(tmp_path):
    command = [*COMMAND, *SHORT, '--output', str(tmp_path)]
    with open('/dev/full', 'w') as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == evaluate.EXIT_FAULT
    assert done.stderr == (
        'av-td3: what a command tells must be printed, got No space left on device; look at what '
        'it has written, or free space\n'
    )
    assert all((tmp_path / name).stat().st_size for name in FILES)


def test_progress_that_nobody_sees_ends_nothing(monkeypatch):
    progress = common.Progress()
    monkeypatch.setattr(sys, 'stdout', Shut())
    progress.show('half of it')
    progress.end('all of it')


@pytest.mark.parametrize(
    'text, instead',
    [
        ('episode_manager.routes=training', 'use --routes'),
        ('episode_manager.route_file=mine.xml', 'use --routes'),
        ('episode_manager.seed=3', 'use --seed'),
        ('episode_manager.start_in_evaluation=false', 'leave it out'),
        ('policy.checkpoint=other', 'name it as RUN'),
        ('policy.artefact=other.avtd3', 'name it as RUN'),
        ('policy.accept_weights=true', 'leave it out'),
    ],
)
def test_what_an_evaluation_sets_is_refused(refused, text, instead):
    key = text.partition('=')[0]
    assert refused('evaluate', '--baselines', 'expert', '--set', text) == (
        f'av-td3: --set must leave {key} alone here, got {text}; {instead}\n'
    )


def test_the_seed_of_the_world_may_be_set(tmp_path):
    options = ['evaluate', '--baselines', 'expert', '--set', 'simulator.seed=5']
    plan = evaluate.prepare(parser().parse_args(options), tmp_path)
    assert plan.configs[0].simulator.seed == 5


@pytest.mark.parametrize(
    'settings, kept_off',
    [
        ({}, True),
        ({'episode_manager.routes': 'all'}, False),
        ({'episode_manager.route_file': 'mine.xml'}, False),  # its routes go where they like
    ],
)
def test_who_was_trained_on_the_routes_of_a_file_has_no_new_roads(tmp_path, settings, kept_off):
    config = build_run(settings, 'a test')
    RunFolder(tmp_path).write_config(config)
    assert evaluate_drive._held_out(tmp_path, config) is kept_off


@pytest.mark.parametrize('name', evaluate.BASELINES)
def test_a_run_that_is_called_like_a_baseline_is_no_baseline(tmp_path, name):
    (tmp_path / 'mine' / name).mkdir(parents=True)
    (told,) = evaluate._names((tmp_path / 'mine' / name,))
    assert told == f'mine_{name}'


def test_only_a_baseline_has_no_camera_to_freeze():
    config = build_run({}, 'a test')
    plan = evaluate.Plan(('random',), (), (), (config,), (), 1, 'in-process', True, 'held-out')
    results = [
        evaluate_drive._result(plan, 'random', config, 'in-process', (), is_baseline=is_baseline)
        for is_baseline in (False, True)
    ]
    assert [result.facts['camera'] for result in results] == ['frozen', 'live']
