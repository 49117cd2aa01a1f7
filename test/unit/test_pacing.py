"""Streams of other rates than in training, by their stamps alone."""

import numpy as np
import pytest

from av_td3_ros.driving.pacing import FloodWatch, RateWatch, Thinning

SECOND = 1_000_000_000


def kept(stamps, rate=20.0):
    thinning = Thinning(rate)
    return [s for s in stamps if thinning.keeps(s)], thinning


def stream(rate, seconds=5.0, jitter=0.0, start=7.0):
    times = start + np.arange(0.0, seconds, 1.0 / rate)
    times += np.random.default_rng(1).uniform(-jitter, jitter, len(times))
    return [int(t * SECOND) for t in times]


@pytest.mark.parametrize('rate', [60.0, 100.0, 200.0, 1000.0])
def test_a_fast_stream_is_thinned_to_frames_as_far_apart_as_in_training(rate):
    stamps, thinning = kept(stream(rate))
    gaps = np.diff(stamps) / SECOND
    assert np.all(np.abs(gaps - 0.05) <= 1.01 / rate + 1e-9)
    assert gaps.mean() == pytest.approx(0.05, rel=0.02)
    assert thinning.left_out == 5 * rate - len(stamps)


@pytest.mark.parametrize('rate', [30.0, 45.0])
def test_a_rate_that_is_no_multiple_keeps_the_mean(rate):
    stamps, _ = kept(stream(rate))
    assert np.diff(stamps).mean() / SECOND == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize(
    'rate, jitter', [(20.0, 0.0), (20.0, 0.005), (20.5, 0.0), (25.0, 0.001), (3.0, 0.0)]
)
def test_rates_near_that_of_training_and_slower_ones_lose_nothing(rate, jitter):
    stamps = stream(rate, jitter=jitter)
    assert kept(stamps)[0] == stamps


@pytest.mark.parametrize('late', [0.005, 0.018, 0.025, 0.027])
def test_an_image_that_was_late_does_not_cost_the_punctual_one_after_it(late):
    stamps = stream(20.0)
    for i in (20, 40, 41, 60):
        stamps[i] += int(late * SECOND)
    assert kept(stamps)[0] == stamps


def test_after_a_gap_the_next_image_is_taken_and_the_pace_goes_on_from_there():
    stamps = stream(200.0, 1.0) + stream(200.0, 1.0, start=9.513)
    gaps = np.diff(kept(stamps)[0]) / SECOND
    assert sorted(gaps)[-1] > 1.0 and sorted(gaps)[-2] < 0.06 and min(gaps) > 0.04


def test_repeated_and_earlier_stamps_are_left_out_until_the_clock_is_set_back():
    thinning = Thinning(20.0)
    assert thinning.keeps(10 * SECOND)
    assert not thinning.keeps(10 * SECOND)
    assert not thinning.keeps(int(9.9 * SECOND))
    assert thinning.keeps(2 * SECOND) and not thinning.keeps(2 * SECOND + 1)


def test_a_slow_stream_is_known_by_its_second_image_and_a_single_loss_is_not_slow():
    watch = RateWatch(10.0)
    stamps = stream(3.0, 2.0)
    assert watch.add(stamps[0]) and not watch.is_enough and not watch.is_slow
    assert not watch.add(stamps[1]) and watch.is_slow and watch.rate == pytest.approx(3.0, abs=0.1)
    watch = RateWatch(10.0)
    ticks = stream(20.0, 2.0)
    verdicts = []
    for stamp in ticks[:10] + ticks[11:20]:
        watch.add(stamp)
        verdicts.append(watch.is_enough)
    assert verdicts[0] is False and all(verdicts[1:])
    assert RateWatch(10.0).rate == 0.0


def test_ten_of_ten_is_enough_and_nine_is_not():
    for rate, enough in ((10.0, True), (9.0, False)):
        watch = RateWatch(10.0)
        for stamp in stream(rate, 2.0):
            watch.add(stamp)
        assert watch.is_enough is enough


def test_gaps_and_jumps_begin_a_new_stream():
    watch = RateWatch(10.0)
    assert [watch.add(int(t * SECOND)) for t in (5.0, 5.05, 6.5, 6.55, 2.0, 2.0, 2.05)] == [
        *(True, False, True, False, True, True, False)
    ]


def watched(stamps, rate=20.0):
    """Return a watch, and when it was certain, by the number of the image."""
    watch, certain = FloodWatch(rate), []
    for number, stamp in enumerate(stamps, 1):
        watch.add(stamp)
        if watch.is_certain:
            certain.append(number)
    return watch, certain


@pytest.mark.parametrize('rate', [20.0, 30.0, 60.0, 90.0, 100.0])
@pytest.mark.parametrize('jitter', [0.0, 0.001])
def test_up_to_five_times_the_rate_of_training_is_no_haste(rate, jitter):
    watch, certain = watched(stream(rate, jitter=jitter))
    assert not certain and not watch.is_flood and watch.rate == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize('rate', [120.0, 200.0, 1000.0])
def test_a_stream_far_faster_than_in_training_is_known_by_its_ninth_image(rate):
    stamps = stream(rate)
    watch, certain = watched(stamps)
    assert certain == list(range(9, len(stamps) + 1)) and watch.limit == 100.0
    assert watch.rate == pytest.approx(rate, rel=0.01)


def test_the_limit_is_that_of_the_training_and_not_of_twenty():
    assert watched(stream(60.0), rate=10.0)[1] and not watched(stream(200.0), rate=60.0)[1]


def test_a_stream_of_two_hundred_is_flood_before_a_second_image_of_it_is_kept():
    thinning, watch, seen = Thinning(20.0), FloodWatch(20.0), []
    for stamp in stream(200.0):
        watch.add(stamp)
        if not watch.is_flood and thinning.keeps(stamp):
            seen.append(stamp)
    assert len(seen) == 1


@pytest.mark.parametrize('stall', [0.3, 3.0])
@pytest.mark.parametrize('burst', [2, 4, 7])
def test_images_that_were_held_up_and_come_together_are_no_haste(stall, burst):
    """A driver that stamps what it sends, not what it saw, sends its store at once."""
    before, later = stream(20.0, 1.0), stream(20.0, 1.0, start=8.0 + stall)
    held_up = [later[0] - (burst - k) * 1_000_000 for k in range(burst)]
    _, certain = watched(before + held_up[1:] + later)
    assert not certain


def test_repeated_and_reordered_images_do_not_hide_haste():
    stamps = stream(200.0)
    assert watched([s for stamp in stamps for s in (stamp, stamp)])[1]
    swapped = [s for pair in zip(stamps[1::2], stamps[::2]) for s in pair]
    assert watched(swapped, rate=10.0)[1]


def test_a_clock_that_is_set_back_begins_a_stream_and_a_right_rate_ends_haste():
    watch, _ = watched(stream(200.0, start=90.0))
    assert watch.is_certain
    watch.add(7 * SECOND)
    assert not watch.is_flood and watch.rate == 0.0
    fast, well = stream(200.0, 1.0), stream(20.0, 1.0, start=8.05)
    _, certain = watched(fast + well)
    assert certain[0] == 9 and len(fast) <= certain[-1] < len(fast) + 4
