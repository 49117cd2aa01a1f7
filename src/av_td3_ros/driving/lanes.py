"""
Lanes as cross-sections: how they are sampled from a map that ``carla.Map`` has read.

Cross-sections are as far apart as a chord error of 2 mm of the centre line and of both edges
allows: metres on a straight, centimetres in a bend. The first and the last lie on the ends of the
lane section, so that lanes that follow one another join.

CARLA's axes are left-handed; they are turned right-handed here and in ``road_map``, nowhere else.
"""

from dataclasses import dataclass
import functools
import math
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import wrap_angle
from av_td3_ros.driving.opendrive import FARTHEST, Key, LaneRecord, MapError

DRIVING = 'Driving'
NO_MARKING = 'NONE'
# As carla.LaneMarkingType and CarlaLaneInvasionEvent number them.
MARKING_CODES: Dict[str, int] = {
    'Other': 0,
    'Broken': 1,
    'Solid': 2,
    'SolidSolid': 3,
    'SolidBroken': 4,
    'BrokenSolid': 5,
    'BrokenBroken': 6,
    'BottsDots': 7,
    'Grass': 8,
    'Curb': 9,
    NO_MARKING: 10,
}
CHORD_ERROR = 2e-3
LONGEST_STRIP = 16.0
SHORTEST_STRIP = 0.05
MOST_SECTIONS = 2_000_000
WIDEST = 100.0
# Samples keep this far from the ends of what they belong to, m; closer ones are one.
MARGIN, JOINED = 1e-6, 1e-4
POINT_SPACING = 1.0

# Type and colour, as CARLA names them.
Marking = Tuple[str, str]


class LanePoint(NamedTuple):
    """
    One cross-section of a lane.

    ``x``, ``y``, ``z``: centre, m. ``yaw``: rad. ``width``: m. ``kind``: CARLA's lane type, such
    as Driving or Sidewalk. ``left``, ``right``: (type, colour) of the markings. ``s``: m along the
    road.
    """

    x: float
    y: float
    z: float
    yaw: float
    width: float
    kind: str
    left: Marking
    right: Marking
    s: float


class Section(NamedTuple):
    """
    One cross-section as it is sampled.

    ``s``: m along the road. ``x``, ``y``, ``z``: centre, m. ``yaw``: driving direction, rad.
    ``width``: m. ``left_x`` to ``right_y``: ends, m.
    """

    s: float
    x: float
    y: float
    z: float
    yaw: float
    width: float
    left_x: float
    left_y: float
    right_x: float
    right_y: float


@dataclass(frozen=True, eq=False)
class Lane:
    """
    A lane of one lane section: its cross-sections in driving order, as far apart as a chord error
    of 2 mm allows.

    ``kind``: CARLA's lane type. ``junction``: id of its junction, -1 outside one. ``successors``:
    lanes that a vehicle may go on to from its end; empty for what is not driven on. ``left_lane``,
    ``right_lane``: what lies beside it in its section, of any kind and direction.

    ``s``: (n,) m along the road. ``centre``: (n, 3) m. ``yaw``: driving direction, (n,) rad in
    [-pi, pi). ``width``: (n,) m. ``left_edge``, ``right_edge``: (n, 2) m, on the normals of the
    road's reference line, as OpenDRIVE has it. All float64.

    ``left_markings``, ``right_markings``: (type, colour) from a cross-section on to the next.
    """

    key: Key
    kind: str
    junction: int
    successors: Tuple[Key, ...]
    left_lane: Optional[Key]
    right_lane: Optional[Key]
    s: np.ndarray
    centre: np.ndarray
    yaw: np.ndarray
    width: np.ndarray
    left_edge: np.ndarray
    right_edge: np.ndarray
    left_markings: Tuple[Marking, ...]
    right_markings: Tuple[Marking, ...]

    @property
    def is_junction(self) -> bool:
        """Whether it crosses a junction."""
        return self.junction >= 0

    @functools.cached_property
    def distance(self) -> np.ndarray:
        """Way along the centre line to each cross-section, (n,) float64 m."""
        return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(self.centre[:, :2], axis=0).T))])

    @property
    def length(self) -> float:
        """Length of the centre line on the ground, m."""
        return float(self.distance[-1])

    @functools.cached_property
    def points(self) -> List[LanePoint]:
        """Cross-sections about 1 m apart, interpolated."""
        at = np.linspace(0.0, self.length, max(math.ceil(self.length / POINT_SPACING), 1) + 1)
        x, y, z, width, s, yaw = (
            np.interp(at, self.distance, values)
            for values in (*self.centre.T, self.width, self.s, np.unwrap(self.yaw))
        )
        strip = np.searchsorted(self.distance, at, side='right') - 1
        return [
            LanePoint(*row[:5], self.kind, self.left_markings[i], self.right_markings[i], row[5])
            for row, i in zip(np.column_stack([x, y, z, yaw, width, s]).tolist(), strip)
        ]


class LanePosition(NamedTuple):
    """
    Where a point is on a lane.

    ``left``: m to the left of its centre. ``width``: of the lane, m. ``is_off``: whether the point
    is beside or beyond the lane. ``left_marking``, ``right_marking``: as
    ``CarlaLaneInvasionEvent`` codes them, 0 to 10.
    """

    key: Key
    is_junction: bool
    left: float
    width: float
    is_off: bool
    left_marking: int
    right_marking: int


# -- sampling -------------------------------------------------------------------------------------


class Sampled(NamedTuple):
    """
    A lane before its neighbours are known. ``rows``: (n, 10) float64, cross-sections.
    """

    kind: str
    junction: int
    rows: np.ndarray
    left_markings: Tuple[Marking, ...]
    right_markings: Tuple[Marking, ...]
    is_forward: bool
    ends_in: List[Key]


def sample(carla_map: Any, record: LaneRecord) -> Optional[Tuple[Key, Sampled]]:
    """
    Sample a lane, in driving order.

    :param carla_map: ``carla.Map``. :param record: of the lane.
    :returns: None where CARLA has no such lane.
    """
    middle = 0.5 * (record.begin + record.end)
    base = carla_map.get_waypoint_xodr(record.road, record.number, middle)
    if base is None:
        return None
    # Lanes with negative numbers lead along the road where traffic keeps to the right.
    is_forward = base.is_rht == (record.number < 0)
    at = _places(base, is_forward)
    sections: List[Section] = []
    left: List[Marking] = []
    right: List[Marking] = []
    for begin, end in zip(record.breaks, record.breaks[1:]):
        piece = _piece(record, at, begin + MARGIN, end - MARGIN)
        if sections and _joined(sections[-1], piece[0]):
            sections.pop()
        elif sections:
            left.append(left[-1])
            right.append(right[-1])
        waypoint = at(0.5 * (begin + end))
        left += [_marking(waypoint.left_lane_marking)] * (len(piece) - 1)
        right += [_marking(waypoint.right_lane_marking)] * (len(piece) - 1)
        sections += piece
    last = at(record.end - MARGIN if is_forward else record.begin + MARGIN)
    step = 1 if is_forward else -1
    left, right = left[::step], right[::step]
    return key_of(base), Sampled(
        str(base.lane_type),
        int(base.junction_id) if base.is_junction else -1,
        np.array(sections[::step]),
        (*left, left[-1]),
        (*right, right[-1]),
        is_forward,
        [key_of(following) for following in last.next(2.0 * MARGIN)],
    )


def key_of(waypoint: Any) -> Key:
    """Return the key of a waypoint's lane."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _places(base: Any, is_forward: bool) -> Callable[[float], Any]:
    """
    Return what gives the waypoint at s, m.

    ``get_waypoint_xodr`` takes s in single precision only, ``next`` and ``previous`` in double.
    """
    start = base.s

    def at(s: float) -> Any:
        ahead = s - start if is_forward else start - s
        if ahead == 0.0:
            return base
        return (base.next(ahead) if ahead > 0.0 else base.previous(-ahead))[0]

    return at


def _piece(
    record: LaneRecord, at: Callable[[float], Any], begin: float, end: float
) -> List[Section]:
    """Sample where everything is smooth."""

    def section(s: float) -> Section:
        return _section(at(s), s, record.slope(s))

    count = max(math.ceil((end - begin) / LONGEST_STRIP), 1)
    places = [begin + (end - begin) * i / count for i in range(count)] + [end]
    coarse = [section(s) for s in places]
    if not all(max(abs(p.x), abs(p.y), abs(p.z)) <= FARTHEST for p in coarse):
        raise MapError(
            f"road '{record.road}' of the map must lie within {FARTHEST / 1e3:.0f} km of the "
            f'origin, got lane {record.number} beyond; check the file'
        )
    if not all(p.width <= WIDEST for p in coarse):
        raise MapError(
            f"road '{record.road}' of the map must have lanes of up to {WIDEST:.0f} m, got lane "
            f'{record.number} wider; check the file'
        )
    result = coarse[:1]
    for a, b in zip(coarse, coarse[1:]):
        result += _refined(section, a, b)
        if len(result) > MOST_SECTIONS:
            raise MapError(
                f"road '{record.road}' of the map must have bends that can be driven, got lane "
                f'{record.number} of more than {MOST_SECTIONS} cross-sections; check the file'
            )
    return result


def _refined(section: Callable[[float], Section], first: Section, last: Section) -> List[Section]:
    """Return the cross-sections after the first that keep every strip straight enough."""
    result: List[Section] = []
    # The middle of a strip that bends both ways may lie on its chord: look at a quarter, too.
    waiting = [(first, last, (0.5, 0.25))]
    while waiting:
        a, b, shares = waiting.pop()
        length = b.s - a.s
        sag = max(_sag(a, section(a.s + share * length), b, share) for share in shares)
        if sag <= CHORD_ERROR or length < 2.0 * SHORTEST_STRIP:
            result.append(b)
            continue
        # The sag falls with the square of the length; a little less in bends of a radian.
        count = math.ceil(1.05 * math.sqrt(sag / CHORD_ERROR))
        count = min(max(count, 2), int(length / SHORTEST_STRIP))
        inner = [section(a.s + length * i / count) for i in range(1, count)]
        parts = [(u, v, (0.5,)) for u, v in zip([a, *inner], [*inner, b])]
        waiting += reversed(parts)
    return result


def _section(waypoint: Any, s: float, slope: float) -> Section:
    place = waypoint.transform
    x, y, z = place.location.x, -place.location.y, place.location.z
    yaw, width = -math.radians(place.rotation.yaw), max(waypoint.lane_width, 0.0)
    # CARLA adds the slope to the road's direction; edges lie on the normal of the road.
    across = yaw - slope
    dx, dy = -0.5 * width * math.sin(across), 0.5 * width * math.cos(across)
    return Section(s, x, y, z, wrap_angle(yaw), width, x + dx, y + dy, x - dx, y - dy)


def _sag(a: Section, m: Section, b: Section, share: float) -> float:
    """Return how far a cross-section between two others is from their chords, m."""
    return max(
        abs(m.z - a.z - share * (b.z - a.z)),
        _off_chord(a.x, a.y, m.x, m.y, b.x, b.y),
        _off_chord(a.left_x, a.left_y, m.left_x, m.left_y, b.left_x, b.left_y),
        _off_chord(a.right_x, a.right_y, m.right_x, m.right_y, b.right_x, b.right_y),
    )


def _off_chord(ax: float, ay: float, x: float, y: float, bx: float, by: float) -> float:
    """Return how far (x, y) is from the line from a to b, m."""
    dx, dy = bx - ax, by - ay
    length = math.hypot(dx, dy)
    if length < JOINED:
        return math.hypot(x - ax, y - ay)
    return abs(dx * (y - ay) - dy * (x - ax)) / length


def _joined(a: Section, b: Section) -> bool:
    """Return whether two cross-sections are one."""
    return (
        math.hypot(a.left_x - b.left_x, a.left_y - b.left_y) < JOINED
        and math.hypot(a.right_x - b.right_x, a.right_y - b.right_y) < JOINED
    )


def _marking(marking: Any) -> Marking:
    return (str(marking.type), str(marking.color)) if marking is not None else (NO_MARKING, '')


def connect(found: Dict[Key, Sampled], driven: Dict[Key, Tuple[Key, ...]]) -> Iterator[Lane]:
    """
    Yield lanes that know what lies beside them and after them.

    :param found: sampled lanes. :param driven: successors of those that are driven on.
    """
    for key, lane in found.items():
        rows = lane.rows
        beside = (_beside(key, step if lane.is_forward else -step) for step in (1, -1))
        yield Lane(
            key,
            lane.kind,
            lane.junction,
            driven.get(key, ()),
            *(other if other in found else None for other in beside),
            rows[:, 0],
            rows[:, 1:4],
            rows[:, 4],
            rows[:, 5],
            rows[:, 6:8],
            rows[:, 8:10],
            lane.left_markings,
            lane.right_markings,
        )


def _beside(key: Key, step: int) -> Key:
    """Return the key of the next lane; numbers grow to the left of the road, without 0."""
    road, section, number = key
    return road, section, number + step or step
