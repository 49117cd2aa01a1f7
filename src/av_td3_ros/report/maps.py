"""
Where a policy drove: the lanes of the map, and the way of each episode, by how it ended.

SVG by hand: its parts take their colours from the page, bright or dark, and lines keep their
width whatever the size of the picture. Coordinates are whole decimetres, x to the right and y up.
"""

from collections import Counter
import functools
from html import escape
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from av_td3_ros.driving.road_map import MapError, RoadMap
from av_td3_ros.report.runs import Run
from av_td3_ros.report.trajectories import Trajectory

# Of training the last episodes: more of them hide each other.
LAST = 40
UNITS = 10.0  # decimetres in a metre
# Around the trajectories, m; and the narrowest picture, as a share of its longer side.
MARGIN, NARROWEST = 15.0, 0.5
# The whole map is shown where it is no longer than this, m, or than so many times what was driven.
WHOLE, TIMES = 600.0, 3.0
# How far a line may be from the drawn one, m, and the most points of all lanes.
TOLERANCE, LANE_POINTS = 0.15, 20_000
# A mark is so much of the longer side of the picture.
MARK = 1 / 75
# What stands on top comes last; the shape tells what the colour does. Unit coordinates.
_CROSS = 'M-1-1L1 1M1-1L-1 1'
ENDINGS: Dict[str, Tuple[str, str]] = {
    'goal': ('goal', 'M-.8 0A.8 .8 0 0 0 .8 0A.8 .8 0 0 0-.8 0Z'),
    'time_limit': ('time limit', 'M0-1.2V1.2'),
    'standing_still': ('standing still', 'M-.9-.9H.9V.9H-.9Z'),
    'wrong_way': ('wrong way', 'M0-1.3L1.1 0L0 1.3L-1.1 0Z'),
    'off_road': ('off road', 'M-1.1-.9H1.1L0 1.1Z'),
    'lane_exit': ('lane exit', 'M-1.1.9H1.1L0-1.1Z'),
    'collision': ('collision', _CROSS),
    'aborted': ('aborted', 'M-1 0H1'),
    'other': ('otherwise', 'M-1 0H1'),
}


class Line(NamedTuple):
    """A row of the legend, or of the list of episodes: its ending, text, and a symbol as SVG."""

    text: str
    symbol: str


class Map(NamedTuple):
    """A picture: its title, its SVG, its legend, a sentence, and what each episode was."""

    title: str
    svg: str
    legend: List[Line]
    text: str
    episodes: List[Line]


class Places(NamedTuple):
    """The maps of a run, and sentences for those that there are not."""

    run: Run
    maps: List[Map]
    notes: List[str]


def places(runs: Sequence[Run]) -> List[Places]:
    """Return the maps of some runs: where their evaluation drove, and their last training."""
    load = functools.lru_cache(maxsize=None)(_lanes)
    return [_places(run, load) for run in runs]


def _places(run: Run, load: Callable[[str], Tuple[List[np.ndarray], str]]) -> Places:
    trained_on = str(run.settings.get('simulator.map', ''))
    given = (
        ('Evaluation', run.evaluated, str(run.evaluation.get('map', trained_on))),
        (
            f'Training, the last {min(LAST, len(run.trained))} episodes',
            run.trained[-LAST:],
            trained_on,
        ),
    )
    maps, notes = [], []
    for title, ways, name in given:
        if not ways:
            continue
        lanes, note = load(name)
        maps.append(_map(title, run.name, name, ways, lanes))
        notes += [note] if note else []
    if not run.evaluated:
        notes.append(
            'Where the evaluation drove is not recorded.'
            if run.evaluation.get('metrics')
            else 'There is no evaluation to draw.'
        )
    if not run.trained:
        notes.append('Where the training drove is not recorded: there is no trajectories.csv.')
    return Places(run, maps, list(dict.fromkeys(notes)))


def _lanes(name: str) -> Tuple[List[np.ndarray], str]:
    """Return the centre lines of a map, (n, 2) m each, and why there are none."""
    if not name:
        return [], 'The map is not known: the trajectories are drawn alone.'
    try:
        road_map = RoadMap.load(name)
    except MapError as error:
        return [], f'The trajectories are drawn without their map: {error}.'
    lines = [lane.centre[:, :2] for lane in road_map.lanes if lane.kind == 'Driving']
    tolerance = TOLERANCE
    drawn = [simplified(line, tolerance) for line in lines]
    while sum(map(len, drawn)) > max(LANE_POINTS, 2 * len(drawn)) and tolerance < 10.0:
        tolerance *= 2.0
        drawn = [simplified(line, tolerance) for line in drawn]
    return drawn, ''


def _map(
    title: str, run: str, name: str, ways: Sequence[Trajectory], lanes: Sequence[np.ndarray]
) -> Map:
    low, high = _view(ways, lanes)
    width, height = high - low
    unit = MARK * max(width, height) * UNITS
    order = list(ENDINGS)
    drawn = sorted(ways, key=lambda way: order.index(_kind(way)))
    roads = ''.join(path(line) for line in lanes if _meets(line, low, high))
    box = f'{low[0] * UNITS:.0f} {-high[1] * UNITS:.0f} {width * UNITS:.0f} {height * UNITS:.0f}'
    shown = Path(name).stem or 'unknown map'
    label = escape(f'{title} of {run} on {shown}: trajectories by how they ended')
    svg = (
        f'<svg class="map" viewBox="{box}" role="img" aria-label="{label}">'
        + (f'<path class="road" d="{roads}"/><path class="lane" d="{roads}"/>' if roads else '')
        + ''.join(_way(way, unit) for way in drawn)
        + '</svg>'
    )
    counts = Counter(map(_kind, ways))
    legend = [
        Line(f'{ENDINGS[kind][0]} {counts[kind]}', symbol(kind)) for kind in order if counts[kind]
    ]
    text = f'{shown}, {width:.0f} m from left to right'
    return Map(title, svg, legend, text, [Line(told(way), symbol(_kind(way))) for way in ways])


def _kind(way: Trajectory) -> str:
    return way.reason if way.reason in ENDINGS else 'other'


def told(way: Trajectory) -> str:
    """Return how an episode went, for people."""
    how = way.reason.replace('_', ' ') or 'no reason told'
    share = (
        f' after {100.0 * way.completion:.0f} % of the route'
        if np.isfinite(way.completion)
        else ''
    )
    return f'episode {way.episode}: {how}{share}'


def symbol(kind: str) -> str:
    """Return the mark of an ending as a small SVG."""
    shape = ENDINGS[kind][1]
    return (
        f'<svg class="symbol" viewBox="-2 -2 4 4" aria-hidden="true"><g class="end {kind}">'
        f'<path d="{shape}"/></g></svg>'
    )


def _way(way: Trajectory, unit: float) -> str:
    kind = _kind(way)
    line = path(simplified(way.points, TOLERANCE))
    (x0, y0), (x1, y1) = (np.rint(UNITS * way.points[i]).astype(int) * (1, -1) for i in (0, -1))
    return (
        f'<g class="way {kind}"><title>{escape(told(way))}</title><path class="line" d="{line}"/>'
        f'<circle class="begin" cx="{x0}" cy="{y0}" r="{0.55 * unit:.0f}"/>'
        f'<g class="end {kind}" transform="translate({x1} {y1}) scale({unit:.0f})">'
        f'<path d="{ENDINGS[kind][1]}"/></g></g>'
    )


def _view(
    ways: Sequence[Trajectory], lanes: Sequence[np.ndarray]
) -> Tuple[np.ndarray, np.ndarray]:
    """
    Return the corners of what is shown, (2,) m each: the whole map, or of a large one what was
    driven; no narrower than half as wide as long.
    """
    points = np.concatenate([way.points for way in ways])
    driven = np.ptp(points, axis=0).max()
    if lanes:
        everything = np.concatenate([points, *lanes])
        if np.ptp(everything, axis=0).max() <= max(WHOLE, TIMES * driven):
            points = everything
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    missing = np.maximum(NARROWEST * (high - low).max() - (high - low), 0.0)
    return low - missing / 2.0, high + missing / 2.0


def _meets(line: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    return bool((line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all())


def path(points: np.ndarray) -> str:
    """
    Return a line as SVG path data, in whole decimetres; no rounding adds up.

    :param points: (n, 2) m, y up.
    """
    whole = np.rint(UNITS * points).astype(int) * (1, -1)
    steps = ''.join(f'{x} {y} ' for x, y in np.diff(whole, axis=0))
    begin = f'M{whole[0, 0]} {whole[0, 1]}'
    return begin + 'l' + steps.rstrip() if steps else begin


def simplified(points: np.ndarray, tolerance: float) -> np.ndarray:
    """
    Return a line of fewer points: D. Douglas, T. Peucker, Algorithms for the reduction of the
    number of points required to represent a digitized line, Cartographica 10, 1973.

    :param points: (n, 2) m. :param tolerance: the farthest that a point may be from it, m.
    """
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    parts = [(0, len(points) - 1)]
    while parts:
        begin, end = parts.pop()
        if end - begin < 2:
            continue
        away = _away(points[begin + 1 : end], points[begin], points[end])
        farthest = int(np.argmax(away))
        if away[farthest] > tolerance:
            middle = begin + 1 + farthest
            kept[middle] = True
            parts += [(begin, middle), (middle, end)]
    return points[kept]


def _away(points: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return how far points are from a piece of a line, (n,) m."""
    along = end - begin
    square = float(along @ along)
    share = (
        np.clip((points - begin) @ along / square, 0.0, 1.0) if square else np.zeros(len(points))
    )
    return np.hypot(*(points - begin - share[:, None] * along).T)
