"""
OpenDRIVE text as XML: whether it is a map at all, and which lanes lie beside the driving lanes.

CARLA's reader answers a broken file with a hint or a crash, so the file is checked before it gets there.
"""

from typing import Iterator, Tuple
from xml.etree import ElementTree

# Road, lane section, lane.
Key = Tuple[int, int, int]

NOT_BESIDE = ('driving', 'none')
S_MARGIN = 1e-3


class MapError(ValueError):
    """A map or a route that cannot be had; the text says what, got, expected and where to fix it."""


def read(name: str, opendrive: str) -> ElementTree.Element:
    """
    Return the document.

    :param name: of the map. :param opendrive: text of the file.
    :raises MapError: where it is not OpenDRIVE, or has no drivable lane.
    """
    try:
        root = ElementTree.fromstring(opendrive)
    except (ElementTree.ParseError, ValueError) as error:
        raise MapError(f'map {name} must be OpenDRIVE (XML), got broken XML: {error}; check the file') from None
    if root.tag.rpartition('}')[2] != 'OpenDRIVE':
        raise MapError(f'map {name} must be OpenDRIVE, got XML of <{root.tag}>; check the file')
    if not any(lane.get('type') == 'driving' for lane in root.iter('lane')):
        raise MapError(f'map {name} must have drivable lanes, got none among {len(root.findall("road"))} roads; '
                       'check the file')
    return root


def lanes_beside(root: ElementTree.Element) -> Iterator[Tuple[Key, float, float]]:
    """Yield every lane that is not driven on, with the first and the last s (m) of its section."""
    for road in root.iter('road'):
        sections = road.findall('lanes/laneSection')
        begins = [float(section.get('s', 0.0)) for section in sections] + [float(road.get('length', 0.0))]
        for number, section in enumerate(sections):
            begin, end = begins[number] + S_MARGIN, begins[number + 1] - S_MARGIN
            for lane in section.iter('lane'):
                if lane.get('id') != '0' and lane.get('type') not in NOT_BESIDE and begin < end:
                    yield (int(road.get('id')), number, int(lane.get('id'))), begin, end
