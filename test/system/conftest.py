"""Whole graphs as separate processes, each on a ROS domain of its own."""

import gc
import os
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: system tests need ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('carla', reason='the carla library is not installed')

DOMAINS = iter(range(102 + os.getpid() % 60, 232))


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """A domain that no other test of this run has; above the range of the node tests."""
    number = str(next(DOMAINS))
    monkeypatch.setenv('ROS_DOMAIN_ID', number)
    return number


@pytest.fixture
def nothing_left():
    """Neither a process nor a shared-memory segment may stay behind."""
    from av_td3_ros.nodes import shared_memory

    gc.collect()  # participants of the tests before
    segments = shared_memory.snapshot()
    yield
    assert not children(), 'a process was left behind'
    gc.collect()  # and of this one
    assert not shared_memory.snapshot() - segments, 'a shared-memory segment was left behind'


def children():
    """Return the command lines of this process's living descendants that are nodes."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        try:
            line = (process / 'cmdline').read_bytes().replace(b'\0', b' ').decode()
            status = (process / 'status').read_text()
        except OSError:
            continue
        if 'av_td3_ros.nodes.' in line and f'PPid:\t{os.getpid()}\n' in status:
            found.append(line)
    return found
