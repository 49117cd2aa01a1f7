"""``av-td3 check bridge``: does whatever is on the ROS graph keep CARLA's contract?"""

import argparse
from contextlib import ExitStack
from itertools import zip_longest
import json
import math
import os
from pathlib import Path
import re
import shutil
import sys
import textwrap
from typing import Any, Dict, List, Tuple

from av_td3_ros import graph
from av_td3_ros.bridge_check import facts as seen
from av_td3_ros.bridge_check.contract import EXPERIMENTS
from av_td3_ros.bridge_check.finding import FAIL, Finding, NOT_MADE, OK
from av_td3_ros.bridge_check.judge import failed, judge
from av_td3_ros.cli.common import check_middleware, own_domain, stops_are_interrupts
from av_td3_ros.config import SimulatorConfig
from av_td3_ros.options import build, ConfigError
from av_td3_ros.resources import map_source

ROLE_NAME = r'[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*'
NARROW, WIDE = 80, 160


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser('check', help='check the CARLA ROS bridge on the ROS graph')
    kinds = parser.add_subparsers(dest='what', required=True, metavar='WHAT')
    bridge = kinds.add_parser(
        'bridge',
        help='topics, types, QoS, axes, lock-step, pause, reset, events',
        description='Talk to the CARLA ROS bridge, or to the embedded simulator, and say what is '
        'not as its contract has it and what to change. It drives the vehicle a short way, '
        'puts it back to where it stood, and leaves it braking. Exit code 0 where '
        'every check that was made passes, 1 where one fails.',
        epilog='Start the bridge with synchronous_mode:=True and '
        'synchronous_mode_wait_for_vehicle_control_command:=True, and nothing that commands the '
        'vehicle. docs/carla.md has the commands.',
    )
    simulator = SimulatorConfig()
    bridge.add_argument(
        '--self',
        action='store_true',
        dest='embedded',
        help='check the embedded simulator, started here on a ROS domain of its own',
    )
    bridge.add_argument('--map', metavar='MAP', help='with --self: its map')
    bridge.add_argument(
        '--role-name', metavar='NAME', default=simulator.role_name, help='name of the vehicle'
    )
    bridge.add_argument(
        '--image',
        metavar='WxH',
        type=_size,
        default=(simulator.image_width, simulator.image_height),
        help=f'pixels of the camera (default {simulator.image_width}x{simulator.image_height})',
    )
    bridge.add_argument(
        '--fov',
        metavar='DEG',
        type=float,
        default=simulator.fov_deg,
        help=f'horizontal field of view (default {simulator.fov_deg:g})',
    )
    bridge.add_argument(
        '--step',
        metavar='S',
        type=float,
        default=simulator.fixed_delta_seconds,
        help=f'fixed_delta_seconds (default {simulator.fixed_delta_seconds:g})',
    )
    bridge.add_argument(
        '--discovery',
        metavar='S',
        type=float,
        default=15.0,
        help='longest wait for topics, and for the first frame (default 15)',
    )
    bridge.add_argument(
        '--skip',
        metavar='PART',
        action='append',
        default=[],
        choices=EXPERIMENTS,
        help=f'leave a part out; may be repeated: {", ".join(EXPERIMENTS)}',
    )
    bridge.add_argument(
        '--look-only', action='store_true', help='command nothing: leave all of these out'
    )
    bridge.add_argument('--save', metavar='FILE', help='keep what was seen, for a report')
    bridge.add_argument('--facts', metavar='FILE', help='judge what --save kept; needs no ROS')
    bridge.add_argument('--json', action='store_true', help='print JSON')
    bridge.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    facts = seen.load(Path(options.facts)) if options.facts else _collect(options)
    if options.save:
        seen.save(facts, Path(options.save))
    groups = judge(facts)
    bad = failed(groups)
    if options.json:
        print(json.dumps(_as_data(groups, bad), indent=2))
    else:
        print(table(groups))
        print(_summary(groups, bad))
    return 1 if bad else 0


def table(groups: Dict[str, List[Finding]]) -> str:
    """Return the findings as text: check, expected, found, and what to change below a fault."""
    width = min(max(shutil.get_terminal_size((110, 24)).columns, NARROW), WIDE)
    names = max(len(f.check) for findings in groups.values() for f in findings)
    half = (width - names - 14) // 2
    columns = (8, names, half, half)
    lines = [_row(columns, ('', 'check', 'expected', 'found'))]
    for group, findings in groups.items():
        lines += ['', f'{group}:']
        for finding in findings:
            lines.append(
                _row(columns, (finding.state, finding.check, finding.expected, finding.found))
            )
            if finding.state == FAIL:
                told = (
                    f'{finding.subject}: {finding.advice}' if finding.subject else (finding.advice)
                )
                lines += textwrap.wrap(
                    told,
                    width,
                    initial_indent=' ' * 10 + '-> ',
                    subsequent_indent=' ' * 13,
                    break_long_words=False,
                )
    return '\n'.join(lines)


def _row(columns: Tuple[int, ...], cells: Tuple[str, ...]) -> str:
    state = cells[0].rjust(columns[0])
    wrapped = [textwrap.wrap(cell, width) or [''] for cell, width in zip(cells[1:], columns[1:])]
    rows = []
    for number, parts in enumerate(zip_longest(*wrapped, fillvalue='')):
        padded = '  '.join(part.ljust(width) for part, width in zip(parts, columns[1:]))
        rows.append(f'{state if number == 0 else "".rjust(columns[0])}  {padded}'.rstrip())
    return '\n'.join(rows)


def _summary(groups: Dict[str, List[Finding]], bad: List[str]) -> str:
    states = [finding.state for findings in groups.values() for finding in findings]
    parts = [f'{states.count(OK)} passed']
    if bad:
        parts.append(f'{len(bad)} failed: {", ".join(bad)}')
    if NOT_MADE in states:
        parts.append(f'{states.count(NOT_MADE)} not made')
    return '\n' + '; '.join(parts)


def _as_data(groups: Dict[str, List[Finding]], bad: List[str]) -> Dict[str, Any]:
    return {
        'passed': not bad,
        'failed': bad,
        'findings': [
            {'group': group, **finding._asdict()}
            for group, findings in groups.items()
            for finding in findings
        ],
    }


def _size(text: str) -> Tuple[int, int]:
    width, _, height = text.partition('x')
    try:
        return int(width), int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be WIDTHxHEIGHT, got {text!r}') from None


def _collect(options: argparse.Namespace) -> seen.Facts:
    """
    Talk to the graph.

    :raises ConfigError: where an option, the simulator or the middleware refuses.
    """
    _refuse_nonsense(options)
    check_middleware()
    os.environ.update(graph.environment())
    expected = seen.Expected(options.role_name, *options.image, options.fov, options.step)
    with stops_are_interrupts():
        return _talk(options, expected)


def _refuse_nonsense(options: argparse.Namespace) -> None:
    limits = (
        ('--image', min(options.image), 1, math.inf),
        ('--fov', options.fov, 1.0, 179.0),
        ('--step', options.step, 0.001, 1.0),
        ('--discovery', options.discovery, 0.1, 3600.0),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigError(f'{name} must be {low:g} to {high:g}, got {value:g}')
    if not re.fullmatch(ROLE_NAME, options.role_name):
        raise ConfigError(
            f"--role-name must be letters, digits and '_', got '{options.role_name}'"
        )
    if options.save:
        Path(options.save).touch()  # refused now, and not after the drive


def _talk(options: argparse.Namespace, expected: seen.Expected) -> seen.Facts:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from av_td3_ros.nodes.bridge_check_probe import Probe
    from av_td3_ros.nodes.bridge_check_session import Session

    context = rclpy.Context()
    rclpy.init(
        args=['--ros-args', '--disable-external-lib-logs'],
        context=context,
        signal_handler_options=SignalHandlerOptions.NO,
        domain_id=own_domain() if options.embedded else None,
    )
    executor = SingleThreadedExecutor(context=context)
    with ExitStack() as ends:
        ends.callback(context.try_shutdown)
        ends.callback(executor.shutdown)
        if options.embedded:
            simulator = _simulator(options, expected, context)
            ends.callback(simulator.destroy_node)
            ends.callback(simulator.close)
            executor.add_node(simulator)
        probe = Probe(expected, context, executor)
        ends.callback(probe.close)
        skip = EXPERIMENTS if options.look_only else tuple(options.skip)
        return Session(probe, skip, options.discovery, _say(options)).run()


def _simulator(options: argparse.Namespace, expected: seen.Expected, context: Any) -> Any:
    """Return the embedded simulator, active, all its cameras on."""
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from av_td3_ros.nodes.simulator_node import SimulatorNode

    values = {
        'role_name': expected.role_name,
        'image_width': expected.width,
        'image_height': expected.height,
        'fov_deg': expected.fov_deg,
        'fixed_delta_seconds': expected.fixed_delta_seconds,
        'segmentation': True,
        'depth': True,
        **({'map': map_source(options.map)} if options.map else {}),
    }
    build(SimulatorConfig, values, 'the command line')  # refused in one sentence, before ROS
    node = SimulatorNode(
        context=context,
        namespace=graph.NAMESPACE,
        parameter_overrides=[Parameter(key, value=value) for key, value in values.items()],
    )
    success = TransitionCallbackReturn.SUCCESS
    if node.trigger_configure() != success or node.trigger_activate() != success:
        node.close()
        node.destroy_node()
        raise ConfigError('the embedded simulator did not start; its reason is above')
    return node


def _say(options: argparse.Namespace) -> Any:
    if options.json or not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f'\r\033[K{text} ...', end='', file=sys.stderr, flush=True)
