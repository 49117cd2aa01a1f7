"""Prefetching: the same draws whatever the timing, and across save and resume."""

import copy
import json
import shutil
import threading

import numpy as np
import pytest
from replays import (
    assert_same_batch,
    by_start,
    CONTINUES,
    index_of,
    Pair,
    STORAGES,
    TERMINATED,
)

from av_td3_ros.datatypes import SpecError
from av_td3_ros.td3.prefetch import Prefetcher
from waiting import until

ALL = pytest.mark.parametrize('storage', STORAGES)
PRIORITISED = pytest.mark.parametrize('prioritised', [False, True])


class Life:
    """A replay that is filled and drawn from by turns, as a trainer does."""

    def __init__(self, **how):
        self.pair = Pair(capacity=60, **how)
        self.pair.episode(30, CONTINUES)
        self.prefetcher = Prefetcher(self.pair.replay, 16)

    @classmethod
    def resumed(cls, life, folder, state):
        """Return a second one that goes on from what the first has saved."""
        other = cls.__new__(cls)
        other.pair = copy.copy(life.pair)
        other.pair.naive = copy.deepcopy(life.pair.naive)
        other.pair.replay = life.pair.fresh(folder=folder)
        other.pair.replay.load(folder, state)
        other.prefetcher = Prefetcher(other.pair.replay, 16)
        return other

    def turn(self, number):
        batch = self.prefetcher.next()
        if self.pair.how.get('prioritised'):
            self.pair.replay.update_priorities(batch.index, np.sin(batch.index) * (number + 1))
        if number % 7 == 6:
            self.pair.episode(3, TERMINATED)
            self.pair.begin()
        else:
            self.pair.add()
        return batch

    def close(self):
        self.prefetcher.close()


@ALL
def test_a_batch_is_one_call_behind_and_whole(tmp_path, storage):
    life = Life(storage=storage, folder=tmp_path)
    before = set()
    for number in range(200):
        now = set(life.pair.naive.transitions())
        batch = life.turn(number)
        frames = index_of(batch.image)
        np.testing.assert_array_equal(frames[:, -1], batch.index)
        # Stacks without a seam: frames follow each other, or repeat the first of the episode.
        steps = np.diff(frames, axis=1)
        assert ((steps == 1) | ((steps == 0) & (frames[:, :-1] == frames[:, :1]))).all()
        if number:
            assert set(batch.index.tolist()) <= before
        before = now
    life.close()


class Slow:
    """Holds every gathering back until it is told."""

    def __init__(self, replay, monkeypatch, seconds):
        self.gate = threading.Event()
        gather = replay._gather

        def late(*args):
            self.gate.wait(seconds)
            return gather(*args)

        monkeypatch.setattr(replay, '_gather', late)


@PRIORITISED
def test_what_is_drawn_does_not_depend_on_the_timing_of_threads(monkeypatch, prioritised):
    quick, slow = Life(prioritised=prioritised), Life(prioritised=prioritised)
    Slow(slow.pair.replay, monkeypatch, 0.004)
    for number in range(60):
        assert_same_batch(quick.turn(number), slow.turn(number))
    quick.close()
    slow.close()


def test_a_frame_is_not_overwritten_before_it_is_gathered(monkeypatch):
    pair = Pair(capacity=20)
    pair.episode(19, TERMINATED)
    slow = Slow(pair.replay, monkeypatch, 10.0)
    prefetcher = Prefetcher(pair.replay, 64)
    begun, done = threading.Event(), threading.Event()

    def insert():
        begun.set()
        for _ in range(30):
            pair.episode(1, TERMINATED)
        done.set()

    def draw():
        prefetcher.next()

    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    until(lambda: pair.replay._ring.reading)
    inserting = threading.Thread(target=insert, daemon=True)
    inserting.start()
    assert begun.wait(60)
    assert not done.wait(0.05), 'the writer must wait for the reader'
    slow.gate.set()
    drawing.join(10)
    assert done.wait(10)
    inserting.join(10)
    batch = prefetcher.next()
    np.testing.assert_array_equal(index_of(batch.image)[:, -1], batch.index)
    assert (np.diff(index_of(batch.image), axis=1) <= 1).all()
    prefetcher.close()


@ALL
@PRIORITISED
@pytest.mark.parametrize('turns', [1, 5, 40, 83])
def test_save_and_resume_go_on_bit_for_bit(tmp_path, storage, prioritised, turns):
    """After 40 turns the ring has wrapped: frames of what was drawn ahead are overwritten."""
    one = Life(storage=storage, folder=tmp_path, prioritised=prioritised)
    for number in range(turns):
        one.turn(number)
    one.pair.replay.save(tmp_path)
    state = json.loads(json.dumps(one.pair.replay.state()))
    twin = shutil.copytree(tmp_path, tmp_path / 'copy')  # of a mapped file one may write
    other = Life.resumed(one, twin, state)
    expected = [one.turn(number) for number in range(turns, turns + 30)]
    for number, wanted in enumerate(expected, turns):
        assert_same_batch(wanted, other.turn(number))
    one.close()
    other.close()


def test_loading_replaces_what_was_drawn_before(tmp_path):
    life = Life()
    life.turn(0)
    life.pair.replay.save(tmp_path)
    expected = [life.turn(number) for number in (1, 2)]
    life.pair.replay.load(tmp_path)
    observations = life.pair.naive.observations
    life.pair.naive.observations = observations[: life.pair.replay.state()['count']]
    for number, batch in zip((1, 2), expected):
        assert_same_batch(batch, life.turn(number))
    life.close()


def test_an_error_of_the_thread_is_raised_by_next(monkeypatch):
    life = Life()
    life.turn(0)

    def broken(*args):
        raise OSError('planted')

    life.prefetcher._batch.result()
    monkeypatch.setattr(life.pair.replay, '_gather', broken)
    life.prefetcher.next()  # was gathered before
    with pytest.raises(OSError, match='planted'):
        life.prefetcher.next()
    monkeypatch.undo()
    batch = life.prefetcher.next()
    np.testing.assert_array_equal(index_of(batch.image)[:, -1], batch.index)
    assert not life.pair.replay._ring.reading[1:], 'a failed reader must not hold slots back'
    life.close()


def test_an_empty_replay_is_refused_and_works_later():
    pair = Pair()
    prefetcher = Prefetcher(pair.replay, 4)
    with pytest.raises(SpecError, match='at least 1 transition'):
        prefetcher.next()
    pair.episode(2, TERMINATED)
    assert set(prefetcher.next().index.tolist()) <= set(by_start(pair.replay))
    prefetcher.close()


def test_close_ends_the_thread():
    before = set(threading.enumerate())
    life = Life()
    life.turn(0)
    (thread,) = set(threading.enumerate()) - before
    life.close()
    assert not thread.is_alive()
