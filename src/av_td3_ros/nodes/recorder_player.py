"""
Plays a bag back onto the graph, as it came, in its own time or another.

A recorded command is still a command: what somebody may obey is left out unless it is asked for,
and nothing is played where somebody else publishes the same topic.
"""

import time
from typing import Any, Callable, Collection, Dict, List

from rclpy.node import Node

from av_td3_ros.bridge.qos_text import from_text
from av_td3_ros.bridge.watching import is_obeyed, message_class
from av_td3_ros.recording.bag_reader import BagReader
from av_td3_ros.recording.bag_writer import BagError
from av_td3_ros.recording.metadata import BagTopic

NANOSECONDS = 1e9


class PlayerNode(Node):
    """``left_out``: topics that are not played, with the reason."""

    def __init__(
        self, reader: BagReader, chosen: Collection[str], commands: bool, **kwargs: Any
    ) -> None:
        """
        Make the publishers.

        :param chosen: full names; empty for all that nobody obeys.
        :param commands: play what is obeyed, too.
        :param kwargs: of ``rclpy.node.Node``.
        :raises BagError: where nothing is left to play.
        """
        super().__init__('player', **kwargs)
        self.left_out: Dict[str, str] = {}
        self.played = 0
        self._reader = reader
        topics = reader.topics()
        missing = sorted(set(chosen) - set(topics))
        if missing:
            raise BagError(
                f'--topics must be in {reader.path}, got {", ".join(missing)}, expected some of '
                f'{", ".join(sorted(topics))}'
            )
        self._pubs: Dict[str, Any] = {}
        for topic in topics.values():
            why = self._why_not(topic, chosen, commands)
            if why:
                self.left_out[topic.name] = why
            else:
                self._pubs[topic.name] = self.create_publisher(
                    message_class(topic.type), topic.name, from_text(topic.qos)
                )
        if not self._pubs:
            raise BagError(f'{reader.path} must hold a topic to play, got {self.left_out}')

    def twins(self) -> List[str]:
        """Return the topics that somebody else publishes, too."""
        return [name for name in self._pubs if self.count_publishers(name) > 1]

    def play(self, rate: float, spin: Callable[[float], None]) -> None:
        """
        Play from the first to the last message.

        :param rate: 2 plays in half the time.
        :param spin: spends that many seconds, or less, with the graph.
        :raises BagError: where the bag is damaged.
        """
        first, begun = 0, 0.0
        for message in self._reader.messages():
            publisher = self._pubs.get(message.topic.name)
            if publisher is None:
                continue
            if not self.played:
                first, begun = message.received, time.monotonic()
            due = begun + (message.received - first) / NANOSECONDS / rate
            while (left := due - time.monotonic()) > 0.0:
                spin(left)
            publisher.publish(message.data)
            self.played += 1

    @staticmethod
    def _why_not(topic: BagTopic, chosen: Collection[str], commands: bool) -> str:
        if chosen and topic.name not in chosen:
            return 'not chosen'
        if not chosen and not commands and is_obeyed(topic.name):
            return 'somebody may obey it'
        if message_class(topic.type) is None:
            return f'{topic.type} is not installed'
        return ''
