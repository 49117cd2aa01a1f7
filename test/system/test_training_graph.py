"""
The whole graph learns over real DDS; it survives the death of its trainer; it leaves nothing
behind.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time

from av_td3_msgs.msg import TrainingStatus
import pytest
from small_graph import PATIENT, SMALL_GRAPH

from av_td3_ros import gates
from av_td3_ros.cli import train
from av_td3_ros.cli.main import main
from av_td3_ros.config import build_run
from av_td3_ros.driving.episode import SUMMARY
from av_td3_ros.nodes import standstill, supervisor
from av_td3_ros.nodes.supervisor import GraphError, Supervisor
from av_td3_ros.td3 import checkpoint

SMALL = {
    **SMALL_GRAPH,
    'trainer.update_after': 50,
    'trainer.exploration.warmup_steps': 50,
    'trainer.publish_every': 10,
    'trainer.checkpoint_every': 50,
    'trainer.threads': 1,
    'trainer.log_every': 10,
    'episode_manager.termination.max_steps': 60,
    'policy.gate.max_steering_rate': 40.0,
}


def config(folder, **values):
    return build_run({**SMALL, 'trainer.run_dir': str(folder), **values}, 'test')


def wait(graph, predicate, timeout=60.0):
    assert graph.spin(predicate, timeout), f'not within {timeout} s: {graph.status}'


def test_it_trains_and_accounts_for_everything(tmp_path, nothing_left):
    command = [
        sys.executable,
        '-m',
        'av_td3_ros.cli.main',
        'train',
        '--steps',
        '400',
        '--run-dir',
        str(tmp_path),
    ]
    for key, value in {**SMALL, **PATIENT}.items():
        command += ['--set', f'{key}={value}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / 'summary.json').read_text())
    graph = summary['graph']
    assert summary['env_steps'] >= 400 and summary['updates'] >= 350 // 4 * 3
    assert graph['frames'] == graph['commands'] > 400
    assert (
        graph['transitions_sent']
        == graph['transitions_received']
        == graph['transitions_stored']
        > 400
    )
    assert (
        graph['transitions_lost'] == graph['transitions_duplicated'] == graph['late_commands'] == 0
    )
    assert graph['episodes_aborted'] == 0 and graph['command_timeouts'] == 0
    assert graph['versions_adopted'] >= 20 and graph['versions_refused'] == 0
    assert summary['update_ratio'] == pytest.approx(0.75, rel=0.1)
    names = {path.name for path in tmp_path.iterdir()}
    assert {
        'config.yaml',
        'summary.json',
        'episodes.csv',
        'trajectories.csv',
        'curves.png',
        'checkpoints',
        'logs',
    } <= names
    assert any(name.startswith('events.out') for name in names)
    assert checkpoint.load_policy(tmp_path).version > 0
    evaluate(tmp_path)


def evaluate(run):
    """Drive what was trained, without exploration, on the same graph less the trainer."""
    before = (run / 'episodes.csv').read_text()
    command = [sys.executable, '-m', 'av_td3_ros.cli.main', 'evaluate', str(run)]
    command += ['--episodes', '2', '--vehicles', '10']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run / 'evaluation_10_vehicles'
    result = json.loads((folder / 'evaluation.json').read_text())
    assert result['episodes'] == 2 and result['aborted'] == 0 and result['via'] == 'graph'
    same_without_ros(folder, command)
    assert (folder / 'evaluation.csv').read_text().count('\n') == 3
    assert (run / 'episodes.csv').read_text() == before


def same_without_ros(over_ros, command):
    """The same policy on the same routes among the same others has the same figures."""
    output = over_ros / 'without_ros'
    command = [*command, '--via', 'in-process', '--output', str(output)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    graph, here = (
        list(csv.DictReader((folder / 'evaluation.csv').open()))
        for folder in (over_ros, output)
    )
    for over_graph, in_process in zip(graph, here):
        assert over_graph['reason'] == in_process['reason']
        for name in set(SUMMARY) - {'min_time_to_collision'}:  # nobody says where others are
            found, expected = float(over_graph[name]), float(in_process[name])
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True), name
    graph, here = (
        [list(map(float, way['points'].split())) for way in csv.DictReader(file.splitlines())]
        for file in (
            (folder / 'trajectories.csv').read_text() for folder in (over_ros, output)
        )
    )
    assert len(graph) == 2
    for over_graph, in_process in zip(graph, here):
        assert over_graph == pytest.approx(in_process, abs=0.11)  # told to a decimetre


def test_a_killed_trainer_stops_neither_the_car_nor_the_run(tmp_path, nothing_left):
    with Supervisor(config(tmp_path, **PATIENT), 'training', tmp_path) as graph:
        wait(graph, lambda: graph.status is not None and graph.status.updates > 40)
        wait(graph, lambda: any((tmp_path / 'checkpoints').glob('step_*')))
        trainer = graph.members['trainer']
        os.kill(trainer.process.pid, signal.SIGKILL)
        trainer.process.wait()
        killed_at = dict(graph.health['simulator'])
        adopted = graph.policy_status.adopted
        wait(graph, lambda: graph.health['simulator']['stamp'] > killed_at['stamp'] + 3.0)
        alone = graph.health['simulator']
        assert int(alone['frames']) > int(killed_at['frames']) + 20  # it drove on
        graph.status = None
        graph.revive()
        assert trainer.restarts == 1
        wait(graph, lambda: graph.status is not None and graph.status.env_steps >= 50)
        wait(graph, lambda: graph.policy_status.adopted > adopted + 2)
        assert graph.status.updates > 0 and graph.status.phase == TrainingStatus.TRAINING
        graph.finish()
        simulator = graph.health['simulator']
        assert int(simulator['timeouts']) == 0  # not one control tick was missed
        assert simulator['frames'] == simulator['commands'] and simulator['late_commands'] == '0'
        account = train.accounts(graph, None)
        both, last = account['transitions_received'], graph.status.transitions_received
        assert both > last + 20 and account['restarts'] == {'trainer': 1}
        # What was sent meanwhile; what it told last may be of a second before its end.
        assert 20 < account['transitions_missed'] < account['transitions_sent'] - last - 20


def test_a_world_that_stands_when_the_manager_dies_goes_on(tmp_path, nothing_left):
    """As while a gate is judged."""
    with Supervisor(config(tmp_path, **PATIENT), 'training', tmp_path) as graph:
        wait(graph, lambda: graph.status is not None and graph.status.updates > 20)
        with train.held(graph):
            process = graph.members['episode_manager'].process
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        wait(graph, lambda: graph.health['simulator']['paused'] == 'True')
        known = graph.status.env_steps

        def goes_on():
            graph.revive()
            return graph.status.env_steps > known + 60

        wait(graph, goes_on)
        assert graph.members['episode_manager'].restarts == 1


def late_and_given_up(graph):
    """Return counts of the simulator's next report: commands too late, frames without one."""
    stamp = graph.health['simulator']['stamp']
    wait(graph, lambda: graph.health['simulator']['stamp'] > stamp)
    return [int(graph.health['simulator'][key]) for key in ('late_commands', 'timeouts')]


def test_every_other_node_may_die_and_training_goes_on(tmp_path, nothing_left):
    with Supervisor(config(tmp_path), 'training', tmp_path) as graph:
        wait(graph, lambda: graph.status is not None and graph.status.updates > 20)
        for name in ('policy', 'perception', 'episode_manager', 'simulator'):
            known = graph.status.env_steps
            process = graph.members[name].process
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            graph.revive()
            assert graph.members[name].restarts == 1
            wait(graph, lambda: graph.status.env_steps > known + 60)
            # A fresh policy may answer frames that the simulation gave up on; it must not go on,
            # though the simulation of a busy machine may give up on another.
            late, given_up = late_and_given_up(graph)
            wait(graph, lambda: graph.status.env_steps > known + 120)
            still_late, more = late_and_given_up(graph)
            assert late < 20 and still_late - late <= 5 * (more - given_up), name
        assert graph.status.transitions_lost == graph.status.transitions_duplicated == 0


def test_a_node_that_lives_and_does_nothing_is_started_again(tmp_path, nothing_left, monkeypatch):
    monkeypatch.setattr(standstill, 'PATIENCE', 6.0)
    monkeypatch.setattr(supervisor, 'SILENT_AFTER', 5.0)
    said = []
    with Supervisor(config(tmp_path), 'training', tmp_path) as graph:
        wait(graph, lambda: graph.status is not None and graph.status.updates > 20)
        watch, member = standstill.Standstill(graph, said.append), graph.members['perception']
        os.kill(member.process.pid, signal.SIGSTOP)
        end = time.monotonic() + 90.0
        while not member.restarts:
            assert time.monotonic() < end
            graph.spin(lambda: False, 0.25)
            watch.look(time.monotonic())
            graph.revive()
        known = graph.status.env_steps
        wait(graph, lambda: graph.status.env_steps > known + 60)
    assert 'perception says nothing' in said[0] and 'started again: ' in said[0]


def test_a_node_that_keeps_dying_ends_the_run_with_what_was_learned(tmp_path, nothing_left):
    once = {'trainer.checkpoint_every': 100_000}  # and at the first update, and at the end
    with pytest.raises(GraphError, match='perception ended 4 times, last with exit code -9'):
        with Supervisor(config(tmp_path, **once), 'training', tmp_path) as graph:
            wait(graph, lambda: graph.status is not None and graph.status.env_steps > 100)
            for restarts in range(4):
                member, learned = graph.members['perception'], graph.status.env_steps
                assert member.restarts == restarts
                member.process.kill()
                member.process.wait()
                graph.revive()
    saved = checkpoint.load_policy(tmp_path)
    assert saved.version > 0 and saved.env_step >= learned > 100


def test_a_graph_that_does_not_survive_is_a_fault_and_no_refusal(
    tmp_path, nothing_left, monkeypatch, capsys
):
    def dies(_):
        raise GraphError('perception ended 4 times')

    monkeypatch.setattr(Supervisor, 'revive', dies)
    monkeypatch.setattr(train, 'catch_stops', list)
    settings = [f'--set={key}={value}' for key, value in SMALL.items()]
    assert main(['train', '--run-dir', str(tmp_path / 'run'), *settings]) == 1
    assert capsys.readouterr().err == 'av-td3: perception ended 4 times\n'
    assert (tmp_path / 'run' / 'config.yaml').exists()


def test_a_gate_holds_the_graph_drives_the_policy_and_ends_the_run(
    tmp_path, nothing_left, monkeypatch, capsys
):
    monkeypatch.setattr(gates, 'steps', lambda stage: 150 if stage == '10k' else 1_000_000)
    monkeypatch.setattr(train, 'catch_stops', list)
    settings = [f'--set={key}={value}' for key, value in {**SMALL, **PATIENT}.items()]
    folder = tmp_path / 'run'
    assert main(['train', '--gated', '--run-dir', str(folder), *settings]) == 1
    shown = capsys.readouterr().out
    assert '10k: driving the held-out routes, training waits' in shown and '10k: NO-GO' in shown
    driven = json.loads((folder / 'evaluation_10k' / 'evaluation.json').read_text())
    assert driven['episodes'] == 20 and driven['others'][0]['policy'] == 'random'
    # It stood still meanwhile, and ended behind it.
    end = json.loads((folder / 'summary.json').read_text())['env_steps']
    assert 150 <= driven['env_step'] <= end <= driven['env_step'] + 100
    assert checkpoint.load_policy(folder).env_step == end


def test_ctrl_c_saves_and_resume_goes_on(tmp_path, nothing_left):
    settings = {**SMALL, **PATIENT}.items()
    options = [part for key, value in settings for part in ('--set', f'{key}={value}')]
    base = [sys.executable, '-u', '-m', 'av_td3_ros.cli.main', 'train']
    process = subprocess.Popen(
        [*base, '--steps', '100000', '--run-dir', str(tmp_path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + 90
        while not any((tmp_path / 'checkpoints').glob('step_*')):
            assert process.poll() is None and time.monotonic() < end
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    first = json.loads((tmp_path / 'summary.json').read_text())
    assert first['stopped_by_user'] and first['env_steps'] >= 50
    graph = first['graph']
    assert graph['frames'] == graph['commands'] > 50 and graph['late_commands'] == 0
    steps = first['env_steps'] + 100
    done = subprocess.run(
        [*base, '--resume', str(tmp_path), '--steps', str(steps)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    second = json.loads((tmp_path / 'summary.json').read_text())
    assert steps <= second['env_steps'] < steps + 50
    assert second['updates'] > first['updates'] and second['version'] > first['version']


def test_a_second_graph_on_the_domain_is_refused(tmp_path, domain):
    with Supervisor(config(tmp_path / 'a'), 'training', tmp_path / 'a'):
        done = subprocess.run(
            [
                sys.executable,
                '-m',
                'av_td3_ros.cli.main',
                'train',
                '--run-dir',
                str(tmp_path / 'b'),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert (
        f'ROS domain must hold one graph, got a second /av_td3 graph on domain {domain}'
        in done.stderr
    )


@pytest.mark.parametrize(
    'values, text',
    [
        ({'simulator.map': '/no/such/map.xodr'}, 'No such file'),
        ({'policy.checkpoint': '/no/such/checkpoint'}, '/no/such/checkpoint'),
    ],
)
def test_what_a_node_refuses_ends_the_graph_with_its_line(tmp_path, nothing_left, values, text):
    with pytest.raises(GraphError) as error:
        with Supervisor(config(tmp_path, **values), 'training', tmp_path):
            pass
    assert text in str(error.value) and '\n' not in str(error.value)
