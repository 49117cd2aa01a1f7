"""The embedded simulator alone, for a driving stack of one's own."""

from av_td3_ros.nodes.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """
    Return the graph; arguments with ``ros2 launch av_td3_ros simulation.launch.py --show-args``.
    """
    return describe('simulation')
