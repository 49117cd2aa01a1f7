"""One thread stores while others sample: no torn frame, no stack across a seam."""

import threading
import time

import numpy as np
import pytest
from replays import make, STORAGES

from av_td3_ros.datatypes import ObsSpec, Outcome
from av_td3_ros.td3.prefetch import Prefetcher

# Large enough for copies to take a while, small enough for the ring to be written over often.
SPEC = ObsSpec(4, 64, 64, ('index', 'first'))
CAPACITY = 70
STEPS = 4000
LENGTHS = (1, 30, 2, 11, 1, 1, 90)


def picture(index):
    return np.full((64, 64), index % 251, np.uint8)


def store(replay, failures, ended, enough=lambda: True):
    """
    Store so many steps, and go on until the other side has had enough.

    :raises AssertionError: into ``failures``, where it has not within a minute.
    """
    end = time.monotonic() + 60.0
    try:
        index, turn = 0, 0
        while index < STEPS or not enough():
            assert time.monotonic() < end, 'the other side has not done its part'
            first = index
            replay.begin(picture(index), np.array([index, first], np.float32))
            for step in range(LENGTHS[turn % len(LENGTHS)]):
                index += 1
                ends = step == LENGTHS[turn % len(LENGTHS)] - 1
                outcome = Outcome.TERMINATED if ends else Outcome.CONTINUES
                action = np.array([index % STEPS / STEPS, 0.0], np.float32)
                vector = np.array([index, first], np.float32)
                replay.add(action, float(index), outcome, picture(index), vector)
            index += 1
            turn += 1
    except BaseException as error:  # noqa: B902 - to be shown by the test
        failures.append(error)
    finally:
        ended.set()


def check(batch):
    images = np.stack([np.asarray(batch.image), np.asarray(batch.next_image)])
    assert (images == images[..., :1, :1]).all(), 'a frame was torn'
    vectors = np.stack([batch.vector, batch.next_vector]).astype(int)
    index, first = vectors[..., 0], vectors[..., 1]
    np.testing.assert_array_equal(index[0], batch.index)
    np.testing.assert_array_equal(first[0], first[1])
    wanted = np.maximum(index[..., None] + np.arange(-3, 1), first[..., None]) % 251
    np.testing.assert_array_equal(images[..., 0, 0], wanted)
    assert batch.action[:, 0] == pytest.approx((batch.index + 1) % STEPS / STEPS, abs=1e-5)
    length = index[1] - index[0]
    assert ((1 <= length) & (length <= 3)).all()
    steps = batch.index[:, None] + np.arange(1, 4)
    taken = np.arange(3) < length[:, None]
    rewards = (steps * 0.5 ** np.arange(3) * taken).sum(axis=1)
    assert batch.reward == pytest.approx(rewards, rel=1e-5)
    assert np.isin(batch.discount - 0.5**length, (0.0, *-(0.5 ** np.arange(1, 4)))).all()


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('prioritised', [False, True])
def test_nothing_is_torn(tmp_path, storage, prioritised):
    replay = make(SPEC, CAPACITY, storage=storage, folder=tmp_path, prioritised=prioritised)
    failures, ended = [], threading.Event()
    batches = [0, 0]

    def guarded(number, sample):
        try:
            while not len(replay) and not ended.is_set():
                time.sleep(0)
            while not ended.is_set():
                batch = sample()
                check(batch)
                if prioritised:
                    replay.update_priorities(batch.index, np.abs(np.sin(batch.index)))
                batches[number] += 1
        except BaseException as error:  # noqa: B902
            failures.append(error)

    def enough():
        return failures or min(batches) > 5

    prefetcher = Prefetcher(replay, 32)
    threads = [
        threading.Thread(target=store, args=(replay, failures, ended, enough), daemon=True),
        threading.Thread(target=guarded, args=(0, lambda: replay.sample(32)), daemon=True),
        threading.Thread(target=guarded, args=(1, prefetcher.next), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not any(thread.is_alive() for thread in threads), 'a thread waits for ever'
    prefetcher.close()
    if failures:
        raise failures[0]
    assert min(batches) > 5
    assert not replay._ring.reading


def test_saving_beside_a_thread_that_stores(tmp_path):
    """What is saved is a state that the buffer really had."""
    replay = make(SPEC, CAPACITY)
    failures, ended = [], threading.Event()
    saves = 0
    how = replay, failures, ended, lambda: saves > 1
    thread = threading.Thread(target=store, args=how, daemon=True)
    thread.start()
    while not ended.is_set():
        replay.save(tmp_path)
        copy = make(SPEC, CAPACITY)
        copy.load(tmp_path)
        if len(copy):
            check(copy.sample(64))
            saves += 1
    thread.join(10)
    assert not failures and saves > 1
