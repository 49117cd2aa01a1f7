r"""
Write maps/town.xodr, the small town that this project ships.

Eight streets, four T junctions, one crossing.

    python tools/make_town.py [FILE]

The same file comes out every time, byte for byte. Plan (m, x to the right, y up):

    (-120,120)---N(-40,120)----------.
        |          \                  \
    W(-120,40)--.   \                  |
        |        `---C(0,0)--------E(120,0)
        (             |                |
         )            |               /
        (_________S(0,-120)_________/
"""

from math import pi, radians, sin, sqrt
from pathlib import Path
import sys
from typing import Dict, List, Sequence, Tuple

from av_td3_ros.driving.towns_curves import Piece, Place
from av_td3_ros.driving.towns_junctions import Arm, Builder, street
from av_td3_ros.driving.towns_opendrive import document, Mark
from av_td3_ros.driving.towns_plan import Profile

FILE = Path(__file__).resolve().parents[1] / 'maps' / 'town.xodr'
PROFILE = Profile(lanes=1, width=3.5, shoulder=0.0, sidewalk=2.0, centre=Mark('broken', 'yellow'))
ARM = 12.0  # from the middle of a junction to where its streets begin
BEND = 40.0
# CARLA takes a junction for a road where the two share a number.
FIRST_JUNCTION, FIRST_CONNECTION = 50, 100

# Length, m, and curvature, 1/m, left positive.
Part = Tuple[float, float]


def straight(length: float) -> Part:
    """Return a straight piece, m."""
    return length, 0.0


def turn(radius: float, degrees: float) -> Part:
    """Return an arc; positive degrees turn left."""
    return radius * abs(radians(degrees)), 1.0 / radius if degrees > 0 else -1.0 / radius


def bends(length: float, *degrees: float) -> List[Part]:
    """
    Return arcs that turn to and fro between two equal straight pieces, ``length`` m forward in
    all.
    """
    heading, forward = 0.0, 0.0
    for angle in map(radians, degrees):
        forward += BEND * abs(sin(heading + angle) - sin(heading))
        heading += angle
    rest = straight((length - forward) / 2)
    return [rest, *(turn(BEND, angle) for angle in degrees), rest]


# Street: x, y and heading of its beginning, its parts, the junctions at its two ends.
STREETS = (
    ((0.0, ARM, 90.0), bends(96.0, 60.0, -60.0), 'C', 'N'),
    ((ARM, 0.0, 0.0), [straight(96.0)], 'C', 'E'),
    ((0.0, -ARM, -90.0), [straight(96.0)], 'C', 'S'),
    ((-ARM, 0.0, 180.0), bends(96.0, -60.0, 60.0), 'C', 'W'),
    ((-40.0 + ARM, 120.0, 0.0), [straight(98.0), turn(50.0, -90.0), straight(58.0)], 'N', 'E'),
    (
        (120.0, -ARM, -90.0),
        [
            straight(18.0),
            turn(BEND, -45.0),
            straight(50.0 * sqrt(2.0)),
            turn(BEND, -45.0),
            straight(18.0),
        ],
        'E',
        'S',
    ),
    (
        (-ARM, -120.0, 180.0),
        [straight(88.0), turn(20.0, -90.0), *bends(128.0, -35.0, 70.0, -35.0)],
        'S',
        'W',
    ),
    ((-120.0, 40.0 + ARM, 90.0), [straight(38.0), turn(30.0, -90.0), straight(38.0)], 'W', 'N'),
)
JUNCTIONS = {'C': 0j, 'N': -40 + 120j, 'E': 120 + 0j, 'S': -120j, 'W': -120 + 40j}


def build() -> str:
    """Return the OpenDRIVE text."""
    ids = {name: number for number, name in enumerate(JUNCTIONS, start=FIRST_JUNCTION)}
    arms: Dict[str, List[Arm]] = {name: [] for name in JUNCTIONS}
    roads = []
    for number, ((x, y, degrees), parts, first, last) in enumerate(STREETS):
        begin = Place(complex(x, y), radians(degrees))
        pieces = _laid(begin, parts)
        roads.append(street(number, pieces, PROFILE, (ids[first], ids[last])))
        arms[first].append(Arm(number, 'start', begin, PROFILE))
        arms[last].append(Arm(number, 'end', pieces[-1].end.turned(pi), PROFILE))
    builder = Builder(FIRST_CONNECTION, _arc)
    for name, middle in JUNCTIONS.items():
        for arm in arms[name]:
            _check(name, middle, arm)
        builder.crossing(
            ids[name], sorted(arms[name], key=lambda arm: arm.place.heading % (2 * pi))
        )
    return document('town', roads + builder.roads, builder.junctions)


def _laid(place: Place, parts: Sequence[Part]) -> List[Piece]:
    """Return the parts, one after the other."""
    pieces: List[Piece] = []
    for length, curvature in parts:
        begin = pieces[-1].end if pieces else place
        pieces.append(Piece(begin, length, curvature, curvature))
    return pieces


def _arc(come: Place, leave: Place) -> List[Piece]:
    """Return the way through a junction: straight on, or a quarter of a circle."""
    way = (leave.point - come.point) / (come.moved(1.0).point - come.point)
    if abs(way.imag) < 1e-6:
        return _laid(come, [straight(2 * ARM)])
    return _laid(come, [turn(ARM, 90.0 if way.imag > 0.0 else -90.0)])


def _check(name: str, middle: complex, arm: Arm) -> None:
    if abs(arm.place.moved(-ARM).point - middle) > 1e-6:
        raise ValueError(
            f'street {arm.road} must meet {name} {ARM:g} m from {middle}, got {arm.place}; see '
            'STREETS'
        )


if __name__ == '__main__':
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(build())
