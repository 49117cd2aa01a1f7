"""
The hands of a bridge check: speaks every topic that our nodes speak, and waits without sleeping.

One command per frame, after the whole frame has come, as the policy node does.
"""

import time
from typing import Any, Callable, Dict, Optional, Set

from carla_msgs.msg import CarlaControl
from geometry_msgs.msg import PoseStamped, Twist, Vector3
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool

from av_td3_ros import graph
from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import TOPICS, topic_name, topic_qos
from av_td3_ros.bridge_check.contract import EVERY_FRAME, PUBLISHED, SUBSCRIBED
from av_td3_ros.bridge_check.facts import Expected, Facts
from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.nodes.bridge_check_ears import Ears

NAME = 'bridge_check'
SPOKEN = tuple(key for key in SUBSCRIBED if key != 'weather_control')
BRAKE = Control(brake=1.0)
# Frames that may lack a message before it is no longer waited for.
MISSES = 3
# Messages that are taken at most between two commands.
DRAINED = 200


class Silent(RuntimeError):
    """The world did not tick."""


class Probe:
    """A node that listens to the bridge and speaks to it."""

    def __init__(
        self,
        expected: Expected,
        context: Optional[Any] = None,
        executor: Optional[SingleThreadedExecutor] = None,
    ) -> None:
        """
        Begin to listen.

        :param executor: one that also spins other nodes; else one of its own.
        """
        self.facts = Facts(expected)
        self.patience = expected.control_timeout
        self.node = Node(NAME, context=context, namespace=graph.NAMESPACE)
        self._executor = executor or SingleThreadedExecutor(context=context)
        self._owned = executor is None
        self._executor.add_node(self.node)
        self.ears = Ears(self.node, self.facts)
        self._pubs = {
            key: self.node.create_publisher(
                TOPICS[key].type, topic_name(key, expected.role_name), topic_qos(key)
            )
            for key in SPOKEN
        }
        self._misses: Dict[str, int] = {}
        self._awaited: Set[str] = set()
        self._touched: Set[str] = set()

    def close(self) -> None:
        """Release everything."""
        self._executor.remove_node(self.node)
        self.node.destroy_node()
        if self._owned:
            self._executor.shutdown()

    # -- waiting ----------------------------------------------------------------------------------

    @property
    def ticks(self) -> int:
        """Frames so far."""
        return self.ears.ticks

    def until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Spin until a predicate holds; return whether it did within the timeout (s)."""
        end = time.monotonic() + timeout
        while not predicate():
            left = end - time.monotonic()
            if left <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.05))
        return True

    def listen(self, timeouts: float) -> None:
        """Spin for a time in units of the bridge's control timeout."""
        self.until(lambda: False, timeouts * self.patience)

    def settle(self) -> None:
        """Spin until nothing more comes of the last frame."""
        quiet = 0.25 * self.patience
        self.until(lambda: time.monotonic() - self.ears.heard_at > quiet, 3.0 * quiet)

    def discover(self, timeout: float) -> None:
        """Look until all that must be there is, or the timeout (s) has passed."""

        def complete() -> bool:
            self.ears.look()
            topics = self.facts.topics
            return all(topics[key].publishers for key in PUBLISHED) and all(
                topics[key].subscribers for key in SUBSCRIBED
            )

        self.until(complete, timeout)
        self.listen(0.3)  # for a second publisher, or a node whose name is not yet known
        self.ears.look()

    def connected(self, key: str) -> bool:
        """Return whether somebody listens to what we say here."""
        return self._pubs[key].get_subscription_count() > 0

    # -- speaking ---------------------------------------------------------------------------------

    def command(self, control: Control, manual: bool = False) -> None:
        """Publish one command."""
        key = 'vehicle_control_cmd_manual' if manual else 'vehicle_control_cmd'
        self._touched.add('vehicle_control_cmd')
        self._pubs[key].publish(
            convert.to_control_msg(control, convert.from_ns(max(0, self.ears.newest)))
        )

    def frame(self, control: Control) -> None:
        """
        Send one command and wait for the next whole frame.

        :raises Silent: where none comes.
        """
        self._drain()
        before, counts = self.ticks, dict(self.ears.counts)
        self.command(control)
        if not self.until(lambda: self.ticks > before, 4.0 * self.patience):
            raise Silent(f'no frame within {4.0 * self.patience:g} s of a command')
        whole = self.until(
            lambda: all(self.ears.counts[key] > counts[key] for key in self._awaited),
            0.25 * self.patience,
        )
        if not whole:
            for key in [k for k in self._awaited if self.ears.counts[k] == counts[k]]:
                self._misses[key] = self._misses.get(key, 0) + 1
                if self._misses[key] >= MISSES:
                    self._awaited.discard(key)

    def _drain(self) -> None:
        """Take what has come already: a world that ticks too often must not fill our queues."""
        idle = 0
        for _ in range(DRAINED):
            known = self.ears.messages
            self._executor.spin_once(timeout_sec=0.0)
            idle = idle + 1 if self.ears.messages == known else 0
            if idle == 2:
                return

    def expect_what_is_heard(self) -> None:
        """From now on a frame is whole when it has all that came until now."""
        self._awaited = {key for key in EVERY_FRAME if self.ears.counts[key]}

    def control_world(self, command: int) -> None:
        """Publish PLAY, PAUSE or STEP_ONCE."""
        (self._touched.discard if command == CarlaControl.PLAY else self._touched.add)('pause')
        self._pubs['world_control'].publish(CarlaControl(command=command))

    def override(self, manual: bool) -> None:
        """Let manual commands drive, or no longer."""
        (self._touched.add if manual else self._touched.discard)('override')
        self._pubs['manual_override'].publish(Bool(data=manual))

    def place(self, pose: Pose) -> None:
        """Publish a set_transform, and let it travel ahead of the next command."""
        self._pubs['set_transform'].publish(convert.to_pose_msg(pose))
        self.listen(0.1)

    def throw(self, speed: float) -> None:
        """Publish a set_target_velocity, and let it travel ahead of the next command."""
        self._touched.add('velocity')
        self._pubs['set_target_velocity'].publish(Twist(linear=Vector3(x=float(speed))))
        self.listen(0.1)

    def goal(self, x: float, y: float) -> None:
        """Ask for a route."""
        msg = PoseStamped()
        msg.header.frame_id = 'map'
        msg.pose.position.x, msg.pose.position.y = x, y
        msg.pose.orientation.w = 1.0
        self._pubs['goal'].publish(msg)

    def restore(self) -> None:
        """Leave the vehicle standing: no override, no pause of ours, no velocity, the brake on."""
        if not self._touched:
            return
        if 'override' in self._touched:
            self.override(False)
        if 'pause' in self._touched:
            self.control_world(CarlaControl.PLAY)
        if 'velocity' in self._touched:
            self._pubs['set_target_velocity'].publish(Twist())
        self.listen(0.1)
        for _ in range(3):
            before = self.ticks
            self.command(BRAKE)
            self.until(lambda: self.ticks > before, 1.5 * self.patience)
        self.command(BRAKE)
        self.listen(0.1)
        self._touched.clear()
