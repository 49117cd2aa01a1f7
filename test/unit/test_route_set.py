"""Routes by number, and the roads that training leaves alone."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('carla')

from small_maps import street  # noqa: E402

from av_td3_ros.config import EpisodeConfig  # noqa: E402
from av_td3_ros.driving.commands import crossings  # noqa: E402
from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402
from av_td3_ros.driving.route_set import held_out_roads, RouteSet, TURNS  # noqa: E402

# Lengths of the first routes of seed 3, m: cut to a turn in part, and whole.
CUT = [60.064, 63.505, 69.058, 63.059, 140.375, 73.943, 52.531, 67.553]
WHOLE = [149.142, 113.832, 195.588, 102.361]


@pytest.fixture(scope='module')
def road_map():
    return RoadMap.load('town')


def drawn(road_map, count=60, training=False, **config):
    routes = RouteSet(EpisodeConfig(**config), road_map)
    return [routes.at(number, 3, training).route for number in range(count)]


def ends(road_map, kind, count=60, **config):
    points = [route.points for route in drawn(road_map, count, routes=kind, **config)]
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
    first, again, other = (
        routes.at(7, 0, training=False),
        routes.at(7, 0, training=False),
        routes.at(7, 1, training=False),
    )
    assert first.name == '7' and np.array_equal(first.route.points, again.route.points)
    assert first.route.length != other.route.length and len(routes) == 0


def test_the_routes_of_published_results_stay_as_they_are(road_map):
    cut = drawn(road_map, 8, training=True, turning_share=0.7)
    assert [route.length for route in cut] == pytest.approx(CUT, abs=1e-3)
    for training in (True, False):
        whole = drawn(road_map, 4, training=training)
        assert [route.length for route in whole] == pytest.approx(WHOLE, abs=1e-3)


def failing(monkeypatch, count):
    """Let so many searches for a route find none; return the list of all of them."""
    search, tries = RoadMap.random_route, []

    def found(self, rng, *rest):
        tries.append(rng.bit_generator.seed_seq.entropy)
        if len(tries) <= count:
            raise MapError('map town must have routes, found none')
        return search(self, rng, *rest)

    monkeypatch.setattr(RoadMap, 'random_route', found)
    return tries


def test_a_later_route_that_is_not_found_is_drawn_again(road_map, monkeypatch):
    tries = failing(monkeypatch, 2)
    found = RouteSet(EpisodeConfig(), road_map).at(5, 3, training=False)
    assert tries == [(3, 5), (3, 5, 1), (3, 5, 2)]
    expected = road_map.random_route(
        np.random.default_rng((3, 5, 2)),
        80.0,
        200.0,
        road_map.roads - held_out_roads(road_map.roads),
    )
    assert found.name == '5' and np.array_equal(found.route.points, expected.points)


@pytest.mark.parametrize('number, draws', [(0, 1), (1, 11)])
def test_a_map_without_routes_is_refused_at_the_first_and_later_in_the_end(
    road_map, monkeypatch, number, draws
):
    tries = failing(monkeypatch, 100)
    with pytest.raises(MapError, match='found none'):
        RouteSet(EpisodeConfig(), road_map).at(number, 3, training=False)
    assert len(tries) == draws


def test_a_map_of_few_roads_is_trained_on_as_a_whole_and_holds_out_none(road_map, monkeypatch):
    monkeypatch.setattr(RoadMap, 'roads', {key for key in sorted(road_map.roads)[:4]})
    assert (
        RouteSet(EpisodeConfig(routes='training'), road_map).at(0, 0, training=False).route.length
        >= 80.0
    )
    with pytest.raises(MapError, match='must have 5 roads for one to be held out, got 4'):
        RouteSet(EpisodeConfig(routes='held_out'), road_map)


@pytest.mark.parametrize('routes', ['training', 'held_out', 'all'])
def test_a_map_of_short_lanes_is_told_what_it_lacks(routes):
    road_map = RoadMap('short', street(12))
    with pytest.raises(MapError, match='must have lanes longer than 15 m .* choose another map'):
        RouteSet(EpisodeConfig(routes=routes), road_map).at(0, 0, training=True)


def test_a_route_that_is_cut_to_a_turn_is_that_and_a_little_way(road_map):
    for route in drawn(road_map, training=True, turning_share=1.0):
        turns = [each for each in crossings(route, road_map) if each.command in TURNS]
        assert any(each.begin < 32.0 and route.length - each.end < 42.0 for each in turns)


def test_the_ends_of_a_turn_are_on_roads_of_the_training(road_map):
    held_out = held_out_roads(road_map.roads)
    found = ends(road_map, 'training', 100, training=True, turning_share=1.0)
    assert found and not found & held_out


@pytest.mark.parametrize('share, cut', [(0.0, 0), (0.5, 50), (1.0, 100)])
def test_so_many_routes_are_cut_in_training(road_map, share, cut):
    whole = drawn(road_map, 100, turning_share=share)
    assert min(route.length for route in whole) >= 79.0
    lengths = [r.length for r in drawn(road_map, 100, training=True, turning_share=share)]
    assert abs(sum(length < 79.0 for length in lengths) - cut) <= 20


def test_a_map_without_a_turn_is_trained_on_by_whole_routes(road_map, monkeypatch):
    monkeypatch.setattr('av_td3_ros.driving.route_set.crossings', lambda route, road_map: [])
    assert min(r.length for r in drawn(road_map, 5, training=True, turning_share=1.0)) >= 79.0


def test_the_routes_of_a_file_come_in_turn(road_map, tmp_path):
    made = [
        RouteSet(EpisodeConfig(routes='all'), road_map).at(n, 0, training=False).route
        for n in (0, 1)
    ]
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
    assert [routes.at(number, 0, training=False).name for number in range(4)] == [
        'r0',
        'r1',
        'r0',
        'r1',
    ]


def test_a_file_that_is_not_there_is_named(road_map):
    with pytest.raises(MapError, match='routes must be in an XML file, got nope.xml'):
        RouteSet(EpisodeConfig(route_file='nope.xml'), road_map)
