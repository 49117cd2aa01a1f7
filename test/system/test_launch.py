"""The launch files: parsed, and started for real, where launch_ros is installed."""

import importlib.util
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

launch = pytest.importorskip(
    'launch', reason='launch is not installed: it comes with an apt ROS 2, not as a wheel'
)
pytest.importorskip(
    'launch_ros', reason='launch_ros is not installed: it comes with an apt ROS 2, not as a wheel'
)

ROOT = Path(__file__).resolve().parents[2]
KINDS = ('training', 'evaluation', 'deploy', 'simulation')


def installed():
    from ament_index_python.packages import get_package_prefix, PackageNotFoundError

    try:
        return Path(get_package_prefix('av_td3_ros'), 'lib', 'av_td3_ros', 'trainer_node').exists()
    except PackageNotFoundError:
        return False


def description(kind):
    path = ROOT / 'launch' / f'{kind}.launch.py'
    spec = importlib.util.spec_from_file_location(kind, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def nodes(kind, **arguments):
    """Return the executables that a launch file would start with these arguments."""
    from launch_ros.actions import Node

    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    found, actions = [], list(description(kind).entities)
    while actions:
        action = actions.pop(0)
        if isinstance(action, Node):
            found.append(action.node_executable)
        else:
            actions += action.visit(context) or []
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_every_argument_is_documented(kind):
    arguments = {a.name: a for a in description(kind).get_launch_arguments()}
    assert {'namespace', 'role_name'} <= set(arguments)
    assert kind == 'deploy' or {'map', 'vehicles', 'weather'} <= set(arguments)
    own = {'training': 'run_dir', 'simulation': 'lock_step'}
    assert own.get(kind, 'checkpoint') in arguments
    assert all(
        a.description and a.description != 'no description given' for a in arguments.values()
    )


def test_each_graph_starts_its_nodes_and_deploy_perception_and_policy_alone():
    assert nodes('training') == [
        'trainer_node',
        'policy_node',
        'perception_node',
        'episode_manager_node',
        'simulator_node',
    ]
    assert 'trainer_node' not in nodes('evaluation', checkpoint='x')
    assert sorted(nodes('deploy', checkpoint='x')) == ['perception_node', 'policy_node']
    assert nodes('simulation') == ['simulator_node']


def test_traffic_and_weather_reach_the_simulator_and_are_else_those_of_its_file():
    from av_td3_ros.nodes import launching

    def simulator(kind, **given):
        usual = {name: default or '' for name, default, _ in launching.ARGUMENTS[kind]}
        return launching._overrides(kind, {**usual, **given}, {})['simulator']

    assert simulator('training') == {'role_name': ''}
    given = simulator('simulation', vehicles='20', weather='random', lock_step='true')
    assert (given['vehicles'], given['weather']) == (20, 'random')
    assert given['wait_for_vehicle_control_command'] is True
    assert 'map' not in simulator('deploy')


def test_a_deployment_waits_to_be_engaged_and_says_so_to_the_gate():
    from av_td3_ros import graph
    from av_td3_ros.nodes import launching

    usual = {name: default for name, default, _ in launching.ARGUMENTS['deploy']}

    def told(**given):
        return launching._overrides('deploy', {**usual, **given}, {})

    assert told()['policy'].items() >= graph.DEPLOYED['policy'].items()
    assert told()['perception']['episodes'] is False
    policy = told(checkpoint='x', engage='true', output='twist', lock_step='true')['policy']
    assert (policy['gate.engaged'], policy['output'], policy['lock_step']) == (True, 'twist', True)
    assert policy['checkpoint'].endswith('/x') and 'artefact' not in policy
    both = told(artefact='y')
    assert both['policy']['artefact'] == both['perception']['artefact']


def test_a_preset_reaches_the_trainer_and_a_wrong_one_is_refused():
    from av_td3_ros import presets
    from av_td3_ros.nodes import launching
    from av_td3_ros.options import ConfigError

    usual = {name: default or '' for name, default, _ in launching.ARGUMENTS['training']}
    assert usual['preset'] == ''

    def trainer(**given):
        return launching._overrides('training', {**usual, **given}, {})['trainer']

    assert 'learner.batch_size' not in trainer()  # trainer.param.yaml, which may have been edited
    given = trainer(preset='sb3', steps='77')
    assert given['steps'] == 77
    assert {f'trainer.{key}' for key in given} >= set(presets.load('sb3'))
    assert given['learner.batch_size'] == 256 and given['learner.network.shared_encoder'] is False
    with pytest.raises(ConfigError, match="did you mean 'sb3'"):
        nodes('training', preset='sb4')


def test_a_named_observation_reaches_all_that_must_agree_on_it():
    from av_td3_ros.nodes import launching
    from av_td3_ros.options import ConfigError

    for kind in ('training', 'evaluation', 'deploy'):
        usual = {name: default or 'x' for name, default, _ in launching.ARGUMENTS[kind]}
        usual.update(preset='', vehicles='', weather='', steps='60', observation='')
        assert 'observation.command' not in launching._overrides(kind, usual, {})['perception']
        given = launching._overrides(kind, {**usual, 'observation': 'camera'}, {})
        for node in ('perception', 'policy', 'trainer'):
            assert given[node]['observation.command'] is True
            assert given[node]['observation.waypoints'] == 0
        assert 'observation.command' not in {**given['simulator'], **given['episode_manager']}
    with pytest.raises(ConfigError, match='observation must be one of waypoints, camera'):
        nodes('training', observation='blind')


LAUNCHED = """
import sys
import launch
sys.path.insert(0, sys.argv[1])
from test_launch import description
service = launch.LaunchService()
given = [launch.actions.SetLaunchConfiguration(*x.split('=', 1)) for x in sys.argv[3:]]
service.include_launch_description(launch.LaunchDescription([*given, description(sys.argv[2])]))
sys.exit(service.run())
"""
needs_installation = pytest.mark.skipif(
    not installed(), reason='av_td3_ros is not installed as a ROS package: build it with colcon'
)


def launched(kind, folder, **arguments):
    """Launch for real until it ends by itself; return what it said."""
    given = [f'{name}={value}' for name, value in arguments.items()]
    process = subprocess.Popen(
        [sys.executable, '-c', LAUNCHED, str(Path(__file__).parent), kind, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'ROS_LOG_DIR': str(folder / 'log')},
    )
    try:
        return process.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        pytest.fail(process.communicate(timeout=30)[0])


@needs_installation
@pytest.mark.parametrize('whose', ['/**', '/av_td3/policy'])
def test_a_file_of_one_s_own_goes_before_what_a_deployment_is_told(tmp_path, whose):
    params = tmp_path / 'mine.yaml'
    params.write_text(f'{whose}: {{ros__parameters: {{gate: {{resume_after: -7}}}}}}')
    said = launched('deploy', tmp_path, artefact='x.avtd3', params=params)
    assert 'gate.resume_after must be' in said and '-7' in said


@needs_installation
def test_training_starts_learns_and_ends_by_itself(tmp_path):
    output = launched('training', tmp_path, run_dir=tmp_path, steps=60)
    assert any((tmp_path / 'checkpoints').glob('step_*')), output
    end = time.monotonic() + 10
    while (
        time.monotonic() < end
        and 'trainer_node' in subprocess.run(['ps', 'ax'], capture_output=True, text=True).stdout
    ):
        pass
    assert (
        'av_td3_ros/trainer_node'
        not in subprocess.run(['ps', 'ax'], capture_output=True, text=True).stdout
    )
