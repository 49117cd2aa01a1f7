"""
OpenDRIVE text of roads and junctions (ASAM OpenDRIVE 1.4, what CARLA reads).

No date and nine decimals: the same roads are the same bytes.
"""

from typing import List, NamedTuple, Optional, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from av_td3_ros.driving.towns_curves import Piece, Place

GEOREFERENCE = '+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs'
LINE_WIDTH = 0.12
# Share of a lane at each end where its width does not change.
EVEN = 0.25
NO_JUNCTION = -1


class Mark(NamedTuple):
    """A lane marking: ``kind``, such as ``solid solid``, and ``colour``."""

    kind: str
    colour: str


NO_MARK = Mark('none', 'white')
EDGE = Mark('solid', 'white')
LANES = Mark('broken', 'white')


class Strip(NamedTuple):
    """
    A lane.

    ``kind``: as OpenDRIVE names it. ``begin``, ``end``: width at the two ends of the road, m.
    ``mark``: on its outer edge. ``before``, ``after``: lanes of the roads that it links to.
    """

    kind: str
    begin: float
    end: float
    mark: Mark
    before: Optional[int] = None
    after: Optional[int] = None


class Link(NamedTuple):
    """What a road leads to: an ``element`` (junction or road) and, of a road, which end."""

    element: str
    number: int
    contact: str = ''


class Road(NamedTuple):
    """A road; ``left`` and ``right``: its lanes, each from the reference line outwards."""

    number: int
    junction: int
    pieces: List[Piece]
    centre: Mark
    left: List[Strip]
    right: List[Strip]
    before: Link
    after: Link

    def moved(self, by: complex, numbers: int) -> 'Road':
        """Return it elsewhere, ``by`` m, and with other numbers, as far on, all around."""
        pieces = [
            piece._replace(place=Place(piece.place.point + by, piece.place.heading))
            for piece in self.pieces
        ]
        return self._replace(
            number=self.number + numbers,
            junction=NO_JUNCTION if self.junction == NO_JUNCTION else self.junction + numbers,
            pieces=pieces,
            before=self.before._replace(number=self.before.number + numbers),
            after=self.after._replace(number=self.after.number + numbers),
        )

    @property
    def length(self) -> float:
        """Length of the reference line, m."""
        return sum(piece.length for piece in self.pieces)

    def right_edge(self, distance: float) -> Place:
        """Return the right edge of its lane -1, ``distance``, m, after its beginning."""
        share = min(max((distance / self.length - EVEN) / (1.0 - 2.0 * EVEN), 0.0), 1.0)
        begin, end = self.right[0].begin, self.right[0].end
        width = begin + (end - begin) * share**2 * (3.0 - 2.0 * share)
        for piece in self.pieces[:-1]:
            if distance < piece.length:
                return piece.at(distance).moved(0.0, -width)
            distance -= piece.length
        return self.pieces[-1].at(distance).moved(0.0, -width)


class Connection(NamedTuple):
    """From a lane of one road to lane -1 of a road in the junction."""

    come: int
    lane: int
    road: int


class Junction(NamedTuple):
    """A junction; the numbers of junctions and of roads must differ, or CARLA mixes them up."""

    number: int
    name: str
    connections: List[Connection]

    def moved(self, by: complex, numbers: int) -> 'Junction':
        """Return it with other numbers, as far on; it has no place but that of its roads."""
        connections = [
            Connection(come + numbers, lane, road + numbers)
            for come, lane, road in self.connections
        ]
        return self._replace(number=self.number + numbers, connections=connections)


def document(name: str, roads: Sequence[Road], junctions: Sequence[Junction]) -> str:
    """
    Return the OpenDRIVE text.

    :param name: of the map. :param roads: streets and what leads through junctions.
    :param junctions: each with its connections.
    """
    root = Element('OpenDRIVE')
    header = _add(root, 'header', revMajor=1, revMinor=4, name=name, version='1.00', date='')
    SubElement(header, 'geoReference').text = GEOREFERENCE
    for road in roads:
        _road(root, road)
    for junction in junctions:
        element = _add(root, 'junction', id=junction.number, name=junction.name)
        for number, (come, lane, road) in enumerate(junction.connections):
            connection = _add(
                element,
                'connection',
                id=number,
                incomingRoad=come,
                connectingRoad=road,
                contactPoint='start',
            )
            SubElement(connection, 'laneLink', {'from': str(lane), 'to': '-1'})
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, "unicode")}\n'


def _road(root: Element, road: Road) -> None:
    element = _add(
        root, 'road', name='', length=road.length, id=road.number, junction=road.junction
    )
    links = SubElement(element, 'link')
    for tag, link in (('predecessor', road.before), ('successor', road.after)):
        contact = {'contactPoint': link.contact} if link.contact else {}
        _add(links, tag, elementType=link.element, elementId=link.number, **contact)
    plan, along = SubElement(element, 'planView'), 0.0
    for piece in road.pieces:
        _geometry(plan, piece, along)
        along += piece.length
    section = _add(SubElement(element, 'lanes'), 'laneSection', s=0.0)
    if road.left:
        left = SubElement(section, 'left')
        for number in range(len(road.left), 0, -1):
            _lane(left, number, road.left[number - 1], road.length)
    centre = _add(SubElement(section, 'center'), 'lane', id=0, type='none', level='false')
    _mark(centre, road.centre)
    right = SubElement(section, 'right')
    for number, strip in enumerate(road.right, start=1):
        _lane(right, -number, strip, road.length)


def _geometry(plan: Element, piece: Piece, along: float) -> None:
    (point, heading), length, first, last = piece
    geometry = _add(
        plan, 'geometry', s=along, x=point.real, y=point.imag, hdg=heading, length=length
    )
    if first != last:
        _add(geometry, 'spiral', curvStart=first, curvEnd=last)
    elif first:
        _add(geometry, 'arc', curvature=first)
    else:
        _add(geometry, 'line')


def _lane(side: Element, number: int, strip: Strip, length: float) -> None:
    lane = _add(side, 'lane', id=number, type=strip.kind, level='false')
    link = SubElement(lane, 'link')
    for tag, other in (('predecessor', strip.before), ('successor', strip.after)):
        if other is not None:
            _add(link, tag, id=other)
    _add(lane, 'width', sOffset=0.0, a=strip.begin, b=0.0, c=0.0, d=0.0)
    wider = strip.end - strip.begin
    if wider:
        # A cubic without slope at its ends, away from the ends of the lane: a lane that leaves the
        # same street for another one has the width that this one has there.
        taper = (1.0 - 2.0 * EVEN) * length
        c, d = 3.0 * wider / taper**2, -2.0 * wider / taper**3
        _add(lane, 'width', sOffset=EVEN * length, a=strip.begin, b=0.0, c=c, d=d)
        _add(lane, 'width', sOffset=length - EVEN * length, a=strip.end, b=0.0, c=0.0, d=0.0)
    _mark(lane, strip.mark)


def _mark(lane: Element, mark: Mark) -> None:
    change = 'both' if mark.kind == 'broken' else 'none'
    _add(
        lane,
        'roadMark',
        sOffset=0.0,
        type=mark.kind,
        weight='standard',
        color=mark.colour,
        width=LINE_WIDTH,
        laneChange=change,
    )


def _add(parent: Element, tag: str, **attributes: object) -> Element:
    return SubElement(parent, tag, {key: _text(value) for key, value in attributes.items()})


def _text(value: object) -> str:
    # Adding nought turns -0.0 into 0.0.
    return repr(round(float(value), 9) + 0.0) if isinstance(value, float) else str(value)
