"""
The vocabulary that every part shares: observations, actions, poses, controls and outcomes.

Axes are REP-103: x forward, y left, z up; yaw counter-clockwise; steering positive to the left. SI
units.
"""

from dataclasses import asdict, dataclass
from enum import IntEnum
import hashlib
import json
import math
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

ACTION_NAMES = ('steering', 'acceleration')
ACTION_SIZE = len(ACTION_NAMES)


class Command(IntEnum):
    """What to do at the next junction, as a navigator says it."""

    FOLLOW = 0
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3


COMMAND_NAMES = tuple(f'command_{command.name.lower()}' for command in Command)


class SpecError(ValueError):
    """Data or weights that do not fit the specification in force."""


class Outcome(IntEnum):
    """How a step ended; the values are those of ``av_td3_msgs/Transition``."""

    CONTINUES = 0
    TERMINATED = 1
    TRUNCATED = 2


class Pose(NamedTuple):
    """Position in metres and attitude in radians, in the map frame."""

    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


class Control(NamedTuple):
    """
    What a vehicle is told: throttle and brake in [0, 1], steering in [-1, 1], positive left.

    ``gear`` counts where ``manual_gear_shift`` is set: -1 reverse, 0 neutral, 1 and up forward.
    """

    throttle: float = 0.0
    brake: float = 0.0
    steering: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    gear: int = 0
    manual_gear_shift: bool = False


class VehicleState(NamedTuple):
    """
    Motion of a vehicle: pose, forward speed (m/s, signed), yaw rate (rad/s) and lateral speed
    (m/s, positive left), both speeds at the pose and in the vehicle frame.
    """

    pose: Pose
    speed: float = 0.0
    yaw_rate: float = 0.0
    lateral_speed: float = 0.0


class Observation(NamedTuple):
    """
    What the policy sees.

    ``image``: (stack, height, width) uint8, grey, oldest first. ``vector``: (n,) float32,
    normalised.
    """

    image: np.ndarray
    vector: np.ndarray


@dataclass(frozen=True)
class ObsSpec:
    """
    The shape and meaning of an observation.

    :param stack: grey frames in a stack, oldest first.
    :param height: rows of a frame.
    :param width: columns of a frame.
    :param vector: name of every entry of the vehicle-state vector, in order.
    :param crop_top: share of the camera image that is cut off above.
    :param waypoint_spacing: distance between the route points of the vector, m; 0 without any.
    """

    stack: int
    height: int
    width: int
    vector: Tuple[str, ...]
    crop_top: float = 0.0
    waypoint_spacing: float = 0.0

    @property
    def frame_shape(self) -> Tuple[int, int]:
        """Shape of one frame, (height, width)."""
        return self.height, self.width

    @property
    def image_shape(self) -> Tuple[int, int, int]:
        """Shape of a stack, (stack, height, width)."""
        return self.stack, self.height, self.width

    @property
    def vector_size(self) -> int:
        """Entries of the vector."""
        return len(self.vector)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that identify this specification."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON data."""
        return {**asdict(self), 'vector': list(self.vector)}

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> 'ObsSpec':
        """
        Read back what :meth:`to_dict` wrote.

        :raises SpecError: where a key is missing, unknown or of the wrong type.
        """
        try:
            return cls(
                int(data['stack']),
                int(data['height']),
                int(data['width']),
                tuple(str(name) for name in data['vector']),
                float(data['crop_top']),
                float(data['waypoint_spacing']),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f'observation specification is unreadable: {error!r}, got {data!r}')


def wrap_angle(angle: float) -> float:
    """Return an angle in radians brought into [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def check_range(spec: ObsSpec, vector: np.ndarray) -> None:
    """
    Check the vector of an observation that is to be driven by.

    :param vector: (n,) float32, of that specification.
    :raises SpecError: where an entry is not finite or beyond [-1, 1].
    """
    if not np.all(np.abs(vector) <= 1.0):  # false for NaN, too
        worst = int(np.argmax(np.where(np.isnan(vector), np.inf, np.abs(vector))))
        raise SpecError(
            'observation vector must be finite and in [-1, 1], got '
            f'{spec.vector[worst]} {vector[worst]}; check what publishes it'
        )
