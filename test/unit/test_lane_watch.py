"""Markings that a box crosses, against shapely."""

import math
import time

import numpy as np
import pytest

pytest.importorskip('carla')

from exact_lanes import COUNT, ExactLanes, load, NAMES, places, shapely, TOLERANCE  # noqa: E402
from small_maps import left_hand  # noqa: E402

from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.resources import share  # noqa: E402
from av_td3_ros.sim.boxes import corners  # noqa: E402
from av_td3_ros.sim.lane_watch import LaneWatch  # noqa: E402

BROKEN, SOLID = 1, 2
LENGTH, WIDTH = 4.0, 2.0


@pytest.fixture(scope='module')
def town():
    return RoadMap.load('town')


@pytest.fixture
def watch(town):
    return LaneWatch(town.lanes)


def box(x, y, yaw=0.0):
    return np.array([x, y, yaw, LENGTH, WIDTH])


def drive(watch, *boxes):
    watch.reset(boxes[0])
    return [watch.update(following) for following in boxes[1:]]


# -- the street to the east: lanes from -3.5 to 0 and from 0 to 3.5 -------------------------------


def test_driving_in_a_lane_crosses_nothing(watch):
    assert drive(watch, *(box(x, -1.75) for x in np.arange(20.0, 100.0, 0.5))) == [[]] * 159


def test_each_corner_crosses_the_middle_line(watch):
    # The left side of the car goes over the line, then the right one.
    assert drive(watch, box(60.0, -1.1), box(60.5, -0.9), box(61.0, 0.9), box(61.5, 1.1)) == [
        [BROKEN, BROKEN],
        [],
        [BROKEN, BROKEN],
    ]


def test_the_front_crosses_before_the_rear(watch):
    seen = drive(watch, *(box(60.0 + 0.5 * i, -1.9 + 0.1 * i, 0.2) for i in range(34)))
    assert [codes for codes in seen if codes] == [[BROKEN]] * 4


def test_the_edge_of_the_road_is_solid_both_ways(watch):
    assert drive(watch, box(60.0, -2.4), box(60.0, -2.6), box(60.0, -2.4)) == [[SOLID] * 2] * 2


def test_turning_on_the_spot_crosses(watch):
    assert drive(watch, box(60.0, -1.75), box(60.0, -1.75, math.pi / 2)) == [
        [BROKEN, SOLID, SOLID, BROKEN]
    ]


def test_a_corner_that_comes_to_lie_on_the_line_crosses_it_once(watch):
    edge = watch_line(watch)
    on = edge - WIDTH / 2
    assert drive(watch, box(60.0, on - 0.5), box(60.0, on), box(60.0, on + 0.5)) in (
        [[BROKEN] * 2, []],
        [[], [BROKEN] * 2],
    )
    assert drive(watch, box(60.0, on - 0.5), box(60.0, on), box(60.0, on - 0.5)) in (
        [[BROKEN] * 2] * 2,
        [[], []],
    )


def watch_line(watch):
    """Return y of the middle line at x = 60, bit for bit."""
    (y,) = {
        piece.ay
        for pieces in watch._cells.values()
        for piece in pieces
        if piece.ax <= 60.0 <= piece.bx and abs(piece.ay) < 1.0
    }
    return y


def test_a_path_over_several_cells_and_lines(watch):
    # 10 m to the left in one tick: every corner over each of the road's three lines.
    assert sorted(drive(watch, box(60.0, -5.0), box(61.0, 5.0))[0]) == [BROKEN] * 4 + [SOLID] * 8


def test_nothing_is_crossed_in_a_junction_nor_at_the_end_of_a_lane(watch):
    assert drive(watch, *(box(x, -1.75) for x in np.arange(20.0, -20.0, -0.5))) == [[]] * 79
    assert drive(watch, *(box(0.0, y, 1.0) for y in np.arange(-6.0, 6.0, 0.5))) == [[]] * 23


def test_a_teleport_crosses_nothing(watch):
    watch.reset(box(60.0, -1.75))
    watch.reset(box(60.0, 1.75))
    assert watch.update(box(60.5, 1.75)) == []
    assert watch.update(box(160.0, -1.75)) == []  # further than a car drives in a tick
    assert watch.update(box(160.0, -1.75)) == []


def test_the_first_box_crosses_nothing(watch):
    assert watch.update(box(60.0, 0.0)) == []


def test_a_map_that_is_all_junction_has_no_markings(town):
    watch = LaneWatch([lane for lane in town.lanes if lane.is_junction])
    assert drive(watch, box(0.0, -8.0), box(0.0, 8.0)) == [[]]


def test_left_hand_traffic_crosses_the_same_lines(watch):
    text = left_hand(share('maps', 'town.xodr').read_text())
    other = LaneWatch(RoadMap('left', text).lanes)
    rng = np.random.default_rng(4)
    seen = 0
    for x, y, yaw in rng.uniform((20.0, -4.0, -3.0), (100.0, 4.0, 3.0), (300, 3)):
        boxes = box(x, y, yaw), box(x + 0.3, y + 0.7, yaw + 0.1)
        crossed = drive(watch, *boxes)[0]
        assert sorted(crossed) == sorted(drive(other, *boxes)[0])
        seen += len(crossed)
    assert seen > 100


@pytest.mark.parametrize('name', NAMES)
def test_ten_thousand_moves_against_shapely(name):
    road_map = load(name)
    exact, watch = ExactLanes(road_map), LaneWatch(road_map.lanes)
    rng = np.random.default_rng(3)
    before = np.column_stack(
        [
            places(exact, rng, COUNT, 6.0),
            rng.uniform(-math.pi, math.pi, COUNT),
            rng.uniform(3.0, 8.0, COUNT),
            rng.uniform(1.5, 2.5, COUNT),
        ]
    )
    after = before + rng.uniform(-1.0, 1.0, (COUNT, 5)) * (1.5, 1.5, 0.1, 0.0, 0.0)
    found, spent = [], []
    for part in np.array_split(np.arange(COUNT), 20):
        begin = time.thread_time()
        found += [sorted(drive(watch, before[i], after[i])[0]) for i in part]
        spent.append((time.thread_time() - begin) / len(part))
    assert min(spent) < 80e-6  # 16 us on an idle core
    ends = np.stack([corners(before), corners(after)], axis=2)
    paths = shapely.linestrings(ends.reshape(-1, 2, 2))
    path, line = shapely.STRtree(exact.lines).query(paths, predicate='intersects')
    crossed = [[] for _ in range(COUNT)]
    for pose, code in zip((path // 4).tolist(), exact.codes[line].tolist()):
        crossed[pose].append(code)
    assert 0.2 < np.mean([bool(codes) for codes in crossed])
    wrong = [i for i in range(COUNT) if found[i] != sorted(crossed[i])]
    assert len(wrong) < 0.02 * COUNT
    everything = shapely.union_all(exact.lines)
    tips = shapely.union_all(exact.ends)
    for i in wrong:
        points = shapely.points(ends[i].reshape(-1, 2))
        near = shapely.distance(points, everything).min() <= TOLERANCE
        assert near or shapely.distance(paths[4 * i : 4 * i + 4], tips).min() <= TOLERANCE
