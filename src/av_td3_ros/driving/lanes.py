"""Lanes as cross-sections in driving order, in the map frame: x forward, y left."""

from dataclasses import dataclass
import functools
import math
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.driving.opendrive import Key

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
