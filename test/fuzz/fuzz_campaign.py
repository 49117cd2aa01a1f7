"""
Throw messages at the nodes: ``make fuzz MESSAGES=100000``.

Every message is handed to the callback of the node's own subscription or service. After it must
hold: nothing was raised, it took no longer than the limit, everything published is finite and in
bounds, memory did not grow; and every so often the node must work with good messages. A fault is
recorded with the message and its trace, and a new node goes on.
"""

import argparse
import csv
import gc
import json
import math
import multiprocessing
import os
from pathlib import Path
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import Any, Dict, List, Optional

import domains
from fuzz_messages import described, floats, messages, near, size
from fuzz_subject import Entrance, Subject
from fuzz_subjects import SUBJECTS
from hypothesis import given, HealthCheck, Phase, seed, settings
import hypothesis.strategies as st
import numpy as np
import rclpy

from av_td3_ros.gate_config import VehicleConfig
from av_td3_ros.nodes import shared_memory

LIMIT = 20.0
PROBE_EVERY = 50
BATCH = 500
# Messages of one example: most of its time is Hypothesis's own.
TOGETHER = 4
MOST_FAULTS = 10
MEGABYTE = 2**20
# What one message may leave behind or take for a moment, beside copies of itself.
GROWTH, COPIES = 300 * MEGABYTE, 12
# Published figures that may be NaN: what there is nothing to say about yet.
MAY_BE_NAN = {'return_mean', 'min_time_to_collision'}
VEHICLE = VehicleConfig()
FASTEST_TURN = VEHICLE.max_speed * math.tan(VEHICLE.max_steering_angle) / VEHICLE.wheel_base
UNIT = {
    'vehicle_control_cmd': {'throttle': (0.0, 1.0), 'brake': (0.0, 1.0), 'steer': (-1.0, 1.0)},
    'cmd_vel': {
        **{f'{kind}.{axis}': (0.0, 0.0) for kind in ('linear', 'angular') for axis in 'xyz'},
        'linear.x': (0.0, VEHICLE.max_speed),
        'angular.z': (-FASTEST_TURN, FASTEST_TURN),
    },
    'action': {'steering': (-1.0, 1.0), 'acceleration': (-1.0, 1.0)},
    'observation': {'vector': (-1.0, 1.0)},
    'transition': {'action': (-1.0, 1.0)},
}


class Fault(AssertionError):
    """A node broke a promise."""


class Hang(BaseException):
    """A callback took longer than the limit; no ``except Exception`` stops it."""


class Campaign:
    """Fuzzes one subject in this process."""

    def __init__(self, subject: Any, first_seed: int = 0, progress: Optional[Path] = None) -> None:
        """
        :param subject: a class of ``fuzz_subjects``.
        :param first_seed: the same seed throws the same messages.
        :param progress: file that holds the message being thrown, for who outlives a crash.
        """
        self._class, self._seed, self._progress = subject, first_seed, progress
        self._folder = Path(tempfile.mkdtemp(prefix='av_td3_fuzz_'))
        self._made = 0
        self.messages = 0
        self.seconds = 0.0
        self.entrances: Dict[str, int] = {}
        self.faults: List[Dict[str, str]] = []
        self._dead: List[str] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domains.of_fuzzing())
        self._subject = self._new_subject()

    def run(self, count: int) -> None:
        """Throw a number of messages, or stop at the tenth fault."""
        signal.signal(signal.SIGALRM, _hang)
        begun, hook = time.monotonic(), threading.excepthook
        threading.excepthook = lambda args: self._dead.append(f'{args.exc_type}: {args.exc_value}')
        # A callback may meet a huge number: what it computes is checked, not how.
        with np.errstate(all='ignore'):
            while count > 0 and len(self.faults) < MOST_FAULTS:
                self._batch(min(count, BATCH))
                count -= BATCH
            self._guarded(None, 'good messages', self._probe)
        threading.excepthook = hook
        self.seconds = time.monotonic() - begun

    def close(self) -> None:
        """Release everything."""
        self._subject.close()
        self._context.try_shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _batch(self, count: int) -> None:
        """Throw some messages; a batch each, since Hypothesis remembers every one of a batch."""
        self._seed += 1
        enough = self.messages + count
        targets = self._subject.targets()
        keys = [entrance.key for entrance in targets for _ in range(entrance.often)]
        drawn = {entrance.key: self._messages(entrance) for entrance in targets}

        @seed(self._seed)
        @settings(
            max_examples=-(-count // TOGETHER),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def throw(data: Any) -> None:
            for _ in range(TOGETHER):
                key = data.draw(st.sampled_from(keys))
                msg, steps = data.draw(drawn[key]), data.draw(st.integers(-1, 1))
                is_followed = data.draw(st.booleans())
                # Asked here: what is drawn must not depend on it.
                if len(self.faults) < MOST_FAULTS and self.messages < enough:
                    if steps >= 0:
                        self._subject.restamp(msg, steps)
                    self._throw(key, msg, is_followed)

        throw()

    def _messages(self, entrance: Entrance) -> Any:
        good = self._subject.good(entrance.key)
        near_good = near(good if good is not None else entrance.type())
        anything = messages(entrance.type)
        return near_good | near_good | anything if good is not None else near_good | anything

    def _throw(self, key: str, msg: Any, is_followed: bool) -> None:
        if self._progress is not None:
            self._progress.write_text(f'{key}: {described(msg)}')
        self.messages += 1
        self.entrances[key] = self.entrances.get(key, 0) + 1
        self._guarded(msg, key, lambda: self._one(key, msg, is_followed))
        if self.messages % PROBE_EVERY == 0:
            self._guarded(msg, f'good messages after {key}', self._probe)

    def _one(self, key: str, msg: Any, is_followed: bool) -> None:
        subject = self._subject
        before, bytes_in = resident(), size(msg)
        subject.say(key, msg)
        if is_followed:
            subject.follow(key)
        if self.messages % 10 == 0:
            subject.tick()
        subject.settle()
        self._check_published()
        grown = resident() - before
        if grown > GROWTH + COPIES * bytes_in:
            raise Fault(f'{grown / MEGABYTE:.0f} MB more after {bytes_in / MEGABYTE:.1f} MB')
        if self._dead:
            raise Fault(f'a thread ended: {self._dead.pop()}')

    def _check_published(self) -> None:
        for key, msg in self._subject.published:
            limits = UNIT.get(key, {})
            for name, value in floats(msg):
                array = np.asarray(value)
                if name not in MAY_BE_NAN and not np.all(np.isfinite(array)):
                    raise Fault(f'{key}.{name} is not finite: {described(msg)}')
                low, high = limits.get(name, (-np.inf, np.inf))
                if np.any(array < low) or np.any(array > high):
                    raise Fault(f'{key}.{name} is out of bounds: {described(msg)}')
        self._subject.published.clear()

    def _probe(self) -> None:
        self._subject.tick()
        self._subject.probe()
        self._check_published()

    def _guarded(self, msg: Any, key: str, work: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            work()
        except (Exception, Hang) as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.faults.append(
                {
                    'entrance': key,
                    'fault': f'{type(error).__name__}: {error}',
                    'message': described(msg),
                    'trace': ''.join(traceback.format_exc().splitlines(keepends=True)[-12:]),
                }
            )
            self._subject.close()
            self._subject = self._new_subject()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _new_subject(self) -> Subject:
        self._made += 1
        gc.collect()
        made = self._class(self._context, self._folder / str(self._made))
        made.probe()  # the first frames take the most memory
        made.published.clear()
        return made


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def _hang(*_: Any) -> None:
    raise Hang(f'longer than {LIMIT:g} s')


def _child(index: int, count: int, first_seed: int, progress: Path, pipe: Any) -> None:
    rclpy.logging.set_logger_level('av_td3', rclpy.logging.LoggingSeverity.FATAL)
    campaign = Campaign(SUBJECTS[index], first_seed, progress)
    campaign.run(count)
    pipe.send((campaign.messages, campaign.seconds, campaign.entrances, campaign.faults))
    campaign.close()


def fuzz(index: int, count: int, first_seed: int) -> Dict[str, Any]:
    """
    Fuzz one subject in a process of its own, which may die.

    :returns: a row of the table, with ``entrances`` and ``faults``.
    """
    spawn = multiprocessing.get_context('spawn')
    here, there = spawn.Pipe(duplex=False)
    name = SUBJECTS[index].name()
    with tempfile.TemporaryDirectory(prefix='av_td3_fuzz_') as folder:
        progress = Path(folder) / 'message'
        child = spawn.Process(target=_child, args=(index, count, first_seed, progress, there))
        child.start()
        there.close()
        try:
            thrown, seconds, entrances, faults = here.recv()
            child.join()
        except EOFError:
            child.join()
            thrown, seconds, entrances = 0, 0.0, {}
            text = progress.read_text() if progress.exists() else 'before the first message'
            fault = f'the process ended with {child.exitcode}'
            faults = [{'entrance': text.split(':')[0], 'fault': fault, 'message': text}]
    return {
        'node': name,
        'messages': thrown,
        'rate': round(thrown / seconds, 1) if seconds else 0.0,
        'faults': len(faults),
        'entrances': entrances,
        'found': faults,
    }


def main() -> int:
    """Fuzz the nodes that were asked for, print the table, write it."""
    parser = argparse.ArgumentParser(description='Throw messages at every node.')
    parser.add_argument('--messages', type=int, default=100_000, help='per node')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--node', action='append', help='only this one; may be repeated')
    parser.add_argument('--out', type=Path, help='folder for fuzz.csv and fuzz.json')
    options = parser.parse_args()
    known = [subject.name() for subject in SUBJECTS]
    wanted = options.node or known
    unknown = sorted(set(wanted) - set(known))
    if unknown or options.messages < 1:
        fault = (
            f'node must be one of {known}, got {unknown}'
            if unknown
            else (f'messages must be at least 1, got {options.messages}')
        )
        print(f'fuzz: {fault}', file=sys.stderr)
        return 2
    before = shared_memory.snapshot()
    print(f'{"node":24}{"messages":>10}{"1/s":>10}{"faults":>8}', flush=True)
    rows = []
    for index, name in enumerate(known):
        if name in wanted:
            row = fuzz(index, options.messages, options.seed)
            rows.append(row)
            print(f'{name:24}{row["messages"]:>10}{row["rate"]:>10}{row["faults"]:>8}', flush=True)
            for fault in row['found']:
                print('\n'.join(f'    {key}: {text}' for key, text in fault.items()))
    shared_memory.remove_orphans(before)
    if options.out:
        write(options.out, rows)
    return 1 if any(row['faults'] for row in rows) else 0


def write(folder: Path, rows: List[Dict[str, Any]]) -> None:
    """Write the table as CSV and, with every fault and entrance, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'fuzz.json').write_text(json.dumps(rows, indent=2) + '\n')
    with (folder / 'fuzz.csv').open('w', newline='') as file:
        writer = csv.DictWriter(
            file, ['node', 'messages', 'rate', 'faults'], extrasaction='ignore'
        )
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    sys.exit(main())
