"""Who stands still is told apart from who was made to wait."""

from types import SimpleNamespace

import pytest

from av_td3_ros.nodes.standstill import LONGEST_LOOK, MOST, PATIENCE, Standstill
from av_td3_ros.nodes.supervisor import GraphError

LOOK = 0.25


class Graph:
    """Nodes of which one says nothing."""

    def __init__(self):
        self.status, self.killed = None, 0

    def step(self, count=1):
        steps = self.status.env_steps if self.status else 0
        self.status = SimpleNamespace(env_steps=steps + count)

    def complaints(self):
        return 'policy says nothing'

    def kill_silent(self):
        self.killed += 1
        return ['policy']


@pytest.fixture
def watched():
    graph, said = Graph(), []
    return graph, said, Standstill(graph, said.append)


def looks(watch, seconds, begin=0.0):
    """Look for so long; return when it ended."""
    for number in range(int(seconds / LOOK) + 1):
        watch.look(begin + number * LOOK)
    return begin + number * LOOK


def test_who_is_silent_is_killed_once_and_the_run_ends_where_that_does_not_help(watched):
    graph, said, watch = watched
    end = looks(watch, PATIENCE - 1.0)
    assert not said
    end = looks(watch, 2.0, end)
    assert said == ['no step for 30 s: policy says nothing; started again: policy']
    end = looks(watch, MOST - PATIENCE - 3.0, end)
    assert graph.killed == 1
    with pytest.raises(GraphError, match='no step for 180 s: policy says nothing'):
        looks(watch, 3.0, end)


def test_each_step_begins_it_anew(watched):
    graph, said, watch = watched
    end = 0.0
    for _ in range(10):
        end = looks(watch, PATIENCE - 1.0, end)
        graph.step()
    assert not said
    graph.step(-5)  # a trainer that is started again goes on from its checkpoint
    looks(watch, PATIENCE - 1.0, end)
    assert not said


def test_a_pause_of_who_looks_is_no_standstill(watched):
    graph, said, watch = watched
    watch.look(0.0)
    for number in range(1, 20):
        watch.look(1000.0 * number)
    assert not said and 20 * LONGEST_LOOK < PATIENCE
