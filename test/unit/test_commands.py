"""The navigator's commands: right for every way through every junction of several towns."""

import math

import numpy as np
import pytest

pytest.importorskip('carla')

from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.datatypes import Command, Pose  # noqa: E402
from av_td3_ros.driving.commands import Commands, crossings, NOTICE  # noqa: E402
from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.driving.route import Route  # noqa: E402
from av_td3_ros.task_config import observation_preset  # noqa: E402

TOWNS = ('town', 'random_town:0', 'random_town:1', 'random_town:2', 'random_town:5')
# Ways of one approach that say the same must be one: into two lanes side by side.
SAME = math.radians(5.0)


@pytest.fixture(scope='module')
def towns():
    return {name: RoadMap.load(name) for name in TOWNS}


def turn(lane):
    """Return how far a lane turns, rad, left positive."""
    yaw = np.unwrap(lane.yaw)
    return float(yaw[-1] - yaw[0])


def expected(angle):
    if abs(math.degrees(angle)) < 35.0:
        return Command.STRAIGHT
    return Command.LEFT if angle > 0.0 else Command.RIGHT


def ways(town):
    """Yield every way through a junction: (the lane before it, the lane in it, that behind)."""
    lanes = {lane.key: lane for lane in town.lanes if lane.kind == 'Driving'}
    for before in lanes.values():
        for middle in (lanes[key] for key in before.successors):
            if middle.is_junction and not before.is_junction:
                for behind in (lanes[key] for key in middle.successors):
                    if not behind.is_junction:
                        yield before, middle, behind


def along(*lanes):
    return Route.from_points(np.array([(p.x, p.y) for lane in lanes for p in lane.points]))


@pytest.mark.parametrize('name', TOWNS)
def test_every_way_through_a_junction_has_its_command_from_begin_to_end(name, towns):
    town, seen = towns[name], []
    for before, middle, behind in ways(town):
        begin, end = before.length, before.length + middle.length
        met = crossings(along(before, middle, behind), town)
        where = (before.key, middle.key, behind.key)
        assert [crossing.command for crossing in met] == [expected(turn(middle))], where
        assert abs(met[0].begin - begin) <= 1.05 and abs(met[0].end - end) <= 1.05, where
        seen.append(met[0].command)
    assert len(seen) >= 28 and set(seen) == set(Command) - {Command.FOLLOW}


@pytest.mark.parametrize('name', TOWNS)
def test_no_two_directions_of_one_approach_have_the_same_command(name, towns):
    approaches = {}
    for before, middle, _ in ways(towns[name]):
        angle = turn(middle)
        approaches.setdefault(before.key, {}).setdefault(expected(angle), []).append(angle)
    assert any(len(choices) > 1 for choices in approaches.values())
    for key, choices in approaches.items():
        assert all(max(angles) - min(angles) < SAME for angles in choices.values()), key


@pytest.mark.parametrize('name', ['town', 'random_town:1'])
def test_a_route_turns_as_its_commands_say_and_nowhere_else_at_junctions(name, towns):
    """Follow random routes point by point, with the map as the judge."""
    town, rng = towns[name], np.random.default_rng(0)
    for _ in range(10):
        route = town.random_route(rng, 200.0, 400.0)
        commands = Commands(route, town)
        for distance, (x, y) in zip(route.distance, route.points):
            if town.lane_at(x, y).is_junction:
                assert commands.at(distance) is not Command.FOLLOW
        for crossing in crossings(route, town):
            yaw = [
                np.interp(at, route.distance, np.unwrap(route.yaw))
                for at in (crossing.begin - 2.0, crossing.end + 2.0)
            ]
            turned = math.degrees(yaw[1] - yaw[0])
            if crossing.command is Command.STRAIGHT:
                assert abs(turned) < 40.0
            else:
                assert (turned > 30.0) == (crossing.command is Command.LEFT)


def test_a_command_is_given_before_its_junction_and_held_until_it_is_through(towns):
    town = towns['town']
    before, middle, behind = next(
        way
        for way in ways(town)
        if min(way[0].length, way[2].length) > 40.0 and expected(turn(way[1])) is Command.LEFT
    )
    route = along(before, middle, behind)
    left = next(c for c in crossings(route, town) if c.command is Command.LEFT)
    commands = Commands(route, town)
    for distance, command in (
        (left.begin - NOTICE - 0.5, Command.FOLLOW),
        (left.begin - NOTICE + 0.5, Command.LEFT),
        (left.begin, Command.LEFT),
        (left.end, Command.LEFT),
        (left.end + 0.5, Command.FOLLOW),
    ):
        assert commands.at(distance) is command, distance
    assert 10.0 <= NOTICE <= 15.0


def test_a_bend_outside_a_junction_is_followed(towns):
    town = towns['random_town:1']
    bend = max(
        (lane for lane in town.lanes if lane.kind == 'Driving' and not lane.is_junction),
        key=lambda lane: abs(turn(lane)),
    )
    assert abs(turn(bend)) > math.radians(40.0)
    commands = Commands(along(bend), town)
    inner = np.arange(5.0, bend.length - 5.0)
    assert {commands.at(distance) for distance in inner} == {Command.FOLLOW}


def test_the_loop_in_one_process_sees_the_command_of_its_route():
    pytest.importorskip('panda3d')
    from av_td3_ros.sim.env import DrivingEnv

    env = DrivingEnv(build_run(observation_preset('camera'), 'x'), camera=False)
    town, told = env.world.road_map, set()
    for seed in range(4):
        obs, route = env.reset(seed=seed), env.episode.route
        for crossing in crossings(route, town):
            x, y = (np.interp(crossing.begin, route.distance, route.points[:, k]) for k in (0, 1))
            yaw = float(np.interp(crossing.begin, route.distance, np.unwrap(route.yaw)))
            env.world.teleport(Pose(x, y, yaw=yaw))
            obs, _, _ = env.step((0.0, 0.0))
            assert obs.vector[2:].tolist() == [float(crossing.command is c) for c in Command]
            told.add(crossing.command)
    assert obs.vector.shape == (6,) and len(told) > 1
    env.close()
