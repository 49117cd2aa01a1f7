"""The mapped replay: killed at any moment it reopens whole."""

import mmap
import os
from pathlib import Path
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from replays import (
    assert_same,
    CONTINUES,
    GAMMA,
    make,
    Pair,
    TERMINATED,
    TRUNCATED,
    VECTOR,
)

from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.td3.replay_batch import Draw
from waiting import until

PICTURES = ObsSpec(3, 12, 12, ('index', 'sign'))
CAPACITY, N_STEP = 500, 3


# -- observations and steps that are a function of their index ------------------------------------


def picture(index):
    return np.tile(np.array([index], '<u4').view(np.uint8), 36).reshape(12, 12)


def begins(index, opened):
    """Return whether an episode begins here: some are of one step; every process begins one."""
    return index % 37 in (0, 5, 7) or index in opened


def outcome(index):
    """Return how the step that led to an index ended, where the next one begins an episode."""
    if (index + 1) % 37 in (0, 5, 7):
        return (TERMINATED, TRUNCATED, CONTINUES)[index % 3]
    return CONTINUES


def reward(index):
    return float(np.float32(np.sin(index)))


def action(index):
    return np.array([np.cos(index), np.sin(index)], np.float32)


def insert(replay, count, end=None):
    """Store what belongs to the indices from ``count`` on, one after the other."""
    opened = {count}
    while count != end:
        vector = np.array([count % 1009, -(count % 1009)], np.float32)
        if begins(count, opened):
            replay.begin(picture(count), vector)
        else:
            replay.add(action(count), reward(count), outcome(count), picture(count), vector)
        count += 1
        yield count


def check(replay, opened):
    """Compare every transition with what it must be."""
    ring = replay._ring
    oldest, count = ring.oldest, ring.count
    assert count - oldest == min(count, CAPACITY) or count - oldest == CAPACITY - 1
    first = np.zeros(count - oldest, np.int64)
    for place, index in enumerate(range(oldest, count)):
        known = place and not begins(index, opened)
        first[place] = first[place - 1] if known else begun(index, opened)
    held = np.arange(oldest, count)
    has_next = np.r_[first[1:] == first[:-1], False]
    lowest = np.maximum(first, held - PICTURES.stack + 1)
    start = held[has_next & (lowest >= oldest)]
    np.testing.assert_array_equal(ring.starts(), start)
    batch = replay._gather(Draw(start, np.ones(len(start), np.float32), count, oldest))
    for row, index in enumerate(start.tolist()):
        episode = int(first[index - oldest])
        end = index + 1
        while end < count - 1 and end - index < N_STEP and first[end + 1 - oldest] == episode:
            end += 1
        for images, vector, newest in (
            (batch.image, batch.vector, index),
            (batch.next_image, batch.next_vector, end),
        ):
            wanted = [picture(max(newest - back, episode)) for back in (2, 1, 0)]
            np.testing.assert_array_equal(images[row], wanted)
            assert vector[row].tolist() == [newest % 1009, -(newest % 1009)]
        np.testing.assert_array_equal(batch.action[row], action(index + 1))
        steps = range(index + 1, end + 1)
        total = sum(GAMMA**k * reward(step) for k, step in enumerate(steps))
        assert batch.reward[row] == pytest.approx(total, abs=1e-6)
        ended = outcome(end) is TERMINATED
        assert batch.discount[row] == (0.0 if ended else GAMMA ** (end - index))


def begun(index, opened):
    while not begins(index, opened):
        index -= 1
    return index


# -- killed ---------------------------------------------------------------------------------------

# Forks a writer for each line that it reads: PyTorch is imported once and not twenty times. What
# a writer has stored it counts in a file that is mapped, too.
WRITERS = """
import mmap, os, sys
from pathlib import Path
from test_replay_mapped import *
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        folder = Path(line.strip())
        with (folder / 'done').open('r+b') as file:
            done = np.ndarray(1, np.int64, mmap.mmap(file.fileno(), 8))
        replay = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=folder)
        replay.reopen()
        for count in insert(replay, replay.state()['count']):
            done[0] = count
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print('gone', flush=True)
"""


@pytest.fixture
def writers():
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, '-c', WRITERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:  # it waits for its writer, which nothing else ends
            os.killpg(process.pid, signal.SIGKILL)


def test_killed_at_any_moment_it_reopens_whole(writers, tmp_path):
    rng = random.Random(0)
    (tmp_path / 'done').write_bytes(bytes(8))
    with (tmp_path / 'done').open('r+b') as file:
        done = np.ndarray(1, np.int64, mmap.mmap(file.fileno(), 8))
    opened = set()
    for kill in range(20):
        begin = int(done[0])
        writers.stdin.write(f'{tmp_path}\n')
        writers.stdin.flush()
        pid = int(writers.stdout.readline())
        target = begin + rng.randrange(1, 2000)

        def is_there():
            assert os.path.exists(f'/proc/{pid}'), 'the writer ended by itself'
            return done[0] >= target

        until(is_there)
        for _ in range(rng.randrange(3000)):  # any instruction, not the one after a count
            pass
        os.kill(pid, signal.SIGKILL)
        assert writers.stdout.readline() == 'gone\n'
        opened.add(begin)
        replay = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=tmp_path)
        assert len(replay) == 0
        replay.reopen()
        count = replay.state()['count']
        # Nothing that was reported is missing; one more may be complete.
        assert int(done[0]) <= count <= int(done[0]) + 1
        check(replay, opened)
        done[0] = count
        with pytest.raises(SpecError, match='must follow begin'):
            replay.add(action(0), 0.0, CONTINUES, picture(0), VECTOR)
    assert done[0] > 3 * CAPACITY, 'the ring was written over'


@pytest.mark.parametrize('count', [1, 2, 3, 499, 500, 501, 1234])
def test_reopens_what_was_stored(tmp_path, count):
    replay = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=tmp_path)
    for _ in insert(replay, 0, count):
        pass
    again = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=tmp_path)
    again.reopen()
    check(again, {0})
    for _ in insert(again, count, count + 700):
        pass
    check(again, {0, count})


class Killed(BaseException):
    """Stands for SIGKILL at a certain instruction."""


@pytest.mark.parametrize('place', ['oldest', 'frame', 'vector', 'reward', 'first', 'count'])
def test_killed_between_any_two_writes(tmp_path, monkeypatch, place):
    """Each step of the order of writing, after which the process is gone."""
    replay = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=tmp_path)
    for _ in insert(replay, 0, 700):
        pass
    ring = replay._ring
    file = ring.file

    class Column:
        def __init__(self, array, name):
            self.array, self.name = array, name

        def __getitem__(self, key):
            return self.array[key]

        def __setitem__(self, key, value):
            self.array[key] = value
            if self.name == place:
                raise Killed

    for name in ring.columns:
        ring.columns[name] = Column(ring.columns[name], name)
    if place == 'frame':
        put = ring.frames.put
        monkeypatch.setattr(ring.frames, 'put', lambda *args: (put(*args), 1 / 0))
    elif place in ('oldest', 'count'):
        number = {'count': 0, 'oldest': 1}[place]

        class Counts:
            def __getitem__(self, key):
                return counts[key]

            def __setitem__(self, key, value):
                counts[key] = value
                if key == number:
                    raise Killed

        counts, file._counts = file._counts, Counts()
    with pytest.raises((Killed, ZeroDivisionError)):
        next(insert(replay, 700))
    again = make(PICTURES, CAPACITY, N_STEP, storage='mapped', folder=tmp_path)
    again.reopen()
    assert again.state()['count'] == (701 if place == 'count' else 700)
    check(again, {0, 700} if place == 'count' else {0})


# -- opened, saved, loaded ------------------------------------------------------------------------


def mapped(folder, **how):
    return Pair(capacity=20, storage='mapped', folder=folder, **how)


def test_saving_writes_no_frames_and_loading_goes_on_bit_for_bit(tmp_path):
    pair = mapped(tmp_path)
    pair.episode(30, CONTINUES)
    before = set(tmp_path.iterdir())
    pair.replay.save(tmp_path)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {'replay.json'}
    copy = pair.fresh()
    copy.load(tmp_path)
    assert_same(pair.replay, copy)
    pair.replay = copy
    pair.add()  # the episode is still open
    pair.check()


def test_loading_an_earlier_state_keeps_what_was_stored_since(tmp_path):
    """A run that is killed after its checkpoint resumes with all its experience."""
    pair = mapped(tmp_path)
    pair.episode(5, TERMINATED)
    pair.replay.save(tmp_path)
    state = pair.replay.state()
    pair.episode(7, CONTINUES)
    resumed = pair.fresh()
    resumed.load(tmp_path, state)
    pair.replay = resumed
    pair.check()
    with pytest.raises(SpecError, match='must follow begin'):
        pair.replay.add(np.zeros(2), 0.0, CONTINUES, *pair.observation())


def test_what_was_not_taken_over_is_discarded_by_the_first_observation(tmp_path):
    pair = mapped(tmp_path)
    pair.episode(5, TERMINATED)
    pair = mapped(tmp_path)
    assert len(pair.replay) == 0
    pair.episode(2, TERMINATED)
    pair.check()
    pair.replay = pair.fresh()
    pair.replay.reopen()
    pair.check()


def test_priorities_are_back_after_loading_and_new_after_a_kill(tmp_path):
    pair = mapped(tmp_path, prioritised=True)
    pair.episode(10, TERMINATED)
    pair.replay.update_priorities(np.arange(10), np.arange(10.0))
    pair.replay.save(tmp_path)
    loaded, reopened = pair.fresh(), pair.fresh()
    loaded.load(tmp_path)
    assert_same(pair.replay, loaded)
    reopened.reopen()
    assert (reopened.sample(50).weight == 1.0).all()
