"""The expert: alone on the road, behind others, at junctions, and on routes of the towns."""

import math
from pathlib import Path
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Pose, VehicleState  # noqa: E402
from av_td3_ros.driving.actuation import to_control  # noqa: E402
from av_td3_ros.driving.expert import Expert, follow, speed_limits  # noqa: E402
from av_td3_ros.driving.expert_params import ExpertParams  # noqa: E402
from av_td3_ros.driving.route import Route  # noqa: E402
from av_td3_ros.sim.boxes import touching  # noqa: E402
from av_td3_ros.sim.vehicle import Vehicle  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402
from costs import cost  # noqa: E402
from waiting import until  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOWN01 = ROOT.parent / 'shared' / 'maps' / 'Town01.xodr'
PERIOD = 0.05
PARAMS = ExpertParams()
NOBODY = np.empty((0, 6))
STRAIGHT = Route.from_points(np.stack([np.arange(301.0), np.zeros(301)], axis=1))
# 40 m east, a quarter of a circle of 8 m to the left, 40 m north.
BEND = Route.from_points(
    [(float(x), 0.0) for x in range(40)]
    + [(40 + 8 * math.sin(a), 8 - 8 * math.cos(a)) for a in np.linspace(0, math.pi / 2, 13)]
    + [(48.0, 8.0 + y) for y in range(1, 41)]
)


def car(x, y, yaw=0.0, speed=0.0):
    """Return the row of another vehicle."""
    return [x, y, yaw, 4.5, 1.8, speed]


def drive(route, others=(), seconds=20.0, start=None, speed=0.0, params=PARAMS):
    """
    Drive; other vehicles go straight on. Return (n, 4) x, y, yaw, speed and the others' last rows.
    """
    expert, vehicle = Expert(params, PERIOD), Vehicle()
    vehicle.place(start or route.start)
    vehicle.set_velocity(speed, 0.0)
    expert.begin(route)
    others = np.array(others, np.float64).reshape(-1, 6)
    way = []
    for _ in range(round(seconds / PERIOD)):
        vehicle.step(to_control(expert.act(vehicle.state, others)), PERIOD)
        others = others.copy()
        others[:, 0] += others[:, 5] * np.cos(others[:, 2]) * PERIOD
        others[:, 1] += others[:, 5] * np.sin(others[:, 2]) * PERIOD
        pose = vehicle.state.pose
        box = np.array([pose.x, pose.y, pose.yaw, vehicle.params.length, vehicle.params.width])
        assert not touching(box, others[:, :5]).any()
        way.append((pose.x, pose.y, pose.yaw, vehicle.state.speed))
    return np.array(way), others


# -- alone ----------------------------------------------------------------------------------------


def test_it_reaches_its_speed_and_keeps_it():
    way, _ = drive(STRAIGHT)
    assert way[-1, 3] == pytest.approx(PARAMS.target_speed, abs=0.1)
    assert way[:, 3].max() < PARAMS.target_speed + 0.1
    assert np.abs(way[:, 1]).max() < 1e-6


def test_it_comes_back_to_its_route():
    way, _ = drive(STRAIGHT, start=Pose(0.0, 1.5, 0.0, 0.2), speed=8.0, seconds=8.0)
    assert way[:, 1].min() > -0.2  # without swinging to the other side
    assert np.abs(way[100:, 1]).max() < 0.05


def test_it_slows_down_for_a_curve_and_stays_on_it():
    way, _ = drive(BEND, seconds=14.0)
    tracker = BEND.tracker()
    positions = [tracker.update(x, y, yaw) for x, y, yaw, _ in way]
    assert max(abs(position.lateral_deviation) for position in positions) < 0.25
    within = [
        speed for position, speed in zip(positions, way[:, 3]) if 41.0 < position.distance < 51.0
    ]
    assert max(within) ** 2 / 8.0 < 1.4 * PARAMS.lateral_acceleration
    assert way[:, 3].max() > 6.0


def test_beyond_the_goal_it_goes_on_straight():
    short = Route.from_points([(float(x), 0.0) for x in range(41)])
    way, _ = drive(short, seconds=12.0)
    assert way[-1, 0] > 42.0 and np.abs(way[:, 1:3]).max() < 1e-6


def test_limits_of_speed_can_be_reached_by_comfortable_braking():
    speeds = speed_limits(BEND, PARAMS)
    assert speeds[0] == PARAMS.target_speed
    assert speeds.min() == pytest.approx(math.sqrt(PARAMS.lateral_acceleration * 8.0), rel=0.03)
    slowing = (speeds[:-1] ** 2 - speeds[1:] ** 2) / 2.0
    assert slowing.max() < PARAMS.deceleration + 1e-9


# -- behind others --------------------------------------------------------------------------------


def test_the_idm_is_in_equilibrium_where_its_paper_says():
    speed = 5.0
    free = 1.0 - (speed / PARAMS.target_speed) ** 4
    gap = (PARAMS.standing_gap + speed * PARAMS.time_gap) / math.sqrt(free)
    assert follow(speed, gap, speed, PARAMS) == pytest.approx(0.0, abs=1e-12)
    assert follow(speed, 0.9 * gap, speed, PARAMS) < 0.0 < follow(speed, 1.1 * gap, speed, PARAMS)
    assert follow(0.0, 100.0, 0.0, PARAMS) == pytest.approx(PARAMS.acceleration, rel=1e-3)
    assert follow(8.0, 0.0, 0.0, PARAMS) == -PARAMS.max_deceleration


def test_it_stops_behind_who_stands():
    way, others = drive(STRAIGHT, [car(80.0, 0.0)], seconds=25.0)
    gap = others[0, 0] - way[-1, 0] - 4.5
    assert way[-1, 3] < 0.1 and 1.0 < gap < 3.5
    braking = np.diff(way[:, 3]) / PERIOD
    assert braking.min() > -4.0


def test_it_follows_who_is_slow():
    way, others = drive(STRAIGHT, [car(20.0, 0.3, 0.0, 4.0)], seconds=15.0)
    assert way[-1, 3] == pytest.approx(4.0, abs=0.3)
    assert 4.0 < others[0, 0] - way[-1, 0] - 4.5 < 12.0


def test_it_stops_for_who_stands_across():
    way, _ = drive(STRAIGHT, [car(60.0, 2.2, -math.pi / 2)], seconds=20.0)
    assert way[-1, 3] < 0.1 and way[-1, 0] < 57.0


@pytest.mark.parametrize(
    'other',
    [
        car(60.0, 3.5, math.pi, 8.0),  # comes towards
        car(50.0, 3.5),  # stands on the other lane
        car(50.0, -3.0),  # parks at the side
        car(-20.0, 0.0, 0.0, 3.0),  # follows
        car(60.0, 40.0, -math.pi / 2),  # stands on a side road
        car(30.0, -30.0, -math.pi / 2, 8.0),  # goes away
    ],
)
def test_it_does_not_mind_who_is_not_in_its_way(other):
    alone, _ = drive(STRAIGHT, seconds=10.0)
    way, _ = drive(STRAIGHT, [other], seconds=10.0)
    assert np.array_equal(way, alone)


# -- crossings ------------------------------------------------------------------------------------


@pytest.mark.parametrize('side', [-1.0, 1.0])
@pytest.mark.parametrize('away', [15.0, 25.0, 35.0, 45.0, 55.0])
@pytest.mark.parametrize('speed', [4.0, 8.0])
def test_it_never_meets_who_crosses(side, away, speed):
    """The other does not give way; ``drive`` asserts that they do not touch."""
    way, _ = drive(STRAIGHT, [car(50.0, side * away, -side * math.pi / 2, speed)], seconds=22.0)
    assert way[-1, 0] > 100.0


def test_it_waits_before_the_crossing_and_goes_on():
    """A column of three passes in front of it."""
    column = [car(40.0, 40.0 + 9.0 * i, -math.pi / 2, 5.0) for i in range(3)]
    way, _ = drive(STRAIGHT, column, seconds=22.0)
    slow = way[:, 3] < 1.0
    assert way[slow & (way[:, 0] > 10.0), 0].max() < 38.0
    assert way[-1, 0] > 80.0


def test_who_stands_at_a_junction_is_not_waited_for():
    alone, _ = drive(STRAIGHT, seconds=10.0)
    waiting = [car(40.0, 7.0, -math.pi / 2), car(44.0, -7.0, math.pi / 2)]
    way, _ = drive(STRAIGHT, waiting, seconds=10.0)
    assert np.array_equal(way, alone)


# -- towns ----------------------------------------------------------------------------------------


def evaluation():
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        import evaluate_expert
    finally:
        sys.path.pop(0)
    return evaluate_expert


@pytest.mark.parametrize('vehicles, count', [(0, 10), (20, 6)])
def test_it_drives_routes_of_the_town(vehicles, count):
    world, drive_route = World(SimulatorConfig(vehicles=vehicles)), evaluation().drive
    rng = np.random.default_rng(0)
    for _ in range(count):
        route = world.road_map.random_route(rng, 80.0, 200.0)
        row = drive_route(world, route, PERIOD, standing_time=30.0)
        assert row['reason'] == 'goal'
        assert row['mean_lateral'] < 0.1 and row['max_lateral'] < 0.4
        assert row['lane_invasions'] == 0
        assert row['jerk_p95'] < (4.0 if vehicles == 0 else 8.0)


def test_it_drives_routes_of_town01():
    if not TOWN01.exists():
        pytest.skip(f'{TOWN01} is not there')
    world, drive_route = World(SimulatorConfig(map=str(TOWN01))), evaluation().drive
    rng = np.random.default_rng(1)
    for _ in range(5):
        row = drive_route(world, world.road_map.random_route(rng, 200.0, 600.0), PERIOD)
        assert row['reason'] == 'goal' and row['mean_lateral'] < 0.1


def test_the_evaluation_writes_a_row_per_route(tmp_path):
    out = tmp_path / 'some' / 'expert.csv'
    tool = evaluation()
    assert tool.main([str(out), '--routes', '2', '--lengths', '40', '60']) == 0
    first = out.read_text()
    assert tool.main([str(out), '--routes', '2', '--lengths', '40', '60']) == 0
    assert out.read_text() == first
    assert first.startswith('route,reason,') and len(first.splitlines()) == 3


@pytest.mark.parametrize(
    'options, text',
    [
        (['--routes', '0'], '--routes must be >= 1, got 0'),
        (['--weather', 'x'], 'simulator.weather must be one of'),
        (['--vehicles', '-1'], 'simulator.vehicles must be 0 to 100, got -1'),
        (['--seed', '-1'], 'episode_manager.seed must be >= 0, got -1'),
        (['--lengths', '500', '100'], 'route_length_min must be <= route_length_max'),
        (['--map', 'nowhere'], 'got nowhere: No such file'),
        (['--standing', 'nan'], 'standing_time must be'),
        (['--lengths', '4000', '4100'], 'must have routes of 4000 to 4100 m'),
    ],
)
def test_the_evaluation_refuses_in_one_sentence(tmp_path, capsys, options, text):
    out = tmp_path / 'expert.csv'
    assert evaluation().main([str(out), *options]) == 2
    told = capsys.readouterr().err
    assert text in told and len(told.splitlines()) == 1 and not out.exists()


def test_the_evaluation_keeps_what_was_driven_before_a_stop(tmp_path):
    out = tmp_path / 'expert.csv'
    tool = str(ROOT / 'tools' / 'evaluate_expert.py')
    command = [sys.executable, tool, str(out), '--routes', '1000', '--lengths', '40', '60']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: out.exists() and out.read_text().count('\n') >= 3, process=process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130 and errors == ''
    assert len(out.read_text().splitlines()) >= 3


# -- anything at all ------------------------------------------------------------------------------


def test_actions_are_in_range_whatever_happens():
    rng = np.random.default_rng(0)
    expert = Expert()
    expert.begin(BEND)
    for _ in range(300):
        count = int(rng.integers(0, 30))
        others = rng.uniform(-1.0, 1.0, (count, 6)) * (40, 40, 4, 0, 0, 0) + (40, 10, 0, 4, 2, 0)
        others[:, 5] = rng.uniform(-2.0, 15.0, count)
        x, y, yaw = rng.uniform(-1.0, 1.0, 3) * (60, 60, 3.1)
        state = VehicleState(Pose(x, y, 0.0, yaw), rng.uniform(-3.0, 20.0), rng.uniform(-1, 1))
        action = expert.act(state, others)
        assert len(action) == 2 and all(-1.0 <= value <= 1.0 for value in action)


def test_begin_forgets_the_last_route():
    state, others = VehicleState(Pose(5.0, 0.2), 6.0), np.array([car(30.0, 0.0, 0.0, 2.0)])

    def actions(expert):
        expert.begin(STRAIGHT)
        return [expert.act(state, others) for _ in range(5)]

    expert = Expert()
    assert actions(expert) == actions(expert)


def test_two_processes_act_the_same_bits():
    code = """
import hashlib, numpy as np
from av_td3_ros.datatypes import Pose, VehicleState
from av_td3_ros.driving.expert import Expert
from av_td3_ros.driving.route import Route
s = np.arange(200.0)
expert, digest, rng = Expert(), hashlib.sha256(), np.random.default_rng(0)
expert.begin(Route.from_points(np.stack([s, 8 * np.sin(s / 25)], axis=1)))
others = rng.uniform(0.0, 1.0, (20, 6)) * (100, 20, 6, 0, 0, 8) + (0, -10, 0, 4.5, 1.8, 0)
for i in range(100):
    others[:, 0] += others[:, 5] * np.cos(others[:, 2]) * 0.05
    state = VehicleState(Pose(i, 8 * np.sin(i / 25), 0.0, 0.1), 7.0)
    digest.update(np.array(expert.act(state, others)).tobytes())
print(digest.hexdigest())
"""
    runs = [
        subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(runs[0]) == 65 and runs[0] == runs[1]


@pytest.mark.parametrize('count, limit', [(0, 100e-6), (20, 1250e-6)])
def test_acting_is_cheap(count, limit):
    rng = np.random.default_rng(0)
    others = rng.uniform(-1.0, 1.0, (count, 6)) * (35, 25, 3, 0, 0, 4) + (35, 0, 0, 4.5, 1.8, 6)
    expert = Expert()
    expert.begin(STRAIGHT)
    state = VehicleState(Pose(10.0, 0.1), 7.0)
    assert cost(lambda: expert.act(state, others)) < limit  # 9 and 250 us on an idle core
