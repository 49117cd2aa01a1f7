"""What stands beside the road as faces: in detail for near, plain for far, and its shadows."""

from typing import List

import numpy as np

from av_td3_ros.sim.bodies import PAINTS
from av_td3_ros.sim.buildings import houses
from av_td3_ros.sim.mesh import Faces, join, polygons
from av_td3_ros.sim.models import (
    block,
    BUSH,
    copies,
    CROWN_RINGS,
    DISTANT,
    lamp,
    Model,
    NEAR,
    sign,
    tree,
    vehicle,
)
from av_td3_ros.sim.palette import CROWNS, Label
from av_td3_ros.sim.scenery import KIND_NAMES, PARKED

# Width of a crown to the height of its tree.
SPREADS = (0.62, 0.46, 0.28, 1.3)
HEDGES = ((0.25, 0.42, 0.20), (0.62, 0.54, 0.42))
LAMP_ARM = 0.9
# The sun casts no shadow longer than this many heights.
LONGEST_SHADOW = 2.5
DISC = 8


def standing(items: np.ndarray, level: int) -> Faces:
    """
    Return all that stands.

    :param items: records of ``scenery.ITEM``. :param level: NEAR, FAR or DISTANT: as it looks
        from there.
    """
    detailed = level == NEAR
    parts = [houses(_of(items, 'house'), detailed)]
    parts += _vegetation(items, level)
    if level == DISTANT:
        return join(parts)
    lamps = _of(items, 'lamp')
    parts.append(
        _copies(
            lamp(detailed),
            lamps,
            np.stack([_ones(lamps), LAMP_ARM * _ones(lamps), lamps['height']]),
        )
    )
    for variant in range(3):
        signs = _of(items, 'sign', variant)
        if detailed:
            size = np.stack([_ones(signs), _ones(signs), signs['height']])
            parts.append(_copies(sign(variant), signs, size))
    for variant, kind in enumerate(PARKED):
        cars = _of(items, 'car', variant)
        paints = _choice(PAINTS, cars['tint'])
        parts.append(
            _copies(vehicle(kind, NEAR if detailed else DISTANT), cars, _size(cars), paints)
        )
    return join(parts)


def shadows(items: np.ndarray, sun: np.ndarray) -> Faces:
    """
    Return the shadows on the ground.

    :param items: records of ``scenery.ITEM``. :param sun: unit vector towards it, above the
        horizon.
    """
    slope = np.hypot(sun[0], sun[1]) / max(float(sun[2]), 1e-6)
    away = -sun[:2] / max(float(np.hypot(sun[0], sun[1])), 1e-6) * min(slope, LONGEST_SHADOW)
    boxes = items[np.isin(items['kind'], [KIND_NAMES.index(k) for k in ('house', 'hedge', 'car')])]
    trees = _of(items, 'tree')
    hulls = _swept(boxes, away) if len(boxes) else np.zeros((0, 6, 2))
    return join([_on_ground(hulls, boxes), _on_ground(_crown_shadows(trees, away), trees)])


def _vegetation(items: np.ndarray, level: int) -> List[Faces]:
    parts = []
    for variant in range(len(CROWN_RINGS)):
        trees = _of(items, 'tree', variant)
        spread = SPREADS[variant] * trees['height']
        greens = _choice(CROWNS, trees['tint'] * 5 % 1.0) * (0.85 + 0.3 * trees['tint'][:, None])
        size = np.stack([spread, spread, trees['height']])
        parts.append(_copies(tree(variant, level), trees, size, greens))
    hedges = _of(items, 'hedge')
    for variant, label in enumerate((Label.VEGETATION, Label.FENCES)):
        chosen = hedges[hedges['variant'] == variant]
        colours = np.array(HEDGES[variant]) * (0.85 + 0.3 * chosen['tint'][:, None])
        parts.append(_copies(block(label), chosen, _size(chosen), colours))
    return parts


def _swept(boxes: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Hulls of footprints and of where their tops' shadows fall, (k, 6, 2) m."""
    cos, sin = np.cos(boxes['yaw'])[:, None], np.sin(boxes['yaw'])[:, None]
    u = 0.5 * boxes['length'][:, None] * np.array([1.0, -1.0, -1.0, 1.0])
    v = 0.5 * boxes['width'][:, None] * np.array([1.0, 1.0, -1.0, -1.0])
    corners = np.stack(
        [boxes['x'][:, None] + u * cos - v * sin, boxes['y'][:, None] + u * sin + v * cos], axis=2
    )
    shifts = away * boxes['height'][:, None]
    # The corner that lies furthest against the shift stays; then the hull goes round.
    first = np.argmin(np.einsum('kcd,d->kc', corners, away), axis=1)
    order = (first[:, None] + np.arange(4)) % 4
    corners = np.take_along_axis(corners, order[..., None], axis=1)
    near, right, far, left = (corners[:, k] for k in range(4))
    return np.stack([near, right, right + shifts, far + shifts, left + shifts, left], axis=1)


def _crown_shadows(trees: np.ndarray, away: np.ndarray) -> np.ndarray:
    turn = np.arange(DISC) * 2 * np.pi / DISC
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    spread = np.array(SPREADS)[trees['variant']] * trees['height']
    middle = np.where(trees['variant'] == BUSH, 0.3, 0.55) * trees['height']
    centres = np.stack([trees['x'], trees['y']], axis=1) + away * middle[:, None]
    # A crown is higher than wide: its shadow is longer along the sun.
    along = away / max(float(np.hypot(*away)), 1e-6)
    stretched = circle + 0.5 * np.hypot(*away) * (circle @ along)[:, None] * along
    return centres[:, None] + 0.46 * spread[:, None, None] * stretched[None]


def _on_ground(outlines: np.ndarray, items: np.ndarray) -> Faces:
    corners = np.concatenate([outlines, np.zeros((*outlines.shape[:2], 1))], axis=2)
    anchors = np.stack([items['x'], items['y']], axis=1)
    return polygons(corners, (0.0, 0.0, 0.0), Label.GROUND, anchors=anchors)


def _copies(model: Model, items: np.ndarray, size: np.ndarray, colours=None) -> Faces:
    places = np.stack([items['x'], items['y']], axis=1)
    colours = np.ones((len(items), 3)) if colours is None else colours
    return copies(model, places, items['yaw'], size.T, colours)


def _of(items: np.ndarray, kind: str, variant: int = -1) -> np.ndarray:
    chosen = items['kind'] == KIND_NAMES.index(kind)
    return items[chosen & ((variant < 0) | (items['variant'] == variant))]


def _size(items: np.ndarray) -> np.ndarray:
    return np.stack([items['length'], items['width'], items['height']])


def _ones(items: np.ndarray) -> np.ndarray:
    return np.ones(len(items))


def _choice(colours, tints: np.ndarray) -> np.ndarray:
    return np.asarray(colours)[(tints * len(colours)).astype(int)]
