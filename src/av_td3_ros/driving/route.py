"""
A route through the road network: points about a metre apart, and where a vehicle is on it.

numpy alone; whoever plans the route (the embedded simulator, CARLA) is not known here. Points are
all there is, so the curve between two of them is a guess: a cubic that starts and ends in the
direction of the route at either point (Hermite; Farin, Curves and Surfaces for CAGD, chapter 7).
Direction and distance then run without jumps, on arcs as good as exactly.
"""

import bisect
from dataclasses import dataclass
import math
from typing import List, NamedTuple, Tuple

import numpy as np

from av_td3_ros.datatypes import Pose, wrap_angle

# Points nearer to each other than this tell the seam between two lanes rather than a direction.
SHORTEST_STEP = 0.2
# A longer step is a straight line, whatever comes before and after it.
LONGEST_BEND = 3.0
# A route that turns more than this at one point has a corner there.
CORNER = 0.6
# A whole turn of the vehicle weighs as much as this distance where a tracker looks for its start.
HEADING_WEIGHT = 4.0
NEWTON_STEPS = 2


class RoutePosition(NamedTuple):
    """
    Where a vehicle is on a route.

    ``distance``: m along it. ``lateral_deviation``: m, left positive. ``heading_error``: vehicle
    minus route, rad in [-pi, pi). ``remaining``: m to the goal. ``away``: m from it; before the
    start and beyond the goal, too, where ``lateral_deviation`` tells only how far aside.
    """

    distance: float
    lateral_deviation: float
    heading_error: float
    remaining: float
    away: float


class Piece(NamedTuple):
    """
    The curve between two points: a cubic over its chord.

    ``x``, ``y``: begin, m. ``cos``, ``sin``, ``yaw``: direction of the chord. ``chord``: its
    length, m. ``begin_slope``, ``end_slope``: of the curve against the chord. ``distance``: m
    along the route at its begin. ``length``: along the curve, m.
    """

    x: float
    y: float
    cos: float
    sin: float
    yaw: float
    chord: float
    begin_slope: float
    end_slope: float
    distance: float
    length: float

    def height(self, t: float) -> float:
        """Return how far left of the chord the curve is at a share t of it, m."""
        u = 1.0 - t
        return self.chord * t * u * (self.begin_slope * u - self.end_slope * t)

    def slope(self, t: float) -> float:
        """Return the slope of the curve against the chord."""
        return self.begin_slope * (1.0 - t) * (1.0 - 3.0 * t) - self.end_slope * t * (
            2.0 - 3.0 * t
        )

    def bend(self, t: float) -> float:
        """Return the change of the slope, 1/m."""
        return (self.begin_slope * (6.0 * t - 4.0) + self.end_slope * (6.0 * t - 2.0)) / self.chord


@dataclass(frozen=True)
class Route:
    """
    A line to follow.

    ``points``: (n, 2) m in the map frame. ``yaw``: (n,) rad, direction at each point (at a corner,
    that behind it). ``distance``: (n,) m along the route. ``slopes``: (n - 1, 2), those of the
    curve between two points against its chord, at its begin and its end.
    """

    points: np.ndarray
    yaw: np.ndarray
    distance: np.ndarray
    slopes: np.ndarray

    @classmethod
    def from_points(cls, points: np.ndarray) -> 'Route':
        """
        Make a route of at least two distinct points.

        :param points: (n, 2) m; those less than 0.2 m from the one before are dropped, but for
            the goal.
        :raises ValueError: for fewer than two distinct points.
        """
        points = _distinct(np.asarray(points, np.float64).reshape(-1, 2))
        if len(points) < 2:
            raise ValueError(f'a route needs at least 2 distinct points, got {len(points)}')
        steps = np.diff(points, axis=0)
        chords = np.hypot(steps[:, 0], steps[:, 1])
        yaw, slopes = _directions(np.arctan2(steps[:, 1], steps[:, 0]), chords)
        begin, end = slopes.T
        # Length of y(x) to the second order of its slope.
        lengths = chords * (1.0 + (2.0 * begin**2 - begin * end + 2.0 * end**2) / 30.0)
        return cls(points, yaw, np.concatenate([[0.0], np.cumsum(lengths)]), slopes)

    @property
    def length(self) -> float:
        """Length, m."""
        return float(self.distance[-1])

    @property
    def start(self) -> Pose:
        """Pose at the beginning, on the ground."""
        return Pose(float(self.points[0, 0]), float(self.points[0, 1]), 0.0, float(self.yaw[0]))

    @property
    def goal(self) -> Tuple[float, float]:
        """The end, (x, y) m."""
        return float(self.points[-1, 0]), float(self.points[-1, 1])

    def tracker(self) -> 'RouteTracker':
        """Return something that follows a vehicle along this route."""
        return RouteTracker(self)

    def pieces(self) -> List[Piece]:
        """Return the curves between the points."""
        steps = np.diff(self.points, axis=0)
        chords = np.hypot(steps[:, 0], steps[:, 1])
        columns = (
            *self.points[:-1].T,
            *(steps / chords[:, None]).T,
            np.arctan2(steps[:, 1], steps[:, 0]),
            chords,
            *self.slopes.T,
            self.distance[:-1],
            np.diff(self.distance),
        )
        return [Piece(*row) for row in zip(*(column.tolist() for column in columns))]


class RouteTracker:
    """
    Follows one vehicle; remembers where it was.

    It walks along the route from there to the next foot of a perpendicular, so that a route may
    cross itself. Before the start and beyond the goal the route goes on straight, and the distance
    stays.
    """

    def __init__(self, route: Route) -> None:
        """:param route: to follow."""
        self._route = route
        self._pieces = route.pieces()
        self._begins = [piece.distance for piece in self._pieces]
        self._length = route.length
        self._at = -1

    def update(self, x: float, y: float, yaw: float) -> RoutePosition:
        """
        Project the vehicle on the route.

        :param x: m. :param y: m. :param yaw: rad, all in the map frame.
        """
        if self._at < 0:
            self._at = self._nearest(x, y, yaw)
        ahead, left = self._walk(x, y)
        piece = self._pieces[self._at]
        share = ahead / piece.chord
        for _ in range(NEWTON_STEPS):
            slope, away = piece.slope(share), piece.height(share) - left
            # Its derivative is 1 on the curve and nought at the centre of curvature.
            gain = max(1.0 + slope * slope + away * piece.bend(share), 0.25)
            share -= (share - ahead / piece.chord + away * slope / piece.chord) / gain
            share = min(max(share, 0.0), 1.0)
        along, aside = ahead - share * piece.chord, left - piece.height(share)
        slope = piece.slope(share)
        lateral = (aside - along * slope) / math.sqrt(1.0 + slope * slope)
        if self._beside_a_corner(share):
            lateral = math.copysign(math.hypot(along, aside), lateral)
        distance = piece.distance + share * piece.length
        return RoutePosition(
            distance,
            lateral,
            wrap_angle(yaw - piece.yaw - math.atan(slope)),
            self._length - distance,
            math.hypot(along, aside),
        )

    def ahead(
        self, x: float, y: float, yaw: float, distance: float, count: int, spacing: float
    ) -> np.ndarray:
        """
        Return route points in the vehicle frame.

        :param distance: m along the route of the first. :param count: points. :param spacing: m
            between them.
        :returns: (count, 2) float32 m, x forward, y left; beyond the goal, the goal.
        """
        cos, sin = math.cos(yaw), math.sin(yaw)
        pieces, last = self._pieces, len(self._pieces) - 1
        at = max(bisect.bisect_right(self._begins, distance) - 1, 0)
        values = []
        for i in range(count):
            wanted = distance + spacing * i
            while at < last and self._begins[at + 1] <= wanted:
                at += 1
            piece = pieces[at]
            share = min(max((wanted - piece.distance) / piece.length, 0.0), 1.0)
            along, aside = share * piece.chord, piece.height(share)
            dx = piece.x + along * piece.cos - aside * piece.sin - x
            dy = piece.y + along * piece.sin + aside * piece.cos - y
            values.append(cos * dx + sin * dy)
            values.append(cos * dy - sin * dx)
        return np.array(values, np.float32).reshape(count, 2)

    def _nearest(self, x: float, y: float, yaw: float) -> int:
        """Return where to begin; where the route crosses itself, in the vehicle's direction."""
        route = self._route
        away = np.hypot(route.points[:, 0] - x, route.points[:, 1] - y)
        turned = HEADING_WEIGHT * (1.0 - np.cos(route.yaw - yaw)) / 2.0
        return min(int(np.argmin(away + turned)), len(self._pieces) - 1)

    def _walk(self, x: float, y: float) -> Tuple[float, float]:
        """Go to the piece that a point lies beside; return the point in the frame of its chord."""
        pieces, at = self._pieces, self._at
        ahead, left = _in_frame(pieces[at], x, y)
        while at + 1 < len(pieces) and _is_beyond(pieces[at], ahead, left):
            next_ahead, next_left = _in_frame(pieces[at + 1], x, y)
            if _is_before(pieces[at + 1], next_ahead, next_left):
                break
            at, ahead, left = at + 1, next_ahead, next_left
        while at > 0 and _is_before(pieces[at], ahead, left):
            last_ahead, last_left = _in_frame(pieces[at - 1], x, y)
            if _is_beyond(pieces[at - 1], last_ahead, last_left):
                break
            at, ahead, left = at - 1, last_ahead, last_left
        self._at = at
        return ahead, left

    def _beside_a_corner(self, share: float) -> bool:
        """Whether the nearest point is one where the route turns at once."""
        return (share == 1.0 and self._at + 1 < len(self._pieces)) or (
            share == 0.0 and self._at > 0
        )


def _in_frame(piece: Piece, x: float, y: float) -> Tuple[float, float]:
    dx, dy = x - piece.x, y - piece.y
    return piece.cos * dx + piece.sin * dy, piece.cos * dy - piece.sin * dx


def _is_before(piece: Piece, ahead: float, left: float) -> bool:
    """Whether a point lies before the perpendicular to the curve at its begin."""
    return ahead + left * piece.begin_slope < 0.0


def _is_beyond(piece: Piece, ahead: float, left: float) -> bool:
    return ahead - piece.chord + left * piece.end_slope > 0.0


def _distinct(points: np.ndarray) -> np.ndarray:
    """Drop points that follow too closely; the start and the goal stay."""
    if (np.hypot(*np.diff(points, axis=0).T) >= SHORTEST_STEP).all():
        return points
    kept = [0]
    for i, (x, y) in enumerate(points.tolist()):
        if math.dist((x, y), points[kept[-1]]) >= SHORTEST_STEP:
            kept.append(i)
    goal = len(points) - 1
    if kept[-1] != goal and math.dist(points[kept[-1]], points[goal]) > 1e-3:
        kept[max(len(kept) - 1, 1) :] = [goal]
    return points[kept]


def _directions(headings: np.ndarray, chords: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """
    Return the direction of a route at its points.

    Three estimates are mixed: that of the circle through the point and its neighbours, best where
    curvature changes slowly, and those that go on from the left and from the right with the
    curvature found there, best where it jumps, as from a straight into an arc.

    :param headings: (n - 1,) rad, of the chords. :param chords: (n - 1,) m, their lengths.
    :returns: (n,) rad and the slopes of :class:`Route`, (n - 1, 2).
    """
    turns = (np.diff(headings) + math.pi) % (2.0 * math.pi) - math.pi
    before, behind = chords[:-1], chords[1:]
    corner = np.abs(turns) > CORNER
    curvature = np.where(corner, 0.0, 2.0 * turns / (before + behind))
    curvature = np.pad(curvature, 1, mode='edge') if len(turns) else np.zeros(2)
    # All relative to the chord before the point.
    circle = turns * before / (before + behind)
    sides = (curvature[:-2] * before + 2.0 * turns - curvature[2:] * behind) / 4.0
    trust = np.minimum(before, behind) / np.maximum(before, behind) / 2.0
    bend = sides + trust * (circle - sides)
    is_long = chords > LONGEST_BEND
    bend = np.where(is_long[1:], turns, np.where(is_long[:-1], 0.0, bend))
    slopes = np.zeros((len(chords), 2))
    slopes[1:, 0] = np.where(corner | is_long[1:], 0.0, bend - turns)
    slopes[:-1, 1] = np.where(corner | is_long[:-1], 0.0, bend)
    slopes[0, 0] = 0.0 if is_long[0] else -curvature[0] * chords[0] / 2.0
    slopes[-1, 1] = 0.0 if is_long[-1] else curvature[-1] * chords[-1] / 2.0
    yaw = np.append(headings + slopes[:, 0], headings[-1] + slopes[-1, 1])
    return (yaw + math.pi) % (2.0 * math.pi) - math.pi, np.tan(slopes)
