"""
Write ``maps/town.xodr``: our own small town, as OpenDRIVE.

Eight two-way streets, four T junctions and a crossing, 240 m by 270 m. Corners are arcs, one street bends. The
result is the same, byte for byte, every time.
"""

import math
from pathlib import Path
import re
from typing import Dict, List, Tuple

from scenariogeneration import xodr

TARGET = Path(__file__).resolve().parent.parent / 'maps' / 'town.xodr'
LANE_WIDTH, SIDEWALK_WIDTH = 3.5, 2.0
ARM = 14.0     # from the middle of a junction to its streets
CORNER = 22.0  # radius of the town's corners
BEND = 0.6     # rad, each half of the bending street
BEND_RADIUS = 60.0
WEST, MIDDLE, EAST = 0.0, 110.0, 240.0
SOUTH, CENTRE = 0.0, 100.0
SHIFT = 2.0 * BEND_RADIUS * (1.0 - math.cos(BEND))
NORTH = CENTRE + 2.0 * ARM + 2.0 * BEND_RADIUS * math.sin(BEND) + 60.0

Place = Tuple[float, float]
# Name of a junction: where it is.
JUNCTIONS: Dict[str, Place] = {
    'south': (MIDDLE, SOUTH), 'west': (WEST, CENTRE), 'centre': (MIDDLE, CENTRE), 'east': (EAST, CENTRE),
    'north': (MIDDLE + SHIFT, NORTH)}
HEADINGS = {'e': 0.0, 'n': math.pi / 2, 'w': math.pi, 's': -math.pi / 2}
# A street: from junction, leaving towards, to junction, whose side it arrives at.
STREETS: List[Tuple[str, str, str, str]] = [
    ('south', 'w', 'west', 's'), ('south', 'e', 'east', 's'), ('west', 'n', 'north', 'w'),
    ('east', 'n', 'north', 'e'), ('south', 'n', 'centre', 's'), ('west', 'e', 'centre', 'w'),
    ('centre', 'e', 'east', 'w'), ('centre', 'n', 'north', 's')]


def arm(junction: str, side: str) -> Place:
    """Return where a street meets a junction."""
    x, y = JUNCTIONS[junction]
    return x + ARM * math.cos(HEADINGS[side]), y + ARM * math.sin(HEADINGS[side])


def geometry(start: Place, leaving: str, end: Place, side: str) -> List[object]:
    """Return the pieces of a street: straight, round a corner, or bending."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    heading = HEADINGS[leaving]
    along = dx * math.cos(heading) + dy * math.sin(heading)
    left = dy * math.cos(heading) - dx * math.sin(heading)
    if abs(left) < 1e-9:
        return [xodr.Line(along)]
    turn = math.copysign(1.0, left)
    if HEADINGS[side] == math.remainder(heading + math.pi, 2 * math.pi) or {leaving, side} in ({'n', 's'}, {'e', 'w'}):
        straight = (along - 2.0 * BEND_RADIUS * math.sin(BEND)) / 2.0
        return [xodr.Line(straight), xodr.Arc(turn / BEND_RADIUS, angle=BEND),
                xodr.Arc(-turn / BEND_RADIUS, angle=BEND), xodr.Line(straight)]
    return [xodr.Line(along - CORNER), xodr.Arc(turn / CORNER, angle=math.pi / 2),
            xodr.Line(abs(left) - CORNER)]


def street(number: int, start: Place, leaving: str, end: Place, side: str) -> xodr.Road:
    """Return a two-way street with a broken yellow middle line, solid edges and sidewalks."""
    view = xodr.PlanView(start[0], start[1], HEADINGS[leaving])
    for piece in geometry(start, leaving, end, side):
        view.add_geometry(piece)
    middle = xodr.RoadMark(xodr.RoadMarkType.broken, 0.14, length=3, space=4.5, color=xodr.RoadMarkColor.yellow)
    section = xodr.LaneSection(0, xodr.Lane(lane_type=xodr.LaneType.none, a=0))
    section.centerlane.add_roadmark(middle)
    for add in (section.add_left_lane, section.add_right_lane):
        driving = xodr.Lane(a=LANE_WIDTH, lane_type=xodr.LaneType.driving)
        driving.add_roadmark(xodr.RoadMark(xodr.RoadMarkType.solid, 0.14, color=xodr.RoadMarkColor.white))
        add(driving)
        add(xodr.Lane(a=SIDEWALK_WIDTH, lane_type=xodr.LaneType.sidewalk))
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return xodr.Road(number, view, lanes, name=f'street {number}')


def town() -> xodr.OpenDrive:
    """Return the whole town."""
    drive = xodr.OpenDrive('town', geo_reference='+proj=tmerc +lat_0=0 +lon_0=0')
    arms: Dict[str, List[Tuple[xodr.Road, str, str]]] = {name: [] for name in JUNCTIONS}
    for number, (first, leaving, last, side) in enumerate(STREETS, start=1):
        road = street(number, arm(first, leaving), leaving, arm(last, side), side)
        drive.add_road(road)
        arms[first].append((road, leaving, 'predecessor'))
        arms[last].append((road, side, 'successor'))
    for number, (name, joined) in enumerate(arms.items(), start=1):
        creator = xodr.CommonJunctionCreator(100 * number, name, startnum=1000 * number)
        for road, side, end in joined:
            heading = HEADINGS[side]
            creator.add_incoming_road_cartesian_geometry(
                road, ARM * math.cos(heading), ARM * math.sin(heading), heading + math.pi, end)
        for i, (one, _, _) in enumerate(joined):
            for other, _, _ in joined[i + 1:]:
                creator.add_connection(one.id, other.id)
        drive.add_junction_creator(creator)
    drive.adjust_roads_and_lanes()
    return drive


def main() -> None:
    """Write the file."""
    TARGET.parent.mkdir(exist_ok=True)
    town().write_xml(str(TARGET))
    text = re.sub(r' date="[^"]*"', '', TARGET.read_text())
    TARGET.write_text(text)


if __name__ == '__main__':
    main()
