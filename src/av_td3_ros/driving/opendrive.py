"""
OpenDRIVE text as XML: whether it is a map at all, and which lanes it has.

CARLA's reader answers a broken file with a hint or a crash, so the file is checked before it gets
there.
"""

import math
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from xml.etree import ElementTree

# Road, lane section, lane.
Key = Tuple[int, int, int]

# Where it starts, m along the road, and its coefficients b, c, d.
Polynomial = Tuple[float, float, float, float]

SHORTEST = 1e-3
# Limits: characters of a file; m of roads, of a place from the origin (beyond, single precision is
# coarser than 2 mm); CARLA's numbers of roads.
LARGEST_FILE = 50_000_000
LONGEST_ROADS, FARTHEST = 500e3, 32e3
LARGEST_ID = 2**31 - 1
# How much longer than its road a geometry may be, m.
LONGER = 1.0
SHAPES = ('line', 'arc', 'spiral', 'poly3', 'paramPoly3')
ORDERED = (
    ('planView/geometry', 'geometries'),
    ('elevationProfile/elevation', 'elevations'),
    ('lanes/laneOffset', 'lane offsets'),
)
NUMBERS = (
    ('elevationProfile/elevation', 'sabcd'),
    ('lanes/laneOffset', 'sabcd'),
    ('lanes/laneSection', 's'),
    ('lanes/laneSection//width', ('sOffset', *'abcd')),
    ('lanes/laneSection//roadMark', ('sOffset',)),
)


class MapError(ValueError):
    """
    A map or a route that cannot be had; the text says what, got, expected and where to fix it.
    """


def read(name: str, opendrive: str) -> ElementTree.Element:
    """
    Return the document.

    :param name: of the map. :param opendrive: text of the file.
    :raises MapError: where it is not OpenDRIVE, has no drivable lane, or is larger than the
        limits.
    """
    if len(opendrive) > LARGEST_FILE:
        raise MapError(
            f'map {name} must be of up to {LARGEST_FILE / 1e6:.0f} MB, got more; cut out the part '
            'that is needed'
        )
    try:
        root = ElementTree.fromstring(opendrive)
    except (ElementTree.ParseError, ValueError) as error:
        raise MapError(
            f'map {name} must be OpenDRIVE (XML), got broken XML: {error}; check the file'
        ) from None
    for element in root.iter():
        element.tag = element.tag.rpartition('}')[2]
    if root.tag != 'OpenDRIVE':
        raise MapError(f'map {name} must be OpenDRIVE, got XML of <{root.tag}>; check the file')
    roads = root.findall('road')
    if not any(lane.get('type') == 'driving' for road in roads for lane in road.iter('lane')):
        raise MapError(
            f'map {name} must have drivable lanes, got none among {len(roads)} roads; check '
            'the file'
        )
    road, fault = _first_fault(root, roads)
    if fault:
        raise MapError(
            f"map {name} must be OpenDRIVE that can be driven on, got road '{road}' with {fault}; "
            'check the file'
        )
    total = sum(_number(road, 'length') for road in roads)
    if total > LONGEST_ROADS:
        raise MapError(
            f'map {name} must have up to {LONGEST_ROADS / 1e3:.0f} km of roads, got '
            f'{total / 1e3:.0f} km; check the file'
        )
    return root


def _first_fault(
    root: ElementTree.Element, roads: List[ElementTree.Element]
) -> Tuple[Optional[str], Optional[str]]:
    """
    Return a road and what is wrong with it; each of these ends the process in CARLA's reader, or
    worse.
    """
    lanes: Dict[Optional[str], List[Set[int]]] = {}
    for road in roads:
        fault = _fault(road)
        if not fault and road.get('id') in lanes:
            fault = 'an id that another road has'
        if fault:
            return road.get('id'), fault
        lanes[road.get('id')] = [
            {int(lane.get('id', 0)) for lane in section.iter('lane')}
            for section in road.findall('lanes/laneSection')
        ]
    for road in roads:
        if not _links_lead_to_lanes(road, lanes):
            return road.get('id'), 'a link to a lane that is not there'
    for connection in root.findall('junction/connection'):
        ahead = lanes.get(connection.get('connectingRoad'), [])
        ends = [link.get('to') for link in connection.findall('laneLink')]
        if not ahead or not all(_is_whole(end) and _has(ahead, int(end or 0)) for end in ends):
            return connection.get('incomingRoad'), 'a junction that leads to no lane'
    return None, None


def _fault(road: ElementTree.Element) -> Optional[str]:
    sections = road.findall('lanes/laneSection')
    lanes = [lane for section in sections for lane in section.iter('lane')]
    if not all(_is_whole(element.get('id')) for element in [road, *lanes]):
        return 'an id, or the id of a lane, that is no whole number'
    if not 0 <= int(road.get('id', 0)) <= LARGEST_ID:
        return f'an id that is not from 0 to {LARGEST_ID}'
    geometry = road.findall('planView/geometry')
    if not geometry or not lanes:
        return 'no geometry' if not geometry else 'no lanes'
    if not all(_is_finite(value) for value in _values(road, geometry)):
        return 'a length or a geometry that is no number, or no length'
    length = _number(road, 'length')
    if length <= 0.0:
        return 'a length or a geometry that is no number, or no length'
    faults = (
        _fault_of_order(road),
        _fault_of_geometry(geometry, length),
        *(_fault_of_section(section) for section in sections),
    )
    return next((fault for fault in faults if fault), None)


def _values(road: ElementTree.Element, geometry: List[ElementTree.Element]) -> Iterator[str]:
    """Yield whatever has to be a number."""
    yield road.get('length', '')
    for part in geometry:
        shapes = [child for child in part if child.tag in SHAPES]
        for element in [part, *shapes]:  # beside them, userData and what else the standard allows
            yield from (v for name, v in element.attrib.items() if name != 'pRange')
    for path, names in NUMBERS:
        for element in road.iterfind(path):
            yield from (element.get(name, '0') for name in names)


def _fault_of_order(road: ElementTree.Element) -> Optional[str]:
    for path, what in ORDERED:
        places = [_number(part, 's') for part in road.findall(path)]
        if places and (places[0] > 0.0 or not _is_rising(places)):
            return f'{what} that are not one behind the other from its begin on'
    places = [_number(section, 's') for section in road.findall('lanes/laneSection')]
    if not _is_rising([0.0, *places, _number(road, 'length')]):
        return 'lane sections that are not one behind the other along it'
    return None


def _fault_of_geometry(geometry: List[ElementTree.Element], length: float) -> Optional[str]:
    if any(max(abs(_number(g, 'x')), abs(_number(g, 'y'))) > FARTHEST for g in geometry):
        return (
            f'a place further than {FARTHEST / 1e3:.0f} km from the origin, where CARLA cannot '
            'tell millimetres'
        )
    for part in geometry:
        if _number(part, 'length') > length + LONGER:
            return 'a geometry that is longer than it'
        shapes = [child for child in part if child.tag in SHAPES]
        if len(shapes) != 1:
            return f'a geometry that is none of {", ".join(SHAPES)}'
        if shapes[0].tag == 'arc' and _number(shapes[0], 'curvature') == 0.0:
            return 'an arc of no curvature, which is a line'
    return None


def _fault_of_section(section: ElementTree.Element) -> Optional[str]:
    numbers = sorted(int(lane.get('id', 0)) for lane in section.iter('lane'))
    if 0 not in numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return 'lanes that are not numbered one by one from the middle, 0'
    for side, sign in (('left', 1), ('center', 0), ('right', -1)):
        lanes = section.findall(f'{side}/lane')
        ids = [int(lane.get('id', 0)) for lane in lanes]
        if any((number > 0) - (number < 0) != sign for number in ids):
            return f'a lane among those of <{side}> whose id is of another side'
        if sign and not all(
            lane.find('width') is not None and _number(lane.find('width'), 'sOffset') < SHORTEST
            for lane in lanes
        ):
            return 'a lane that has no width from its begin on'
    return None


def _links_lead_to_lanes(
    road: ElementTree.Element, lanes: Dict[Optional[str], List[Set[int]]]
) -> bool:
    own = lanes[road.get('id')]
    following = {
        way: lanes.get(link.get('elementId')) if link.get('elementType') == 'road' else None
        for way in ('predecessor', 'successor')
        for link in road.findall(f'link/{way}')
    }
    for i, section in enumerate(road.findall('lanes/laneSection')):
        for way, inside in (('predecessor', own[:i]), ('successor', own[i + 1 :])):
            ahead = inside or following.get(way)
            for link in section.iterfind(f'.//lane/link/{way}'):
                if not _is_whole(link.get('id')):
                    return False
                if ahead and not _has(ahead, int(link.get('id', 0))):
                    return False
    return True


def _has(sections: List[Set[int]], number: int) -> bool:
    return any(number in section for section in sections)


def _is_rising(values: List[float]) -> bool:
    return all(a <= b for a, b in zip(values, values[1:]))


def _is_whole(text: Optional[str]) -> bool:
    try:
        return text is not None and int(text) == float(text)
    except (ValueError, OverflowError):
        return False


def _is_finite(text: Optional[str]) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


class LaneRecord(NamedTuple):
    """
    A lane of one lane section, as the file has it.

    ``kind``: OpenDRIVE's type, such as driving. ``begin``, ``end``: s of the section, m.
    ``breaks``: s between which geometry, width and markings are smooth, both ends included.
    ``leans``: (weight, polynomials) that add up to how far the lane's middle lies left of the
    reference line.
    """

    road: int
    number: int
    kind: str
    begin: float
    end: float
    breaks: Tuple[float, ...]
    leans: Tuple[Tuple[float, Tuple[Polynomial, ...]], ...]

    @property
    def is_driving(self) -> bool:
        """Whether vehicles drive on it."""
        return self.kind == 'driving'

    def slope(self, s: float) -> float:
        """Return how fast the lane's middle moves left of the reference line at s, m/m."""
        total = 0.0
        for weight, polynomials in self.leans:
            start, b, c, d = next((p for p in reversed(polynomials) if p[0] <= s), polynomials[0])
            ds = s - start
            total += weight * (b + ds * (2.0 * c + ds * 3.0 * d))
        return total


def lane_records(root: ElementTree.Element) -> Iterator[LaneRecord]:
    """Yield every lane of every section that is longer than nothing and is not of type none."""
    for road in root.findall('road'):
        sections = road.findall('lanes/laneSection')
        length = _number(road, 'length')
        starts = [_number(section, 's') for section in sections] + [length]
        shape = {
            _number(part, 's')
            for path in ('planView/geometry', 'elevationProfile/elevation', 'lanes/laneOffset')
            for part in road.findall(path)
        }
        offsets = _polynomials(road.findall('lanes/laneOffset'), 's', 0.0)
        for section, begin, end in zip(sections, starts, starts[1:]):
            if end - begin > SHORTEST:
                yield from _lanes_of(int(road.get('id', 0)), section, begin, end, shape, offsets)


def _lanes_of(
    road: int,
    section: ElementTree.Element,
    begin: float,
    end: float,
    shape: Set[float],
    offsets: Tuple[Polynomial, ...],
) -> Iterator[LaneRecord]:
    lanes = {int(lane.get('id', 0)): lane for lane in section.iter('lane')}
    widths = {n: _polynomials(lanes[n].findall('width'), 'sOffset', begin) for n in lanes if n}
    for number, lane in lanes.items():
        if number == 0 or lane.get('type') == 'none':
            continue
        sign = 1 if number > 0 else -1
        within = range(sign, number + sign, sign)
        leans = [(1.0, offsets)] + [
            (0.5 * sign if n == number else 1.0 * sign, widths.get(n, ())) for n in within
        ]
        marks = lane.findall('roadMark') + lanes.get(number - sign, lane).findall('roadMark')
        places = (
            shape
            | {p[0] for _, polynomials in leans for p in polynomials}
            | {begin + _number(mark, 'sOffset') for mark in marks}
        )
        inner = sorted(s for s in places if begin + SHORTEST < s < end - SHORTEST)
        yield LaneRecord(
            road,
            number,
            lane.get('type', ''),
            begin,
            end,
            (begin, *inner, end),
            tuple((w, ps) for w, ps in leans if any(any(p[1:]) for p in ps)),
        )


def _polynomials(
    parts: List[ElementTree.Element], at: str, begin: float
) -> Tuple[Polynomial, ...]:
    """Return start (m along the road) and b, c, d of cubic polynomials."""
    return tuple(
        (begin + _number(part, at), *(_number(part, name) for name in 'bcd')) for part in parts
    )


def _number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, 0.0))
