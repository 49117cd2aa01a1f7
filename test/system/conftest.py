"""Whole graphs as separate processes, each on a ROS domain of its own."""

import gc
import os
from pathlib import Path
import time
import uuid

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: system tests need ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('carla', reason='the carla library is not installed')

DOMAINS = iter(range(102 + os.getpid() % 60, 232))
MOMENT = 3.0


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """A domain that no other test of this run has; above the range of the node tests."""
    number = str(next(DOMAINS))
    monkeypatch.setenv('ROS_DOMAIN_ID', number)
    return number


@pytest.fixture
def nothing_left(monkeypatch):
    """
    Neither a process nor a shared-memory segment may stay behind; gives what tells the processes.
    """
    from av_td3_ros.nodes import shared_memory

    # Every process that the test starts inherits it, and so do theirs, whoever their parent is.
    mark = f'AV_TD3_TEST={uuid.uuid4()}'
    monkeypatch.setenv(*mark.split('='))
    gc.collect()  # participants of the tests before
    segments = shared_memory.snapshot()
    yield lambda: marked(mark)
    gc.collect()  # and of this one

    def left():
        found = shared_memory.snapshot() - segments
        # Another graph on this machine may have begun meanwhile: its segments are in use.
        return marked(mark) or found and found - shared_memory._in_use(ending=os.getpid())

    end = time.monotonic() + MOMENT  # for what is ending just now
    while left() and time.monotonic() < end:
        pass
    assert not left(), 'a process or a shared-memory segment was left behind'


def marked(mark):
    """Return the command lines of living processes whose environment began with this in it."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        try:
            if mark.encode() in (process / 'environ').read_bytes().split(b'\0'):
                line = (process / 'cmdline').read_bytes()
                found.append(line.replace(b'\0', b' ').decode().strip())
        except OSError:
            continue  # ended meanwhile, or another user's
    return found
