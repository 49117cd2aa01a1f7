"""What the episode machine asks to be done, and the words that it uses for it."""

from enum import IntEnum
from typing import Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

from av_td3_ros.datatypes import Outcome, Pose
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.route import RoutePosition


class Phase(IntEnum):
    """Where the episode stands; the values are those of ``av_td3_msgs/EpisodeState``."""

    RESETTING = 0
    RUNNING = 1
    ENDED = 2


class Mode(IntEnum):
    """What episodes are for; the values are those of ``av_td3_msgs/EpisodeState``."""

    TRAINING = 0
    EVALUATION = 1


class Respawn(NamedTuple):
    """Effect: put the vehicle at ``start``, at rest, and ask for a route to ``goal`` (m)."""

    start: Pose
    goal: Tuple[float, float]


class FrameState(NamedTuple):
    """Effect: the numbering and verdict of one frame, for ``EpisodeState``."""

    stamp: int
    episode_id: int
    step_id: int
    phase: Phase
    mode: Mode
    policy_version: int
    route_stamp: int
    steering: float
    reward: float
    terms: Dict[str, float]
    episode_return: float
    route_completion: float
    position: Optional[RoutePosition]
    speed: float


class Experience(NamedTuple):
    """Effect: one step for the learner; step 0 opens an episode."""

    stamp: int
    episode_id: int
    step_id: int
    policy_version: int
    action: Tuple[float, float]
    reward: float
    outcome: Outcome
    frame: np.ndarray
    vector: np.ndarray
    privileged: np.ndarray


class Ended(NamedTuple):
    """Effect: an episode is over. ``outcome`` is terminated, truncated or aborted."""

    stamp: int
    episode_id: int
    mode: Mode
    outcome: str
    reason: str
    policy_version: int
    episode: Episode


Effect = Union[Respawn, FrameState, Experience, Ended]
