"""Crossings, T junctions and roundabouts: how far streets stay back, and what connects them."""

import cmath
import math
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.driving.towns_curves import joined, Piece, Place, reach
from av_td3_ros.driving.towns_opendrive import (
    Connection,
    EDGE,
    Junction,
    LANES,
    Link,
    Mark,
    NO_JUNCTION,
    NO_MARK,
    Road,
    Strip,
)
from av_td3_ros.driving.towns_plan import Profile

# CARLA takes a junction for a road where the two share a number.
FIRST_JUNCTION, FIRST_ROAD = 1, 1000
# From the middle of a junction to where its streets begin, at least, m.
LEAST_SETBACK = 12.0
# Streets that enclose more than this do not meet at a corner, rad.
OPEN = math.radians(150.0)
# A turn of less than this goes straight on, rad.
STRAIGHT_ON = math.radians(45.0)
# The ring of a roundabout between two of its junctions is at least twice this long; its junctions
# reach at most so far to either side, rad.
RING_HALF, RING_MOST = math.radians(8.0), math.radians(34.0)
# A lane may lie this far over what lies beside another one, m.
STRAY = 1e-3
RING = Profile(1, 4.0, 0.0, 2.0, Mark('solid', 'white'))


Join = Callable[[Place, Place], List[Piece]]


class Arm(NamedTuple):
    """
    Where a street meets a junction.

    ``road``: its number. ``contact``: which end of it, start or end. ``place``: on its middle,
    looking into the street.
    """

    road: int
    contact: str
    place: Place
    profile: Profile

    def come(self, lane: int) -> Place:
        """Return the left edge of an incoming lane, in driving direction."""
        return self.place.moved(0.0, (lane - 1) * self.profile.width).turned(math.pi)

    def leave(self, lane: int) -> Place:
        """Return the left edge of an outgoing lane, in driving direction."""
        return self.place.moved(0.0, -(lane - 1) * self.profile.width)

    def incoming(self, lane: int) -> int:
        """Return the OpenDRIVE number of an incoming lane, counted from the middle."""
        return -lane if self.contact == 'end' else lane

    def outgoing(self, lane: int) -> int:
        """Return the OpenDRIVE number of an outgoing lane, counted from the middle."""
        return -self.incoming(lane)


def crossing_setbacks(
    directions: Sequence[float], profiles: Sequence[Profile], radius: float
) -> List[float]:
    """
    Return how far from the middle of a junction its streets begin, m.

    :param directions: of the streets, counter-clockwise, rad. :param profiles: of the streets.
    :param radius: of the outermost right turns at least, on the left edge of the lane, m.
    """
    setbacks = [LEAST_SETBACK] * len(directions)
    for i, direction in enumerate(directions):
        j = (i + 1) % len(directions)
        between = (directions[j] - direction) % (2 * math.pi)
        if between < OPEN:
            tangent = radius * reach(math.pi - between)
            edges = [(p.lanes - 1) * p.width for p in (profiles[i], profiles[j])]
            for k, own, other in ((i, *edges), (j, *reversed(edges))):
                corner = (own * math.cos(between) + other) / math.sin(between)
                setbacks[k] = max(setbacks[k], corner + tangent)
    return setbacks


def ring_shares(directions: Sequence[float]) -> List[float]:
    """
    Return how far the junctions of a roundabout reach towards each other along the ring, rad.

    :param directions: of the streets, counter-clockwise, rad.
    :returns: for each street, half of what its junction and the next one's take up between them.
    """
    following = [*directions[1:], directions[0]]
    between = [(b - a) % (2 * math.pi) for a, b in zip(directions, following)]
    return [min(RING_MOST, angle / 2 - RING_HALF) for angle in between]


def roundabout_setbacks(directions: Sequence[float], radius: float) -> List[float]:
    """
    Return how far from the middle of a roundabout its streets begin, m.

    :param directions: of the streets, counter-clockwise, rad. :param radius: of the island, m.
    """
    shares = ring_shares(directions)
    # Two tangents: from the ring to the middle of the street, and as far along the street.
    return [
        max(radius * (1.0 + math.sin(share)) / math.cos(share) for share in (before, after))
        for before, after in zip([shares[-1], *shares[:-1]], shares)
    ]


def street(number: int, pieces: List[Piece], profile: Profile, ends: Tuple[int, int]) -> Road:
    """Return a road between two junctions with the same lanes in both directions."""
    strips = _strips(profile)
    before, after = (Link('junction', end) for end in ends)
    return Road(number, NO_JUNCTION, pieces, profile.centre, strips, strips, before, after)


class Builder:
    """Collects what connects streets: the roads through junctions, and the junctions."""

    def __init__(self, first_road: int, join: Join = joined) -> None:
        """
        Make an empty one.

        :param first_road: number of the first road that it makes. :param join: draws the left edge
            of a lane through a crossing.
        """
        self.roads: List[Road] = []
        self.junctions: List[Junction] = []
        self._next_road = first_road
        self._join = join

    def crossing(self, number: int, arms: Sequence[Arm]) -> None:
        """
        Connect the streets of a T junction or a crossing.

        :param number: of the junction. :param arms: counter-clockwise.
        """
        name = {3: 't_junction', 4: 'crossing'}[len(arms)]
        junction = Junction(number, f'{name}_{number}', [])
        for i, come in enumerate(arms):
            # From the rightmost to the leftmost.
            exits = [*arms[i + 1 :], *arms[:i]]
            straight = _straight_on(come, exits)
            for k, leave in enumerate(exits):
                lanes = come.profile.lanes, leave.profile.lanes
                for a, b in _movements(*lanes, k == straight, right=k == 0):
                    outermost = k == 0 and (a, b) == lanes
                    self._connect(junction, come, a, leave, b, outermost)
        self.junctions.append(junction)

    def roundabout(self, numbers: Sequence[int], arms: Sequence[Arm], radius: float) -> None:
        """
        Connect streets by a one-way ring.

        :param numbers: of its junctions, one per street. :param arms: counter-clockwise.
        :param radius: of the island, m.
        """
        directions = [arm.place.heading for arm in arms]
        setbacks = roundabout_setbacks(directions, radius)
        middle = arms[0].place.moved(-setbacks[0]).point
        shares = ring_shares(directions)
        rings = []
        for i, direction in enumerate(directions):
            j = (i + 1) % len(arms)
            begin = direction + shares[i]
            turned = (directions[j] - direction) % (2 * math.pi) - 2 * shares[i]
            piece = _ring(middle, radius, begin, turned)
            rings.append(
                Road(
                    self._number(),
                    NO_JUNCTION,
                    [piece],
                    RING.centre,
                    [],
                    _strips(RING),
                    Link('junction', numbers[i]),
                    Link('junction', numbers[j]),
                )
            )
        self.roads += rings
        for i, arm in enumerate(arms):
            before, after = rings[i - 1], rings[i]
            come = Arm(before.number, 'end', before.pieces[0].end.turned(math.pi), RING)
            leave = Arm(after.number, 'start', after.pieces[0].place, RING)
            begin = directions[i] - shares[i - 1]
            past = [_ring(middle, radius, begin, shares[i - 1] + shares[i])]
            junction = Junction(numbers[i], f'roundabout_{numbers[0]}_{i}', [])
            self._connect(junction, arm, 1, leave, 1, outermost=True)
            self._connect(junction, come, 1, arm, 1, outermost=True)
            self._connect(junction, come, 1, leave, 1, outermost=False, pieces=past)
            self.junctions.append(junction)

    def _connect(
        self,
        junction: Junction,
        come: Arm,
        lane: int,
        leave: Arm,
        target: int,
        outermost: bool,
        pieces: Optional[List[Piece]] = None,
    ) -> None:
        """Lead one lane through a junction; the outermost one has what lies beside the street."""
        number = self._number()
        strips = [
            Strip(
                'driving',
                come.profile.width,
                leave.profile.width,
                EDGE if outermost else NO_MARK,
                come.incoming(lane),
                leave.outgoing(target),
            )
        ]
        if outermost:
            strips += _beside(come, leave)
        self.roads.append(
            Road(
                number,
                junction.number,
                pieces or self._join(come.come(lane), leave.leave(target)),
                NO_MARK,
                [],
                strips,
                Link('road', come.road, come.contact),
                Link('road', leave.road, leave.contact),
            )
        )
        junction.connections.append(Connection(come.road, come.incoming(lane), number))

    def _number(self) -> int:
        self._next_road += 1
        return self._next_road - 1


def is_crowded(roads: Sequence[Road]) -> bool:
    """
    Return whether a lane strays over what lies beside another one that begins or ends with it.

    :param roads: through junctions.
    """
    for outermost in roads:
        if len(outermost.right) > 1:
            for other in roads:
                if other is not outermost and (
                    (other.before == outermost.before and _strays(other, outermost, False))
                    or (other.after == outermost.after and _strays(other, outermost, True))
                ):
                    return True
    return False


def _strays(road: Road, outermost: Road, from_end: bool) -> bool:
    """Return whether a lane leaves another one to its right, followed from where they part."""
    for distance in np.arange(1.0, 0.7 * min(road.length, outermost.length), 1.0):
        edge, limit = (
            r.right_edge(r.length - distance if from_end else distance) for r in (road, outermost)
        )
        if ((edge.point - limit.point) * cmath.rect(1.0, -limit.heading)).imag < -STRAY:
            return True
    return False


def _strips(profile: Profile) -> List[Strip]:
    marks = [*[LANES] * (profile.lanes - 1), EDGE]
    strips = [Strip('driving', profile.width, profile.width, mark) for mark in marks]
    for kind, width in _margins(profile):
        if width:
            strips.append(Strip(kind, width, width, NO_MARK))
    return strips


def _margins(profile: Profile) -> Tuple[Tuple[str, float], Tuple[str, float]]:
    return ('shoulder', profile.shoulder), ('sidewalk', profile.sidewalk)


def _beside(come: Arm, leave: Arm) -> Iterator[Strip]:
    """Yield shoulder and sidewalk of the way round a corner; what only one street has, tapers."""
    before, after = come.profile.lanes, leave.profile.lanes
    for (kind, begin), (_, end) in zip(_margins(come.profile), _margins(leave.profile)):
        before, after = before + (begin > 0.0), after + (end > 0.0)
        if begin or end:
            yield Strip(
                kind,
                begin,
                end,
                NO_MARK,
                come.incoming(before) if begin else None,
                leave.outgoing(after) if end else None,
            )


def _movements(lanes: int, targets: int, straight: bool, right: bool) -> Iterator[Tuple[int, int]]:
    """
    Yield from which lane to which one may go, counted from the middle.

    Straight on each keeps its lane; where lanes end they merge, where lanes begin they part. Right
    turns are from and to the outermost lane, left turns from and to the innermost one.
    """
    if straight:
        yield from ((lane, min(lane, targets)) for lane in range(1, lanes + 1))
        yield from ((lanes, target) for target in range(lanes + 1, targets + 1))
    else:
        yield (lanes, targets) if right else (1, 1)


def _straight_on(come: Arm, exits: Sequence[Arm]) -> Optional[int]:
    """Return which exit goes straight on: of three the middle one, of two what turns little."""
    turns = [
        abs(math.remainder(leave.place.heading - come.place.heading - math.pi, 2 * math.pi))
        for leave in exits
    ]
    if len(exits) == 3:
        return 1
    least = min(turns)
    return turns.index(least) if least < STRAIGHT_ON else None


def _ring(middle: complex, radius: float, begin: float, turned: float) -> Piece:
    """Return a part of a ring, counter-clockwise from the direction ``begin``."""
    place = Place(middle, begin).moved(radius).turned(math.pi / 2)
    return Piece(place, radius * turned, 1.0 / radius, 1.0 / radius)
