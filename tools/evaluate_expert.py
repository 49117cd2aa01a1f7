"""
Let the expert drive random routes and write how each of them went.

    python tools/evaluate_expert.py OUT.csv [--map MAP] [--vehicles N] [--routes N] [--seed S]
        [--lengths MIN MAX] [--weather NAME] [--standing TIME]

The world and the scoring are those of the environment; the camera is left out. Route i of seed S
is the same whatever else is asked for. Rows are written as routes end, also before Ctrl-C. Exit
status 1 where one in ten routes is not completed.
"""

import argparse
from collections import Counter
import csv
from pathlib import Path
import sys
from typing import Any, Dict, Iterator, List

import numpy as np

from av_td3_ros.cli.main import EXIT_INTERRUPTED, refuse
from av_td3_ros.config import build_run, EpisodeConfig, RunConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.expert import Expert
from av_td3_ros.driving.route import Route
from av_td3_ros.options import ConfigError
from av_td3_ros.sim.world import World
from av_td3_ros.task_config import TerminationConfig

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


def checked(arguments: argparse.Namespace) -> RunConfig:
    """
    Return the config of a world and its episodes.

    :raises ConfigError: where an option does not fit.
    """
    if arguments.routes < 1:
        raise ConfigError(f'--routes must be >= 1, got {arguments.routes}')
    values = {
        'simulator.map': arguments.map,
        'simulator.vehicles': arguments.vehicles,
        'simulator.weather': arguments.weather,
        'episode_manager.seed': arguments.seed,
        'episode_manager.route_length_min': arguments.lengths[0],
        'episode_manager.route_length_max': arguments.lengths[1],
        'episode_manager.termination.standing_time': arguments.standing,
    }
    return build_run(values, 'the command line')


def evaluate(config: RunConfig, count: int) -> Iterator[Dict[str, Any]]:
    """Drive so many routes; yield a row after each."""
    world, period = World(config.simulator), config.simulator.fixed_delta_seconds
    limits = config.episode_manager
    for number in range(count):
        rng = np.random.default_rng((limits.seed, number))
        world.reseed(int(rng.integers(2**31)))
        route = world.road_map.random_route(rng, limits.route_length_min, limits.route_length_max)
        driven = drive(world, route, period, limits.termination.standing_time)
        yield {'route': number, **driven}


def write(rows: Iterator[Dict[str, Any]], path: Path) -> List[Dict[str, Any]]:
    """Write rows as they come, so that what is driven is kept; return them."""
    kept = [next(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', buffering=1) as file:
        writer = csv.DictWriter(file, kept[0])
        writer.writeheader()
        writer.writerow(_rounded(kept[0]))
        for row in rows:
            writer.writerow(_rounded(row))
            kept.append(row)
    return kept


def tell(rows: List[Dict[str, Any]]) -> None:
    """Print the endings, and mean and extremes of every figure."""
    for reason, count in Counter(row['reason'] for row in rows).most_common():
        print(f'{reason:25} {count}')
    for name in rows[0]:
        if name not in ('route', 'reason'):
            values = np.array([row[name] for row in rows])
            print(
                f'{name:25} mean {values.mean():8.3f}  least {values.min():8.3f}  '
                f'most {values.max():8.3f}'
            )


def _rounded(row: Dict[str, Any]) -> Dict[str, Any]:
    return {key: f'{v:.4g}' if isinstance(v, float) else v for key, v in row.items()}


def _longest(flags: np.ndarray) -> int:
    """Return the length of the longest run of True."""
    ends = np.flatnonzero(~np.concatenate([[False], flags, [False]]))
    return int(np.diff(ends).max() - 1)


def main(arguments: List[str]) -> int:
    """Evaluate, write, tell; 2 where something is refused, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description='Let the expert drive random routes.')
    parser.add_argument('out', type=Path, help='CSV file to write')
    parser.add_argument(
        '--map', default='town', help="'town', random_town:SEED or an OpenDRIVE file"
    )
    parser.add_argument('--vehicles', type=int, default=0, help='others in traffic')
    parser.add_argument('--routes', type=int, default=100, help='how many')
    parser.add_argument('--seed', type=int, default=0, help='of routes and traffic')
    parser.add_argument('--lengths', type=float, nargs=2, default=(80.0, 200.0), help='m')
    parser.add_argument('--weather', default='clear_noon', help='by name')
    parser.add_argument('--standing', type=float, default=4.0, help='s that end an episode')
    given = parser.parse_args(arguments)
    try:
        rows = write(evaluate(checked(given), given.routes), given.out)
    except (ValueError, OSError, RuntimeError) as error:  # what the core refuses
        return refuse(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    tell(rows)
    goals = sum(row['reason'] == 'goal' for row in rows)
    return 0 if goals >= ENOUGH * len(rows) else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
