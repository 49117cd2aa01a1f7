"""``av-td3 replay``: a recorded drive back onto the graph, or what is in it."""

import argparse
import json
from pathlib import Path
import time
from typing import Any, Dict

from av_td3_ros.cli import common
from av_td3_ros.cli.record import interrupts, prepare_ros
from av_td3_ros.options import ConfigError

# Who is there announces himself every 3 s, and an announcement can be lost.
DISCOVERY = 4.0
LINGER = 0.5
FASTEST = 1000.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'replay',
        help='play a recorded drive back, or tell what is in it',
        description='Play a rosbag2 MCAP folder or file back onto the graph, with its /clock. '
        'What a vehicle, a simulation, a policy or a trainer would obey, and whatever has a name '
        'that is not of this graph, is left out unless --commands or --topics asks for it.',
    )
    parser.add_argument('bag', metavar='BAG', help='folder or .mcap file')
    parser.add_argument('--rate', type=float, default=1.0, help='2 plays in half the time')
    parser.add_argument(
        '--topics', nargs='+', default=[], metavar='TOPIC', help='these alone, by the name in full'
    )
    parser.add_argument('--commands', action='store_true', help='play what is obeyed, too')
    parser.add_argument(
        '--info', action='store_true', help='tell topics, times and transitions; play nothing'
    )
    parser.add_argument('--json', action='store_true', help='with --info: as JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if not 0.0 < options.rate <= FASTEST:
        raise ConfigError(f'--rate must be in (0, {FASTEST:g}], got {options.rate:g}')
    if options.info:
        return _inform(Path(options.bag), options.json)
    from av_td3_ros.recording.bag_reader import BagReader

    reader = BagReader(Path(options.bag))
    prepare_ros()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from av_td3_ros.nodes.recorder_player import PlayerNode

    rclpy.init(
        args=['--ros-args', '--disable-external-lib-logs'],
        signal_handler_options=SignalHandlerOptions.NO,
    )
    node, executor = None, SingleThreadedExecutor()
    try:
        node = PlayerNode(reader, options.topics, options.commands)
        executor.add_node(node)
        for name, why in node.left_out.items():
            if why != 'not chosen' and name in reader.filled:
                print(f'left out: {name}: {why}')
        _spend(executor, DISCOVERY, node)
        progress = common.Progress()
        with interrupts():

            def spin(seconds: float) -> None:
                executor.spin_once(timeout_sec=min(seconds, 0.02))
                _refuse_twins(node)  # a graph may begin, or be discovered, while it plays
                progress.show(f'{node.played} messages played')

            node.play(options.rate, spin)
            _spend(executor, LINGER, node)
        progress.end(f'{node.played} messages played')
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spend(executor: Any, seconds: float, node: Any) -> None:
    """Let the graph be discovered, or the last messages leave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
        _refuse_twins(node)


def _refuse_twins(node: Any) -> None:
    twins = node.twins()
    if twins:
        raise ConfigError(
            f'{twins[0]} must have no other publisher, got one: a graph is live on this '
            'ROS_DOMAIN_ID; stop it, or play on another domain'
        )


def _inform(path: Path, as_json: bool) -> int:
    from av_td3_ros.recording.bag_reader import BagReader
    from av_td3_ros.recording.transitions import Count

    reader, count = BagReader(path), Count()
    topics: Dict[str, Dict[str, Any]] = {}
    first = last = 0
    for message in reader.messages():
        row = topics.setdefault(message.topic.name, {'type': message.topic.type, 'messages': 0})
        row['messages'] += 1
        first, last = first or message.received, max(last, message.received)
        count.look(message)
    found = {
        'seconds': (last - first) / 1e9,
        'begun': first,
        'cut_off': [str(file) for file in reader.cut_off],
        'topics': topics,
        'transitions': count.account(bool(reader.cut_off))._asdict(),
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f'{path}: {found["seconds"]:.1f} s')
    for name, row in sorted(topics.items()):
        print(f'{row["messages"]:9d}  {name}  {row["type"]}')
    told = [f'{value} {name}' for name, value in found['transitions'].items()]
    print(f'transitions: {", ".join(told[:-1])}')  # the last is told of the whole bag
    for file in found['cut_off']:
        print(f'{file}: its end is missing; this is what is whole')
    return 0
