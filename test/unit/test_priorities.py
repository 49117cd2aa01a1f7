"""Priorities: the tree against plain sums, draws in proportion, every option of PER."""

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from replays import CONTINUES, make, Pair, TERMINATED

from av_td3_ros.datatypes import SpecError
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.td3.priorities import Priorities, SumTree

WEIGHTS = strategies.lists(
    strategies.one_of(strategies.just(0.0), strategies.floats(1e-6, 1e6)), min_size=1, max_size=70
).filter(any)


@settings(max_examples=200)
@given(WEIGHTS, strategies.lists(strategies.floats(0, 1, exclude_max=True), max_size=20))
def test_the_tree_finds_what_a_running_sum_finds_and_never_an_empty_leaf(weights, places):
    tree = SumTree(len(weights))
    weights = np.array(weights)
    for part in np.array_split(np.random.default_rng(0).permutation(len(weights)), 3):
        if len(part):
            tree.set(part, weights[part])
    np.testing.assert_array_equal(tree.get(np.arange(len(weights))), weights)
    assert tree.total == pytest.approx(weights.sum())
    values = np.array(places) * tree.total
    found = tree.find(values)
    assert (weights[found] > 0.0).all()
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    slack = 1e-9 * tree.total
    assert (values >= edges[found] - slack).all()
    assert (values <= edges[found + 1] + slack).all()


def test_sums_do_not_drift():
    tree, rng = SumTree(64), np.random.default_rng(0)
    for _ in range(2000):
        tree.set(rng.permutation(64)[:16], 10.0 ** rng.uniform(-6, 6, 16))
    tree.set(np.arange(64), np.full(64, 0.1))
    assert tree.total == pytest.approx(6.4, rel=1e-14)


def drawn(exponent, errors, draws=200, batch=100):
    """Return how often each of some transitions is drawn, as a share."""
    priorities = Priorities(ReplayConfig(capacity=100, priority_exponent=exponent))
    for slot in range(len(errors)):
        priorities.add(slot)
    priorities.update(np.arange(len(errors)), np.array(errors))
    rng = np.random.default_rng(0)
    slots = np.concatenate([priorities.draw(rng, batch, len(errors))[0] for _ in range(draws)])
    return np.bincount(slots, minlength=len(errors)) / len(slots)


@pytest.mark.parametrize('exponent', [0.0, 0.5, 1.0])
def test_draws_are_in_proportion_to_the_error_to_the_exponent(exponent):
    errors = [1.0, 2.0, 4.0, 9.0, 16.0, 1e-3]
    wanted = np.array(errors) ** exponent
    wanted /= wanted.sum()
    # 20,000 draws: four standard deviations of independent ones, and strata vary less.
    margin = 4 * np.sqrt(wanted * (1 - wanted) / 20_000) + 1e-4
    assert (np.abs(drawn(exponent, errors) - wanted) < margin).all()


def test_a_batch_has_one_transition_of_each_part_of_the_sum():
    priorities = Priorities(ReplayConfig(capacity=100))
    for slot in range(50):
        priorities.add(slot)
    slots, _ = priorities.draw(np.random.default_rng(0), 50, 50)
    assert sorted(slots.tolist()) == list(range(50))


@pytest.mark.parametrize('begin, updates', [(0.4, 10), (0.0, 4), (1.0, 10)])
def test_importance_weights_by_hand(begin, updates):
    priorities = Priorities(
        ReplayConfig(
            capacity=100,
            priority_exponent=1.0,
            importance_exponent=begin,
            importance_updates=updates,
        )
    )
    errors = np.array([1.0, 3.0])
    for slot in range(2):
        priorities.add(slot)
    priorities.update(np.arange(2), errors)
    chance = (errors + 1e-6) / (errors + 1e-6).sum()
    for update in range(updates + 3):
        slots, weight = priorities.draw(np.random.default_rng(update), 8, 2)
        exponent = begin + (1 - begin) * min(update / updates, 1.0)
        wanted = (2 * chance[slots]) ** -exponent
        assert set(slots.tolist()) == {0, 1}
        assert weight == pytest.approx(wanted / wanted.max(), rel=1e-6)
        assert weight.max() == 1.0


def test_new_transitions_get_the_largest_priority_so_far():
    pair = Pair(prioritised=True, priority_exponent=1.0)
    pair.episode(4, TERMINATED)
    pair.replay.update_priorities(np.arange(4), np.array([0.0, 0.0, 8.0, 0.0]))
    pair.replay.update_priorities(np.array([2]), np.array([0.0]))
    pair.episode(1, TERMINATED)
    batch = pair.replay.sample(1000)
    assert (batch.index == 5).mean() > 0.99


def test_large_errors_come_more_often_and_overwritten_ones_never():
    pair = Pair(capacity=20, prioritised=True, priority_exponent=1.0)
    pair.episode(15, CONTINUES)
    pair.replay.update_priorities(np.arange(15), np.where(np.arange(15) == 7, 1e6, 1.0))
    assert (pair.replay.sample(1000).index == 7).mean() > 0.99
    pair.episode(14, TERMINATED)  # the name 7 is gone, its slot is used again
    pair.replay.update_priorities(np.array([7, 15, 10_000]), np.full(3, 1e9))
    known = np.array(list(pair.naive.transitions()))
    assert 7 not in known
    pair.replay.update_priorities(known, np.ones(len(known)))
    assert set(pair.replay.sample(2000).index.tolist()) == set(known.tolist())


def test_of_a_transition_that_came_twice_the_last_error_counts():
    pair = Pair(prioritised=True, priority_exponent=1.0)
    pair.episode(2, TERMINATED)
    pair.replay.update_priorities(np.array([0, 0, 1]), np.array([9.0, 1.0, 1.0]))
    assert (pair.replay.sample(1000).index == 0).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    'td_error, text',
    [
        ([1.0, np.nan], r'td_error must be \(2,\) finite numbers, got \(2,\) float64 with 1 that'),
        ([1.0, np.inf], 'td_error must be'),
        ([1.0], 'td_error must be'),
    ],
)
def test_refuses_errors_that_do_not_fit(td_error, text):
    pair = Pair(prioritised=True)
    pair.episode(4, TERMINATED)
    before = pair.replay.state()
    with pytest.raises(SpecError, match=text):
        pair.replay.update_priorities(np.array([0, 1]), np.array(td_error))
    assert pair.replay.state() == before
    with pytest.raises(SpecError, match='switched on with replay.prioritised'):
        make().update_priorities(np.array([0]), np.array([1.0]))
