"""``av-td3 evaluate``: drive a checkpoint over the graph and count what happens."""

import argparse
import csv
import json
from pathlib import Path
import time
from typing import Any, Dict, List

from av_td3_ros.cli import common
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import RunFolder, replace_file

EXIT_FAULT = 1
EPISODE_TIMEOUT = 120.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'evaluate',
        help='drive a trained policy and measure it',
        description='Run the policy of a run folder or checkpoint without exploration on '
        'random routes over the '
        'ROS 2 graph; print the result and write evaluation.csv and evaluation.json.',
    )
    parser.add_argument('source', metavar='RUN', help='run folder, or one checkpoint folder')
    parser.add_argument(
        '--episodes', type=int, default=20, metavar='N', help='episodes (default 20)'
    )
    parser.add_argument(
        '--seed', type=int, default=1000, metavar='N', help='seed of the routes (default 1000)'
    )
    parser.add_argument('--output', metavar='DIR', help='where to write (default RUN/evaluation)')
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from av_td3_ros.td3 import checkpoint

    source = Path(options.source)
    checkpoint.load_policy(source)  # refuse here what the policy would refuse later
    written = next(
        (p / 'config.yaml' for p in (source, *source.parents) if (p / 'config.yaml').exists()),
        None,
    )
    if written is not None and not options.config:
        options.config = str(written)
    config = common.load_config(
        options,
        {
            'policy.checkpoint': str(source.resolve()),
            'policy.accept_weights': False,
            'episode_manager.start_in_evaluation': True,
            'episode_manager.seed': options.seed,
        },
    )
    output = Path(options.output) if options.output else source / 'evaluation'
    return evaluate(config, options.episodes, output)


def evaluate(config: Any, episodes: int, output: Path) -> int:
    """Drive a number of episodes and write what happened."""
    common.check_middleware()
    from av_td3_ros.bridge.convert import result_row
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.cli.train import catch_stops
    from av_td3_ros.nodes.supervisor import GraphError, Supervisor

    if episodes < 1:
        raise ConfigError(f'--episodes must be >= 1, got {episodes}')
    stops = catch_stops()
    progress = common.Progress()
    RunFolder(output)  # refuses what cannot be written
    rows: List[Dict[str, Any]] = []
    try:
        with Supervisor(config, 'evaluation', output) as graph:

            def count(msg: Any) -> None:
                rows.append(result_row(msg))

            graph.on_result = count
            while len(rows) < episodes and not stops:
                known, since = len(rows), time.monotonic()
                while len(rows) == known and not stops:
                    graph.spin(lambda: len(rows) > known or bool(stops), 0.25)
                    graph.revive()
                    if time.monotonic() - since > EPISODE_TIMEOUT:
                        raise GraphError(
                            f'no episode ended within {EPISODE_TIMEOUT:g} s; see {output / "logs"}'
                        )
                progress.show(
                    f'{len(rows)}/{episodes} episodes, success {_share(rows, "goal"):.0%}'
                )
            graph.finish()
    except GraphError as error:
        return refuse(error)
    rows = rows[:episodes]
    result = summarise(rows)
    write_table(output / 'evaluation.csv', rows)
    replace_file(output / 'evaluation.json', json.dumps(result, indent=2) + '\n')
    progress.end(
        '\n'.join(
            f'{key:28} {value:.3f}' if isinstance(value, float) else f'{key:28} {value}'
            for key, value in result.items()
        )
    )
    return EXIT_FAULT if stops else 0


def write_table(path: Path, rows: List[Dict[str, Any]]) -> None:
    """Write rows as CSV."""
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def summarise(rows: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return means over episodes; aborted ones are counted and left out."""
    driven = [row for row in rows if row['outcome'] != 'aborted']
    if not driven:
        return {'episodes': 0, 'aborted': len(rows)}

    def mean(key: str) -> float:
        return sum(float(row[key]) for row in driven) / len(driven)

    reasons = sorted({row['reason'] for row in driven})
    return {
        'episodes': len(driven),
        'aborted': len(rows) - len(driven),
        'success_rate': _share(driven, 'goal'),
        'route_completion': mean('route_completion'),
        'episode_return': mean('episode_return'),
        'mean_speed': mean('mean_speed'),
        'mean_lateral_deviation': mean('mean_lateral_deviation'),
        'collisions': mean('collisions'),
        'lane_invasions': mean('lane_invasions'),
        'max_jerk': max(float(row['max_jerk']) for row in driven),
        **{f'ended_by_{reason}': _share(driven, reason) for reason in reasons},
    }


def _share(rows: List[Dict[str, Any]], reason: str) -> float:
    return sum(row['reason'] == reason for row in rows) / max(len(rows), 1)
