"""
Which pieces of lanes two vehicles must not be on at once, from the corridors that they sweep.

A corridor is cut into cells of a metre, as wide as the longest vehicle swings there: with both
axles on the centre line it cuts the inside of a curve, and its corners reach over the outside.
"""

import math
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.spatial import cKDTree

from av_td3_ros.sim.boxes import touching
from av_td3_ros.sim.traffic_strings import CELL, LENGTH, SIDE, Strings, WIDTH

# Axles are this share of a body's length apart, its middle between them.
WHEELBASE = 0.6
# Along a path, cells nearer than this to each other overlap without being in conflict.
SAME_PATH = 8.0
SHARPEST = 0.3
# Cells overlap lengthwise, so that a corner between two of them is covered.
CELL_LENGTH = 1.2 * CELL


def corridor(strings: Strings) -> np.ndarray:
    """
    Return the cells of all strings, one string after the other.

    :returns: (c, 5) float64 boxes: x, y, yaw, length, width.
    """
    counts = [line.cells for line in strings.lines]
    pose = np.concatenate([line.poses(line.cell_places) for line in strings.lines])
    curvature = np.clip(pose[:, 3], -SHARPEST, SHARPEST)
    before, after = _neighbours(np.array(counts), strings.following)
    inner_left, outer_right = _swing(_spread(np.maximum(curvature, 0.0), before, after))
    inner_right, outer_left = _swing(_spread(np.maximum(-curvature, 0.0), before, after))
    half = 0.5 * WIDTH + SIDE
    left = half + np.maximum(inner_left, outer_left)
    right = half + np.maximum(inner_right, outer_right)
    shift, yaw = 0.5 * (left - right), pose[:, 2]
    x, y = pose[:, 0] - shift * np.sin(yaw), pose[:, 1] + shift * np.cos(yaw)
    return np.stack([x, y, yaw, np.full(len(x), CELL_LENGTH), left + right], axis=1)


def conflicts(strings: Strings, cells: np.ndarray) -> np.ndarray:
    """
    Return pairs of cells of different strings that overlap and do not follow each other.

    :param cells: (c, 5) float64, what ``corridor`` returned.
    :returns: (p, 2) int64.
    """
    counts = [line.cells for line in strings.lines]
    string = np.repeat(np.arange(len(counts)), counts)
    place = np.concatenate([line.cell_places for line in strings.lines])
    reach = math.hypot(CELL_LENGTH, cells[:, 4].max())
    pairs = cKDTree(cells[:, :2]).query_pairs(reach, output_type='ndarray').astype(np.int64)
    pairs = pairs[string[pairs[:, 0]] != string[pairs[:, 1]]]
    pairs = pairs[touching(cells[pairs[:, 0]], cells[pairs[:, 1]])]
    pairs = pairs[~_follows(strings, string, place, pairs)]
    pairs = pairs[~_follows(strings, string, place, pairs[:, ::-1])]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _neighbours(
    counts: np.ndarray, following: Sequence[Sequence[int]]
) -> Tuple[np.ndarray, np.ndarray]:
    """Return which cell comes before which, (e,) int64 each."""
    ends = np.cumsum(counts)
    inside = np.delete(np.arange(ends[-1]), ends - 1)
    joints = [
        (ends[a] - 1, ends[b] - counts[b]) for a, after in enumerate(following) for b in after
    ]
    a, b = np.array(joints, np.int64).reshape(-1, 2).T
    return np.concatenate([inside, a]), np.concatenate([inside + 1, b])


def _spread(values: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the largest value within half a vehicle, along the lanes."""
    for _ in range(math.ceil(0.5 * LENGTH / CELL)):
        wider = values.copy()
        np.maximum.at(wider, before, values[after])
        np.maximum.at(wider, after, values[before])
        values = wider
    return values


def _swing(curvature: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return how far the longest vehicle reaches to the inside and the outside of a curve, m."""
    radius = 1.0 / np.maximum(curvature, 1e-4)
    middle = np.sqrt(np.maximum(radius**2 - (0.5 * WHEELBASE * LENGTH) ** 2, 0.25))
    outer = np.hypot(middle + 0.5 * WIDTH, 0.5 * LENGTH) - radius - 0.5 * WIDTH
    return radius - middle, np.maximum(outer, 0.0)


def _follows(
    strings: Strings, string: np.ndarray, place: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return for which pairs the second cell lies shortly after the first on the same path."""
    relations = _relations(strings)
    if not relations or not len(pairs):
        return np.zeros(len(pairs), bool)
    codes = np.array(sorted(relations))
    between = np.array([relations[code] for code in codes.tolist()])
    code = string[pairs[:, 0]] * len(strings.lines) + string[pairs[:, 1]]
    found = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
    lengths = np.array([line.length for line in strings.lines])
    rest = lengths[string[pairs[:, 0]]] - place[pairs[:, 0]]
    apart = rest + between[found] + place[pairs[:, 1]]
    return (codes[found] == code) & (apart <= SAME_PATH)


def _relations(strings: Strings) -> Dict[int, float]:
    """Return how far (m) the start of a string is from the end of another, where it is near."""
    found: Dict[int, float] = {}
    for number in range(len(strings.lines)):
        ahead: List[Tuple[int, float]] = [(k, 0.0) for k in strings.following[number]]
        while ahead:
            following, between = ahead.pop()
            code = number * len(strings.lines) + following
            if between < found.get(code, SAME_PATH):
                found[code] = between
                further = between + strings.lines[following].length
                ahead.extend((k, further) for k in strings.following[following])
    return found
