"""
Houses: walls that carry windows as a texture, roofs, doors, awnings, chimneys.

One texture serves all that stands: a column of four facades, each of eight storeys of which the
last is white, for whatever has no windows.
"""

from typing import List, Optional

import numpy as np
from panda3d.core import SamplerState, Texture

from av_td3_ros.sim.mesh import Faces, join, polygons
from av_td3_ros.sim.models import block, BOX_SIDES, copies
from av_td3_ros.sim.palette import AWNINGS, DOOR, Label, ROOFS, WALLS
from av_td3_ros.sim.scenery import COTTAGE, FLATS, OFFICE, SHOP, STOREY

BAY = 2.6
# Of the texture, in texels: one bay and one storey; a facade has eight storeys.
BAY_TEXELS, STOREY_TEXELS, STOREYS = 32, 16, 8
OVERHANG = 0.5
GLASS_TINT = (0.30, 0.38, 0.48)
FRAME_TINT = (1.0, 1.0, 1.0)


def houses(items: np.ndarray, detailed: bool) -> Faces:
    """
    Return houses.

    :param items: records of ``scenery.ITEM``. :param detailed: with doors, awnings and chimneys.
    """
    parts = [_walls(items)]
    gabled = items['variant'] == COTTAGE
    parts += [_gables(items[gabled]), _flat_roofs(items[~gabled])]
    if detailed:
        parts += _details(items)
    return join(parts)


def facades() -> Texture:
    """Return the texture of all that stands."""
    image = np.ones((4 * STOREYS, STOREY_TEXELS, BAY_TEXELS, 3), np.float32)
    image *= np.random.default_rng(0).uniform(0.94, 1.0, image.shape[:3])[..., None]
    for facade in range(4):
        for storey in range(STOREYS - 1):
            _storey(image[facade * STOREYS + storey], facade, storey)
        image[facade * STOREYS + STOREYS - 1] = 1.0
    pixels = (255 * image.reshape(-1, BAY_TEXELS, 3)[..., ::-1] + 0.5).astype(np.uint8)
    return texture('facades', pixels)


def texture(name: str, pixels: np.ndarray, made: Optional[Texture] = None) -> Texture:
    """
    Return a texture that repeats.

    :param name: of it. :param pixels: (height, width, 3) uint8, BGR, lowest row first.
    :param made: one to fill; a new one by default.
    """
    made = made or Texture(name)
    height, width = pixels.shape[:2]
    made.setup2dTexture(width, height, Texture.TUnsignedByte, Texture.FRgb)
    made.setRamImage(np.ascontiguousarray(pixels))
    made.setWrapU(SamplerState.WMRepeat)
    made.setWrapV(SamplerState.WMRepeat)
    made.setMinfilter(SamplerState.FTNearestMipmapNearest)
    made.setMagfilter(SamplerState.FTNearest)
    return made


def _storey(image: np.ndarray, facade: int, storey: int) -> None:
    """Paint one storey of one bay, lowest row first."""
    if facade == OFFICE:
        image[4:14] = GLASS_TINT
        image[4:14, ::16] = 0.75
        return
    if facade == SHOP and storey == 0:
        image[2:11, 2:30] = GLASS_TINT
        image[12:15] = 0.72
        return
    if facade == FLATS:
        image[0:2] = 0.80
    image[4:14, 8:24] = FRAME_TINT
    image[5:13, 9:15] = image[5:13, 17:23] = GLASS_TINT


def _walls(items: np.ndarray) -> Faces:
    count = len(items)
    corners = _placed(items, np.broadcast_to(BOX_SIDES[:4], (count, 4, 4, 3)))
    bays = np.maximum(np.round(np.stack([items['width'], items['length']], 1) / BAY), 1.0)
    bottom = items['variant'] / 4.0
    top = bottom + np.minimum(np.round(items['height'] / STOREY), STOREYS - 1) / (4 * STOREYS)
    uv = np.zeros((count, 4, 4, 2))
    uv[:, :, 1:3, 0] = bays[:, [0, 1, 0, 1], None]
    uv[:, :, :2, 1], uv[:, :, 2:, 1] = bottom[:, None, None], top[:, None, None]
    paint = _choice(WALLS, items['tint'])
    return polygons(
        corners.reshape(-1, 4, 3),
        paint.repeat(4, axis=0),
        Label.BUILDINGS,
        uv.reshape(-1, 4, 2),
        _anchors(items, 4),
    )


def _gables(items: np.ndarray) -> Faces:
    """Two slopes along the house and the triangles at its ends."""
    count = len(items)
    rise = 0.35 * items['width'] / items['height']
    out, low = OVERHANG / items['width'], 1.0 - 0.7 * OVERHANG / items['height']
    slopes, ends = np.zeros((count, 2, 4, 3)), np.zeros((count, 2, 3, 3))
    for side, sign in enumerate((1.0, -1.0)):
        slopes[:, side, :, 0] = 0.53 * sign * np.array([1.0, -1.0, -1.0, 1.0])
        slopes[:, side, :2, 1] = sign * (0.5 + out)[:, None]
        slopes[:, side, :2, 2] = low[:, None]
        slopes[:, side, 2:, 2] = (1.0 + rise)[:, None]
        ends[:, side, :, 0] = 0.5 * sign
        ends[:, side, :, 1] = 0.5 * sign * np.array([-1.0, 1.0, 0.0])
        ends[:, side, :2, 2] = 1.0
        ends[:, side, 2, 2] = 1.0 + rise
    shift = items['tint'] * 7 % 1.0
    return join(
        [
            polygons(
                _placed(items, slopes).reshape(-1, 4, 3),
                _choice(ROOFS, shift).repeat(2, axis=0),
                Label.BUILDINGS,
                anchors=_anchors(items, 2),
            ),
            polygons(
                _placed(items, ends).reshape(-1, 3, 3),
                _choice(WALLS, items['tint']).repeat(2, axis=0),
                Label.BUILDINGS,
                anchors=_anchors(items, 2),
            ),
        ]
    )


def _flat_roofs(items: np.ndarray) -> Faces:
    corners = _placed(items, np.broadcast_to(BOX_SIDES[4:], (len(items), 1, 4, 3)))
    return polygons(
        corners[:, 0],
        _choice(ROOFS[1:], items['tint']),
        Label.BUILDINGS,
        anchors=_anchors(items, 1),
    )


def _details(items: np.ndarray) -> List[Faces]:
    """Doors towards the road, which is to the left, awnings and chimneys."""
    cottages, shops = (items[items['variant'] == kind] for kind in (COTTAGE, SHOP))
    inhabited = items[items['variant'] != SHOP]
    along = (inhabited['tint'] * 13 % 1.0 - 0.5) * 0.5 * inhabited['length']
    return [
        _boxes(inhabited, along, 0.5 * inhabited['width'], (1.1, 0.16, 2.2), 0.0, DOOR),
        _boxes(
            cottages,
            0.3 * cottages['length'],
            0.1 * cottages['width'],
            (0.8, 0.8, 2.2),
            cottages['height'] + 0.8,
            ROOFS[0],
        ),
        _boxes(
            shops,
            0.0 * shops['length'],
            0.5 * shops['width'] + 0.45,
            (0.9 * shops['length'], 0.9, 0.25),
            2.55,
            _choice(AWNINGS, shops['tint'] * 5 % 1.0),
        ),
    ]


def _boxes(items: np.ndarray, ahead, left, size, low, colours) -> Faces:
    """Boxes in the frames of houses; the arguments are one value or one per house."""
    count = len(items)
    cos, sin = np.cos(items['yaw']), np.sin(items['yaw'])
    places = np.stack(
        [
            items['x'] + ahead * cos - left * sin,
            items['y'] + ahead * sin + left * cos,
        ],
        axis=1,
    )
    scales = np.stack([np.broadcast_to(value, count) for value in size], axis=1)
    colours = np.broadcast_to(np.asarray(colours, np.float64), (count, 3))
    faces = copies(block(Label.BUILDINGS), places, items['yaw'], scales, colours)
    faces.vertices[:, 2] += np.broadcast_to(low, count).repeat(20)
    faces.anchors[:] = np.stack([items['x'], items['y']], axis=1).repeat(20, axis=0)
    return faces


def _placed(items: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Turn corners in shares of length, width and height, (k, p, c, 3), to the map frame."""

    def column(name: str) -> np.ndarray:
        return items[name][:, None, None]

    x, y = corners[..., 0] * column('length'), corners[..., 1] * column('width')
    cos, sin = np.cos(column('yaw')), np.sin(column('yaw'))
    return np.stack(
        [
            column('x') + x * cos - y * sin,
            column('y') + x * sin + y * cos,
            corners[..., 2] * column('height'),
        ],
        axis=-1,
    )


def _choice(colours, tints: np.ndarray) -> np.ndarray:
    return np.asarray(colours)[(tints * len(colours)).astype(int)]


def _anchors(items: np.ndarray, times: int) -> np.ndarray:
    return np.stack([items['x'], items['y']], axis=1).repeat(times, axis=0)
