"""
Random towns: OpenDRIVE text from a seed, for training on many maps.

Streets with one or two lanes per direction, straight and bent, T junctions, crossings and
roundabouts; traffic keeps to the right. How they are made, and what holds for all of them:
docs/design/towns.md.
"""

import cmath
import math
from numbers import Integral
from typing import Dict, List, NamedTuple, Sequence, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.driving.opendrive import MapError
from av_td3_ros.driving.towns_curves import Place, Piece, rounded, tightest
from av_td3_ros.driving.towns_junctions import (
    Arm,
    Builder,
    crossing_setbacks,
    FIRST_JUNCTION,
    FIRST_ROAD,
    is_crowded,
    roundabout_setbacks,
    street,
)
from av_td3_ros.driving.towns_opendrive import document, Junction, Road
from av_td3_ros.driving.towns_plan import draw, Node, Plan

LARGEST_SEED = 2**63 - 1
# Of several towns on one map: how many at most; from middle to middle, m, where the longest is
# 690 m; numbers of roads and junctions that each has for itself.
MOST_TOWNS, APART, NUMBERS = 64, 1000.0, 10_000
# What a draft must keep to: m.
TIGHTEST_STREET, TIGHTEST_TURN, SHORTEST_STREET = 22.0, 10.2, 25.0
# A draft that does not is drawn again, less irregular; 29 of 30 rectangles fit.
CALMER = 0.9
# Between neighbouring streets at a crossing and at a roundabout; how far a street may point away
# from where it leads: rad.
ANGLE, ROUNDABOUT_ANGLE = math.radians(66.0), math.radians(72.0)
TWIST = math.radians(15.0)
SPREADS = 60
# Share of a street between the junction and its first bend; its largest radius, m.
LEAD = 0.25
RADIUS = (60.0, 150.0)
TURN_RADIUS, ISLAND = (11.0, 15.0), (16.0, 22.0)
# Share of the junctions of narrow streets that become roundabouts.
ROUNDABOUTS = 0.4


class Leg(NamedTuple):
    """One end of a street at a junction; ``direction`` into the street, rad."""

    street: int
    contact: str
    direction: float


class Meeting(NamedTuple):
    """A junction in the making; ``radius``: of its right turns or of its island, m."""

    legs: List[Leg]
    is_roundabout: bool
    radius: float
    setbacks: List[float]


def town(seed: int) -> str:
    """
    Return the OpenDRIVE text of a random town.

    :param seed: 0 to 2^63 - 1; the same seed gives the same bytes.
    :raises MapError: for another seed.
    """
    return document(f'random_town_{seed}', *_parts(seed))


def towns(first: int, last: int) -> str:
    """
    Return the OpenDRIVE text of several random towns side by side, without a road between them.

    :param first: the smallest seed. :param last: the largest one.
    :raises MapError: for another seed, more than ``MOST_TOWNS`` or none.
    """
    count = last - first + 1
    if not 1 <= count <= MOST_TOWNS:
        raise MapError(
            f'random towns must be 1 to {MOST_TOWNS}, from the smaller seed to the larger one, '
            f'got {first}-{last}; set them with --map random_town:FIRST-LAST (simulator.map)'
        )
    columns = math.ceil(math.sqrt(count))
    middle = complex(columns - 1, math.ceil(count / columns) - 1) / 2
    roads: List[Road] = []
    junctions: List[Junction] = []
    for number in range(count):
        place = complex(number % columns, number // columns) - middle
        for part, moved in zip(_parts(first + number), (roads, junctions)):
            moved += [each.moved(place * APART, number * NUMBERS) for each in part]
    return document(f'random_town_{first}-{last}', roads, junctions)


def _parts(seed: int) -> Tuple[List[Road], List[Junction]]:
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise MapError(
            f'the seed of a random town must be a whole number from 0 to {LARGEST_SEED}, got '
            f'{seed!r}; set it with --map random_town:SEED (simulator.map)'
        )
    rng = np.random.default_rng(int(seed))
    irregularity = float(rng.uniform())
    while True:
        plan = draw(rng, irregularity)
        streets, builder = _build(rng, plan, irregularity)
        if _fits(streets, builder):
            return streets + builder.roads, builder.junctions
        irregularity *= CALMER


def _build(
    rng: np.random.Generator, plan: Plan, irregularity: float
) -> Tuple[List[Road], Builder]:
    meetings = _meetings(rng, plan, irregularity)
    numbers, following = {}, FIRST_JUNCTION
    for node, meeting in meetings.items():
        count = len(meeting.legs) if meeting.is_roundabout else 1
        numbers[node] = list(range(following, following + count))
        following += count
    arms: Dict[Node, List[Arm]] = {node: [] for node in meetings}
    ends: List[Dict[str, Tuple[Place, int]]] = [{} for _ in plan.streets]
    for node, meeting in meetings.items():
        for i, (leg, setback) in enumerate(zip(meeting.legs, meeting.setbacks)):
            place = Place(plan.places[node], leg.direction).moved(setback)
            profile = plan.streets[leg.street].profile
            arms[node].append(Arm(FIRST_ROAD + leg.street, leg.contact, place, profile))
            ends[leg.street][leg.contact] = place, numbers[node][i * meeting.is_roundabout]
    roads = []
    for i, (nodes, profile) in enumerate(plan.streets):
        (first, before), (last, after) = ends[i]['start'], ends[i]['end']
        pieces = _street_line(rng, first, [plan.places[node] for node in nodes[1:-1]], last)
        roads.append(street(FIRST_ROAD + i, pieces, profile, (before, after)))
    builder = Builder(FIRST_ROAD + len(roads))
    for node, meeting in meetings.items():
        if meeting.is_roundabout:
            builder.roundabout(numbers[node], arms[node], meeting.radius)
        else:
            builder.crossing(numbers[node][0], arms[node])
    return roads, builder


def _meetings(rng: np.random.Generator, plan: Plan, irregularity: float) -> Dict[Node, Meeting]:
    """Return what the junctions are, and where their streets point, counter-clockwise."""
    found: Dict[Node, List[Leg]] = {}
    for i, (nodes, _) in enumerate(plan.streets):
        for contact, node, following in (
            ('start', nodes[0], nodes[1]),
            ('end', nodes[-1], nodes[-2]),
        ):
            direction = cmath.phase(plan.places[following] - plan.places[node])
            direction += irregularity * TWIST * float(rng.uniform(-1.0, 1.0))
            found.setdefault(node, []).append(Leg(i, contact, direction))
    meetings = {}
    for node, legs in found.items():
        legs = sorted(legs, key=lambda leg: leg.direction)
        profiles = [plan.streets[leg.street].profile for leg in legs]
        is_narrow = all(profile.lanes == 1 for profile in profiles)
        is_roundabout = bool(rng.random() < ROUNDABOUTS) and is_narrow
        directions = _spread(
            [leg.direction for leg in legs], ROUNDABOUT_ANGLE if is_roundabout else ANGLE
        )
        radius = float(rng.uniform(*(ISLAND if is_roundabout else TURN_RADIUS)))
        setbacks = (
            roundabout_setbacks(directions, radius)
            if is_roundabout
            else crossing_setbacks(directions, profiles, radius)
        )
        legs = [leg._replace(direction=angle) for leg, angle in zip(legs, directions)]
        meetings[node] = Meeting(legs, is_roundabout, radius, setbacks)
    return meetings


def _spread(directions: Sequence[float], least: float) -> List[float]:
    """Push directions (counter-clockwise, rad) apart until neighbours enclose ``least``."""
    directions = list(directions)
    for _ in range(SPREADS):
        for i in range(len(directions)):
            j = (i + 1) % len(directions)
            lacking = least - (directions[j] - directions[i]) % (2 * math.pi)
            if lacking > 0.0:
                directions[i] -= lacking / 2
                directions[j] += lacking / 2
    return directions


def _street_line(
    rng: np.random.Generator, first: Place, bends: Sequence[complex], last: Place
) -> List[Piece]:
    """Return the line of a street; ``first`` and ``last`` look into it."""
    ahead = LEAD * abs((bends[0] if bends else last.point) - first.point)
    back = LEAD * abs((bends[-1] if bends else first.point) - last.point)
    corners = [first.point, first.moved(ahead).point, *bends, last.moved(back).point, last.point]
    return rounded(corners, float(rng.uniform(*RADIUS)))


def _fits(streets: Sequence[Road], builder: Builder) -> bool:
    """Return whether everything can be driven along, and every lane leads to every lane."""
    if min(road.length for road in streets) < SHORTEST_STREET:
        return False
    if min(tightest(road.pieces) for road in streets) < TIGHTEST_STREET:
        return False
    if min(tightest(road.pieces) for road in builder.roads) < TIGHTEST_TURN:
        return False
    if is_crowded(builder.roads):
        return False
    lanes = nx.DiGraph()
    through = {road.number: road for road in builder.roads}
    for junction in builder.junctions:
        for come, lane, number in junction.connections:
            road = through[number]
            lanes.add_edge((come, lane), (road.after.number, road.right[0].after))
    return nx.is_strongly_connected(lanes)
