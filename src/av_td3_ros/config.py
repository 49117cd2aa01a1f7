"""
Every setting, once: default, type, range, unit and meaning.

Each node has one frozen dataclass. ROS parameters, the YAML files in ``config/``, ``--set`` on the
command line and the tables in the docs are all made from these fields.
"""

from dataclasses import dataclass, fields
from typing import Any, Dict, Mapping, Tuple, Type

from av_td3_ros.gate_config import GateConfig, VehicleConfig
from av_td3_ros.learning_config import (
    ExplorationConfig,
    HealthConfig,
    LearnerConfig,
    ReplayConfig,
)
from av_td3_ros.options import build, ConfigError, flatten, group, option, options
from av_td3_ros.task_config import (
    CameraConfig,
    ObservationConfig,
    RewardConfig,
    TerminationConfig,
)

# Settings of several nodes, given once at the top.
SHARED = ('role_name', 'observation')

# Those of sim/weather.py, and one that draws.
WEATHERS = (
    'clear_noon',
    'cloudy_noon',
    'wet_noon',
    'hard_rain_noon',
    'clear_sunset',
    'hard_rain_sunset',
    'foggy_noon',
    'random',
)

# Between the shortest and the longest route, m. Routes end at a point of a lane; within a lane
# they are up to 1 m apart, where two are joined up to 2 m (driving/road_map.py).
LENGTHS_APART = 2.0


def role_name() -> str:
    """Declare the vehicle's name."""
    return option('ego_vehicle', 'name of the vehicle in every /carla/<role_name>/... topic')


def priority() -> int:
    """Declare how soon a process is served."""
    return option(
        0,
        'real-time priority (SCHED_FIFO) of the process, so that no frame waits for what else is '
        'computed; 0: none. Where the system refuses, the node says so and drives without',
        low=0,
        high=99,
    )


@dataclass(frozen=True)
class SimulatorConfig:
    """The embedded simulator, which speaks the CARLA ROS bridge's contract."""

    role_name: str = role_name()
    map: str = option(
        'town',
        "'town' (the shipped one), 'random_town:SEED', 'random_town:FIRST-LAST' (up to 64 of them "
        'side by side) or the path of an OpenDRIVE file',
    )
    seed: int = option(0, 'seed of scenery, traffic, weather and first pose', low=0)
    first_episode: int = option(
        0, 'episodes driven before: traffic and weather are drawn anew behind them', low=0
    )
    vehicles: int = option(0, 'other vehicles in traffic', low=0, high=100)
    weather: str = option(
        'clear_noon',
        'weather at the start; random: another one, with exposure and sensor noise, after every '
        'reset',
        choices=WEATHERS,
    )
    renderer: str = option(
        'software',
        'software; gpu by EGL; or auto: a GPU where there is one. Pixels differ a little',
        choices=('software', 'gpu', 'auto'),
    )
    fixed_delta_seconds: float = option(
        0.05, 'simulated time of a tick', unit='s', low=0.005, high=0.1
    )
    image_width: int = option(256, 'columns of the camera', unit='px', low=32, high=1920)
    image_height: int = option(144, 'rows of the camera', unit='px', low=32, high=1080)
    fov_deg: float = option(120.0, 'horizontal field of view', unit='deg', low=20.0, high=150.0)
    camera_x: float = option(
        2.0, 'camera position forward of the vehicle origin', unit='m', low=-5.0, high=5.0
    )
    camera_z: float = option(1.5, 'camera position above the ground', unit='m', low=0.2, high=5.0)
    segmentation: bool = option(False, 'publish the semantic camera too, beside the front camera')
    depth: bool = option(False, 'publish the depth camera too, beside the front camera')
    wait_for_vehicle_control_command: bool = option(
        True, 'one tick per command (lock-step); false: tick in real time'
    )
    control_timeout: float = option(
        1.0,
        'longest wait for a command before ticking anyway, as the bridge does',
        unit='s',
        low=0.05,
        high=10.0,
    )


@dataclass(frozen=True)
class PerceptionConfig:
    """Camera image and odometry to observation."""

    role_name: str = role_name()
    observation: ObservationConfig = group(ObservationConfig)
    episodes: bool = option(
        True,
        'number observations by the episode manager; false: deployment, drive '
        'whenever there is data',
    )
    image_timeout: float = option(
        1.0, 'silence of the camera that counts as a fault', unit='s', low=0.1, high=10.0
    )
    frozen_distance: float = option(
        2.0,
        'way under one picture, equal to the bit, after which the camera counts as hanging and '
        'nothing is driven; 0: never',
        unit='m',
        low=0.0,
        high=100.0,
    )
    route_end: float = option(
        3.0,
        'deployment: way left on the route at which nothing is driven any more',
        unit='m',
        low=0.0,
        high=100.0,
    )
    route_distance: float = option(
        2.0,
        'deployment: distance from the route beyond which nothing is driven; a policy knows none '
        'beyond termination.lane_exit of its training',
        unit='m',
        low=0.5,
        high=50.0,
    )
    camera: CameraConfig = group(CameraConfig)
    artefact: str = option(
        '',
        'file of `av-td3 export` that the policy drives with; its camera holds instead of that of '
        'camera.width, height, fov_deg and rate',
    )
    checkpoint: str = option(
        '',
        'deployment: or the checkpoint folder; the camera is that of the config.yaml of its run',
    )
    priority: int = priority()


@dataclass(frozen=True)
class PolicyConfig:
    """Observation to vehicle command."""

    role_name: str = role_name()
    observation: ObservationConfig = group(ObservationConfig)
    checkpoint: str = option('', 'checkpoint folder to drive with; empty: wait for the trainer')
    accept_weights: bool = option(
        True, 'adopt weights from the trainer; false: keep the checkpoint'
    )
    artefact: str = option(
        '',
        'file of `av-td3 export` to drive with, instead of a checkpoint; weights from a trainer '
        'are not listened to then',
    )
    engine: str = option(
        'onnx',
        'what runs it: ONNX Runtime, which needs no torch, or torch',
        choices=('onnx', 'torch'),
    )
    engine_threads: int = option(
        1, 'threads of that engine, or of torch for a checkpoint', low=1, high=64
    )
    lock_step: bool = option(
        True,
        'the simulation waits for one command per frame; false: it runs on, as a vehicle does',
    )
    seed: int = option(0, 'seed of the exploration noise', low=0)
    priority: int = priority()
    output: str = option(
        'carla',
        "what commands are: carla: the bridge's control; twist: speed and yaw rate; ackermann, "
        'autoware: speed, acceleration and steering angle',
        choices=('carla', 'twist', 'ackermann', 'autoware'),
    )
    vehicle: VehicleConfig = group(VehicleConfig)
    gate: GateConfig = group(GateConfig)


@dataclass(frozen=True)
class EpisodeConfig:
    """Routes, reward and the end of episodes."""

    role_name: str = role_name()
    seed: int = option(0, 'seed of the routes', low=0)
    first_route: int = option(0, 'training: number of the first route', low=0)
    route_length_min: float = option(80.0, 'shortest route', unit='m', low=20.0, high=5000.0)
    route_length_max: float = option(200.0, 'longest route', unit='m', low=20.0, high=5000.0)
    routes: str = option(
        'training',
        'where routes start and end: training leaves out one road in five, held_out has those '
        'alone, all makes no difference',
        choices=('training', 'held_out', 'all'),
    )
    turning_share: float = option(
        0.0,
        'a curriculum: share of random routes in training that are cut to one turn, which a '
        'drive through a town has few of: at most 30 m before it, at most 40 m behind it; a '
        'policy is measured on whole ones',
        low=0.0,
        high=1.0,
    )
    route_file: str = option('', 'file of the CARLA leaderboard; its routes, in turn, instead')
    start_in_evaluation: bool = option(False, 'start in evaluation instead of training')
    reset_timeout: float = option(
        10.0,
        'simulated time that a reset may take before it is asked for again',
        unit='s',
        low=1.0,
        high=60.0,
    )
    pacing_timeout: float = option(
        0.8,
        'longest wait for the trainer before a step goes on without it; '
        'below the 1 s of the bridge',
        unit='s',
        low=0.0,
        high=0.95,
    )
    reward: RewardConfig = group(RewardConfig)
    termination: TerminationConfig = group(TerminationConfig)

    def validate(self) -> None:
        """:raises ConfigError: where hardly any route is as long as is asked for."""
        if self.route_length_min > self.route_length_max - LENGTHS_APART:
            raise ConfigError(
                f'route_length_min must be <= route_length_max - {LENGTHS_APART:g} m, got '
                f'{self.route_length_min:g} and {self.route_length_max:g}'
            )


@dataclass(frozen=True)
class TrainerConfig:
    """The learner, its replay and its run folder."""

    run_dir: str = option('', 'folder of this run; must be writable')
    observation: ObservationConfig = group(ObservationConfig)
    resume: bool = option(False, 'go on from the newest checkpoint of run_dir')
    steps: int = option(20000, 'environment steps of the whole run', low=10, high=1_000_000_000)
    seed: int = option(0, 'seed of networks, sampling and noise', low=0)
    device: str = option('cpu', 'torch device', choices=('cpu', 'cuda'))
    precision: str = option(
        'auto',
        'arithmetic of the encoders: auto measures at the start and takes the faster',
        choices=('auto', 'fp32', 'bf16'),
    )
    threads: int = option(
        0,
        'torch threads; 0 for one per core less one for the simulation, at most 4',
        low=0,
        high=256,
    )
    update_after: int = option(
        1000, 'environment steps before the first update', low=0, high=10_000_000
    )
    update_every: int = option(
        4, 'environment steps between two rounds of updates', low=1, high=10_000
    )
    updates_per_round: int = option(
        1, 'updates in a round; the graph is paced to it', low=1, high=10_000
    )
    max_lead: int = option(8, 'steps that the graph may be ahead of the learner', low=1, high=1000)
    publish_every: int = option(10, 'updates between two published weights', low=1, high=100_000)
    checkpoint_every: int = option(
        1000, 'environment steps between two checkpoints', low=10, high=100_000_000
    )
    log_every: int = option(25, 'updates between two records of the metrics', low=1, high=100_000)
    learner: LearnerConfig = group(LearnerConfig)
    replay: ReplayConfig = group(ReplayConfig)
    exploration: ExplorationConfig = group(ExplorationConfig)
    health: HealthConfig = group(HealthConfig)

    def validate(self) -> None:
        """:raises ConfigError: where a batch cannot be filled."""
        batch, capacity = self.learner.batch_size, self.replay.capacity
        if batch > capacity - self.observation.stack:  # the oldest lack frames of their stack
            raise ConfigError(
                'learner.batch_size must be <= replay.capacity - observation.stack, got '
                f'{batch} > {capacity} - {self.observation.stack}'
            )


@dataclass(frozen=True)
class RunConfig:
    """A whole graph: what is shared, then one section per node."""

    role_name: str = role_name()
    observation: ObservationConfig = group(ObservationConfig)
    simulator: SimulatorConfig = group(SimulatorConfig)
    perception: PerceptionConfig = group(PerceptionConfig)
    policy: PolicyConfig = group(PolicyConfig)
    episode_manager: EpisodeConfig = group(EpisodeConfig)
    trainer: TrainerConfig = group(TrainerConfig)

    def validate(self) -> None:
        """:raises ConfigError: where the shaping would change which policy is the best."""
        reward, discount = self.episode_manager.reward, self.trainer.learner.discount
        if reward.goal_distance and reward.shaping_discount != discount:
            raise ConfigError(
                'episode_manager.reward.shaping_discount must be trainer.learner.discount where '
                f'goal_distance has a weight, got {reward.shaping_discount} and {discount}'
            )


def build_run(values: Mapping[str, Any], where: str) -> RunConfig:
    """
    Make the config of a whole graph; shared settings reach every node that has them.

    :raises ConfigError: as :func:`build`, and where a node's section sets a shared key.
    """
    flat = flatten(values)
    for key in flat:
        section, _, rest = key.partition('.')
        if rest and section not in SHARED and rest.split('.')[0] in SHARED:
            raise ConfigError(
                f"'{key}' is shared by several nodes; set '{rest}' at the top of {where}"
            )
    known = {item.key for item in options(RunConfig)}
    copies = {
        copy: value
        for key, value in flat.items()
        if key.partition('.')[0] in SHARED
        for section in fields(RunConfig)
        if (copy := f'{section.name}.{key}') in known
    }
    return build(RunConfig, {**flat, **copies}, where)


def without_shared_copies(values: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Drop the copies of shared settings that a written ``config.yaml`` holds in its node sections.

    :param values: by dotted key.
    """
    kept = {}
    for key, value in values.items():
        section, _, rest = key.partition('.')
        shared = rest.split('.')[0] in SHARED
        if not (shared and section not in SHARED and values.get(rest) == value):
            kept[key] = value
    return kept


def parse_assignment(text: str, cls: Type[Any] = RunConfig) -> Tuple[str, Any]:
    """
    Read ``key=value`` as given to ``--set``.

    :raises ConfigError: for a missing ``=``, an unknown key or a value of another type.
    """
    where = '--set'
    key, equals, raw = text.partition('=')
    if not equals:
        raise ConfigError(f"--set must be KEY=VALUE, got '{text}'")
    known = {item.key: item for item in options(cls)}
    if key not in known:
        build(cls, {key: raw}, where)
    kind = known[key].type
    try:
        if kind is bool:
            return key, {'true': True, 'false': False}[raw.lower()]
        return key, kind(raw)
    except (KeyError, ValueError):
        raise ConfigError(
            f"{key} must be {kind.__name__}, got '{raw}'; fix it in {where}"
        ) from None
