"""``av-td3 study peer``: beside Stable-Baselines3's TD3 at equal wall-clock."""

import argparse
import json
import math
from typing import Any, Dict, List

from av_td3_ros.cli import study
from av_td3_ros.cli.evaluate import EPISODES
from av_td3_ros.options import ConfigError

NAME = 'peer'
MINUTES, EVALUATIONS = 30.0, 10
PEERS = ('sb3_best', 'sb3_tuned')
ROUTES_SEED = 1000


def add_parser(parts: Any) -> None:
    """Add the study."""
    parser = parts.add_parser(
        NAME,
        help='success and return over time beside Stable-Baselines3',
        description="Train preset recommended and Stable-Baselines3's TD3 for the same time on "
        'the same task; evaluate both on the same held-out routes while the clock stands. Writes '
        'peer.md, .csv, .json and .png. Nothing else should run on the machine.',
    )
    study.add_arguments(parser, f'runs/study_{NAME}')
    parser.add_argument(
        '--minutes',
        type=float,
        default=MINUTES,
        metavar='N',
        help=f'training of each run (default {MINUTES:g})',
    )
    parser.add_argument(
        '--every',
        type=float,
        metavar='N',
        help=f'minutes between two evaluations (default: {EVALUATIONS} evaluations)',
    )
    parser.add_argument(
        '--episodes',
        type=int,
        default=EPISODES,
        metavar='N',
        help=f'routes of an evaluation (default {EPISODES})',
    )
    parser.add_argument(
        '--peers',
        default=','.join(PEERS),
        metavar='NAMES',
        help=f'with commas (default {",".join(PEERS)}); docs/design/study.md names them all',
    )
    parser.add_argument(
        '--threads',
        type=int,
        default=0,
        metavar='N',
        help='torch threads of the peer (default: as many as are fastest, by measurement)',
    )
    parser.add_argument(
        '--parallel',
        type=int,
        default=1,
        metavar='N',
        help='runs at once, each with its share of the cores (default 1); 2 with one peer: both '
        'of a seed side by side',
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    names, seeds = check(options), study.seeds(options)
    settings = study.settings(options)
    share = study.cores() // options.parallel
    if options.parallel > 1:
        settings = {'trainer.threads': share, **settings}
    from av_td3_ros.cli.bench_peer import version
    from av_td3_ros.cli.train import catch_stops
    from av_td3_ros.run_folder import replace_file
    from av_td3_ros.study import jobs as runs
    from av_td3_ros.study import race_results

    facts = {
        'minutes': options.minutes,
        'every': options.every or options.minutes / EVALUATIONS,
        'episodes': options.episodes,
        'routes_seed': ROUTES_SEED,
        'threads': options.threads or (share if options.parallel > 1 else 0),
        **({'parallel': options.parallel} if options.parallel > 1 else {}),
        'stable_baselines3': version(),
    }
    folder = study.folder(options)
    jobs = list_jobs(folder, names, seeds, facts, settings)
    print(f'{len(names)} learners, {len(seeds)} seeds, {options.minutes:g} min each: {folder}')
    stops = catch_stops()
    faults = study.run_jobs(jobs, options.parallel, stops)
    for fault in faults:
        print(f'failed: {fault}')
    told: Dict[str, List[Dict[str, Any]]] = {}
    for job in jobs:
        found = runs.result(job.folder)
        if found:
            told.setdefault(job.facts['learner'], []).append(found)
    if not told:
        print('no run is finished: nothing is written')
        return study.EXIT_FAULT
    over = sorted({one['seed'] for ones in told.values() for one in ones})
    facts.update(seeds=over, settings=settings, machine=study.made_on())
    text = race_results.markdown(told, facts)
    replace_file(folder / f'{NAME}.md', text)
    data = race_results.to_dict(told, facts)
    replace_file(folder / f'{NAME}.json', json.dumps(data, indent=1) + '\n')
    race_results.write_csv(folder / f'{NAME}.csv', told)
    race_results.draw(folder / f'{NAME}.png', told)
    print('\n'.join(line for line in text.splitlines() if line.startswith('- ')))
    finished = sum(len(found) for found in told.values())
    print(f'{finished} of {len(jobs)} runs; written: {folder / NAME}.md, .csv, .json, .png')
    return study.EXIT_FAULT if finished < len(jobs) else 0


def check(options: argparse.Namespace) -> List[str]:
    """
    Return the names of all learners, ours first.

    :raises ConfigError: where an option cannot be used, or the peer is not installed.
    """
    from av_td3_ros.cli.study_sb3 import SETTINGS
    from av_td3_ros.study.race import OURS

    for name in ('minutes', 'every'):
        value = getattr(options, name)
        if value is not None and not 0.0 < value < math.inf:
            raise ConfigError(f'--{name} must be above 0 and finite, got {value:g}')
    if options.every is not None and options.every > options.minutes:
        raise ConfigError(
            f'--every must be <= --minutes {options.minutes:g}, got {options.every:g}'
        )
    if options.episodes < 1:
        raise ConfigError(f'--episodes must be >= 1, got {options.episodes}')
    if not 0 <= options.threads <= study.cores():
        raise ConfigError(
            f'--threads must be 0 to {study.cores()}, the cores here, got {options.threads}'
        )
    if not 1 <= options.parallel <= study.cores():
        raise ConfigError(
            f'--parallel must be 1 to {study.cores()}, the cores here, got {options.parallel}'
        )
    peers = [name for name in options.peers.split(',') if name]
    for name in peers:
        if name not in SETTINGS:
            raise ConfigError(f"--peers must be among {', '.join(SETTINGS)}, got '{name}'")
    return [OURS, *dict.fromkeys(peers)]


def list_jobs(
    folder: Any,
    names: List[str],
    seeds: List[int],
    facts: Dict[str, Any],
    settings: Dict[str, Any],
) -> List[Any]:
    """
    Return a job for each learner and seed: all learners of a seed, then the next.

    :raises ConfigError: where a setting does not fit.
    """
    from av_td3_ros import presets
    from av_td3_ros.cli.study_sides import work
    from av_td3_ros.config import build_run
    from av_td3_ros.study.failures import SEEDED
    from av_td3_ros.study.jobs import Job
    from av_td3_ros.study.race import OURS

    found = []
    for seed in seeds:
        values = {
            **presets.load(OURS),
            # The clock ends it. The peer writes nothing while it learns.
            'trainer.steps': 1_000_000_000,
            'trainer.checkpoint_every': 100_000_000,
            **settings,
            **{f'{section}.seed': seed for section in SEEDED},
        }
        build_run(values, '--set')
        for name in names:
            own = {'learner': name, 'seed': seed, 'values': values, **facts}
            found.append(
                Job(f'{name}_seed{seed}', folder / 'runs' / f'{name}_seed{seed}', work, own)
            )
    return found
