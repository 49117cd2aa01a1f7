"""
Draws for people what the others only say: the planned control, and how policy and learner are.

It stands beside the graph. Nobody waits for it, and nothing of it runs in who drives.
"""

import sys
from typing import Any, Dict

from av_td3_msgs.msg import Action, EpisodeState
from carla_msgs.msg import CarlaEgoVehicleInfo
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import Float32, Header

from av_td3_ros import watching
from av_td3_ros.bridge import markers
from av_td3_ros.bridge.topics import topic_name, topic_qos, TOPICS
from av_td3_ros.graph import NAMESPACE
from av_td3_ros.nodes import log_folder
from av_td3_ros.nodes.base import now, tell_usage

PERIOD = 0.1
NAME = 'watch'


class WatchNode(Node):
    """Publishes at most ten times a second, whatever the pace of the graph."""

    def __init__(self, **kwargs: Any) -> None:
        """Keyword arguments go to ``rclpy.node.Node``."""
        super().__init__(NAME, **kwargs)
        self._role = self.declare_parameter('role_name', 'ego_vehicle').value
        self._car = watching.Geometry()
        self._speed = 0.0
        self._state: Any = None
        self._vital: Dict[str, float] = {}
        self._drawn_at = float('-inf')
        self._pubs = {
            key: self.create_publisher(TOPICS[key].type, self._name(key), topic_qos(key))
            for key in ('watch_markers', 'watch_steering', 'watch_acceleration')
            + tuple(f'watch_{name}' for name in watching.VITALS)
        }
        self._subscribe('vehicle_info', self.on_vehicle)
        self._subscribe('diagnostics', self.on_diagnostics)
        self._subscribe('episode_state', self.on_state)
        self._subscribe('odometry', self.on_odometry)
        self._subscribe('action', self.on_action)

    def on_vehicle(self, msg: CarlaEgoVehicleInfo) -> None:
        """Learn how the vehicle steers."""
        self._car = watching.geometry(
            [(wheel.max_steer_angle, wheel.position.x) for wheel in msg.wheels]
        )

    def on_state(self, msg: EpisodeState) -> None:
        """Know the episode, to tell of it."""
        self._state = msg

    def on_odometry(self, msg: Odometry) -> None:
        """Know the speed, which says how far the command leads."""
        self._speed = msg.twist.twist.linear.x

    def on_diagnostics(self, msg: DiagnosticArray) -> None:
        """Publish as numbers what the trainer tells as text."""
        for status in msg.status:
            if status.name.partition(':')[0] == 'trainer':
                self._vital = watching.vitals({item.key: item.value for item in status.values})
                for name, value in self._vital.items():
                    self._pubs[f'watch_{name}'].publish(Float32(data=value))

    def on_action(self, msg: Action) -> None:
        """Draw the command, in the frame of the vehicle."""
        if now() - self._drawn_at < PERIOD:
            return
        self._drawn_at = now()
        self._pubs['watch_steering'].publish(Float32(data=msg.steering))
        self._pubs['watch_acceleration'].publish(Float32(data=msg.acceleration))
        path = watching.planned_path(msg.steering, self._speed, self._car)
        lines = watching.told(self._vital, self._state)
        header = Header(stamp=msg.header.stamp, frame_id=self._role)
        self._pubs['watch_markers'].publish(markers.planned(path, msg.acceleration, lines, header))

    def _subscribe(self, key: str, callback: Any) -> None:
        self.create_subscription(TOPICS[key].type, self._name(key), callback, topic_qos(key))

    def _name(self, key: str) -> str:
        return topic_name(key, self._role)


def main() -> None:
    """Run it until it is stopped."""
    tell_usage(NAME, '-p role_name:=NAME', 'docs/watching.md')
    arguments, no_log_files = log_folder.arguments(sys.argv)
    rclpy.init(args=arguments)
    node = WatchNode(namespace=NAMESPACE)
    if no_log_files:
        node.get_logger().warning(no_log_files)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
