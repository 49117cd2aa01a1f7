"""
What weather and the sensor do to a finished picture: fog, rain, exposure, noise.

Random, and the same for the same seed and frame number: tables are made once, a frame picks where
to read them. In clear weather with a plain lens nothing is done at all.
"""

import math
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from av_td3_ros.sim.light import Light
from av_td3_ros.sim.weather import Weather

RAIN_FROM = 5.0
STREAK_TABLES = 8
# Streaks of the strongest rain in a picture as wide as high; their lengths in rows of it.
STREAKS, SHORTEST, LONGEST = 220, 0.03, 0.13
SPLASH = 0.45
VEIL = 0.30
NOISE_TABLE = 1 << 18
# Odd constants of SplitMix64 (Steele, Lea, Flood 2014), which mixes seed and frame.
GOLDEN, FIRST_MIX, SECOND_MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK = (1 << 64) - 1


class Lens(NamedTuple):
    """
    A camera's own properties.

    ``exposure``: stops, 0 as it is. ``gamma``: above 1 darkens. ``noise``: standard deviation in
    levels of 255. ``seed``: of noise and rain.
    """

    exposure: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0
    seed: int = 0


def random_lens(rng: np.random.Generator) -> Lens:
    """Return a plausible lens: a third of a stop, a tenth of gamma, noise up to 4 levels."""
    return Lens(
        float(rng.uniform(-0.35, 0.35)),
        float(rng.uniform(0.9, 1.1)),
        float(rng.uniform(0.0, 4.0)),
        int(rng.integers(1 << 31)),
    )


class LensEffects:
    """The effects of one weather through one lens on pictures of one size."""

    def __init__(self, shape: Tuple[int, int], weather: Weather, light: Light, lens: Lens) -> None:
        """
        Make the tables.

        :param shape: (height, width). :param weather: of the scene. :param light: of it.
        :param lens: of the camera.
        """
        rng = np.random.default_rng(lens.seed)
        self._shape, self._seed = shape, lens.seed
        grey = (255 * light.horizon[::-1]).round()
        self._extinction = weather.extinction
        self._clear = weather.fog_distance
        self.needs_depth = weather.extinction > 0.0
        self._fog = np.full((*shape, 4), 255, np.uint8)
        self._fog[..., :3] = grey
        rain = weather.precipitation / 100.0 if weather.precipitation >= RAIN_FROM else 0.0
        self._levels = _levels(lens, grey, VEIL * rain)
        self._streaks = _streaks(rng, shape, rain) if rain else None
        self._bright = np.full((*shape, 4), 255, np.uint8)
        self._bright[..., :3] = np.minimum(1.1 * grey, 255.0)
        noise = np.round(rng.normal(0.0, lens.noise, NOISE_TABLE)).clip(-255, 255)
        self._noise = (
            (noise.clip(0).astype(np.uint8), (-noise).clip(0).astype(np.uint8))
            if lens.noise > 0.0
            else None
        )

    @property
    def is_active(self) -> bool:
        """Whether anything is done to a picture."""
        return self.needs_depth or any(
            table is not None for table in (self._levels, self._streaks, self._noise)
        )

    def apply(self, image: np.ndarray, depth: Optional[np.ndarray], frame: int) -> np.ndarray:
        """
        Return a picture with every effect.

        :param image: (height, width, 4) uint8, BGRA.
        :param depth: (height, width) float32 m, where ``needs_depth``.
        :param frame: number of the frame.
        """
        mixed = _mixed(self._seed, frame)
        if depth is not None:
            seen = np.exp(-self._extinction * np.maximum(depth - self._clear, 0.0))
            image = cv2.blendLinear(image, self._fog, seen, 1.0 - seen)
        if self._streaks is not None:
            streaks = self._streaks[mixed % STREAK_TABLES]
            image = cv2.blendLinear(image, self._bright, 1.0 - streaks, streaks)
        if self._levels is not None:
            image = cv2.LUT(image, self._levels)
        if self._noise is not None:
            image = self._noisy(image, mixed >> 8)
        return image

    def _noisy(self, image: np.ndarray, mixed: int) -> np.ndarray:
        size = image.size // 4
        # Large pictures read the table from its beginning again.
        begins = [(mixed + channel * 7919) % NOISE_TABLE for channel in range(3)]
        for sign, change in zip(self._noise, (cv2.add, cv2.subtract)):
            grain = np.zeros(image.shape, np.uint8)
            for channel, begin in enumerate(begins):
                rows = np.resize(np.roll(sign, -begin), size) if size > NOISE_TABLE else None
                if rows is None:
                    rows = sign.take(np.arange(begin, begin + size), mode='wrap')
                grain[..., channel] = rows.reshape(self._shape)
            image = change(image, grain)
        return image


def _mixed(seed: int, frame: int) -> int:
    """Return 64 bits that look random and are those of a seed and a frame."""
    value = ((seed + 1) * GOLDEN + frame * FIRST_MIX) & MASK
    value = ((value ^ (value >> 30)) * FIRST_MIX) & MASK
    value = ((value ^ (value >> 27)) * SECOND_MIX) & MASK
    return value ^ (value >> 31)


def _levels(lens: Lens, grey: np.ndarray, veil: float) -> Optional[np.ndarray]:
    """Return a table of levels, (1, 256, 4) uint8, for a veil, exposure and gamma."""
    if not veil and not lens.exposure and lens.gamma == 1.0:
        return None
    levels = np.arange(256.0)[:, None] + veil * (grey - np.arange(256.0)[:, None])
    levels = 255.0 * (levels * 2.0**lens.exposure / 255.0).clip(0.0, 1.0) ** lens.gamma
    table = np.full((1, 256, 4), 255, np.uint8)
    table[0, :, :3] = (levels + 0.5).clip(0, 255)
    return table


def _streaks(rng: np.random.Generator, shape: Tuple[int, int], rain: float) -> np.ndarray:
    """Return how much of a drop covers each pixel, (STREAK_TABLES, height, width) float32."""
    height, width = shape
    count = math.ceil(STREAKS * rain * width / height)
    tables = np.zeros((STREAK_TABLES, height, width), np.float32)
    for table in tables:
        for _ in range(count):
            x, y = rng.uniform(0, width), rng.uniform(-0.1 * height, height)
            length = rng.uniform(SHORTEST, LONGEST) * height
            end = x + rng.uniform(-0.12, 0.02) * length, y + length
            strength = float(rng.uniform(0.3, 1.0)) * SPLASH
            cv2.line(table, (int(x), int(y)), (int(end[0]), int(end[1])), strength, 1)
    return tables
