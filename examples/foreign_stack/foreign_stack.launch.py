"""
A small stack of somebody else's, with our policy in it: remapping alone.

``ros2 launch examples/foreign_stack/foreign_stack.launch.py artefact:=policy.avtd3``, then a goal,
as there is no route without one and nothing to engage without a route:

``ros2 topic pub --once /planning/goal geometry_msgs/msg/PoseStamped '{pose: {position: {x: 6.0, y:
-58.0}}}'``, then ``ros2 service call /av_td3/policy/engage std_srvs/srv/SetBool '{data: true}'``.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetRemap
from launch_ros.substitutions import FindPackageShare
import yaml

GIVEN = ('artefact', 'checkpoint', 'observation')
TOPICS = yaml.safe_load((Path(__file__).parent / 'topics.yaml').read_text())


def generate_launch_description() -> LaunchDescription:
    """Return the stack."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'artefact', default_value='', description='file of `av-td3 export`'
            ),
            DeclareLaunchArgument(
                'checkpoint', default_value='', description='or a checkpoint folder'
            ),
            DeclareLaunchArgument(
                'observation',
                default_value='',
                description="'camera' where it was trained so; empty: 'waypoints'",
            ),
            vehicle(),
            policy(),
        ]
    )


def vehicle() -> Node:
    """Return what has the camera and the wheels: put your own nodes here."""
    return Node(
        package='av_td3_ros',
        executable='simulator_node',
        name='vehicle',
        remappings=list({**TOPICS['ours'], **TOPICS['theirs']}.items()),
        parameters=[{'autostart': True, 'wait_for_vehicle_control_command': False}],
        output='screen',
    )


def policy() -> GroupAction:
    """Return perception and policy under this stack's names: copy this."""
    deploy = PythonLaunchDescriptionSource(
        [FindPackageShare('av_td3_ros'), '/launch/deploy.launch.py']
    )
    arguments = {name: LaunchConfiguration(name) for name in GIVEN}
    arguments['use_sim_time'] = 'true'  # this vehicle is a simulation; leave it out in a real one
    return GroupAction(
        [
            *(SetRemap(src=theirs, dst=here) for theirs, here in TOPICS['ours'].items()),
            IncludeLaunchDescription(deploy, launch_arguments=arguments.items()),
        ]
    )
