"""
Subscriptions to what somebody else publishes, with the quality of service that they have.

DDS brings nothing from a best-effort publisher to a reliable subscriber. Best effort for all would
lose what is reliable now: each topic is heard reliably until all who publish it are best effort.
"""

from typing import Any, Callable, Dict

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from av_td3_ros.bridge.qos import PROFILES
from av_td3_ros.nodes.base import GraphNode


class Hearing:
    """Call ``adapt`` now and then: publishers come and go."""

    def __init__(self, node: GraphNode) -> None:
        """:param node: whose subscriptions these are."""
        self._node = node
        self._subscriptions: Dict[str, Any] = {}

    def subscribe(
        self,
        topic: str,
        kind: Any,
        callback: Callable[[Any], None],
        profile: str = 'bridge',
        may_latch: bool = False,
    ) -> None:
        """
        Subscribe to a topic.

        :param topic: its name after remapping.
        :param kind: its type.
        :param callback: gets every message.
        :param profile: a name from ``bridge/qos.py``, to begin with.
        :param may_latch: whether to ask for what was said before, where all who publish keep it.
        """
        made = self._node.create_subscription(kind, topic, callback, PROFILES[profile])
        self._subscriptions[topic] = made, kind, callback, profile, may_latch

    def adapt(self) -> None:
        """Subscribe to each topic as all who publish it do, where they are not heard otherwise."""
        for topic in list(self._subscriptions):
            self._adapt(topic)

    def close(self) -> None:
        """Let go of the subscriptions."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.popitem()[1][0])

    def _adapt(self, topic: str) -> None:
        speakers = self._node.get_publishers_info_by_topic(topic)
        profiles = [one.qos_profile for one in speakers]
        if not profiles:
            return
        subscription, kind, callback, present, may_latch = self._subscriptions[topic]
        wanted = 'bridge'
        if all(one.reliability == ReliabilityPolicy.BEST_EFFORT for one in profiles):
            wanted = 'sensor'
        elif may_latch and all(
            one.durability == DurabilityPolicy.TRANSIENT_LOCAL for one in profiles
        ):
            wanted = 'latched'  # some drivers say it once
        if wanted != present:
            self._node.destroy_subscription(subscription)
            self.subscribe(topic, kind, callback, wanted, may_latch)
            self._node.get_logger().info(f'{topic} is heard as it is published: {wanted}')
