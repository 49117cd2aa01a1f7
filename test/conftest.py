"""
What the tests leave is removed: shared memory of a failed test, whose ROS context lives to the end
of the process, and the cache of maps where `make` has not named one. The ROS domains that they
use are all in ``domains.py``.

Properties are tried with the same examples every time. ``AV_TD3_HYPOTHESIS=random`` tries others
each time, for long runs; what fails is kept in ``.hypothesis`` and tried first from then on.
"""

import gc
import os
from pathlib import Path
import tempfile
import time
import uuid

import pytest

try:
    from hypothesis import settings
except ImportError:
    settings = None
try:
    from av_td3_ros.nodes import shared_memory
except ImportError:
    shared_memory = None

MOMENT = 15.0
BEFORE = shared_memory.snapshot() if shared_memory else frozenset()


CACHE = tempfile.TemporaryDirectory(prefix='av_td3_cache_')
os.environ.setdefault('AV_TD3_CACHE', CACHE.name)

if settings:
    # How long an example takes says how busy the machine is.
    settings.register_profile('same', deadline=None, derandomize=True, database=None)
    settings.register_profile('random', deadline=None, derandomize=False, print_blob=True)
    settings.load_profile(os.environ.get('AV_TD3_HYPOTHESIS', 'same'))


def pytest_unconfigure():
    """Leave nothing behind."""
    CACHE.cleanup()
    if shared_memory:
        shared_memory.remove_orphans(BEFORE, ending=os.getpid())


@pytest.fixture
def nothing_left(monkeypatch):
    """
    Neither a process nor a shared-memory segment may stay behind; gives what tells the processes.
    """
    # Every process that the test starts inherits it, and so do theirs, whoever their parent is.
    mark = f'AV_TD3_TEST={uuid.uuid4()}'
    monkeypatch.setenv(*mark.split('='))
    gc.collect()  # participants of the tests before
    segments = shared_memory.snapshot()
    yield lambda: marked(mark)
    gc.collect()  # and of this one

    def left():
        return marked(mark) or shared_memory.orphans(segments, ending=os.getpid())

    end = time.monotonic() + MOMENT  # for what is ending just now
    while (found := left()) and time.monotonic() < end:
        time.sleep(0.05)  # what must end needs the core
    assert not found, f'a process or a shared-memory segment was left behind: {found}'


def marked(mark):
    """Return the command lines of living processes whose environment began with this in it."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        try:
            if mark.encode() in (process / 'environ').read_bytes().split(b'\0'):
                line = (process / 'cmdline').read_bytes().replace(b'\0', b' ').decode().strip()
                if 'multiprocessing.resource_tracker' not in line:  # ends with the tests
                    found.append(line)
        except OSError:
            continue  # ended meanwhile, or another user's
    return found
