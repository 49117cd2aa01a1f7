"""A service of the graph is asked once, and again only where another server has come."""

import threading
import time

from av_td3_msgs.srv import SaveCheckpoint
import pytest

from av_td3_ros.config import RunConfig
from av_td3_ros.nodes import twin
from av_td3_ros.nodes.supervisor import Supervisor
from av_td3_ros.nodes.trainer_node import TrainerNode
from test_trainer_node import SMALL

PATIENCE = 20.0
SLOW = 2.5
SERVICE = '/av_td3/trainer/save_checkpoint'


@pytest.fixture
def graph(ros, monkeypatch, tmp_path):
    """A graph that starts nothing, beside the nodes of this test."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(ros.context.get_domain_id()))
    monkeypatch.setattr(Supervisor, '_start', lambda self: None)
    monkeypatch.setattr(twin, 'heard', lambda *_: False)
    with Supervisor(RunConfig(), 'training', tmp_path / 'graph') as made:
        yield made


@pytest.fixture
def served(ros):
    """Let the nodes of this test answer in a thread of their own."""
    begun = []

    def begin():
        begun.append(threading.Thread(target=ros.executor.spin))
        begun[0].start()

    yield begin
    ros.executor.shutdown()
    begun[0].join()


def test_a_save_that_takes_long_is_made_once(ros, graph, served, tmp_path):
    trainer, saves = ros.start(TrainerNode, run_dir=str(tmp_path / 'run'), **SMALL), []

    def save():
        time.sleep(SLOW)
        saves.append(tmp_path)
        return tmp_path

    trainer._trainer.save = save
    served()
    answer = graph.ask('trainer', 'save_checkpoint', PATIENCE)
    assert answer.success and answer.path == str(tmp_path)
    assert not graph.spin(lambda: len(saves) > 1, SLOW + 1.0)


def test_who_comes_after_a_killed_server_is_asked_too(ros, graph, served):
    """Of the killed one there are traces, and no answer."""
    import rclpy

    killed = rclpy.create_node('killed', context=ros.context)
    killed.create_service(SaveCheckpoint, SERVICE, lambda _, reply: reply)
    other, asked = ros.node('other'), []

    def answer(_, reply):
        asked.append(time.monotonic())
        reply.success = True
        return reply

    served()
    threading.Timer(1.0, lambda: other.create_service(SaveCheckpoint, SERVICE, answer)).start()
    assert graph.ask('trainer', 'save_checkpoint', PATIENCE).success
    graph.spin(lambda: False, 1.5)
    assert len(asked) == 1
    killed.destroy_node()


def test_where_nobody_answers_the_caller_goes_on(graph):
    begun = time.monotonic()
    assert graph.ask('trainer', 'save_checkpoint', 0.5) is None
    assert 0.4 < time.monotonic() - begun < 5.0
