"""
Let the expert drive random routes and write how each of them went.

    python tools/evaluate_expert.py OUT.csv [--map MAP] [--vehicles N] [--routes N] [--seed S]
        [--lengths MIN MAX] [--weather NAME] [--standing TIME]

The world and the scoring are those of the environment; the camera is left out. Route i of seed S
is the same whatever else is asked for. Exit status 1 where one in ten routes is not completed.
"""

import argparse
from collections import Counter
import csv
from pathlib import Path
import sys
from typing import Any, Dict, List

import numpy as np

from av_td3_ros.config import EpisodeConfig, SimulatorConfig, TerminationConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.expert import Expert
from av_td3_ros.driving.route import Route
from av_td3_ros.sim.world import World

MAX_STEPS = 10_000
ENOUGH = 0.9


def drive(world: World, route: Route, period: float, standing_time: float = 4.0) -> Dict[str, Any]:
    """
    Let the expert drive a route from its start; return the row of the episode.

    :param period: s of a tick. :param standing_time: s of standing that end the episode.
    """
    expert = Expert(period=period)
    world.teleport(route.start)
    world.set_velocity(0.0, 0.0)
    limits = TerminationConfig(max_steps=MAX_STEPS, standing_time=standing_time)
    episode = Episode(EpisodeConfig(termination=limits), route, world.state, period)
    expert.begin(route)
    lateral, speeds, invasions = [], [world.state.speed], 0
    outcome = Outcome.CONTINUES
    while outcome is Outcome.CONTINUES:
        action = expert.act(world.state, world.others)
        world.tick(to_control(action))
        state = world.state
        on_road = world.road_map.on_road(state.pose.x, state.pose.y)
        result = episode.step(state, action[0], on_road, bool(world.collisions))
        outcome = result.outcome
        lateral.append(abs(result.position.lateral_deviation))
        speeds.append(state.speed)
        invasions += len(world.lane_invasions)
    acceleration = np.diff(speeds) / period
    jerk = np.abs(np.diff(acceleration)) / period
    measured = episode.summary
    return {
        'reason': result.reason,
        'route_length': route.length,
        'completion': episode.route_completion,
        'time': episode.length * period,
        'mean_speed': measured['mean_speed'],
        'longest_standing': measured['longest_standing'],
        'mean_lateral': measured['mean_lateral_deviation'],
        'max_lateral': np.max(lateral),
        'max_lateral_acceleration': measured['max_lateral_acceleration'],
        'min_acceleration': acceleration.min(),
        'max_acceleration': acceleration.max(),
        'jerk_p95': np.percentile(jerk, 95),
        'lane_invasions': invasions,
        'episode_return': episode.episode_return,
    }


def evaluate(arguments: argparse.Namespace) -> List[Dict[str, Any]]:
    """Drive all routes."""
    config = SimulatorConfig(
        map=arguments.map, vehicles=arguments.vehicles, weather=arguments.weather
    )
    world, period = World(config), config.fixed_delta_seconds
    rows = []
    for number in range(arguments.routes):
        rng = np.random.default_rng((arguments.seed, number))
        world.reseed(int(rng.integers(2**31)))
        route = world.road_map.random_route(rng, *arguments.lengths)
        rows.append({'route': number, **drive(world, route, period, arguments.standing)})
    return rows


def main(arguments: List[str]) -> int:
    """Evaluate, write, tell."""
    parser = argparse.ArgumentParser(description='Let the expert drive random routes.')
    parser.add_argument('out', type=Path, help='CSV file to write')
    parser.add_argument('--map', default='town', help="'town' or an OpenDRIVE file")
    parser.add_argument('--vehicles', type=int, default=0, help='others in traffic')
    parser.add_argument('--routes', type=int, default=100, help='how many')
    parser.add_argument('--seed', type=int, default=0, help='of routes and traffic')
    parser.add_argument('--lengths', type=float, nargs=2, default=(80.0, 200.0), help='m')
    parser.add_argument('--weather', default='clear_noon', help='by name')
    parser.add_argument('--standing', type=float, default=4.0, help='s that end an episode')
    given = parser.parse_args(arguments)
    rows = evaluate(given)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f'{v:.4g}' if isinstance(v, float) else v for k, v in row.items()})
    for reason, count in Counter(row['reason'] for row in rows).most_common():
        print(f'{reason:25} {count}')
    for name in rows[0]:
        if name not in ('route', 'reason'):
            values = np.array([row[name] for row in rows])
            print(
                f'{name:25} mean {values.mean():8.3f}  least {values.min():8.3f}  '
                f'most {values.max():8.3f}'
            )
    goals = sum(row['reason'] == 'goal' for row in rows)
    return 0 if goals >= ENOUGH * len(rows) else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
