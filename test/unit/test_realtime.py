"""Who is served first: the threads that there are, those that come, and who refuses."""

import gc
import os
import subprocess
import sys
import textwrap

import pytest

from av_td3_ros.nodes import realtime

PROBE = textwrap.dedent("""
    import os, subprocess, sys, threading
    from av_td3_ros.nodes import realtime

    def scheduling():
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0)[0]

    def tell(name):
        print(name, *scheduling(), flush=True)

    go = threading.Event()
    before = threading.Thread(target=lambda: (go.wait(60.0), tell('before')))
    before.start()
    refusal = realtime.prioritise(int(sys.argv[1]), sys.argv[2] == 'inherited')
    print('refusal', bool(refusal))
    go.set()
    before.join()
    tell('main')
    later = threading.Thread(target=lambda: tell('later'))
    later.start()
    later.join()
    with realtime.unhurried():
        tell('meanwhile')
    tell('after')
    """)


def scheduled(priority, inherited):
    """Return what a process of its own was refused, and how each of its threads runs."""
    done = subprocess.run(
        [sys.executable, '-c', PROBE, str(priority), inherited],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][0] == 'refusal'
    threads = {name: (int(kind), int(number)) for name, kind, number in lines[1:]}
    return lines[0][1] == 'True', threads


ORDINARY = (getattr(os, 'SCHED_OTHER', 0), 0)


@pytest.mark.skipif(not hasattr(os, 'sched_setscheduler'), reason='not Linux')
@pytest.mark.parametrize('inherited, later', [('inherited', 7), ('alone', 0)])
def test_every_thread_runs_first_or_the_refusal_is_told(inherited, later):
    is_refused, threads = scheduled(7, inherited)
    if is_refused:
        assert set(threads.values()) == {ORDINARY}
        pytest.skip('no real-time priority is permitted here')
    assert threads['before'] == threads['main'] == (os.SCHED_FIFO, 7)
    assert threads['meanwhile'] == ORDINARY and threads['after'] == (os.SCHED_FIFO, 7)
    assert threads['later'] == ((os.SCHED_FIFO, 7) if later else ORDINARY)


@pytest.mark.skipif(not hasattr(os, 'sched_setscheduler'), reason='not Linux')
def test_nought_changes_nothing():
    is_refused, threads = scheduled(0, 'inherited')
    assert not is_refused and set(threads.values()) == {ORDINARY}


def test_a_refusal_says_what_and_where(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'sched_setscheduler', refuse)
    text = realtime.prioritise(20)
    for part in ('real-time priority 20', 'not permitted', 'rtprio 20', 'limits.conf'):
        assert part in text


def test_a_system_without_it_is_a_refusal(monkeypatch):
    monkeypatch.delattr(os, 'sched_setscheduler')
    assert 'must be permitted' in realtime.prioritise(20)


def test_a_thread_that_has_ended_is_no_refusal(monkeypatch):
    asked = []

    def ended(thread, *_):
        asked.append(thread)
        raise ProcessLookupError

    monkeypatch.setattr(os, 'sched_setscheduler', ended)
    assert realtime.prioritise(20) == ''
    assert os.getpid() in asked


def test_what_is_there_is_not_collected_again():
    try:
        realtime.keep_what_is()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    finally:
        gc.unfreeze()
