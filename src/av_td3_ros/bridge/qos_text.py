"""Qualities of service as rosbag2 keeps them: YAML in a string, values by number, as in Humble."""

from typing import Any, Dict

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
import yaml

UNLIMITED = {'sec': 9223372036, 'nsec': 854775807}
DEEPEST = 10_000
# Before Jazzy by number, since then by name; both are read.
RELIABILITY = {
    1: ReliabilityPolicy.RELIABLE,
    2: ReliabilityPolicy.BEST_EFFORT,
    'reliable': ReliabilityPolicy.RELIABLE,
    'best_effort': ReliabilityPolicy.BEST_EFFORT,
}
DURABILITY = {
    1: DurabilityPolicy.TRANSIENT_LOCAL,
    2: DurabilityPolicy.VOLATILE,
    'transient_local': DurabilityPolicy.TRANSIENT_LOCAL,
    'volatile': DurabilityPolicy.VOLATILE,
}


def to_text(profile: QoSProfile) -> str:
    """Return a profile as rosbag2 keeps it."""
    offered = {
        'history': int(profile.history),
        'depth': profile.depth,
        'reliability': int(profile.reliability),
        'durability': int(profile.durability),
        'deadline': UNLIMITED,
        'lifespan': UNLIMITED,
        'liveliness': 1,
        'liveliness_lease_duration': UNLIMITED,
        'avoid_ros_namespace_conventions': False,
    }
    return yaml.dump([offered], Dumper=_Plain, sort_keys=False)


def from_text(text: str) -> QoSProfile:
    """Return what a bag says of a topic; what it does not say is reliable and volatile."""
    offered: Dict[str, Any] = {}
    try:
        found = yaml.safe_load(text)
        offered = found[0] if isinstance(found, list) and isinstance(found[0], dict) else {}
    except (yaml.YAMLError, IndexError):
        pass
    depth = offered.get('depth', 10)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=min(max(depth, 1), DEEPEST) if isinstance(depth, int) else 10,
        reliability=RELIABILITY.get(offered.get('reliability'), ReliabilityPolicy.RELIABLE),
        durability=DURABILITY.get(offered.get('durability'), DurabilityPolicy.VOLATILE),
    )


class _Plain(yaml.SafeDumper):
    """Without anchors, which not every reader knows."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
