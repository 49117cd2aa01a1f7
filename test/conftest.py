"""
A failed test keeps its ROS context alive to the end of the process, and with it shared memory:
remove that.
"""

import os

try:
    from av_td3_ros.nodes import shared_memory
except ImportError:
    shared_memory = None

BEFORE = shared_memory.snapshot() if shared_memory else frozenset()


def pytest_unconfigure():
    """Leave no shared-memory segment behind."""
    if shared_memory:
        shared_memory.remove_orphans(BEFORE, ending=os.getpid())
