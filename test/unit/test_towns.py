"""Random towns: what holds for every seed, and the curves that they are made of."""

import cmath
import math
import os
from pathlib import Path
import subprocess
import sys
from typing import Dict, List, Tuple
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.special import fresnel

pytest.importorskip('carla')
pytest.importorskip('shapely')

import town_checks  # noqa: E402

from av_td3_ros.driving.road_map import MapError, RoadMap  # noqa: E402
from av_td3_ros.driving.towns import LARGEST_SEED, town  # noqa: E402
from av_td3_ros.driving.towns_curves import (  # noqa: E402
    bend,
    joined,
    Piece,
    Place,
    reach,
    rounded,
    tightest,
)
from av_td3_ros.driving.towns_junctions import is_crowded  # noqa: E402
from av_td3_ros.driving.towns_opendrive import Link, NO_MARK, Road, Strip  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(20)


@pytest.fixture(scope='module', params=SEEDS)
def made(request) -> town_checks.Town:
    return town_checks.make(request.param)


def roads(text: str) -> Dict[str, ElementTree.Element]:
    """Return the roads by their numbers."""
    return {road.get('id'): road for road in ElementTree.fromstring(text).iter('road')}


def curvatures(road: ElementTree.Element) -> List[Tuple[float, float]]:
    """Return the curvature at the two ends of each piece of a road, 1/m."""
    found = []
    for geometry in road.iter('geometry'):
        shape = geometry[0].attrib
        first = shape.get('curvStart', shape.get('curvature', '0'))
        found.append((float(first), float(shape.get('curvEnd', first))))
    return found


# -- every town -----------------------------------------------------------------------------------


def test_every_lane_leads_to_every_lane(made):
    assert town_checks.is_strongly_connected(made.road_map)


def test_lanes_join_within_a_centimetre_and_a_degree(made):
    gap, kink = town_checks.joints(made.road_map)
    assert gap < 0.01 and kink < math.radians(1.0)


def test_nothing_overlaps_but_driving_lanes_within_a_junction(made):
    assert not [(a.key, b.key, area) for a, b, area in town_checks.overlaps(made.road_map)]
    assert not [lane.key for lane in town_checks.folded(made.road_map)]


def test_size_and_radii(made):
    lanes = town_checks.driving(made.road_map)
    points = np.concatenate([lane.centre for lane in lanes])
    size = points.max(axis=0) - points.min(axis=0)
    assert 250.0 < size[:2].min() and size[:2].max() < 800.0
    assert 3e3 < sum(lane.length for lane in lanes) < 14e3
    assert town_checks.tightest([lane for lane in lanes if lane.is_junction]) > 8.0
    assert town_checks.tightest([lane for lane in lanes if not lane.is_junction]) > 16.0
    assert all(2.99 < lane.width.min() <= lane.width.max() < 4.01 for lane in lanes)


def test_streets_bend_without_a_step_in_curvature(made):
    for road in roads(made.text).values():
        if road.get('junction') == '-1' and road.find('lanes/laneSection/left') is not None:
            ends = [0.0, *(value for pair in curvatures(road) for value in pair), 0.0]
            assert ends[::2] == ends[1::2], road.get('id')


def test_traffic_keeps_to_the_right(made):
    for lane in town_checks.driving(made.road_map):
        if lane.left_lane is None or lane.key[2] * lane.left_lane[2] > 0:
            continue
        other = made.road_map.lane(lane.left_lane)
        across = (other.centre[-1] - lane.centre[0])[:2]
        assert across[1] * math.cos(lane.yaw[0]) - across[0] * math.sin(lane.yaw[0]) > 2.9
        assert math.cos(lane.yaw[0] - other.yaw[-1]) < -0.99


def test_every_street_leads_to_every_other_at_its_junction(made):
    root, by_number = ElementTree.fromstring(made.text), roads(made.text)
    for junction in root.iter('junction'):
        if junction.get('name').startswith('roundabout'):
            assert len(junction) == 3
            continue
        ways = set()
        for connection in junction:
            road = by_number[connection.get('connectingRoad')]
            ends = [road.find(f'link/{end}') for end in ('predecessor', 'successor')]
            ways.add(tuple((end.get('elementId'), end.get('contactPoint')) for end in ends))
        arms = {come for come, _ in ways}
        assert ways == {(a, b) for a in arms for b in arms if a != b}
        assert len(arms) == (3 if junction.get('name').startswith('t_junction') else 4)


def test_routes_are_found(made):
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert 80.0 <= made.road_map.random_route(rng, 80.0, 200.0).length <= 200.0


# -- all of them together -------------------------------------------------------------------------


def test_towns_have_everything_that_they_may_have():
    texts = [town(seed) for seed in SEEDS]
    for kind in ('t_junctions', 'crossings', 'roundabouts'):
        assert sum(town_checks.kinds(text)[kind] for text in texts) > 5
    everything = ''.join(texts)
    for part in ('<line', '<arc', '<spiral', 'type="shoulder"', 'type="sidewalk"', 'lane id="-2"'):
        assert part in everything
    marks = {
        (mark.get('type'), mark.get('color'))
        for text in texts
        for mark in ElementTree.fromstring(text).iter('roadMark')
    }
    for colour in ('white', 'yellow'):
        assert {(kind, colour) for kind in ('solid', 'broken', 'solid solid')} <= marks


def test_seeds_give_different_towns_and_the_same_seed_the_same_in_another_process():
    code = 'import sys; from av_td3_ros.driving.towns import town; sys.stdout.write(town(7))'
    other = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONHASHSEED': '123'},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert other == town(7).encode() and town(7) != town(8)


@pytest.mark.parametrize('seed', [-1, LARGEST_SEED + 1, 1.0, '7', None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(MapError, match=r'the seed of a random town must be a whole number from 0'):
        town(seed)


@pytest.mark.parametrize('seed', [LARGEST_SEED, np.int64(3)])
def test_the_largest_seed_and_seeds_of_numpy_are_taken(seed):
    assert town(seed) == town(int(seed))


def test_the_checks_see_a_street_out_of_its_place():
    root = ElementTree.fromstring(town(3))
    first, second = (list(road.iter('geometry')) for road in root.findall('road')[:2])
    for axis in 'xy':
        away = float(second[1].get(axis)) - float(first[0].get(axis))
        for geometry in first:
            geometry.set(axis, str(float(geometry.get(axis)) + away))
    moved = RoadMap('moved', ElementTree.tostring(root, 'unicode'))
    assert list(town_checks.overlaps(moved))
    assert not town_checks.is_strongly_connected(moved)


def test_the_shipped_town_is_what_its_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import make_town

    assert make_town.build() == (ROOT / 'maps' / 'town.xodr').read_text()


def test_a_lane_that_strays_over_the_shoulder_of_another_is_seen():
    def road(number, leave, *more):
        links = Link('road', 1, 'end'), Link('road', number, 'start')
        strips = [Strip('driving', 3.5, 3.5, NO_MARK), *more]
        return Road(number, 1, joined(Place(0j, 0.0), leave), NO_MARK, [], strips, *links)

    beside = Strip('shoulder', 1.0, 1.0, NO_MARK)
    late_turn = road(2, Place(24 - 12j, -math.pi / 2), beside)
    assert not is_crowded([late_turn, road(3, Place(30 + 4j, 0.0))])
    assert is_crowded([late_turn, road(3, Place(30 - 4j, 0.0))])


# -- curves ---------------------------------------------------------------------------------------


def test_pieces_end_where_fresnel_says():
    length, curvature = 30.0, 1.0 / 20.0
    scale = math.sqrt(math.pi * length / curvature)
    sine, cosine = fresnel(length / scale)
    end = Piece(Place(3 + 4j, 0.5), length, 0.0, curvature).end
    wanted = 3 + 4j + scale * complex(cosine, sine) * cmath.rect(1.0, 0.5)
    assert abs(end.point - wanted) < 1e-12
    assert end.heading == pytest.approx(0.5 + length * curvature / 2)


@pytest.mark.parametrize('degrees', [-115.0, -90.0, -3.0, 20.0, 90.0, 115.0])
def test_a_bend_reaches_both_sides_of_its_corner_alike(degrees):
    angle = math.radians(degrees)
    pieces = bend(Place(-20.0 * reach(angle) + 0j, 0.0), angle, 20.0)
    assert abs(pieces[-1].end.point - cmath.rect(20.0 * reach(angle), angle)) < 1e-9
    assert tightest(pieces) == pytest.approx(20.0)


@pytest.mark.parametrize(
    'leave',
    [
        Place(20 + 15j, math.pi / 2),
        Place(20 - 12j, -1.9),
        Place(30 + 4j, 0.0),
        Place(30 - 3j, 0.2),
        Place(30 + 0j, 0.0),
    ],
)
def test_places_are_joined_exactly_and_gently(leave):
    pieces = joined(Place(0j, 0.0), leave)
    for before, after in zip(pieces, pieces[1:]):
        assert abs(before.end.point - after.place.point) < 1e-3
    assert pieces[0].place == Place(0j, 0.0)
    assert abs(pieces[-1].end.point - leave.point) < 1e-3
    assert math.remainder(pieces[-1].end.heading - leave.heading, 2 * math.pi) < 1e-3
    assert tightest(pieces) > 5.0


def test_corners_are_rounded_by_the_radius_where_there_is_room():
    assert tightest(rounded([0j, 100 + 0j, 100 + 100j], 30.0)) == pytest.approx(30.0)
    narrow = tightest(rounded([0j, 10 + 0j, 10 + 100j], 30.0))
    assert narrow == pytest.approx(10.0 / reach(math.pi / 2))
    assert tightest(rounded([0j, 10 + 0j, 30 + 0j], 30.0)) == math.inf


def test_a_random_town_is_loaded_by_its_seed():
    road_map = RoadMap.load('random_town:3')
    assert road_map.name == 'random_town_3' and road_map.opendrive == town(3)


# -- several towns on one map ---------------------------------------------------------------------


@pytest.fixture(scope='module')
def three():
    return RoadMap.load('random_town:4-6')


def test_several_towns_are_those_of_their_seeds_side_by_side(three):
    alone = [RoadMap.load(f'random_town:{seed}').lanes for seed in (4, 5, 6)]
    lengths = sorted(lane.length for lanes in alone for lane in lanes)
    assert sorted(lane.length for lane in three.lanes) == pytest.approx(lengths, abs=0.01)
    assert three.name == 'random_town_4-6'
    assert len(roads(three.opendrive)) == three.opendrive.count('<road ')


def test_every_route_stays_in_one_of_them_and_all_are_driven_in(three):
    rng = np.random.default_rng(0)
    towns_of = []
    for _ in range(40):
        points = three.random_route(rng, 80.0, 200.0).points
        ids = {three.lane_at(*point).key[0] // 10_000 for point in points}
        assert len(ids) == 1
        towns_of += ids
    assert set(towns_of) == {0, 1, 2}


def test_pairs_of_places_in_two_towns_are_no_tries(three, monkeypatch):
    """Of nine pairs six are: with four tries, many draws of routes would come to nothing."""
    monkeypatch.setattr('av_td3_ros.driving.road_map.TRIES', 4)
    found = 0
    for seed in range(40):
        try:
            three.random_route(np.random.default_rng(seed), 80.0, 200.0)
            found += 1
        except MapError:
            pass
    assert found >= 34


def test_no_two_of_them_touch(three):
    boxes = {}
    for lane in three.lanes:
        boxes.setdefault(lane.key[0] // 10_000, []).append(lane.centre[:, :2])
    ends = [np.concatenate(points) for points in boxes.values()]
    for i, one in enumerate(ends):
        for other in ends[:i]:
            gap = np.maximum(one.min(axis=0) - other.max(axis=0), other.min(axis=0) - one.max(0))
            assert gap.max() > 100.0


@pytest.mark.parametrize('span', ['6-4', '0-64', '-3', '3-', '1-2-3', 'a-b'])
def test_a_span_of_seeds_that_is_none_is_refused(span):
    with pytest.raises(MapError, match='random town'):
        RoadMap.load(f'random_town:{span}')
