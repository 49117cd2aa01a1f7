"""Inputs that somebody else should publish: what the graph says where one does not come."""

import difflib
import math
from typing import Dict, NamedTuple, Optional, Tuple

from av_td3_ros.bridge.topics import topic_name, TOPICS
from av_td3_ros.bridge.watching import type_name
from av_td3_ros.nodes.base import DISCOVERY, ERROR, GraphNode, now, OK, WARN

MOST_NAMED = 3
# At a start programs come one after the other: so long it is nothing to speak of that the graph
# does not know one of them, s.
GRACE = DISCOVERY


class Input(NamedTuple):
    """
    A topic of somebody else.

    :param what: it brings, in a word.
    :param topic: its name after remapping. :param default: that before.
    :param kinds: names of types: its own, then those that might be meant as well.
    :param called: what is waited for, in words.
    :param patient: whether who publishes it may take his time.
    :param advice: what else to say where it is published with another type.
    """

    what: str
    topic: str
    default: str
    kinds: Tuple[str, ...]
    called: str = ''
    patient: bool = False
    advice: str = ''

    def silent(self, node: GraphNode, seconds: float) -> str:
        """Return that nothing came for a time, s, and what the graph says about it."""
        own = {made.topic_name for made in node.publishers}
        published = {
            name: types
            for name, types in node.get_topic_names_and_types()
            if name == self.topic or set(types) & set(self.kinds)
            if name not in own and node.count_publishers(name)
        }
        said = f'no {self.what} for {seconds:.1f} s on {self.topic}: '
        if self.topic in published:
            others = [kind for kind in published[self.topic] if kind != self.kinds[0]]
            if others:
                kinds = ', '.join(others)
                return f'{said}it is published as {kinds}, not {self.kinds[0]}{self.advice}'
            return f'{said}its publisher is silent ({", ".join(_speakers(node, self.topic))})'
        near = difflib.get_close_matches(self.topic, published, n=MOST_NAMED, cutoff=0.0)
        there = f'there is {", ".join(near)}' if near else f'nor any other {self.what}'
        return f'{said}nobody publishes it, {there}; remap {self.default}'


class Awaited:
    """What a frame waits for: said on /diagnostics at once, and on the log once it is late."""

    def __init__(self, node: GraphNode) -> None:
        """:param node: configured; in a training graph, which waits in step, nothing is late."""
        self._node = node
        self._grace = math.inf if node.config.episodes else GRACE
        self._source: Optional[Input] = None
        self._since = 0.0
        self._said: Optional[Tuple[bytes, str]] = None

    def expect(self, source: Optional[Input]) -> None:
        """Wait, or go on waiting, for an input; None where nothing is missing."""
        if source is not self._source:
            self._source, self._since = source, now()

    def told(self) -> Tuple[bytes, str]:
        """Return level and message for /diagnostics; '' where nothing is waited for."""
        if self._source is None:
            return OK, ''
        if not self._is_late:
            return WARN, f'waiting for {self._source.called}'
        comes = self._source.patient and self._node.count_publishers(self._source.topic)
        return WARN if comes else ERROR, self._source.silent(self._node, now() - self._since)

    def watch(self) -> None:
        """Say once on the log what is late; call it now and then."""
        level, text = self.told() if self._is_late else (OK, '')
        before, self._said = self._said, (level, self._source.what) if text else None
        if not text or self._said == before:
            return
        if level == ERROR:
            self._node.get_logger().error(text)
        else:
            self._node.get_logger().warning(text)

    @property
    def _is_late(self) -> bool:
        waits = self._node.active and self._source is not None
        return waits and now() - self._since > self._grace


def inputs(node: GraphNode) -> Dict[str, Input]:
    """Return what perception needs beside its camera, by the keys of the table of topics."""
    made = {}
    for key, what, called, patient in (
        ('odometry', 'odometry', 'odometry', False),
        ('waypoints', 'route', 'a route', True),  # nobody may have asked the planner for one yet
        ('world_info', 'map', 'the map of /carla/world_info', False),
    ):
        name = topic_name(key, node.config.role_name)
        kinds = (type_name(TOPICS[key].type),)
        made[key] = Input(what, node.resolve_topic_name(name), name, kinds, called, patient)
    return made


def _speakers(node: GraphNode, topic: str) -> Tuple[str, ...]:
    found = node.get_publishers_info_by_topic(topic)
    return tuple(sorted({f'{one.node_namespace.rstrip("/")}/{one.node_name}' for one in found}))
