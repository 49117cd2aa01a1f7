"""
Sun and sky as weather makes them: how bright and of what colour every face is.

A model for pictures, not for physics: a hemisphere of sky light, a sun by Lambert's cosine, haze.
"""

import math
from typing import NamedTuple

import numpy as np

from av_td3_ros.sim.weather import Weather

ZENITH_DAY, ZENITH_DUSK, ZENITH_NIGHT = (
    np.array(colour) for colour in ((0.30, 0.53, 0.86), (0.29, 0.33, 0.52), (0.03, 0.04, 0.08))
)
HORIZON_DAY, HORIZON_DUSK, HORIZON_NIGHT = (
    np.array(colour) for colour in ((0.74, 0.84, 0.93), (0.96, 0.66, 0.42), (0.07, 0.08, 0.13))
)
SUN_DAY, SUN_DUSK = np.array((1.0, 0.96, 0.88)), np.array((1.0, 0.58, 0.30))
CLOUD = np.array((0.72, 0.74, 0.77))
# Altitudes, deg, between which dusk turns to day, and night to dusk.
DUSK_ENDS, DUSK_BEGINS = 30.0, -8.0
GLOSS = 0.14


class Light(NamedTuple):
    """
    Light of one weather.

    ``sun``: unit vector towards the sun, (3,). ``sun_colour``, ``zenith``, ``horizon``: (3,) in
    [0, 1]. ``brightness``: of the sky, [0, 1]. ``wetness``: of the ground, [0, 1].
    """

    sun: np.ndarray
    sun_colour: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    brightness: float
    wetness: float

    @classmethod
    def of(cls, weather: Weather) -> 'Light':
        """Return the light of a weather."""
        altitude = weather.sun_altitude_angle
        day = _smooth((altitude - 5.0) / (DUSK_ENDS - 5.0))
        dusk = _smooth((altitude - DUSK_BEGINS) / (5.0 - DUSK_BEGINS))
        cloud = weather.cloudiness / 100.0
        rain = weather.precipitation / 100.0
        azimuth, height = -math.radians(weather.sun_azimuth_angle), math.radians(altitude)
        brightness = 0.12 + 0.88 * (0.35 * dusk + 0.65 * day)
        brightness *= 1.0 - 0.08 * cloud - 0.16 * rain
        grey = CLOUD * (0.15 + 0.85 * (0.4 * dusk + 0.6 * day)) * (1.0 - 0.25 * rain)
        veil = cloud**1.5
        clear = max(1.0 - 1.05 * cloud, 0.0)
        shining = _smooth((altitude + 2.0) / 10.0) * clear
        return cls(
            np.array(
                [
                    math.cos(height) * math.cos(azimuth),
                    math.cos(height) * math.sin(azimuth),
                    math.sin(height),
                ]
            ),
            shining * (SUN_DUSK + (SUN_DAY - SUN_DUSK) * day),
            _mix(_mix(_mix(ZENITH_NIGHT, ZENITH_DUSK, dusk), ZENITH_DAY, day), 0.9 * grey, veil),
            _mix(_mix(_mix(HORIZON_NIGHT, HORIZON_DUSK, dusk), HORIZON_DAY, day), grey, veil),
            brightness,
            max(weather.wetness, weather.precipitation_deposits) / 100.0,
        )

    @property
    def sky(self) -> np.ndarray:
        """Colour of the sky as water shows it, (1, 3), made up for the light it gets again."""
        return (0.9 * self.horizon + 0.1 * self.zenith)[None] / max(self.brightness, 0.1)

    def shade(
        self, colours: np.ndarray, normals: np.ndarray, haze: float, wet: float
    ) -> np.ndarray:
        """
        Return lit colours, (n, 4) uint8, RGBA.

        :param colours: (n, 3) or (1, 3) in [0, 1]. :param normals: (n, 3).
        :param haze: [0, 1], how much of the horizon's colour lies before it.
        :param wet: [0, 1], how much of the weather's wetness it shows.
        """
        up = normals[:, 2:]
        sky = 0.5 + 0.5 * up
        ambient = sky * _tinted(0.5 * (self.zenith + self.horizon)) + (1.0 - sky) * (
            0.62,
            0.58,
            0.53,
        )
        facing = np.maximum(normals @ self.sun.astype(np.float32), 0.0)[:, None]
        light = self.brightness * (0.66 + 0.26 * (1.0 - self.sun_colour.max())) * ambient
        light = light + 0.52 * facing * self.sun_colour
        lit = colours * light
        if wet * self.wetness > 0.0:
            gloss = wet * self.wetness
            lit = (1.0 - 0.45 * gloss) * lit * (1.0 - GLOSS * gloss) + (
                GLOSS * gloss * self.horizon
            )
        lit += haze * (self.horizon - lit)
        shaded = np.full((len(normals), 4), 255, np.uint8)
        shaded[:, :3] = np.clip(255.0 * lit + 0.5, 0.0, 255.0)
        return shaded


def _tinted(sky: np.ndarray) -> np.ndarray:
    """Sky light: the colour of the sky, paler, of brightness 1."""
    return 0.75 + 0.25 * sky / max(float(sky.max()), 1e-6)


def _mix(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return a + (b - a) * share


def _smooth(value: float) -> float:
    value = min(max(value, 0.0), 1.0)
    return value * value * (3.0 - 2.0 * value)
