"""Runs in processes of their own: some at once, finished ones skipped, failures told, stopped."""

import os

import pytest

from av_td3_ros.options import ConfigError
from av_td3_ros.study import jobs
from av_td3_ros.study.jobs import Job, run_all, unfinished


def quick(folder, facts, tell):
    (folder / 'seen').write_text(str(os.getpid()))
    assert not tell(0.5)
    return {'twice': 2 * facts['number']}


def failing(folder, facts, tell):
    raise ValueError('there is\nno road')


def failing_on_full_disk(folder, facts, tell):
    (folder / 'fault.txt').mkdir()  # as good as a full disk
    raise ValueError('there is no road')


def dying(folder, facts, tell):
    os._exit(7)


def endless(folder, facts, tell):
    while not tell(0.1):
        pass
    (folder / 'asked').write_text('')
    return {}


def job(path, work, name='a', **facts):
    return Job(name, path / name, work, {'number': 1, **facts})


def silent(text):
    """Show nothing."""


def test_each_in_a_process_of_its_own_and_only_once(tmp_path):
    wanted = [job(tmp_path, quick, name, number=i) for i, name in enumerate('abc')]
    said = []
    assert run_all(unfinished(wanted), 2, silent, said.append) == []
    assert sorted(said) == ['a: done', 'b: done', 'c: done']
    assert [jobs.result(item.folder) for item in wanted] == [{'twice': 2 * i} for i in range(3)]
    assert len({(item.folder / 'seen').read_text() for item in wanted} | {str(os.getpid())}) == 4
    assert unfinished(wanted) == []


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run_all([job(tmp_path, quick, values={'a.b': 1})], 1, silent, silent)
    with pytest.raises(ConfigError, match='a.b 1 instead of 2; choose another folder with --ou'):
        unfinished([job(tmp_path, quick, values={'a.b': 2})])


def test_one_that_was_interrupted_begins_anew(tmp_path):
    item = job(tmp_path, quick)
    item.folder.mkdir()
    (item.folder / 'half').write_text('')
    assert unfinished([item]) == [item]
    run_all([item], 1, silent, silent)
    assert not (item.folder / 'half').exists() and jobs.result(item.folder) == {'twice': 2}


def test_what_fails_is_told_and_the_others_go_on(tmp_path):
    wanted = [
        job(tmp_path, failing, 'a'),
        job(tmp_path, dying, 'b'),
        job(tmp_path, quick, 'c'),
    ]
    faults = run_all(wanted, 1, silent, silent)
    assert faults == [
        'a: ValueError: there is no road',
        'b must live to its end, got exit code 7; is there memory enough?',
    ]
    assert [bool(jobs.result(item.folder)) for item in wanted] == [False, False, True]
    assert 'Traceback' in (tmp_path / 'a' / 'fault.txt').read_text()


def test_a_fault_that_cannot_be_written_is_told(tmp_path):
    faults = run_all([job(tmp_path, failing_on_full_disk)], 1, silent, silent)
    assert faults == ['a: ValueError: there is no road']


def test_a_stop_ends_all_and_finishes_none(tmp_path):
    stops, shown = [], []

    def show(text):
        shown.append(text)
        if '10%' in text:  # it runs
            stops.append(2)

    wanted = [job(tmp_path, endless, 'a'), job(tmp_path, endless, 'b')]
    assert run_all(wanted, 1, show, silent, stops) == []
    assert (tmp_path / 'a' / 'asked').exists() and not (tmp_path / 'b').exists()
    assert unfinished(wanted) == wanted
    assert shown[-1].startswith('0 of 2 runs | ')


@pytest.mark.parametrize(
    'seconds, text', [(float('nan'), '-'), (0.9, '0:00:00'), (3725.0, '1:02:05')]
)
def test_durations(seconds, text):
    assert jobs.duration(seconds) == text
