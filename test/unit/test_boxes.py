"""Oriented boxes against shapely, a slow exact reference."""

import math

import numpy as np
import pytest

from av_td3_ros.sim.boxes import corners, touching, touching_circles

shapely = pytest.importorskip('shapely')

COUNT = 10000
TOLERANCE = 0.01
CAR = np.array([10.0, -5.0, math.pi / 2, 4.0, 2.0])


def random_boxes(rng, count=COUNT):
    """Boxes of the sizes of vehicles and houses, about as often apart as touching."""
    return np.column_stack(
        [
            rng.uniform(-4.0, 4.0, count),
            rng.uniform(-4.0, 4.0, count),
            rng.uniform(-10.0, 10.0, count),
            rng.uniform(0.5, 8.0, count),
            rng.uniform(0.1, 3.0, count),
        ]
    )


def test_corners_are_counter_clockwise_from_the_front_left():
    assert corners(CAR) == pytest.approx(
        np.array([[9.0, -3.0], [9.0, -7.0], [11.0, -7.0], [11.0, -3.0]])
    )
    assert corners(np.stack([CAR, CAR])).shape == (2, 4, 2)


def test_boxes_that_share_an_edge_touch():
    beside = CAR + [2.0, 0.0, 0.0, 0.0, 0.0]
    apart = CAR + [2.001, 0.0, 0.0, 0.0, 0.0]
    assert touching(CAR, np.stack([CAR, beside, apart])).tolist() == [True, True, False]


def test_a_corner_between_two_corners_of_a_diamond_does_not_touch():
    # The boxes' bounds overlap, a line at 45 degrees separates them.
    diamond = np.array([0.0, 0.0, math.pi / 4, 2.0, 2.0])
    square = np.array([1.3, 1.3, 0.0, 1.0, 1.0])
    assert not touching(diamond, square[None])[0]
    assert touching(diamond, (square - [0.2, 0.2, 0.0, 0.0, 0.0])[None])[0]


def test_no_boxes_touch_nothing():
    assert touching(CAR, np.empty((0, 5))).shape == (0,)
    assert touching_circles(CAR, np.empty((0, 3))).shape == (0,)


def test_every_pair_at_once():
    boxes = random_boxes(np.random.default_rng(2), 30)
    pairs = touching(boxes[:, None], boxes)
    assert pairs.shape == (30, 30) and pairs.diagonal().all() and (pairs == pairs.T).all()
    assert (pairs[7] == touching(boxes[7], boxes)).all()


def test_ten_thousand_pairs_against_shapely():
    rng = np.random.default_rng(0)
    one, other = random_boxes(rng), random_boxes(rng)
    found = touching(one, other)
    a, b = shapely.polygons(corners(one)), shapely.polygons(corners(other))
    exact = shapely.intersects(a, b)
    assert 0.2 < exact.mean() < 0.8
    wrong = found != exact
    # Rounding alone may differ, and that at the touch itself.
    assert wrong.sum() <= 1
    shrunk = shapely.buffer(a[wrong], -TOLERANCE, join_style='mitre')
    assert (shapely.distance(a[wrong], b[wrong]) <= TOLERANCE).all()
    assert not shapely.intersects(shrunk, b[wrong]).any()


def test_ten_thousand_circles_against_shapely():
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng)
    circles = np.column_stack([rng.uniform(-4.0, 4.0, (COUNT, 2)), rng.uniform(0.0, 2.0, COUNT)])
    found = touching_circles(boxes, circles)
    distance = shapely.distance(shapely.polygons(corners(boxes)), shapely.points(circles[:, :2]))
    exact = distance <= circles[:, 2]
    assert 0.2 < exact.mean() < 0.9
    wrong = found != exact
    assert (np.abs(distance - circles[:, 2])[wrong] < 1e-9).all()
