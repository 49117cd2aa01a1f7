"""
Weather as ``carla_msgs/CarlaWeatherParameters`` has it: named, ranged, seeded.

What it does to a picture is the camera's matter; what it does to the grip, the world's.
"""

from typing import Dict, NamedTuple

import numpy as np

# Fog thinner than this, in percent, is not seen: CARLA's clear presets have 2 to 7.
FOG_FROM = 8.0
# Extinction of the densest fog, 1/m, and how it grows with density.
THICKEST, GROWTH = 0.12, 1.5


class Weather(NamedTuple):
    """
    State of sky, air and road.

    ``sun_azimuth_angle``: deg in [0, 360), clockwise from map x seen from above, as CARLA has it.
    ``sun_altitude_angle``: deg in [-90, 90]. ``fog_distance``: m in [0, 1000] before fog begins.
    The others: [0, 100].
    """

    cloudiness: float = 0.0
    precipitation: float = 0.0
    precipitation_deposits: float = 0.0
    wind_intensity: float = 0.0
    fog_density: float = 0.0
    fog_distance: float = 0.0
    wetness: float = 0.0
    sun_azimuth_angle: float = 0.0
    sun_altitude_angle: float = 45.0

    @property
    def extinction(self) -> float:
        """How fast fog hides what lies beyond ``fog_distance``, 1/m; 0 where it is not seen."""
        if self.fog_density < FOG_FROM:
            return 0.0
        return THICKEST * (self.fog_density / 100.0) ** GROWTH

    def check(self) -> 'Weather':
        """
        Return this weather.

        :raises ValueError: where a value is no number or out of its range.
        """
        for name, value in self._asdict().items():
            low, high = RANGES[name]
            if not low <= value <= high:
                raise ValueError(
                    f'weather {name} must lie in [{low:g}, {high:g}], got {value}; set it on '
                    '/carla/weather_control or by simulator.weather'
                )
        return self


RANGES = {name: (0.0, 100.0) for name in Weather._fields}
RANGES.update(
    sun_azimuth_angle=(0.0, 360.0), sun_altitude_angle=(-90.0, 90.0), fog_distance=(0.0, 1000.0)
)

# Those of carla.WeatherParameters 0.9.16; its azimuth of -1 is 0 here.
PRESETS: Dict[str, Weather] = {
    'clear_noon': Weather(5.0, 0.0, 0.0, 10.0, 2.0, 0.75, 0.0, 0.0, 45.0),
    'cloudy_noon': Weather(60.0, 0.0, 0.0, 10.0, 3.0, 0.75, 0.0, 0.0, 45.0),
    'wet_noon': Weather(5.0, 0.0, 50.0, 10.0, 3.0, 0.75, 0.0, 0.0, 45.0),
    'hard_rain_noon': Weather(100.0, 100.0, 90.0, 100.0, 7.0, 0.75, 0.0, 0.0, 45.0),
    'clear_sunset': Weather(5.0, 0.0, 0.0, 10.0, 2.0, 0.75, 0.0, 0.0, 15.0),
    'hard_rain_sunset': Weather(100.0, 100.0, 90.0, 100.0, 7.0, 0.75, 0.0, 0.0, 15.0),
    # Ours: CARLA names no foggy one.
    'foggy_noon': Weather(60.0, 0.0, 0.0, 10.0, 60.0, 5.0, 0.0, 0.0, 45.0),
}


def random_weather(rng: np.random.Generator) -> Weather:
    """Return a drivable weather by daylight: clouds, rain and fog in seeded shares."""
    rain = float(rng.uniform(20.0, 90.0)) if rng.random() < 0.3 else 0.0
    fog = float(rng.uniform(5.0, 50.0)) if rng.random() < 0.2 else 0.0
    return Weather(
        cloudiness=float(rng.uniform(60.0, 100.0) if rain else rng.uniform(0.0, 100.0)),
        precipitation=rain,
        precipitation_deposits=0.9 * rain,
        wind_intensity=float(rng.uniform(0.0, 60.0)),
        fog_density=fog,
        fog_distance=float(rng.uniform(0.0, 20.0)) if fog else 0.0,
        wetness=rain,
        sun_azimuth_angle=float(rng.uniform(0.0, 360.0)),
        sun_altitude_angle=float(rng.uniform(10.0, 90.0)),
    )
