"""
Going on with a run: what is set otherwise is told and kept, what cannot go on is refused at once,
and the end of a training says what to call next.
"""

import os
import shutil
import sys

import pytest

from av_td3_ros.absent import no_checkpoint
from av_td3_ros.cli import common, resume
from av_td3_ros.cli.main import main
from av_td3_ros.config import build_run
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import changes, RunFolder
from av_td3_ros.task_config import difference, ObservationConfig, OBSERVATIONS
from small_runs import SMALL


def config(**values):
    return build_run({**SMALL, 'trainer.steps': 100, **values}, 'the test')


@pytest.fixture
def folder(tmp_path):
    """The folder of a run of 100 steps that was stopped at 60."""
    run = RunFolder(tmp_path / 'run')
    run.write_config(config())
    run.write_summary({'env_steps': 60})
    (run.path / 'checkpoints' / 'step_00000060').mkdir(parents=True)
    return run.path


def test_what_is_set_otherwise_is_told_and_the_settings_of_before_are_kept(tmp_path, capsys):
    pytest.importorskip('carla')
    pytest.importorskip('panda3d')
    run = tmp_path / 'a run'
    small = [f'--set={key}={value}' for key, value in SMALL.items()]
    assert main(['train', '--in-process', '--run-dir', str(run), '--steps', '20', *small]) == 0
    told = capsys.readouterr().out
    assert 'the run ends at 20: give more --steps, at least 1,004\n' in told
    assert told.splitlines()[-1] == f"next: av-td3 evaluate '{run}'" and 'changed' not in told
    written = (run / 'config.yaml').read_bytes()
    more = ['--steps', '30', '--set', 'trainer.learner.batch_size=9']
    assert main(['train', '--in-process', '--resume', str(run), *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith('changed')] == [
        'changed: trainer.steps 20 -> 30',
        'changed: trainer.learner.batch_size 8 -> 9',
    ]
    assert [path.name for path in run.glob('config_*')] == ['config_20.yaml']
    assert (run / 'config_20.yaml').read_bytes() == written != (run / 'config.yaml').read_bytes()


def test_settings_with_which_no_step_was_driven_are_not_kept(folder):
    run, first = RunFolder(folder), (folder / 'config.yaml').read_bytes()
    again = {'trainer.resume': True}
    run.write_config(config(**again))
    assert not list(folder.glob('config_*'))  # nothing has changed
    went_on = (folder / 'config.yaml').read_bytes()
    assert went_on != first
    run.write_config(config(**again, **{'simulator.map': 'random_town:7'}))
    run.write_config(config(**again, **{'simulator.seed': 4}))
    assert [path.name for path in folder.glob('config_*')] == ['config_60.yaml']
    assert (folder / 'config_60.yaml').read_bytes() == went_on
    run.write_summary({'env_steps': 80})
    run.write_config(config(**again))
    assert 'seed: 4' in (folder / 'config_80.yaml').read_text()


def test_what_nodes_share_is_told_once(folder):
    other = config(**{'role_name': 'hero', 'observation.speed': False, 'trainer.run_dir': 'moved'})
    assert changes(folder, other) == [
        'role_name ego_vehicle -> hero',
        'observation.speed true -> false',
    ]
    (folder / 'config.yaml').write_text('trainer: [')
    assert changes(folder, other) == []


def test_a_run_that_is_whole_is_refused(folder, refused):
    RunFolder(folder).write_summary({'env_steps': 100})
    told = f'got {folder}, which is finished at 100 of 100 steps; give --steps above 100'
    assert told in refused('train', '--resume', folder)
    resume.require_fit(folder, config(**{'trainer.steps': 101}))
    RunFolder(folder).write_summary({'halted': 'dead_actor: why'})
    resume.require_fit(folder, config())  # it goes back to a step before


def test_a_run_does_not_learn_to_see_otherwise(folder, refused):
    told = f'got {folder}, trained with waypoints, asked for camera; leave --observation'
    assert told in refused('train', '--resume', folder, '--observation', 'camera')
    told = 'trained with stack 4, asked for 3; leave'
    assert told in refused('train', '--resume', folder, '--set', 'observation.stack=3')
    (folder / 'config.yaml').unlink()
    resume.require_fit(folder, config(**{'observation.stack': 3}))  # the learner compares


@pytest.mark.parametrize(
    'changed, text',
    [
        (OBSERVATIONS['camera'].values, 'trained with waypoints, asked for camera'),
        (
            {**OBSERVATIONS['camera'].values, 'height': 64},
            'trained with waypoints, asked for camera; trained with height 84, asked for 64',
        ),
        (
            {'speed': False, 'crop_top': 0.5},
            'trained with crop_top 0.35, asked for 0.5; trained with speed true, asked for false',
        ),
    ],
)
def test_only_what_differs_between_two_observations_is_named(changed, text):
    assert difference(ObservationConfig().spec(), ObservationConfig(**changed).spec()) == text


@pytest.mark.parametrize('command', [['train', '--resume'], ['evaluate'], ['export']])
def test_a_run_that_is_not_there_is_said_to_be_so_with_the_newest_ones(folder, refused, command):
    for age, name in enumerate(('d', 'c', 'b', 'a')):
        shutil.copytree(folder, folder.with_name(name))
        os.utime(folder.with_name(name) / 'config.yaml', (1000 - age, 1000 - age))
    newest = ', '.join(str(folder.with_name(name)) for name in ('run', 'd', 'c'))
    nope = folder.with_name('nope')
    told = f'got {nope}: there is no such folder; the newest runs beside it: {newest}\n'
    assert refused(*command, nope).endswith(told)
    assert refused(*command, nope / 'nope').endswith('there is no such folder\n')


@pytest.mark.parametrize('command', [['train', '--resume'], ['evaluate'], ['export']])
def test_a_run_that_has_saved_nothing_yet_says_when_it_will(folder, refused, command):
    shutil.rmtree(folder / 'checkpoints')
    told = f'got {folder}: it has saved none yet: the first checkpoint comes at step 100\n'
    assert refused(*command, folder).endswith(told)
    (folder / 'config.yaml').write_text('trainer: {steps: many}')
    assert refused(*command, folder).endswith('it holds no whole checkpoint\n')


@pytest.mark.parametrize('every', [30, 1000])
def test_the_first_checkpoint_comes_at_that_step(tmp_path, every):
    pytest.importorskip('torch')
    from small_trainers import drive, make_trainer, SMALL as VALUES

    values = {**VALUES, 'checkpoint_every': every, 'update_after': 40, 'update_every': 2}
    run = {f'{"" if key[:3] == "obs" else "trainer."}{key}': x for key, x in values.items()}
    RunFolder(tmp_path).write_config(build_run(run, 'the test'))
    told = no_checkpoint(tmp_path)
    trainer = make_trainer(tmp_path, **values)
    drive(trainer, 60)
    trainer.close()
    (first, *_) = sorted((tmp_path / 'checkpoints').glob('step_*'))
    assert told.endswith(f' at step {int(first.name[5:])}') and first.name[5:] < '00000050'


def test_a_run_that_was_stopped_goes_on_and_one_that_is_whole_is_measured(folder, monkeypatch):
    program = folder / 'av-td3'
    program.write_text('')
    program.chmod(0o700)
    monkeypatch.setattr(sys, 'argv', [str(program)])
    assert resume.next_command(folder, 100) == f'go on: {program} train --resume {folder}'
    assert resume.next_command(folder, 60) == f'next: {program} evaluate {folder}'
    monkeypatch.setenv('PATH', str(folder))
    assert common.called() == 'av-td3'
    monkeypatch.setattr(sys, 'argv', ['src/av_td3_ros/cli/main.py'])
    assert common.called() == 'av-td3'


def test_a_folder_with_nothing_to_go_on_from_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='a run with a checkpoint, got .*: it holds no whole'):
        resume.require_checkpoint(tmp_path)
