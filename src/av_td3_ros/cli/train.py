"""``av-td3 train``: start the graph, watch it learn, end it whole."""

import argparse
from contextlib import contextmanager, nullcontext
from pathlib import Path
import signal
import time
from typing import Any, Iterator, List

from av_td3_ros import presets
from av_td3_ros.cli import common, resume
from av_td3_ros.cli.gate import Gatekeeper
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import (
    changes,
    claimed,
    has_checkpoints,
    new_run_folder,
    require_new,
    RunFolder,
)

EXIT_FAULT, EXIT_REFUSED = 1, 2
SAVED_WITHIN = 60.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'train',
        help='train a policy over the ROS 2 graph',
        description='Start simulator, perception, policy, episode manager and trainer as '
        'processes of one ROS 2 '
        'graph, show the progress, and leave a run folder with checkpoints, metrics and curves. '
        'Ctrl-C stops with a checkpoint; --resume goes on from it.',
    )
    parser.add_argument(
        '--steps', type=int, metavar='N', help='environment steps of the run (default 20000)'
    )
    parser.add_argument('--seed', type=int, metavar='N', help='seed of everything (default 0)')
    parser.add_argument('--run-dir', metavar='DIR', help='run folder (default runs/train_<date>)')
    parser.add_argument(
        '--resume',
        metavar='DIR',
        help='go on with the run in this folder; what is set otherwise is told, and config.yaml '
        'of before kept as config_<step>.yaml',
    )
    parser.add_argument(
        '--in-process', action='store_true', help='no ROS: the same loop in one process'
    )
    parser.add_argument(
        '--gated',
        action='store_true',
        help='stop at the first NO-GO of `av-td3 gate`: exit code 1',
    )
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    folder, config = prepare(options)
    if not options.in_process:
        check_ros()
    run_folder = RunFolder(folder)
    with claimed(folder):
        return _run(options, run_folder, config)


def _run(options: argparse.Namespace, run_folder: RunFolder, config: RunConfig) -> int:
    folder = run_folder.path
    print(f'run folder: {folder}')
    if options.preset:
        print(f'preset: {options.preset}: {presets.description(options.preset)}'.rstrip(' :'))
    for change in changes(folder, config) if options.resume else ():
        print(f'changed: {change}')
    begun = max(config.trainer.update_after, config.trainer.exploration.warmup_steps)
    if begun >= config.trainer.steps:
        print(
            f'note: nothing is learned before step {begun:,} (trainer.update_after, '
            f'exploration.warmup_steps) and the run ends at {config.trainer.steps:,}: give more '
            f'--steps, at least {begun + config.trainer.update_every:,}'
        )
    train = train_in_process if options.in_process else train_graph
    run_folder.write_summary({'machine': machine()})
    keeper = Gatekeeper(folder, options.gated)
    code = train(config, run_folder, keeper)
    run_folder.close()
    if code == EXIT_REFUSED:
        return code
    from av_td3_ros import curves

    picture = None
    try:
        picture = curves.draw(run_folder)
    except OSError as error:
        code = lost(folder / 'curves.png', error)
    print(f'summary: {folder / "summary.json"}' + (f', curves: {picture}' if picture else ''))
    if code == 0 and not keeper.stopped and has_checkpoints(folder):
        print(resume.next_command(folder, config.trainer.steps))
    return EXIT_FAULT if keeper.stopped else code


def lost(path: Path, error: OSError) -> int:
    """Say which file of a run that has ended could not be written; return the exit code."""
    print(f'{path} must be written, got {error.strerror or error}; it is missing: free space')
    return EXIT_FAULT


def prepare(options: argparse.Namespace) -> tuple:
    """Return the run folder's path and the config of the run."""
    folder = Path(options.resume or options.run_dir or new_run_folder('train'))
    if options.run_dir and folder.resolve() != Path(options.run_dir).resolve():
        raise ConfigError(
            f'--run-dir must be the folder of --resume, got {options.run_dir} and {folder}: a run '
            'goes on in its own folder; leave --run-dir out, or copy the folder first'
        )
    extra = {'trainer.run_dir': str(folder.resolve()), 'trainer.resume': bool(options.resume)}
    if options.resume and options.preset:
        raise ConfigError(
            f'--preset must not be given with --resume, got {options.preset}: a run goes on with '
            f'the settings in {folder / "config.yaml"}; change single ones with --set'
        )
    if options.resume:
        resume.require_checkpoint(folder)
        options.config = options.config or str(folder / 'config.yaml')
    if options.steps is not None:
        extra['trainer.steps'] = options.steps
    if options.seed is not None:
        extra.update(
            {
                f'{section}.seed': options.seed
                for section in ('simulator', 'policy', 'episode_manager', 'trainer')
            }
        )
    config = common.load_config(options, extra)
    if options.resume:
        resume.require_fit(folder, config)
    else:
        require_new(folder, f'go on with --resume {folder} or choose another with --run-dir')
    if config.policy.artefact or not config.policy.accept_weights:
        raise ConfigError(
            'a policy that is trained must adopt weights, got policy.artefact '
            f"'{config.policy.artefact}', policy.accept_weights {config.policy.accept_weights}; "
            'drive what is exported with `av-td3 evaluate`'
        )
    if config.trainer.device != 'cpu':  # torch takes seconds to load
        from av_td3_ros.td3.arithmetic import require_device

        require_device(config.trainer.device)
    check_map(config)
    return folder, config


def check_map(config: RunConfig) -> None:
    """
    Refuse here, at once, what the nodes would refuse seconds later.

    :raises MapError: for a map that cannot be read or has no route of the wanted length.
    """
    from av_td3_ros.driving.road_map import RoadMap
    from av_td3_ros.driving.route_set import RouteSet

    RouteSet(config.episode_manager, RoadMap.load(config.simulator.map)).at(0, 0, training=True)


def check_ros() -> None:
    """
    Refuse what a graph cannot do without, before anything is written.

    :raises ConfigError: for a middleware that does not start.
    :raises ImportError: where ROS or the messages are not there.
    """
    common.check_middleware()
    import av_td3_msgs.msg  # noqa: F401
    import av_td3_ros.nodes.supervisor  # noqa: F401


def train_in_process(config: RunConfig, run_folder: RunFolder, keeper: Gatekeeper) -> int:
    """Train without ROS."""
    from av_td3_ros.td3.checkpoint import CheckpointError
    from av_td3_ros.train import save, train

    progress = common.Progress()
    told: List[str] = []

    def show(trainer: Any) -> None:
        keeper.look(trainer.env_steps, progress.end, lambda: nullcontext(save(trainer)), stops)
        if not told:
            told.append(trainer.machine)
            progress.end(f'learner: {told[0]}')
        alerts = [alert.name for alert in trainer.alerts]
        if run_folder.fault:
            alerts.append('rows are dropped')
        progress.show(
            line(
                trainer.env_steps,
                config.trainer.steps,
                trainer.steps_per_second,
                trainer.updates,
                trainer.updates_per_second,
                trainer.return_mean,
                alerts=', '.join(alerts),
            )
        )

    stops = catch_stops()
    try:
        trainer = train(config, run_folder, show, lambda: bool(stops) or keeper.stopped)
    except (CheckpointError, OSError) as error:
        if not told:  # refused before its first step
            raise
        progress.end(f'training failed: {error}')
        return EXIT_FAULT
    ended = 'halted' if trainer.halted else 'stopped' if stops or keeper.stopped else 'finished'
    progress.end(
        f'{ended}: {trainer.env_steps} steps, {trainer.updates} '
        f'updates, return of the last 20 '
        f'episodes {trainer.return_mean:.1f}'
    )
    if trainer.halted:
        print(f'training halted: {trainer.halted}')
        return EXIT_FAULT
    return 0


def train_graph(config: RunConfig, run_folder: RunFolder, keeper: Gatekeeper) -> int:
    """Train over the ROS 2 graph."""
    from av_td3_msgs.msg import TrainingStatus
    from av_td3_ros.nodes.standstill import Standstill
    from av_td3_ros.nodes.supervisor import GraphError, Supervisor
    from av_td3_ros.cli.main import refuse

    stops = catch_stops()
    progress, begun = common.Progress(), time.monotonic()
    code, ready = 0, 0.0
    try:
        with Supervisor(config, 'training', run_folder.path) as graph:
            ready = time.monotonic()
            run_folder.write_config(config)
            progress.end(f'graph ready after {ready - begun:.1f} s')
            first_step, told = None, False
            standstill = Standstill(graph, progress.end)

            def over() -> bool:
                status = graph.status
                return (
                    bool(stops)
                    or keeper.stopped
                    or status is not None
                    and status.phase in (TrainingStatus.FINISHED, TrainingStatus.FAILED)
                )

            while not over():
                graph.spin(over, 0.25)
                if not over():  # a trainer that has ended its run is not started again
                    graph.revive()
                    standstill.look(time.monotonic())
                if graph.status is not None:
                    if first_step is None and graph.status.transitions_stored > 1:
                        first_step = time.monotonic() - begun
                    progress.show(status_line(graph))
                    steps = graph.status.env_steps
                    keeper.look(steps, progress.end, lambda: held(graph), stops)
                if not told and 'machine' in graph.health.get('trainer', {}):
                    progress.end(f'learner: {graph.health["trainer"]["machine"]}')
                    told = True
            if stops or keeper.stopped:
                progress.end('stopping: saving a checkpoint')
            graph.finish()
            if graph.status is not None:
                progress.end(status_line(graph))
                if graph.status.phase == TrainingStatus.FAILED:
                    code = EXIT_FAULT
                    print(f'training failed: {graph.status.message}')
            told_of = {
                'graph': accounts(graph, first_step),
                'stopped_by_user': bool(stops),
                'wall_time': time.monotonic() - begun,
            }
            try:
                run_folder.write_summary(told_of)
            except OSError as error:
                code = lost(run_folder.path / 'summary.json', error)
    except GraphError as error:
        refused = refuse(error)
        return EXIT_FAULT if ready else refused
    return code


@contextmanager
def held(graph: Any) -> Iterator[None]:
    """Let the world of a graph stand still, with a checkpoint of now where one can be written."""
    graph.pause(True)
    try:
        graph.ask('trainer', 'save_checkpoint', SAVED_WITHIN)
        yield
    finally:
        graph.pause(False)


def catch_stops() -> List[int]:
    """Collect SIGINT and SIGTERM instead of dying of them."""
    stops: List[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stops.append(received))
    return stops


def status_line(graph: Any) -> str:
    """Return the progress of a graph as one line."""
    status = graph.status
    adopted = graph.policy_status.policy_version if graph.policy_status else 0
    return line(
        status.env_steps,
        status.env_steps_target,
        status.steps_per_second,
        status.updates,
        status.updates_per_second,
        status.return_mean,
        f' | weights v{adopted} of v{status.policy_version}',
        graph.health.get('trainer', {}).get('alerts', ''),
    )


def line(
    steps: int,
    target: int,
    rate: float,
    updates: int,
    update_rate: float,
    return_mean: float,
    weights: str = '',
    alerts: str = '',
) -> str:
    """Return one line of progress, what matters most first; active alerts before all."""
    left = max(target - steps, 0) / rate if rate > 0 else float('nan')
    shown = f'{return_mean:.1f}' if return_mean == return_mean else '-'
    warned = f'ALERT {alerts} | ' if alerts else ''
    return (
        f'{warned}{steps:6d}/{target} steps {rate:5.1f}/s {common.clock(left):>5} left | return '
        f'{shown:>6}{weights} | {updates} updates {update_rate:.1f}/s'
    )


def accounts(graph: Any, first_step: Any) -> dict:
    """
    Return what was sent, received, stored and lost over the whole run, restarts included.

    Of a process that was killed what it told last counts, up to a second before its end.
    ``transitions_missed``: sent while the trainer was down, or lost on the way.
    """
    total = graph.lives.total
    sent, received = total('episode_manager', 'transitions_sent'), total('trainer', 'received')
    duplicated = total('trainer', 'duplicated')
    return {
        'seconds_to_first_step': first_step,
        'frames': total('simulator', 'frames'),
        'commands': total('simulator', 'commands'),
        'command_timeouts': total('simulator', 'timeouts'),
        'late_commands': total('simulator', 'late_commands'),
        'transitions_sent': sent,
        'transitions_received': received,
        'transitions_missed': max(sent - (received - duplicated), 0),
        'transitions_stored': total('trainer', 'stored'),
        'transitions_lost': total('trainer', 'lost'),
        'transitions_duplicated': duplicated,
        'episodes_aborted': total('episode_manager', 'aborts'),
        'unpaced_steps': total('episode_manager', 'unpaced_steps'),
        'versions_published': graph.status.policy_version if graph.status else 0,
        'versions_adopted': total('policy', 'adopted'),
        'versions_refused': total('policy', 'refused'),
        'restarts': {
            name: member.restarts for name, member in graph.members.items() if member.restarts
        },
    }
