"""
``av-td3 bench deploy``: from an image's stamp to its command, ONNX Runtime and torch side by side.

``bench_stack.py`` is the vehicle around them.
"""

import argparse
from dataclasses import replace
import json
from pathlib import Path
import sys
import tempfile
from typing import Any, Dict, List, Tuple

from av_td3_ros.cli import bench_frames, bench_stack, common
from av_td3_ros.cli.bench_frames import faults, judge, unknown
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.graph import EXIT_FAULT
from av_td3_ros.options import ConfigError

ENGINES = ('onnx', 'torch')
SHORTEST = 2.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'deploy',
        help='an exported policy in a vehicle: image stamp to command',
        description='Measure the time from the stamp of an image to its command, through '
        'perception and policy as a vehicle runs them, with ONNX Runtime and with torch. Exit '
        'code 1 where a frame was commanded twice or braked at, or a command was for no image.',
    )
    parser.add_argument(
        'source',
        metavar='FILE',
        nargs='?',
        help='file of `av-td3 export` (default: an untrained policy of the shipped settings)',
    )
    parser.add_argument(
        '--engine',
        action='append',
        choices=ENGINES,
        help='what runs the policy; may be repeated (default both, one after the other)',
    )
    parser.add_argument(
        '--seconds', type=float, default=20.0, help='duration with each engine (20)'
    )
    bench_stack.add_stack_arguments(parser)
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    common.check_middleware()
    common.stay_on_own_domain()
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.nodes.supervisor import GraphError

    _check(options)
    given, output = bench_frames.given(options), bench_stack.output_folder(options)
    results: List[Dict[str, Any]] = []
    frames: List[Tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory(prefix='av_td3_bench_') as folder:
        config = bench_stack.prepare(options, Path(folder))
        shown = bench_stack.show(config)
        for engine in options.engine or ENGINES:
            try:
                result, shot = measure(config, engine, shown, options, Path(folder) / engine)
            except GraphError as error:
                return refuse(error)
            results.append(result)
            frames += shot
            if output:
                bench_frames.write(output, 'deploy', 'engine', frames, given, results)
            if not options.json:
                print(
                    '{engine:>6}  stamp to command p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms, '
                    'p99.9 {p99_9_ms:.2f} ms, longest {max_ms:.2f} ms; {frames} frames, {missed} '
                    'missed, {repeated} commanded again, {braked} braked, {unknown} commands for '
                    'no image'.format(**result),
                    flush=True,
                )
    if options.json:
        print(json.dumps({'machine': machine(), 'deploy': results}, indent=2))
    spoilt = [(result['engine'], said) for result in results if (said := faults(result))]
    for engine, said in spoilt:
        print(f'av-td3: no measurement with {engine}: {", ".join(said)}', file=sys.stderr)
    return EXIT_FAULT if spoilt else 0


def measure(
    config: RunConfig,
    engine: str,
    shown: bench_stack.Shown,
    options: argparse.Namespace,
    folder: Path,
) -> Tuple[Dict[str, Any], List[Tuple[Any, ...]]]:
    """
    Deploy the policy with one engine and time its commands; return figures, a row for each frame.

    :raises GraphError: where it does not start, or commands nothing.
    """
    config = replace(config, policy=replace(config.policy, engine=engine))
    stack, before = bench_stack.drive(config, shown, options, folder, options.seconds)
    stamps, period = list(stack.sent)[before:], 1.0 / options.rate
    figures = {
        'engine': engine,
        'camera': options.camera,
        'rate': options.rate,
        'busy': options.busy,
        'priority': stack.priority,
        **judge(stack.answers, stamps, period, stack.braked),
        'unknown': unknown(stack.unknown, stack.sent, stamps, period),
    }
    return figures, bench_frames.rows(stack, stamps, lambda stamp: engine)


def _check(options: argparse.Namespace) -> None:
    if options.seconds < SHORTEST:
        raise ConfigError(f'--seconds must be >= {SHORTEST:g}, got {options.seconds:g}')
    if options.source and not Path(options.source).is_file():
        raise ConfigError(
            f'FILE must be an exported policy, got {options.source}; make one with '
            '`av-td3 export RUN`'
        )
    bench_stack.check_stack(options)
