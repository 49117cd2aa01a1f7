"""
ROS domains of the tests. None meets that of another process that runs beside it.

Nought is that of whoever sets none, 60 to 101 is what commands choose by themselves, and from 102
on the ports are those that Linux lends out to anybody.

| domains  | who | beside |
|----------|-----|--------|
| 1 to 19  | a chaos test | nobody |
| 20 to 59 | a system test, the next one for each | nobody |
| 20 to 39 | node tests (even) and fuzzing (odd) in the first of two workers | the second |
| 40 to 59 | the same in the second | the first |
"""

from itertools import cycle, islice
import os

FIRST, LAST = 20, 59


def of_chaos():
    """Return the domain of the chaos tests of this process."""
    return 1 + os.getpid() % 19


def of_systems():
    """Return an iterator over the domains of system tests, one after the other."""
    count = LAST - FIRST + 1
    return islice(cycle(range(FIRST, LAST + 1)), os.getpid() % count, None)


def of_nodes():
    """Return the domain of the node tests of this process."""
    worker = os.environ.get('PYTEST_XDIST_WORKER')
    if worker is None:
        return FIRST + 2 * (os.getpid() % 20)
    return FIRST + 20 * (int(worker.removeprefix('gw')) % 2) + 2 * (os.getpid() % 10)


def of_fuzzing():
    """Return the domain on which this process fuzzes: other than that of its node tests."""
    return of_nodes() + 1
