"""
What the tests leave is removed: shared memory of a failed test, whose ROS context lives to the end
of the process, and the cache of maps where `make` has not named one.

Properties are tried with the same examples every time. ``AV_TD3_HYPOTHESIS=random`` tries others
each time, for long runs; what fails is kept in ``.hypothesis`` and tried first from then on.
"""

import os
import tempfile

try:
    from hypothesis import settings
except ImportError:
    settings = None
try:
    from av_td3_ros.nodes import shared_memory
except ImportError:
    shared_memory = None

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
