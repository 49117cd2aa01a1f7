"""
OpenDRIVE text as XML: whether it is a map at all, and which lanes lie beside the driving lanes.

CARLA's reader answers a broken file with a hint or a crash, so the file is checked before it gets
there.
"""

import math
from typing import Iterator, Optional, Set, Tuple
from xml.etree import ElementTree

# Road, lane section, lane.
Key = Tuple[int, int, int]

NOT_BESIDE = ('driving', 'none')
S_MARGIN = 1e-3


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


def lanes_beside(root: ElementTree.Element) -> Iterator[Tuple[Key, float, float]]:
    """Yield every lane that is not driven on, with the first and the last s (m) of its section."""
    for road in root.findall('road'):
        sections = road.findall('lanes/laneSection')
        begins = [float(section.get('s', 0.0)) for section in sections] + [
            float(road.get('length', 0.0))
        ]
        for number, section in enumerate(sections):
            begin, end = begins[number] + S_MARGIN, begins[number + 1] - S_MARGIN
            for lane in section.iter('lane'):
                if lane.get('id') != '0' and lane.get('type') not in NOT_BESIDE and begin < end:
                    yield (int(road.get('id')), number, int(lane.get('id'))), begin, end
