"""What a run folder does where it cannot write: rows are dropped whole, and the run goes on."""

import csv
import errno
import json
import logging
import resource
import subprocess
import sys

import pytest

from av_td3_ros import run_folder
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import claimed, RunFolder


class Full:
    """A file on a disk that is full."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def flush(self):
        """Fail as a full disk does."""
        raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.fixture
def run(tmp_path):
    it = RunFolder(tmp_path)
    yield it
    it.close()


def rows(run, name='metrics'):
    with (run.path / f'{name}.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def record(number):
    return {'env_step': number, 'updates': 10 * number, 'text': 'x' * 20}


def test_a_row_that_cannot_be_written_is_dropped_and_said_once(run, caplog, monkeypatch):
    run.add_record(record(1))
    run.close()
    opened = run_folder._open_table

    def on_full_disk(*arguments):
        file, writer = opened(*arguments)
        return Full(file), writer

    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(run_folder, '_open_table', on_full_disk)
        for number in (2, 3):
            run.add_record(record(number))
            assert 'metrics.csv must be written, got No space left on device' in run.fault
    assert [entry.getMessage() for entry in caplog.records] == [run.fault]
    run.add_record(record(4))
    assert run.fault == ''
    assert [row['env_step'] for row in rows(run)] == ['1', '4']


@pytest.mark.parametrize('room', [0, 5, 25])
@pytest.mark.parametrize('first', [0, 1])
def test_nothing_is_left_of_a_row_that_fitted_in_part(run, room, first):
    """A file that may grow by so many bytes, as on a disk with so much room."""
    if first:
        run.add_record(record(1))
    path = run.path / 'metrics.csv'
    size = path.stat().st_size if first else 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, before[1]))
    try:
        run.add_record(record(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'File too large' in run.fault and path.stat().st_size == size
    run.add_record(record(3))
    assert [row['env_step'] for row in rows(run)] == ['1', '3'][1 - first :]
    assert all(row['text'] == 'x' * 20 for row in rows(run))


def test_a_table_gets_the_columns_that_a_resumed_run_adds(run):
    run.add_record({'env_step': 1, 'text': 'a, "b"'})
    run.add_record({'env_step': 2, 'text': ''})
    run.close()
    path = run.path / 'metrics.csv'
    path.write_bytes(path.read_bytes() + b'3,x')  # killed within a row
    again = RunFolder(run.path)
    again.add_record({'env_step': 4, 'jerk': -1.5, 'text': 'c'})
    again.add_record({'env_step': 5, 'text': 'd'})
    again.add_record({'env_step': 6, 'lane': 2, 'jerk': 0.0})
    again.close()
    assert [tuple(row.values()) for row in rows(run)] == [
        ('1', 'a, "b"', '', ''),
        ('2', '', '', ''),
        ('4', 'c', '-1.5', ''),
        ('5', 'd', '', ''),
        ('6', '', '0.0', '2'),
    ]
    assert list(rows(run)[0]) == ['env_step', 'text', 'jerk', 'lane']


def test_a_run_that_was_killed_within_the_head_of_a_table_begins_it_anew(run):
    (run.path / 'metrics.csv').write_text('env_step,upd')
    run.add_record(record(1))
    assert rows(run) == [{name: str(value) for name, value in record(1).items()}]


def test_a_table_that_cannot_be_widened_stays_as_it_is(run, monkeypatch):
    run.add_record(record(1))

    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, 'replace_file', full)
        run.add_record({**record(2), 'jerk': 1.0})
    assert 'No space left' in run.fault and len(rows(run)) == 1
    run.add_record(record(3))
    run.add_record({**record(4), 'jerk': 1.0})
    assert run.fault == ''
    assert [(row['env_step'], row['jerk']) for row in rows(run)] == [
        ('1', ''),
        ('3', ''),
        ('4', '1.0'),
    ]


def test_events_that_cannot_be_written_are_tried_again_after_a_while(run, monkeypatch):
    run.add_metrics({'a': 1.0}, 1)

    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(run._events, 'add_scalar', full)
        patch.setattr(run._events, 'close', full)
        run.add_metrics({'a': 2.0}, 2)
    assert 'events.out.* must be written' in run.fault
    run.add_metrics({'a': 3.0}, 3)
    assert len(list(run.path.glob('events.out.*'))) == 1
    run._events_at = 0.0
    run.add_metrics({'a': 4.0}, 4)
    run.add_record(record(1))
    assert run.fault == '' and len(list(run.path.glob('events.out.*'))) == 2


def test_rows_beyond_the_step_that_a_run_goes_on_from_are_gone(run):
    for step in (10, 20, 30):
        run.add_record(record(step))
        run.add_episode({'env_step': step, 'outcome': 'goal', 'trail': [(1.0, float(step))]})
        run.add_alert({'env_step': step, 'name': 'q_gap', 'state': 'raised'})
    run.close()
    with (run.path / 'metrics.csv').open('a') as file:
        file.write('40,400')  # torn
    again = RunFolder(run.path)
    again.forget_after(20)
    again.add_record(record(25))
    again.close()
    assert [row['env_step'] for row in rows(run)] == ['10', '20', '25']
    for name in ('episodes', 'trajectories'):
        assert [row['env_step'] for row in rows(run, name)] == ['10', '20']
    assert len(rows(run, 'alerts')) == 3  # what was raised was raised
    RunFolder(run.path / 'new').forget_after(20)


def test_evaluations_of_steps_that_a_run_went_back_behind_are_set_aside(run):
    for name, step in (('evaluation', 12_000), ('evaluation_5k', 5000), ('evaluation_10k', None)):
        (run.path / name).mkdir()
        (run.path / name / 'evaluation.json').write_text(json.dumps({'env_step': step}))
    (run.path / 'beyond_7000_evaluation').mkdir()  # of a resume before
    run.forget_after(7000)
    assert {path.parent.name for path in run.path.glob('*/evaluation.json')} == {
        'beyond_7000_evaluation',
        'evaluation_5k',
        'evaluation_10k',  # of what step is not known
    }


def test_rows_that_cannot_be_removed_stay_and_are_told(run, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, 'No space left on device')

    for step in (10, 20):
        run.add_record(record(step))
    run.close()
    monkeypatch.setattr(run_folder, 'replace_file', full)
    run.forget_after(10)
    assert 'metrics.csv must be written, got No space left' in run.fault
    assert len(rows(run)) == 2


def test_a_run_folder_is_claimed_by_one(tmp_path):
    refusal = 'run folder must have one training at a time, got .*, where another is running'
    with claimed(tmp_path):
        with pytest.raises(ConfigError, match=refusal):
            with claimed(tmp_path):
                pytest.fail('two claims')
        with claimed(tmp_path.parent):
            pass
    with claimed(tmp_path):  # the file that is left means nothing
        pass


def test_a_killed_process_leaves_no_claim(tmp_path):
    code = (
        'import sys, pathlib; from av_td3_ros.run_folder import claimed\n'
        'with claimed(pathlib.Path(sys.argv[1])): print("claimed", flush=True); sys.stdin.read()'
    )
    command = [sys.executable, '-c', code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b'claimed\n'
        with pytest.raises(ConfigError, match='another is running'):
            with claimed(tmp_path):
                pytest.fail('two claims')
    finally:
        process.kill()
        process.communicate()
    with claimed(tmp_path):
        pass


def test_where_there_can_be_no_lock_there_is_no_claim(tmp_path, monkeypatch):
    (tmp_path / 'run' / '.lock').mkdir(parents=True)  # as good as a file system without writing
    with claimed(tmp_path / 'run'), claimed(tmp_path / 'run'):
        pass

    def unknown(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(run_folder.fcntl, 'flock', unknown)
    with claimed(tmp_path), claimed(tmp_path):
        pass
