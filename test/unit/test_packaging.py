"""
The files that build, install and pin the packages agree with each other and with carla_msgs 1.3.0.
"""

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
from typing import Dict, List
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ('simulator', 'perception', 'policy', 'episode_manager', 'trainer')

# The interface of carla_msgs 1.3.0; the order is part of it.
CARLA_MSGS: Dict[str, str] = {
    'CarlaActorInfo': 'uint32 id, uint32 parent_id, string type, string rolename',
    'CarlaActorList': 'CarlaActorInfo[] actors',
    'CarlaCollisionEvent': 'std_msgs/Header header, uint32 other_actor_id, '
    'geometry_msgs/Vector3 normal_impulse',
    'CarlaControl': 'int8 PLAY=0, int8 PAUSE=1, int8 STEP_ONCE=2, int8 command',
    'CarlaEgoVehicleControl': 'std_msgs/Header header, float32 throttle, float32 steer, '
    'float32 brake, bool hand_brake, '
    'bool reverse, int32 gear, bool manual_gear_shift',
    'CarlaEgoVehicleInfo': 'uint32 id, string type, string rolename, '
    'CarlaEgoVehicleInfoWheel[] wheels, '
    'float32 max_rpm, float32 moi, float32 damping_rate_full_throttle, '
    'float32 damping_rate_zero_throttle_clutch_engaged, '
    'float32 damping_rate_zero_throttle_clutch_disengaged, bool use_gear_autobox, '
    'float32 gear_switch_time, float32 clutch_strength, float32 mass, '
    'float32 drag_coefficient, geometry_msgs/Vector3 center_of_mass',
    'CarlaEgoVehicleInfoWheel': 'float32 tire_friction, float32 damping_rate, float32 '
    'max_steer_angle, float32 radius, '
    'float32 max_brake_torque, float32 max_handbrake_torque, geometry_msgs/Vector3 position',
    'CarlaEgoVehicleStatus': 'std_msgs/Header header, float32 velocity, geometry_msgs/Accel '
    'acceleration, '
    'geometry_msgs/Quaternion orientation, CarlaEgoVehicleControl control',
    'CarlaLaneInvasionEvent': 'std_msgs/Header header, int32[] crossed_lane_markings, int32 '
    'LANE_MARKING_OTHER=0, '
    'int32 LANE_MARKING_BROKEN=1, int32 LANE_MARKING_SOLID=2',
    'CarlaStatus': 'uint64 frame, float32 fixed_delta_seconds, bool synchronous_mode, '
    'bool synchronous_mode_running',
    'CarlaWeatherParameters': 'float32 cloudiness, float32 precipitation, float32 '
    'precipitation_deposits, '
    'float32 wind_intensity, float32 fog_density, float32 fog_distance, float32 wetness, '
    'float32 sun_azimuth_angle, float32 sun_altitude_angle',
    'CarlaWorldInfo': 'string map_name, string opendrive',
}


def test_what_a_vehicle_installs_by_pip_is_an_extra_and_in_the_docs():
    setup = (ROOT / 'setup.py').read_text()
    (listed,) = re.findall(r"'deploy': \[(.*?)\]", setup)
    wanted = [name.strip("' ") for name in listed.split(',')]
    assert wanted == ['onnxruntime', 'safetensors']
    assert f'`pip install {" ".join(wanted)}`' in (ROOT / 'docs' / 'deploying.md').read_text()


def definition(text: str) -> str:
    """Return the fields and constants of an interface file, without comments and spacing."""
    lines = (re.sub(r'\s*=\s*', '=', line.split('#')[0].strip()) for line in text.splitlines())
    return ', '.join(' '.join(line.split()) for line in lines if line)


def pins() -> Dict[str, List[str]]:
    """Return every version that constraints.txt names for a package."""
    found: Dict[str, List[str]] = {}
    for line in (ROOT / 'constraints.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            name, _, version = line.partition('==')
            found.setdefault(normal(name), []).append(version)
    return found


def normal(name: str) -> str:
    """Return the one spelling of a package that pip compares."""
    return re.sub(r'[-_.]+', '-', name.split('[')[0].strip()).lower()


def manifest(package: str) -> ElementTree.Element:
    """Return the package.xml of one of the three packages."""
    return ElementTree.parse(ROOT / package / 'package.xml').getroot()


@pytest.mark.parametrize('name', sorted(CARLA_MSGS))
def test_carla_message_is_the_one_of_carla_msgs(name: str) -> None:
    assert (
        definition((ROOT / 'carla_msgs' / 'msg' / f'{name}.msg').read_text()) == CARLA_MSGS[name]
    )


def test_every_carla_message_is_in_the_table() -> None:
    assert {file.stem for file in (ROOT / 'carla_msgs').rglob('*.msg')} == set(CARLA_MSGS)


@pytest.mark.parametrize('package', ['av_td3_msgs', 'carla_msgs'])
def test_every_interface_file_is_built(package: str) -> None:
    folder = ROOT / package
    files = {
        str(file.relative_to(folder))
        for kind in ('msg', 'srv')
        for file in folder.glob(f'{kind}/*')
    }
    listed = re.findall(r'\b(?:msg|srv)/\w+\.(?:msg|srv)', (folder / 'CMakeLists.txt').read_text())
    assert sorted(listed) == sorted(files)


def test_package_xml_and_setup_py_agree() -> None:
    printed = subprocess.run(
        [sys.executable, 'setup.py', '--quiet', '--name', '--version', '--license'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    root = manifest('.')
    assert printed[-3:] == [root.findtext(tag) for tag in ('name', 'version', 'license')]
    assert manifest('av_td3_msgs').findtext('version') == root.findtext('version')


def test_carla_msgs_states_the_version_it_follows() -> None:
    assert manifest('carla_msgs').findtext('version') == '1.3.0'


def test_every_node_has_an_executable_where_launch_looks() -> None:
    setup = (ROOT / 'setup.py').read_text()
    for node in NODES:
        assert f"'{node}'" in setup
        assert (ROOT / 'src' / 'av_td3_ros' / 'nodes' / f'{node}_node.py').exists()
    config = (ROOT / 'setup.cfg').read_text()
    assert 'install_scripts=$base/lib/av_td3_ros' in config


def test_every_requirement_is_pinned_once() -> None:
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    required = [normal(line) for line in lines if line and not line.startswith('#')]
    assert required and not [name for name in required if name not in pins()]
    assert not {name: found for name, found in pins().items() if len(found) != 1 or not found[0]}


def test_constraints_name_published_packages_and_no_host() -> None:
    ours = {'av-td3-ros', 'av-td3-msgs', 'carla-msgs'}
    assert not ours & set(pins())
    for name in ('constraints.txt', 'requirements.txt'):
        assert not re.search(r'://|--index|--find-links|\+cpu', (ROOT / name).read_text())


def test_colcon_finds_the_three_packages(tmp_path: Path) -> None:
    beside = Path(sys.executable).parent / 'colcon'
    colcon = str(beside) if beside.exists() else shutil.which('colcon')
    if colcon is None:
        pytest.skip('colcon is not installed')
    environment = {**os.environ, 'COLCON_HOME': str(tmp_path)}
    verbs = subprocess.run(
        [colcon, '--help'], env=environment, stdout=subprocess.PIPE, text=True
    ).stdout
    if not re.search(r'^ +list\b', verbs, re.MULTILINE):
        pytest.skip('colcon has no verb list: colcon-package-information is not installed')
    listed = subprocess.run(
        [colcon, '--log-base', os.devnull, 'list'],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert {tuple(line.split('\t')) for line in listed.splitlines()} == {
        ('av_td3_msgs', 'av_td3_msgs', '(ros.ament_cmake)'),
        ('av_td3_ros', '.', '(ros.ament_python)'),
        ('carla_msgs', 'carla_msgs', '(ros.ament_cmake)'),
    }
