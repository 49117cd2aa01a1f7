"""``av-td3 study failures``: preset ``diverging``, each cure added alone, and ``recommended``."""

import argparse
import difflib
import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from av_td3_ros.cli import study
from av_td3_ros.options import ConfigError

STEPS = 5000
NAME = 'failures'


def add_parser(parts: Any) -> None:
    """Add the study."""
    parser = parts.add_parser(
        NAME,
        help='which symptoms of failed training appear when, and which cure removes them',
        description='Train preset diverging, the same with each cure added alone, preset '
        'recommended and what explodes, in-process, with alerts that only warn; tell which '
        'symptoms appear after how many updates. Writes failures.md, .csv, .json and .png.',
    )
    study.add_arguments(parser, f'runs/study_{NAME}')
    parser.add_argument(
        '--steps',
        type=int,
        default=STEPS,
        metavar='N',
        help=f'environment steps of each run (default {STEPS})',
    )
    parser.add_argument(
        '--parallel', type=int, metavar='N', help='runs at once (default: one per core)'
    )
    parser.add_argument(
        '--ablations',
        action='store_true',
        help='also recommended with each cure taken away',
    )
    parser.add_argument(
        '--exploding',
        action='store_true',
        help='also each cure alone for what explodes rather than dies',
    )
    parser.add_argument(
        '--attempts',
        action='store_true',
        help='also other attempts to let training explode',
    )
    parser.add_argument(
        '--only',
        metavar='NAMES',
        default='',
        help='these configurations alone, with commas; --list names them',
    )
    parser.add_argument('--list', action='store_true', help='list the configurations and end')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    chosen = configurations(options)
    if options.list:
        for item in chosen:
            print(f'{item.name:28} {item.reason}')
        return 0
    from av_td3_ros.cli.train import catch_stops
    from av_td3_ros.study import failures

    settings, seeds = study.settings(options), study.seeds(options)
    parallel = study.cores() if options.parallel is None else options.parallel
    if parallel < 1:
        raise ConfigError(f'--parallel must be >= 1, got {parallel}')
    folder = study.folder(options)
    jobs = failures.jobs(chosen, seeds, options.steps, folder, settings)
    print(f'{len(chosen)} configurations, {len(seeds)} seeds: {folder}')
    stops = catch_stops()
    faults = study.run_jobs(jobs, parallel, stops)
    facts = {'steps': options.steps, 'settings': settings, 'machine': study.made_on()}
    rows = failures.gather(chosen, seeds, folder)
    for fault in faults:
        print(f'failed: {fault}')
    if not rows:
        print('no run is finished: nothing is written')
        return study.EXIT_FAULT
    write(folder, rows, facts)
    finished = sum(len(row.told) for row in rows)
    print(f'{finished} of {len(jobs)} runs; written: {folder / NAME}.md, .csv, .json, .png')
    return study.EXIT_FAULT if finished < len(jobs) else 0


def write(folder: Path, rows: Sequence[Any], facts: Dict[str, Any]) -> None:
    """Write all results into the folder of the study."""
    from av_td3_ros.run_folder import replace_file
    from av_td3_ros.study import failure_plot, failure_tables

    replace_file(folder / f'{NAME}.md', failure_tables.markdown(rows, facts))
    data = failure_tables.to_dict(rows, facts)
    replace_file(folder / f'{NAME}.json', json.dumps(data, indent=1) + '\n')
    failure_tables.write_csv(folder / f'{NAME}.csv', rows)
    failure_plot.draw(folder / f'{NAME}.png', rows, folder)


def configurations(options: argparse.Namespace) -> List[Any]:
    """
    Return what is to be run.

    :raises ConfigError: for a name in ``--only`` that is not known.
    """
    from av_td3_ros.study import attempts, cures

    wanted = [name for name in options.only.split(',') if name]
    everything = bool(wanted) or options.list
    found = cures.configurations(options.ablations or everything)
    found += attempts.configurations(
        options.exploding or everything, options.attempts or everything
    )
    if not wanted:
        return found
    known = {item.name: item for item in found}
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ''
            raise ConfigError(
                f"--only must name configurations, got '{name}'; {hint}see "
                '`av-td3 study failures --list`'
            )
    return [item for item in found if item.name in wanted]
