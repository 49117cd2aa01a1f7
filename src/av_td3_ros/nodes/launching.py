"""
Launch descriptions made from the graph description; the files in ``launch/`` are one line each.

Every node starts itself (``autostart``), which works the same on Humble, Jazzy and Kilted. The
first frame waits until perception and policy are there.
"""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from av_td3_ros import graph, presets
from av_td3_ros.config import RunConfig, WEATHERS
from av_td3_ros.launch_config import (
    bridge_camera,
    preset_parameters,
    run_config,
    tick_alone,
    trained_parameters,
    write_parameters,
    written_parameters,
)
from av_td3_ros.nodes.launching_carla import carla, OBJECTS
from av_td3_ros.options import ConfigError
from av_td3_ros.resources import map_source, share
from av_td3_ros.run_folder import new_run_folder, require_new, RunFolder
from av_td3_ros.task_config import observation_preset, OBSERVATIONS

PACKAGE = 'av_td3_ros'
ROLE = 'ego_vehicle'
# Whose orderly end is the end of the whole launch. A deployment has none: it is a part of somebody
# else's, where localisation and what stops the car must outlive the policy.
MISSION_ENDS = {
    'training': 'trainer',
    'evaluation': 'episode_manager',
    'simulation': 'simulator',
}

COMMON = (
    ('namespace', graph.NAMESPACE, 'namespace of the nodes'),
    (
        'role_name',
        '',
        f'name of the vehicle in /carla/<role_name>/...; empty: {ROLE}, or that of the run',
    ),
)
WORLD = (
    ('vehicles', '', 'embedded: other vehicles, 0 to 100; empty: as in simulator.param.yaml'),
    ('weather', '', f"embedded: {', '.join(WEATHERS)}; empty: as in simulator.param.yaml"),
)
SIMULATION = (
    ('simulator', 'embedded', "'embedded', or 'carla' for the CARLA ROS bridge"),
    (
        'map',
        '',
        "embedded: 'town', random_town:SEED (or FIRST-LAST) or an OpenDRIVE file, empty: as in "
        'simulator.param.yaml; carla: a town, empty: Town01',
    ),
    ('host', 'localhost', 'carla: address of the server'),
    ('port', '2000', 'carla: port of the server'),
    *WORLD,
)
OBSERVATION = (
    'observation',
    '',
    f"what the policy sees: {', '.join(OBSERVATIONS)}, and the checkpoint the same; empty: as in "
    'perception.param.yaml',
)
CONFIG = (
    'config',
    '',
    'settings of every node in one file of the form of config.yaml in a run folder, as of '
    '`av-td3 train --config`; what it leaves out is as shipped. Other arguments go before it',
)
ARGUMENTS = {
    'training': (
        *COMMON,
        *SIMULATION,
        OBSERVATION,
        CONFIG,
        (
            'preset',
            '',
            'settings of the algorithm, laid over trainer.param.yaml: one of `av-td3 presets`, or '
            'a YAML file of that form; empty for that file, as shipped the same as '
            f'{presets.DEFAULT}',
        ),
        (
            'run_dir',
            '',
            'folder for checkpoints and metrics, which must be new but to resume; empty: '
            'runs/train_<date>, below where you stand',
        ),
        (
            'resume',
            'false',
            'go on from the newest checkpoint of run_dir, with the settings in its config.yaml: '
            'what is empty here is as there',
        ),
        ('steps', '', 'environment steps of the run; empty: as in trainer.param.yaml'),
    ),
    'evaluation': (
        *COMMON,
        *SIMULATION,
        OBSERVATION,
        CONFIG,
        (
            'checkpoint',
            None,
            'run or checkpoint folder to drive with, in the world of its config.yaml where no '
            'config:= is given: what is empty here is as there',
        ),
    ),
    'deploy': (
        *COMMON,
        OBSERVATION,
        ('artefact', '', 'file of `av-td3 export` to drive with'),
        ('checkpoint', '', 'or a checkpoint folder'),
        ('engage', 'false', 'true: drive at once; false: wait for the service policy/engage'),
        ('output', 'carla', "commands as 'carla', 'twist', 'ackermann' or 'autoware'"),
        ('lock_step', 'false', 'true where a simulation waits for every command'),
        (
            'use_sim_time',
            '',
            'true where /clock is the clock of the stamps: a simulation; empty: as params or '
            'SetParameter say, else false',
        ),
        ('params', '', 'a parameter file of your own, laid over all of this'),
        ('autostart', 'true', 'false: configure and activate the nodes by yourself'),
    ),
    'simulation': (
        *COMMON,
        (
            'map',
            '',
            "'town', random_town:SEED (or FIRST-LAST) or an OpenDRIVE file; empty: as in "
            'simulator.param.yaml',
        ),
        *WORLD,
        ('lock_step', 'false', 'true: one tick for every command; false: in real time'),
    ),
}


def describe(kind: str) -> LaunchDescription:
    """
    Return the launch description of a graph.

    :param kind: 'training', 'evaluation', 'deploy' or 'simulation'.
    """
    declared = [
        DeclareLaunchArgument(
            name, description=text, **({} if default is None else {'default_value': default})
        )
        for name, default, text in ARGUMENTS[kind]
    ]
    # For CARLA's bridge, too. Who includes a deployment keeps the environment of his own nodes.
    added = {} if kind == 'deploy' else graph.environment()
    environment = [SetEnvironmentVariable(name, value) for name, value in added.items()]
    return LaunchDescription(
        [*declared, *environment, OpaqueFunction(function=_actions, args=[kind])]
    )


def _actions(context: LaunchContext, kind: str) -> List[Any]:
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS[kind]}
    simulator = given.get('simulator', 'embedded')
    if simulator not in ('embedded', 'carla'):
        raise RuntimeError(f"simulator must be 'embedded' or 'carla', got '{simulator}'")
    told = _told(kind, given)
    given['role_name'] = given['role_name'] or told.get('policy', {}).get('role_name', ROLE)
    overrides, run = _overrides(kind, given, told), None
    actions = []
    if simulator == 'carla':
        actions += carla(given, overrides['simulator'])
    if kind == 'training':
        run = _write_config(overrides, simulator)
        actions.append(LogInfo(msg=f'run folder: {run.trainer.run_dir}'))
    for spec in graph.nodes(kind, simulator):
        actions += Member(spec, kind, given, overrides[spec.name], run).started()
    return actions


class Member:
    """One node of a launch, and what follows its end."""

    def __init__(
        self,
        spec: graph.NodeSpec,
        kind: str,
        given: Mapping[str, str],
        overrides: Mapping[str, Any],
        run: Optional[RunConfig],
    ) -> None:
        """
        :param given: the arguments of the launch. :param overrides: what the node is told beside
            its parameter file. :param run: the training that it belongs to.
        """
        self._spec = spec
        self._kind = kind
        self._given = given
        self._overrides = overrides
        self._run = run
        self._restarts = 0

    def started(self) -> List[Any]:
        """Return what starts the process, and waits for its end."""
        given, spec = self._given, self._spec
        own = [str(Path(given['params']).resolve())] if given.get('params') else []
        started = given.get('autostart', 'true').lower() == 'true'
        going_on = graph.going_on(self._run, spec.name, self._restarts > 0) if self._run else {}
        node = Node(
            package=PACKAGE,
            executable=spec.executable,
            name=spec.name,
            namespace=given['namespace'],
            parameters=[
                str(share('config', spec.file)),
                write_parameters({'autostart': started, **self._overrides, **going_on}),
                *own,
            ],
            ros_arguments=graph.enclave(spec.name, given['namespace']),
            additional_env=graph.environment(),
            output='screen',
            emulate_tty=True,
        )
        ended = OnProcessExit(target_action=node, on_exit=self.ended)
        return [RegisterEventHandler(ended), node]

    def ended(self, event: Any, context: LaunchContext) -> List[Any]:
        """
        Return what follows the end of the process.

        An orderly end of the mission ends the launch; what cannot do its job ends it with an error
        and exit code 1. What died is started again, as ``av-td3 train`` does: a dead trainer never
        stops the car. In a deployment nothing follows: what becomes of the vehicle is decided by
        the launch that it is a part of.

        :raises RuntimeError: where the launch is to end with this text.
        """
        name, code = self._spec.name, event.returncode
        if context.is_shutdown:
            return []
        if self._kind == 'deploy':
            return [LogInfo(msg=f'{name} ended with exit code {code}; the others go on')]
        if code == graph.EXIT_OK and name == MISSION_ENDS[self._kind]:
            return [Shutdown(reason=f'{name} has ended')]
        why = f'{name} ended with exit code {code}; its last lines say why'
        has_stopped = self._spec is graph.TRAINER and code == graph.EXIT_FAULT
        if has_stopped or code == graph.EXIT_REFUSED:
            raise RuntimeError(why)
        if self._restarts >= graph.MAX_RESTARTS:
            raise RuntimeError(f'{why} ({self._restarts + 1} times)')
        self._restarts += 1
        again = f'starting it again ({self._restarts} of {graph.MAX_RESTARTS})'
        return [LogInfo(msg=f'{name} ended with exit code {code}: {again}'), *self.started()]


def _write_config(overrides: Mapping[str, Mapping[str, Any]], simulator: str) -> RunConfig:
    """
    Write ``config.yaml`` into the run folder, which tells whoever exports or judges the run.

    :returns: the config.
    :raises ConfigError: where the folder cannot be written or holds another run, or a parameter
        file holds what no node would take.
    """
    trainer, told = overrides['trainer'], dict(overrides)
    if simulator == 'carla':
        told['simulator'] = {**told['simulator'], **bridge_camera(OBJECTS)}
    config = run_config(told)
    folder = Path(trainer['run_dir'])
    if not trainer['resume']:
        require_new(folder, 'go on with resume:=true or choose another with run_dir:=')
    RunFolder(folder).write_config(config)
    return config


def _told(kind: str, given: Mapping[str, str]) -> Dict[str, Dict[str, Any]]:
    """
    Return by node what a file of settings tells, or the run that is gone on with or evaluated.

    :raises ConfigError: where it cannot be read or used.
    """
    if kind == 'training' and given['resume'].lower() == 'true':
        return _written(_run_folder(given), given)
    if kind in ('training', 'evaluation') and given['config']:
        return written_parameters(Path(given['config']))
    if kind == 'evaluation':
        told = trained_parameters(Path(given['checkpoint']))
        if given['simulator'] == 'carla':  # is a world of its own
            told['simulator'] = tick_alone(told.get('simulator', {}))
        return told
    return {}


def _overrides(
    kind: str, given: Mapping[str, str], told: Mapping[str, Mapping[str, Any]]
) -> Dict[str, Dict[str, Any]]:
    """Return by node what it is told beside its file: ``told``, and the arguments before it."""
    role = {'role_name': given['role_name']}
    wanted = given.get('observation')
    observation = observation_preset(wanted) if wanted else {}
    values: Dict[str, Dict[str, Any]] = {
        'simulator': {**role, **_world(given)},
        'perception': {**role, **observation},
        'policy': {**role, **observation},
        'episode_manager': dict(role),
        'trainer': dict(observation),
    }
    if kind == 'training':
        folder, resumed = _run_folder(given).resolve(), given['resume'].lower() == 'true'
        values['trainer'].update(preset_parameters(given['preset']))
        values['trainer'].update(run_dir=str(folder), resume=resumed)
        if given['steps']:
            values['trainer']['steps'] = int(given['steps'])
    elif kind == 'evaluation':
        values['policy'].update(
            checkpoint=str(Path(given['checkpoint']).resolve()), accept_weights=False
        )
        values['episode_manager'].update(start_in_evaluation=True, routes='held_out')
    elif kind == 'deploy':
        for name, told in (*graph.DEPLOYED.items(), *_deployment(given).items()):
            values[name].update(told)
    if kind == 'simulation':
        waits = given['lock_step'].lower() == 'true'
        values['simulator']['wait_for_vehicle_control_command'] = waits
    return {name: {**told.get(name, {}), **values[name]} for name in values}


def _run_folder(given: Mapping[str, str]) -> Path:
    """
    Return the folder of a training.

    :raises ConfigError: where none is told that could be gone on with.
    """
    if given['run_dir']:
        return Path(given['run_dir'])
    if given['resume'].lower() == 'true':
        raise ConfigError('resume:=true must have a run to go on with, got none; give run_dir:=')
    return new_run_folder('train')


def _written(folder: Path, given: Mapping[str, str]) -> Dict[str, Dict[str, Any]]:
    """
    Return by node what a run that goes on was told.

    :raises ConfigError: where nothing says so, or an argument would make another policy of it.
    """
    for name in ('preset', 'observation', 'config'):
        if given[name]:
            raise ConfigError(
                f'{name}:= must not be given with resume:=true, got {given[name]}: a run goes on '
                f'with the settings in {folder / "config.yaml"}'
            )
    return written_parameters(folder / 'config.yaml')


def _deployment(given: Dict[str, str]) -> Dict[str, Dict[str, Any]]:
    """Return what the arguments of a deployment tell its nodes."""
    policy: Dict[str, Any] = {
        'output': given['output'],
        'lock_step': given['lock_step'].lower() == 'true',
        'gate.engaged': given['engage'].lower() == 'true',
    }
    for name in ('artefact', 'checkpoint'):
        if given[name]:
            policy[name] = str(Path(given[name]).resolve())
    perception = {name: policy[name] for name in ('artefact', 'checkpoint') if name in policy}
    is_told = given['use_sim_time']
    clock = {'use_sim_time': is_told.lower() == 'true'} if is_told else {}
    return {'policy': {**policy, **clock}, 'perception': {**perception, **clock}}


def _world(given: Dict[str, str]) -> Dict[str, Any]:
    """Return the simulator's parameters; none where the graph has no simulator."""
    if 'map' not in given:
        return {}
    values: Dict[str, Any] = {}
    if given['map']:
        is_town = given.get('simulator') == 'carla'
        values['map'] = given['map'] if is_town else map_source(given['map'])
    if given['vehicles']:
        values['vehicles'] = int(given['vehicles'])
    if given['weather']:
        values['weather'] = given['weather']
    return values
