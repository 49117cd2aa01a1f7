"""A second graph on a domain is refused by what this machine knows and by what the bus says."""

import os
import subprocess
import sys
import threading

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
import pytest
import rclpy

from av_td3_ros.config import RunConfig
from av_td3_ros.nodes import twin
from av_td3_ros.nodes.supervisor import GraphError, Supervisor

PATIENCE = 20.0
CLAIM = (
    'import sys; from av_td3_ros.nodes.twin import DomainClaim; '
    'claim = DomainClaim(sys.argv[1]); print(claim.take(), flush=True); sys.stdin.read()'
)


@pytest.fixture
def number():
    return f'test {os.getpid()}'


def test_a_domain_is_claimed_once_and_free_again_when_let_go(number):
    first, second = twin.DomainClaim(number), twin.DomainClaim(number)
    assert first.take()
    assert not second.take()
    second.release()  # it never held anything
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


def test_other_domains_are_free(number):
    first, second = twin.DomainClaim(number), twin.DomainClaim(f'{number} other')
    assert first.take() and second.take()
    first.release()
    second.release()


@pytest.mark.skipif(sys.platform != 'linux', reason='names without a file are Linux\'s own')
def test_a_killed_process_claims_nothing(number):
    process = subprocess.Popen(
        [sys.executable, '-c', CLAIM, number], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b'True\n'
    claim = twin.DomainClaim(number)
    assert not claim.take()
    process.kill()
    process.communicate()
    assert claim.take()
    claim.release()


@pytest.fixture
def graph(ros, monkeypatch, tmp_path):
    """A graph that asks whether it may start, and starts nothing."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(ros.context.get_domain_id()))
    monkeypatch.setattr(Supervisor, '_start', lambda self: None)
    # Both are waited for no longer than until they happen: a busy machine may take its time.
    monkeypatch.setattr(twin, 'DISCOVERY_TIME', PATIENCE)
    monkeypatch.setattr(twin, 'ANSWER_TIME', PATIENCE)
    made = Supervisor(RunConfig(), 'training', tmp_path)
    yield made
    made.close()  # also where a test did not come to it; twice is once


@pytest.fixture
def other(ros):
    """A node of a graph that holds no claim here, as on another machine."""
    node = ros.node('perception')
    thread = threading.Thread(target=ros.executor.spin)
    thread.start()
    yield node
    ros.executor.shutdown()
    thread.join()


def test_a_graph_of_another_machine_is_heard(other, graph):
    def answer(_, response):
        response.current_state.id = State.PRIMARY_STATE_UNCONFIGURED
        return response

    other.create_service(GetState, '~/get_state', answer)
    with pytest.raises(GraphError, match=f'on domain {twin.domain()};'):
        graph.__enter__()
    assert not rclpy.ok()  # nothing left behind


def test_the_traces_of_a_killed_graph_are_not_heard(other, graph, monkeypatch):
    monkeypatch.setattr(twin, 'ANSWER_TIME', 0.3)
    with graph:  # a name, and nobody who answers
        pass


def test_one_node_of_a_graph_that_lives_is_enough(ros, other, graph):
    other.create_service(GetState, '~/get_state', lambda _, response: response)
    for name in ('simulator', 'trainer'):  # as of killed ones
        ros.node(name)
    with pytest.raises(GraphError, match='got a second /av_td3 graph'):
        graph.__enter__()


def test_a_refused_graph_has_written_nothing(graph, tmp_path):
    claim = twin.DomainClaim(twin.domain())
    assert claim.take()
    with pytest.raises(GraphError):
        graph.__enter__()
    assert not list(tmp_path.rglob('*.yaml'))
    claim.release()


def test_a_graph_that_cannot_start_lets_the_domain_go(graph, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError('no middleware')

    monkeypatch.setattr('av_td3_ros.nodes.supervisor.rclpy.init', fail)
    with pytest.raises(RuntimeError, match='no middleware'):
        graph.__enter__()
    claim = twin.DomainClaim(twin.domain())
    assert claim.take()
    claim.release()


def test_a_domain_that_is_set_to_nothing_is_that_of_the_default(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '')
    assert twin.domain() == '0'


def test_a_refused_graph_leaves_the_claim_of_the_other(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(twin, 'DISCOVERY_TIME', 0.3)  # nobody is there
    with graph:
        with pytest.raises(GraphError, match='got a second /av_td3 graph'):
            with Supervisor(RunConfig(), 'training', tmp_path):
                pass
        assert not twin.DomainClaim(twin.domain()).take()
    free = twin.DomainClaim(twin.domain())
    assert free.take()
    free.release()
