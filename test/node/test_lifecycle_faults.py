"""What a node says and does when a transition fails: on /diagnostics too, and nothing goes on."""

import os
import signal
import subprocess
import sys
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from av_td3_ros.nodes import base, log_folder
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.nodes.trainer_node import TrainerNode

ERROR = b'\x02'
FAILURE, SUCCESS = TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.SUCCESS


def errors(heard):
    return [s.message for msg in heard for s in msg.status if s.level == ERROR]


@pytest.mark.parametrize(
    'node_class, params, text',
    [
        (PolicyNode, {'artefact': 'no/such/file'}, 'artefact must be a readable file'),
        (PolicyNode, {'output': 'horse'}, 'output must be one of'),
        (PerceptionNode, {'image_timeuot': 1.0}, "did you mean 'image_timeout'?"),
        (TrainerNode, {'run_dir': '/proc/no'}, 'run folder must be writable, got /proc/no: '),
    ],
)
def test_a_refused_configuration_is_said_once_on_the_log_and_on_diagnostics(
    ros, talker, capfd, node_class, params, text
):
    heard = talker.hear('diagnostics')
    node = ros.make(node_class, **params)
    ros.until(lambda: node.count_subscribers('/diagnostics'), 30.0)
    ros.until(lambda: node._diagnostics.get_subscription_count(), 30.0)
    assert node.trigger_configure() == FAILURE
    ros.until(lambda: errors(heard), 30.0)
    assert text in errors(heard)[0]
    assert capfd.readouterr().err.count(text) == 1


NO_FILES = '--disable-external-lib-logs'


@pytest.mark.parametrize('folder', ['/proc/none', '/proc', '{file}/log'])  # nor can root
def test_a_folder_that_takes_no_log_files_is_done_without_and_told(monkeypatch, tmp_path, folder):
    (tmp_path / 'file').touch()
    folder = folder.format(file=tmp_path / 'file')
    monkeypatch.setenv('ROS_LOG_DIR', folder)
    arguments, fault = log_folder.arguments(['node', '--ros-args', '-p', 'autostart:=true'])
    assert arguments == ['node', '--ros-args', '-p', 'autostart:=true', '--ros-args', NO_FILES]
    assert f'folder of log files must be writable, got {folder}: ' in fault
    assert 'set ROS_LOG_DIR to one that is' in fault and NO_FILES in fault
    chosen = ['node', '--ros-args', NO_FILES]
    assert log_folder.arguments(chosen) == (chosen, '')


def test_a_folder_that_takes_log_files_is_made_and_left_empty(monkeypatch, tmp_path):
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log' / 'ros'))
    assert log_folder.arguments(['node']) == (['node'], '')
    assert not list((tmp_path / 'log' / 'ros').iterdir())


def test_a_node_that_must_not_work_in_its_process_refuses_every_configuration(ros, capfd):
    node = ros.make(PolicyNode)
    node.obstacle = 'there is no log'
    for _ in range(2):
        assert node.trigger_configure() == FAILURE
    assert capfd.readouterr().err.count('there is no log') == 2
    assert node.count_publishers('/carla/ego_vehicle/vehicle_control_cmd') == 0


def test_a_start_that_fails_is_said_on_diagnostics_and_forgotten_when_the_next_works(
    ros, talker, monkeypatch
):
    heard = talker.hear('diagnostics')
    node = ros.make(PolicyNode)
    ros.until(lambda: node._diagnostics.get_subscription_count(), 30.0)
    node.trigger_configure()
    with monkeypatch.context() as broken:
        broken.setattr(node, 'start', lambda: 1 / 0)
        assert node.trigger_activate() != SUCCESS
    ros.until(lambda: errors(heard), 30.0)
    assert 'ZeroDivisionError' in errors(heard)[-1] and not node.active
    assert node._state_machine.current_state[1] == 'unconfigured'  # nothing is left to activate
    node.trigger_configure()
    node.trigger_activate()
    node.diagnose()
    ros.until(lambda: heard[-1].status[0].level != ERROR, 30.0)


def raises_out_of_turn(node):
    """Return the change of state of rclpy in Humble and Jazzy, which lets the refusal through."""
    change = node._LifecycleNodeMixin__change_state

    def change_state(transition):
        if transition not in [each[0] for each in node._state_machine.available_transitions]:
            raise RuntimeError('Failed to trigger lifecycle state machine transition')
        return change(transition)

    return change_state


def test_a_transition_out_of_turn_is_refused_and_the_node_goes_on(ros, talker, monkeypatch):
    node = ros.start(PolicyNode)
    monkeypatch.setattr(node, '_LifecycleNodeMixin__change_state', raises_out_of_turn(node))
    client = talker.node.create_client(ChangeState, '/av_td3/policy/change_state')
    ros.until(client.service_is_ready)

    def ask(**transition):
        future = client.call_async(ChangeState.Request(transition=Transition(**transition)))
        ros.until(future.done)
        return future.result().success

    assert not ask(id=Transition.TRANSITION_CONFIGURE) and node.active
    assert not ask(id=200) and not ask(label='configure') and node.active
    assert ask(id=Transition.TRANSITION_DEACTIVATE) and not node.active
    assert ask(label='activate') and node.active


class Process:
    """A deployed node as a launch file starts it, that must refuse its parameters."""

    def __init__(self, ros, *params):
        arguments = [part for one in ('autostart:=true', *params) for part in ('-p', one)]
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'av_td3_ros.nodes.perception_node', '--ros-args', *arguments],
            env={**os.environ, 'ROS_DOMAIN_ID': str(ros.context.get_domain_id())},
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def has_ended(self):
        return self._process.poll() is not None

    def says(self, text):
        """Read the log until it holds a text; return whether it did before the end."""
        return any(text in line for line in self._process.stderr)

    def signal(self, number):
        self._process.send_signal(number)

    def end(self):
        """Return exit code and log."""
        _, log = self._process.communicate(timeout=60)
        return self._process.returncode, log


@pytest.mark.parametrize('listens', [True, False])
def test_a_process_that_ends_at_once_is_heard_by_who_listens(ros, talker, listens):
    heard = talker.hear('diagnostics') if listens else []
    process = Process(ros, 'role_name:=7')
    ros.until(lambda: process.has_ended, 60.0)
    code, log = process.end()
    assert code == 2 and 'role_name must be str, got 7' in log
    if listens:
        ros.until(lambda: errors(heard), 10.0)
        assert 'role_name must be str, got 7' in errors(heard)[0]


def test_the_last_word_waits_for_who_is_discovered_by_his_second_announcement(ros, monkeypatch):
    node, moments, said = ros.make(PolicyNode), [0.0], []
    monkeypatch.setattr(base, 'now', lambda: moments[-1])
    monkeypatch.setattr(node._diagnostics, 'get_subscription_count', lambda: moments[-1] > 6.05)
    monkeypatch.setattr(node, 'diagnose', lambda: said.append(moments[-1]))
    node.last_word(lambda: moments.append(moments[-1] + 0.1), lambda: False)
    assert said == [pytest.approx(6.1)]


def test_the_last_word_waits_for_nobody_any_more_once_the_process_is_told_to_end(ros, monkeypatch):
    node, moments, said = ros.make(PolicyNode), [0.0], []
    monkeypatch.setattr(base, 'now', lambda: moments[-1])
    monkeypatch.setattr(node._diagnostics, 'get_subscription_count', lambda: 0)
    monkeypatch.setattr(node, 'diagnose', lambda: said.append(moments[-1]))
    node.last_word(lambda: moments.append(moments[-1] + 0.1), lambda: moments[-1] > 1.05)
    assert said == [pytest.approx(1.1)]


def test_a_process_that_refuses_its_parameters_ends_at_once_on_a_signal(ros):
    process = Process(ros, 'role_name:=7')
    assert process.says('role_name must be str')
    begun = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.end()[0] == 2
    assert time.monotonic() - begun < base.DISCOVERY / 2.0


def test_a_parameter_of_ros_of_another_type_is_one_line(ros):
    process = Process(ros, 'use_sim_time:=1')
    ros.until(lambda: process.has_ended, 60.0)
    code, log = process.end()
    assert code == 2 and 'Traceback' not in log
    assert 'use_sim_time' in log


def test_a_halt_that_raises_leaves_nothing_that_drives(ros, talker, monkeypatch):
    heard = talker.hear('diagnostics')
    node = ros.start(PolicyNode, lock_step=False)
    ros.until(lambda: node._diagnostics.get_subscription_count(), 30.0)

    def publish():
        raise RuntimeError('the middleware is gone')

    monkeypatch.setattr(node, 'halt', publish)
    node.trigger_deactivate()
    assert not node.active
    topics = [made.topic_name for made in node.subscriptions]
    assert '/av_td3/observation' not in topics
    assert node.count_publishers('/carla/ego_vehicle/vehicle_control_cmd') == 0
    ros.until(lambda: 'the middleware is gone' in errors(heard), 30.0)
    monkeypatch.undo()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_where_even_the_release_raises_the_node_is_finalized(ros, monkeypatch):
    node = ros.start(PolicyNode, lock_step=False)
    with monkeypatch.context() as broken:
        broken.setattr(node, 'halt', lambda: 1 / 0)
        broken.setattr(node, 'release', lambda: 1 / 0)
        node.trigger_deactivate()
    assert not node.active
    assert node._state_machine.current_state[1] == 'finalized'
