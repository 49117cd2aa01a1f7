"""Streams of other rates than in training, by their stamps alone."""

import numpy as np
import pytest

from av_td3_ros.driving.pacing import RateWatch, Thinning

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
