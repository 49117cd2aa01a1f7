"""``av-td3 gate`` and ``av-td3 train --gated``: exit codes, JSON, what is refused."""

from contextlib import contextmanager
import json
import shutil
import sys

import pytest

from av_td3_ros import gates
from av_td3_ros.cli.gate import evaluated, Gatekeeper
from av_td3_ros.cli.main import main
from made_runs import evaluation, made
from small_runs import SMALL


@pytest.mark.parametrize(
    'stage, bad, code, verdict',
    [
        ('5k', {}, 0, '5k: GO'),
        ('5k', {'q_policy_max': 1e3}, 1, '5k: NO-GO'),
        ('10k', {}, 1, '10k: NO-GO'),  # never evaluated
        ('50k', {}, 1, '50k: NO-GO'),  # shorter
    ],
)
def test_the_exit_code_is_the_verdict(tmp_path, capsys, stage, bad, code, verdict):
    path = made(tmp_path / 'run', 5000 if stage == '5k' else 10_000, bad=bad)
    assert main(['gate', str(path), '--stage', stage]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['stage', 'criterion', 'figure', 'limit'] and lines[-1] == verdict
    assert ('FAIL' in ''.join(lines)) is bool(bad)


def drove(folder, mean, **more):
    """Write an evaluation."""
    folder.mkdir()
    (folder / 'evaluation.json').write_text(json.dumps(evaluation(mean, **more)))


@pytest.mark.parametrize('folder', ['evaluation', 'evaluation_10k', 'evaluation_0_vehicles'])
def test_an_evaluated_run_goes_on(tmp_path, folder):
    path = made(tmp_path / 'run')
    drove(path / folder, 0.9)
    assert main(['gate', str(path), '--stage', '10k']) == 0


def test_a_frozen_camera_is_no_evidence(tmp_path):
    path = made(tmp_path / 'run')
    drove(path / 'evaluation_frozen_camera', 0.9, camera='frozen')
    assert main(['gate', str(path), '--stage', '10k']) == 1


def test_a_run_of_default_length_is_judged_by_the_evaluation_of_its_end(tmp_path, capsys):
    path = made(tmp_path / 'run', 20_000)
    drove(path / 'evaluation', 0.9, env_step=20_001)
    assert main(['gate', str(path), '--stage', '10k']) == 0
    assert 'step 20,001' in capsys.readouterr().out


def test_json_holds_every_criterion(tmp_path, capsys):
    path = made(tmp_path / 'run')
    assert main(['gate', str(path), '--stage', '50k', '--json']) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data['stage'], data['verdict']) == ('50k', 'NO-GO')
    assert len(data['criteria']) == 18
    assert data['criteria'][0] == {
        'stage': '50k',
        'criterion': 'Steps driven',
        'figure': '10,000: the run is shorter',
        'limit': '>= 50,000',
        'passed': None,
        'value': 10_000.0,
    }


@pytest.mark.parametrize(
    'path, stage, text',
    [('no/such', '2k', 'a run folder must be given'), ('.', '3k', '--stage must be one of')],
)
def test_bad_input_is_refused(tmp_path, capsys, path, stage, text):
    made(tmp_path)
    assert main(['gate', str(tmp_path / path), '--stage', stage]) == 2
    assert text in capsys.readouterr().err


def test_a_run_being_written_is_judged_by_its_whole_rows(tmp_path):
    path = made(tmp_path / 'run', 5000)
    with (path / 'metrics.csv').open('a') as file:
        file.write('5001,40')
    assert main(['gate', str(path), '--stage', '5k']) == 0


def test_the_keeper_judges_each_stage_once_and_stops_at_a_no_go(tmp_path):
    keeper, told = Gatekeeper(made(tmp_path / 'run'), True, lambda *_: 'nobody drove'), []
    for env_steps in (1999, 2000, 2001, 4000, 5003, 5004, 9999):
        keeper.look(env_steps, told.append)
        assert not keeper.stopped
    assert [text.splitlines()[-1] for text in told] == ['2k: GO', '5k: GO']
    keeper.look(10_000, told.append)
    assert keeper.stopped and told[-1].endswith('10k: NO-GO')
    assert told[-2] == 'nobody drove' and 'training waits' in told[-3]
    keeper.look(60_000, told.append)
    assert len(told) == 5


def test_the_keeper_lets_the_policy_drive_while_training_waits(tmp_path):
    path, happened = made(tmp_path / 'run'), []

    @contextmanager
    def waiting():
        happened.append('saved')
        yield
        happened.append('goes on')

    def drive(folder, stage):
        happened.append(f'drives at {stage}')
        drove(folder / f'evaluation_{stage}', 0.9)
        return ''

    keeper = Gatekeeper(path, True, drive)
    keeper.look(5000, lambda _: None, waiting)
    assert not happened
    keeper.look(10_000, lambda _: None, waiting)
    assert happened == ['saved', 'drives at 10k', 'goes on'] and not keeper.stopped


def test_ctrl_c_while_the_policy_drives_is_no_verdict(tmp_path):
    """It reaches the evaluation, too, which ends half-way: a partial one."""
    stops, told = [], []

    def drive(folder, stage):
        drove(folder / f'evaluation_{stage}', 0.1, partial=True)
        stops.append(2)
        return 'the evaluation ended with exit code 130'

    keeper = Gatekeeper(made(tmp_path / 'run'), True, drive)
    keeper.look(10_000, told.append, stops=stops)
    assert not keeper.stopped
    assert told == ['10k: driving the held-out routes, training waits']


def test_an_evaluation_that_ends_without_a_word_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', shutil.which('false'))
    assert evaluated(tmp_path, '10k') == 'the evaluation ended with exit code 1'


def test_a_run_that_is_resumed_beyond_a_stage_drives_for_it_now(tmp_path):
    def drive(folder, stage):
        drove(folder / f'evaluation_{stage}', 0.9, env_step=20_000)
        return ''

    keeper, told = Gatekeeper(made(tmp_path / 'run', 20_000), True, drive), []
    keeper.look(20_000, told.append)
    assert not keeper.stopped and told[-1].endswith('10k: GO')


def test_a_keeper_that_does_not_watch_lets_everything_pass(tmp_path):
    keeper = Gatekeeper(tmp_path, False)
    keeper.look(60_000, pytest.fail)
    assert not keeper.stopped


def test_training_stops_at_a_no_go(tmp_path, capsys, monkeypatch):
    pytest.importorskip('carla')
    pytest.importorskip('panda3d')
    monkeypatch.setattr(gates, 'steps', lambda stage: 50 * int(stage.removesuffix('k')))
    small = {**SMALL, 'trainer.update_after': 100_000}
    arguments = [text for key, value in small.items() for text in ('--set', f'{key}={value}')]
    code = main(
        ['train', '--in-process', '--gated', '--steps', '300', '--run-dir', str(tmp_path)]
        + arguments
    )
    shown = capsys.readouterr().out
    assert code == 1 and '2k: NO-GO' in shown and 'stopped: 100 steps' in shown
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['env_steps'] == 100 and 'processor' in summary['machine']
    # What a later stage would have asked for, by the same means.
    assert evaluated(tmp_path, '10k') == ''
    found = json.loads((tmp_path / 'evaluation_10k' / 'evaluation.json').read_text())
    assert found['env_step'] == 100 and found['others'][0]['policy'] == 'random'
