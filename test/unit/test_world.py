"""The simulated world: ticks, collisions, lane markings, determinism."""

import math
import time

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Control, Pose  # noqa: E402
from av_td3_ros.driving.road_map import MapError  # noqa: E402
from av_td3_ros.sim.vehicle import VehicleParams  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402

BROKEN, SOLID = 1, 2
CAR = VehicleParams()
# On the street to the east of the crossing: y = -1.75 leads east.
STREET = Pose(40.0, -1.75, 0.0, 0.0)


@pytest.fixture(scope='module')
def shared():
    world = World(SimulatorConfig())
    yield world
    world.close()


@pytest.fixture
def world(shared):
    shared.teleport(STREET)
    shared.set_velocity(0.0, 0.0)
    shared.tick(Control())
    return shared


def facing(item, distance):
    """Return a pose with the front bumper ``distance`` m before a lamp or a tree."""
    back = distance + CAR.length / 2 + item.radius
    return Pose(
        item.x - back * math.cos(item.yaw), item.y - back * math.sin(item.yaw), 0.0, item.yaw
    )


def lonely(world, kind):
    """Return an item with nothing near it in the way."""
    for item in world.scenery.items:
        if (
            item.kind == kind
            and world.scenery.collides(facing(item, 4.0), 12.0, CAR.width) is None
        ):
            return item
    raise AssertionError(f'no free {kind}')


def test_it_starts_on_a_lane_at_rest():
    for seed in range(3):
        world = World(SimulatorConfig(seed=seed))
        pose = world.state.pose
        position = world.road_map.lane_at(pose.x, pose.y)
        assert abs(position.left) < 0.1 and not position.is_junction
        assert world.state.speed == 0.0 and world.frame == 0 and world.time == 0.0
        assert world.scenery.collides(pose, CAR.length, CAR.width) is None


def test_a_tick_is_one_step_of_time(world):
    frame, now = world.frame, world.time
    world.tick(Control(throttle=1.0))
    assert world.frame == frame + 1
    assert world.time == pytest.approx(now + 0.05)
    assert 0.0 < world.state.speed < 0.05 * 3.4  # the engine answers with a delay
    assert world.acceleration == pytest.approx(world.state.speed / 0.05)
    assert world.collisions == [] and world.lane_invasions == []


def test_teleport_keeps_the_velocity_and_the_ground(world):
    world.set_velocity(6.0, 0.1)
    world.teleport(Pose(60.0, -1.75, 2.0, 2 * math.pi))
    assert world.state == ((60.0, -1.75, 0.0, 0.0, 0.0, 0.0), 6.0, 0.1, 0.0)


def test_a_lamp_stops_the_car(world):
    lamp = lonely(world, 'lamp')
    world.teleport(facing(lamp, 2.0))
    world.set_velocity(8.0, 0.0)
    hits = []
    for _ in range(20):
        world.tick(Control())
        hits += world.collisions
        pose, cos, sin = world.state.pose, math.cos(lamp.yaw), math.sin(lamp.yaw)
        assert (lamp.x - pose.x) * cos + (lamp.y - pose.y) * sin > CAR.length / 2
        if world.collisions:
            assert world.acceleration == pytest.approx(-8.0 / 0.05, rel=0.02)
    assert len(hits) == 1
    assert world.state.speed == 0.0
    along = hits[0].impulse[0] * math.cos(lamp.yaw) + hits[0].impulse[1] * math.sin(lamp.yaw)
    assert along == pytest.approx(-CAR.mass * 8.0, rel=0.02)
    assert hits[0].other_actor_id == 0


def test_nothing_can_be_driven_through(world):
    tree = lonely(world, 'tree')
    world.teleport(facing(tree, 3.0))
    for _ in range(100):
        world.tick(Control(throttle=1.0))
    away = math.hypot(tree.x - world.state.pose.x, tree.y - world.state.pose.y)
    assert CAR.length / 2 < away < 3.0


def test_a_teleport_frees_the_car_from_what_it_hit(world):
    tree = lonely(world, 'tree')
    world.teleport(facing(tree, 0.2))
    world.tick(Control(throttle=1.0))
    world.teleport(STREET)
    world.tick(Control(throttle=1.0))
    assert world.collisions == [] and world.state.pose.x > 40.0


def test_crossing_the_middle_reports_the_broken_line_and_the_edge_the_solid_one(world):
    def cross(yaw, ticks):
        world.teleport(STREET._replace(yaw=yaw))
        world.set_velocity(4.0, 0.0)
        seen = []
        for _ in range(ticks):
            world.tick(Control())
            seen += world.lane_invasions
        return seen

    assert cross(0.0, 20) == []
    assert cross(0.4, 14) == [BROKEN]  # the left side crosses after 1.0 m
    assert cross(-0.4, 14) == [SOLID]
    assert cross(0.4, 37) == [BROKEN, BROKEN]  # the right side follows 1.5 m later


def test_a_teleport_is_no_lane_invasion(world):
    world.teleport(Pose(60.0, 1.75, 0.0, math.pi))
    world.tick(Control())
    assert world.lane_invasions == []


def test_scenery_keeps_off_the_road(shared):
    items = shared.scenery.items
    assert {item.kind for item in items} == {'house', 'tree', 'lamp'}
    assert len(items) > 100
    for item in items:
        for turn in np.linspace(0.0, 2 * math.pi, 8, endpoint=False):
            reach = item.radius if item.kind != 'house' else item.width / 2
            x, y = item.x + reach * math.cos(turn), item.y + reach * math.sin(turn)
            assert not shared.road_map.on_road(x, y)


def test_every_lane_is_free(shared):
    for lane in shared.road_map.lanes:
        for point in lane.points[::4]:
            if point.kind == 'Driving':
                assert (
                    shared.scenery.collides(
                        Pose(point.x, point.y, 0.0, point.yaw), CAR.length, CAR.width
                    )
                    is None
                )


def test_a_box_touches_a_house_at_its_wall(shared):
    house = next(item for item in shared.scenery.items if item.kind == 'house')
    cos, sin = math.cos(house.yaw), math.sin(house.yaw)

    def touches(gap, turn):
        reach = house.length / 2 + (CAR.length / 2 if turn == 0.0 else CAR.width / 2) + gap
        pose = Pose(house.x + reach * cos, house.y + reach * sin, 0.0, house.yaw + turn)
        index = shared.scenery.collides(pose, CAR.length, CAR.width)
        return index is not None and shared.scenery.items[index] == house

    for turn in (0.0, math.pi / 2):
        assert touches(-0.05, turn) and not touches(0.05, turn)


def test_the_same_seed_and_controls_give_the_same_bits():
    pytest.importorskip('panda3d')
    rng = np.random.default_rng(0)
    controls = [
        Control(*rng.uniform(0, 1, 2) * (1.0, 0.2), rng.uniform(-0.3, 0.3)) for _ in range(60)
    ]
    runs = []
    for _ in range(2):
        world = World(SimulatorConfig(seed=3))
        states, images = [], []
        for i, control in enumerate(controls):
            world.tick(control)
            states.append(world.state)
            if i % 20 == 0:
                images.append(world.image().tobytes())
        world.close()
        runs.append((states, images))
    assert runs[0] == runs[1]


def test_another_seed_gives_other_scenery_and_another_start():
    first, second = (World(SimulatorConfig(seed=seed)) for seed in (0, 1))
    assert first.scenery.items != second.scenery.items
    assert first.state.pose != second.state.pose


def test_a_broken_map_is_refused(tmp_path):
    path = tmp_path / 'broken.xodr'
    path.write_text('<OpenDRIVE>')
    with pytest.raises(MapError, match='must be OpenDRIVE'):
        World(SimulatorConfig(map=str(path)))


def test_a_tick_is_cheap(world):
    times = []
    for _ in range(100):
        begin = time.perf_counter()
        world.tick(Control(throttle=0.3))
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 1e-3  # 0.05 ms on an idle core
