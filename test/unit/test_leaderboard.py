"""Route files of the CARLA leaderboard, planned on lanes."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.driving import leaderboard  # noqa: E402
from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402

MAPS = Path(__file__).resolve().parents[3] / 'shared' / 'maps'
FILE = MAPS / 'routes_town01.xml'
LAYOUTS = {
    '1.0': '<waypoint x="{0}" y="{1}" z="0.0" yaw="{2}" pitch="0.0" roll="0.0"/>',
    '2.0': '<position x="{0}" y="{1}" z="0.0"/>',
}


@pytest.fixture(scope='module')
def town01():
    if not FILE.exists():
        pytest.skip(f'{FILE} is not there')
    return RoadMap.load(str(MAPS / 'Town01.xodr'))


@pytest.fixture(scope='module')
def town():
    return RoadMap.load('town')


def write(tmp_path, waypoints, layout='1.0', town='town', more=''):
    """Write a file of one route from points in the map frame."""
    places = '\n'.join(
        LAYOUTS[layout].format(x, -y, -math.degrees(yaw)) for x, y, yaw in waypoints
    )
    if layout == '2.0':
        places = f'<waypoints>{places}</waypoints>'
    path = tmp_path / 'routes.xml'
    path.write_text(f'<routes><route id="7" town="{town}">{more}{places}</route></routes>')
    return str(path)


def along(route, *distances):
    """Return (x, y, yaw) of the points of a route nearest to distances along it."""
    at = [int(np.argmin(np.abs(route.distance - d))) for d in distances]
    return [(*route.points[i], route.yaw[i]) for i in at]


@pytest.fixture(scope='module')
def driven(town):
    return town.random_route(np.random.default_rng(3), 250.0, 400.0)


@pytest.fixture(scope='module')
def driven_on(town01):
    """Poses on every driving lane, less than 0.8 m from each other: (n, 3) m, m, rad."""
    poses = []
    for lane in town01.lanes:
        if lane.kind == 'Driving':
            x, y = lane.centre[:, 0], lane.centre[:, 1]
            along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
            at = np.linspace(0.0, along[-1], int(along[-1] / 0.8) + 2)
            yaw = np.interp(at, along, np.unwrap(lane.yaw))
            poses.append(np.stack([np.interp(at, along, x), np.interp(at, along, y), yaw], 1))
    return np.concatenate(poses)


# -- the ten routes of Town01 ---------------------------------------------------------------------


@pytest.mark.parametrize('name', [str(i) for i in range(10)])
def test_routes_of_town01(town01, driven_on, name):
    (planned,) = leaderboard.routes(str(FILE), town01, name)
    entry = {entry.name: entry for entry in leaderboard.read(str(FILE))}[name]
    route = planned.route
    assert planned.name == name

    # Connected, and never turning faster than the tightest lane, of 4.5 m.
    steps = np.hypot(*np.diff(route.points, axis=0).T)
    turns = (np.diff(route.yaw) + math.pi) % (2 * math.pi) - math.pi
    assert np.all(np.abs(turns) < 0.05 + steps / 4.0)

    # On driving lanes, near their middle, in their direction.
    assert all(town01.on_road(x, y) for x, y in route.points)
    for (x, y), yaw in zip(route.points[::5], route.yaw[::5]):
        away = np.hypot(*(driven_on[:, :2] - (x, y)).T)
        assert (np.cos(driven_on[away < 0.5, 2] - yaw) > 0.95).any()

    # Through every waypoint, in the order of the file.
    passed = []
    for waypoint in entry.waypoints:
        away = np.hypot(*(route.points - waypoint[:2]).T)
        assert away.min() < leaderboard.REACH
        at = int(np.argmin(away))
        assert math.cos(route.yaw[at] - waypoint.yaw) > 0.9
        passed.append(at)
    assert passed == sorted(passed)

    places = [waypoint[:2] for waypoint in entry.waypoints]
    straight = sum(math.dist(a, b) for a, b in zip(places, places[1:]))
    assert 0.98 * straight < route.length < 1.1 * straight


def test_all_routes_come_in_the_order_of_the_file(town01):
    planned = leaderboard.routes(str(FILE), town01)
    assert [route.name for route in planned] == [str(i) for i in range(10)]
    assert planned[0].weather['sun_altitude_angle'] == 70.0 and planned[1].weather == {}


# -- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize('layout', ['1.0', '2.0'])
def test_a_route_is_the_same_in_either_layout(town, driven, tmp_path, layout):
    points = along(driven, 0.0, 60.0, 120.0, 180.0, driven.length)
    path = write(tmp_path, points, layout)
    (planned,) = leaderboard.routes(path, town)
    assert planned.route.length == pytest.approx(driven.length, abs=1.0)
    assert planned.route.goal == pytest.approx(driven.goal, abs=0.5)
    tracker = planned.route.tracker()
    for x, y, yaw in along(driven, *np.arange(5.0, driven.length, 10.0)):
        position = tracker.update(x, y, yaw)
        assert abs(position.lateral_deviation) < 0.05 and abs(position.heading_error) < 0.05


def test_the_axes_are_turned(town, tmp_path):
    path = write(tmp_path, [(1.0, 2.0, 0.5), (30.0, 40.0, -0.5)])
    (entry,) = leaderboard.read(path)
    assert 'y="-2.0"' in Path(path).read_text()
    assert entry.waypoints[0] == pytest.approx((1.0, 2.0, 0.5))
    (entry,) = leaderboard.read(write(tmp_path, [(1.0, 2.0, 0.5), (30.0, 40.0, -0.5)], '2.0'))
    assert entry.waypoints[1] == (30.0, 40.0, None)


def test_waypoints_that_follow_closely_make_no_loop(town, driven, tmp_path):
    points = along(driven, 0.0, 50.0, 51.0, 49.0, driven.length)
    (planned,) = leaderboard.routes(write(tmp_path, points), town)
    assert planned.route.length == pytest.approx(driven.length, abs=1.0)


@pytest.mark.parametrize(
    'weather',
    [
        '<weather cloudiness="80" wetness="5.5" />',
        '<weathers><weather route_percentage="0" cloudiness="80" wetness="5.5" '
        'dust_storm="3"/><weather route_percentage="100" cloudiness="5"/></weathers>',
    ],
)
def test_the_weather_comes_along(town, driven, tmp_path, weather):
    path = write(tmp_path, along(driven, 0.0, 60.0), more=weather)
    assert leaderboard.read(path)[0].weather == {'cloudiness': 80.0, 'wetness': 5.5}
    assert leaderboard.routes(path, town)[0].weather == {'cloudiness': 80.0, 'wetness': 5.5}


@pytest.mark.parametrize('name', ['town', 'town_Opt', 'Carla/Maps/town'])
def test_a_town_has_several_names(town, driven, tmp_path, name):
    assert leaderboard.routes(write(tmp_path, along(driven, 0.0, 60.0), town=name), town)


def test_routes_of_other_towns_are_left_out(town, driven, tmp_path):
    path = Path(write(tmp_path, along(driven, 0.0, 60.0)))
    text = path.read_text()
    other = text[len('<routes>') : -len('</routes>')].replace(
        'id="7" town="town"', 'id="8" town="T"'
    )
    path.write_text(text.replace('</routes>', other + '</routes>'))
    assert [route.name for route in leaderboard.routes(str(path), town)] == ['7']
    with pytest.raises(MapError, match='must be for town, got T; load the map'):
        leaderboard.routes(str(path), town, '8')


# -- bad input ------------------------------------------------------------------------------------


def test_no_file(town, tmp_path):
    with pytest.raises(MapError, match='must be in an XML file, got .*none.xml: No such file'):
        leaderboard.routes(str(tmp_path / 'none.xml'), town)


@pytest.mark.parametrize(
    'text, message',
    [
        ('route 1: go left', r'must be a file of the CARLA leaderboard \(XML\), got .*syntax'),
        (b'\xff\xfe\x00', r'must be a file of the CARLA leaderboard \(XML\), got'),
        ('<?xml version="1.0" encoding="klingon"?><routes/>', r'got .*routes.xml: unknown encod'),
        ('<?xml version="1.0" encoding="utf-32"?><routes/>', r'got .*routes.xml: multi-byte enc'),
        ('<OpenDRIVE/>', 'must hold <routes> with at least one <route>, got <OpenDRIVE> with 0'),
        ('<routes/>', 'at least one <route>, got <routes> with 0'),
        ('<routes><route town="town"/></routes>', 'must have id and town'),
        ('<routes><route id="1" town="town"/></routes>', 'at least 2 waypoints, got 0'),
        (
            '<routes><route id="1" town="town"><waypoint x="1" y="2"/><waypoint x="4"/></route>'
            '</routes>',
            'a waypoint of route 1 .* must have x and y',
        ),
        (
            '<routes><route id="1" town="town"><waypoint x="one" y="2"/><waypoint x="4" y="2"/>'
            '</route></routes>',
            "x of a waypoint of route 1 .* must be a finite number, got 'one'",
        ),
        (
            '<routes><route id="1" town="town"><waypoint x="4" y="2"/><waypoint x="4" y="nan"/>'
            '</route></routes>',
            "must be a finite number, got 'nan'",
        ),
        (
            '<routes><route id="1" town="town"><waypoint x="4" y="2"/><waypoint x="4" y="2"/>'
            '</route></routes>',
            'route 1 must have at least 2 waypoints 2 m apart, got 2 waypoints in one place',
        ),
    ],
)
def test_files_that_are_no_routes(town, tmp_path, text, message):
    path = tmp_path / 'routes.xml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MapError, match=message):
        leaderboard.routes(str(path), town)


@pytest.mark.parametrize('name', ['a\0b', '\ud800', 'a' * 5000])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(MapError, match='routes must be in an XML file, got'):
        leaderboard.read(name)


def test_another_town(town, driven, tmp_path):
    path = write(tmp_path, along(driven, 0.0, 60.0), town='Town03')
    with pytest.raises(MapError, match='must be for town, got Town03; load the map of that town'):
        leaderboard.routes(path, town)


def test_an_unknown_route(town, driven, tmp_path):
    with pytest.raises(MapError, match='route must be one of 7 in .*, got 12'):
        leaderboard.routes(write(tmp_path, along(driven, 0.0, 60.0)), town, '12')


@pytest.mark.parametrize('layout', ['1.0', '2.0'])
def test_a_waypoint_beside_the_road(town, driven, tmp_path, layout):
    (x, y, yaw), goal = along(driven, 0.0, 60.0)
    low = np.concatenate([lane.centre for lane in town.lanes]).min(axis=0)
    with pytest.raises(MapError, match=r'route 7.*within 2 m of the lanes of town, got .* m away'):
        leaderboard.routes(
            write(tmp_path, [(x, y, yaw), (low[0] - 50.0, y, yaw), goal], layout), town
        )
