"""What the policy saw in an episode: pictures from the replay, where it still holds them."""

import base64
import io
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

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


def strips(run: Run) -> List[Strip]:
    """Return the best and the worst episode that the replay still holds frames of."""
    driven = run.driven
    if not driven:
        return []
    order = np.argsort(-driven['episode_return'], kind='stable')
    files = sorted((run.path / 'replay').glob('*.npz'))
    found = []
    for title, ranked in (('best', order), ('worst', order[::-1])):
        strip = next(filter(None, (_strip(run, title, int(i), files) for i in ranked[:5])), None)
        if strip:
            found.append(strip)
    return found


def _strip(run: Run, title: str, row: int, files: List[Path]) -> Optional[Strip]:
    episode = {name: column[row] for name, column in run.driven.items()}
    length, total = int(episode['length']), float(episode['episode_return'])
    for file in files:
        pictures = list(_pictures(file, length, total))
        if pictures:
            text = (
                f'at step {episode["env_step"]:,.0f}: return {total:.1f}, '
                f'{length} steps, {episode["route_completion"]:.0%} of the route, '
                f'{str(episode["reason"]).replace("_", " ")}'
            )
            return Strip(f'{run.name}: {title}', text, pictures)
    return None


def _pictures(file: Path, length: int, total: float) -> Iterator[Picture]:
    """Yield the pictures of the episode of that length and return, where a file has it whole."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if 'frame' not in arrays.files:
                return  # the frames are compressed
            first = arrays['first']
            begins = np.flatnonzero(np.diff(first, prepend=first[0] - 1))
            sizes = np.diff(begins, append=len(first))
            sums = np.add.reduceat(arrays['reward'].astype(float), begins)
            fits = (sizes == length + 1) & (np.abs(sums - total) < TOLERANCE)
            if not fits.any():
                return
            frames, begin = arrays['frame'], int(begins[fits][0])
    except BROKEN_FILE:
        return
    for step in np.linspace(0, length, PICTURES).round().astype(int):
        yield Picture(int(step), png(frames[begin + step]))


def png(frame: np.ndarray) -> str:
    """
    Return a picture as a data URI.

    :param frame: (height, width) uint8.
    """
    file = io.BytesIO()
    Image.fromarray(frame).save(file, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()
