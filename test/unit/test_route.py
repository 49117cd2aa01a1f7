"""Routes and where a vehicle is on them, against curves that are known exactly."""

import math
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from av_td3_ros.driving.route import Route
from costs import cost

EAST = np.stack([np.arange(0.0, 101.0), np.zeros(101)], axis=1)
# 20 m east, then 20 m north.
BEND = np.array([(float(x), 0.0) for x in range(21)] + [(20.0, float(y)) for y in range(1, 21)])


def figure_of_eight():
    """A curve that crosses itself at the origin, about 1 m per point."""
    t = np.linspace(0.0, 2.0 * math.pi, 240, endpoint=False)
    return np.stack([40.0 * np.sin(t), 20.0 * np.sin(2.0 * t)], axis=1)


def test_a_route_knows_its_length_start_and_goal():
    route = Route.from_points(BEND)
    assert route.length == pytest.approx(40.0)
    assert route.start == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert route.goal == (20.0, 20.0)
    assert (
        route.points.shape == (41, 2)
        and route.yaw.shape == (41,)
        and route.distance.shape == (41,)
    )
    assert route.yaw[0] == 0.0 and route.yaw[-1] == pytest.approx(math.pi / 2)


def test_repeated_points_are_dropped():
    route = Route.from_points([(0.0, 0.0), (0.0, 0.0), (3.0, 4.0), (3.0, 4.0)])
    assert len(route.points) == 2
    assert route.length == pytest.approx(5.0)


@pytest.mark.parametrize('points', [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 2.0)]])
def test_a_point_is_no_route(points):
    with pytest.raises(ValueError, match='at least 2 distinct points, got'):
        Route.from_points(points)


def test_left_of_the_route_and_turned_left_is_positive():
    position = Route.from_points(EAST).tracker().update(10.25, 1.5, 0.2)
    assert position == pytest.approx((10.25, 1.5, 0.2, 89.75, 1.5))


def test_the_same_on_the_right_going_west():
    position = Route.from_points(EAST[::-1]).tracker().update(60.5, 2.0, math.pi - 0.1)
    assert position.distance == pytest.approx(39.5)
    assert position.lateral_deviation == pytest.approx(
        -2.0
    )  # north of a route to the west is its right
    assert position.heading_error == pytest.approx(-0.1)


def test_heading_error_is_wrapped():
    position = Route.from_points(EAST[::-1]).tracker().update(50.0, 0.0, -math.pi + 0.1)
    assert position.heading_error == pytest.approx(0.1)


def test_beyond_the_goal_nothing_remains():
    tracker = Route.from_points(EAST).tracker()
    position = tracker.update(105.0, 0.0, 0.0)
    assert position.distance == pytest.approx(100.0) and position.remaining == pytest.approx(0.0)


def test_outside_a_corner_the_distance_to_the_corner_counts():
    position = Route.from_points(BEND).tracker().update(23.0, -4.0, 0.0)
    assert position.lateral_deviation == pytest.approx(-5.0)
    assert position.distance == pytest.approx(20.0)


def test_a_route_may_cross_itself():
    route = Route.from_points(figure_of_eight())
    tracker = route.tracker()
    for i in range(0, len(route.points) - 1, 3):
        position = tracker.update(*route.points[i], route.yaw[i])
        assert position.distance == pytest.approx(route.distance[i], abs=1e-6)
        assert position.lateral_deviation == pytest.approx(0.0, abs=1e-6)


def test_points_ahead_are_in_the_vehicle_frame():
    tracker = Route.from_points(BEND).tracker()
    ahead = tracker.ahead(16.0, 1.0, 0.0, 16.0, 4, 2.0)
    assert ahead.dtype == np.float32
    assert ahead == pytest.approx(np.array([(0, -1), (2, -1), (4, -1), (4, 1)], np.float32))
    turned = tracker.ahead(20.0, 10.0, math.pi / 2, 30.0, 2, 5.0)
    assert turned == pytest.approx(np.array([(0, 0), (5, 0)], np.float32), abs=1e-5)


def test_points_beyond_the_goal_are_the_goal():
    ahead = Route.from_points(EAST).tracker().ahead(95.0, 0.0, 0.0, 95.0, 10, 2.0)
    assert ahead[3:] == pytest.approx(np.tile(np.array([5.0, 0.0], np.float32), (7, 1)))


# -- against the truth ----------------------------------------------------------------------------


class Curve:
    """
    Pieces of (length, curvature at begin, at end), curvature linear between: line, arc, clothoid.
    """

    STEP = 0.002

    def __init__(self, *pieces):
        middle = [
            begin
            + (end - begin) * (np.arange(round(length / self.STEP)) + 0.5) / (length / self.STEP)
            for length, begin, end in pieces
        ]
        heading = np.concatenate([[0.0], np.cumsum(np.concatenate(middle) * self.STEP)])
        half = (heading[:-1] + heading[1:]) / 2
        self.heading = heading
        self.x = np.concatenate([[0.0], np.cumsum(np.cos(half) * self.STEP)])
        self.y = np.concatenate([[0.0], np.cumsum(np.sin(half) * self.STEP)])
        self.length = (len(self.x) - 1) * self.STEP

    def at(self, distance):
        """Return x, y, heading."""
        i = round(distance / self.STEP)
        return float(self.x[i]), float(self.y[i]), float(self.heading[i])

    def points(self, spacing, phase=0.0):
        return np.array([self.at(d)[:2] for d in np.arange(phase * spacing, self.length, spacing)])


def worst_errors(curve, spacing=1.0, lateral=1.5, phases=8):
    """Return the largest errors of lateral (m), heading (rad) and distance (m)."""
    rng = np.random.default_rng(0)
    errors = []
    for phase in np.arange(phases) / phases:
        tracker = Route.from_points(curve.points(spacing, phase)).tracker()
        # Within the route's ends, where points are on both sides.
        for distance in np.arange(phase * spacing + 2, curve.length - 2 * spacing, 0.1):
            x, y, heading = curve.at(distance)
            aside, turned = rng.uniform(-lateral, lateral), rng.uniform(-0.5, 0.5)
            position = tracker.update(
                x - aside * math.sin(heading), y + aside * math.cos(heading), heading + turned
            )
            errors.append(
                (
                    position.lateral_deviation - aside,
                    position.heading_error - turned,
                    position.distance - (distance - phase * spacing),
                )
            )
    return np.abs(errors).max(axis=0)


@pytest.mark.parametrize('radius', [6.0, -6.0, 10.0, 30.0])
def test_arcs_are_exact(radius):
    lateral, heading, distance = worst_errors(Curve((30.0, 1 / radius, 1 / radius)))
    assert lateral < 1e-4 and heading < 2e-4 and distance < 0.005


def test_clothoids_are_exact():
    curve = Curve(
        (10, 0, 0), (8, 0, 1 / 6), (6, 1 / 6, 1 / 6), (8, 1 / 6, 0), (8, 0, -1 / 8), (5, -1 / 8, 0)
    )
    lateral, heading, distance = worst_errors(curve)
    assert lateral < 0.001 and heading < math.radians(0.2) and distance < 0.01


@pytest.mark.parametrize('radius', [6.0, 10.0, 20.0])
@pytest.mark.parametrize('spacing', [1.0, 0.5])
def test_where_curvature_jumps_the_error_of_heading_is_an_eighth_of_the_jump(radius, spacing):
    curve = Curve((10, 0, 0), (radius * math.pi / 2, 1 / radius, 1 / radius), (10, 0, 0))
    lateral, heading, distance = worst_errors(curve, spacing)
    assert lateral < 0.035 * spacing**2 / radius  # 6 mm for 6 m
    assert heading < 1.1 * spacing / radius / 8  # 1.3 deg for 6 m, within a step of the jump
    assert distance < 1.5 * heading + 0.01


def test_an_arc_of_any_length_has_its_length():
    for spacing in (0.5, 1.0, 2.0):
        curve = Curve((100.0, 1 / 6, 1 / 6))
        points = curve.points(spacing)
        assert Route.from_points(points).length == pytest.approx(
            (len(points) - 1) * spacing, abs=0.01
        )


def test_nothing_jumps_along_a_route():
    """What the reward is made of is as smooth as the drive, across the points of a route too."""
    curve = Curve((10, 0, 0), (9.4, 1 / 6, 1 / 6), (10, 0, 0), (9.4, -1 / 6, -1 / 6), (10, 0, 0))
    tracker = Route.from_points(curve.points(1.0, 0.3)).tracker()
    positions = []
    for distance in np.arange(2.0, curve.length - 2.0, 0.01):
        x, y, heading = curve.at(distance)
        positions.append(
            tracker.update(x - 1.5 * math.sin(heading), y + 1.5 * math.cos(heading), heading)
        )
    steps = np.abs(np.diff(np.array(positions), axis=0)).max(axis=0)
    assert steps[0] < 0.02 and steps[1] < 1e-3 and steps[2] < 2e-3


def test_points_ahead_lie_on_the_curve():
    curve = Curve((20.0, 1 / 6, 1 / 6))
    tracker = Route.from_points(curve.points(1.0)).tracker()
    ahead = tracker.ahead(0.0, 0.0, 0.0, 0.25, 30, 0.5)
    truth = np.array([curve.at(0.25 + 0.5 * i)[:2] for i in range(30)])
    assert np.abs(ahead - truth).max() < 0.003


# -- any vehicle, any route -----------------------------------------------------------------------


def test_at_a_crossing_the_vehicle_goes_on_in_its_direction():
    route = Route.from_points(figure_of_eight())
    crossing = [0, 120]  # twice at the origin
    for i in crossing:
        position = route.tracker().update(0.0, 0.0, route.yaw[i])
        assert position.distance == pytest.approx(route.distance[i], abs=0.01)
        assert abs(position.heading_error) < 0.01


def test_a_vehicle_may_start_anywhere_and_drive_backwards():
    route = Route.from_points(figure_of_eight())
    tracker = route.tracker()
    for i in range(200, 20, -1):
        position = tracker.update(*route.points[i], route.yaw[i] + math.pi)
        assert position.distance == pytest.approx(route.distance[i], abs=1e-6)
        assert abs(position.heading_error) == pytest.approx(math.pi, abs=1e-6)


def test_before_the_start_and_beyond_the_goal_the_route_goes_on_straight():
    tracker = Route.from_points(EAST).tracker()
    before = tracker.update(-5.0, 1.0, 0.1)
    assert before == pytest.approx((0.0, 1.0, 0.1, 100.0, math.hypot(5, 1)))
    beyond = tracker.update(130.0, -2.0, 0.0)
    assert beyond == pytest.approx((100.0, -2.0, 0.0, 0.0, math.hypot(30, 2)))


def test_a_jump_along_a_long_route_is_followed():
    curve = Curve(*[(25, 0, 0), (25, 0.05, 0.05), (25, 0, 0), (25, -0.05, -0.05)] * 10)
    tracker = Route.from_points(curve.points(1.0)).tracker()
    for distance in (0.0, 3.0, 640.0, 999.0, 2.0):
        position = tracker.update(*curve.at(distance))
        assert position.distance == pytest.approx(distance, abs=0.02)
        assert abs(position.lateral_deviation) < 0.01


def test_far_beyond_the_centre_of_a_curve_an_answer_is_found():
    curve = Curve((10, 0, 0), (9.4, 1 / 6, 1 / 6), (10, 0, 0))
    tracker = Route.from_points(curve.points(1.0)).tracker()
    tracker.update(*curve.at(14.0))
    for x, y in ((5.0, 12.0), (2.0, 14.0), (30.0, -30.0)):
        position = tracker.update(x, y, 0.0)
        assert 0.0 <= position.distance <= curve.length
        nearest = np.hypot(curve.x - x, curve.y - y).min()
        assert abs(position.lateral_deviation) >= nearest - 0.01


def test_sparse_points_mean_straight_lines():
    square = Route.from_points([(0, 0), (100, 0), (100, 100), (0, 100)])
    assert square.length == pytest.approx(300.0)
    position = square.tracker().update(50.0, 1.0, 0.0)
    assert position == pytest.approx((50.0, 1.0, 0.0, 250.0, 1.0))
    line_and_arc = Curve((40, 0, 0), (9, 1 / 6, 1 / 6))
    points = line_and_arc.points(1.0)
    tracker = Route.from_points(np.concatenate([points[:1], points[40:]])).tracker()
    assert tracker.update(20.0, 0.5, 0.0) == pytest.approx((20.0, 0.5, 0.0, 28.0, 0.5), abs=0.01)
    x, y, heading = line_and_arc.at(42.0)
    assert abs(tracker.update(x, y, heading).heading_error) < math.radians(0.5)


def test_points_at_a_seam_do_not_bend_the_route():
    """Two lanes meet a centimetre apart and three millimetres aside."""
    points = np.concatenate([EAST[:50], [(49.01, 0.003)], EAST[50:], [(100.0004, 0.0)]])
    route = Route.from_points(points)
    assert len(route.points) == 101
    assert np.abs(route.yaw).max() < 0.004
    assert Route.from_points([(0, 0), (0.1, 0)]).length == pytest.approx(0.1)
    assert Route.from_points([*EAST, (100.1, 0.0)]).goal == (100.1, 0.0)


TOWN01 = Path(__file__).resolve().parents[3] / 'shared' / 'maps' / 'Town01.xodr'


def junction_lanes():
    """Every junction lane of Town01 in steps of 2 cm: (n, 3) m, m, rad."""
    carla = pytest.importorskip('carla')
    if not TOWN01.exists():
        pytest.skip(f'{TOWN01} is not there')
    from av_td3_ros.driving.road_map import RoadMap

    road_map = RoadMap.load(str(TOWN01))
    network = carla.Map('Town01', TOWN01.read_text())
    for lane in road_map.lanes:
        if lane.kind == 'Driving' and lane.is_junction:
            road, _, number = lane.key
            poses, s = [], 0.001
            while (waypoint := network.get_waypoint_xodr(road, number, s)) is not None:
                place = waypoint.transform
                yaw = -math.radians(place.rotation.yaw)
                poses.append((place.location.x, -place.location.y, yaw))
                s += 0.02
            yield np.array(poses if number < 0 else poses[::-1])


def test_junctions_of_town01():
    rng = np.random.default_rng(0)
    errors, count = [], 0
    for truth in junction_lanes():
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(truth[:, :2], axis=0).T))])
        at = np.arange(0.0, along[-1], 1.0)
        points = np.stack([np.interp(at, along, truth[:, k]) for k in (0, 1)], axis=1)
        tracker = Route.from_points(points).tracker()
        for (x, y, yaw), distance in list(zip(truth, along))[: np.searchsorted(along, at[-1]) : 5]:
            aside = rng.uniform(-1.5, 1.5)
            beside = tracker.update(x - aside * math.sin(yaw), y + aside * math.cos(yaw), yaw)
            on = tracker.update(x, y, yaw)
            errors.append(
                (
                    beside.lateral_deviation - aside,
                    beside.heading_error,
                    beside.distance - distance,
                    on.distance - distance,
                )
            )
        count += 1
    assert count > 50
    lateral, heading, distance, on_route = np.abs(errors).max(axis=0)
    # Radii down to 4.5 m; a heading off by 1.7 deg moves the foot from 1.5 m aside by 4 cm.
    assert lateral < 0.008 and heading < math.radians(1.8)
    assert distance < 0.05 and on_route < 0.01
    assert np.degrees(np.percentile(np.abs(errors)[:, 1], 95)) < 0.5


# -- the same everywhere, and cheap ---------------------------------------------------------------


def test_two_processes_find_the_same_bits():
    code = """
import hashlib, numpy as np
from av_td3_ros.driving.route import Route
t = np.linspace(0.0, 6.0, 240)
tracker = Route.from_points(np.stack([40 * np.sin(t), 20 * np.sin(2 * t)], axis=1)).tracker()
digest = hashlib.sha256()
for x, y, yaw in np.random.default_rng(0).normal(0.0, 20.0, (500, 3)):
    position = tracker.update(x, y, yaw)
    digest.update(np.array(position).tobytes())
    digest.update(tracker.ahead(x, y, yaw, position.distance, 10, 2.0).tobytes())
print(digest.hexdigest())
"""
    runs = [
        subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(runs[0]) == 65 and runs[0] == runs[1]


def test_an_update_is_cheap():
    tracker = Route.from_points(figure_of_eight()).tracker()
    # 3 and 8 us on an idle core.
    assert cost(lambda: tracker.update(0.5, 0.5, 0.0)) < 50e-6
    assert cost(lambda: tracker.ahead(0.5, 0.5, 0.0, 2.0, 10, 2.0)) < 100e-6
