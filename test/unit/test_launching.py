"""
What the launch files are made of, where ``launch`` is not installed: with fakes of what it gives.

``test/system/test_launch.py`` has the real one.
"""

import importlib
import importlib.util
import json
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from av_td3_ros import graph, nodes
from av_td3_ros.cli import common
from av_td3_ros.options import ConfigError, flatten
from av_td3_ros.run_folder import RunFolder

MODULES = {
    'launch': ('LaunchDescription',),
    'launch.actions': (
        'DeclareLaunchArgument',
        'IncludeLaunchDescription',
        'LogInfo',
        'OpaqueFunction',
        'RegisterEventHandler',
        'SetEnvironmentVariable',
        'Shutdown',
    ),
    'launch.conditions': ('IfCondition',),
    'launch.event_handlers': ('OnProcessExit',),
    'launch.launch_context': ('LaunchContext',),
    'launch.launch_description_sources': ('PythonLaunchDescriptionSource',),
    'launch.substitutions': ('LaunchConfiguration',),
    'launch_ros': (),
    'launch_ros.actions': ('Node',),
    'launch_ros.substitutions': ('FindPackageShare',),
}


class Fake:
    """Remembers what it was made of."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def perform(self, context):
        """Return a launch argument."""
        return context[self.args[0]]


@pytest.fixture
def fakes(monkeypatch):
    """Put fakes in the place of launch and launch_ros."""
    for name, classes in MODULES.items():
        module = ModuleType(name)
        for made in classes:
            setattr(module, made, type(made, (Fake,), {}))
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def launching(monkeypatch, fakes):
    """Return the module, made with fakes."""
    made = ('launching', 'launching_carla')
    for name in made:
        monkeypatch.delitem(sys.modules, f'av_td3_ros.nodes.{name}', raising=False)
        monkeypatch.delattr(nodes, name, raising=False)
    yield importlib.import_module('av_td3_ros.nodes.launching')
    for name in made:
        del sys.modules[f'av_td3_ros.nodes.{name}']
        delattr(nodes, name)


def parameters(node):
    """Return what a node is told beside its file and the user's, by dotted key."""
    told = yaml.safe_load(Path(node.kwargs['parameters'][1]).read_text())
    return flatten(told['/**']['ros__parameters'])


def kinds(made):
    """Return of what kind actions are."""
    return [type(action).__name__ for action in made]


def actions(launching, kind, **given):
    """Return the nodes of a launch and, by node, what follows their end with an exit code."""
    context = {name: default or '' for name, default, _ in launching.ARGUMENTS[kind]}
    started, ends = {}, {}

    def look(made):
        for action in made:
            if type(action).__name__ == 'Node':
                started[action.kwargs['name']] = action
            elif type(action).__name__ == 'RegisterEventHandler':
                handler = action.args[0].kwargs
                ends[handler['target_action'].kwargs['name']] = handler['on_exit']

    def follows(name, code, is_shutdown=False):
        event, context = SimpleNamespace(returncode=code), SimpleNamespace(is_shutdown=is_shutdown)
        after = ends[name](event, context)
        look(after)
        return kinds(after)

    look(launching._actions({**context, **given}, kind))
    return started, follows


@pytest.mark.parametrize('name', ['policy', 'perception'])
@pytest.mark.parametrize('code', [0, 1, 2, -9])
def test_no_end_of_a_deployed_node_ends_the_stack_that_it_is_a_part_of(launching, name, code):
    started, follows = actions(launching, 'deploy', artefact='policy.avtd3')
    assert set(started) == {'policy', 'perception'}
    assert follows(name, code) == ['LogInfo']


@pytest.mark.parametrize('name', ['artefact', 'checkpoint'])
def test_perception_is_told_what_the_policy_drives_with(launching, name):
    started, _ = actions(launching, 'deploy', **{name: 'x'})
    told = {node: parameters(made) for node, made in started.items()}
    assert told['perception'][name] == told['policy'][name] and told['policy'][name].endswith('/x')
    assert 'accept_weights' not in told['perception']


@pytest.fixture
def clean(monkeypatch):
    """Have nothing set by the user."""
    for name in (*graph.ENVIRONMENT, 'FASTDDS_BUILTIN_TRANSPORTS'):
        monkeypatch.delenv(name, raising=False)


def set_for_all(launching, kind):
    """Return what a launch file sets for whatever is started after it."""
    (made,) = launching.describe(kind).args
    return {a.args[0]: a.args[1] for a in made if type(a).__name__ == 'SetEnvironmentVariable'}


def set_for_own(launching):
    """Return what each node of a deployment is given."""
    started, _ = actions(launching, 'deploy', artefact='x')
    return [node.kwargs.get('additional_env') for node in started.values()]


@pytest.mark.parametrize('kind', ['training', 'evaluation', 'simulation'])
def test_the_environment_of_a_whole_graph_is_that_of_all_that_it_starts(launching, clean, kind):
    assert set_for_all(launching, kind) == graph.ENVIRONMENT


def test_a_deployment_sets_the_environment_of_its_own_nodes_alone(launching, clean):
    assert set_for_all(launching, 'deploy') == {}
    assert set_for_own(launching) == [graph.ENVIRONMENT] * 2


def test_what_the_user_set_stays_and_chosen_transports_keep_the_profile_out(
    launching, clean, monkeypatch
):
    monkeypatch.setenv('OMP_WAIT_POLICY', 'ACTIVE')
    wanted = {key: value for key, value in graph.ENVIRONMENT.items() if 'OMP' not in key}
    assert set_for_own(launching) == [wanted] * 2 and set_for_all(launching, 'training') == wanted
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    del wanted[graph.PROFILE]
    assert set_for_own(launching) == [wanted] * 2 and set_for_all(launching, 'training') == wanted


GIVEN = {
    'training': {'steps': '60', 'run_dir': 'run'},
    'evaluation': {'checkpoint': 'x'},
    'simulation': {},
}
MISSIONS = [
    ('training', 'trainer'),
    ('evaluation', 'episode_manager'),
    ('simulation', 'simulator'),
]
AGAIN = ['LogInfo', 'RegisterEventHandler', 'Node']


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('kind, name', MISSIONS)
def test_a_launch_ends_with_its_mission_and_with_an_error_where_a_node_is_refused(
    launching, here, kind, name
):
    started, follows = actions(launching, kind, **GIVEN[kind])
    assert follows(name, 0) == ['Shutdown']
    for node in started:
        assert follows(node, -9, is_shutdown=True) == []
        with pytest.raises(RuntimeError, match=f'{node} ended with exit code 2'):
            follows(node, 2)
        assert node == name or follows(node, 0) == AGAIN  # somebody has ended it by hand


@pytest.mark.parametrize(
    'name', ['trainer', 'policy', 'perception', 'episode_manager', 'simulator']
)
def test_what_dies_in_a_training_is_started_again_three_times(launching, here, name):
    started, follows = actions(launching, 'training', **GIVEN['training'])
    for _ in range(3):
        before = started[name]
        assert follows(name, -9) == AGAIN and started[name] is not before
    with pytest.raises(RuntimeError, match=f'{name} ended with exit code -9; .* .4 times'):
        follows(name, -9)


def test_a_trainer_goes_on_from_what_it_saved_unless_it_has_stopped_by_itself(launching, here):
    started, follows = actions(launching, 'training', **GIVEN['training'])

    def resumes():
        return parameters(started['trainer'])['resume']

    assert follows('trainer', -9) == AGAIN and not resumes()  # nothing was saved yet
    (here / 'run' / 'checkpoints' / 'step_100').mkdir(parents=True)
    assert follows('trainer', -9) == AGAIN and resumes()
    with pytest.raises(RuntimeError, match='trainer ended with exit code 1; its last lines say'):
        follows('trainer', 1)
    assert follows('policy', 1) == AGAIN


def test_routes_that_were_driven_are_left_out_after_a_resume_and_after_a_death(launching, here):
    def first_route(started):
        return parameters(started['episode_manager']).get('first_route', 0)

    run = RunFolder(here / 'run')
    started, follows = actions(launching, 'training', **GIVEN['training'])
    run.add_episode({'env_step': 10})
    assert first_route(started) == 0
    assert follows('episode_manager', -9) == AGAIN and first_route(started) == 1
    run.add_episode({'env_step': 20})
    run.close()
    started, _ = actions(launching, 'training', **GIVEN['training'], resume='true')
    assert first_route(started) == 2
    settings = yaml.safe_load((here / 'run' / 'config.yaml').read_text())
    assert settings['episode_manager']['first_route'] == 0  # else each resume would add to it


def test_a_training_leaves_the_config_that_exports_it(launching, here):
    actions(launching, 'training', **GIVEN['training'], vehicles='20', observation='camera')
    options = SimpleNamespace(preset=None, config=here / 'run' / 'config.yaml', map=None)
    config = common.load_config(SimpleNamespace(**vars(options), observation='', assignments=()))
    assert config.simulator.vehicles == 20 and config.trainer.steps == 60
    assert config.observation.command and config.perception.observation == config.observation
    assert config.trainer.run_dir == str(here / 'run')


def test_a_folder_that_holds_a_run_is_refused_before_anything_starts(launching, here):
    (here / 'run' / 'checkpoints' / 'step_100').mkdir(parents=True)
    with pytest.raises(ConfigError, match='must be new, got .*run, which holds checkpoints'):
        actions(launching, 'training', **GIVEN['training'])
    actions(launching, 'training', steps='60')
    assert [path.name[:6] for path in (here / 'runs').iterdir()] == ['train_']


def test_a_run_goes_on_with_its_own_settings(launching, here):
    first = {'preset': 'sb3', 'vehicles': '3', 'map': 'random_town:7', 'observation': 'camera'}
    actions(launching, 'training', **GIVEN['training'], **first)
    written = here / 'run' / 'config.yaml'
    before = yaml.safe_load(written.read_text())
    again = {'run_dir': 'run', 'resume': 'true'}
    started, _ = actions(launching, 'training', **again, steps='90')
    told = {name: parameters(node) for name, node in started.items()}
    assert told['trainer']['resume'] is True and told['trainer']['steps'] == 90
    assert told['trainer']['learner.batch_size'] == before['trainer']['learner']['batch_size']
    assert (told['simulator']['vehicles'], told['simulator']['map']) == (3, 'random_town:7')
    assert told['perception']['observation.command'] is True
    before['trainer'].update(resume=True, steps=90)
    assert yaml.safe_load(written.read_text()) == before
    for name in ('preset', 'observation'):
        with pytest.raises(ConfigError, match=f'{name}:= must not be given with resume:=true'):
            actions(launching, 'training', **again, **{name: first[name]})


@pytest.mark.parametrize('kind', ['training', 'evaluation'])
def test_a_file_of_settings_reaches_every_node_and_arguments_go_before_it(launching, here, kind):
    file = here / 'mine.yaml'
    file.write_text(
        'simulator: {vehicles: 7, fov_deg: 90.0}\ntrainer: {learner: {batch_size: 64}}\n'
        'observation: {height: 64}\nepisode_manager: {turning_share: 0.5}\n'
    )
    started, _ = actions(launching, kind, **GIVEN[kind], config=str(file), vehicles='9')
    told = {name: parameters(node) for name, node in started.items()}
    assert (told['simulator']['vehicles'], told['simulator']['fov_deg']) == (9, 90.0)
    assert told['episode_manager']['turning_share'] == 0.5
    assert told['perception']['observation.height'] == told['policy']['observation.height'] == 64
    if kind == 'training':
        assert told['trainer']['learner.batch_size'] == 64
        written = yaml.safe_load((here / 'run' / 'config.yaml').read_text())
        assert written['simulator']['vehicles'] == 9 and written['observation']['height'] == 64
        with pytest.raises(ConfigError, match='config:= must not be given with resume:=true'):
            actions(launching, kind, run_dir='run', resume='true', config=str(file))
    file.write_text('simulator: {vehicle: 7}')
    with pytest.raises(ConfigError, match='simulator.vehicle'):
        actions(launching, kind, **{**GIVEN[kind], 'run_dir': 'other'}, config=str(file))


@pytest.mark.parametrize(
    'kind, again',
    [
        ('training', {'run_dir': 'run', 'resume': 'true'}),
        ('evaluation', {'checkpoint': 'run'}),
    ],
)
def test_a_run_keeps_the_name_of_its_vehicle(launching, here, kind, again):
    actions(launching, 'training', **GIVEN['training'], role_name='hero')
    for given, name in (({}, 'hero'), ({'role_name': 'ego'}, 'ego')):
        started, _ = actions(launching, kind, **again, **given)
        told = [parameters(started[node])['role_name'] for node in ('policy', 'perception')]
        assert told == [name] * 2


@pytest.mark.parametrize('written', ['plugins: [a, b]', 'simulator: {later: 1}\nobservation: {}'])
def test_a_checkpoint_is_evaluated_though_its_config_is_of_another_version(
    launching, here, written
):
    (here / 'config.yaml').write_text(written)
    started, _ = actions(launching, 'evaluation', checkpoint=str(here / 'step_1'))
    assert parameters(started['policy'])['role_name'] == 'ego_vehicle'


def test_a_deployment_leaves_the_clock_to_others_unless_it_is_told(launching):
    def told(**given):
        started, _ = actions(launching, 'deploy', artefact='x', **given)
        return [parameters(node).get('use_sim_time') for node in started.values()]

    assert told() == [None, None]
    assert told(use_sim_time='true') == [True, True] and told(use_sim_time='false') == [False] * 2


def test_what_cannot_go_on_is_refused(launching, here):
    with pytest.raises(ConfigError, match='give run_dir:='):
        actions(launching, 'training', resume='true')
    with pytest.raises(ConfigError, match='must be readable, got .*config.yaml'):
        actions(launching, 'training', run_dir='run', resume='true')


def test_carla_is_one_argument(launching, here):
    """Bridge, vehicle and route publisher start; the run knows the camera of its objects file."""
    context = {name: default or '' for name, default, _ in launching.ARGUMENTS['training']}
    given = {**GIVEN['training'], 'simulator': 'carla', 'map': 'Town03', 'role_name': 'hero'}
    made = launching._actions({**context, **given}, 'training')
    included = [a for a in made if type(a).__name__ == 'IncludeLaunchDescription']
    told = [dict(action.kwargs['launch_arguments']) for action in included]
    bridge, objects, routes = told
    assert bridge['town'] == 'Town03' and bridge['synchronous_mode'] == 'True'
    assert bridge['synchronous_mode_wait_for_vehicle_control_command'] == 'True'
    assert bridge['ego_vehicle_role_name'] == "['hero']" and routes['role_name'] == 'hero'
    vehicle = json.loads(Path(objects['objects_definition_file']).read_text())['objects'][-1]
    assert vehicle['id'] == 'hero'
    camera = vehicle['sensors'][0]
    assert 'simulator' not in [a.kwargs['name'] for a in made if type(a).__name__ == 'Node']
    simulator = yaml.safe_load((here / 'run' / 'config.yaml').read_text())['simulator']
    assert simulator['map'] == 'Town03'
    assert (simulator['image_width'], simulator['fov_deg'], simulator['camera_z']) == (
        camera['image_size_x'],
        camera['fov'],
        camera['spawn_point']['z'],
    )


def test_an_evaluation_drives_on_roads_where_no_training_begins(launching):
    started, _ = actions(launching, 'evaluation', **GIVEN['evaluation'])
    assert parameters(started['episode_manager'])['routes'] == 'held_out'


@pytest.mark.parametrize('checkpoint', ['run', 'run/checkpoints/step_00000060'])
def test_an_evaluation_drives_in_the_world_of_its_training(launching, here, checkpoint):
    first = {'vehicles': '3', 'map': 'random_town:7', 'observation': 'camera'}
    actions(launching, 'training', **GIVEN['training'], **first)
    given = {'checkpoint': str(here / checkpoint), 'weather': 'random'}
    started, _ = actions(launching, 'evaluation', **given, vehicles='20')
    told = {name: parameters(node) for name, node in started.items()}
    simulator, policy = told['simulator'], told['policy']
    assert (simulator['map'], simulator['vehicles']) == ('random_town:7', 20)
    assert simulator['weather'] == 'random'
    assert told['perception']['observation.command'] and policy['observation.command']
    assert (policy['checkpoint'], policy['accept_weights']) == (given['checkpoint'], False)
    manager = told['episode_manager']
    assert (manager['routes'], manager['start_in_evaluation']) == ('held_out', True)


def on_carla(launching, kind, **given):
    """Return what the bridge of CARLA is told, and the nodes by name."""
    context = {name: default or '' for name, default, _ in launching.ARGUMENTS[kind]}
    made = launching._actions({**context, **given, 'simulator': 'carla'}, kind)
    included = [a for a in made if type(a).__name__ == 'IncludeLaunchDescription']
    nodes = {a.kwargs['name']: a for a in made if type(a).__name__ == 'Node'}
    return dict(included[0].kwargs['launch_arguments']), nodes


@pytest.mark.parametrize('again', [{'checkpoint': 'run'}, {'run_dir': 'run', 'resume': 'true'}])
def test_on_carla_the_bridge_ticks_as_the_policy_learns(launching, here, again):
    file, key = here / 'mine.yaml', 'fixed_delta_seconds'
    file.write_text('simulator: {fixed_delta_seconds: 0.08}')
    told, _ = on_carla(launching, 'training', **GIVEN['training'], config=str(file))
    assert (told[key], told['town']) == ('0.08', 'Town01')
    written = yaml.safe_load((here / 'run' / 'config.yaml').read_text())['simulator']
    assert (written[key], written['map']) == (0.08, 'Town01')
    kind = 'evaluation' if 'checkpoint' in again else 'training'
    assert on_carla(launching, kind, **again)[0][key] == '0.08'
    assert on_carla(launching, 'training', run_dir='other')[0][key] == '0.05'  # as shipped
    file.write_text('simulator: {fixed_delta_seconds: 0.1}')
    with pytest.raises(ConfigError, match='must be below 0.1 s with CARLA, got 0.1'):
        on_carla(launching, 'training', run_dir='third', config=str(file))


def test_on_carla_an_evaluation_takes_no_map_of_a_simulated_training(launching, here):
    actions(launching, 'training', **GIVEN['training'], map='random_town:7', observation='camera')
    told, nodes = on_carla(launching, 'evaluation', checkpoint=str(here / 'run'))
    assert parameters(nodes['perception'])['observation.command'] and told['town'] == 'Town01'


@pytest.mark.parametrize('name', ['training', 'evaluation', 'deploy', 'simulation'])
def test_each_launch_file_describes_its_graph(launching, monkeypatch, name):
    described = []
    monkeypatch.setattr(launching, 'describe', described.append)
    path = Path(__file__).resolve().parents[2] / 'launch' / f'{name}.launch.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate_launch_description()
    assert described == [name]


@pytest.mark.parametrize('enabled', ['true', 'false'])
def test_who_watches_has_an_enclave_where_security_is_on(fakes, monkeypatch, enabled):
    monkeypatch.setenv('ROS_SECURITY_ENABLE', enabled)
    path = Path(__file__).resolve().parents[2] / 'launch' / 'watch.launch.py'
    spec = importlib.util.spec_from_file_location('watch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = {
        made.kwargs['executable']: made.kwargs['ros_arguments']
        for made in module.programs({'namespace': 'av_td3'})
    }
    wanted = {'watch_node': 'watch', 'rviz2': 'rviz', 'rqt_gui': 'watcher'}
    for program, enclave in wanted.items():
        given = ['--enclave', f'/av_td3/{enclave}'] if enabled == 'true' else []
        assert told[program] == given
