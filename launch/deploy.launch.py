"""Perception and policy alone, for somebody else's driving stack."""

from av_td3_ros.nodes.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return the graph; arguments with ``ros2 launch av_td3_ros deploy.launch.py --show-args``."""
    return describe('deploy')
