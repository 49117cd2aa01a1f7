"""The sky: a gradient from horizon to zenith, the sun and clouds, as one texture on a dome."""

import functools
import math

import cv2
import numpy as np

from av_td3_ros.sim.light import Light
from av_td3_ros.sim.mesh import Faces
from av_td3_ros.sim.palette import Label

WIDTH, HEIGHT = 512, 128
RADIUS = 100.0
# The dome begins below the horizon; the texture spans from there to the zenith.
LOWEST = math.radians(-4.0)
RINGS = np.radians([-4.0, 0.0, 4.0, 10.0, 20.0, 35.0, 60.0, 90.0])
COLUMNS = 16
OCTAVES = (4, 8, 16, 32, 64)
CLOUD_SEED = 7


def dome() -> Faces:
    """Return a dome around the origin with texture coordinates."""
    turn = np.linspace(0.0, 2 * np.pi, COLUMNS + 1)
    elevation, azimuth = np.meshgrid(RINGS, turn, indexing='ij')
    vertices = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=-1,
    ).reshape(-1, 3)
    v = (elevation - LOWEST) / (np.pi / 2 - LOWEST)
    uv = np.stack([azimuth / (2 * np.pi), 0.999 * v], axis=-1).reshape(-1, 2)
    rows = np.arange(len(vertices)).reshape(len(RINGS), COLUMNS + 1)
    quads = np.stack([rows[:-1, :-1], rows[:-1, 1:], rows[1:, 1:], rows[1:, :-1]], axis=-1)
    quads = quads.reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    count = len(vertices)
    return Faces(
        (RADIUS * vertices).astype(np.float32),
        -vertices.astype(np.float32),
        np.ones((count, 3), np.float32),
        uv.astype(np.float32),
        np.zeros((count, 2), np.float32),
        triangles.astype(np.int32),
        np.full(len(triangles), Label.SKY, np.uint8),
    )


def picture(light: Light, cloudiness: float) -> np.ndarray:
    """
    Return the sky by azimuth and elevation.

    :param light: of the weather. :param cloudiness: [0, 100].
    :returns: (HEIGHT, WIDTH, 3) uint8, BGR, lowest row first.
    """
    elevation = LOWEST + (np.arange(HEIGHT) + 0.5) / HEIGHT * (np.pi / 2 - LOWEST)
    azimuth = (np.arange(WIDTH) + 0.5) / WIDTH * 2 * np.pi
    high = np.clip(np.sin(elevation), 0.0, 1.0)[:, None, None] ** 0.55
    sky = light.horizon * (1.0 - high) + light.zenith * high
    sky = np.broadcast_to(sky, (HEIGHT, WIDTH, 3)).copy()
    facing = (
        np.cos(elevation)[:, None]
        * (np.cos(azimuth) * light.sun[0] + np.sin(azimuth) * light.sun[1])
        + np.sin(elevation)[:, None] * light.sun[2]
    )
    glow = np.clip(facing, 0.0, 1.0)
    disc = np.clip((facing - 0.9985) / 0.0008, 0.0, 1.0)
    sky += (0.30 * glow**24 + 0.16 * glow**4)[..., None] * light.sun_colour
    sky += (disc[..., None] * light.sun_colour) * (1.2 - sky)
    share = cloudiness / 100.0
    cover = _clouds()
    thick = np.clip((cover - (0.86 - 0.86 * share**0.8)) / 0.22, 0.0, 1.0)
    amount = thick * np.clip(np.sin(elevation) / 0.07, 0.0, 1.0)[:, None]
    white = light.horizon * 0.3 + 0.72 * light.brightness
    shaded = white * (1.0 - (0.22 + 0.2 * share) * thick * cover)[..., None]
    sky += (amount * (0.75 + 0.2 * share))[..., None] * (shaded - sky)
    return np.clip(255.0 * sky[..., ::-1] + 0.5, 0.0, 255.0).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _clouds() -> np.ndarray:
    """Return seeded noise that repeats around the horizon, (HEIGHT, WIDTH) in [0, 1]."""
    rng = np.random.default_rng(CLOUD_SEED)
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in OCTAVES:
        cells = rng.random((octave // 2 + 2, octave), dtype=np.float32)
        cells = np.concatenate([cells, cells, cells], axis=1)
        wide = cv2.resize(cells, (3 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        total += wide[:, WIDTH : 2 * WIDTH] * (4.0 / octave) ** 0.7
    # As much sky lies below each level as the level says.
    order = np.argsort(total.ravel(), kind='stable')
    ranks = np.empty(order.size, np.float32)
    ranks[order] = np.linspace(0.0, 1.0, order.size, dtype=np.float32)
    return ranks.reshape(total.shape)
