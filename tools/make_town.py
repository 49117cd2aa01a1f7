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

from math import cos, hypot, pi, radians, sin, sqrt
from pathlib import Path
import sys
from typing import Dict, List, NamedTuple, Tuple
from xml.etree import ElementTree

from scenariogeneration import xodr
from scenariogeneration.xodr import (
    ContactPoint,
    ElementType,
    LaneType,
    RoadMarkColor,
    RoadMarkType,
)

FILE = Path(__file__).resolve().parents[1] / 'maps' / 'town.xodr'
LANE, SIDEWALK = 3.5, 2.0
ARM = 12.0  # from the middle of a junction to where its streets begin
BEND = 40.0
DASH, GAP = 3.0, 4.5
# CARLA takes a junction for a road where the two share a number.
FIRST_JUNCTION, FIRST_CONNECTION = 50, 100
GEOREFERENCE = '+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs'
CONTACTS = {'start': ContactPoint.start, 'end': ContactPoint.end}

Place = Tuple[float, float, float]


class Arm(NamedTuple):
    """Where a street meets a junction; ``place`` (x, y, heading) looks into the street."""

    street: int
    contact: str
    place: Place


def straight(length: float) -> xodr.Line:
    """Return a straight piece, m."""
    return xodr.Line(length)


def turn(radius: float, degrees: float) -> xodr.Arc:
    """Return an arc; positive degrees turn left."""
    return xodr.Arc(1.0 / radius if degrees > 0 else -1.0 / radius, angle=abs(radians(degrees)))


def bends(length: float, *degrees: float) -> List[xodr.geometry._BaseGeometry]:
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


# Street: its beginning, its pieces, the junctions at its two ends.
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
JUNCTIONS = {
    'C': (0.0, 0.0),
    'N': (-40.0, 120.0),
    'E': (120.0, 0.0),
    'S': (0.0, -120.0),
    'W': (-120.0, 40.0),
}


def build() -> str:
    """Return the OpenDRIVE text."""
    town = xodr.OpenDrive('town', revMinor='4', geo_reference=GEOREFERENCE)
    ids = {name: number for number, name in enumerate(JUNCTIONS, start=FIRST_JUNCTION)}
    arms: Dict[str, List[Arm]] = {name: [] for name in JUNCTIONS}
    for number, (begin, pieces, first, last) in enumerate(STREETS):
        plan, end = _plan((*begin[:2], radians(begin[2])), pieces)
        road = xodr.Road(
            number, plan, _lanes(both=True, sidewalk=True, marks=True), name=f'{first}{last}'
        )
        road.add_predecessor(ElementType.junction, ids[first])
        road.add_successor(ElementType.junction, ids[last])
        town.add_road(road)
        arms[first].append(Arm(number, 'start', (*begin[:2], radians(begin[2]))))
        arms[last].append(Arm(number, 'end', (end[0], end[1], end[2] + pi)))
    following = FIRST_CONNECTION
    for name, middle in JUNCTIONS.items():
        junction = xodr.Junction(name, ids[name])
        for come in arms[name]:
            _check(name, middle, come)
            others = [arm for arm in arms[name] if arm is not come]
            rightmost = min(others, key=lambda arm: _turned(come, arm))
            for leave in others:
                town.add_road(_connection(following, ids[name], come, leave, leave is rightmost))
                connection = xodr.Connection(come.street, following, ContactPoint.start)
                connection.add_lanelink(-1 if come.contact == 'end' else 1, -1)
                junction.add_connection(connection)
                following += 1
        town.add_junction(junction)
    return _text(town.get_element())


def _connection(number: int, junction: int, come: Arm, leave: Arm, sidewalk: bool) -> xodr.Road:
    """One lane through a junction; the rightmost one has the sidewalk."""
    x, y, heading = come.place
    degrees = _turned(come, leave) * 180.0 / pi
    piece = straight(2 * ARM) if abs(degrees) < 1.0 else turn(ARM, round(degrees))
    plan, end = _plan((x, y, heading + pi), [piece])
    if hypot(end[0] - leave.place[0], end[1] - leave.place[1]) > 1e-6:
        raise ValueError(f'connection {number} must end at {leave.place}, got {end}; see STREETS')
    road = xodr.Road(
        number, plan, _lanes(both=False, sidewalk=sidewalk, marks=sidewalk), road_type=junction
    )
    road.add_predecessor(ElementType.road, come.street, CONTACTS[come.contact])
    road.add_successor(ElementType.road, leave.street, CONTACTS[leave.contact])
    lanes = road.lanes.lanesections[0].rightlanes
    for index, lane in enumerate(lanes, start=1):
        lane.add_link('predecessor', -index if come.contact == 'end' else index)
        lane.add_link('successor', -index if leave.contact == 'start' else index)
    return road


def _lanes(both: bool, sidewalk: bool, marks: bool) -> xodr.Lanes:
    none = xodr.RoadMark(RoadMarkType.none)
    dashes = xodr.RoadMark(RoadMarkType.broken, 0.12, DASH, GAP, color=RoadMarkColor.yellow)
    edge = xodr.RoadMark(RoadMarkType.solid, 0.12, color=RoadMarkColor.white)
    centre = xodr.Lane(a=0.0)
    centre.add_roadmark(dashes if both else none)
    section = xodr.LaneSection(0, centre)
    for side in (section.add_right_lane, section.add_left_lane)[: 2 if both else 1]:
        lane = xodr.Lane(LaneType.driving, a=LANE)
        lane.add_roadmark(edge if marks else none)
        side(lane)
        if sidewalk:
            walk = xodr.Lane(LaneType.sidewalk, a=SIDEWALK)
            walk.add_roadmark(none)
            side(walk)
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return lanes


def _plan(begin: Place, pieces: List[xodr.geometry._BaseGeometry]) -> Tuple[xodr.PlanView, Place]:
    plan = xodr.PlanView(*begin)
    for piece in pieces:
        plan.add_geometry(piece)
    plan.adjust_geometries()
    return plan, plan.get_end_point()


def _turned(come: Arm, leave: Arm) -> float:
    """Angle between driving in by one arm and out by the other, rad, left positive."""
    return (leave.place[2] - come.place[2]) % (2 * pi) - pi


def _check(name: str, middle: Tuple[float, float], arm: Arm) -> None:
    x, y, heading = arm.place
    wanted = middle[0] + ARM * cos(heading), middle[1] + ARM * sin(heading)
    if hypot(x - wanted[0], y - wanted[1]) > 1e-6:
        raise ValueError(
            f'street {arm.street} must meet {name} at {wanted}, got {(x, y)}; see STREETS'
        )


def _text(root: ElementTree.Element) -> str:
    """No date, and no digits that another machine might compute differently."""
    root.find('header').set('date', '')
    for element in root.iter():
        for key, value in element.attrib.items():
            if '.' in value:
                try:
                    element.set(
                        key,
                        (
                            f'{round(float(value), 9) + 0.0:g}'
                            if float(value).is_integer()
                            else repr(round(float(value), 9))
                        ),
                    )
                except ValueError:
                    continue
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, 'unicode') + '\n'
    )


if __name__ == '__main__':
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(build())
