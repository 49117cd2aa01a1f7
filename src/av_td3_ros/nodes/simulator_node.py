"""
The embedded simulator behind the CARLA ROS bridge's contract.

One tick per command: publish a frame, wait for its command, tick. A command that stays out for
``control_timeout`` is warned about and the world ticks anyway, exactly as the bridge does.
"""

from collections import deque
import math
from typing import Any, Deque, Dict, Optional, Tuple

from carla_msgs.msg import (
    CarlaControl,
    CarlaEgoVehicleControl,
    CarlaStatus,
    CarlaWeatherParameters,
    CarlaWorldInfo,
)
from geometry_msgs.msg import PoseStamped, Twist
import geometry_msgs.msg
from nav_msgs.msg import Path
import numpy as np
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool, Float32, Header

from av_td3_ros.bridge import convert, world_messages
from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.driving.road_map import MapError
from av_td3_ros.nodes.base import ERROR, GraphNode, Health, OK, WARN, main as run_main, now
from av_td3_ros.sim.world import FARTHEST, World

# A camera's own axes: x to the right, y down, z ahead.
OPTICAL = Pose(0.0, 0.0, 0.0, -math.pi / 2, 0.0, -math.pi / 2)
FRAMES = {
    'image': 'rgb_front',
    'segmentation': 'semantic_segmentation_front',
    'depth': 'depth_front',
}
ROUTE_JUMP = 2.0
LATENCIES_KEPT = 2000
SETTLE = 0.7


class SimulatorNode(GraphNode):
    """Owns the world and its clock; every other node is driven by what it publishes."""

    NAME = 'simulator'
    CONFIG = SimulatorConfig

    def setup(self) -> None:
        """Load the map and offer the bridge's topics."""
        self._world = World(self.config)
        self._world.image()  # the first takes long; better now than in the first frame
        self._period_ns = round(self.config.fixed_delta_seconds * convert.NANOSECONDS)
        self._control = Control(brake=1.0)
        self._overridden = False
        self._awaiting = False
        self._started = False
        self._paused = False
        self._step_once = False
        self._published_at = 0.0
        self._imaged_at = 0.0
        self._met_at = math.inf
        self._latencies: Deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._goal: Optional[Tuple[float, float]] = None
        self._last_xy: Optional[Tuple[float, float]] = None
        self.frames = self.commands = self.timeouts = self.late_commands = 0
        self._pubs = {
            key: self.publisher(key)
            for key in (
                'clock',
                'status',
                'world_info',
                'actor_list',
                'markers',
                'image',
                'camera_info',
                'odometry',
                'speedometer',
                'vehicle_status',
                'vehicle_info',
                'collision',
                'lane_invasion',
                'waypoints',
            )
        }
        self._cameras = [kind for kind in ('segmentation', 'depth') if getattr(self.config, kind)]
        for kind in self._cameras:
            self._pubs[kind] = self.publisher(kind)
            self._pubs[f'{kind}_info'] = self.publisher(f'{kind}_info')
        self._tf = self._make_tf()
        self.subscribe('vehicle_control_cmd', self.on_command)
        self.subscribe('vehicle_control_cmd_manual', lambda msg: self.on_command(msg, manual=True))
        self.subscribe_always('manual_override', self.on_manual_override)
        self.subscribe('world_control', self.on_world_control)
        self.subscribe('weather_control', self.on_weather)
        self.subscribe('set_transform', self.on_set_transform)
        self.subscribe('set_target_velocity', self.on_set_target_velocity)
        self.subscribe('goal', self.on_goal)
        waits = self.config.wait_for_vehicle_control_command
        self.every(
            0.05 if waits else self.config.fixed_delta_seconds,
            self._watch if waits else self._tick_in_real_time,
        )

    def start(self) -> None:
        """
        Publish what comes once; the first frame follows as soon as a policy is there to answer it.
        """
        self._pubs['world_info'].publish(
            CarlaWorldInfo(
                map_name=f'Carla/Maps/{self._world.road_map.name}',
                opendrive=self._world.road_map.opendrive,
            )
        )
        self._pubs['vehicle_info'].publish(
            world_messages.vehicle_info(self._world.vehicle.params, self.config.role_name)
        )
        self._started = False

    def release(self) -> None:
        """Close the renderer."""
        world = getattr(self, '_world', None)
        if world is not None:
            world.close()
            self._world = None

    def health(self) -> Health:
        """Count frames and the commands that answered them."""
        values = {
            'frames': self.frames,
            'commands': self.commands,
            'timeouts': self.timeouts,
            'late_commands': self.late_commands,
            'simulated_time': f'{self._world.time:.2f}',
            'paused': self._paused,
            'awaits_command': self._awaiting,
            **self._latency(),
        }
        silent = now() - self._published_at
        if self.active and self._awaiting and silent > self.config.control_timeout + 0.2:
            return ERROR, f'no command for {silent:.1f} s', values
        if self.late_commands:
            return (
                WARN,
                f'{self.late_commands} commands answered an earlier frame: the graph runs late',
                values,
            )
        if self.timeouts:
            return WARN, f'{self.timeouts} frames went without a command', values
        return OK, 'paused' if self._paused else 'ticking', values

    def _latency(self) -> Dict[str, str]:
        if not self._latencies:
            return {}
        p50, p99 = np.percentile(self._latencies, (50, 99)) * 1e3
        return {'command_latency_p50_ms': f'{p50:.2f}', 'command_latency_p99_ms': f'{p99:.2f}'}

    # -- events -----------------------------------------------------------------------------------

    def on_command(self, msg: CarlaEgoVehicleControl, manual: bool = False) -> None:
        """
        Apply a command; in lock-step it releases the next tick. Under manual override the manual
        ones alone do, as in the bridge.
        """
        if manual is not self._overridden:
            return
        self._control = convert.from_control_msg(msg)
        if not self._started:
            return
        self.commands += 1
        answered = convert.to_ns(msg.header.stamp)
        self.late_commands += 0 < answered < self._world.frame * self._period_ns
        if self._awaiting:
            self._latencies.append(now() - self._imaged_at)
        if self.config.wait_for_vehicle_control_command:
            self._release()

    def on_manual_override(self, msg: Bool) -> None:
        """Let the manual command drive, or no longer."""
        self._overridden = msg.data
        self.get_logger().info(f'manual override {"on" if msg.data else "off"}')

    def on_weather(self, msg: CarlaWeatherParameters) -> None:
        """Change the weather."""
        try:
            self._world.set_weather(convert.from_weather_msg(msg))
        except ValueError as error:
            self.get_logger().warning(f'{error}: ignored')

    def on_world_control(self, msg: CarlaControl) -> None:
        """Play, pause or step once, as /carla/control asks."""
        if msg.command not in (CarlaControl.PLAY, CarlaControl.PAUSE, CarlaControl.STEP_ONCE):
            self.get_logger().warning(
                f'/carla/control must be 0, 1 or 2, got {msg.command}: ignored'
            )
            return
        self._paused = msg.command != CarlaControl.PLAY
        self._step_once = msg.command == CarlaControl.STEP_ONCE
        self._publish_status()
        if self._started and not self._awaiting:
            self._go_on()

    def on_set_transform(self, msg: geometry_msgs.msg.Pose) -> None:
        """Put the vehicle somewhere; it keeps its velocity, as in CARLA."""
        pose = convert.from_pose_msg(msg)
        try:
            self._world.teleport(pose)
        except ValueError as error:
            self.get_logger().warning(f'set_transform: {error}; ignored')

    def on_set_target_velocity(self, msg: Twist) -> None:
        """Set forward speed and yaw rate."""
        try:
            self._world.set_velocity(msg.linear.x, msg.angular.z)
        except ValueError as error:
            self.get_logger().warning(f'set_target_velocity: {error}; ignored')

    def on_goal(self, msg: PoseStamped) -> None:
        """Plan a route from the vehicle to the goal."""
        goal = (msg.pose.position.x, msg.pose.position.y)
        if all(abs(value) <= FARTHEST for value in goal):
            self._goal = goal
            self._publish_route()
        else:
            self.get_logger().warning(
                f'goal must be finite and within {FARTHEST:g} m of the origin, got {goal}: ignored'
            )

    # -- ticking ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self.active:
            return
        if not self._started:
            met = self._pubs['image'].get_subscription_count() and self.count_publishers(
                self._name('vehicle_control_cmd')
            )
            self._met_at = min(self._met_at, now()) if met else math.inf
            if now() - self._met_at > SETTLE:  # the others are being discovered, too
                self._started = True
                self._tick()
            elif not met:
                self.get_logger().info(
                    'waiting for perception and policy', throttle_duration_sec=5.0
                )
        elif self._awaiting and now() - self._published_at > self.config.control_timeout:
            self.timeouts += 1
            self.get_logger().warning(
                f'no vehicle command within {self.config.control_timeout} s; ' 'ticking anyway',
                throttle_duration_sec=5.0,
            )
            self._release()

    def _tick_in_real_time(self) -> None:
        if self.active and not self._paused:
            self._started = True
            self._tick()

    def _release(self) -> None:
        """Go on after the command to a frame, or without it; a world that stands says so."""
        has_waited, self._awaiting = self._awaiting, False
        self._go_on()
        if has_waited and not self._running:
            self._publish_status()

    @property
    def _running(self) -> bool:
        """As in the bridge, a pause begins once the frame has had its command."""
        return not self._paused or self._step_once or self._awaiting

    def _go_on(self) -> None:
        if not self._paused or self._step_once:
            self._step_once = False
            self._tick()

    def _tick(self) -> None:
        self._world.tick(self._control)
        self.frames += 1
        self._awaiting = self.config.wait_for_vehicle_control_command
        self._publish_frame()
        self._published_at = now()

    # -- publishing -------------------------------------------------------------------------------

    def _publish_status(self) -> None:
        self._pubs['status'].publish(
            CarlaStatus(
                frame=self._world.frame,
                fixed_delta_seconds=self.config.fixed_delta_seconds,
                synchronous_mode=True,
                synchronous_mode_running=self._running,
            )
        )

    def _publish_frame(self) -> None:
        world, pubs, role = self._world, self._pubs, self.config.role_name
        stamp = convert.from_ns(world.frame * self._period_ns)
        self._publish_status()
        pubs['clock'].publish(Clock(clock=stamp))
        for hit in world.collisions:
            pubs['collision'].publish(world_messages.collision(hit, role, stamp))
        if world.lane_invasions:
            pubs['lane_invasion'].publish(
                world_messages.lane_invasion(world.lane_invasions, role, stamp)
            )
        pubs['odometry'].publish(world_messages.odometry(world, role, stamp))
        pubs['speedometer'].publish(Float32(data=float(world.state.speed)))
        pubs['vehicle_status'].publish(world_messages.vehicle_status(world, self._control, stamp))
        pubs['actor_list'].publish(world_messages.actor_list(world, role))
        if pubs['markers'].get_subscription_count():
            pubs['markers'].publish(world_messages.vehicle_markers(world, stamp))
        self._publish_tf(stamp)
        # Rendering comes last: the episode manager scores the frame meanwhile.
        for kind in self._cameras:
            encoding = 'bgra8' if kind == 'segmentation' else '32FC1'
            self._publish_image(kind, f'{kind}_info', encoding, getattr(world, kind)(), stamp)
        self._publish_image('image', 'camera_info', 'bgra8', world.image(), stamp)
        self._republish_route_after_jump()

    def _publish_image(
        self, key: str, info_key: str, encoding: str, image: np.ndarray, stamp: convert.Time
    ) -> None:
        optical = Header(stamp=stamp, frame_id=f'{self.config.role_name}/{FRAMES[key]}')
        height, width = image.shape[:2]
        self._pubs[info_key].publish(
            convert.to_camera_info(width, height, self.config.fov_deg, optical)
        )
        self._imaged_at = now()
        self._pubs[key].publish(convert.to_image(image, encoding, optical))

    def _republish_route_after_jump(self) -> None:
        pose = self._world.state.pose
        last, self._last_xy = self._last_xy, (pose.x, pose.y)
        if (
            self._goal is not None
            and last is not None
            and math.dist(last, self._last_xy) > ROUTE_JUMP
        ):
            self._publish_route()

    def _publish_route(self) -> None:
        pose = self._world.state.pose
        stamp = convert.from_ns(self._world.frame * self._period_ns)
        try:
            route = self._world.road_map.plan((pose.x, pose.y), pose.yaw, self._goal)
            self._pubs['waypoints'].publish(convert.to_path(route, stamp))
        except MapError as error:
            self.get_logger().warning(f'no route: {error}')
            self._pubs['waypoints'].publish(Path(header=Header(stamp=stamp, frame_id='map')))

    def _make_tf(self) -> Optional[Any]:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self.get_logger().info('tf2_msgs is not installed: /tf is not published')
            return None
        publisher = self.create_publisher(TFMessage, '/tf', 100)
        self._entities.append(lambda: self.destroy_publisher(publisher))
        return lambda transforms: publisher.publish(TFMessage(transforms=transforms))

    def _publish_tf(self, stamp: convert.Time) -> None:
        if self._tf is None:
            return
        role, config = self.config.role_name, self.config
        mounted = OPTICAL._replace(x=config.camera_x, z=config.camera_z)
        self._tf(
            [
                world_messages.transform('map', role, self._world.state.pose, stamp),
                *(
                    world_messages.transform(role, f'{role}/{FRAMES[key]}', mounted, stamp)
                    for key in ('image', *self._cameras)
                ),
            ]
        )


def main() -> None:
    """Run the simulator."""
    run_main(SimulatorNode)


if __name__ == '__main__':
    main()
