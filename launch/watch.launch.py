"""Watch a running graph: what draws planned control and health, and rviz, and rqt if asked for."""

from typing import Any, List

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from av_td3_ros import graph
from av_td3_ros.resources import PACKAGE, share


def generate_launch_description() -> LaunchDescription:
    """
    Return the programs; arguments with ``ros2 launch av_td3_ros watch.launch.py --show-args``.
    """
    return LaunchDescription(
        [
            DeclareLaunchArgument('namespace', default_value=graph.NAMESPACE),
            DeclareLaunchArgument('role_name', default_value='ego_vehicle'),
            DeclareLaunchArgument('rviz', default_value='true'),
            DeclareLaunchArgument('rqt', default_value='false'),
            OpaqueFunction(function=programs),
        ]
    )


def programs(context: LaunchContext) -> List[Any]:
    """Return the programs, each with its enclave where security is on."""
    namespace = LaunchConfiguration('namespace').perform(context)
    return [
        Node(
            package=PACKAGE,
            executable='watch_node',
            name='watch',
            namespace=namespace,
            parameters=[{'role_name': LaunchConfiguration('role_name')}],
            ros_arguments=graph.enclave('watch', namespace),
            output='screen',
        ),
        _window('rviz2', '-d', 'av_td3.rviz', 'rviz', graph.enclave('rviz', namespace)),
        _window(
            'rqt_gui',
            '--perspective-file',
            'av_td3.perspective',
            'rqt',
            graph.enclave('watcher', namespace),
        ),
    ]


def _window(program: str, flag: str, file: str, asked_by: str, enclave: List[str]) -> Node:
    """Return a program with its file of ``config/``; it comes where the argument says so."""
    return Node(
        package=program,
        executable=program,
        arguments=[flag, str(share('config', file))],
        ros_arguments=enclave,
        condition=IfCondition(LaunchConfiguration(asked_by)),
    )
