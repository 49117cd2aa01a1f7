"""
Runs that take their time, each in a process of its own: some at once, stopped and gone on with.

A run that is over has left ``done.json`` in its folder, with the values that it was made with; it
is not run again. One that was interrupted begins anew.
"""

from collections import deque
from contextlib import suppress
import json
import multiprocessing
from multiprocessing import connection
from pathlib import Path
import shutil
import signal
import time
import traceback
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import replace_file

DONE = 'done.json'
# Between two words of a run, s; and how long it may take to end when it is asked to.
TELL_PERIOD, GRACE = 0.5, 120.0

# What a run calls after every step: how much of it is over, [0, 1]; true where it must end.
Tell = Callable[[float], bool]


class Job(NamedTuple):
    """
    One run.

    ``work``: a function of a module, called as work(folder, facts, tell); returns JSON data.
    ``facts``: JSON data that make the run; another run with the same folder is refused.
    """

    name: str
    folder: Path
    work: Callable[[Path, Dict[str, Any], Tell], Dict[str, Any]]
    facts: Dict[str, Any]


def result(folder: Path) -> Dict[str, Any]:
    """Return what a run left when it was over; {} where it is not."""
    return _done(folder).get('result', {})


def _done(folder: Path) -> Dict[str, Any]:
    try:
        data = json.loads((folder / DONE).read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def unfinished(jobs: Sequence[Job]) -> List[Job]:
    """
    Return the jobs that are to be run.

    :raises ConfigError: where a folder holds a finished run of other facts.
    """
    wanted = []
    for job in jobs:
        done = _done(job.folder)
        if not done:
            wanted.append(job)
        elif done.get('facts') != json.loads(json.dumps(job.facts)):
            raise ConfigError(
                f'{job.folder} must hold no other run, got one that was made with '
                f'{_other(done.get("facts"), job.facts)}; choose another folder with --output'
            )
    return wanted


def _other(found: Any, wanted: Mapping[str, Any]) -> str:
    """Name the first fact that differs."""
    found = found if isinstance(found, dict) else {}
    for key, value in json.loads(json.dumps(wanted)).items():
        old = found.get(key)
        if old != value:
            if isinstance(value, dict) and isinstance(old, dict):
                return _other(old, value)
            return f'{key} {old!r} instead of {value!r}'
    return 'other settings'


class _Running(NamedTuple):
    job: Job
    process: Any
    pipe: Any


def run_all(
    jobs: Sequence[Job],
    parallel: int,
    show: Callable[[str], None],
    say: Callable[[str], None],
    stops: Sequence[int] = (),
) -> List[str]:
    """
    Run jobs, so many at once.

    :param show: takes the newest state as one line.
    :param say: takes what stays: a run that is over.
    :param stops: not empty where all must end; runs that are not over by then are lost.
    :returns: what went wrong, a sentence for each failed run.
    """
    waiting: Deque[Job] = deque(jobs)
    running: List[_Running] = []
    shares: Dict[str, float] = {}
    faults: List[str] = []
    begun = time.monotonic()
    try:
        while (waiting or running) and not stops:
            while waiting and len(running) < parallel:
                running.append(_start(waiting.popleft()))
            connection.wait([item.pipe for item in running], TELL_PERIOD)
            for item in list(running):
                over, fault = _listen(item, shares)
                if over:
                    running.remove(item)
                    shares[item.job.name] = 1.0
                    faults += [fault] if fault else []
                    say(fault or f'{item.job.name}: done')
            show(_state(len(jobs), shares, running, time.monotonic() - begun))
    finally:
        _end(running)
    return faults


def _state(count: int, shares: Mapping[str, float], running: List[_Running], passed: float) -> str:
    done = sum(shares.values())
    left = passed / done * (count - done) if done > 0.0 else float('nan')
    now = ', '.join(f'{item.job.name} {shares.get(item.job.name, 0.0):.0%}' for item in running)
    over = sum(share >= 1.0 for share in shares.values())
    return f'{over} of {count} runs | {duration(left)} left | {now}'


def duration(seconds: float) -> str:
    """Return a time as h:mm:ss; '-' where it is not known."""
    if seconds != seconds:
        return '-'
    whole = int(seconds)
    return f'{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}'


def _start(job: Job) -> _Running:
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    context = multiprocessing.get_context('spawn')
    pipe, end = context.Pipe()
    process = context.Process(target=_serve, args=(end, job), daemon=True)
    process.start()
    end.close()
    return _Running(job, process, pipe)


def _listen(item: _Running, shares: Dict[str, float]) -> Tuple[bool, str]:
    """Return whether a run is over, and what went wrong with it."""
    try:
        while item.pipe.poll():
            kind, what = item.pipe.recv()
            if kind == 'at':
                shares[item.job.name] = min(what, 0.999)
            else:
                item.process.join(GRACE)
                return True, f'{item.job.name}: {what}' if kind == 'failed' else ''
    except (EOFError, OSError):
        item.process.join(GRACE)
        return True, (
            f'{item.job.name} must live to its end, got exit code {item.process.exitcode}; is '
            'there memory enough?'
        )
    return False, ''


def _end(running: List[_Running]) -> None:
    """End every process that is left: first by asking."""
    for item in running:
        try:
            item.pipe.send('stop')
        except OSError:
            pass
    until = time.monotonic() + GRACE
    for item in running:
        # What it still has to say must not keep it from ending.
        while item.process.is_alive() and time.monotonic() < until:
            try:
                while item.pipe.poll(0.05):
                    item.pipe.recv()
            except (EOFError, OSError):
                item.process.join(max(until - time.monotonic(), 0.0))
        item.process.kill()
        item.process.join()
        item.pipe.close()


def _serve(pipe: Any, job: Job) -> None:
    """Do the work of one process."""
    # Ctrl-C reaches every process of a terminal: the first one asks the others to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped, last = False, float('-inf')

    def tell(share: float) -> bool:
        nonlocal stopped, last
        moment = time.monotonic()
        if not stopped and moment - last > TELL_PERIOD:
            last = moment
            try:
                stopped = pipe.poll()  # whatever it is, or the other end is gone
                pipe.send(('at', share))
            except OSError:
                stopped = True
        return stopped

    try:
        found = job.work(job.folder, job.facts, tell)
        if not stopped:
            data = {'facts': job.facts, 'result': found}
            replace_file(job.folder / DONE, json.dumps(data, indent=1) + '\n')
        word = ('done', '')
    except Exception as error:  # the other side tells it; here it stays in full
        word = ('failed', f'{type(error).__name__}: {" ".join(str(error).split())}')
        with suppress(OSError):  # a full disk must not hide it
            (job.folder / 'fault.txt').write_text(traceback.format_exc())
    try:
        pipe.send(word)
    except OSError:
        pass
