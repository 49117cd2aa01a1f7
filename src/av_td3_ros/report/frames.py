"""What the policy saw in an episode: pictures from the replay, where it still holds them."""

import base64
import io
from pathlib import Path
from typing import List, NamedTuple

import numpy as np
from PIL import Image

from av_td3_ros.report.runs import Run
from av_td3_ros.td3.replay_files import BROKEN_FILE

PICTURES = 8
# The replay holds rewards in single precision: their sum is the return within this.
TOLERANCE = 1e-2


class Picture(NamedTuple):
    """One frame: the step of its episode, and a PNG as a data URI."""

    step: int
    source: str


class Strip(NamedTuple):
    """An episode: what it is, how it went, and its pictures, first to last."""

    title: str
    text: str
    pictures: List[Picture]


class _Held(NamedTuple):
    """An episode in a file of the replay: where it begins, its steps and its return."""

    file: Path
    begin: int
    length: int
    total: float


def strips(run: Run) -> List[Strip]:
    """Return the best and the worst episode that the replay still holds frames of."""
    held = [found for file in sorted((run.path / 'replay').glob('*.npz')) for found in _held(file)]
    driven = run.driven
    if not held or not driven:
        return []
    lengths = np.array([found.length for found in held])
    totals = np.array([found.total for found in held])
    there = {}
    for row in np.argsort(-driven['episode_return'], kind='stable'):
        fits = lengths == driven['length'][row]
        fits &= np.abs(totals - driven['episode_return'][row]) < TOLERANCE
        if fits.any():
            there[int(row)] = held[int(np.argmax(fits))]
    ranked = list(there)
    ends = [('best', ranked[0])] if ranked else []
    ends += [('worst', ranked[-1])] if len(ranked) > 1 else []
    found = []
    for title, row in ends:
        try:
            found.append(_strip(run, title, row, there[row]))
        except BROKEN_FILE:
            continue  # its rewards could be read, its frames cannot
    return found


def _held(file: Path) -> List[_Held]:
    """Return the whole episodes of a file; none where it is torn, or its frames are compressed."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if 'frame' not in arrays.files:
                return []
            first, reward = arrays['first'], arrays['reward'].astype(float)
    except BROKEN_FILE:
        return []
    begins = np.flatnonzero(np.diff(first, prepend=first[0] - 1))
    sizes = np.diff(begins, append=len(first))
    totals = np.add.reduceat(reward, begins)
    return [
        _Held(file, int(begin), int(size) - 1, float(total))
        for begin, size, total in zip(begins, sizes, totals)
    ]


def _strip(run: Run, title: str, row: int, held: _Held) -> Strip:
    episode = {name: column[row] for name, column in run.driven.items()}
    text = (
        f'at step {episode["env_step"]:,.0f}: return {held.total:.1f}, {held.length} steps, '
        f'{100.0 * episode["route_completion"]:.0f} % of the route, '
        f'{str(episode["reason"]).replace("_", " ")}'
    )
    with np.load(held.file, allow_pickle=False) as arrays:
        frames = arrays['frame'][held.begin : held.begin + held.length + 1]
    steps = np.linspace(0, held.length, PICTURES).round().astype(int)
    return Strip(
        f'{run.name}: {title}', text, [Picture(int(step), png(frames[step])) for step in steps]
    )


def png(frame: np.ndarray) -> str:
    """
    Return a picture as a data URI.

    :param frame: (height, width) uint8.
    """
    file = io.BytesIO()
    Image.fromarray(frame).save(file, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()
