"""``av-td3 view``: the running graph in a browser, by Rerun, where no rviz is at hand."""

import argparse
import time
from typing import Any

from av_td3_ros.cli import common
from av_td3_ros.cli.record import add_graph_arguments, interrupts, prepare_ros
from av_td3_ros.options import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'view',
        help='watch the running graph in a browser',
        description='Show camera, stack, map, vehicles, the planned control and plots of the '
        'graph on this ROS domain in a browser, live, with the Rerun viewer (rerun-sdk, '
        '`make viewer`). Other machines can open the page, too. See docs/watching.md.',
    )
    parser.add_argument('--port', type=int, default=9090, help='of the page (default 9090)')
    parser.add_argument('--data-port', type=int, default=9876, help='of the data (default 9876)')
    parser.add_argument(
        '--memory',
        type=int,
        default=512,
        metavar='MIB',
        help='history kept for a browser that comes late; the oldest goes first (default 512)',
    )
    parser.add_argument('--open', action='store_true', help='open a browser here')
    parser.add_argument('--seconds', type=float, metavar='S', help='end by itself after a while')
    add_graph_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    for name, low, high in (
        ('port', 1024, 65535),
        ('data_port', 1024, 65535),
        ('memory', 16, 65536),
    ):
        value = getattr(options, name)
        if not low <= value <= high:
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} must be in [{low}, {high}], got {value}')
    from av_td3_ros.live_view import LiveView, load_rerun

    load_rerun()
    prepare_ros()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from av_td3_ros.nodes.viewer import ViewerNode

    view = LiveView(options.port, options.data_port, f'{options.memory}MiB', options.open)
    rclpy.init(
        args=['--ros-args', '--disable-external-lib-logs'],
        signal_handler_options=SignalHandlerOptions.NO,
    )
    node, executor = None, SingleThreadedExecutor()
    try:
        node = ViewerNode(view, options.role_name, options.namespace, options.remap)
        executor.add_node(node)
        print(f'open {view.url}\nCtrl-C ends it', flush=True)
        progress, begun = common.Progress(), time.monotonic()
        with interrupts():
            while options.seconds is None or time.monotonic() - begun < options.seconds:
                executor.spin_once(timeout_sec=0.1)
                topics = ', '.join(f'{key} {count}' for key, count in node.shown.items())
                progress.show(f'shown: {topics or "nothing yet; is the graph running?"}')
    except KeyboardInterrupt:
        pass
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        view.close()
    return 0
