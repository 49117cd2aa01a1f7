"""Replay: by hand at every end, against a naive buffer everywhere."""

import tempfile

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from replays import (
    by_start,
    CONTINUES,
    frame_of,
    index_of,
    make,
    Pair,
    STORAGES,
    TERMINATED,
    TRUNCATED,
    VECTOR,
)

from av_td3_ros.datatypes import SpecError

OUTCOMES = strategies.sampled_from([CONTINUES, CONTINUES, CONTINUES, TERMINATED, TRUNCATED])
OPERATIONS = strategies.lists(
    strategies.one_of(strategies.just('begin'), strategies.just('abort'), OUTCOMES), max_size=60
)


@settings(max_examples=300)
@given(
    OPERATIONS, strategies.integers(1, 4), strategies.integers(5, 20), strategies.integers(1, 5)
)
def test_equals_a_naive_buffer_of_whole_stacks(operations, stack, capacity, n_step):
    pair = Pair(stack, capacity, n_step)
    pair.follow(operations)
    pair.check()


@pytest.mark.parametrize('storage', STORAGES)
@settings(max_examples=60)
@given(data=strategies.data())
def test_every_storage_does_with_and_without_priorities(storage, data):
    stack, n_step = data.draw(strategies.integers(1, 4)), data.draw(strategies.integers(1, 5))
    capacity = data.draw(strategies.integers(5, 40))
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(
            stack,
            capacity,
            n_step,
            storage=storage,
            folder=folder,
            prioritised=data.draw(strategies.booleans()),
        )
        pair.follow(data.draw(OPERATIONS))
        pair.check()


@pytest.mark.parametrize('steps', range(30, 60))
@pytest.mark.parametrize('storage', STORAGES)
def test_wrap_around_inside_a_long_episode(tmp_path, steps, storage):
    pair = Pair(capacity=20, storage=storage, folder=tmp_path)
    pair.episode(10, TERMINATED)
    pair.episode(steps, TRUNCATED)
    pair.episode(2, TERMINATED)
    pair.check()


@pytest.mark.parametrize('outcome, bootstrap', [(TERMINATED, 0), (TRUNCATED, 1)])
def test_targets_by_hand(outcome, bootstrap):
    pair = Pair()
    pair.begin()
    for reward, how in ((1.0, CONTINUES), (2.0, CONTINUES), (4.0, CONTINUES), (8.0, outcome)):
        pair.add(how, reward)
    pair.episode(5, TRUNCATED)  # what follows must not leak in
    found = by_start(pair.replay)
    assert found[0] == (1 + 2 / 2 + 4 / 4, 1 / 8, 3)
    assert found[1] == (2 + 4 / 2 + 8 / 4, bootstrap / 8, 4)
    assert found[2] == (4 + 8 / 2, bootstrap / 4, 4)
    assert found[3] == (8.0, bootstrap / 2, 4)
    assert 4 not in found


def test_aborted_and_running_episodes_bootstrap_from_the_last_good_observation():
    pair = Pair()
    pair.begin()
    pair.add(reward=1.0)
    pair.add(reward=2.0)
    pair.abort()
    pair.begin()
    pair.add(reward=4.0)
    found = by_start(pair.replay)
    assert found == {0: (2.0, 1 / 4, 2), 1: (2.0, 1 / 2, 2), 3: (4.0, 1 / 2, 4)}


def test_one_step_episodes():
    pair = Pair(capacity=11)
    for outcome in (TERMINATED, TRUNCATED) * 8:
        pair.episode(1, outcome)
    pair.check()
    assert len(pair.replay) == 5
    for reward, discount, _ in by_start(pair.replay).values():
        assert discount in (0.0, 0.5)


def test_begin_on_an_unfinished_episode_aborts_it():
    one, two = Pair(), Pair()
    for pair, explicit in ((one, False), (two, True)):
        pair.begin()
        pair.add()
        if explicit:
            pair.abort()
        pair.begin()
        pair.add()
        pair.check()
    assert by_start(one.replay) == by_start(two.replay)


def test_sampling_is_uniform_and_seeded():
    pair = Pair()
    pair.episode(10, TERMINATED)
    other = Pair()
    other.episode(10, TERMINATED)
    starts = index_of(pair.replay.sample(20_000).image)[:, -1]
    np.testing.assert_array_equal(starts, index_of(other.replay.sample(20_000).image)[:, -1])
    assert np.bincount(starts, minlength=10) == pytest.approx(2000, rel=0.12)


@pytest.mark.parametrize('storage', STORAGES)
def test_batch_is_a_copy(tmp_path, storage):
    pair = Pair(capacity=5, storage=storage, folder=tmp_path)
    pair.episode(1, TERMINATED)
    batch = pair.replay.sample(4)
    before = [np.asarray(array).copy() for array in batch]
    for _ in range(10):
        pair.episode(1, TERMINATED)
    for array, copy in zip(batch, before):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    'frame, vector, text',
    [
        (np.zeros((2, 1), np.uint8), VECTOR, r'frame must be \(1, 2\) uint8, got \(2, 1\) uint8'),
        (np.zeros((1, 2), np.float32), VECTOR, r'frame must be .* got \(1, 2\) float32'),
        (frame_of(0), np.zeros(3, np.float32), r'vector must be \(2,\) float32, got \(3,\)'),
        (frame_of(0), np.zeros(2), 'vector must be .* got .* float64'),
        (frame_of(0), np.array([0, np.nan], np.float32), 'vector must be finite'),
        (None, VECTOR, 'frame must be'),
    ],
)
def test_refuses_observations_that_do_not_fit(frame, vector, text):
    pair = Pair()
    pair.episode(3, CONTINUES)
    with pytest.raises(SpecError, match=text):
        pair.replay.begin(frame, vector)
    with pytest.raises(SpecError, match=text):
        pair.replay.add(np.zeros(2), 0.0, CONTINUES, frame, vector)
    pair.add()  # the episode is still open: nothing was stored of what was refused
    pair.check()


@pytest.mark.parametrize(
    'action, reward, outcome, text',
    [
        ([0.0, 1.1], 0.0, CONTINUES, r'action must be 2 numbers in \[-1, 1\]'),
        ([np.nan, 0.0], 0.0, CONTINUES, 'action must be'),
        ([0.0], 0.0, CONTINUES, 'action must be'),
        ([0.0, 0.0], np.nan, CONTINUES, 'reward must be a finite'),
        ([0.0, 0.0], 1e300, CONTINUES, 'reward must be a finite'),
        ([0.0, 0.0], 0.0, 7, 'outcome must be one of'),
    ],
)
def test_refuses_steps_that_do_not_fit(action, reward, outcome, text):
    pair = Pair()
    pair.episode(3, CONTINUES)
    with pytest.raises(SpecError, match=text):
        pair.replay.add(np.array(action), reward, outcome, frame_of(0), VECTOR)
    pair.add()
    pair.check()


@pytest.mark.parametrize('outcome', [TERMINATED, TRUNCATED])
def test_refuses_a_step_of_no_episode(outcome):
    pair = Pair()
    with pytest.raises(SpecError, match='must follow begin'):
        pair.add()
    pair.episode(2, outcome)
    with pytest.raises(SpecError, match='must follow begin'):
        pair.replay.add(np.zeros(2), 0.0, CONTINUES, frame_of(0), VECTOR)


def test_refuses_a_capacity_that_no_stack_fits():
    with pytest.raises(SpecError, match='capacity must be above the stack of 3 frames, got 3'):
        make(capacity=3)
