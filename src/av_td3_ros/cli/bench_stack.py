"""
The vehicle around a policy that is measured: camera, odometry, route, and who hears its commands.

Perception and policy run as they do in a vehicle. This process is the rest of it; nothing waits
for anything.
"""

import argparse
from dataclasses import replace
import math
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from av_td3_ros.cli import common, sources
from av_td3_ros.config import RunConfig
from av_td3_ros.graph import PRIORITY
from av_td3_ros.options import ConfigError

SETTLE = 2.0
# Different pictures that are shown in turn.
PICTURES = 16
# Time after the last frame in which its command may still come, s.
LAST = 1.0
# It ends with this process, however this one ends.
BUSY = 'import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(10000))'


class Shown(NamedTuple):
    """What the stack shows, made before the clock runs: pictures, places, and what comes once."""

    images: Tuple[Any, ...]
    odometry: Tuple[Any, ...]
    route: Any
    camera_info: Any
    world_info: Any


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what describes the vehicle around the policy."""
    parser.add_argument(
        '--camera', default='800x600', metavar='WxH', help='camera of the vehicle (800x600)'
    )
    parser.add_argument('--rate', type=float, default=20.0, help='images per second (20)')
    parser.add_argument(
        '--busy', type=int, default=1, metavar='N', help='cores kept busy by something else (1)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON alone')
    parser.add_argument(
        '--output',
        metavar='DIR',
        help='where to write every frame and the figures, as CSV and JSON (default: nowhere)',
    )


def check_stack(options: argparse.Namespace) -> None:
    """:raises ConfigError: for a camera, rate or number of cores that cannot be."""
    if not 1.0 <= options.rate <= 200.0:
        raise ConfigError(f'--rate must be 1 to 200 images per second, got {options.rate:g}')
    if not 0 <= options.busy <= 64:
        raise ConfigError(f'--busy must be 0 to 64 cores, got {options.busy}')
    _pixels(options.camera)


def output_folder(options: argparse.Namespace) -> Optional[Path]:
    """
    Return where to write, made where it is missing; None for nowhere.

    :raises ConfigError: where it cannot be written.
    """
    if not options.output:
        return None
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f'--output must be a folder that can be written, got {folder}: {error.strerror}'
        ) from None
    return folder


def _pixels(camera: str) -> Tuple[int, int]:
    width, _, height = camera.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f'--camera must be WIDTHxHEIGHT, such as 800x600, got {camera!r}')
    return int(width), int(height)


def prepare(options: argparse.Namespace, folder: Path) -> RunConfig:
    """
    Return the config of the graph; where no file is given, export an untrained policy.

    :raises ConfigError: where a setting does not fit.
    :raises ArtefactError: where the file cannot drive.
    """
    width, height = _pixels(options.camera)
    given = Path(options.source) if options.source else None
    extra: Dict[str, Any] = {
        'perception.episodes': False,
        'perception.priority': PRIORITY,
        'policy.lock_step': False,
        'policy.accept_weights': False,
        'policy.priority': PRIORITY,
    }
    if given is not None:
        with sources.settings_file(given) as written:
            options.config = options.config or written
            config = common.load_config(options, {**extra, **sources.policy_setting(given)})
    else:
        config = common.load_config(options, extra)
        path = folder / 'policy.avtd3'
        path.write_bytes(_untrained(config, folder / 'run'))
        config = replace(config, policy=replace(config.policy, artefact=str(path)))
    sources.load(Path(config.policy.artefact), config.observation)
    trained, perception = config.simulator, config.perception
    camera = replace(
        perception.camera,
        width=trained.image_width,
        height=trained.image_height,
        fov_deg=trained.fov_deg,
    )
    return replace(
        config,
        simulator=replace(trained, image_width=width, image_height=height),
        perception=replace(perception, camera=camera),
    )


def show(config: RunConfig) -> Shown:
    """Drive a little way in the embedded simulator and keep what its sensors saw, as messages."""
    from av_td3_ros.bridge import convert, world_messages
    from av_td3_ros.sim.env import DrivingEnv
    from carla_msgs.msg import CarlaWorldInfo
    from std_msgs.msg import Header

    images, odometry, nothing = [], [], convert.from_ns(0)
    settings, role = config.simulator, config.role_name
    header = Header(frame_id=f'{role}/rgb_front')
    env = DrivingEnv(config, camera=False)
    try:
        env.reset(seed=0)
        for _ in range(PICTURES):
            env.step((0.0, 0.5))
            images.append(convert.to_image(env.world.image(), 'bgra8', header))
            odometry.append(world_messages.odometry(env.world, role, nothing))
        route = convert.to_path(env.episode.route, nothing)
        road_map = env.world.road_map
    finally:
        env.close()
    info = convert.to_camera_info(
        settings.image_width, settings.image_height, settings.fov_deg, header
    )
    world = CarlaWorldInfo(map_name=road_map.name, opendrive=road_map.opendrive)
    return Shown(tuple(images), tuple(odometry), route, info, world)


class Stack:
    """
    A camera that runs at its own pace, and a bus that hears the commands.

    ``sent``: when each frame was exposed, s, by its stamp, ns. ``answers``: by stamp, how long
    each of its commands took, s. ``unknown``: when commands came that have the stamp of no image,
    s. ``braked``: stamps of the frames at which the gate braked. ``drove``: by version of the
    weights, how many frames they drove.
    """

    def __init__(self, node: Any, role: str, shown: Shown, rate: float) -> None:
        """:param node: of ROS. :param rate: images per second."""
        from av_td3_ros.bridge.topics import topic_name, topic_qos, TOPICS
        from rclpy.clock import Clock, ClockType

        def publisher(key: str) -> Any:
            return node.create_publisher(
                TOPICS[key].type, topic_name(key, role), topic_qos(key)
            ).publish

        self.sent: Dict[int, float] = {}
        self.answers: Dict[int, List[float]] = {}
        self.unknown: List[float] = []
        self.braked: Set[int] = set()
        self.drove: Dict[int, int] = {}
        self.showing = True
        self.priority = 0
        self._node, self._shown, self._period = node, shown, 1.0 / rate
        self._exposed = -math.inf
        self._image, self._odometry = publisher('image'), publisher('odometry')
        self._info = publisher('camera_info')
        publisher('world_info')(shown.world_info)
        publisher('waypoints')(shown.route)
        hears = (('vehicle_control_cmd', self._on_command), ('action', self._on_action))
        for key, callback in hears:
            node.create_subscription(
                TOPICS[key].type, topic_name(key, role), callback, topic_qos(key)
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(self._period, self._on_frame, clock=steady)

    def _on_frame(self) -> None:
        # The timer makes up for a call that came late; no camera exposes twice that soon.
        if not self.showing or time.perf_counter() - self._exposed < self._period / 2:
            return
        from av_td3_ros.bridge import convert

        turn = len(self.sent) % PICTURES
        image, odometry = self._shown.images[turn], self._shown.odometry[turn]
        # With the stamp: what a vehicle publishes before its image belongs to the time it takes.
        exposed, stamp = time.perf_counter(), self._node.get_clock().now().to_msg()
        for msg in (odometry, self._shown.camera_info, image):
            msg.header.stamp = stamp
        self.sent[convert.to_ns(stamp)] = self._exposed = exposed
        self._odometry(odometry)
        self._info(self._shown.camera_info)
        self._image(image)

    def _on_command(self, msg: Any) -> None:
        from av_td3_ros.bridge import convert

        heard = time.perf_counter()
        stamp = convert.to_ns(msg.header.stamp)
        if stamp in self.sent:
            self.answers.setdefault(stamp, []).append(heard - self.sent[stamp])
        else:  # of the gate itself, or of somebody else
            self.unknown.append(heard)

    def _on_action(self, msg: Any) -> None:
        from av_td3_ros.bridge import convert

        if msg.drive:
            self.drove[msg.policy_version] = self.drove.get(msg.policy_version, 0) + 1
        else:
            self.braked.add(convert.to_ns(msg.header.stamp))


def drive(
    config: RunConfig,
    shown: Shown,
    options: argparse.Namespace,
    folder: Path,
    seconds: float,
    begin: Callable[[Any, Any], None] = lambda node, graph: None,
    settled: Callable[[], None] = lambda: None,
) -> Tuple['Stack', int]:
    """
    Deploy perception and policy in a stack of this process, beside as many busy cores as asked.

    :param seconds: that count, after some in which it settles.
    :param begin: called with the node of the stack and the graph, before the first image.
    :param settled: called when the frames that count begin.
    :returns: the stack with what it heard, and how many of its frames do not count.
    :raises GraphError: where it does not start, or commands nothing.
    """
    from av_td3_ros.graph import NAMESPACE
    from av_td3_ros.nodes import realtime
    from av_td3_ros.nodes.supervisor import GraphError, Supervisor
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    busy: List[subprocess.Popen] = []
    with Supervisor(config, 'deploy', folder) as graph:
        node, executor = Node('bench_stack', namespace=NAMESPACE), SingleThreadedExecutor()
        executor.add_node(node)

        def spin(seconds: float) -> None:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0.0:
                executor.spin_once(timeout_sec=left)

        try:
            begin(node, graph)
            stack = Stack(node, config.role_name, shown, options.rate)
            busy += [subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(options.busy)]
            # What measures must not wait; busy cores and other graphs do not inherit it. A camera
            # has no garbage collector that would hold it up.
            realtime.keep_what_is()
            refusal = realtime.prioritise(config.policy.priority, is_inherited=False)
            if refusal:
                print(refusal, file=sys.stderr)
            else:
                stack.priority = config.policy.priority
            end = time.monotonic() + 30.0
            while len(stack.answers) < options.rate and time.monotonic() < end:
                executor.spin_once(timeout_sec=0.1)
            spin(SETTLE)
            before = len(stack.sent)
            settled()
            spin(seconds)
            stack.showing = False
            spin(LAST)
            graph.spin(lambda: False, 0.1)
        finally:
            for process in busy:
                process.kill()
                process.wait()
            executor.shutdown()
            node.destroy_node()
            realtime.let_go()
        if not stack.answers:
            raise GraphError(
                'the policy must command the frames that it is shown, got no command; perception: '
                f'{graph.health.get("perception")}, policy: {graph.health.get("policy")}'
            )
    return stack, before


def _untrained(config: RunConfig, folder: Path) -> bytes:
    from av_td3_ros.deployment.export import export
    from av_td3_ros.td3 import checkpoint
    from av_td3_ros.td3.agent import TD3

    spec = config.observation.spec()
    checkpoint.save(folder, TD3(spec, config.trainer.learner, seed=0), spec, env_step=0, version=0)
    return export(folder, config)[0]
