"""Hits: where, along what, how hard."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.boxes import touching, touching_circles
from av_td3_ros.sim.collisions import contact, impulse, Mover, RESTITUTION, way_to

CAR = (4.5, 1.8)
WALL = np.array((10.0, 0.0, 0.0, 2.0, 20.0))
LAMP = np.array((9.2, 0.3, 0.1))


def box(pose):
    return np.array((pose.x, pose.y, pose.yaw, *CAR))


@pytest.mark.parametrize('obstacle, front', [(WALL, 9.0), (LAMP, 9.1)])
def test_a_car_stops_where_it_touches(obstacle, front):
    pose = way_to(Pose(6.0, 0.0), Pose(7.0, 0.0), CAR, obstacle)
    assert front - 0.005 < pose.x + CAR[0] / 2 <= front


def test_a_hair_before_the_wall_the_contact_is_the_middle_of_the_bumper():
    pose = way_to(Pose(6.0, 1.0), Pose(7.0, 1.0), CAR, WALL)
    touch = contact(box(pose), WALL)
    assert -0.005 < touch.depth <= 0.0 and touch.normal == pytest.approx((-1.0, 0.0))
    assert touch.point == pytest.approx((9.0, 1.0), abs=0.01)


def test_what_touches_from_the_beginning_has_no_way_to_go():
    assert way_to(Pose(8.0, 0.0), Pose(8.5, 0.0), CAR, WALL) is None


def test_a_turn_is_followed_the_short_way():
    pose = way_to(Pose(6.0, 0.0, 0.0, -3.1), Pose(7.0, 0.0, 0.0, 3.1), CAR, WALL)
    assert abs(pose.yaw) > 3.0


def test_a_wall_in_front_pushes_back_and_a_wall_beside_pushes_aside():
    ahead = contact(box(Pose(6.8, 3.0)), WALL)
    assert ahead.normal == pytest.approx((-1.0, 0.0)) and ahead.depth == pytest.approx(0.05)
    assert ahead.point == pytest.approx((9.025, 3.0))
    beside = contact(box(Pose(8.15, 3.0, 0.0, math.pi / 2)), WALL)
    assert beside.normal == pytest.approx((-1.0, 0.0)) and beside.depth == pytest.approx(0.05)


def test_a_lamp_at_the_corner_pushes_away_from_itself():
    touch = contact(np.array((0.0, 0.0, 0.0, 4.0, 2.0)), np.array((2.06, 1.08, 0.2)))
    assert touch.normal == pytest.approx((-0.6, -0.8)) and touch.point == pytest.approx((2.0, 1.0))
    assert touch.depth == pytest.approx(0.1)


@pytest.mark.parametrize('x, y, normal', [(1.9, 0.1, (-1.0, 0.0)), (0.2, -0.9, (0.0, 1.0))])
def test_a_lamp_inside_the_box_leaves_by_the_nearest_side(x, y, normal):
    box, lamp = np.array((0.0, 0.0, 0.0, 4.0, 2.0)), np.array((x, y, 0.1))
    touch = contact(box, lamp)
    assert touch.normal == normal
    box[:2] += (touch.depth + 1e-6) * np.array(touch.normal)
    assert not touching_circles(box, lamp[None])[0]
    box[:2] -= 1e-3 * np.array(touch.normal)
    assert touching_circles(box, lamp[None])[0]


def test_a_head_on_hit_against_a_wall_takes_all_momentum_and_a_little_more():
    touch = contact(box(Pose(6.8, 0.0)), WALL)
    car = Mover((6.8, 0.0), (5.0, 0.0), 0.0, 1000.0, 2000.0)
    assert impulse(touch, car, Mover((10.0, 0.0))) == pytest.approx((1 + RESTITUTION) * 5000.0)
    assert impulse(touch, car._replace(velocity=(-1.0, 3.0)), Mover((10.0, 0.0))) == 0.0


def test_two_equal_cars_share_the_momentum_and_the_energy_falls():
    touch = contact(box(Pose(0.0, 0.0)), box(Pose(4.4, 0.0)))
    one = Mover((0.0, 0.0), (6.0, 0.0), 0.0, 1000.0, 2000.0)
    other = Mover((4.4, 0.0), (2.0, 0.0), 0.0, 1000.0, 2000.0)
    push = impulse(touch, one, other)
    assert push == pytest.approx((1 + RESTITUTION) * 4.0 * 500.0)
    after = 6.0 - push / 1000.0, 2.0 + push / 1000.0
    assert sum(after) == pytest.approx(8.0) and after[0] < after[1]


def test_a_hit_off_the_middle_is_softer_because_the_car_turns():
    car = Mover((0.0, 0.0), (5.0, 0.0), 0.0, 1000.0, 2000.0)
    middle = contact(box(Pose(0.0, 0.0)), np.array((2.3, 0.0, 0.1)))
    edge = contact(box(Pose(0.0, 0.0)), np.array((2.3, 0.8, 0.1)))
    fast = Mover((2.3, 0.0))
    assert impulse(edge, car, fast) < impulse(middle, car, fast)
    assert impulse(edge, car, fast) == pytest.approx(1.1 * 5.0 / (1e-3 + 0.8**2 / 2000.0))


@settings(max_examples=300)
@given(
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.floats(-math.pi, math.pi),
    st.floats(0.5, 8),
    st.floats(0.5, 3),
)
def test_moving_out_along_the_normal_by_the_depth_parts_two_boxes(x, y, yaw, length, width):
    one, other = np.array((0.0, 0.0, 0.3, *CAR)), np.array((x, y, yaw, length, width))
    if not touching(one, other[None])[0]:
        return
    touch = contact(one, other)
    assert touch.depth >= 0.0 and math.hypot(*touch.normal) == pytest.approx(1.0)
    out = one.copy()
    out[:2] += (touch.depth + 1e-6) * np.array(touch.normal)
    assert not touching(out, other[None])[0]
    assert touching(np.array((*touch.point, 0.0, 1e-6, 1e-6)), np.stack([one, other])).all()
