"""
``av-td3 bench graph``: how fast image -> perception -> policy -> command -> next image goes round.
"""

import argparse
from dataclasses import replace
import json
from pathlib import Path
import tempfile
from typing import Any, Dict, List

import numpy as np

from av_td3_ros.cli import common
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError

WARM_UP = 3.0
ATTEMPTS = 5
SHORTEST = 3.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'graph',
        help='the lock-step graph without a learner',
        description='Measure the lock-step graph without a learner: steps per second, and the '
        'time from the moment an image is published to the moment its command is back.',
    )
    parser.add_argument(
        '--camera',
        action='append',
        metavar='WxH',
        help='camera size; may be repeated (default 256x144 and 800x600)',
    )
    parser.add_argument(
        '--seconds', type=float, default=10.0, help='duration of each measurement (default 10)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON alone')
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    common.check_middleware()
    common.stay_on_own_domain()
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.nodes.supervisor import GraphError

    if options.seconds < SHORTEST:
        raise ConfigError(f'--seconds must be >= {SHORTEST:g}, got {options.seconds:g}')
    results: List[Dict[str, Any]] = []
    for camera in options.camera or ['256x144', '800x600']:
        width, _, height = camera.partition('x')
        config = common.load_config(
            options,
            {
                'simulator.image_width': _pixels(width, camera),
                'simulator.image_height': _pixels(height, camera),
                'perception.episodes': False,
                'policy.accept_weights': False,
            },
        )
        # No image may be thinned out: each waits for its command.
        seen = replace(config.perception.camera, rate=1.0 / config.simulator.fixed_delta_seconds)
        config = replace(config, perception=replace(config.perception, camera=seen))
        try:
            with tempfile.TemporaryDirectory(prefix='av_td3_bench_') as folder:
                results.append(
                    {'camera': camera, **measure(config, Path(folder), options.seconds)}
                )
        except GraphError as error:
            return refuse(error)
        if not options.json:
            print(
                '{camera:>8}  {steps_per_second:6.1f} steps/s   image to command p50 '
                '{latency_p50_ms:.2f} ms, p99 {latency_p99_ms:.2f} ms'.format(**results[-1]),
                flush=True,
            )
    if options.json:
        print(json.dumps({'machine': machine(), 'graph': results}, indent=2))
    return 0


def measure(config: RunConfig, folder: Path, seconds: float) -> Dict[str, Any]:
    """Run the graph with an untrained policy for a while."""
    from geometry_msgs.msg import PoseStamped
    from av_td3_ros.bridge.topics import topic_name
    from av_td3_ros.driving.road_map import RoadMap
    from av_td3_ros.nodes.supervisor import GraphError, Supervisor
    from av_td3_ros.td3 import checkpoint
    from av_td3_ros.td3.agent import TD3

    spec = config.observation.spec()
    untrained = TD3(spec, config.trainer.learner, seed=0)
    saved = checkpoint.save(folder, untrained, spec, env_step=0, version=0)
    config = replace(config, policy=replace(config.policy, checkpoint=str(saved)))
    route = RoadMap.load(config.simulator.map).random_route(np.random.default_rng(0), 80.0, 200.0)
    goal = PoseStamped()
    goal.header.frame_id = 'map'
    goal.pose.position.x, goal.pose.position.y = (float(value) for value in route.points[-1])
    with Supervisor(config, 'bench', folder) as graph:
        for _ in range(ATTEMPTS):
            graph.publish(topic_name('goal', config.role_name), goal)
            graph.spin(lambda: False, WARM_UP)
            if 'command_latency_p50_ms' in graph.health.get('simulator', {}):
                break
        else:
            raise GraphError(
                'the graph must answer frames with commands, got none; simulator: '
                f'{graph.health.get("simulator")}, perception: {graph.health.get("perception")}'
            )
        before = dict(graph.health['simulator'])
        graph.spin(lambda: False, seconds)
        after = dict(graph.health['simulator'])
    frames = int(after['frames']) - int(before['frames'])
    duration = after['stamp'] - before['stamp']
    return {
        'steps_per_second': frames / duration,
        'frames': frames,
        'seconds': duration,
        'commands': int(after['commands']) - int(before['commands']),
        'timeouts': int(after['timeouts']) - int(before['timeouts']),
        'late_commands': int(after['late_commands']) - int(before['late_commands']),
        'latency_p50_ms': float(after['command_latency_p50_ms']),
        'latency_p99_ms': float(after['command_latency_p99_ms']),
    }


def _pixels(text: str, camera: str) -> int:
    if not text.isdigit():
        raise ConfigError(f'--camera must be WIDTHxHEIGHT, such as 256x144, got {camera!r}')
    return int(text)
