"""What a message may say and be believed: checked before it costs memory."""

import math
from typing import Any

from av_td3_msgs.msg import EpisodeResult
from carla_msgs.msg import CarlaStatus
from geometry_msgs.msg import Quaternion
import numpy as np

from av_td3_ros.datatypes import SpecError, VehicleState

SHORTEST_TICK, LONGEST_TICK = 1e-3, 1.0
# m from the origin of any map; m/s and rad/s.
FARTHEST, FASTEST = 1e8, 1e3
# So much the length of a quaternion may differ from 1, as of figures that were rounded: that turns
# the heading by a degree.
UNIT_MARGIN = 0.01
# Points of a route, reward terms and characters of a result.
MOST_POINTS, MOST_TERMS, LONGEST_TEXT = 20_000, 100, 1000


def tick(msg: CarlaStatus) -> float:
    """Return the step size of the simulation, s; 0 where it says none that can be believed."""
    period = msg.fixed_delta_seconds
    return period if SHORTEST_TICK <= period <= LONGEST_TICK else 0.0


def check_state(state: VehicleState) -> None:
    """
    Check where a vehicle says that it is.

    :raises SpecError: where a number is not finite, or is that of no vehicle.
    """
    # Written so that NaN fails, too.
    if not (
        all(abs(value) <= FARTHEST for value in state.pose)
        and abs(state.speed) <= FASTEST
        and abs(state.yaw_rate) <= FASTEST
    ):
        raise SpecError(
            f'odometry must be finite, within {FARTHEST:g} m of the origin and {FASTEST:g} m/s, '
            f'got {state}; check the odometry topic'
        )


def check_orientation(turn: Quaternion) -> None:
    """
    Check that an orientation is one: of noughts, it would pass for east.

    :raises SpecError: where its length is not 1.
    """
    length = math.hypot(turn.x, turn.y, turn.z, turn.w)
    if not abs(length - 1.0) <= UNIT_MARGIN:  # NaN, too
        raise SpecError(
            f'orientation of odometry must have length 1, got {length:g}; check the odometry topic'
        )


def check_count(msg: Any) -> None:
    """
    Check the length of a ``nav_msgs/Path`` before it is read.

    :raises SpecError: where it is too long.
    """
    if len(msg.poses) > MOST_POINTS:
        raise SpecError(
            f'a route may have {MOST_POINTS} points, got {len(msg.poses)}; check the waypoints '
            'topic'
        )


def check_points(points: np.ndarray) -> None:
    """
    Check the points of a route.

    :param points: (n, 2) m.
    :raises SpecError: for fewer than two, or one that is nowhere.
    """
    if len(points) < 2 or not np.all(np.abs(points) <= FARTHEST):
        raise SpecError(
            f'a route needs at least 2 finite points within {FARTHEST:g} m of the origin, got '
            f'{len(points)}; check the waypoints topic'
        )


def check_result(msg: EpisodeResult) -> None:
    """
    Check the account of an episode.

    :raises SpecError: where it holds more or other than an episode can have.
    """
    sizes = len(msg.reward_terms), len(msg.reward_sums), len(msg.trail_x), len(msg.trail_y)
    if sizes[0] > MOST_TERMS or sizes[2] > MOST_POINTS or sizes[::2] != sizes[1::2]:
        raise SpecError(
            f'a result may have {MOST_TERMS} reward terms and {MOST_POINTS} points, each with its '
            f'value, got {sizes}; check the episode_result topic'
        )
    texts = (msg.outcome, msg.reason, msg.route, *msg.reward_terms)
    if not all(len(text) <= LONGEST_TEXT and text.isprintable() for text in texts):
        raise SpecError(
            f'texts of a result must be printable and up to {LONGEST_TEXT} characters; check the '
            'episode_result topic'
        )
    fields = msg.get_fields_and_field_types()
    numbers = [
        getattr(msg, name)
        for name, kind in fields.items()
        if kind == 'float' and name != 'min_time_to_collision'
    ]
    if not np.all(np.isfinite([*numbers, *msg.reward_sums, *msg.trail_x, *msg.trail_y])):
        raise SpecError('figures of a result must be finite; check the episode_result topic')
