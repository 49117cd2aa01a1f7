"""Intervals of confidence, against tables and against chance itself."""

import math

import numpy as np
import pytest

from av_td3_ros.driving.statistics import mean, rate, share


@pytest.mark.parametrize(
    'successes, count, low, high',
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (19, 20, 0.7639, 0.9911),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_shares_are_wilsons(successes, count, low, high):
    """The last is the example of Newcombe, Statistics in Medicine 17, 1998, table I."""
    found = share(successes, count)
    assert found.mean == successes / count
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = mean(rng.exponential(3.0, 40))
        held += found.low <= 3.0 <= found.high
    assert 0.88 <= held / 200 <= 0.98


def test_means_leave_out_what_was_not_measured_and_repeat():
    first = mean([1.0, math.nan, 2.0, 6.0])
    assert first.mean == 3.0 and 1.0 <= first.low < 3.0 < first.high <= 6.0
    assert mean([1.0, math.nan, 2.0, 6.0]) == first


def test_rates_weigh_episodes_by_their_way():
    found = rate([1.0, 0.0, 1.0], [0.5, 2.0, 1.5])
    assert found.mean == 0.5 and 0.0 <= found.low < 0.5
    assert found.high == 2.0  # the bootstrap's: the first episode again and again


def test_rates_are_no_surer_than_a_poisson_mean():
    """Exact for two hits (Garwood 1936): 0.242 to 7.225, over 200 km."""
    found = rate([1.0] * 2 + [0.0] * 18, [10.0] * 20)
    assert found.low == 0.0 and found.high == pytest.approx(7.2247 / 200.0, abs=1e-5)


def test_more_hits_never_have_a_lower_bound():
    ways = [0.137] * 20
    bounds = [rate([1.0] * hits + [0.0] * (20 - hits), ways)[1:] for hits in range(21)]
    assert bounds == sorted(bounds) and bounds[1][1] == pytest.approx(5.5716 / 2.74, abs=1e-3)


def test_hits_that_come_together_are_less_certain_than_a_poisson_mean():
    apart, together = [1.0] * 10 + [0.0] * 10, [10.0] + [0.0] * 19
    assert rate(together, [1.0] * 20).high > rate(apart, [1.0] * 20).high


def test_what_never_happened_may_happen():
    found = rate([0.0, 0.0], [1.0, 1.0])
    assert found[:2] == (0.0, 0.0)
    assert found.high == pytest.approx(3.6889 / 2.0, abs=1e-4)


@pytest.mark.parametrize(
    'found', [share(0, 0), mean([]), mean([math.nan]), rate([], []), rate([0.0], [0.0])]
)
def test_nothing_measured_is_nothing(found):
    assert all(map(math.isnan, found))


def test_the_mean_of_one_episode_has_no_interval_but_its_rate_and_its_share_have():
    found = mean([2.0])
    assert found.mean == 2.0 and math.isnan(found.low) and math.isnan(found.high)
    assert rate([1.0], [0.5]) == pytest.approx((2.0, 0.0506, 11.143), abs=1e-3)
    assert share(1, 1) == pytest.approx((1.0, 0.2065, 1.0), abs=1e-4)
