"""The road network: the shipped town, and Town01 where it is at hand."""

import math
from pathlib import Path
import re

import networkx as nx
import numpy as np
import pytest

carla = pytest.importorskip('carla')

from exact_lanes import (  # noqa: E402
    COUNT,
    edge,
    ExactLanes,
    load,
    NAMES,
    places,
    shapely,
    TOLERANCE,
)
from small_maps import lane, opendrive, road  # noqa: E402

from av_td3_ros.driving.opendrive import lane_records, read  # noqa: E402
from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402
from av_td3_ros.resources import share  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOWN01 = ROOT.parent / 'shared' / 'maps' / 'Town01.xodr'
SOLID, BROKEN = 2, 1


@pytest.fixture(scope='module')
def town():
    return RoadMap.load('town')


@pytest.fixture(scope='module')
def town01():
    if not TOWN01.exists():
        pytest.skip(f'{TOWN01} is not there')
    return RoadMap.load(str(TOWN01))


@pytest.fixture(params=['town', 'town01'])
def road_map(request):
    return request.getfixturevalue(request.param)


def text():
    return share('maps', 'town.xodr').read_text()


# -- the shipped town -----------------------------------------------------------------------------


def test_every_lane_of_the_town_leads_everywhere(town):
    graph = town._graph
    assert len(graph) == 2 * 8 + 4 * 3 * 2 + 4 * 3
    assert nx.is_strongly_connected(graph)
    for key, following in graph.edges:
        gap = town._points[following][0] - town._points[key][-1]
        assert np.hypot(*gap) < 1.5, (key, following)


def test_lanes_join_without_a_kink(town):
    for key, following in town._graph.edges:
        a = town._points[key][-3] - town._points[key][-6]
        b = town._points[following][5] - town._points[following][2]
        assert abs(math.atan2(a[0] * b[1] - a[1] * b[0], a @ b)) < 0.6, (key, following)


def test_the_town_drives_on_the_right(town):
    # South of the street from the crossing to the east is the lane to the east: y is left.
    assert town.lane_at(60.0, -1.75).key == (1, 0, -1)
    assert town.lane_at(60.0, 1.75).key == (1, 0, 1)


def test_lane_positions(town):
    east = town.lane_at(60.0, -1.25)
    assert east.left == pytest.approx(0.5, abs=1e-3) and east.width == pytest.approx(3.5)
    assert (east.left_marking, east.right_marking) == (BROKEN, SOLID)
    assert not east.is_junction and not east.is_off
    west = town.lane_at(60.0, 1.25)
    assert west.left == pytest.approx(0.5, abs=1e-3)
    assert town.lane_at(60.0, -4.0).is_off
    assert town.lane_at(0.0, 0.0).is_junction


def test_on_road(town):
    assert town.on_road(60.0, -1.75) and town.on_road(60.0, 3.4)
    assert not town.on_road(60.0, 3.6) and not town.on_road(60.0, 20.0)


def test_sidewalks_lie_beside_the_lanes(town):
    lanes = {lane.key: lane for lane in town.lanes}
    walk = lanes[1, 0, -2]
    assert {point.kind for point in walk.points} == {'Sidewalk'}
    assert {round(point.y, 3) for point in walk.points} == {-4.5}
    assert walk.points[0].x < walk.points[-1].x  # in driving order, as its neighbour
    lane = lanes[1, 0, -1].points[10]
    assert (lane.left, lane.right) == (('Broken', 'Yellow'), ('Solid', 'White'))
    assert lane.yaw == pytest.approx(0.0, abs=1e-6)


def test_a_goal_at_the_start_across_a_joint_of_two_lanes_is_told(town):
    key, following = next(
        (a, b)
        for a, b in town._graph.edges
        if math.dist(town._points[a][-1], town._points[b][0]) < 1e-6
        and town._sampled[a].junction < 0
    )
    before, behind = town._points[key][-2:], town._points[following][:2]
    yaw = math.atan2(*(before[1] - before[0])[::-1])
    start = before[1] + 0.3 * (before[0] - before[1])
    goal = behind[0] + 0.3 * (behind[1] - behind[0])
    with pytest.raises(MapError, match='a route must lead to another place, got one from'):
        town.plan(tuple(start), yaw, tuple(goal))


# -- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_lanes_are_exact_to_two_millimetres(name):
    road_map = load(name)
    carla_map = carla.Map(name, road_map.opendrive)
    rng = np.random.default_rng(6)
    checked = 0
    for found in road_map.lanes:
        lines = [shapely.linestrings(a) for a in (found.left_edge, found.right_edge)]
        middle = shapely.linestrings(found.centre[:, :2])
        for s in rng.uniform(found.s.min(), found.s.max(), 40):
            waypoint = carla_map.get_waypoint_xodr(found.key[0], found.key[2], float(s))
            if (waypoint.road_id, waypoint.section_id, waypoint.lane_id) == found.key:
                ends = [edge(waypoint, side) for side in (1.0, -1.0, 0.0)]
                away = shapely.distance([*lines, middle], shapely.points(ends))
                # 2 mm, and what single precision adds.
                assert away.max() < 2.2e-3, (found.key, s)
                checked += 1
    assert checked > 38 * len(road_map.lanes)


@pytest.mark.parametrize('name', NAMES)
def test_lanes_begin_and_end_where_their_sections_do(name):
    road_map = load(name)
    ends = {(key[0], key[2], one.s.min()): one for key, one in by_key(road_map).items()}
    for record in lane_records(read(name, road_map.opendrive)):
        (found,) = (
            one
            for (number, lane_number, begin), one in ends.items()
            if (number, lane_number) == (record.road, record.number)
            and abs(begin - record.begin) < 1e-5
        )
        assert abs(found.s.max() - record.end) < 1e-5
        assert (np.diff(found.s) > 0.0).all() or (np.diff(found.s) < 0.0).all()


@pytest.mark.parametrize('name', NAMES)
def test_lanes_that_follow_one_another_join(name):
    road_map = load(name)
    found = by_key(road_map)
    assert sum(len(one.successors) for one in found.values()) == road_map._graph.size() > 0
    for one in found.values():
        for following in one.successors:
            gap = found[following].centre[0] - one.centre[-1]
            assert np.hypot(gap[0], gap[1]) < 1e-3


def by_key(road_map):
    return {one.key: one for one in road_map.lanes}


def test_straights_have_few_cross_sections(town):
    street = town.lane((1, 0, -1))
    assert street.length == pytest.approx(96.0, abs=1e-3) and len(street.s) == 7
    assert np.array_equal(street.distance, np.cumsum(np.append(0.0, np.diff(street.centre[:, 0]))))
    assert [len(values) for values in (street.yaw, street.width, street.left_markings)] == [7] * 3
    points = np.array([point[:2] for point in street.points])
    assert len(points) == 97 and np.diff(points[:, 0]) == pytest.approx(np.ones(96), abs=1e-5)


def test_lanes_know_what_lies_beside_them(town):
    east, west = town.lane((1, 0, -1)), town.lane((1, 0, 1))
    assert (east.left_lane, east.right_lane) == ((1, 0, 1), (1, 0, -2))
    assert (west.left_lane, west.right_lane) == ((1, 0, -1), (1, 0, 2))
    assert town.lane((1, 0, -2)).right_lane is None
    assert east.left_edge == pytest.approx(west.left_edge[::-1], abs=1e-4)
    with pytest.raises(KeyError):
        town.lane((1, 0, 7))


def test_a_widening_lane_has_its_edges_where_opendrive_draws_them():
    # From 2 m to 6 m over 100 m, the middle of the road moving left by 5 m; heading 0.3 rad.
    widening = '<width sOffset="0" a="2" b="0.04" c="0" d="0"/>'
    road_map = RoadMap(
        'taper',
        opendrive(
            road(
                heading=0.3,
                left=[lane(1, width=widening)],
                right=[lane(-1, width=widening), lane(-2)],
                offset='<laneOffset s="0" a="0" b="0.05" c="0" d="0"/>',
            )
        ),
    )
    along, across = np.array([math.cos(0.3), math.sin(0.3)]), np.array(
        [-math.sin(0.3), math.cos(0.3)]
    )

    def left_of_middle(points):
        return points @ across - 0.05 * (points @ along)

    inner, outer, beside = (road_map.lane((1, 0, n)) for n in (1, -1, -2))
    for found in (inner, outer, beside):
        for line in (found.left_edge, found.right_edge, found.centre[:, :2]):
            assert line @ along == pytest.approx(found.s, abs=1e-4)
    assert left_of_middle(outer.left_edge) == pytest.approx(np.zeros(len(outer.s)), abs=2e-4)
    assert left_of_middle(outer.right_edge) == pytest.approx(-2.0 - 0.04 * outer.s, abs=2e-4)
    assert left_of_middle(inner.right_edge) == pytest.approx(2.0 + 0.04 * inner.s, abs=2e-4)
    assert left_of_middle(beside.right_edge) == pytest.approx(-5.5 - 0.04 * beside.s, abs=2e-4)


def test_a_curved_taper_and_a_step_in_width_are_sampled():
    # 4 m at first, from s = 30 on 3 m, growing cubically from s = 60 on.
    widths = (
        '<width sOffset="0" a="4" b="0" c="0" d="0"/><width sOffset="30" a="3" b="0" c="0" d="0"/>'
        '<width sOffset="60" a="3" b="0" c="0.005625" d="-0.00009375"/>'
    )
    text = opendrive(road(right=[lane(-1, width=widths)], shape='<arc curvature="0.02"/>'))
    found = RoadMap('step', text).lane((1, 0, -1))
    exact = np.where(found.s < 30.0, 4.0, 3.0)
    ds = np.maximum(found.s - 60.0, 0.0)
    exact += 0.005625 * ds**2 - 0.00009375 * ds**3
    assert found.width == pytest.approx(exact, abs=1e-5)
    radius = np.hypot(found.right_edge[:, 0], found.right_edge[:, 1] - 50.0)
    assert radius == pytest.approx(50.0 + exact, abs=1e-3)
    assert np.hypot(found.left_edge[:, 0], found.left_edge[:, 1] - 50.0) == pytest.approx(
        np.full(len(exact), 50.0), abs=1e-3
    )
    step = np.flatnonzero(np.diff(found.s) < 1e-5)
    assert found.width[step] - found.width[step + 1] == pytest.approx([1.0])


def test_markings_change_where_the_file_says():
    marks = (
        '<roadMark sOffset="0" type="broken" color="white" width="0.1"/>'
        '<roadMark sOffset="40" type="solid" color="yellow" width="0.1"/>'
    )
    text = opendrive(road(left=[lane(1, marks=marks)], right=[lane(-1)], middle=marks))
    road_map = RoadMap('marks', text)
    for found in (road_map.lane((1, 0, -1)), road_map.lane((1, 0, 1))):
        middle = 0.5 * (found.s[1:] + found.s[:-1])
        changing = [
            ('Broken', 'White') if s < 40.0 else ('Solid', 'Yellow') for s in middle.tolist()
        ]
        assert list(found.left_markings[:-1]) == changing
        assert 40.0 in found.s.round(5)
        assert list(found.right_markings[:-1]) == (
            [('Solid', 'White')] * len(middle) if found.key[2] < 0 else changing
        )
    assert road_map.lane_at(39.9, -1.0).left_marking == BROKEN
    assert road_map.lane_at(40.1, -1.0).left_marking == SOLID


def test_height_is_kept():
    rise = '<elevation s="0" a="2" b="0.05" c="0" d="0"/>'
    road_map = RoadMap('hill', opendrive(road(elevation=rise)))
    found = road_map.lane((1, 0, -1))
    assert found.centre[:, 2] == pytest.approx(2.0 + 0.05 * found.s, abs=1e-4)
    assert road_map.on_road(50.0, -1.0)  # driven on as if it were flat


@pytest.mark.parametrize('name', NAMES)
def test_ten_thousand_places_on_and_beside_the_road_against_shapely(name):
    road_map = load(name)
    exact, rng = ExactLanes(road_map), np.random.default_rng(8)
    points = places(exact, rng, COUNT, 8.0)
    on = shapely.contains_xy(exact.area, points[:, 0], points[:, 1])
    assert 0.3 < on.mean() < 0.7
    found = np.array([road_map.on_road(x, y) for x, y in points.tolist()])
    wrong = found != on
    assert wrong.sum() < 0.02 * COUNT
    away = shapely.distance(exact.boundary, shapely.points(points[wrong]))
    assert (away <= TOLERANCE).all()
    for (x, y), is_on in zip(points[:2000].tolist(), found):
        position = road_map.lane_at(x, y)
        assert position.is_off != is_on
        assert position.is_off or abs(position.left) <= position.width / 2 + 5e-3


def test_the_lane_beside_a_place_is_the_one_with_the_nearest_edge(town):
    off = town.lane_at(60.0, -9.0)
    assert off.key == (1, 0, -1) and off.is_off and off.left == pytest.approx(-7.25, abs=1e-3)
    far = town.lane_at(60.0, 4000.0)
    assert far.is_off and far.key[0] in (2, 4)


# -- routes ---------------------------------------------------------------------------------------


def test_random_routes_stay_on_their_lanes_in_driving_direction(road_map):
    rng = np.random.default_rng(0)
    for _ in range(40):
        route = road_map.random_route(rng, 80.0, 300.0)
        assert 80.0 <= route.length <= 300.0
        steps = np.hypot(*np.diff(route.points, axis=0).T)
        assert steps.max() < 1.5
        turns = np.abs((np.diff(route.yaw) + math.pi) % (2 * math.pi) - math.pi)
        assert turns.max() < 0.3
        for (x, y), yaw in zip(route.points[::7], route.yaw[::7]):
            position = road_map.lane_at(x, y)
            assert road_map.on_road(x, y)
            if not position.is_junction:
                assert abs(position.left) < 0.1
        assert not road_map.lane_at(*route.points[0]).is_junction
        assert not road_map.lane_at(*route.points[-1]).is_junction


def test_planning_to_the_goal_gives_the_same_route(road_map):
    rng = np.random.default_rng(1)
    for _ in range(40):
        route = road_map.random_route(rng, 50.0, 250.0)
        again = road_map.plan((route.start.x, route.start.y), route.start.yaw, route.goal)
        assert np.array_equal(again.points, route.points)


def test_the_same_seed_gives_the_same_routes(town):
    first, second = (town.random_route(np.random.default_rng(5), 80.0, 200.0) for _ in range(2))
    assert np.array_equal(first.points, second.points)


def test_routes_turn_both_ways_and_go_straight(town):
    rng = np.random.default_rng(2)
    turned = [
        math.remainder(route.yaw[-1] - route.yaw[0], 2 * math.pi)
        for route in (town.random_route(rng, 80.0, 200.0) for _ in range(60))
    ]
    assert min(turned) < -1.0 and max(turned) > 1.0


def test_a_plan_takes_the_shortest_way(town):
    # From the street in the south straight over the crossing to the street in the north.
    route = town.plan((1.75, -60.0), math.pi / 2, (1.75, 20.0))
    assert route.length == pytest.approx(80.0, abs=1.5)
    assert route.points[:, 0] == pytest.approx(np.full(len(route.points), 1.75), abs=0.05)


def test_a_goal_behind_on_the_same_lane_is_reached_round_the_block(town):
    route = town.plan((80.0, -1.75), 0.0, (40.0, -1.75))
    assert route.length > 200.0
    assert route.goal == pytest.approx((40.0, -1.75), abs=0.6)


def test_impossible_lengths_are_refused(town):
    message = 'must have routes of 90000 to 99000 m, found none; change route_length'
    with pytest.raises(MapError, match=message):
        town.random_route(np.random.default_rng(0), 90000.0, 99000.0)


def test_a_goal_that_no_lane_leads_to_is_refused():
    cut = RoadMap('cut', re.sub(r'<junction .*?</junction>', '', text(), flags=re.S))
    with pytest.raises(MapError, match=r'a route must lead from .* on map cut, got none'):
        cut.plan((60.0, -1.75), 0.0, (1.75, -60.0))
