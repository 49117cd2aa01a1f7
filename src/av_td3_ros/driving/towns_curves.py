"""
Reference lines of roads: straight pieces, arcs and clothoids between them.

Points are complex numbers, x + iy in m: a rotation is a product. Every bend is clothoid, arc,
clothoid, so that the curvature of a street has no step (Baass, The use of clothoid templates in
highway design, 1984).
"""

import cmath
import math
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

# Share of the turn of a bend that its two clothoids make.
EASED = 0.5
# A corner that turns less is none, rad; a piece that is shorter is left out, m.
STRAIGHT, SHORTEST = 1e-4, 1e-4
# Exact to rounding for pieces that turn less than 3 rad.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


class Place(NamedTuple):
    """A point, m, and a heading, rad."""

    point: complex
    heading: float

    def moved(self, ahead: float, left: float = 0.0) -> 'Place':
        """Return the place that lies ``ahead`` and ``left`` (m) of this one."""
        return Place(
            self.point + complex(ahead, left) * cmath.rect(1.0, self.heading), self.heading
        )

    def turned(self, angle: float) -> 'Place':
        """Return this place with another heading; ``angle``, rad, left positive."""
        return Place(self.point, math.remainder(self.heading + angle, 2 * math.pi))


class Piece(NamedTuple):
    """
    Part of a reference line, curvature linear along it.

    ``place``: where it begins. ``length``: m. ``first``, ``last``: curvature at its two ends, 1/m,
    left positive.
    """

    place: Place
    length: float
    first: float
    last: float

    @property
    def end(self) -> Place:
        """Where it ends."""
        return self.at(self.length)

    def at(self, distance: float) -> Place:
        """Return the place ``distance``, m, after its beginning."""
        along = 0.5 * distance * (NODES + 1.0)
        growth = (self.last - self.first) / (2 * self.length)
        ahead = (
            0.5 * distance * complex(WEIGHTS @ np.exp(1j * (self.first + growth * along) * along))
        )
        turned = (self.first + growth * distance) * distance
        return self.place.moved(ahead.real, ahead.imag).turned(turned)


def line(begin: complex, end: complex) -> Piece:
    """Return the straight piece between two points."""
    return Piece(Place(begin, cmath.phase(end - begin)), abs(end - begin), 0.0, 0.0)


def bend(place: Place, angle: float, radius: float) -> List[Piece]:
    """
    Return clothoid, arc, clothoid.

    :param place: where it begins. :param angle: rad, left positive. :param radius: of the arc, m.
    """
    curvature = math.copysign(1.0 / radius, angle)
    eased, round_ = EASED * abs(angle) * radius, (1.0 - EASED) * abs(angle) * radius
    pieces: List[Piece] = []
    for length, first, last in (
        (eased, 0.0, curvature),
        (round_, curvature, curvature),
        (eased, curvature, 0.0),
    ):
        pieces.append(Piece(pieces[-1].end if pieces else place, length, first, last))
    return pieces


def reach(angle: float) -> float:
    """
    Return the distance from a corner to where its bend begins, per metre of radius.

    :param angle: that the bend turns, rad, less than pi.
    """
    chord = bend(Place(0j, 0.0), abs(angle), 1.0)[-1].end.point
    return abs(chord) / (2.0 * math.cos(angle / 2))


def rounded(corners: Sequence[complex], radius: float) -> List[Piece]:
    """
    Return the line through corners, each rounded as widely as there is room for.

    :param corners: from the beginning to the end, m. :param radius: the largest, m.
    """
    corners = _without_straight(corners)
    rooms = [abs(b - a) for a, b in zip(corners, corners[1:])]
    # Two bends share what lies between them.
    rooms = [rooms[0], *(room / 2 for room in rooms[1:-1]), rooms[-1]]
    pieces: List[Piece] = []
    begin = corners[0]
    for i, corner in enumerate(corners[1:-1], start=1):
        way = corner - corners[i - 1]
        angle = cmath.phase((corners[i + 1] - corner) / way)
        unit = reach(angle)
        fits = min(radius, min(rooms[i - 1], rooms[i]) / unit)
        tangent = way / abs(way)
        enter = corner - fits * unit * tangent
        pieces += [line(begin, enter), *bend(Place(enter, cmath.phase(way)), angle, fits)]
        begin = pieces[-1].end.point
    pieces.append(line(begin, corners[-1]))
    return [piece for piece in pieces if piece.length > SHORTEST]


def joined(come: Place, leave: Place) -> List[Piece]:
    """
    Return the gentler of two lines between two places: one corner, or two against each other.

    :param come: where it begins. :param leave: where it ends.
    """
    away = abs(leave.point - come.point) / 4
    ways = [
        rounded(
            [come.point, come.moved(away).point, leave.moved(-away).point, leave.point], math.inf
        )
    ]
    ahead, back = _meeting(come, leave)
    if ahead > 0.0 and back > 0.0:
        ways.append(rounded([come.point, come.moved(ahead).point, leave.point], math.inf))
    return max(ways, key=tightest)


def tightest(pieces: Sequence[Piece]) -> float:
    """Return the smallest radius of a line, m; inf for a straight one."""
    sharpest = max(max(abs(piece.first), abs(piece.last)) for piece in pieces)
    return 1.0 / sharpest if sharpest > 0.0 else math.inf


def _meeting(come: Place, leave: Place) -> Tuple[float, float]:
    """Return how far (m) after ``come`` and before ``leave`` the two tangents meet; 0 if never."""
    turn = math.sin(leave.heading - come.heading)
    if abs(turn) < STRAIGHT:
        return 0.0, 0.0
    way = (leave.point - come.point) * cmath.rect(1.0, -come.heading)
    back = way.imag / turn
    return way.real - back * math.cos(leave.heading - come.heading), back


def _without_straight(corners: Sequence[complex]) -> List[complex]:
    kept = [corners[0]]
    for corner, following in zip(corners[1:], corners[2:]):
        if abs(cmath.phase((following - corner) / (corner - kept[-1]))) > STRAIGHT:
            kept.append(corner)
    return [*kept, corners[-1]]
