"""``av-td3 sim``: drive the embedded simulator by keyboard, watch a driver, or record one."""

import argparse
from contextlib import ExitStack
import importlib.util
import os
from pathlib import Path
import sys
from typing import Any, Dict, Tuple

from av_td3_ros.cli import common
from av_td3_ros.cli.sources import settings_file
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError

VIEWS = ('chase', 'front', 'top', 'segmentation', 'depth')
HELP = 'arrows or WASD drive   space brakes   v view   r new route   p pause   q quit'
RECORDED = 10.0
LONGEST = 3600.0
# A person looks round before driving off, and strays; --set goes before these.
BY_HAND = {
    'episode_manager.termination.standing_time': 120.0,
    'episode_manager.termination.lane_exit': 8.0,
    'episode_manager.termination.max_steps': 20_000,
}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'sim',
        help='drive the embedded simulator by keyboard, watch a driver, or record one',
        description='Drive the embedded simulator: by keyboard in this terminal, or in a window '
        'where there is a display; or let the expert or a trained policy drive. Keys: '
        f'{HELP}.',
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument('--expert', action='store_true', help='let the expert drive')
    who.add_argument(
        '--policy',
        metavar='RUN',
        help='let a trained policy drive: run or checkpoint folder, or exported file',
    )
    parser.add_argument(
        '--record', metavar='FILE', help='write a .gif, .mp4, or .png of the last picture'
    )
    parser.add_argument(
        '--seconds',
        type=float,
        metavar='S',
        help=f'simulated time (default: {RECORDED:g} with --record, else until q)',
    )
    parser.add_argument('--view', choices=VIEWS, default=VIEWS[0], help='default: %(default)s')
    parser.add_argument('--seed', type=int, metavar='N', help='of the routes (default 0)')
    parser.add_argument(
        '--screen',
        choices=('terminal', 'window'),
        help='where to draw (default: a window where there is a display)',
    )
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    config, watched = prepare(options)
    from av_td3_ros.cli.sim_record import Recorder
    from av_td3_ros.cli.sim_session import Session
    from av_td3_ros.sim.env import DrivingEnv

    period = config.simulator.fixed_delta_seconds
    with ExitStack() as stack:
        stack.enter_context(common.stops_are_interrupts())
        driver = make_driver(options, config)
        env = DrivingEnv(config)
        stack.callback(env.close)
        recorder = None
        if options.record:
            recorder = Recorder(Path(options.record), period)
            stack.callback(_tell, recorder)
            stack.enter_context(recorder)
        session = Session(env, driver, recorder, options.view, period)
        stack.callback(lambda: print(session.summary, flush=True))
        session.drive(stack.enter_context(make_screen(options, watched)), options.seconds)
    return 0


def _tell(recorder: Any) -> None:
    if recorder.length:
        print(f'{recorder.path}: {recorder.length:.1f} s written', flush=True)


def prepare(options: argparse.Namespace) -> Tuple[RunConfig, bool]:
    """
    Check everything that can be checked before a map is loaded.

    :returns: the config, and whether somebody watches.
    :raises ConfigError: where an option does not fit, or there is nothing to draw on.
    """
    by_hand = not (options.expert or options.policy)
    watched = by_hand or not options.record
    if watched and _screen(options) == 'terminal' and not _is_terminal():
        raise ConfigError(
            'av-td3 sim must have a terminal or a display to draw on, got neither; add --expert '
            '--record FILE.gif (or --policy RUN for --expert)'
        )
    if options.seconds is None:
        options.seconds = RECORDED if options.record else LONGEST
    if not 0.1 <= options.seconds <= LONGEST:
        raise ConfigError(f'--seconds must be 0.1 to {LONGEST:g}, got {options.seconds:g}')
    if options.record:
        from av_td3_ros.cli import sim_record

        sim_record.check(Path(options.record), options.seconds)
    extra: Dict[str, Any] = dict(BY_HAND) if by_hand else {}
    extra['episode_manager.start_in_evaluation'] = True  # whole routes
    if options.seed is not None:
        extra['episode_manager.seed'] = options.seed
    if options.policy and not options.config:
        with settings_file(Path(options.policy)) as options.config:
            return common.load_config(options, extra), watched
    return common.load_config(options, extra), watched


def _screen(options: argparse.Namespace) -> str:
    display = os.environ.get('DISPLAY') and importlib.util.find_spec('tkinter')
    return options.screen or ('window' if display else 'terminal')


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


def make_driver(options: argparse.Namespace, config: RunConfig) -> Any:
    """Return who drives."""
    from av_td3_ros.cli import sim_drivers

    period = config.simulator.fixed_delta_seconds
    if options.expert:
        return sim_drivers.ExpertDriver(period)
    if options.policy:
        return sim_drivers.PolicyDriver(Path(options.policy), config)
    return sim_drivers.Keyboard(period)


def make_screen(options: argparse.Namespace, watched: bool) -> Any:
    """Return what to draw on."""
    if not watched:
        from av_td3_ros.cli.sim_session import Nobody

        return Nobody()
    if _screen(options) == 'window':
        from av_td3_ros.cli.sim_window import Window

        return Window()
    from av_td3_ros.cli.sim_terminal import Terminal

    return Terminal()
