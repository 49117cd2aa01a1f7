"""
Small models of what a street is full of: vehicles, trees, lamps, signs, hedges.

A model is made once in a unit frame (x ahead, y left, z up) and placed many times by one array
operation. Each comes detailed for near and plain for far away.
"""

import functools
from typing import NamedTuple, Sequence, Tuple

import numpy as np

from av_td3_ros.sim.mesh import Faces, join, polygons, WHITE_UV
from av_td3_ros.sim.palette import (
    Colour,
    GLASS,
    HEADLIGHT,
    Label,
    LAMP,
    PLATE,
    POLE,
    SIGNS,
    TAILLIGHT,
    TRUNK,
    TYRE,
)
from av_td3_ros.sim.scenery import BUSH

# Corners of a unit box, counter-clockwise: front, left, back, right, top.
BOX_SIDES = np.array(
    [
        [[1, -1, 0], [1, 1, 0], [1, 1, 1], [1, -1, 1]],
        [[1, 1, 0], [-1, 1, 0], [-1, 1, 1], [1, 1, 1]],
        [[-1, 1, 0], [-1, -1, 0], [-1, -1, 1], [-1, 1, 1]],
        [[-1, -1, 0], [1, -1, 0], [1, -1, 1], [-1, -1, 1]],
        [[1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]],
    ],
    np.float64,
)
BOX_SIDES[..., :2] *= 0.5
UNPAINTED: Colour = (1.0, 1.0, 1.0)
# How far away a model is meant to be seen from.
NEAR, FAR, DISTANT = range(3)


class Model(NamedTuple):
    """
    A thing in its own frame.

    ``painted``: (n,) bool, vertices that take the colour of the copy; their own colour is a
    factor. ``lights``: (n,) bool, vertices of tail lights.
    """

    faces: Faces
    painted: np.ndarray
    lights: np.ndarray


def copies(
    model: Model, places: np.ndarray, yaws: np.ndarray, scales: np.ndarray, colours: np.ndarray
) -> Faces:
    """
    Return a model many times.

    :param places: (k, 2) m. :param yaws: (k,) rad. :param scales: (k, 3) along x, y, z.
    :param colours: (k, 3) in [0, 1], for what is painted.
    """
    faces, count = model.faces, len(places)
    size = len(faces.vertices)
    vertices = faces.vertices[None] * scales[:, None]
    normals = faces.normals[None] / scales[:, None]
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    cos, sin = np.cos(yaws)[:, None], np.sin(yaws)[:, None]
    for array in (vertices, normals):
        x, y = array[..., 0].copy(), array[..., 1].copy()
        array[..., 0], array[..., 1] = x * cos - y * sin, x * sin + y * cos
    vertices[..., :2] += places[:, None]
    mixed = np.where(model.painted[None, :, None], colours[:, None], 1.0) * faces.colours[None]
    offsets = (size * np.arange(count))[:, None, None]
    return Faces(
        vertices.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        mixed.reshape(-1, 3).astype(np.float32),
        np.tile(faces.uv, (count, 1)),
        places.repeat(size, axis=0).astype(np.float32),
        (faces.triangles[None] + offsets).reshape(-1, 3).astype(np.int32),
        np.tile(faces.labels, count),
    )


# -- vehicles -------------------------------------------------------------------------------------


class Profile(NamedTuple):
    """
    Outline of a vehicle in shares of its length and height: ``waist`` is where the windows begin;
    ``base``: the cabin's back and front there; ``roof``: its back and front on top.
    """

    waist: float
    base: Tuple[float, float]
    roof: Tuple[float, float]


PROFILES = {
    'compact': Profile(0.58, (-0.49, 0.22), (-0.38, 0.05)),
    'sedan': Profile(0.58, (-0.40, 0.22), (-0.25, 0.06)),
    'suv': Profile(0.57, (-0.495, 0.24), (-0.44, 0.10)),
    'van': Profile(0.52, (-0.5, 0.36), (-0.485, 0.18)),
    'truck': Profile(0.45, (0.24, 0.495), (0.25, 0.44)),
}
CARGO: Colour = (0.85, 0.85, 0.82)
WHEELS = (-0.30, 0.31)


@functools.lru_cache(maxsize=None)
def vehicle(kind: str, level: int) -> Model:
    """
    Return a vehicle of length, width and height 1.

    :param kind: of ``bodies.KINDS``. :param level: NEAR: with wheels and lamps; FAR: with tail
        lights; DISTANT: without.
    """
    profile = PROFILES[kind]
    label = Label.TRUCK if kind == 'truck' else Label.CAR
    body = _tapered((-0.5, 0.5), (-0.49, 0.485), (0.15, profile.waist), (1.0, 0.96))
    back, front = profile.roof
    roof = [[[front, -0.39, 1], [front, 0.39, 1], [back, 0.39, 1], [back, -0.39, 1]]]
    painted, plain = [body, np.array(roof)], []
    if kind == 'van':
        painted.append(_tapered((-0.5, 0.02), (-0.5, 0.02), (profile.waist, 1.0), (0.98, 0.96)))
    if kind == 'truck':
        cargo = _tapered((-0.5, 0.22), (-0.5, 0.22), (profile.waist, 1.0), (0.98, 0.96))
        plain.append(polygons(cargo, CARGO, label))
    glass = _tapered(profile.base, profile.roof, (profile.waist, 0.985), (0.94, 0.76))
    plain.append(polygons(glass[:4], GLASS, label))
    if level == NEAR:
        plain += [_wheels(label), _front(profile.waist, label)]
    shell = polygons(np.concatenate(painted), UNPAINTED, label)
    lamps = _lamps(-0.504, profile.waist, 0.30)[: 0 if level == DISTANT else 2]
    lights = polygons(lamps, TAILLIGHT, label)
    faces = join([shell, *plain, lights])
    row = np.arange(len(faces.vertices))
    return Model(faces, row < len(shell.vertices), row >= len(row) - len(lights.vertices))


def _tapered(
    base: Tuple[float, float],
    top: Tuple[float, float],
    heights: Tuple[float, float],
    widths: Tuple[float, float],
) -> np.ndarray:
    """A box whose base and top differ, (5, 4, 3): front, left, back, right, top."""
    sides = BOX_SIDES.copy()
    for level, (back, front) in enumerate((base, top)):
        here = BOX_SIDES[..., 2] == level
        ahead = here & (BOX_SIDES[..., 0] > 0)
        sides[..., 0][here] = back
        sides[..., 0][ahead] = front
        sides[..., 1][here] *= widths[level]
        sides[..., 2][here] = heights[level]
    return sides


def _wheels(label: int) -> Faces:
    turn = np.linspace(0.0, 2 * np.pi, 6, endpoint=False)
    discs = []
    for ahead in WHEELS:
        for side in (-0.508, 0.508):
            angle = turn if side < 0 else -turn
            discs.append(
                np.stack(
                    [
                        ahead + 0.075 * np.cos(angle),
                        np.full(6, side),
                        np.maximum(0.215 + 0.215 * np.sin(angle), 0.0),
                    ],
                    axis=1,
                )
            )
    return polygons(np.array(discs), TYRE, label)


def _lamps(x: float, waist: float, width: float) -> np.ndarray:
    """Two lamps on the back (x < 0) or the front, (2, 4, 3)."""
    low, high = waist - 0.17, waist - 0.05
    quads = []
    for inner, outer in ((0.47 - width, 0.47), (-0.47, -0.47 + width)):
        a, b = (outer, inner) if x < 0 else (inner, outer)
        quads.append([[x, a, low], [x, b, low], [x, b, high], [x, a, high]])
    return np.array(quads)


def _front(waist: float, label: int) -> Faces:
    def board(x: float, half: float, low: float, high: float) -> np.ndarray:
        a = half if x < 0 else -half
        return np.array([[[x, a, low], [x, -a, low], [x, -a, high], [x, a, high]]])

    return join(
        [
            polygons(_lamps(0.503, waist, 0.20), HEADLIGHT, label),
            polygons(board(0.503, 0.24, waist - 0.2, waist - 0.08), TYRE, label),
            polygons(board(0.505, 0.15, 0.22, 0.29), PLATE, label),
            polygons(board(-0.505, 0.15, waist - 0.28, waist - 0.2), PLATE, label),
            polygons(board(-0.502, 0.5, 0.13, 0.2), TYRE, label),
        ]
    )


# -- trees and bushes -----------------------------------------------------------------------------

# Rings of the crown, (height, radius) in shares, from below; height and width are those of a tree.
CROWN_RINGS: Sequence[Sequence[Tuple[float, float]]] = (
    ((0.30, 0.0), (0.45, 0.48), (0.75, 0.42), (1.0, 0.0)),
    ((0.16, 0.0), (0.20, 0.50), (0.55, 0.29), (1.0, 0.0)),
    ((0.14, 0.0), (0.35, 0.46), (0.70, 0.40), (1.0, 0.0)),
    ((0.0, 0.40), (0.45, 0.50), (0.80, 0.36), (1.0, 0.0)),
)
FAR_RING = 4


@functools.lru_cache(maxsize=None)
def tree(variant: int, level: int) -> Model:
    """
    Return a tree of height 1 and crown width 1.

    :param variant: one of ``CROWN_RINGS``. :param level: NEAR, FAR, or DISTANT: without a trunk.
    """
    rings = CROWN_RINGS[variant]
    corners = 6
    if level != NEAR:
        corners = FAR_RING
        rings = (rings[0], rings[1], rings[-1])
    crown = _turned(rings, corners)
    parts = [crown]
    if variant != BUSH and level != DISTANT:
        half, top = 0.04, rings[1][0]
        sides = BOX_SIDES[:4] * (2 * half, 2 * half, top)
        if level != NEAR:
            sides = sides[:4:2]
        parts.append(polygons(sides, TRUNK, Label.VEGETATION))
    faces = join(parts)
    row = np.arange(len(faces.vertices))
    return Model(faces, row < len(crown.vertices), np.zeros(len(row), bool))


def _turned(rings: Sequence[Tuple[float, float]], corners: int) -> Faces:
    """A body of rotation with shared vertices, so that light runs smoothly over it."""
    turn = np.arange(corners) * 2 * np.pi / corners
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    levels = np.array([height for height, _ in rings])
    places = np.concatenate(
        [
            np.concatenate([circle * radius, np.full((corners, 1), height)], axis=1)
            for height, radius in rings
        ]
    )
    middle = (levels[0] + levels[-1]) / 2
    normals = places - (0.0, 0.0, middle)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # Leaves shade those below them.
    shade = 0.62 + 0.48 * (places[:, 2] - levels[0]) / (levels[-1] - levels[0])
    triangles = []
    for level in range(len(rings) - 1):
        for i in range(corners):
            a, b = level * corners + i, level * corners + (i + 1) % corners
            if rings[level][1] > 0.0:
                triangles.append((a, b, b + corners))
            if rings[level + 1][1] > 0.0:
                triangles.append((a, b + corners, a + corners))
    # All corners of a ring without extent are one.
    tips = np.array([radius == 0.0 for _, radius in rings]).repeat(corners)
    merged = np.where(tips, np.arange(len(tips)) // corners * corners, np.arange(len(tips)))
    used, rows = np.unique(merged[np.array(triangles)], return_inverse=True)
    return Faces(
        places[used].astype(np.float32),
        normals[used].astype(np.float32),
        shade[used, None].repeat(3, axis=1).astype(np.float32),
        np.full((len(used), 2), WHITE_UV, np.float32),
        np.zeros((len(used), 2), np.float32),
        rows.reshape(-1, 3).astype(np.int32),
        np.full(len(triangles), Label.VEGETATION, np.uint8),
    )


# -- posts ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def lamp(detailed: bool) -> Model:
    """Return a street lamp of height 1 whose arm, 1 long, points to its left."""
    post = BOX_SIDES[:4] * (0.16, 0.16, 0.98)
    arm = BOX_SIDES * (0.12, 1.0, 0.02) + (0.0, 0.5, 0.965)
    head = BOX_SIDES * (0.3, 0.7, 0.03) + (0.0, 0.7, 0.945)
    parts = [polygons(post if detailed else post[:4:2], POLE, Label.POLES)]
    if detailed:
        parts += [polygons(arm, POLE, Label.POLES), polygons(head, LAMP, Label.POLES)]
    return _plain(join(parts))


@functools.lru_cache(maxsize=None)
def sign(variant: int) -> Model:
    """Return a traffic sign of height 1 that faces backwards: round, square or a triangle."""
    post = BOX_SIDES[:4] * (0.07, 0.07, 1.0)
    corners = (8, 4, 3)[variant]
    turn = np.pi / 2 - (np.arange(corners) + (0.5 if corners == 4 else 0.0)) * 2 * np.pi / corners
    board = np.stack([np.full(corners, -0.05), 0.38 * np.cos(turn), 0.88 + 0.14 * np.sin(turn)], 1)
    inside = board * (1.0, 0.6, 1.0) + (-0.01, 0.0, 0.0)
    inside[:, 2] = 0.88 + 0.6 * (board[:, 2] - 0.88)
    return _plain(
        join(
            [
                polygons(post, POLE, Label.POLES),
                polygons(board[None], SIGNS[variant], Label.TRAFFIC_SIGNS),
                polygons(inside[None], PLATE, Label.TRAFFIC_SIGNS),
            ]
        )
    )


@functools.lru_cache(maxsize=None)
def block(label: int) -> Model:
    """Return a painted box of length, width and height 1."""
    faces = polygons(BOX_SIDES, UNPAINTED, label)
    row = np.zeros(len(faces.vertices), bool)
    return Model(faces, ~row, row)


def _plain(faces: Faces) -> Model:
    nothing = np.zeros(len(faces.vertices), bool)
    return Model(faces, nothing, nothing)
