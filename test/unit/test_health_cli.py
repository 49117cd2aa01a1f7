"""What the command line shows of alerts, and how a halted run ends there."""

import errno
import json

import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.cli import train  # noqa: E402
from av_td3_ros.cli.gate import Gatekeeper  # noqa: E402
from av_td3_ros.cli.main import main  # noqa: E402
from av_td3_ros.config import RunConfig  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from av_td3_ros.td3 import checkpoint  # noqa: E402
from small_runs import SMALL  # noqa: E402

SETTINGS = {
    **SMALL,
    'trainer.update_after': 40,
    'trainer.exploration.warmup_steps': 40,
    'trainer.log_every': 5,
    'trainer.health.patience': 1,
    'trainer.health.feature_warn': 1e-6,
    'episode_manager.termination.max_steps': 30,
}


def run(folder, **values):
    assignments = {**SETTINGS, **values}
    options = [word for key, x in assignments.items() for word in ('--set', f'{key}={x}')]
    return main(['train', '--in-process', '--steps', '80', '--run-dir', str(folder), *options])


def test_a_halted_run_ends_with_a_fault_and_one_line_that_says_why(tmp_path, capsys):
    assert run(tmp_path, **{'trainer.health.feature_halt': 1e-6}) == train.EXIT_FAULT
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith('training halted: ')]
    assert 'feature_explosion: L2 norm of the features is ' in line and 'limit 1e-06; set ' in line
    assert any(line.startswith('halted: ') for line in lines)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert line == f'training halted: {summary["halted"]}'
    assert summary['env_steps'] < 80 and checkpoint.latest(tmp_path / 'halted') is not None


def test_a_warning_is_in_the_progress_and_the_run_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('av_td3_ros.cli.common.PLAIN_PERIOD', 0.0)
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert 'ALERT feature_explosion | ' in out and 'finished: 80 steps' in out
    assert 'halted' not in out


def test_a_run_whose_last_checkpoint_cannot_be_written_is_a_fault(tmp_path, capsys, monkeypatch):
    real, saves = checkpoint.save, []

    def save(*arguments, **options):
        saves.append(options['env_step'])
        if saves[-1] == 80:
            raise checkpoint.CheckpointError('checkpoint must be written, got no space')
        return real(*arguments, **options)

    monkeypatch.setattr(checkpoint, 'save', save)
    assert run(tmp_path) == train.EXIT_FAULT and len(saves) == 2
    assert 'training failed: checkpoint must be written, got no space' in capsys.readouterr().out


def test_rows_that_are_dropped_are_in_the_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('av_td3_ros.cli.common.PLAIN_PERIOD', 0.0)

    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('av_td3_ros.run_folder._open_table', full)
    assert run(tmp_path, **{'trainer.health.feature_warn': 100.0}) == 0
    captured = capsys.readouterr()
    assert 'ALERT rows are dropped | ' in captured.out and 'finished: 80 steps' in captured.out


def test_curves_that_cannot_be_written_are_told_of_and_are_a_fault(tmp_path, capsys):
    """A full disk at the very end: the run itself is whole."""
    (tmp_path / 'curves.png').write_bytes(b'of before')
    (tmp_path / 'curves.png.part').mkdir()  # as good as a full disk
    assert run(tmp_path) == train.EXIT_FAULT
    captured = capsys.readouterr()
    assert captured.err == '' and 'finished: 80 steps' in captured.out
    assert (
        f'{tmp_path}/curves.png must be written, got Is a directory; it is missing: free space\n'
        in captured.out
    )
    assert captured.out.splitlines()[-1] == f'summary: {tmp_path}/summary.json'
    assert (tmp_path / 'curves.png').read_bytes() == b'of before'
    assert checkpoint.latest(tmp_path) is not None


def test_a_graph_whose_summary_cannot_be_written_is_a_fault(tmp_path, capsys, monkeypatch):
    supervisor = pytest.importorskip('av_td3_ros.nodes.supervisor')
    from av_td3_ros.nodes.lives import Lives

    class Graph:
        """A graph that is stopped at once, as Ctrl-C does."""

        def __init__(self, *_):
            self.status = self.policy_status = None
            self.members, self.health, self.lives = {}, {}, Lives()

        def __enter__(self):
            (tmp_path / 'summary.json.part').mkdir()
            return self

        def __exit__(self, *_):
            pass

        def finish(self):
            pass

    monkeypatch.setattr(supervisor, 'Supervisor', Graph)
    monkeypatch.setattr(train, 'catch_stops', lambda: [2])
    folder = RunFolder(tmp_path)
    keeper = Gatekeeper(tmp_path, False)
    assert train.train_graph(RunConfig(), folder, keeper) == train.EXIT_FAULT
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == (
        f'{tmp_path}/summary.json must be written, got Is a directory; it is missing: free space'
    )


def test_a_line_without_alerts_says_nothing_of_them():
    assert 'ALERT' not in train.line(10, 20, 1.0, 5, 1.0, 0.5)
    line = train.line(10, 20, 1.0, 5, 1.0, 0.5, alerts='q_gap, saturation')
    assert line.startswith('ALERT q_gap, saturation |     10/20 steps')
