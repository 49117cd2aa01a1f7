"""Imports go one way: nodes -> bridge -> td3, driving, sim -> datatypes, config."""

import ast
from pathlib import Path
import subprocess
import sys

import pytest

SOURCE = Path(__file__).resolve().parents[2] / 'src' / 'av_td3_ros'
ROS = (
    'rclpy',
    'launch',
    'launch_ros',
    'ament_index_python',
    'rosidl_runtime_py',
    'builtin_interfaces',
)
LAYERS = {
    'datatypes': 0,
    'options': 1,
    'resources': 1,
    'gate_evidence': 1,
    'gate_config': 2,
    'learning_config': 2,
    'config': 2,
    'presets': 2,
    'task_config': 2,
    'run_folder': 2,
    'absent': 2,
    'beyond': 1,
    'gates': 2,
    'security': 2,
    'report': 5,
    'study': 5,
    'bridge_check': 3,
    'driving': 3,
    'td3': 3,
    'graph': 3,
    'launch_config': 4,
    'curves': 3,
    'watching': 3,
    'sim': 4,
    'deployment': 4,
    'evaluation': 4,
    'recording': 4,
    'train': 5,
    'gym_env': 5,
    'live_view': 5,
    'bridge': 6,
    'nodes': 7,
    'cli': 8,
}
CORE = (
    'driving',
    'td3',
    'deployment',
    'absent',
    'beyond',
    'sim',
    'config',
    'datatypes',
    'train',
    'gym_env',
    'graph',
    'launch_config',
    'curves',
    'gate_evidence',
    'gates',
    'security',
    'evaluation',
    'recording',
    'report',
    'watching',
    'live_view',
    'study',
    'bridge_check',
)
FILES = sorted(SOURCE.rglob('*.py'))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def layer(path):
    return path.relative_to(SOURCE).with_suffix('').parts[0]


def is_ros(name):
    top = name.split('.')[0]
    return top in ROS or top.endswith('_msgs')


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_nodes_and_bridge_know_ros(path):
    if layer(path) in ('nodes', 'bridge', 'cli'):
        return
    allowed = {'ament_index_python'} if layer(path) == 'resources' else set()
    known = [name for name in imports(path) if is_ros(name) and name.split('.')[0] not in allowed]
    assert not known, f'{path.name} imports {known}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path):
    own = layer(path)
    if own == '__init__':
        return
    for name in imports(path):
        if name.startswith('av_td3_ros.'):
            other = name.split('.')[1]
            assert LAYERS.get(other, 0) <= LAYERS[own], f'{path.name} ({own}) imports {name}'
    if own == 'bridge':
        assert not [
            n
            for n in imports(path)
            if n.startswith('rclpy') and n.split('.')[1:2] not in ([], ['qos'], ['node'])
        ], path.name


def test_core_loads_where_ros_cannot_be_imported():
    modules = [
        '.'.join(p.relative_to(SOURCE.parent).with_suffix('').parts)
        for p in FILES
        if layer(p) in CORE
    ]
    code = '\n'.join(
        [
            'import sys',
            'class Block:',
            '    def find_spec(self, name, *rest):',
            f'        if name.split(".")[0] in {ROS + ("rosgraph_msgs",)!r} or '
            f'name.split(".")[0].endswith("_msgs"):',
            '            raise ImportError(name)',
            'sys.meta_path.insert(0, Block())',
            *(f'import {name.removesuffix(".__init__")}' for name in modules),
        ]
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=120,
        env={'PYTHONPATH': str(SOURCE.parent), 'PATH': ''},
    )
    assert done.returncode == 0, done.stderr


def test_files_are_short_enough_to_read():
    long = {
        path.name: lines for path in FILES if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long
