"""Routes by number, and the roads that training leaves alone."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.config import EpisodeConfig  # noqa: E402
from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402
from av_td3_ros.driving.route_set import held_out_roads, RouteSet  # noqa: E402


@pytest.fixture(scope='module')
def road_map():
    return RoadMap.load('town')


def ends(road_map, kind, count=60):
    routes = RouteSet(EpisodeConfig(routes=kind), road_map)
    points = [routes.at(number, 3).route.points for number in range(count)]
    return {road_map.lane_at(*point).key[0] for p in points for point in (p[0], p[-1])}


def test_training_and_evaluation_share_no_road_that_routes_start_or_end_on(road_map):
    training, held_out = ends(road_map, 'training'), ends(road_map, 'held_out')
    assert not training & held_out
    assert training | held_out == road_map.roads
    assert held_out == held_out_roads(road_map.roads)
    assert ends(road_map, 'all', 200) == road_map.roads


def test_a_fifth_of_the_roads_is_held_out_whatever_their_order():
    chosen = held_out_roads(range(100))
    assert len(chosen) == 20 and chosen == held_out_roads(reversed(range(100)))
    assert held_out_roads(range(4)) == set() and len(held_out_roads(range(8))) == 2


def test_a_number_is_a_route_and_a_seed_changes_them_all(road_map):
    routes = RouteSet(EpisodeConfig(routes='held_out'), road_map)
    first, again, other = routes.at(7, 0), routes.at(7, 0), routes.at(7, 1)
    assert first.name == '7' and np.array_equal(first.route.points, again.route.points)
    assert first.route.length != other.route.length and len(routes) == 0


def test_a_map_of_few_roads_is_trained_on_as_a_whole_and_holds_out_none(road_map, monkeypatch):
    monkeypatch.setattr(RoadMap, 'roads', {key for key in sorted(road_map.roads)[:4]})
    assert RouteSet(EpisodeConfig(routes='training'), road_map).at(0, 0).route.length >= 80.0
    with pytest.raises(MapError, match='must have 5 roads for one to be held out, got 4'):
        RouteSet(EpisodeConfig(routes='held_out'), road_map)


def test_the_routes_of_a_file_come_in_turn(road_map, tmp_path):
    made = [RouteSet(EpisodeConfig(routes='all'), road_map).at(n, 0).route for n in (0, 1)]
    lines = [
        f'<route id="r{n}" town="town">'
        + ''.join(f'<waypoint x="{x}" y="{-y}" z="0"/>' for x, y in route.points[[0, -1]])
        + '</route>'
        for n, route in enumerate(made)
    ]
    path = Path(tmp_path) / 'routes.xml'
    path.write_text(f'<routes>{"".join(lines)}</routes>')
    routes = RouteSet(EpisodeConfig(route_file=str(path)), road_map)
    assert len(routes) == 2
    assert [routes.at(number, 0).name for number in range(4)] == ['r0', 'r1', 'r0', 'r1']


def test_a_file_that_is_not_there_is_named(road_map):
    with pytest.raises(MapError, match='routes must be in an XML file, got nope.xml'):
        RouteSet(EpisodeConfig(route_file='nope.xml'), road_map)
