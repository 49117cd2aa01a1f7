"""What the policy sees, is rewarded for and is ended by; ``config.py`` puts it into the nodes."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, NamedTuple, Tuple

from av_td3_ros.datatypes import COMMAND_NAMES, ObsSpec, SpecError
from av_td3_ros.options import ConfigError, option

# Settings that are an entry of the vector each, in its order.
SINGLE_ENTRIES = ('speed', 'yaw_rate', 'last_steering', 'lateral_deviation', 'heading_error')


@dataclass(frozen=True)
class ObservationConfig:
    """What the policy sees. Shared by perception, policy and trainer."""

    height: int = option(84, 'rows of the grey frame', unit='px', low=36, high=512)
    width: int = option(84, 'columns of the grey frame', unit='px', low=36, high=512)
    stack: int = option(4, 'frames in a stack, oldest first', low=1, high=16)
    crop_top: float = option(
        0.35, 'share of the camera image cut off above (sky)', low=0.0, high=0.9
    )
    speed: bool = option(True, 'vector: forward speed, over 10 m/s')
    yaw_rate: bool = option(True, 'vector: yaw rate, left positive, over 1 rad/s')
    last_steering: bool = option(True, 'vector: steering of the last command')
    lateral_deviation: bool = option(
        True, 'vector: distance from the route, left positive, over 2 m'
    )
    heading_error: bool = option(True, 'vector: angle to the route, left positive, over pi/4')
    command: bool = option(
        False,
        'vector: what to do at the next junction, one of four entries is 1: follow, left, right, '
        'straight; needs the map of /carla/world_info',
    )
    waypoints: int = option(
        10,
        'vector: route points ahead, (x, y) in the vehicle frame, each over its distance along '
        'the route; 0 for none',
        low=0,
        high=50,
    )
    waypoint_spacing: float = option(
        2.0, 'distance between those route points', unit='m', low=0.5, high=10.0
    )

    def spec(self) -> ObsSpec:
        """Return the observation specification that these settings describe."""
        names = [name for name in SINGLE_ENTRIES if getattr(self, name)]
        names += COMMAND_NAMES if self.command else ()
        names += [f'waypoint_{i}_{axis}' for i in range(self.waypoints) for axis in 'xy']
        spacing = self.waypoint_spacing if self.waypoints else 0.0
        return ObsSpec(self.stack, self.height, self.width, tuple(names), self.crop_top, spacing)

    @classmethod
    def of(cls, spec: ObsSpec) -> 'ObservationConfig':
        """
        Return the settings that make a specification.

        :raises SpecError: where none do.
        """
        names = spec.vector
        config = cls(
            height=spec.height,
            width=spec.width,
            stack=spec.stack,
            crop_top=spec.crop_top,
            command=set(COMMAND_NAMES) <= set(names),
            waypoints=sum(name.startswith('waypoint_') for name in names) // 2,
            waypoint_spacing=spec.waypoint_spacing or cls.waypoint_spacing,
            **{name: name in names for name in SINGLE_ENTRIES},
        )
        if config.spec() != spec:
            raise SpecError(f'observation must be one that settings can make, got {spec}')
        return config


@dataclass(frozen=True)
class CameraConfig:
    """The camera that the policy was trained with, and how far that of a vehicle may differ."""

    info: str = option(
        'auto',
        'in a deployment: auto compares CameraInfo with this camera where somebody publishes it; '
        'required does nothing without it; ignored takes the image as that of this camera',
        choices=('auto', 'required', 'ignored'),
    )
    width: int = option(256, 'columns in training', unit='px', low=32, high=4096)
    height: int = option(144, 'rows in training', unit='px', low=32, high=4096)
    fov_deg: float = option(
        120.0, 'horizontal field of view in training', unit='deg', low=20.0, high=150.0
    )
    max_uncovered: float = option(
        0.02,
        'largest share of the training view that the camera need not see',
        low=0.0,
        high=0.5,
    )
    rectified: bool = option(
        False, 'the image is rectified (image_rect): P of CameraInfo holds, without distortion'
    )
    transport: str = option(
        'raw',
        'raw: sensor_msgs/Image; compressed: CompressedImage on <image topic>/compressed',
        choices=('raw', 'compressed'),
    )
    rate: float = option(
        20.0,
        'images per second in training; a deployment thins faster streams to it by stamp, and '
        'refuses those over 5 times as fast',
        unit='Hz',
        low=1.0,
        high=200.0,
    )
    min_rate: float = option(
        10.0,
        'a deployment does not drive on fewer images per second',
        unit='Hz',
        low=0.5,
        high=200.0,
    )

    def validate(self) -> None:
        """:raises ConfigError: where no stream could be fast enough."""
        if self.min_rate > self.rate:
            raise ConfigError(
                f'min_rate must be <= rate, got {self.min_rate:g} > {self.rate:g} Hz'
            )


class ObservationPreset(NamedTuple):
    """A choice of what the policy sees: what it is for, and its settings of ``observation``."""

    description: str
    values: Dict[str, Any]


OBSERVATIONS = {
    'waypoints': ObservationPreset(
        'image, speed, yaw rate, last steering, place beside the route, its next 10 points '
        '(default)',
        {
            'speed': True,
            'yaw_rate': True,
            'last_steering': True,
            'lateral_deviation': True,
            'heading_error': True,
            'command': False,
            'waypoints': 10,
            'waypoint_spacing': 2.0,
        },
    ),
    'camera': ObservationPreset(
        'image, speed, last steering and what to do at the next junction: the policy must see',
        {
            'speed': True,
            'yaw_rate': False,
            'last_steering': True,
            'lateral_deviation': False,
            'heading_error': False,
            'command': True,
            'waypoints': 0,
        },
    ),
}


# What the judge of an episode tells the learner of the vehicle beside its route, as it tells the
# reward: an observation without what every policy sees.
PRIVILEGED = ObservationConfig(speed=False, last_steering=False)
PRIVILEGED_NAMES = PRIVILEGED.spec().vector


def unseen(spec: ObsSpec) -> Tuple[str, ...]:
    """Return what of ``PRIVILEGED_NAMES`` a policy of that specification does not see itself."""
    seen = set(spec.vector)
    if spec.waypoint_spacing != PRIVILEGED.waypoint_spacing:  # other points of the same names
        seen = {name for name in seen if not name.startswith('waypoint_')}
    return tuple(name for name in PRIVILEGED_NAMES if name not in seen)


def observation_preset(name: str) -> Dict[str, Any]:
    """
    Return the settings of a named observation, with keys as in a config file.

    :raises ConfigError: for a name that is not known.
    """
    if name not in OBSERVATIONS:
        raise ConfigError(
            f"observation must be one of {', '.join(OBSERVATIONS)}, got '{name}'; single entries "
            'are set as observation.<key>, see docs/parameters.md'
        )
    return {f'observation.{key}': value for key, value in OBSERVATIONS[name].values.items()}


def difference(trained: ObsSpec, asked: ObsSpec) -> str:
    """
    Return in what a policy sees otherwise than is asked for.

    By the names of ``OBSERVATIONS`` where either is one, and by every other setting that differs.

    :raises SpecError: for a specification that no settings make.
    """
    before, now = vars(ObservationConfig.of(trained)), vars(ObservationConfig.of(asked))
    keys = [key for key in before if before[key] != now[key]]
    names = [_name(values) for values in (before, now)]
    told = []
    if all(names) and names[0] != names[1]:
        told.append(f'trained with {names[0]}, asked for {names[1]}')
        keys = [key for key in keys if key not in OBSERVATIONS['waypoints'].values]
    told += [f'trained with {key} {before[key]}, asked for {now[key]}'.lower() for key in keys]
    return '; '.join(told)


def _name(values: Mapping[str, Any]) -> str:
    """Return the name of an observation, or '' where it has none."""
    for name, preset in OBSERVATIONS.items():
        if all(values[key] == value for key, value in preset.values.items()):
            return name
    return ''


def _weight(default: float, doc: str) -> float:
    return option(default, doc, low=0.0, high=100.0)


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the reward terms (docs/design/task.md); a term of weight 0 is not computed."""

    progress: float = _weight(0.6, 'metres along the route, over those at target speed')
    lateral_deviation: float = _weight(0.25, 'penalty: |distance from the route| over 2 m')
    heading_error: float = _weight(0.15, 'penalty: |angle to the route| over pi/2')
    steering_change: float = _weight(0.05, 'penalty: |change of steering|')
    overspeed: float = _weight(1.0, 'penalty: excess over the target speed, over that speed')
    collision: float = _weight(1.0, 'penalty: an ending by collision')
    lane_exit: float = _weight(1.0, 'penalty: an ending by leaving the lane')
    off_road: float = _weight(1.0, 'penalty: an ending beside the road')
    wrong_way: float = _weight(1.0, 'penalty: an ending against the route')
    standing_still: float = _weight(1.0, 'penalty: an ending by standing still')
    goal: float = _weight(1.0, 'bonus: the goal is reached')
    waypoint: float = _weight(0.0, 'bonus: 2 m more of the route are behind the vehicle')
    goal_distance: float = _weight(0.0, 'potential-based shaping by the way that is left')
    efficiency: float = _weight(0.0, 'nearness of the speed to the target speed')
    jerk: float = _weight(0.0, 'penalty: |jerk| over its limit')
    lateral_acceleration: float = _weight(0.0, 'penalty: |lateral acceleration| over its limit')
    perot: float = _weight(0.0, 'speed (cos heading error - distance), Perot et al.')
    potential_field: float = _weight(0.0, 'penalty: edges 2 m beside the route repel within 1 m')
    roach: float = _weight(0.0, 'the reward of the Roach expert')
    target_speed: float = option(
        8.33, 'speed that earns full progress', unit='m/s', low=1.0, high=40.0
    )
    jerk_limit: float = option(
        5.0, 'jerk that costs all of its weight', unit='m/s^3', low=0.1, high=1000.0
    )
    lateral_acceleration_limit: float = option(
        3.0, 'lateral acceleration that costs all of its weight', unit='m/s^2', low=0.1, high=50.0
    )
    shaping_discount: float = option(
        0.97,
        'discount of goal_distance; that of the learner, or the best policy is another',
        low=0.0,
        high=0.9999,
    )


@dataclass(frozen=True)
class TerminationConfig:
    """When an episode ends."""

    max_steps: int = option(1000, 'steps until the episode is truncated', low=10, high=100_000)
    goal_distance: float = option(
        3.0,
        'distance to the end of the route that counts as reached',
        unit='m',
        low=0.5,
        high=20.0,
    )
    lane_exit: float = option(
        2.0, 'distance from the route that ends the episode at once', unit='m', low=0.5, high=50.0
    )
    off_road_time: float = option(
        3.0, 'time beside the road that ends the episode', unit='s', low=0.1, high=60.0
    )
    wrong_way_time: float = option(
        5.0, 'time against the route that ends the episode', unit='s', low=0.1, high=60.0
    )
    standing_time: float = option(
        4.0, 'time below 0.5 m/s that ends the episode', unit='s', low=0.5, high=600.0
    )
    standing_time_in_traffic: float = option(
        20.0,
        'the same where there are other vehicles, which one may have to wait for',
        unit='s',
        low=0.5,
        high=600.0,
    )
