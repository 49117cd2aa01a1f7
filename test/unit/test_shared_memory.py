"""What the killed leave in shared memory is removed, and nothing that somebody still needs."""

import fcntl
import mmap
import os
import subprocess

import pytest

from av_td3_ros.nodes import shared_memory


def test_what_this_process_still_holds_of_a_killed_one_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)

    def make(name):
        return (tmp_path / name).open('w')

    make('fastdds_0').close()
    before = shared_memory.snapshot()
    for name in ('fastdds_1', 'fastdds_5_el', 'sem.fastdds_5_mutex'):
        make(name).close()
    with make('fastdds_2'), make('fastdds_2_el'), make('fastdds_port3'):  # made by this process
        with make('fastdds_5') as file:
            theirs = subprocess.Popen(['sleep', '600'], stdout=file)
        with make('fastdds_4'):  # by one that was killed, and with it went its hold of the lock
            try:
                removed = shared_memory.remove_orphans(before)
            finally:
                theirs.kill()
                theirs.wait()
    assert removed == {'fastdds_1', 'fastdds_4'}
    kept = {'fastdds_0', 'fastdds_2', 'fastdds_2_el', 'fastdds_port3', 'fastdds_5'}
    # Who has mapped a port needs its mutex to let go of it in order.
    assert shared_memory.snapshot() == kept | {'fastdds_5_el', 'sem.fastdds_5_mutex'}


@pytest.fixture
def unseen(tmp_path, monkeypatch):
    """A segment and a port whose owners hold their locks and are not seen in /proc."""
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)
    names = {
        'fastdds_1',
        'fastdds_1_el',
        'fastdds_port2',
        'fastdds_port2_sl',
        'sem.fastdds_port2_mutex',
    }
    for name in names | {'fastdds_3', 'fastdds_3_el', 'fastdds_port4', 'fastdds_port4_el'}:
        (tmp_path / name).touch()
    with (tmp_path / 'fastdds_1_el').open() as one, (tmp_path / 'fastdds_port2_sl').open() as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(two, fcntl.LOCK_SH)
        yield names


def test_what_is_locked_is_in_use_though_its_process_is_not_seen(unseen, monkeypatch):
    monkeypatch.setattr(shared_memory, 'held', lambda pid: set())
    removed = shared_memory.remove_orphans(frozenset())
    assert removed == {'fastdds_3', 'fastdds_3_el', 'fastdds_port4', 'fastdds_port4_el'}
    assert shared_memory.snapshot() == unseen


def test_the_locks_of_a_process_that_is_about_to_end_do_not_count(unseen):
    shared_memory.remove_orphans(frozenset(), ending=os.getpid())
    assert not shared_memory.snapshot()


def test_what_a_process_holds_is_counted_once_with_its_locks_though_it_be_removed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)
    for name in ('fastdds_1', 'sem.fastdds_port2_mutex', 'fastdds_7'):
        (tmp_path / name).write_bytes(b'0')
    with (tmp_path / 'fastdds_1').open() as one, (tmp_path / 'fastdds_1_el').open('w'):
        with mmap.mmap(one.fileno(), 1, access=mmap.ACCESS_READ):
            with (tmp_path / 'sem.fastdds_port2_mutex').open(), (tmp_path / 'torch_3').open('w'):
                assert shared_memory.segments(os.getpid()) == {
                    'fastdds_1',
                    'fastdds_port2',
                    'torch_3',
                }
                for path in tmp_path.iterdir():
                    path.unlink()
                assert len(shared_memory.segments(os.getpid())) == 3
    assert not shared_memory.segments(os.getpid())
