"""
A slow exact reference for lanes: ``carla.Map`` asked every 5 cm, shapely for the rest.

It shares the enumeration of lanes with the code under test, and nothing else.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from av_td3_ros.driving.lanes import MARKING_CODES
from av_td3_ros.driving.opendrive import lane_records, read
from av_td3_ros.driving.road_map import RoadMap

shapely = pytest.importorskip('shapely')
carla = pytest.importorskip('carla')

MAPS = Path(__file__).resolve().parents[3] / 'shared' / 'maps'
NAMES = ('town', 'Town01', 'fabriksgatan')
STEP = 0.05
# Poses that are checked, and by how much they may disagree, m.
COUNT, TOLERANCE = 10000, 0.01


def load(name):
    """Read a map by its name, or skip the test where it is not at hand."""
    path = MAPS / f'{name}.xodr'
    if name != 'town' and not path.exists():
        pytest.skip(f'{path} is not there')
    return RoadMap.load(name if name == 'town' else str(path))


class ExactLanes:
    """
    Driving lanes of a map whose lanes are of constant width.

    ``area``: of all of them. ``lines``: markings outside junctions, ``codes`` of each.
    """

    def __init__(self, road_map):
        carla_map = carla.Map('exact', road_map.opendrive)
        polygons, lines = [], {}
        for record in lane_records(read('exact', road_map.opendrive)):
            if not record.is_driving:
                continue
            assert not record.leans
            count = math.ceil((record.end - record.begin) / STEP)
            # CARLA takes s in single precision; it must not end up beyond the section.
            places = np.linspace(record.begin + 1e-5, record.end - 2e-4, count + 1)
            waypoints = [
                carla_map.get_waypoint_xodr(record.road, record.number, float(s)) for s in places
            ]
            left, right = (np.array([edge(w, sign) for w in waypoints]) for sign in (1.0, -1.0))
            polygons.append(shapely.polygons(np.concatenate([left, right[::-1]])))
            if not waypoints[0].is_junction:
                self._mark(lines, record, waypoints, left, right)
        self.area = shapely.union_all(shapely.make_valid(np.array(polygons)))
        self.boundary = self.area.boundary
        shapely.prepare(self.area)
        shapely.prepare(self.boundary)
        self.lines = np.array([line for line, _ in lines.values()])
        self.codes = np.array([code for _, code in lines.values()])
        self.ends = shapely.boundary(self.lines)

    @staticmethod
    def _mark(lines, record, waypoints, left, right):
        # A line is named as OpenDRIVE does: by the lane whose outer edge it is, 0 for the middle.
        inwards = -1 if record.number > 0 else 1
        middle = waypoints[len(waypoints) // 2]
        for line, number, mark in (
            (left, record.number + inwards, middle.left_lane_marking),
            (right, record.number, middle.right_lane_marking),
        ):
            code = MARKING_CODES['NONE' if mark is None else str(mark.type)]
            lines[record.road, record.begin, number] = shapely.linestrings(line), code


def edge(waypoint, sign):
    """Return the left (1) or the right (-1) end of a cross-section, x, y."""
    place, half = waypoint.transform, 0.5 * sign * waypoint.lane_width
    yaw = -math.radians(place.rotation.yaw)
    return (
        place.location.x - half * math.sin(yaw),
        -place.location.y + half * math.cos(yaw),
    )


def places(exact, rng, count, spread):
    """Points of which half are within a decimetre of an edge, the rest within ``spread`` m."""
    corners = shapely.get_coordinates(exact.boundary)
    points = corners[rng.integers(len(corners), size=count)]
    points[::2] += rng.uniform(-0.05, 0.05, (len(points[::2]), 2))
    points[1::2] += rng.uniform(-spread, spread, (len(points[1::2]), 2))
    return points
