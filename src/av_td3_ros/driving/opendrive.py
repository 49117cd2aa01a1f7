"""
OpenDRIVE text as XML: whether it is a map at all, and which lanes it has.

CARLA's reader answers a broken file with a hint or a crash, so the file is checked before it gets
there.
"""

import math
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple
from xml.etree import ElementTree

# Road, lane section, lane.
Key = Tuple[int, int, int]

# Where it starts, m along the road, and its coefficients b, c, d.
Polynomial = Tuple[float, float, float, float]

SHORTEST = 1e-3


class MapError(ValueError):
    """
    A map or a route that cannot be had; the text says what, got, expected and where to fix it.
    """


def read(name: str, opendrive: str) -> ElementTree.Element:
    """
    Return the document.

    :param name: of the map. :param opendrive: text of the file.
    :raises MapError: where it is not OpenDRIVE, or has no drivable lane.
    """
    try:
        root = ElementTree.fromstring(opendrive)
    except (ElementTree.ParseError, ValueError) as error:
        raise MapError(
            f'map {name} must be OpenDRIVE (XML), got broken XML: {error}; check the ' 'file'
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
    seen: Set[str] = set()
    for road in roads:
        fault = _fault(road, seen)
        if fault:
            raise MapError(
                f"map {name} must be OpenDRIVE that can be driven on, got road "
                f"'{road.get('id')}' with {fault}; check the file"
            )
    return root


def _fault(road: ElementTree.Element, seen: Set[str]) -> Optional[str]:
    """
    Return what is wrong with a road; each of these ends the process in CARLA's reader, or worse.
    """
    lanes = road.findall('lanes/laneSection//lane')
    if not all(_is_whole(element.get('id')) for element in [road, *lanes]):
        return 'an id, or the id of a lane, that is no whole number'
    if road.get('id') in seen:
        return 'an id that another road has'
    seen.add(road.get('id', ''))
    geometry = road.findall('planView/geometry')
    if not geometry or not lanes:
        return 'no geometry' if not geometry else 'no lanes'
    values = [
        road.get('length'),
        *(
            value
            for part in geometry
            for element in part.iter()
            for key, value in element.attrib.items()
            if key != 'pRange'
        ),
    ]
    if not all(_is_finite(value) for value in values) or float(road.get('length', 0.0)) <= 0.0:
        return 'a length or a geometry that is no number, or no length'
    return None


def _is_whole(text: Optional[str]) -> bool:
    try:
        return text is not None and int(text) == float(text)
    except ValueError:
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
