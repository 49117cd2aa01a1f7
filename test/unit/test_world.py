"""The simulated world: ticks, collisions, lane markings, determinism."""

import math

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Control, Pose  # noqa: E402
from av_td3_ros.driving.road_map import MapError  # noqa: E402
from av_td3_ros.sim.boxes import touching  # noqa: E402
from av_td3_ros.sim.collisions import RESTITUTION  # noqa: E402
from av_td3_ros.sim.vehicle import VehicleParams  # noqa: E402
from av_td3_ros.sim.weather import PRESETS  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402
from costs import cost  # noqa: E402
from small_maps import street  # noqa: E402

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
    assert world.vehicle.acceleration == pytest.approx(world.state.speed / 0.05)
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
            bounced = (1.0 + RESTITUTION) * 8.0
            assert world.vehicle.acceleration == pytest.approx(-bounced / 0.05, rel=0.02)
    assert len(hits) == 1
    assert -RESTITUTION * 8.0 < world.state.speed <= 0.0
    along = hits[0].impulse[0] * math.cos(lamp.yaw) + hits[0].impulse[1] * math.sin(lamp.yaw)
    assert along == pytest.approx(-CAR.mass * bounced, rel=0.02)
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
    assert cross(0.4, 46) == [BROKEN] * 4  # each corner, one after the other


def test_a_teleport_is_no_lane_invasion(world):
    world.teleport(Pose(60.0, 1.75, 0.0, math.pi))
    world.tick(Control())
    assert world.lane_invasions == []


# -- traffic --------------------------------------------------------------------------------------


def behind(world, index, gap):
    """Return a pose with the front bumper ``gap`` m behind another vehicle."""
    x, y, yaw, length = world.traffic.boxes[index, :4].tolist()
    back = gap + (length + CAR.length) / 2
    return Pose(x - back * math.cos(yaw), y - back * math.sin(yaw), 0.0, yaw)


def test_a_hit_from_behind_pushes_the_other_on_and_keeps_the_momentum():
    world = World(SimulatorConfig(vehicles=3))
    world.vehicle.place(behind(world, 1, 0.2))
    world.set_velocity(15.0, 0.0)
    before = float(world.traffic.speed[1])
    world.tick(Control())
    hit, yaw = world.collisions[0], world.state.pose.yaw
    assert hit.other_actor_id == world.traffic.ids[1] and len(world.collisions) == 1
    along = hit.impulse[0] * math.cos(yaw) + hit.impulse[1] * math.sin(yaw)
    masses = CAR.mass, world.traffic.bodies[1].mass
    assert along == pytest.approx(
        -(1 + RESTITUTION) * (15.0 - before) / (1 / masses[0] + 1 / masses[1]), rel=0.3
    )
    assert world.state.speed == pytest.approx(15.0 + along / CAR.mass, rel=0.05)
    assert world.traffic.speed[1] > before and world.traffic.braking[1]
    assert not touching(world.box, world.traffic.boxes).any()


def test_who_was_pushed_into_is_free_again():
    world = World(SimulatorConfig(vehicles=3))
    world.vehicle.place(behind(world, 1, -0.5))  # where no teleport would put it
    world.tick(Control())
    for _ in range(60):
        assert not touching(world.box, world.traffic.boxes).any()
        world.tick(Control(throttle=0.5, reverse=True))
    assert world.state.speed < -1.0


def test_no_other_vehicle_is_in_the_place_of_a_teleport():
    world = World(SimulatorConfig(vehicles=20))
    for index in range(20):
        x, y, yaw = world.traffic.boxes[index, :3].tolist()
        world.teleport(Pose(x, y, 0.0, yaw))
        away = np.hypot(*(world.traffic.boxes[:, :2] - (x, y)).T)
        assert away.min() > 20.0


def test_a_teleport_into_a_wall_is_refused_and_nothing_moves(world):
    house = next(item for item in world.scenery.items if item.kind == 'house')
    before = world.state
    with pytest.raises(ValueError, match=f'free place, got .{house.x:.1f}, .* a house stands'):
        world.teleport(Pose(house.x, house.y))
    assert world.state == before


@pytest.mark.parametrize('x, y, yaw', [(1e6, 0.0, 0.0), (0.0, -1e300, 0.0), (0.0, 0.0, math.nan)])
def test_a_place_beyond_all_maps_is_refused_and_nothing_moves(world, x, y, yaw):
    before = world.state
    with pytest.raises(
        ValueError, match='a pose must be finite and within 100000 m of the origin'
    ):
        world.teleport(Pose(x, y, 0.0, yaw))
    assert world.state == before


@pytest.mark.parametrize('speed, yaw_rate', [(1e200, 0.0), (5.0, 1000.0), (math.nan, 0.0)])
def test_a_velocity_that_no_car_has_is_refused(world, speed, yaw_rate):
    with pytest.raises(ValueError, match='speed must lie within 100 m/s and yaw rate within 10'):
        world.set_velocity(speed, yaw_rate)


def test_where_there_is_room_at_first_there_is_room_after_every_reset():
    world = World(SimulatorConfig(vehicles=60))
    rng = np.random.default_rng(0)
    for _ in range(40):
        world.teleport(world.road_map.random_route(rng, 80.0, 200.0).start)
    assert len(world.traffic.boxes) == 60


def test_too_many_vehicles_are_refused(tmp_path):
    path = tmp_path / 'street.xodr'
    path.write_text(street(300.0))
    with pytest.raises(ValueError, match='must have room for the traffic, got 100 vehicles'):
        World(SimulatorConfig(map=str(path), vehicles=100))


# -- weather --------------------------------------------------------------------------------------


def test_a_wet_road_brakes_longer(world):
    def braking_distance(weather):
        world.set_weather(PRESETS[weather])
        world.teleport(Pose(20.0, -1.75, 0.0, 0.0))
        world.set_velocity(12.0, 0.0)
        while world.state.speed > 0.0:
            world.tick(Control(brake=1.0))
        return world.state.pose.x - 20.0

    dry, wet = braking_distance('clear_noon'), braking_distance('hard_rain_noon')
    world.set_weather(PRESETS['clear_noon'])
    assert 1.15 * dry < wet < 1.6 * dry


def test_random_weather_changes_with_every_teleport_and_another_stays(world):
    changing = World(SimulatorConfig(weather='random'))
    seen = {changing.weather}
    for _ in range(4):
        changing.teleport(STREET)
        seen.add(changing.weather)
    assert len(seen) == 5
    world.set_weather(PRESETS['wet_noon'])
    world.teleport(STREET)
    assert world.weather == PRESETS['wet_noon']
    world.set_weather(PRESETS['clear_noon'])


# -- chance ---------------------------------------------------------------------------------------


def test_after_a_seed_a_teleport_begins_the_same_world_anew():
    config = SimulatorConfig(vehicles=5, weather='random')
    used, fresh = World(config), World(config)
    for _ in range(30):
        used.tick(Control(throttle=1.0))
    runs = []
    for world in (used, fresh):
        world.reseed(7)
        world.set_velocity(0.0, 0.0)
        world.teleport(STREET)
        for _ in range(20):
            world.tick(Control(throttle=0.6, steering=0.1))
        runs.append((world.state, world.weather, world.others.tobytes(), world.image().tobytes()))
        world.close()
    assert runs[0] == runs[1]


def test_behind_episodes_that_were_driven_come_other_traffic_and_weather():
    seen = []
    for first, more in ((0, 0), (4, 0), (0, 4), (9, 0)):
        world = World(SimulatorConfig(vehicles=5, weather='random', first_episode=first))
        drawn = [(world.weather, world.others.tobytes())]
        world.go_on(more)
        world.teleport(STREET)
        drawn.append((world.weather, world.others.tobytes()))
        seen.append(drawn)
        world.close()
    starts, behind = zip(*seen)
    assert len(set(starts)) == 3 and starts[0] == starts[2]
    assert len(set(behind)) == 3 and behind[1] == behind[2]


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
    control = Control(throttle=0.3)
    assert cost(lambda: world.tick(control), 10) < 1e-3  # 0.06 ms on an idle core
