"""
A step of experience on its way into the replay: from the graph, or from a recording of it.

Both go through here, so that a recorded drive gives what the trainer took, bit for bit.
"""

from typing import Any, Mapping, Tuple

import numpy as np

from av_td3_ros.datatypes import Outcome, SpecError
from av_td3_ros.td3.intake import Intake, Verdict

# No sum of bounded terms with weights that the configuration allows is larger; a number that was
# damaged on its way mostly is.
LARGEST_REWARD = 1000.0
# So many steps one after another that cannot be stored: they are of another graph or recording.
MOST_REFUSED = 20


def take_or_refuse(
    msg: Any,
    intake: Intake,
    into: Any,
    frame_shape: Tuple[int, int],
    most: float = MOST_REFUSED,
) -> str:
    """
    Store a step as :func:`take` does; one that does not fit ends its episode, and no more.

    :param most: so many of these one after another are too many.
    :returns: why it was refused, or ''.
    :raises ValueError: where too many were; it says why the last one was.
    """
    try:
        take(msg, intake, into, frame_shape)
    except ValueError as error:
        intake.refuse()
        into.abort()
        if intake.refused_in_a_row >= most:
            raise
        return str(error)
    return ''


def take(msg: Any, intake: Intake, into: Any, frame_shape: Tuple[int, int]) -> None:
    """
    Judge a step and store it, or end the episode that it breaks.

    :param msg: with the fields of ``av_td3_msgs/Transition``.
    :param intake: follows the numbering.
    :param into: what has ``begin``, ``add`` and ``abort`` of the replay.
    :param frame_shape: (height, width).
    :raises SpecError: where the data do not fit, or lie beyond what an observation or a reward can
        be, kept or not: one such number in the replay would spoil the learner for good.
    """
    verdict = intake.accept(msg.publisher, msg.sequence, msg.episode_id, msg.step_id)
    if verdict is Verdict.IGNORE:
        return
    if verdict is Verdict.BREAK:
        into.abort()
        return
    height, width = frame_shape
    frame = np.frombuffer(msg.frame, np.uint8)
    frame = frame.reshape(height, width) if frame.size == height * width else frame
    vector = np.asarray(msg.vector, np.float32)
    privileged = np.asarray(getattr(msg, 'privileged', ()), np.float32)  # not in older bags
    _check_bounds({'vector': vector, 'privileged': privileged}, float(msg.reward))
    if verdict is Verdict.BEGIN:
        into.begin(frame, vector, privileged)
    else:
        action = np.asarray(msg.action, np.float32)
        into.add(action, float(msg.reward), Outcome(msg.outcome), frame, vector, privileged)


def _check_bounds(vectors: Mapping[str, np.ndarray], reward: float) -> None:
    for name, vector in vectors.items():
        if not np.all(np.abs(vector) <= 1.0):  # NaN, too
            raise SpecError(f'{name} must lie in [-1, 1], got {vector}')
    if not abs(reward) <= LARGEST_REWARD:
        raise SpecError(f'reward must lie within {LARGEST_REWARD:g} of nought, got {reward}')
