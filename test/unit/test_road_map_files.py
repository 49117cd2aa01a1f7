"""Files that are no maps, odd ones, large ones, and left-hand traffic: a clear answer, no hang."""

import logging
import math
import os
import re
import subprocess
import sys
import time

import networkx as nx
import numpy as np
import pytest

carla = pytest.importorskip('carla')

from small_maps import lane, left_hand, opendrive, repeated, road, two_roads, WIDTH  # noqa: E402

from av_td3_ros.driving import lane_sampling, road_map as road_map_module  # noqa: E402
from av_td3_ros.driving.opendrive import LARGEST_FILE  # noqa: E402
from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402
from av_td3_ros.driving.towns import LARGEST_SEED  # noqa: E402
from av_td3_ros.resources import share  # noqa: E402


def text():
    return share('maps', 'town.xodr').read_text()


def changed(pattern, after, before=None):
    """Return a map, the town where none is given, with a pattern replaced wherever it is."""
    found, count = re.subn(pattern, after, text() if before is None else before, flags=re.S)
    assert count > 0
    return found


# -- no maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'broken, message',
    [
        (lambda: '', 'broken XML: no element found'),
        (lambda: text()[:20000], 'broken XML'),
        (lambda: '<html></html>', 'got XML of <html>'),
        (lambda: '<OpenDRIVE></OpenDRIVE>', 'drivable lanes, got none among 0 roads'),
        (lambda: changed('"driving"', '"biking"'), 'drivable lanes, got none among 44 roads'),
        (lambda: changed('<planView>.*?</planView>', ''), "road '0' with no geometry"),
        (lambda: changed('<lanes>.*?</lanes>', ''), 'drivable lanes, got none among 44 roads'),
        (lambda: opendrive(road(), changed('<lanes>.*</lanes>', '', road(2))), 'with no lanes'),
        (lambda: changed(' id="101"', ' id="100"'), "road '100' with an id that another road has"),
        (lambda: changed('<lane id="1"', '<lane id="one"'), 'no whole number'),
        (lambda: changed('<lane id="-1"', '<lane id="-1e400"'), 'no whole number'),
        (lambda: changed(' id="101"', ' id="-101"'), "road '-101' with an id that is not from 0"),
        (lambda: changed('<lane id="-2"', '<lane id="-1"'), 'not numbered one by one'),
        (lambda: changed('<lane id="-2"', '<lane id="-4"'), 'not numbered one by one'),
        (lambda: changed('<center>.*?</center>', ''), 'not numbered one by one from the middle'),
        (
            lambda: changed('<(/?)right>', r'<\1left>', changed('<left>.*?</left>', '')),
            'among those of <left> whose id is of another side',
        ),
        (lambda: changed('<width [^>]*/>', ''), 'a lane that has no width from its begin on'),
        (lambda: changed('<laneSection s="0', '<laneSection s="-5'), 'one behind the other'),
        (lambda: changed('<laneSection s="0', '<laneSection s="9000'), 'one behind the other'),
        (lambda: changed('<geometry s="0', '<geometry s="1'), 'one behind the other from its'),
        (
            lambda: opendrive(road(offset='<laneOffset s="1e-7" a="0" b="0" c="0" d="0"/>')),
            'lane offsets that are not one behind the other from its begin on',
        ),
        (
            lambda: changed('(<geometry [^>]*length=")[^"]*', r'\g<1>1e9', opendrive(road())),
            "road '1' with a geometry that is longer than it",
        ),
        (
            lambda: changed('<line ?/>', '<bezier/>'),
            'a geometry that is none of line, arc, spiral',
        ),
        (lambda: changed('curvature="0.025"', 'curvature="0"'), 'an arc of no curvature'),
        (
            lambda: changed('(<laneLink [^>]*)to="-?[0-9]+"', r'\1to="7"'),
            'with a junction that leads to no lane',
        ),
        (
            lambda: changed('connectingRoad="[0-9]+"', 'connectingRoad="9"'),
            'with a junction that leads to no lane',
        ),
        (
            lambda: changed('<successor id="-1"/>', '<successor id="-2"/>', two_roads(0.0)),
            "road '1' with a link to a lane that is not there",
        ),
    ],
)
def test_what_is_no_map_is_refused_in_one_line(broken, message):
    with pytest.raises(MapError, match=message) as caught:
        RoadMap('broken', broken())
    assert str(caught.value).startswith('map broken must ')
    assert 'check the file' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('value', ['nan', 'inf', 'wide', ''])
@pytest.mark.parametrize(
    'pattern',
    [
        '(<road [^>]*length=")[^"]*',
        '(<geometry [^>]*x=")[^"]*',
        '(<geometry [^>]*hdg=")[^"]*',
        '(curvature=")[^"]*',
        '(<width [^>]*b=")[^"]*',
        '(<width [^>]*sOffset=")[^"]*',
        '(<laneSection s=")[^"]*',
        '(<roadMark sOffset=")[^"]*',
        '(<laneOffset [^>]*a=")[^"]*',
        '(<elevation [^>]*d=")[^"]*',
    ],
)
def test_what_is_no_number_is_refused(pattern, value):
    values = 's="0" a="0" b="0" c="0" d="0"'
    whole = opendrive(
        road(
            shape='<arc curvature="0.01"/>',
            offset=f'<laneOffset {values}/>',
            elevation=f'<elevation {values}/>',
        )
    )
    assert RoadMap('whole', whole).on_road(1.0, -1.0)
    with pytest.raises(MapError, match='with a length or a geometry that is no number'):
        RoadMap('broken', changed(pattern, rf'\g<1>{value}', whole))


@pytest.mark.parametrize(
    'more',
    [
        '<userData code="author" value="me"/>',
        '<dataQuality><error xyAbsolute="some"/></dataQuality>',
    ],
)
def test_what_else_a_geometry_says_is_not_read(more):
    text = opendrive(road(shape=f'<line/>{more}'))
    assert RoadMap('described', text).on_road(50.0, -1.0)


def test_a_road_that_follows_itself_is_open_where_carla_ends_it():
    length = 200.0
    link = ''.join(
        f'<{what} elementType="road" elementId="1" contactPoint="{place}"/>'
        for what, place in (('predecessor', 'end'), ('successor', 'start'))
    )
    text = opendrive(
        road(
            length=length,
            shape=f'<arc curvature="{2.0 * math.pi / length}"/>',
            link=link,
            right=[lane(-1, link='<predecessor id="-1"/><successor id="-1"/>')],
        )
    )
    assert carla.Map('oval', text).get_waypoint_xodr(1, -1, length - 1.0).next(3.0) == []
    oval = RoadMap('oval', text)
    before, behind = (oval.lane((1, 0, -1)).centre[i, :2] for i in (-5, 5))
    with pytest.raises(MapError, match='a route must lead from'):
        oval.plan(tuple(before), float(oval.lane((1, 0, -1)).yaw[-5]), tuple(behind))


def test_a_missing_file_is_named(tmp_path):
    message = r"map must be 'town', .* or an OpenDRIVE file, got .*nowhere.xodr: No such file"
    with pytest.raises(MapError, match=message):
        RoadMap.load(str(tmp_path / 'nowhere.xodr'))


@pytest.mark.parametrize(
    'reader, name',
    [('road_map.RoadMap.load', 'pipe.xodr'), ('leaderboard.read', 'pipe.xml')],
)
def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path, reader, name):
    os.mkfifo(tmp_path / name)  # a read would wait for somebody who writes
    module = reader.partition('.')[0]
    code = f'import sys; from av_td3_ros.driving import {module}; {reader}(sys.argv[1])'
    for path in (tmp_path / name, tmp_path, '/dev/null'):
        command = [sys.executable, '-c', code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert f'got {path}: not a regular file' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize('name', ['a\0b', '\ud800', 'a' * 5000])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(MapError, match="map must be 'town', .* or an OpenDRIVE file, got"):
        RoadMap.load(name)


@pytest.mark.parametrize('seed', ['9' * 5000, '9' * 19, '-1', '', 'one', '1.5', '\u0661'])
def test_a_seed_of_a_town_that_is_none_is_refused(seed):
    text = f"must be a whole number from 0 to {LARGEST_SEED}, got '?{seed[:9]}"
    with pytest.raises(MapError, match=text) as error:
        RoadMap.load(f'random_town:{seed}')
    assert len(str(error.value)) < 200


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / 'noise.xodr').write_bytes(bytes(range(256)))
    with pytest.raises(MapError, match='must be OpenDRIVE'):
        RoadMap.load(str(tmp_path / 'noise.xodr'))


def test_without_carla_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'carla', None)
    with pytest.raises(MapError, match='pip install carla==0.9.16'):
        RoadMap('town', text())


# -- limits ---------------------------------------------------------------------------------------


def test_lanes_without_width_are_none():
    text = opendrive(road(right=[lane(-1, width=WIDTH.replace('3.5', '0'))]))
    with pytest.raises(MapError, match='drivable lanes of some length and width, got none'):
        RoadMap('thin', text)


@pytest.mark.parametrize('x', ['1e7', '-1e300', '40000'])
def test_huge_coordinates_are_refused(x):
    with pytest.raises(MapError, match='further than 32 km from the origin, where CARLA cannot'):
        RoadMap('far', opendrive(road(x=x)))


def test_a_road_that_leads_out_of_the_limits_is_refused():
    with pytest.raises(MapError, match="road '1' of the map must lie within 32 km of the origin"):
        RoadMap('far', opendrive(road(x=31990.0)))


def test_the_furthest_places_are_still_exact():
    road_map = RoadMap('far', opendrive(road(x=31890.0, y=-31890.0)))
    assert road_map.on_road(31900.0, -31893.49) and not road_map.on_road(31900.0, -31893.51)


def test_lanes_as_wide_as_a_field_are_refused():
    text = opendrive(road(right=[lane(-1, width=WIDTH.replace('3.5', '300'))]))
    with pytest.raises(MapError, match="road '1' of the map must have lanes of up to 100 m"):
        RoadMap('wide', text)


def test_endless_roads_are_refused():
    text = opendrive(road(length=1e9, shape='<arc curvature="0.01"/>'))
    with pytest.raises(MapError, match='must have up to 500 km of roads, got 1000000 km'):
        RoadMap('endless', text)


def test_too_many_cross_sections_are_refused(monkeypatch):
    monkeypatch.setattr(lane_sampling, 'MOST_SECTIONS', 1000)
    with pytest.raises(MapError, match='map town must have up to 1000 cross-sections of lanes'):
        RoadMap('town', text())
    circles = opendrive(road(length=1e4, shape='<arc curvature="0.5"/>'))
    with pytest.raises(MapError, match="road '1' of the map must have bends that can be driven"):
        RoadMap('circles', circles)


def test_bends_tighter_than_a_lane_is_wide_are_no_error():
    road_map = RoadMap('tight', opendrive(road(length=3.0, shape='<arc curvature="-0.5"/>')))
    assert road_map.on_road(0.5, -1.0) and not road_map.on_road(-2.0, -1.0)


def test_a_file_of_more_than_the_limit_is_refused(tmp_path):
    path = tmp_path / 'huge.xodr'
    with path.open('wb') as file:
        file.truncate(LARGEST_FILE + 10)
    with pytest.raises(MapError, match=f'map {path} must be of up to 50 MB, got more; cut'):
        RoadMap.load(str(path))


def test_a_map_many_times_over_loads_in_proportion():
    # 1 MB here; docs/results/sim/map/loading.csv has 10 MB.
    large = repeated(text(), 15)
    assert len(large) > 1e6
    begin = time.process_time()
    road_map = RoadMap('large', large)
    assert time.process_time() - begin < 15.0
    assert len(road_map.lanes) == 15 * 84
    assert nx.number_strongly_connected_components(road_map._graph) == 15
    for k in (0, 7, 14):
        x, y = 350.0 * (k % 13), 350.0 * (k // 13)
        assert road_map.lane_at(x + 60.0, y - 1.75).key == (1 + 1000 * k, 0, -1)
    assert road_map.random_route(np.random.default_rng(0), 80.0, 200.0).length >= 80.0


# -- gaps -----------------------------------------------------------------------------------------


def test_a_short_gap_between_roads_is_driven_over():
    road_map = RoadMap('gap', two_roads(1.5))
    route = road_map.plan((10.0, -1.75), 0.0, (90.0, -1.75))
    assert route.length == pytest.approx(80.0, abs=1.0)
    assert np.diff(route.distance).max() < 1.6
    assert not road_map.on_road(50.75, -1.75) and road_map.on_road(51.6, -1.75)


def test_lanes_that_are_joined_over_a_long_gap_stay_apart(caplog):
    with caplog.at_level(logging.WARNING, road_map_module.__name__):
        road_map = RoadMap('gap', two_roads(5.0))
    assert 'map gap joins 1 lanes whose ends are more than 2 m apart' in caplog.text
    assert road_map.lane((1, 0, -1)).successors == ()
    with pytest.raises(MapError, match='a route must lead from .* on map gap, got none'):
        road_map.plan((10.0, -1.75), 0.0, (90.0, -1.75))


def test_roads_without_any_link_are_a_map():
    road_map = RoadMap('lone', opendrive(road(1), road(2, y=50.0)))
    assert road_map.plan((10.0, -1.75), 0.0, (90.0, -1.75)).length == pytest.approx(80.0, abs=1.0)
    assert road_map.on_road(50.0, 48.0) and len(road_map.lanes) == 2


# -- left-hand traffic ----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def both():
    return RoadMap('right', text()), RoadMap('left', left_hand(text()))


def test_left_hand_lanes_lead_the_other_way(both):
    right, left = both
    assert [lane.key for lane in left.lanes] == [lane.key for lane in right.lanes]
    for one, other in zip(right.lanes, left.lanes):
        assert other.centre == pytest.approx(one.centre[::-1], abs=1e-4)
        assert other.left_edge == pytest.approx(one.right_edge[::-1], abs=1e-4)
        turned = np.abs((other.yaw - one.yaw[::-1]) % (2 * math.pi) - math.pi)
        assert turned == pytest.approx(np.zeros(len(turned)), abs=1e-5)
        assert (other.left_lane, other.right_lane) == (one.right_lane, one.left_lane)
        assert other.left_markings[:-1] == one.right_markings[-2::-1]
    assert set(left._graph.edges) == {(b, a) for a, b in right._graph.edges}


def test_left_hand_lanes_lead_where_carla_says(both):
    _, left = both
    carla_map = carla.Map('left', left.opendrive)
    assert left.lane_at(60.0, 1.75).key == (1, 0, 1)  # north of the middle, to the east
    for found in left.lanes:
        if found.kind == 'Driving':
            middle = float(found.s.mean())
            yaw = carla_map.get_waypoint_xodr(
                found.key[0], found.key[2], middle
            ).transform.rotation.yaw
            at = np.interp(middle, np.sort(found.s), np.unwrap(found.yaw)[np.argsort(found.s)])
            assert math.cos(at + math.radians(yaw)) > 0.999


def test_left_hand_routes_keep_to_the_left(both):
    _, left = both
    route = left.plan((20.0, 1.75), 0.0, (90.0, 1.75))
    assert route.points[:, 1] == pytest.approx(np.full(len(route.points), 1.75), abs=1e-3)
    assert (np.diff(route.points[:, 0]) > 0.0).all()
    rng = np.random.default_rng(0)
    for _ in range(10):
        route = left.random_route(rng, 80.0, 300.0)
        steps = np.diff(route.points, axis=0)
        for (x, y), step in zip(route.points[:-1:9], steps[::9]):
            position = left.lane_at(x, y)
            if not position.is_junction:
                found = left.lane(position.key)
                i = int(np.argmin(np.hypot(*(found.centre[:, :2] - (x, y)).T)))
                assert step @ (math.cos(found.yaw[i]), math.sin(found.yaw[i])) > 0.0


# -- the cache ------------------------------------------------------------------------------------


def test_a_map_from_the_cache_is_the_same_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv('AV_TD3_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'copy.xodr'
    path.write_text(text())
    first = RoadMap.load(str(path))
    monkeypatch.setitem(sys.modules, 'carla', None)  # which is not needed again
    second = RoadMap.load(str(path))
    assert len(second.lanes) == len(first.lanes) == 84
    for one, other in zip(first.lanes, second.lanes):
        for name, value in vars(one).items():
            found = getattr(other, name)
            same = (
                np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
            )
            assert same, (one.key, name)
    a, b = (m.random_route(np.random.default_rng(3), 80.0, 200.0) for m in (first, second))
    assert np.array_equal(a.points, b.points)


def test_a_changed_map_is_not_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('AV_TD3_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'small.xodr'
    path.write_text(opendrive(road(length=100.0)))
    assert RoadMap.load(str(path)).on_road(90.0, -1.0)
    path.write_text(opendrive(road(length=80.0)))
    assert not RoadMap.load(str(path)).on_road(90.0, -1.0)
