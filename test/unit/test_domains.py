"""Tests that run side by side do not meet on a ROS domain."""

from itertools import islice

import domains
import pytest

from av_td3_ros.cli.common import DOMAINS


@pytest.fixture(params=range(1000, 1040, 3))
def number(request, monkeypatch):
    """Be a process of this number."""
    monkeypatch.setattr(domains.os, 'getpid', lambda: request.param)


def test_workers_side_by_side_have_domains_of_their_own(number, monkeypatch):
    found = []
    for worker in ('gw0', 'gw1'):
        monkeypatch.setenv('PYTEST_XDIST_WORKER', worker)
        found += [domains.of_nodes(), domains.of_fuzzing()]
    assert len(set(found)) == 4
    assert [domain < 40 for domain in found] == [True, True, False, False]
    assert min(found) >= 20 and max(found) < min(DOMAINS)


def test_alone_they_are_below_those_of_commands_too(number, monkeypatch):
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)
    system = list(islice(domains.of_systems(), 40))
    assert len(set(system)) == 40
    found = [*system, domains.of_nodes(), domains.of_fuzzing(), domains.of_chaos()]
    assert 1 <= min(found) and max(found) < min(DOMAINS)
    assert domains.of_nodes() != domains.of_fuzzing()
