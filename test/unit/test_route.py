"""Routes and where a vehicle is on them."""

import math
import time

import numpy as np
import pytest

from av_td3_ros.driving.route import Route

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
    assert position == pytest.approx((10.25, 1.5, 0.2, 89.75))


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


def test_an_update_is_cheap():
    tracker = Route.from_points(figure_of_eight()).tracker()
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        tracker.update(0.5, 0.5, 0.0)
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 500e-6  # 30 to 50 us on an idle core
