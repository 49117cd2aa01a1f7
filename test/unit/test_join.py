"""What belongs to one frame is brought together by stamp, in whatever order it comes."""

import itertools

import pytest

from av_td3_ros.driving.join import FrameJoin

TICK = 50_000_000


def join():
    return FrameJoin(('image', 'odometry', 'episode'), 0.05)


@pytest.mark.parametrize('order', list(itertools.permutations(['image', 'odometry', 'episode'])))
def test_any_order_completes_a_frame(order):
    it = join()
    assert it.add(order[0], TICK, 'a') is None
    assert it.add(order[1], TICK, 'b') is None
    assert it.add(order[2], TICK, 'c') == dict(zip(order, 'abc'))


def test_stamps_within_half_a_tick_are_one_frame_and_beyond_are_two():
    it = join()
    it.add('image', TICK, 1)
    it.add('odometry', TICK + TICK // 2, 1)
    assert it.add('episode', TICK, 1) is not None
    it.add('image', 3 * TICK, 1)
    it.add('odometry', 3 * TICK, 1)
    assert it.add('episode', 3 * TICK + TICK // 2 + 1, 1) is None


def test_a_frame_with_a_lost_message_is_dropped_when_the_next_is_complete():
    it = join()
    it.add('image', TICK, 1)
    for kind in ('image', 'odometry'):
        it.add(kind, 2 * TICK, 2)
    assert it.add('episode', 2 * TICK, 2) is not None
    assert it.dropped == 1
    assert it.add('odometry', TICK, 1) is None
    assert it.repeated == 1


def test_repeated_messages_are_counted_and_complete_nothing():
    it = join()
    for kind in ('image', 'odometry', 'episode'):
        it.add(kind, TICK, 1)
    assert it.add('image', TICK, 1) is None
    assert it.repeated == 1


def test_a_punctual_frame_after_one_that_was_late_is_a_frame_of_its_own():
    it = join()
    late = TICK + 27_000_000
    for kind in ('image', 'odometry', 'episode'):
        it.add(kind, late, 1)
    assert it.add('odometry', late + 1_000_000, 1) is None and it.repeated == 1
    for kind in ('odometry', 'image'):
        it.add(kind, 2 * TICK, 2)
    assert it.add('episode', 2 * TICK, 2) is not None


def test_a_clock_set_back_starts_afresh():
    it = join()
    for kind in ('image', 'odometry', 'episode'):
        it.add(kind, 1000 * TICK, 1)
    it.add('image', TICK, 1)
    it.add('odometry', TICK, 1)
    assert it.add('episode', TICK, 1) is not None


def test_incomplete_frames_do_not_pile_up():
    it = join()
    for tick in range(1, 100):
        it.add('image', tick * TICK, tick)
    assert it.dropped == 91


def test_frames_from_the_future_that_never_complete_give_way():
    it = join()
    for i in range(100):
        it.add('image', (10_000 + i) * TICK, 'lost')
    for i in range(1, 4):
        it.add('image', i * TICK, 1)
        it.add('odometry', i * TICK, 1)
        assert it.add('episode', i * TICK, 1) is not None
