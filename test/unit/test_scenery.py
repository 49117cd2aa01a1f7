"""What stands beside the road: off every lane, seeded, and hit where it stands."""

import math
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from shapely import affinity, box, Point, Polygon, unary_union
from shapely.strtree import STRtree

pytest.importorskip('carla')

from av_td3_ros.datatypes import Pose  # noqa: E402
from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.sim.parts import parts  # noqa: E402
from av_td3_ros.sim.scenery import CLEARANCE, Item, KIND_NAMES, Scenery  # noqa: E402
from small_maps import lane, opendrive, road  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'maps'
LENGTH, WIDTH = 4.6, 1.9


@pytest.fixture(scope='module', params=['town', 'Town01.xodr', 'fabriksgatan.xodr'])
def street(request):
    path = request.param if request.param == 'town' else SHARED / request.param
    if path != 'town' and not path.exists():
        pytest.skip(f'{request.param} is not in ../shared/maps')
    road_map = RoadMap.load(str(path))
    return road_map, Scenery(road_map, 1)


def footprint(item):
    if item.is_round:
        return Point(item.x, item.y).buffer(item.radius, quad_segs=64)
    return outline(item.x, item.y, item.yaw, item.length, item.width)


def outline(x, y, yaw, length, width):
    shape = box(-length / 2, -width / 2, length / 2, width / 2)
    return affinity.translate(affinity.rotate(shape, yaw, (0, 0), use_radians=True), x, y)


def surface(lane):
    quads = [
        Polygon(
            [lane.left_edge[k], lane.right_edge[k], lane.right_edge[k + 1], lane.left_edge[k + 1]]
        )
        for k in range(len(lane.left_edge) - 1)
    ]
    return unary_union([quad.buffer(0) for quad in quads])


def test_nothing_stands_on_or_near_a_driving_lane(street):
    road_map, scenery = street
    lanes = [surface(lane) for lane in road_map.lanes if lane.kind == 'Driving']
    tree = STRtree(lanes)
    for item in scenery.items:
        shape = footprint(item)
        nearest = lanes[tree.nearest(shape)]
        # A grown shape is a polygon of many corners; a millimetre is theirs.
        assert shape.distance(nearest) > CLEARANCE[item.kind] - 1e-3, item


def test_a_street_is_full_of_things(street):
    road_map, scenery = street
    counts = {kind: sum(item.kind == kind for item in scenery.items) for kind in KIND_NAMES}
    length = sum(lane.length for lane in road_map.lanes if lane.kind == 'Driving')
    assert counts['house'] > length / 120 and counts['tree'] > length / 60
    assert counts['lamp'] > length / 150 and counts['car'] > length / 300
    houses = [item for item in scenery.items if item.kind == 'house']
    assert len({item.variant for item in houses}) >= 3


def test_things_do_not_stand_in_one_another(street):
    _, scenery = street
    shapes = [footprint(item) for item in scenery.items]
    tree = STRtree(shapes)
    for index, shape in enumerate(shapes):
        assert [k for k in tree.query(shape, predicate='intersects') if k != index] == []


def test_hits_are_those_of_the_footprints(street):
    _, scenery = street
    shapes = [footprint(item) for item in scenery.items]
    tree = STRtree(shapes)
    rng = np.random.default_rng(0)
    hit = 0
    for _ in range(2000):
        item = scenery.items[int(rng.integers(len(shapes)))]
        reach = 0.8 * (item.radius + 3.0)
        x, y = item.x + rng.uniform(-reach, reach), item.y + rng.uniform(-reach, reach)
        yaw = float(rng.uniform(-math.pi, math.pi))
        shape = outline(x, y, yaw, LENGTH, WIDTH)
        exact = set(tree.query(shape, predicate='intersects').tolist())
        found = scenery.collides(Pose(x, y, 0.0, yaw), LENGTH, WIDTH)
        hit += found is not None
        if found is None:
            assert all(shape.intersection(shapes[k]).area < 1e-3 for k in exact)
        else:
            assert found in exact or shape.distance(shapes[found]) < 1e-3
    assert 200 < hit < 1900


def test_the_same_seed_plants_the_same_and_another_does_not(street):
    road_map, scenery = street
    assert Scenery(road_map, 1).items == scenery.items
    assert Scenery(road_map, 2).items != scenery.items


def test_records_hold_everything(street):
    _, scenery = street
    assert [
        Item(KIND_NAMES[kind], *row, variant=variant)
        for kind, variant, *row in scenery.records().tolist()
    ] == scenery.items


def test_towns_side_by_side_are_as_full_as_each_alone():
    def counts(name):
        kinds = [item.kind for item in Scenery(RoadMap.load(f'random_town:{name}'), 1).items]
        return np.array([kinds.count(kind) for kind in ('car', 'sign', 'house')])

    together, alone = counts('4-6'), sum(counts(seed) for seed in (4, 5, 6))
    assert together == pytest.approx(alone, rel=0.15)


def test_parts_of_a_map_are_what_lies_far_apart():
    def line(x, y):
        return np.stack([x + np.arange(0.0, 200.0, 10.0), np.full(20, y)], axis=1)

    assert parts(
        [line(0.0, 0.0), line(5e3, 0.0), line(190.0, 60.0), line(0.0, -9e3)]
    ).tolist() == [
        0,
        1,
        0,
        2,
    ]
    shifted = [line(0.0, away) for away in (-99.9, 0.1)]
    assert parts(shifted).tolist() == [0, 0]


def test_a_footpath_far_from_every_road_is_left_bare():
    path = road(2, y=3000.0, right=[lane(-1, 'sidewalk')])
    alone, both = (RoadMap('x', opendrive(road(), *more)) for more in ((), (path,)))
    assert Scenery(both, 1).items == Scenery(alone, 1).items


def test_a_world_without_pictures_needs_no_renderer():
    code = (
        "import sys; sys.modules['panda3d'] = None\n"
        'from av_td3_ros.config import SimulatorConfig\n'
        'from av_td3_ros.datatypes import Control\n'
        'from av_td3_ros.sim.world import World\n'
        'world = World(SimulatorConfig(vehicles=3))\n'
        'for _ in range(20): world.tick(Control(1.0, 0.0, 0.0))\n'
        'print(world.state.speed)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 1.0
