"""
What the tests leave is removed: shared memory of a failed test, whose ROS context lives to the end
of the process, and the cache of maps where `make` has not named one.
"""

import os
import tempfile

try:
    from av_td3_ros.nodes import shared_memory
except ImportError:
    shared_memory = None

BEFORE = shared_memory.snapshot() if shared_memory else frozenset()


CACHE = tempfile.TemporaryDirectory(prefix='av_td3_cache_')
os.environ.setdefault('AV_TD3_CACHE', CACHE.name)


def pytest_unconfigure():
    """Leave nothing behind."""
    CACHE.cleanup()
    if shared_memory:
        shared_memory.remove_orphans(BEFORE, ending=os.getpid())
