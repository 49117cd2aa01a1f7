"""
What things are and how they look: CARLA's semantic classes with their colours, and our paint.

Classes are those of ``carla.CityObjectLabel`` of CARLA 0.9.16; their colours those that its
semantic camera publishes (LibCarla, ``CityScapesPalette.h``).
"""

from enum import IntEnum
from typing import Dict, Sequence, Tuple

import numpy as np

Colour = Tuple[float, float, float]


class Label(IntEnum):
    """Semantic classes in use here."""

    ROADS = 1
    SIDEWALKS = 2
    BUILDINGS = 3
    FENCES = 5
    POLES = 6
    TRAFFIC_SIGNS = 8
    VEGETATION = 9
    TERRAIN = 10
    SKY = 11
    CAR = 14
    TRUCK = 15
    STATIC = 20
    ROAD_LINES = 24
    GROUND = 25


# Red, green, blue of class 0, 1, ... 28.
CLASS_COLOURS: Sequence[Tuple[int, int, int]] = (
    (0, 0, 0),
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
    (110, 190, 160),
    (170, 120, 50),
    (55, 90, 80),
    (45, 60, 150),
    (157, 234, 50),
    (81, 0, 81),
    (150, 100, 100),
    (230, 150, 140),
    (180, 165, 180),
)


def class_palette() -> np.ndarray:
    """Return the colour of every class, (256, 3) uint8, RGB; black where there is no class."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASS_COLOURS)] = CLASS_COLOURS
    return palette


GRASS: Colour = (0.40, 0.50, 0.30)
# By lane type of OpenDRIVE, as CARLA names them.
GROUND: Dict[str, Colour] = {
    'Driving': (0.30, 0.30, 0.32),
    'Shoulder': (0.40, 0.40, 0.41),
    'Sidewalk': (0.66, 0.64, 0.61),
    'Parking': (0.36, 0.36, 0.38),
    'Border': (0.47, 0.45, 0.42),
    'Biking': (0.52, 0.33, 0.30),
    'Median': (0.44, 0.52, 0.34),
    'Stop': (0.36, 0.36, 0.38),
    'Restricted': (0.40, 0.40, 0.41),
}
CLASSES: Dict[str, Label] = {
    'Driving': Label.ROADS,
    'Shoulder': Label.ROADS,
    'Parking': Label.ROADS,
    'Stop': Label.ROADS,
    'Biking': Label.ROADS,
    'Restricted': Label.ROADS,
    'Sidewalk': Label.SIDEWALKS,
    'Border': Label.GROUND,
    'Median': Label.TERRAIN,
}
KERB: Colour = (0.82, 0.81, 0.78)
PUDDLE: Colour = (0.36, 0.40, 0.45)
PAINT: Dict[str, Colour] = {
    'Yellow': (0.93, 0.74, 0.16),
    'Blue': (0.20, 0.42, 0.85),
    'Red': (0.80, 0.20, 0.18),
    'Green': (0.25, 0.62, 0.32),
}
WHITE: Colour = (0.95, 0.95, 0.93)
WALLS: Sequence[Colour] = (
    (0.74, 0.45, 0.35),
    (0.86, 0.78, 0.62),
    (0.62, 0.65, 0.70),
    (0.92, 0.89, 0.83),
    (0.60, 0.40, 0.33),
    (0.72, 0.77, 0.68),
    (0.85, 0.66, 0.52),
    (0.78, 0.80, 0.84),
)
ROOFS: Sequence[Colour] = (
    (0.45, 0.24, 0.19),
    (0.33, 0.31, 0.32),
    (0.52, 0.33, 0.24),
    (0.38, 0.36, 0.36),
)
DOOR: Colour = (0.34, 0.22, 0.16)
AWNINGS: Sequence[Colour] = (
    (0.70, 0.18, 0.16),
    (0.16, 0.40, 0.32),
    (0.20, 0.32, 0.55),
    (0.80, 0.62, 0.20),
)
TRUNK: Colour = (0.36, 0.27, 0.19)
CROWNS: Sequence[Colour] = (
    (0.27, 0.48, 0.20),
    (0.36, 0.53, 0.22),
    (0.20, 0.40, 0.22),
    (0.46, 0.54, 0.24),
)
POLE: Colour = (0.36, 0.37, 0.40)
LAMP: Colour = (0.97, 0.95, 0.84)
SIGNS: Sequence[Colour] = ((0.80, 0.14, 0.14), (0.16, 0.33, 0.70), (0.93, 0.80, 0.20))
GLASS: Colour = (0.13, 0.17, 0.22)
TYRE: Colour = (0.07, 0.07, 0.08)
HEADLIGHT: Colour = (0.97, 0.96, 0.86)
TAILLIGHT: Colour = (0.52, 0.06, 0.06)
BRAKELIGHT: Colour = (1.0, 0.16, 0.12)
PLATE: Colour = (0.88, 0.88, 0.82)
