"""
What the bridge owes us, beyond name, type and quality of service of ``bridge/topics.py``.

Keys are those of that table. The texts say what to change where a topic is not as it must be.
"""

from typing import Dict

_SPAWN = 'list it in the objects file of carla_spawn_objects, as config/carla_objects.json does'

# What somebody must publish.
PUBLISHED: Dict[str, str] = {
    'clock': 'start carla_ros_bridge, or `ros2 launch av_td3_ros simulation.launch.py`',
    'status': 'start carla_ros_bridge; native CARLA ROS 2 has none: docs/carla_native_ros2.md',
    'world_info': 'start carla_ros_bridge; native CARLA ROS 2 has none',
    'actor_list': f'sensor.pseudo.actor_list is missing: {_SPAWN}',
    'image': f'sensor.camera.rgb with id rgb_front is missing: {_SPAWN}',
    'camera_info': f'sensor.camera.rgb with id rgb_front is missing: {_SPAWN}',
    'odometry': f'sensor.pseudo.odom with id odometry is missing: {_SPAWN}',
    'speedometer': f'sensor.pseudo.speedometer with id speedometer is missing: {_SPAWN}',
    'vehicle_status': 'the bridge takes the vehicle for no ego: pass ego_vehicle_role_name',
    'vehicle_info': 'the bridge takes the vehicle for no ego: pass ego_vehicle_role_name',
    'collision': f'sensor.other.collision with id collision is missing: {_SPAWN}',
    'lane_invasion': f'sensor.other.lane_invasion with id lane_invasion is missing: {_SPAWN}',
    'waypoints': 'start carla_waypoint_publisher with the same role_name',
}

# What somebody must listen to.
SUBSCRIBED: Dict[str, str] = {
    'vehicle_control_cmd': 'the bridge takes the vehicle for no ego: pass ego_vehicle_role_name',
    'vehicle_control_cmd_manual': 'the bridge takes the vehicle for no ego: pass '
    'ego_vehicle_role_name',
    'manual_override': 'the bridge takes the vehicle for no ego: pass ego_vehicle_role_name',
    'world_control': 'the bridge listens to it in synchronous mode alone, and not where passive '
    'is True: pass synchronous_mode:=True passive:=False',
    'weather_control': 'start carla_ros_bridge',
    'set_transform': f'actor.pseudo.control with id control is missing: {_SPAWN}',
    'set_target_velocity': f'actor.pseudo.control with id control is missing: {_SPAWN}',
    'goal': 'start carla_waypoint_publisher with the same role_name; the topic is goal, not '
    'goal_pose',
}

# What drives the vehicle. While the check runs nobody else may.
COMMANDED = ('vehicle_control_cmd', 'vehicle_control_cmd_manual')

# What may be there.
OPTIONAL = ('segmentation', 'segmentation_info', 'depth', 'depth_info')

# One message of each in every frame.
EVERY_FRAME = (
    'status',
    'clock',
    'actor_list',
    'image',
    'camera_info',
    'odometry',
    'speedometer',
    'vehicle_status',
)

# What carries the stamp of its frame; odometry is what the others are compared with.
STAMPED = ('image', 'camera_info', 'vehicle_status', 'segmentation', 'depth', 'imu')

ENCODINGS = {'image': ('bgra8', 4), 'segmentation': ('bgra8', 4), 'depth': ('32FC1', 4)}
CAMERAS = {
    'image': 'rgb_front',
    'segmentation': 'semantic_segmentation_front',
    'depth': 'depth_front',
}
# CarlaLaneInvasionEvent names 0 to 2; CARLA's enumeration ends at 10.
LANE_CODES = range(11)

# Said of a world that stands.
NO_FRAME = 'no frame came'

# What is done to the vehicle, in this order.
EXPERIMENTS = ('handshake', 'override', 'drive', 'pause', 'reset', 'route', 'collision')
