"""
What an exported policy says about itself: observation, camera, action, network, training.

It is JSON, and everything that a vehicle needs to feed the policy as it was trained is in it. What
is read back is checked; what only informs (the training) is kept as it is.
"""

from dataclasses import asdict, dataclass
import json
import math
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import ACTION_NAMES, ObsSpec
from av_td3_ros.driving.preprocess import (
    HEADING_SCALE,
    LATERAL_SCALE,
    SPEED_SCALE,
    waypoint_scales,
    YAW_RATE_SCALE,
)
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.options import build, ConfigError, option, to_flat
from av_td3_ros.task_config import ObservationConfig

FORMAT = 1
# Inputs and outputs of the ONNX graph.
INPUTS, OUTPUTS = ('image', 'vector'), ('action', 'pre_tanh')
ACTIONS = {
    'steering': 'steering over its largest angle, left positive',
    'acceleration': 'throttle where positive, brake where negative',
}


class ArtefactError(ValueError):
    """An exported policy that must not drive; the text says what, got and expected."""


@dataclass(frozen=True)
class TrainingCamera:
    """The camera that a policy was trained with: a pinhole, looking forward."""

    width: int = option(256, 'columns', unit='px', low=1, high=16384)
    height: int = option(144, 'rows', unit='px', low=1, high=16384)
    fov_deg: float = option(120.0, 'horizontal field of view', unit='deg', low=1.0, high=179.0)
    x: float = option(2.0, 'forward of the vehicle origin', unit='m', low=-50.0, high=50.0)
    z: float = option(1.5, 'above the ground', unit='m', low=-50.0, high=50.0)
    period: float = option(0.05, 'time between two frames', unit='s', low=0.001, high=10.0)

    @classmethod
    def of(cls, simulator: SimulatorConfig) -> 'TrainingCamera':
        """Return the camera of a simulator's settings."""
        return cls(
            simulator.image_width,
            simulator.image_height,
            simulator.fov_deg,
            simulator.camera_x,
            simulator.camera_z,
            simulator.fixed_delta_seconds,
        )

    @property
    def focal_length(self) -> float:
        """Focal length, in pixels, of both axes; the principal point is the middle."""
        return self.width / (2.0 * math.tan(math.radians(self.fov_deg) / 2.0))


class Description(NamedTuple):
    """
    The checked part of a description.

    ``version``: of the policy in its run. ``observation``: every setting of the preprocessing.
    ``raw``: all of it, as JSON data.
    """

    version: int
    observation: ObservationConfig
    camera: TrainingCamera
    network: NetworkConfig
    raw: Dict[str, Any]

    @property
    def spec(self) -> ObsSpec:
        """Shape and meaning of an observation."""
        return self.observation.spec()


def describe(
    version: int,
    observation: ObservationConfig,
    camera: TrainingCamera,
    network: NetworkConfig,
    training: Mapping[str, Any],
) -> Dict[str, Any]:
    """
    Return a description as JSON data.

    :param version: of the policy in its run.
    :param observation: what it sees, and how that is made.
    :param camera: what it was trained with.
    :param network: what its networks are made of.
    :param training: where it comes from; not read back but shown.
    """
    spec = observation.spec()
    return {
        'format': FORMAT,
        'version': version,
        'observation': {
            'image': {
                'shape': list(spec.image_shape),
                'dtype': 'uint8',
                'meaning': 'grey frames, oldest first; the graph normalises them itself',
            },
            'vector': vector_entries(observation),
            'settings': asdict(observation),
        },
        'camera': {**asdict(camera), 'focal_length': camera.focal_length},
        'action': [
            {'name': name, 'range': [-1.0, 1.0], 'meaning': ACTIONS[name]} for name in ACTION_NAMES
        ],
        'network': asdict(network),
        'onnx': {'inputs': list(INPUTS), 'outputs': list(OUTPUTS)},
        'training': dict(training),
    }


def vector_entries(config: ObservationConfig) -> List[Dict[str, Any]]:
    """Return each entry of the vehicle-state vector: value = quantity / scale, cut to range."""
    entries = []
    for name in config.spec().vector:
        scale, unit, meaning = _entry(name, config)
        entries.append(
            {'name': name, 'scale': scale, 'unit': unit, 'range': [-1.0, 1.0], 'meaning': meaning}
        )
    return entries


def _entry(name: str, config: ObservationConfig) -> Tuple[float, str, str]:
    known = {
        'speed': (SPEED_SCALE, 'm/s', 'forward speed'),
        'yaw_rate': (YAW_RATE_SCALE, 'rad/s', 'yaw rate, left positive'),
        'last_steering': (1.0, '', 'steering of the last command, left positive'),
        'lateral_deviation': (LATERAL_SCALE, 'm', 'distance from the route, left positive'),
        'heading_error': (HEADING_SCALE, 'rad', 'angle to the route, left positive'),
    }
    if name in known:
        return known[name]
    if name.startswith('command_'):
        return 1.0, '', f'1 where the next junction asks for: {name[len("command_"):]}'
    _, number, axis = name.split('_')
    scale = float(waypoint_scales(config)[int(number)])
    return scale, 'm', f'{axis} of a route point, in the vehicle frame'


def parse(raw: Mapping[str, Any]) -> Description:
    """
    Check a description and return what drives.

    :param raw: JSON data of :func:`describe`.
    :raises ArtefactError: for another format, or where something is missing or does not fit.
    """
    version = raw.get('format')
    if version != FORMAT:
        raise ArtefactError(
            f'artefact must be of format {FORMAT}, got {shown(version)}; export the run again '
            'with this version of av_td3_ros'
        )
    where = 'the description of the artefact'
    try:
        camera = {key: value for key, value in raw['camera'].items() if key != 'focal_length'}
        found = Description(
            _version(raw['version']),
            build(ObservationConfig, complete(ObservationConfig, raw['observation']), where),
            build(TrainingCamera, camera, where),
            build(NetworkConfig, raw['network'], where),
            dict(raw),
        )
        actions = [str(action['name']) for action in raw['action']]
        vector = [str(entry['name']) for entry in raw['observation']['vector']]
        scales = [float(entry['scale']) for entry in raw['observation']['vector']]
        shape = [int(size) for size in raw['observation']['image']['shape']]
    except ConfigError as error:
        raise ArtefactError(shown(str(error), 300)) from None
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArtefactError(
            f'description of the artefact is unreadable: {shown(repr(error))}; export the run '
            'again'
        ) from None
    ours = vector_entries(found.observation)
    for what, got, expected in (
        ('action', actions, list(ACTION_NAMES)),
        ('image', shape, list(found.spec.image_shape)),
        ('vector', vector, [entry['name'] for entry in ours]),
        ('scales of the vector', scales, [entry['scale'] for entry in ours]),
    ):
        if got != expected:
            raise ArtefactError(
                f'{what} of the artefact must be {expected}, got {shown(got)}; export the run '
                'again with this version of av_td3_ros'
            )
    return found


def _version(value: Any) -> int:
    """
    Return a version that fits into the messages.

    :raises ValueError: where it does not.
    """
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError(f'version {shown(value)}')
    return value


def complete(cls: Any, observation: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Return the settings of an observation, none missing: a default could be another one here.

    :raises KeyError: for the first that is missing.
    """
    settings = dict(observation['settings'])
    for key in to_flat(cls()):
        settings[key]
    return settings


def check_observation(
    trained: ObservationConfig, here: ObservationConfig, what: str = 'the artefact'
) -> None:
    """
    Refuse a policy that was trained on another preprocessing.

    :param what: is to drive, for the text.
    :raises ArtefactError: with the settings that differ.
    """
    want, have = asdict(trained), asdict(here)
    differing = [
        f'observation.{key} {want[key]}, got {have[key]}' for key in want if want[key] != have[key]
    ]
    if differing:
        raise ArtefactError(
            f'{what} must be shown {", ".join(differing)}; set what it was trained with in '
            'perception.param.yaml and policy.param.yaml'
        )


def canonical(data: Any) -> str:
    """Return JSON data as the one text that is hashed and stored."""
    return json.dumps(data, sort_keys=True)


def shown(value: Any, limit: int = 160) -> str:
    """Return a value as text that is safe in a log line, whatever was read."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= limit else f'{text[:limit]}...'
