"""What a bridge check hears: every message of the graph as facts, and who offers what."""

from statistics import median
import time
from typing import Any, Callable, Dict, List, Optional, Tuple
import zlib

from nav_msgs.msg import Path
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image, Imu

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import EGO, TOPICS, topic_name, topic_qos
from av_td3_ros.bridge_check import facts as seen
from av_td3_ros.bridge_check.contract import EVERY_FRAME, OPTIONAL, PUBLISHED, SUBSCRIBED

# Bytes of a picture that are looked at: every so many pixels.
STRIDE = 7
NO_ROLES = ('traffic_lights', 'markers', 'debug_marker')


class Ears:
    """Subscribes to everything and writes it down."""

    def __init__(self, node: Node, facts: seen.Facts) -> None:
        """:param facts: is filled from now on."""
        self.facts = facts
        self.heard_at = time.monotonic()
        self.tick_times: List[float] = []
        self.messages = 0
        self.counts: Dict[str, int] = dict.fromkeys((*PUBLISHED, *OPTIONAL, 'imu'), 0)
        self.paths: List[Path] = []
        self._node = node
        role = facts.expected.role_name
        listeners: Dict[str, Callable[[Any], None]] = {
            'clock': lambda m: facts.clock.append(convert.to_ns(m.clock)),
            'status': self._on_status,
            'world_info': self._on_world_info,
            'actor_list': self._on_actors,
            'image': lambda m: facts.image.append(picture(m)),
            'segmentation': lambda m: facts.segmentation.append(picture(m)),
            'depth': lambda m: facts.depth.append(picture(m)),
            'camera_info': self._on_camera_info,
            'odometry': lambda m: facts.odometry.append(motion(m)),
            'speedometer': lambda m: facts.speedometer.append(float(m.data)),
            'vehicle_status': lambda m: facts.vehicle_status.append(status(m)),
            'vehicle_info': self._on_vehicle_info,
            'collision': self._on_collision,
            'lane_invasion': self._on_lane_invasion,
            'waypoints': self.paths.append,
        }
        for key, listener in listeners.items():
            try:
                node.create_subscription(
                    TOPICS[key].type,
                    topic_name(key, role),
                    self._counted(key, listener),
                    topic_qos(key),
                )
            except RuntimeError as error:  # a node of this process gave the name another type
                node.get_logger().warning(f'{key}: {error}')
        node.create_subscription(
            Imu,
            f'{EGO}/imu'.format(role_name=role),
            self._counted('imu', self._on_imu),
            topic_qos('image'),
        )

    @property
    def ticks(self) -> int:
        """Frames so far: by the status, or by the clock where there is no status."""
        return len(self.tick_times) if self.facts.ticks else len(self.facts.clock)

    @property
    def newest(self) -> int:
        """The newest stamp so far, ns."""
        facts = self.facts
        known = [m[-1].stamp for m in (facts.odometry, facts.vehicle_status, facts.image) if m]
        return max(known, default=0)

    def look(self) -> None:
        """Write down who offers what now."""
        own = self._node.get_name(), self._node.get_namespace()
        for key in (*PUBLISHED, *OPTIONAL, *SUBSCRIBED):
            topic, role = TOPICS[key], self.facts.expected.role_name
            name, profile = topic_name(key, role), topic_qos(key)
            self.facts.topics[key] = seen.Topic(
                name,
                type_name(topic.type),
                profile.reliability == ReliabilityPolicy.RELIABLE,
                profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
                _offers(self._node.get_publishers_info_by_topic(name), own),
                _offers(self._node.get_subscriptions_info_by_topic(name), own),
            )
        self.facts.tf_publishers = self._node.count_publishers('/tf')
        self.facts.roles = sorted(
            {
                parts[2]
                for name, _ in self._node.get_topic_names_and_types()
                if len(parts := name.split('/')) > 3
                and parts[1] == 'carla'
                and parts[2] not in NO_ROLES
                and _offers(self._node.get_publishers_info_by_topic(name), own)
            }
        )

    def route_after(self, known: int) -> Optional[seen.Route]:
        """Return the newest route, where one has come after the first ``known``."""
        if len(self.paths) <= known:
            return None
        path, place = self.paths[-1], self.facts.odometry[-1]
        points = np.array([(p.pose.position.x, p.pose.position.y) for p in path.poses])
        if len(points) < 2:
            return seen.Route(len(points), 0.0, 0.0, path.header.frame_id)
        gaps = np.hypot(*np.diff(points, axis=0).T)
        begin = float(np.hypot(*(points - (place.x, place.y)).T).min())
        return seen.Route(len(points), float(median(gaps)), begin, path.header.frame_id)

    def _counted(self, key: str, listener: Callable[[Any], None]) -> Callable[[Any], None]:
        def take(msg: Any) -> None:
            self.counts[key] += 1
            self.messages += 1
            if key in EVERY_FRAME:
                self.heard_at = time.monotonic()
            listener(msg)

        return take

    def _on_status(self, msg: Any) -> None:
        known = self.facts.ticks
        if not known or known[-1].frame != msg.frame:
            self.tick_times.append(time.monotonic())
        else:
            self.counts['status'] -= 1  # of a pause: no frame
        known.append(
            seen.Tick(
                int(msg.frame),
                float(msg.fixed_delta_seconds),
                bool(msg.synchronous_mode),
                bool(msg.synchronous_mode_running),
            )
        )

    def _on_world_info(self, msg: Any) -> None:
        self.facts.map_name, self.facts.opendrive = msg.map_name, len(msg.opendrive)

    def _on_actors(self, msg: Any) -> None:
        self.facts.actors = [
            seen.Actor(int(a.id), int(a.parent_id), a.type, a.rolename) for a in msg.actors
        ]

    def _on_camera_info(self, msg: Any) -> None:
        self.facts.camera_info.append(
            seen.Intrinsics(
                convert.to_ns(msg.header.stamp),
                msg.header.frame_id,
                int(msg.width),
                int(msg.height),
                msg.distortion_model,
                tuple(map(float, msg.d)),
                tuple(map(float, msg.k)),
                tuple(map(float, msg.p)),
            )
        )

    def _on_vehicle_info(self, msg: Any) -> None:
        self.facts.vehicle_info = seen.Vehicle(
            int(msg.id),
            msg.rolename,
            max((float(wheel.max_steer_angle) for wheel in msg.wheels), default=0.0),
            max((float(wheel.radius) for wheel in msg.wheels), default=0.0),
        )

    def _on_collision(self, msg: Any) -> None:
        push = msg.normal_impulse
        self.facts.collision.append(
            seen.Hit(
                convert.to_ns(msg.header.stamp),
                msg.header.frame_id,
                int(msg.other_actor_id),
                (float(push.x), float(push.y), float(push.z)),
                self.newest,
            )
        )

    def _on_lane_invasion(self, msg: Any) -> None:
        self.facts.lane_invasion.append(
            seen.Crossing(
                convert.to_ns(msg.header.stamp),
                msg.header.frame_id,
                tuple(int(code) for code in msg.crossed_lane_markings),
                self.newest,
            )
        )

    def _on_imu(self, msg: Imu) -> None:
        self.facts.imu.append(
            seen.Inertial(
                convert.to_ns(msg.header.stamp),
                float(msg.linear_acceleration.z),
                float(msg.angular_velocity.z),
            )
        )


def motion(msg: Any) -> seen.Motion:
    """Return an odometry message as facts."""
    pose, twist = convert.from_pose_msg(msg.pose.pose), msg.twist.twist
    return seen.Motion(
        convert.to_ns(msg.header.stamp),
        msg.header.frame_id,
        msg.child_frame_id,
        pose.x,
        pose.y,
        pose.z,
        pose.yaw,
        pose.pitch,
        twist.linear.x,
        twist.linear.y,
        twist.angular.z,
    )


def status(msg: Any) -> seen.Status:
    """Return a vehicle_status message as facts."""
    pull = msg.acceleration.linear
    return seen.Status(
        convert.to_ns(msg.header.stamp),
        msg.header.frame_id,
        float(msg.velocity),
        pull.x,
        pull.y,
        pull.z,
        float(msg.control.throttle),
        float(msg.control.brake),
        float(msg.control.steer),
    )


def picture(msg: Image) -> seen.Picture:
    """Return an image message as facts, without its pixels."""
    spread = alpha = -1
    if msg.encoding in ('bgra8', 'rgba8') and len(msg.data) >= 4:
        pixels = np.frombuffer(msg.data, np.uint8)
        pixels = pixels[: len(pixels) // 4 * 4].reshape(-1, 4)[::STRIDE]
        spread, alpha = int(np.ptp(pixels[:, :3])), int(pixels[:, 3].min())
    elif msg.encoding in ('bgr8', 'rgb8', 'mono8') and len(msg.data):
        spread = int(np.ptp(np.frombuffer(msg.data, np.uint8)[::STRIDE]))
    else:
        spread = 255  # not looked into
    return seen.Picture(
        convert.to_ns(msg.header.stamp),
        msg.header.frame_id,
        msg.encoding,
        int(msg.width),
        int(msg.height),
        int(msg.step),
        len(msg.data),
        bool(msg.is_bigendian),
        spread,
        alpha,
        zlib.crc32(msg.data),
    )


def type_name(cls: Any) -> str:
    """Return a message class as ROS names it, such as sensor_msgs/msg/Image."""
    return f'{cls.__module__.split(".")[0]}/msg/{cls.__name__}'


def _offers(infos: Any, own: Tuple[str, str]) -> Tuple[seen.Offer, ...]:
    return tuple(
        seen.Offer(
            f'{info.node_namespace.rstrip("/")}/{info.node_name}',
            info.topic_type,
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in infos
        if (info.node_name, info.node_namespace) != own
    )
