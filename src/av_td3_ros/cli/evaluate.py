"""``av-td3 evaluate``: drive policies on fixed routes, measure them, show them side by side."""

import argparse
from pathlib import Path
import re
import tempfile
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from av_td3_ros.cli import common
from av_td3_ros.cli.sources import load, output_folder, policy, policy_setting, settings_file
from av_td3_ros.config import parse_assignment, RunConfig, WEATHERS
from av_td3_ros.options import ConfigError, to_flat
from av_td3_ros.report import runs
from av_td3_ros.run_folder import new_run_folder, RunFolder

EXIT_FAULT = 1
EPISODES = 20
BASELINES = ('expert', 'random')
HELD_OUT = 'held-out'
ROUTES = {HELD_OUT: 'held_out', 'random': 'all'}
# What of another world than that of the training names an evaluation.
WORLD = {
    'simulator.map': '{}',
    'simulator.vehicles': '{} vehicles',
    'simulator.weather': '{}',
    'episode_manager.seed': 'seed {}',
}
SEED = 1000
# Settings of the world: where another one differs, it is told that some do.
TOLD_APART = ('simulator.', 'episode_manager.')
# What every evaluation sets by itself.
OWN = (
    'episode_manager.start_in_evaluation',
    'episode_manager.routes',
    'episode_manager.route_file',
    'simulator.seed',
)
# What --set would make another than the files say, and what to do instead.
NOT_SET = {
    'episode_manager.routes': 'use --routes',
    'episode_manager.route_file': 'use --routes',
    'episode_manager.seed': 'use --seed',
    'episode_manager.start_in_evaluation': 'leave it out',
    'policy.accept_weights': 'leave it out',
    'policy.checkpoint': 'name it as RUN',
    'policy.artefact': 'name it as RUN',
}
# Time for a route of a file, as leaderboard 1.0 has it: s per m, and s.
PACE, ADDED = 0.8, 5.0
# Its route over the graph is the shortest way to the goal; so much longer is another one, m.
DETOUR = 2.0


class Plan(NamedTuple):
    """
    What is to be driven: the config of each run in turn, and how.

    ``names``: of the runs. ``sources``: their folders. ``policies``: what drives, of a run a copy
    of the newest checkpoint: one that goes on training does not drive with another one half-way.
    ``configs``: theirs, or the one of the baselines where there is no run. ``baselines``: of
    ``BASELINES``.
    """

    names: Tuple[str, ...]
    sources: Tuple[Path, ...]
    policies: Tuple[Path, ...]
    configs: Tuple[RunConfig, ...]
    baselines: Tuple[str, ...]
    episodes: int
    via: str
    is_frozen: bool
    routes: str


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'evaluate',
        help='drive trained policies and measure them',
        description='Drive the policies of run or checkpoint folders without exploration on '
        'fixed routes; show the figures side by side with 95 % intervals, and write '
        'evaluation.json, .csv, .tex and .png. Ctrl-C keeps what was driven. '
        'docs/evaluation.md explains every figure.',
    )
    parser.add_argument(
        'sources',
        metavar='RUN',
        nargs='*',
        help='run folder, one checkpoint folder, or a file of `av-td3 export`; none with '
        '--baselines alone',
    )
    parser.add_argument(
        '--via',
        choices=('graph', 'in-process'),
        default='graph',
        help='over the ROS 2 graph (default), or without ROS; the figures are the same',
    )
    parser.add_argument(
        '--episodes',
        type=int,
        metavar='N',
        help=f'episodes of each policy (default {EPISODES}; all routes of a file)',
    )
    parser.add_argument(
        '--routes',
        default=HELD_OUT,
        metavar='ROUTES',
        help='held-out: on roads where training neither starts nor ends (default); random: on '
        'all; or a route file of the CARLA leaderboard',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=SEED,
        metavar='N',
        help='seed of the routes (default %(default)s)',
    )
    parser.add_argument(
        '--baselines',
        default='',
        metavar='NAMES',
        help=f'drive {" and ".join(BASELINES)} on the same routes, in this process; one or more, '
        'with commas',
    )
    parser.add_argument('--vehicles', type=int, metavar='N', help='other vehicles in traffic')
    parser.add_argument('--weather', choices=WEATHERS, help='weather')
    parser.add_argument(
        '--freeze-camera',
        action='store_true',
        help="show the policy the first image of each episode throughout: a policy's success "
        'must fall, or it does not look (in-process)',
    )
    parser.add_argument(
        '--output',
        metavar='DIR',
        help='where to write (default RUN/evaluation; of several runs, the comparison goes to '
        'runs/evaluation_<date>)',
    )
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    with tempfile.TemporaryDirectory(prefix='av_td3_') as copies:
        plan = prepare(options, Path(copies))
        folders = output_folders(options, plan)
        from av_td3_ros.cli import evaluate_drive

        results, fault = evaluate_drive.drive(plan, folders)
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.evaluation import tables

    if not any(result.driven for result in results):
        return refuse(fault or 'no episode was driven: nothing is written')
    unwritten = _write_all(plan, folders, results)  # first: nobody need be there to read
    notes = dict.fromkeys(note for result in results for note in result.notes)
    told = [tables.text(results), *(f'note: {note}' for note in notes)]
    told += [] if unwritten else [f'written: {folders[-1]}']
    faults = list(filter(None, (fault, *unwritten, common.printed('\n'.join(told)))))
    for text in faults:
        refuse(text)
    return EXIT_FAULT if faults or any(result.is_partial for result in results) else 0


def _write_all(plan: Plan, folders: Sequence[Path], results: Sequence[Any]) -> List[str]:
    """Write each run's figures, and where several stand side by side; return what went wrong."""
    from av_td3_ros.evaluation import plot, tables

    own, beside = results[: len(plan.sources)], results[len(plan.sources) :]
    shown = [(folder, [run, *beside]) for folder, run in zip(folders, own) if run.driven]
    if len(plan.sources) != 1:
        shown.append((folders[-1], results))
    faults = []
    for folder, told in shown:
        try:
            tables.write(folder, told)
            plot.draw(folder / 'evaluation.png', told)
        except OSError as error:
            faults.append(
                f'figures must be written to {folder}, got {error.strerror or error}; free space '
                'and evaluate again, or choose another folder with --output'
            )
    return faults


def prepare(options: argparse.Namespace, copies: Path) -> Plan:
    """
    Check everything that can be checked before anything drives.

    :param copies: a folder for the checkpoints that drive.
    :raises ConfigError: where an option or a setting does not fit.
    :raises CheckpointError: where a run has no policy, or it sees something else.
    :raises MapError: where the map has no such routes.
    """
    if options.episodes is not None and options.episodes < 1:
        raise ConfigError(f'--episodes must be >= 1, got {options.episodes}')
    if options.seed < 0:
        raise ConfigError(f'--seed must be >= 0, got {options.seed}')
    baselines = tuple(name for name in options.baselines.split(',') if name)
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ConfigError(
            f'--baselines must be among {", ".join(BASELINES)}, got {unknown[0]}; another policy '
            'is compared by its run folder: av-td3 evaluate RUN1 RUN2'
        )
    if not (options.sources or baselines):
        raise ConfigError(
            'a run folder must be given, got none; av-td3 evaluate RUN, or --baselines expert'
        )
    if options.freeze_camera and options.via == 'graph':
        raise ConfigError('--freeze-camera must be driven in this process; add --via in-process')
    sources = tuple(Path(source) for source in options.sources)
    if len({source.resolve() for source in sources}) < len(sources):
        raise ConfigError(f'runs must differ, got {" ".join(options.sources)}')
    policies = tuple(policy(source, copies / str(number)) for number, source in enumerate(sources))
    configs = _configs(options, sources, policies)
    episodes, configs = _routes(options, configs)
    return Plan(
        _names(sources),
        sources,
        policies,
        configs,
        baselines,
        episodes,
        options.via,
        options.freeze_camera,
        options.routes,
    )


def output_folders(options: argparse.Namespace, plan: Plan) -> List[Path]:
    """
    Return where each run's figures go, and after that where several stand side by side.

    :raises ConfigError: where one cannot be written, holds a run, or is that of another run, too.
    """
    if len(plan.sources) == 1:
        source, what = plan.sources[0], special(options, plan.configs[0], plan.sources[0])
        folders = [Path(options.output) if options.output else output_folder(source, what)]
    else:
        beside = Path(options.output) if options.output else new_run_folder('evaluation')
        folders = [
            (
                beside / name
                if options.output
                else output_folder(source, special(options, config, source))
            )
            for name, source, config in zip(plan.names, plan.sources, plan.configs)
        ]
        folders.append(beside)
    _require_apart(folders)
    for folder in folders:
        RunFolder(folder)
    return folders


def _require_apart(folders: Sequence[Path]) -> None:
    """Refuse folders whose files others of the same names would replace."""
    for place, folder in enumerate(folders):
        held = [sign for sign in runs.SIGNS if (folder / sign).exists()]
        if held:
            raise ConfigError(
                f'figures must go beside a run, not into one, got {folder}, which holds '
                f'{held[0]}; choose another folder with --output'
            )
        if folder.resolve() in [other.resolve() for other in folders[:place]]:
            raise ConfigError(
                f'figures of each run must go to a folder of their own, got {folder} twice; '
                'evaluate one after the other, each with its own --output'
            )


def special(options: argparse.Namespace, config: RunConfig, source: Path) -> str:
    """
    Name an evaluation after what differs from the world that the policy was trained in; '' where
    nothing does.
    """
    from av_td3_ros import presets
    from av_td3_ros.options import flatten

    with settings_file(source) as written:
        trained = flatten(presets.read_yaml(Path(written)))
    trained['episode_manager.seed'] = SEED
    here = to_flat(config)
    differing = [
        key
        for key, value in here.items()
        if presets.text(value) != presets.text(trained.get(key, value))
        and key.startswith(TOLD_APART)
    ]
    words = [
        form.format(Path(str(here[key])).stem) for key, form in WORLD.items() if key in differing
    ]
    # The endings of a route file go by its longest route.
    if options.routes in ROUTES and set(differing).difference(WORLD, OWN):
        words.append('other settings')
    if options.routes != HELD_OUT:
        words.append(f'routes {Path(options.routes).stem}')
    if options.freeze_camera:
        words.append('frozen camera')
    return re.sub(r'[^A-Za-z0-9-]+', '_', '_'.join(words))


def _configs(
    options: argparse.Namespace, sources: Tuple[Path, ...], policies: Tuple[Path, ...]
) -> Tuple[RunConfig, ...]:
    """Each run sees and looks as it was trained; world, routes and endings are the first one's."""
    for text in options.assignments:
        key, _ = parse_assignment(text)
        if key in NOT_SET:
            raise ConfigError(f'--set must leave {key} alone here, got {text}; {NOT_SET[key]}')
    given = options.config
    world: Dict[str, Any] = {
        'policy.accept_weights': False,
        'episode_manager.start_in_evaluation': True,
        'episode_manager.seed': options.seed,
        'episode_manager.routes': ROUTES.get(options.routes, 'all'),
        'episode_manager.route_file': '' if options.routes in ROUTES else options.routes,
    }
    for key in ('vehicles', 'weather'):
        if getattr(options, key) is not None:
            world[f'simulator.{key}'] = getattr(options, key)
    if not sources:
        return (common.load_config(options, world),)
    configs: List[RunConfig] = []
    for source, chosen in zip(sources, policies):
        load(chosen)
        with settings_file(source) as written:
            options.config = given or written
            extra = {**world, **policy_setting(chosen)}
            configs.append(common.load_config(options, extra))
        load(chosen, configs[-1].observation, source)
        if len(configs) == 1:
            first = to_flat(configs[0])
            own = ('simulator.map', 'simulator.vehicles', 'simulator.weather')
            world.update({key: first[key] for key in own})
            world.update(
                {
                    key: value
                    for key, value in first.items()
                    if key.startswith('episode_manager.') and not key.endswith('.role_name')
                }
            )
    return tuple(configs)


def _names(sources: Tuple[Path, ...]) -> Tuple[str, ...]:
    """
    Name sources after their folders, and after what they are in, too, where those are equal or
    that of a baseline.
    """
    parts = [source.resolve().parts[1:] for source in sources]
    counts = [1] * len(parts)
    while True:
        names = ['_'.join(path[-count:]) for path, count in zip(parts, counts)]
        longer = [
            min(count + (names.count(name) > 1 or name in BASELINES), len(path))
            for name, path, count in zip(names, parts, counts)
        ]
        if longer == counts:
            return tuple(names)
        counts = longer


def _routes(
    options: argparse.Namespace, configs: Tuple[RunConfig, ...]
) -> Tuple[int, Tuple[RunConfig, ...]]:
    """Count the episodes, and give the routes of a file the time that they need."""
    from dataclasses import replace

    from av_td3_ros.driving.road_map import MapError, RoadMap
    from av_td3_ros.driving.route_set import RouteSet

    limits, road_map = configs[0].episode_manager, RoadMap.load(configs[0].simulator.map)
    routes = RouteSet(limits, road_map)
    routes.at(0, limits.seed, training=False)  # refuse here a map without such routes
    if not len(routes):
        return options.episodes or EPISODES, configs
    episodes = options.episodes or len(routes)
    named = [routes.at(n, limits.seed, training=False) for n in range(min(episodes, len(routes)))]
    over_graph = options.sources and options.via == 'graph'
    for name, route, _ in named if over_graph else ():
        shortest = road_map.plan(route.start[:2], route.start.yaw, tuple(route.points[-1]))
        if route.length > shortest.length + DETOUR:
            raise MapError(
                f'route {name} must be the shortest way to its goal to be driven over the graph, '
                f'got {route.length:.0f} m instead of {shortest.length:.0f} m; add '
                '--via in-process'
            )
    longest = max(item.route.length for item in named)
    period = configs[0].simulator.fixed_delta_seconds
    steps = max(int((PACE * longest + ADDED) / period), limits.termination.max_steps)
    endings = replace(limits.termination, max_steps=steps)
    return episodes, tuple(
        replace(config, episode_manager=replace(config.episode_manager, termination=endings))
        for config in configs
    )
