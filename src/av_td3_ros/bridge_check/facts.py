"""
What a bridge check has seen on the graph: plain numbers and words.

Collected by ``nodes/bridge_check*.py``, judged by the other modules here. A file of facts
(``av-td3 check bridge --save``) can be judged again without ROS and without the bridge.
"""

from dataclasses import asdict, dataclass, field, fields
import json
import math
from pathlib import Path
import typing
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

FORMAT = 1


class FactsError(ValueError):
    """A file that holds no facts of a bridge check."""


class Offer(NamedTuple):
    """One endpoint of somebody else. ``node``: its full name; ``type``: of its messages."""

    node: str
    type: str
    reliable: bool
    latched: bool


class Topic(NamedTuple):
    """What ``bridge/topics.py`` wants of a topic, and who publishes and who subscribes."""

    name: str
    type: str
    reliable: bool
    latched: bool
    publishers: Tuple[Offer, ...] = ()
    subscribers: Tuple[Offer, ...] = ()


class Expected(NamedTuple):
    """What the user's config says: pixels, degrees, seconds."""

    role_name: str = 'ego_vehicle'
    width: int = 256
    height: int = 144
    fov_deg: float = 120.0
    fixed_delta_seconds: float = 0.05
    control_timeout: float = 1.0


class Tick(NamedTuple):
    """One /carla/status message."""

    frame: int
    fixed_delta_seconds: float
    synchronous: bool
    running: bool


class Motion(NamedTuple):
    """
    One odometry message: stamp (ns), pose (m, rad; map), linear (m/s) and angular z (rad/s) twist.
    """

    stamp: int
    frame_id: str
    child_frame_id: str
    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    vx: float
    vy: float
    wz: float


class Status(NamedTuple):
    """One vehicle_status message: stamp (ns), speed (m/s), acceleration (m/s^2), last control."""

    stamp: int
    frame_id: str
    velocity: float
    ax: float
    ay: float
    az: float
    throttle: float
    brake: float
    steer: float


class Picture(NamedTuple):
    """
    One image message without its pixels.

    ``size``: bytes. ``spread``: difference of the brightest and the darkest byte of the colours.
    ``alpha``: least fourth byte, -1 where there is none. ``checksum``: of all bytes.
    """

    stamp: int
    frame_id: str
    encoding: str
    width: int
    height: int
    step: int
    size: int
    big_endian: bool
    spread: int = -1
    alpha: int = -1
    checksum: int = 0


class Intrinsics(NamedTuple):
    """One camera_info message: ``k`` has 9 numbers, ``p`` 12."""

    stamp: int
    frame_id: str
    width: int
    height: int
    model: str
    d: Tuple[float, ...]
    k: Tuple[float, ...]
    p: Tuple[float, ...]


class Hit(NamedTuple):
    """One collision message; ``tick``: the newest stamp (ns) known when it arrived."""

    stamp: int
    frame_id: str
    actor: int
    impulse: Tuple[float, float, float]
    tick: int


class Crossing(NamedTuple):
    """One lane_invasion message; ``tick``: the newest stamp (ns) known when it arrived."""

    stamp: int
    frame_id: str
    codes: Tuple[int, ...]
    tick: int


class Inertial(NamedTuple):
    """One message of an IMU: acceleration (m/s^2) and yaw rate (rad/s)."""

    stamp: int
    az: float
    wz: float


class Actor(NamedTuple):
    """One entry of /carla/actor_list."""

    id: int
    parent_id: int
    type: str
    rolename: str


class Vehicle(NamedTuple):
    """vehicle_info: largest steering angle (rad) and radius (cm) of its wheels."""

    id: int
    rolename: str
    max_steer: float
    radius: float


class Silence(NamedTuple):
    """Nothing was commanded for ``seconds``; ``ticks`` came, the pauses between them in s."""

    seconds: float
    ticks: int
    shortest_gap: float
    longest_gap: float


class Handshake(NamedTuple):
    """
    So many commands, each after a new frame, and the ticks they brought.

    ``sent``: the brake of every command; ``applied``: the brake of every vehicle_status since.
    """

    commands: int
    ticks: int
    sent: Tuple[float, ...]
    applied: Tuple[float, ...]


class Override(NamedTuple):
    """
    Ticks after an automatic command under manual override, then after a manual one.

    ``released``: after an automatic one once the override was off again.
    """

    automatic: int
    manual: int
    released: int


class Pause(NamedTuple):
    """
    Ticks while paused, after each STEP_ONCE and after PLAY.

    ``told``: whether the status said that the world stands, and then that it runs.
    """

    ticks: int
    steps: Tuple[int, ...]
    played: int
    told: Tuple[bool, bool]


class Reset(NamedTuple):
    """
    A set_transform on the move, then velocity nought and the brake.

    Asked and found poses are x, y (m), yaw (rad). ``arrived``: ticks until there, -1 for never.
    Speeds (m/s): before, in the first frame there, and 20 ticks after the velocity was set to 0.
    """

    asked: Tuple[float, float, float]
    before: Tuple[float, float, float]
    found: Tuple[float, float, float]
    arrived: int
    speed_before: float
    speed_there: float
    speed_after: float


class Thrown(NamedTuple):
    """A set_target_velocity of ``asked`` m/s ahead, and vx, vy (m/s) in the frames after it."""

    asked: float
    found: Tuple[Tuple[float, float], ...]


class Route(NamedTuple):
    """The path after a goal: points, median spacing (m), distance of its begin from us (m)."""

    points: int
    spacing: float
    begin: float
    frame_id: str


@dataclass
class Facts:
    """
    All of it. What is None or empty was not seen.

    ``counts``: messages of each topic in the ``drive_ticks`` frames of the drive, which took
    ``drive_seconds`` of real time. ``spans``: its
    parts, as places in the odometry. ``rest``: the last stamps (ns) once it had come to rest.
    ``speeds``: pairs to compare. ``unmade``: why an experiment was not made.
    """

    expected: Expected = Expected()
    topics: Dict[str, Topic] = field(default_factory=dict)
    roles: List[str] = field(default_factory=list)
    tf_publishers: int = 0
    ticks: List[Tick] = field(default_factory=list)
    clock: List[int] = field(default_factory=list)
    odometry: List[Motion] = field(default_factory=list)
    speedometer: List[float] = field(default_factory=list)
    vehicle_status: List[Status] = field(default_factory=list)
    image: List[Picture] = field(default_factory=list)
    camera_info: List[Intrinsics] = field(default_factory=list)
    segmentation: List[Picture] = field(default_factory=list)
    depth: List[Picture] = field(default_factory=list)
    collision: List[Hit] = field(default_factory=list)
    lane_invasion: List[Crossing] = field(default_factory=list)
    imu: List[Inertial] = field(default_factory=list)
    actors: List[Actor] = field(default_factory=list)
    vehicle_info: Optional[Vehicle] = None
    map_name: Optional[str] = None
    opendrive: int = 0
    counts: Dict[str, int] = field(default_factory=dict)
    drive_ticks: int = 0
    drive_seconds: float = 0.0
    spans: Dict[str, Tuple[int, int]] = field(default_factory=dict)
    speeds: Dict[str, Tuple[float, float]] = field(default_factory=dict)
    rest: Dict[str, int] = field(default_factory=dict)
    silence: Optional[Silence] = None
    handshake: Optional[Handshake] = None
    override: Optional[Override] = None
    pause: Optional[Pause] = None
    reset: Optional[Reset] = None
    thrown: Optional[Thrown] = None
    route: Optional[Route] = None
    unmade: Dict[str, str] = field(default_factory=dict)

    @property
    def tick_ns(self) -> int:
        """Simulated time of a tick as configured, ns."""
        return round(self.expected.fixed_delta_seconds * 1e9)

    def span(self, name: str) -> List[Motion]:
        """
        Return the odometry of one part of the drive, once a stamp; empty where it was not driven.

        A message that comes twice would be a frame without a way.
        """
        start, end = self.spans.get(name, (0, 0))
        return [
            motion
            for place, motion in enumerate(self.odometry[start:end], start)
            if place == start or motion.stamp != self.odometry[place - 1].stamp
        ]


def save(facts: Facts, path: Path) -> None:
    """Write facts as JSON."""
    path.write_text(json.dumps({'format': FORMAT, **asdict(facts)}, allow_nan=True) + '\n')


def load(path: Path) -> Facts:
    """
    Read facts back.

    :raises FactsError: where the file does not hold them.
    """
    try:
        data = json.loads(path.read_text())
        if data.pop('format') != FORMAT:
            raise ValueError(f'another format than {FORMAT}')
        hints = typing.get_type_hints(Facts)
        known = {item.name for item in fields(Facts)}
        if data.keys() - known:
            raise ValueError(f'unknown keys {sorted(data.keys() - known)}')
        return Facts(**{name: _read(hints[name], value) for name, value in data.items()})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FactsError(
            f'{path} must be a file of `av-td3 check bridge --save`, got {error!r}'
        ) from None


def _read(kind: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        return None if value is None else _read(inner[0], value)
    if origin is list:
        return [_read(inner[0], item) for item in value]
    if origin is dict:
        return {key: _read(inner[1], item) for key, item in value.items()}
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_read(one, item) for one, item in zip(kinds, value))
    if hasattr(kind, '_fields'):
        hints = typing.get_type_hints(kind)
        # A named tuple is a list in JSON.
        return kind(*(_read(hints[name], item) for name, item in zip(kind._fields, value)))
    if kind is float and value is not None:
        return float(value)
    if not isinstance(value, kind):
        raise TypeError(f'{value!r} is no {kind.__name__}')
    return value


def finite(*values: float) -> bool:
    """Return whether all are finite."""
    return all(math.isfinite(value) for value in values)
