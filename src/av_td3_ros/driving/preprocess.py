"""
Camera image and vehicle state to observation.

Training, evaluation and the vehicle run exactly this code; nothing else crops, scales or
normalises.
"""

import math
from typing import List, Optional, Tuple

import cv2
import numpy as np

from av_td3_ros.config import ObservationConfig
from av_td3_ros.datatypes import Command, ObsSpec, SpecError, VehicleState
from av_td3_ros.driving.commands import Commands
from av_td3_ros.driving.route import RoutePosition, RouteTracker

# What an entry of 1 means, m/s, rad/s, m, rad: about the largest of a good drive. Smaller entries
# drown among the image features: docs/results/learning.
SPEED_SCALE = 10.0
YAW_RATE_SCALE = 1.0
LATERAL_SCALE = 2.0
HEADING_SCALE = math.pi / 4.0

# One core is enough for an 84x84 frame; OpenCV's own pool would fight the learner for the others.
cv2.setNumThreads(1)


def grey_frame(image: np.ndarray, config: ObservationConfig) -> np.ndarray:
    """
    Crop the sky, convert to grey and scale by area.

    :param image: (rows, columns, 4) uint8 BGRA, (rows, columns, 3) uint8 BGR or (rows, columns)
        uint8 grey.
    :param config: size and crop.
    :returns: (height, width) uint8.
    :raises SpecError: for another dtype or shape.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise SpecError(
            f'camera image must be (rows, columns[, 3 or 4]) uint8, got {image.shape} '
            f'{image.dtype}; check the image topic'
        )
    cropped = image[int(image.shape[0] * config.crop_top) :]
    if channels == 4:
        cropped = cv2.cvtColor(cropped, cv2.COLOR_BGRA2GRAY)
    elif channels == 3:
        cropped = cv2.cvtColor(cropped, cv2.COLOR_BGR2GRAY)
    return cv2.resize(cropped, (config.width, config.height), interpolation=cv2.INTER_AREA)


class FrameStack:
    """The last frames, oldest first; an episode's first frame fills the whole stack."""

    def __init__(self, spec: ObsSpec) -> None:
        """:param spec: the observation specification."""
        self._frames = np.zeros(spec.image_shape, np.uint8)

    def reset(self, frame: np.ndarray) -> np.ndarray:
        """Begin an episode: (height, width) uint8 in, (stack, height, width) uint8 out."""
        self._frames[:] = frame
        return self._frames.copy()

    def push(self, frame: np.ndarray) -> np.ndarray:
        """Add a frame: (height, width) uint8 in, (stack, height, width) uint8 out."""
        self._frames[:-1] = self._frames[1:]
        self._frames[-1] = frame
        return self._frames.copy()


def state_vector(
    config: ObservationConfig,
    state: VehicleState,
    last_steering: float,
    tracker: Optional[RouteTracker],
    commands: Optional[Commands] = None,
) -> Tuple[np.ndarray, Optional[RoutePosition]]:
    """
    Build the normalised vehicle-state vector, in the order of the specification.

    :param state: pose (m, rad), speed (m/s) and yaw rate (rad/s).
    :param last_steering: steering of the last command, [-1, 1], left positive.
    :param tracker: position on the route; may be None where no entry needs it.
    :param commands: of the same route; may be None where there is no entry for it.
    :returns: (n,) float32, each entry clipped to [-1, 1], and the position on the route.
    :raises SpecError: where an entry needs a route or a map and there is none.
    """
    pose = state.pose
    position = tracker.update(pose.x, pose.y, pose.yaw) if tracker is not None else None
    values = []
    if config.speed:
        values.append(state.speed / SPEED_SCALE)
    if config.yaw_rate:
        values.append(state.yaw_rate / YAW_RATE_SCALE)
    if config.last_steering:
        values.append(last_steering)
    if needs_route(config):
        if tracker is None or position is None:
            raise SpecError(
                'the observation needs a route, got none; publish it on the waypoints topic or '
                'switch off lateral_deviation, heading_error, command and waypoints of '
                'observation in perception.param.yaml'
            )
        if config.lateral_deviation:
            values.append(position.lateral_deviation / LATERAL_SCALE)
        if config.heading_error:
            values.append(position.heading_error / HEADING_SCALE)
        if config.command:
            values.extend(_one_hot(commands, position))
        if config.waypoints:
            ahead = tracker.ahead(
                pose.x,
                pose.y,
                pose.yaw,
                position.distance + config.waypoint_spacing,
                config.waypoints,
                config.waypoint_spacing,
            )
            values.extend((ahead / waypoint_scales(config)[:, None]).ravel())
    return np.clip(np.asarray(values, np.float32), -1.0, 1.0), position


def waypoint_scales(config: ObservationConfig) -> np.ndarray:
    """Return how far along the route each of its points lies ahead, (waypoints,) float64, m."""
    return config.waypoint_spacing * np.arange(1, config.waypoints + 1)


def needs_route(config: ObservationConfig) -> bool:
    """Return whether an observation of this config can be made only with a route."""
    return bool(
        config.lateral_deviation or config.heading_error or config.command or config.waypoints
    )


def _one_hot(commands: Optional[Commands], position: RoutePosition) -> List[float]:
    if commands is None:
        raise SpecError(
            'the observation needs a map, got none; publish /carla/world_info or switch off '
            'observation.command in perception.param.yaml'
        )
    due = commands.at(position.distance)
    return [float(command is due) for command in Command]
