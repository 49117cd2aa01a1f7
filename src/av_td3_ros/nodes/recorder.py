"""
Hands every message of some topics to a recording, as it came from the wire.

Nothing is decoded: the bytes in the bag are those that the others received.
"""

from pathlib import Path
import sysconfig
import time
from typing import Any, Dict, List, Sequence

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from av_td3_ros.bridge.qos_text import to_text
from av_td3_ros.bridge.watching import type_name, Watched
from av_td3_ros.recording.bag_writer import BagWriter
from av_td3_ros.recording.definitions import definition
from av_td3_ros.recording.metadata import BagTopic
from av_td3_ros.recording.recording import Recording

ADAPT_PERIOD = 1.0
# Deeper than the publishers': a moment of inattention costs memory here, and nothing else.
DEPTH = 100


class RecorderNode(Node):
    """Subscribes; :class:`~av_td3_ros.recording.recording.Recording` does the rest."""

    def __init__(
        self,
        topics: Sequence[Watched],
        writer: BagWriter,
        recording: Recording,
        **kwargs: Any,
    ) -> None:
        """
        Subscribe to topics, whether or not anybody publishes them yet.

        :param writer: gets to know the topics.
        :param recording: of that writer; gets the messages.
        :param kwargs: of ``rclpy.node.Node``.
        :raises DefinitionError: where the package of a message is not installed whole.
        """
        super().__init__('recorder', **kwargs)
        self.counts: Dict[str, int] = {}
        self._recording = recording
        self._subscriptions_by_name: Dict[str, Any] = {}
        for topic in topics:
            name = type_name(topic.type)
            writer.add_topic(
                BagTopic(topic.name, name, definition(name, share), to_text(topic.qos))
            )
            self.counts[topic.name] = 0
            self._subscribe(topic, topic.qos.reliability, topic.qos.durability)
        self._topics: List[Watched] = list(topics)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(ADAPT_PERIOD, self._adapt, clock=self._steady)

    def _subscribe(
        self, topic: Watched, reliability: ReliabilityPolicy, durability: DurabilityPolicy
    ) -> None:
        name = topic.name

        def take(data: bytes) -> None:
            self.counts[name] += 1
            self._recording.put(name, time.time_ns(), data)

        profile = QoSProfile(
            depth=max(DEPTH, topic.qos.depth), reliability=reliability, durability=durability
        )
        self._subscriptions_by_name[name] = self.create_subscription(
            topic.type, name, take, profile, raw=True
        )

    def _adapt(self) -> None:
        """Meet publishers that offer less than the table says, as many a camera driver does."""
        for topic in self._topics:
            current = self._subscriptions_by_name[topic.name]
            profile = current.qos_profile
            offered = [info.qos_profile for info in self.get_publishers_info_by_topic(topic.name)]
            weak = any(
                each.reliability == ReliabilityPolicy.BEST_EFFORT for each in offered or [profile]
            )
            fleeting = any(each.durability == DurabilityPolicy.VOLATILE for each in offered)
            if offered and self.counts[topic.name]:
                # Asked anew, who latches would say again what is recorded.
                fleeting |= profile.durability == DurabilityPolicy.VOLATILE
            wanted = (
                ReliabilityPolicy.BEST_EFFORT if weak else topic.qos.reliability,
                DurabilityPolicy.VOLATILE if fleeting else topic.qos.durability,
            )
            if (profile.reliability, profile.durability) != wanted:
                self.destroy_subscription(current)
                self._subscribe(topic, *wanted)


def share(package: str) -> Path:
    """
    Return the share folder of an installed package.

    :raises LookupError: where it is not installed.
    """
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(package))
    except (ImportError, LookupError, OSError):  # wheels install without an index of their own
        folder = Path(sysconfig.get_path('data'), 'share', package)
        if not folder.is_dir():
            raise LookupError(f'no package {package}') from None
        return folder
