"""What stands for the simulator with CARLA: its ROS bridge, a vehicle, a route publisher."""

import atexit
import json
from pathlib import Path
import tempfile
from typing import Any, Dict, List, Mapping, MutableMapping

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import FindPackageShare

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.launch_config import bridge_tick
from av_td3_ros.resources import share

TOWN = 'Town01'
OBJECTS = share('config', 'carla_objects.json')


def carla(given: Mapping[str, str], world: MutableMapping[str, Any]) -> List[Any]:
    """
    Start the CARLA ROS bridge in lock-step, the vehicle with its sensors, and the route publisher.

    :param given: the arguments of the launch. :param world: the simulator's parameters; the town
        is put there where none of CARLA's is.
    :raises ConfigError: for a tick that CARLA cannot keep.
    """
    if world.get('map', SimulatorConfig.map) == SimulatorConfig.map:  # is no town of CARLA
        world['map'] = TOWN
    server = {'host': given['host'], 'port': given['port'], 'timeout': '20'}
    return [
        _include(
            'carla_ros_bridge',
            'carla_ros_bridge.launch.py',
            {
                **server,
                'town': world['map'],
                'synchronous_mode': 'True',
                'fixed_delta_seconds': str(bridge_tick(world)),
                'synchronous_mode_wait_for_vehicle_control_command': 'True',
                'ego_vehicle_role_name': f"['{given['role_name']}']",
            },
        ),
        _include(
            'carla_spawn_objects',
            'carla_spawn_objects.launch.py',
            {'objects_definition_file': _objects_file(given['role_name'])},
        ),
        _include(
            'carla_waypoint_publisher',
            'carla_waypoint_publisher.launch.py',
            {**server, 'role_name': given['role_name']},
        ),
    ]


def _include(package: str, file: str, arguments: Dict[str, str]) -> IncludeLaunchDescription:
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource([FindPackageShare(package), '/', file]),
        launch_arguments=list(arguments.items()),
    )


def _objects_file(role_name: str) -> str:
    """Return the objects definition with the vehicle's name in it."""
    objects = json.loads(OBJECTS.read_text())
    for item in objects['objects']:
        if item['type'].startswith('vehicle.'):
            item['id'] = role_name
    with tempfile.NamedTemporaryFile(
        'w', prefix='av_td3_objects_', suffix='.json', delete=False
    ) as file:
        json.dump(objects, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name
