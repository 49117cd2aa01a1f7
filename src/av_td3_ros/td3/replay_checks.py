"""What may enter the replay."""

from typing import Any, Sequence, Tuple

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, Outcome, SpecError
from av_td3_ros.task_config import PRIVILEGED_NAMES

MAX_REWARD = float(np.finfo(np.float32).max)


def check_observation(spec: ObsSpec, frame: np.ndarray, vector: np.ndarray) -> None:
    """
    Check one observation.

    :param frame: (height, width) uint8.
    :param vector: (n,) float32, finite.
    :raises SpecError: where it is something else.
    """
    if getattr(frame, 'shape', None) != spec.frame_shape or frame.dtype != np.uint8:
        raise SpecError(
            f'frame must be {spec.frame_shape} uint8, got {describe(frame)}; check '
            'observation.param.yaml'
        )
    _check_entries('vector', vector, spec.vector_size, 'check observation.param.yaml')


def checked_vector(
    spec: ObsSpec,
    frame: np.ndarray,
    vector: np.ndarray,
    privileged: np.ndarray,
    kept: Sequence[int],
) -> np.ndarray:
    """
    Check an observation, and return its vector with what is kept of the privileged entries.

    :param frame: (height, width) uint8.
    :param vector: (n,) float32, finite.
    :param privileged: (23,) float32, finite, as ``PRIVILEGED_NAMES``; not looked at where none is
        kept.
    :param kept: which of them, p.
    :returns: (n + p,) float32.
    :raises SpecError: where something else is given.
    """
    check_observation(spec, frame, vector)
    if not kept:
        return vector
    where = 'the episode manager, or the recording, must be of this version of av_td3_ros'
    _check_entries('privileged', privileged, len(PRIVILEGED_NAMES), where)
    return np.concatenate((vector, privileged[kept]))


def _check_entries(name: str, values: np.ndarray, size: int, where: str) -> None:
    if getattr(values, 'shape', None) != (size,) or values.dtype != np.float32:
        raise SpecError(f'{name} must be ({size},) float32, got {describe(values)}; {where}')
    if not np.all(np.isfinite(values)):
        raise SpecError(f'{name} must be finite, got {values.tolist()}')


def check_step(action: np.ndarray, reward: float, outcome: Outcome) -> Tuple[np.ndarray, Outcome]:
    """
    Check one step and return its action and outcome in their types.

    :param action: (2,), [steering, acceleration] in [-1, 1].
    :param reward: finite as float32.
    :raises SpecError: where it is something else.
    """
    action = np.asarray(action, np.float32)
    # Written so that NaN fails, too.
    if action.shape != (ACTION_SIZE,) or not np.all(np.abs(action) <= 1.0):
        raise SpecError(f'action must be {ACTION_SIZE} numbers in [-1, 1], got {action.tolist()}')
    if not abs(reward) <= MAX_REWARD:
        raise SpecError(f'reward must be a finite float32, got {reward}; check the reward terms')
    try:
        return action, Outcome(outcome)
    except ValueError:
        known = [int(value) for value in Outcome]
        raise SpecError(f'outcome must be one of {known}, got {outcome}') from None


def check_errors(index: np.ndarray, td_error: np.ndarray) -> None:
    """:raises SpecError: where there is not one finite TD error for each index."""
    if index.shape != td_error.shape or not np.all(np.isfinite(td_error)):
        raise SpecError(
            f'td_error must be {index.shape} finite numbers, got {describe(td_error)} with '
            f'{int(np.sum(~np.isfinite(td_error)))} that are not'
        )


def describe(value: Any) -> str:
    """Return the shape and type of an array, or the type of something else."""
    return f"{getattr(value, 'shape', None)} {getattr(value, 'dtype', type(value).__name__)}"
