"""The road network: the shipped town, Town01 where it is at hand, and files that are no maps."""

import math
from pathlib import Path
import re
import sys

import networkx as nx
import numpy as np
import pytest

pytest.importorskip('carla')

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


def test_the_town_is_what_its_script_writes(tmp_path):
    pytest.importorskip('scenariogeneration')
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        import make_town
    finally:
        sys.path.pop(0)
    assert make_town.build() == text()


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


# -- files that are no maps -----------------------------------------------------------------------


def without(pattern, count=0):
    return re.sub(pattern, '', text(), count=count, flags=re.S)


@pytest.mark.parametrize(
    'broken, message',
    [
        (lambda: '', 'broken XML: no element found'),
        (lambda: text()[:20000], 'broken XML'),
        (lambda: '<html></html>', 'got XML of <html>'),
        (lambda: '<OpenDRIVE></OpenDRIVE>', 'drivable lanes, got none among 0 roads'),
        (
            lambda: text().replace('"driving"', '"biking"'),
            'drivable lanes, got none among 44 roads',
        ),
        (lambda: without(r'<planView>.*?</planView>'), "road '0' with no geometry"),
        (lambda: without(r'<lanes>.*?</lanes>', 1), "road '0' with no lanes"),
        (lambda: text().replace('curvature="0.025"', 'curvature="nan"'), 'no number'),
        (
            lambda: text().replace('id="101"', 'id="100"'),
            "road '100' with an id that another road has",
        ),
        (lambda: text().replace('<lane id="1"', '<lane id="one"'), 'no whole number'),
    ],
)
def test_what_is_no_map_is_refused_in_one_line(broken, message):
    with pytest.raises(MapError, match=message) as caught:
        RoadMap('broken', broken())
    assert str(caught.value).startswith('map broken must ')
    assert 'check the file' in str(caught.value) and '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    message = r"map must be 'town' or an OpenDRIVE file, got .*nowhere.xodr: No such file"
    with pytest.raises(MapError, match=message):
        RoadMap.load(str(tmp_path / 'nowhere.xodr'))


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / 'noise.xodr').write_bytes(bytes(range(256)))
    with pytest.raises(MapError, match='must be OpenDRIVE'):
        RoadMap.load(str(tmp_path / 'noise.xodr'))


def test_without_carla_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'carla', None)
    with pytest.raises(MapError, match='pip install carla==0.9.16'):
        RoadMap('town', text())
