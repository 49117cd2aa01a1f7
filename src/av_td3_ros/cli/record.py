"""``av-td3 record``: the running graph as a rosbag2 MCAP file."""

import argparse
from collections import deque
from contextlib import contextmanager
import os
from pathlib import Path
import signal
import time
from typing import Any, Deque, Iterator, Tuple

from av_td3_ros import graph
from av_td3_ros.cli import common
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import new_run_folder

EXIT_FAULT = 1
# Of half a second each: the disk gets whole chunks, now and then.
RATE_MARKS = 20
MEGABYTE, MEBIBYTE, GIBIBYTE = 1e6, 2**20, 2**30


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'record',
        help='record the running graph as a rosbag2 MCAP file',
        description='Record the graph that runs on this ROS domain, or that starts later, as a '
        'rosbag2 folder with MCAP files. `ros2 bag play`, rviz and Foxglove open it, and so does '
        '`av-td3 replay`. Ctrl-C ends it. See docs/watching.md.',
    )
    parser.add_argument('--output', metavar='DIR', help='new folder (default runs/drive_<date>)')
    parser.add_argument(
        '--topics',
        nargs='+',
        default=[],
        metavar='TOPIC',
        help='some topics alone, by the name in full or by the key in bridge/topics.py, such as '
        'image odometry transition (default: all)',
    )
    parser.add_argument('--seconds', type=float, metavar='S', help='end by itself after a while')
    parser.add_argument(
        '--compression', choices=('zstd', 'lz4', 'none'), default='zstd', help='default zstd'
    )
    parser.add_argument(
        '--memory',
        type=float,
        default=128.0,
        metavar='MIB',
        help='messages that may wait for the disk; beyond that they are dropped and counted '
        '(default 128)',
    )
    parser.add_argument(
        '--split', type=float, default=4.0, metavar='GIB', help='size of a file (default 4)'
    )
    add_graph_arguments(parser)
    parser.set_defaults(run=run)


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--role-name``, ``--namespace`` and ``--remap``."""
    parser.add_argument('--role-name', default='ego_vehicle', help='default ego_vehicle')
    parser.add_argument('--namespace', default=graph.NAMESPACE, help=f'default {graph.NAMESPACE}')
    parser.add_argument(
        '--remap',
        action='append',
        default=[],
        metavar='FROM:=TO',
        help='a topic that the graph has under another name, as it was remapped there, such as '
        'image:=/front/image_raw; may be repeated',
    )


@contextmanager
def interrupts() -> Iterator[None]:
    """
    Let SIGINT end this, too, where it was ignored, as in the background of a script; and the other
    stops in the same way.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with common.stops_are_interrupts():
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def prepare_ros() -> None:
    """Check the middleware and give it the settings of the graph."""
    common.check_middleware()
    os.environ.update(graph.environment())


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    for name, low in (('memory', 1.0), ('split', 0.001), ('seconds', 0.0)):
        value = getattr(options, name)
        if value is not None and not low <= value < float('inf'):
            raise ConfigError(f'--{name} must be >= {low:g}, got {value:g}')
    prepare_ros()
    from av_td3_ros.bridge.watching import choose, watched
    from av_td3_ros.recording.bag_writer import BagWriter
    from av_td3_ros.recording.recording import Recording

    known = watched(options.role_name, options.namespace, options.remap)
    topics = choose(known, options.topics)
    folder = Path(options.output) if options.output else new_run_folder('drive')
    writer = BagWriter(folder, options.compression, int(options.split * GIBIBYTE))
    recording = Recording(writer, int(options.memory * MEBIBYTE))
    try:
        with interrupts():
            _spin(topics, writer, recording, options.seconds)
    except KeyboardInterrupt:
        pass
    except Exception:  # it did not begin: who tries again finds the folder free
        recording.stop()
        writer.remove()
        raise
    finally:
        recording.stop()
    return _tell(folder, topics, writer, recording)


def _spin(topics: Any, writer: Any, recording: Any, seconds: Any) -> None:
    """Record until Ctrl-C, a fault, or the end of the time."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from av_td3_ros.nodes.recorder import RecorderNode

    rclpy.init(
        args=['--ros-args', '--disable-external-lib-logs'],
        signal_handler_options=SignalHandlerOptions.NO,
    )
    node, executor = None, SingleThreadedExecutor()
    try:
        node = RecorderNode(topics, writer, recording)
        executor.add_node(node)
        progress, begun = common.Progress(), time.monotonic()
        progress.end(f'recording {len(topics)} topics; Ctrl-C ends it')
        marks: Deque[Tuple[float, int]] = deque([(begun, 0)], maxlen=RATE_MARKS)
        while not recording.failure:
            executor.spin_once(timeout_sec=0.1)
            moment = time.monotonic()
            if seconds is not None and moment - begun >= seconds:
                break
            if moment - marks[-1][0] >= 0.5:
                rate = (writer.size - marks[0][1]) / (moment - marks[0][0])
                marks.append((moment, writer.size))
                progress.show(_line(moment - begun, rate, node, writer, recording))
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _line(elapsed: float, rate: float, node: Any, writer: Any, recording: Any) -> str:
    dropped = sum(recording.dropped.values())
    return (
        f'{common.clock(elapsed):>5} {writer.size / MEGABYTE:8.1f} MB {rate / MEGABYTE:6.1f} MB/s '
        f'| {sum(node.counts.values())} messages on {sum(map(bool, node.counts.values()))} topics'
        + (f' | {dropped} dropped: the disk is slower than the drive' if dropped else '')
    )


def _tell(folder: Path, topics: Any, writer: Any, recording: Any) -> int:
    from av_td3_ros.bridge.watching import COMMANDS, IMAGES
    from av_td3_ros.cli.main import refuse

    counts = {name: count for name, count in writer.counts.items() if count}
    dropped = ', '.join(f'{name} {count}' for name, count in recording.dropped.items())
    if recording.failure:
        refuse(recording.failure)
        return EXIT_FAULT
    print(
        f'\n{folder}: {writer.size / MEGABYTE:.1f} MB, {sum(counts.values())} messages on '
        f'{len(counts)} topics' + (f'; dropped: {dropped}' if dropped else '')
    )
    if not counts:
        print(
            'nothing was published: is the graph on this ROS_DOMAIN_ID '
            f'({os.environ.get("ROS_DOMAIN_ID", "0")}), with this --role-name and --namespace?'
        )
        return 0
    for what, keys in (('image', IMAGES), ('command', COMMANDS)):
        names = [topic.name for topic in topics if topic.key in keys]
        if names and not any(name in counts for name in names):
            print(
                f'warning: no {what} was recorded: nothing came on {", ".join(names)}; '
                'a graph that was remapped is recorded with --remap FROM:=TO'
            )
    return 0
