"""How soon a node's process is served: before other work of the machine, and without pauses."""

from contextlib import contextmanager
import gc
import os
from typing import Iterator


def keep_what_is() -> None:
    """
    Take what there is for lasting: the garbage collector looks at it no more.

    Thousands of objects of imported libraries would be walked again and again, 160 ms each time
    where torch is among them: three frames.
    """
    gc.collect()
    gc.freeze()


def let_go() -> None:
    """
    Let the garbage collector see everything again, before the process ends.

    What is frozen is never destroyed, and a participant of DDS that is not takes no leave of the
    others and leaves its shared memory behind.
    """
    gc.unfreeze()


def prioritise(priority: int, is_inherited: bool = True) -> str:
    """
    Let the threads of this process run before all ordinary ones.

    :param priority: of SCHED_FIFO, 1 to 99; 0 changes nothing.
    :param is_inherited: whether threads and processes that are made later do, too.
    :returns: why the system refuses, or ''.
    """
    if not priority:
        return ''
    try:
        kind = os.SCHED_FIFO | (0 if is_inherited else os.SCHED_RESET_ON_FORK)
        for thread in os.listdir('/proc/self/task'):
            try:
                os.sched_setscheduler(int(thread), kind, os.sched_param(priority))
            except ProcessLookupError:  # it ended meanwhile
                continue
    except (AttributeError, OSError) as error:  # not Linux, not permitted
        return (
            f'real-time priority {priority} must be permitted, got {error}; frames wait for what '
            f'else is computed: set rtprio {priority} for the user in /etc/security/limits.conf '
            '(docker run --cap-add=SYS_NICE), or priority 0'
        )
    return ''


@contextmanager
def unhurried() -> Iterator[None]:
    """Let the calling thread run as any other meanwhile: for long work that no frame waits for."""
    before = os.sched_getscheduler(0) if hasattr(os, 'sched_getscheduler') else 0
    if not before:  # ordinary already
        yield
        return
    parameters = os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, parameters)
