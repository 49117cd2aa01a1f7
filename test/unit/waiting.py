"""Waiting in tests: for a while, never for ever."""

import time


def until(predicate, seconds=120.0, process=None):
    """
    Wait until a predicate holds; fail where it does not in time.

    :param process: ``subprocess.Popen`` that must not end meanwhile.
    """
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, f'not within {seconds:g} s'
        assert process is None or process.poll() is None, 'the process ended'
        time.sleep(0.001)
