"""
What the launch files are made of, where ``launch`` is not installed: with fakes of what it gives.

``test/system/test_launch.py`` has the real one.
"""

import importlib
import importlib.util
from pathlib import Path
import sys
from types import ModuleType, SimpleNamespace

import pytest

from av_td3_ros import nodes

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
    'launch.substitutions': ('EnvironmentVariable', 'LaunchConfiguration'),
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
    monkeypatch.delitem(sys.modules, 'av_td3_ros.nodes.launching', raising=False)
    monkeypatch.delattr(nodes, 'launching', raising=False)
    yield importlib.import_module('av_td3_ros.nodes.launching')
    del sys.modules['av_td3_ros.nodes.launching'], nodes.launching


def actions(launching, kind, **given):
    """Return the nodes of a launch and, by node, what follows their end with an exit code."""
    context = {name: default or '' for name, default, _ in launching.ARGUMENTS[kind]}
    made = launching._actions({**context, **given}, kind)
    started = {a.kwargs['name']: a for a in made if type(a).__name__ == 'Node'}
    ends = {}
    for action in made:
        if type(action).__name__ == 'RegisterEventHandler':
            handler = action.args[0].kwargs
            ends[handler['target_action'].kwargs['name']] = handler['on_exit']

    def follows(name, code):
        (after,) = ends[name](SimpleNamespace(returncode=code), None)
        return type(after).__name__

    return started, follows


@pytest.mark.parametrize('name', ['policy', 'perception'])
@pytest.mark.parametrize('code', [0, 1, 2, -9])
def test_no_end_of_a_deployed_node_ends_the_stack_that_it_is_a_part_of(launching, name, code):
    started, follows = actions(launching, 'deploy', artefact='policy.avtd3')
    assert set(started) == {'policy', 'perception'}
    assert follows(name, code) == 'LogInfo'


@pytest.mark.parametrize('name', ['artefact', 'checkpoint'])
def test_perception_is_told_what_the_policy_drives_with(launching, name):
    started, _ = actions(launching, 'deploy', **{name: 'x'})
    told = {node: made.kwargs['parameters'][1] for node, made in started.items()}
    assert told['perception'][name] == told['policy'][name] and told['policy'][name].endswith('/x')
    assert 'accept_weights' not in told['perception']


@pytest.mark.parametrize(
    'kind, name', [('training', 'trainer'), ('evaluation', 'episode_manager')]
)
def test_a_training_ends_as_a_whole_with_its_trainer_unless_that_fails(launching, kind, name):
    given = {'steps': '60', 'checkpoint': 'x'} if kind == 'evaluation' else {'steps': '60'}
    _, follows = actions(launching, kind, **given)
    assert follows(name, 0) == 'Shutdown' and follows(name, 1) == 'LogInfo'


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
    wanted = {'watch_node': 'watch', 'rviz2': 'watcher', 'rqt_gui': 'watcher'}
    for program, enclave in wanted.items():
        given = ['--enclave', f'/av_td3/{enclave}'] if enabled == 'true' else []
        assert told[program] == given
