"""The named qualities of service; ``topics.py`` says which topic has which."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


def _reliable(depth: int, latched: bool = False) -> QoSProfile:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=durability)


PROFILES = {
    # As the CARLA ROS bridge has them: reliable throughout, images too.
    'bridge': _reliable(10),
    'bridge_latched': _reliable(10, latched=True),
    # For cameras whose driver publishes so; reliable subscribers never hear those.
    'sensor': QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
    'latched': _reliable(1, latched=True),
    # Deep: a learner busy for seconds loses nothing.
    'transition': _reliable(1000),
}
