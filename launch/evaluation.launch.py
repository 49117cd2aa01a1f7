"""Drive a checkpoint on random routes, without learning."""

from av_td3_ros.nodes.launching import describe
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """
    Return the graph; arguments with ``ros2 launch av_td3_ros evaluation.launch.py --show-args``.
    """
    return describe('evaluation')
