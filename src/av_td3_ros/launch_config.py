"""
The config of a run that a launch file starts: parameter files, and what is laid over them.

A run folder holds it as ``config.yaml``, whoever started the run: what exports, evaluates or
judges a run reads there what its policy was shown.
"""

import atexit
import json
from pathlib import Path
import tempfile
from typing import Any, Dict, Mapping

import yaml

from av_td3_ros import graph, presets
from av_td3_ros.config import build_run, RunConfig, SHARED, without_shared_copies
from av_td3_ros.deployment.trained import SECTIONS
from av_td3_ros.options import ConfigError, flatten, nested, to_flat
from av_td3_ros.presets import read_yaml
from av_td3_ros.resources import share
from av_td3_ros.run_folder import written_config

CAMERA = 'sensor.camera.rgb'
TICK = 'fixed_delta_seconds'
# From it on the physics of CARLA does not keep up, s.
TICK_LIMIT = 0.1


def run_config(laid_over: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """
    Return the config of a training.

    :param laid_over: by node, parameters by dotted key that go before those of its file.
    :raises ConfigError: for a file that cannot be read, an unknown key, a wrong type or a value
        out of range; and where nodes are told different things of what they share.
    """
    values: Dict[str, Any] = {}
    told_by: Dict[str, str] = {}
    for spec in graph.nodes('training'):
        path = share('config', spec.file)
        for key, value in {**parameters(path), **laid_over.get(spec.name, {})}.items():
            if key.partition('.')[0] not in SHARED:
                values[f'{spec.name}.{key}'] = value
                continue
            if values.setdefault(key, value) != value:
                raise ConfigError(
                    f'{key} must be the same for every node, got {values[key]!r} for '
                    f'{told_by[key]} and {value!r} for {spec.name}; fix it in {path.parent}'
                )
            told_by.setdefault(key, spec.name)
    return build_run(values, str(share('config')))


def written_parameters(path: Path) -> Dict[str, Dict[str, Any]]:
    """
    Return by node the parameters that a run was told, by dotted key.

    :param path: ``config.yaml`` of the run.
    :raises ConfigError: where it cannot be read, or holds what no node would take.
    """
    return _by_node(flatten(read_yaml(path)), str(path))


def preset_parameters(name: str) -> Dict[str, Any]:
    """Return the trainer's parameters that a preset sets, by dotted key; none for ''."""
    values = presets.load(name) if name else {}
    return {key[len(presets.PREFIX) :]: value for key, value in values.items()}


def trained_parameters(checkpoint: Path) -> Dict[str, Dict[str, Any]]:
    """
    Return by node what the run of a checkpoint was told, as far as it is known here: the run may
    be of another version, and a ``config.yaml`` above it of another program.

    :param checkpoint: a run or checkpoint folder.
    :raises ConfigError: where its ``config.yaml`` cannot be read, or a value is out of range.
    """
    written = written_config(checkpoint)
    if written is None:
        return {}
    sections = read_yaml(Path(written))
    if not SECTIONS <= set(sections):
        return {}
    known = to_flat(RunConfig())
    values = {key: value for key, value in flatten(sections).items() if key in known}
    return _by_node(values, written)


def _by_node(values: Mapping[str, Any], where: str) -> Dict[str, Dict[str, Any]]:
    config = build_run(without_shared_copies(values), where)
    return {spec.name: to_flat(getattr(config, spec.name)) for spec in graph.nodes('training')}


def write_parameters(values: Mapping[str, Any]) -> str:
    """
    Return a file with parameters for any node; it lives as long as this process.

    As a file for any node: what ``launch_ros`` makes of a dict is for the node by name, and would
    go before every file for any node, whichever comes later.

    :param values: by dotted key.
    """
    with tempfile.NamedTemporaryFile(
        'w', prefix='av_td3_params_', suffix='.yaml', delete=False
    ) as file:
        yaml.safe_dump({'/**': {'ros__parameters': nested(values)}}, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name


def parameters(path: Path) -> Dict[str, Any]:
    """
    Return the parameters in a file that is for any node, by dotted key.

    :raises ConfigError: where it cannot be read.
    """
    try:
        return flatten(read_yaml(path)['/**']['ros__parameters'])
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(
            f'parameters must be below /**: ros__parameters:, got none in {path}'
        ) from None


def bridge_tick(told: Mapping[str, Any]) -> float:
    """
    Return the simulated time between two frames of the bridge, s: what a policy learns at.

    :param told: the simulator's parameters that go before those of its file.
    :raises ConfigError: where it is too long for CARLA.
    """
    path = share('config', graph.SIMULATOR.file)
    tick = {**parameters(path), **told}[TICK]
    if tick >= TICK_LIMIT:
        raise ConfigError(
            f'simulator.{TICK} must be below {TICK_LIMIT:g} s with CARLA, got {tick:g}; fix it in '
            f'the file of config:=, or in {path}; a policy that learned so cannot drive there'
        )
    return tick


def tick_alone(told: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what a drive on CARLA keeps of the simulator that its policy learned on."""
    return {key: value for key, value in told.items() if key == TICK}


def bridge_camera(path: Path) -> Dict[str, Any]:
    """
    Return the simulator's settings that tell of the camera in an objects definition of CARLA.

    :param path: file for ``carla_spawn_objects``.
    :raises ConfigError: where it has no camera on a vehicle.
    """
    try:
        objects = json.loads(path.read_text(encoding='utf-8'))['objects']
        sensors = [sensor for item in objects for sensor in item.get('sensors', ())]
        camera = next(sensor for sensor in sensors if sensor['type'] == CAMERA)
        return {
            'image_width': int(camera['image_size_x']),
            'image_height': int(camera['image_size_y']),
            'fov_deg': float(camera['fov']),
            'camera_x': float(camera['spawn_point']['x']),
            'camera_z': float(camera['spawn_point']['z']),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigError(
            f'objects definition must hold a vehicle with a {CAMERA}, its image_size_x, '
            f'image_size_y, fov and spawn_point, got {type(error).__name__} {error} in {path}'
        ) from None
