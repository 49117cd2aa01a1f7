"""What a saved replay says of itself, read with every check before anything is changed."""

import json
import math
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.td3.replay_batch import Draw

FORMAT = 4
STATE = 'replay.json'


class SavedState(NamedTuple):
    """The state of a buffer beside its columns and frames."""

    count: int
    oldest: int
    open: bool
    rng: Dict[str, Any]
    largest_priority: float
    prioritised_draws: int
    ahead: Optional[Draw]

    def to_dict(
        self, spec: ObsSpec, storage: str, privileged: Tuple[str, ...] = ()
    ) -> Dict[str, Any]:
        """Return it as JSON data."""
        data = {
            'format': FORMAT,
            'storage': storage,
            'observation': spec.to_dict(),
            'privileged': list(privileged),
            **self._asdict(),
        }
        data['ahead'] = self.ahead.to_dict() if self.ahead is not None else None
        return data


def read_state(
    folder: Path,
    data: Optional[Mapping[str, Any]],
    spec: ObsSpec,
    storage: str,
    privileged: Tuple[str, ...] = (),
) -> SavedState:
    """
    Return a saved state.

    :param folder: of the buffer.
    :param data: from :meth:`SavedState.to_dict`; None for what the folder holds.
    :param spec: what it must be of.
    :param storage: likewise.
    :param privileged: likewise, the names of what is kept beside the observation.
    :raises SpecError: where it is not, or cannot be read.
    """
    try:
        data = data or json.loads((folder / STATE).read_text())
        version = int(data['format'])
        known = version == FORMAT
        digest = ObsSpec.from_dict(data['observation']).digest if known else 'unknown'
        found = (version, digest, str(data.get('storage', 'memory')))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None
    expected = (FORMAT, spec.digest, storage)
    if found != expected:
        raise SpecError(
            'replay in {} must be of format {}, observation {} and storage {}, got {}, {} and {}; '
            'keep the settings of the run or remove the folder'.format(folder, *expected, *found)
        )
    if data.get('privileged') != list(privileged):
        raise SpecError(
            f'replay in {folder} must hold {len(privileged)} privileged entries, got '
            f'{data.get("privileged")}; keep privileged_critics and privileged_loss of that run '
            'or remove the folder'
        )
    try:
        state = SavedState(
            int(data['count']),
            int(data['oldest']),
            bool(data['open']),
            data['rng'],
            float(data['largest_priority']),
            int(data['prioritised_draws']),
            Draw.from_dict(data['ahead']) if data['ahead'] is not None else None,
        )
        np.random.default_rng().bit_generator.state = state.rng
        if not 0 < state.largest_priority < math.inf or not 0 <= state.oldest <= state.count:
            raise ValueError(f'numbers that cannot be, {state[:2]} {state.largest_priority}')
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None
    return state


def _unreadable(folder: Path, error: Exception) -> SpecError:
    return SpecError(
        f'replay in {folder} is unreadable: {error!r}; remove the folder to start with an empty '
        'one'
    )
