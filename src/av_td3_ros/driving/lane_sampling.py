"""
Lanes sampled from a map that ``carla.Map`` has read.

Cross-sections are as far apart as a chord error of 2 mm of the centre line and of both edges
allows: metres on a straight, centimetres in a bend. The first and the last lie on the ends of the
lane section, so that lanes that follow one another join.

CARLA's axes are left-handed; they are turned right-handed here and nowhere else.
"""

import math
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.datatypes import wrap_angle
from av_td3_ros.driving.lanes import Lane, Marking, NO_MARKING
from av_td3_ros.driving.opendrive import FARTHEST, Key, LaneRecord, MapError

CHORD_ERROR = 2e-3
LONGEST_STRIP = 16.0
SHORTEST_STRIP = 0.05
MOST_SECTIONS = 2_000_000
WIDEST = 100.0
# Samples keep this far from the ends of what they belong to, m; closer ones are one.
MARGIN, JOINED = 1e-6, 1e-4


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

    @property
    def is_wide(self) -> bool:
        """Whether it has any width."""
        return bool(self.rows[:, Section._fields.index('width')].max() > 0.0)


def sample(name: str, carla_map: Any, records: Iterable[LaneRecord]) -> Dict[Key, Sampled]:
    """
    Sample lanes, in driving order.

    :param name: of the map. :param carla_map: ``carla.Map``. :param records: of the lanes; those
        that CARLA does not know are left out.
    :raises MapError: where a lane is no lane, or all have more cross-sections than the limit.
    """
    lanes: Dict[Key, Sampled] = {}
    count = 0
    for record in records:
        found = _sample(carla_map, record)
        if found is not None:
            lanes[found[0]] = found[1]
            count += len(found[1].rows)
        if count > MOST_SECTIONS:
            raise MapError(
                f'map {name} must have up to {MOST_SECTIONS} cross-sections of lanes, got more; '
                'cut out the part that is needed'
            )
    return lanes


def _sample(carla_map: Any, record: LaneRecord) -> Optional[Tuple[Key, Sampled]]:
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
    return _key(base), Sampled(
        str(base.lane_type),
        int(base.junction_id) if base.is_junction else -1,
        np.array(sections[::step]),
        (*left, left[-1]),
        (*right, right[-1]),
        is_forward,
        [_key(following) for following in last.next(2.0 * MARGIN)],
    )


def _key(waypoint: Any) -> Key:
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


# -- as arrays ------------------------------------------------------------------------------------


def packed(found: Dict[Key, Sampled]) -> Dict[str, np.ndarray]:
    """Return sampled lanes as arrays without objects."""
    lanes = list(found.values())
    table = sorted({m for lane in lanes for m in (*lane.left_markings, *lane.right_markings)})
    number = {marking: i for i, marking in enumerate(table)}
    return {
        'keys': np.array(list(found), np.int64),
        'kinds': np.array([lane.kind for lane in lanes]),
        'junctions': np.array([lane.junction for lane in lanes], np.int64),
        'is_forward': np.array([lane.is_forward for lane in lanes]),
        'rows': np.concatenate([lane.rows for lane in lanes]),
        'counts': np.array([len(lane.rows) for lane in lanes], np.int64),
        'ends_in': np.array([k for lane in lanes for k in lane.ends_in], np.int64).reshape(-1, 3),
        'ends': np.array([len(lane.ends_in) for lane in lanes], np.int64),
        'table': np.array(table),
        'left': np.array([number[m] for lane in lanes for m in lane.left_markings], np.int64),
        'right': np.array([number[m] for lane in lanes for m in lane.right_markings], np.int64),
    }


def unpacked(arrays: Dict[str, np.ndarray]) -> Dict[Key, Sampled]:
    """Return what ``packed`` has packed, bit for bit."""
    table: List[Marking] = [(kind, colour) for kind, colour in arrays['table'].tolist()]
    left, right = (tuple(table[i] for i in arrays[side].tolist()) for side in ('left', 'right'))
    keys, ends_in = _tuples(arrays['keys']), _tuples(arrays['ends_in'])
    last, last_end = np.cumsum(arrays['counts']).tolist(), np.cumsum(arrays['ends']).tolist()
    return {
        key: Sampled(
            kind, junction, arrays['rows'][a:b], left[a:b], right[a:b], forward, ends_in[c:d]
        )
        for key, kind, junction, forward, a, b, c, d in zip(
            keys,
            arrays['kinds'].tolist(),
            arrays['junctions'].tolist(),
            arrays['is_forward'].tolist(),
            [0, *last],
            last,
            [0, *last_end],
            last_end,
        )
    }


def _tuples(keys: np.ndarray) -> List[Key]:
    return [(road, section, number) for road, section, number in keys.tolist()]
