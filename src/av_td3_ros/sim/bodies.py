"""
The bodies of vehicles: how long, wide, high and heavy each kind is, and what it may be painted.

Sizes are typical of their class; they are round figures, not those of a make.
"""

from typing import Dict, NamedTuple, Sequence, Tuple

import numpy as np

Colour = Tuple[float, float, float]

PAINTS: Sequence[Colour] = (
    (0.86, 0.86, 0.85),
    (0.10, 0.10, 0.12),
    (0.52, 0.54, 0.57),
    (0.62, 0.12, 0.12),
    (0.14, 0.24, 0.50),
    (0.16, 0.34, 0.24),
    (0.80, 0.62, 0.16),
)


class Body(NamedTuple):
    """
    One vehicle's outside. ``length``, ``width``, ``height``: m. ``mass``: kg. ``colour``: red,
    green, blue in [0, 1].
    """

    kind: str
    length: float
    width: float
    height: float
    mass: float
    colour: Colour = PAINTS[0]


KINDS: Dict[str, Body] = {
    body.kind: body
    for body in (
        Body('compact', 3.7, 1.65, 1.48, 1050.0),
        Body('sedan', 4.5, 1.80, 1.45, 1450.0),
        Body('suv', 4.7, 1.88, 1.70, 1850.0),
        Body('van', 5.3, 1.95, 2.20, 2200.0),
        Body('truck', 7.2, 2.25, 3.00, 6500.0),
    )
}
SHARES = (0.25, 0.40, 0.20, 0.10, 0.05)


def random_bodies(rng: np.random.Generator, count: int) -> Tuple[Body, ...]:
    """Return bodies of several kinds and colours."""
    kinds = rng.choice(len(KINDS), size=count, p=SHARES)
    paints = rng.choice(len(PAINTS), size=count)
    bodies = list(KINDS.values())
    return tuple(bodies[k]._replace(colour=PAINTS[c]) for k, c in zip(kinds, paints))
