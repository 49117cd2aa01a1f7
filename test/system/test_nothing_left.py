"""What looks for processes that a test leaves behind sees those that have lost their parent."""

import os
import signal
import subprocess
import time


def test_an_orphan_is_seen(nothing_left):
    assert not nothing_left()
    started = subprocess.run(
        ['sh', '-c', 'sleep 600 >/dev/null 2>&1 & echo $!'], capture_output=True, check=True
    )
    orphan = int(started.stdout)
    try:
        # Until it has become what it shall run it is another process, or none.
        until(lambda: nothing_left() == ['sleep 600'])
    finally:
        os.kill(orphan, signal.SIGKILL)
    until(lambda: not nothing_left())


def until(predicate):
    end = time.monotonic() + 10.0
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.01)
