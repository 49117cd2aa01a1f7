"""``av-td3 study``: what makes training fail and cures it; how fast it learns beside its peer."""

import argparse
import os
from pathlib import Path
from typing import Any, Dict, List

from av_td3_ros.cli import common
from av_td3_ros.config import parse_assignment
from av_td3_ros.options import ConfigError
from av_td3_ros.resources import map_source
from av_td3_ros.task_config import observation_preset, OBSERVATIONS

EXIT_FAULT = 1


def add_parser(commands: Any) -> None:
    """Add the command."""
    from av_td3_ros.cli import study_failures, study_peer

    parser = commands.add_parser(
        'study',
        help='how training fails and what cures it; how it learns beside Stable-Baselines3',
        description='Make many runs in processes of their own and show them side by side. '
        'What is finished is not run again: Ctrl-C, and later the same command goes on. '
        'docs/design/study.md explains both.',
    )
    parts = parser.add_subparsers(dest='what', required=True, metavar='WHAT')
    for module in (study_failures, study_peer):
        module.add_parser(parts)


def add_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """
    Add what both studies share.

    :param output: the default folder.
    """
    parser.add_argument(
        '--seeds', type=int, default=3, metavar='N', help='seeds 0 to N - 1 (default 3)'
    )
    parser.add_argument(
        '--output', default=output, metavar='DIR', help=f'where to write (default {output})'
    )
    parser.add_argument(
        '--map',
        metavar='MAP',
        help='OpenDRIVE file, random_town:SEED, random_town:FIRST-LAST (several side by side), or '
        "'town' for the shipped one (default)",
    )
    parser.add_argument(
        '--observation', choices=OBSERVATIONS, help='what policies see (default: as shipped)'
    )
    parser.add_argument(
        '--set',
        metavar='KEY=VALUE',
        action='append',
        default=[],
        dest='assignments',
        help='one setting of all runs; may be repeated',
    )


def settings(options: argparse.Namespace) -> Dict[str, Any]:
    """
    Return the settings that the command line gives to all runs.

    :raises ConfigError: for an assignment that cannot be read.
    """
    values: Dict[str, Any] = {}
    if options.map is not None:
        values['simulator.map'] = map_source(options.map)
    if options.observation is not None:
        values.update(observation_preset(options.observation))
    values.update(parse_assignment(text) for text in options.assignments)
    return values


def seeds(options: argparse.Namespace) -> List[int]:
    """
    Return the seeds.

    :raises ConfigError: where there is none.
    """
    if options.seeds < 1:
        raise ConfigError(f'--seeds must be >= 1, got {options.seeds}')
    return list(range(options.seeds))


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_jobs(jobs: List[Any], parallel: int, stops: List[int]) -> List[str]:
    """
    Run what is not finished yet, with progress.

    :param stops: not empty once somebody wants it to end.
    :returns: what went wrong, a sentence for each failed run.
    :raises ConfigError: where a folder holds another run.
    """
    from av_td3_ros.study.jobs import run_all, unfinished

    wanted = unfinished(jobs)
    if len(wanted) < len(jobs):
        print(f'{len(jobs) - len(wanted)} of {len(jobs)} runs are finished already')
    progress = common.Progress()
    return run_all(wanted, parallel, progress.show, progress.end, stops)


def made_on() -> Dict[str, Any]:
    """Describe the machine that runs the study."""
    from av_td3_ros.cli.machine import machine

    return machine()


def folder(options: argparse.Namespace) -> Path:
    """
    Return the folder of the study, which can be written.

    :raises ConfigError: where it cannot.
    """
    from av_td3_ros.run_folder import RunFolder

    return RunFolder(options.output).path.resolve()
