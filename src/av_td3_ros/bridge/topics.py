"""
Every topic and service of the graph, once: name, type, quality of service, expected rate.

Nodes, the README table, staleness limits and tests read this table. Names in ``/carla/`` are the
CARLA ROS bridge's own and therefore absolute; ours are relative to the namespace of the graph.
"""

from typing import Any, Dict, NamedTuple

from av_td3_msgs.msg import (
    Action,
    EpisodeResult,
    EpisodeState,
    Observation,
    PolicyStatus,
    PolicyWeights,
    TrainingStatus,
    Transition,
)
from av_td3_msgs.srv import SaveCheckpoint, SetMode, SetPaused
from carla_msgs.msg import (
    CarlaActorList,
    CarlaCollisionEvent,
    CarlaControl,
    CarlaEgoVehicleControl,
    CarlaEgoVehicleInfo,
    CarlaEgoVehicleStatus,
    CarlaLaneInvasionEvent,
    CarlaStatus,
    CarlaWeatherParameters,
    CarlaWorldInfo,
)
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose, PoseStamped, Twist
from nav_msgs.msg import Odometry, Path
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, Float32
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from av_td3_ros.bridge import qos


class Topic(NamedTuple):
    """
    One topic.

    ``name``: with ``{role_name}`` where the bridge has one. ``qos``: a name from
    ``bridge/qos.py``. ``rate``: what sets the pace, for people. ``purpose``: for the README.
    """

    name: str
    type: Any
    qos: str
    rate: str
    purpose: str


class Service(NamedTuple):
    """One service, relative to the node that offers it."""

    name: str
    type: Any
    purpose: str


EGO = '/carla/{role_name}'
FRAME, EVENT, ONCE, CHANGE = 'every frame', 'on event', 'once', 'on change'

TOPICS: Dict[str, Topic] = {
    # CARLA ROS bridge
    'clock': Topic('/clock', Clock, 'bridge', FRAME, 'simulated time'),
    'status': Topic(
        '/carla/status', CarlaStatus, 'bridge', FRAME, 'frame number, step size, paused or not'
    ),
    'world_info': Topic(
        '/carla/world_info', CarlaWorldInfo, 'bridge_latched', ONCE, 'map name and OpenDRIVE'
    ),
    'world_control': Topic(
        '/carla/control', CarlaControl, 'bridge', EVENT, 'play, pause, step once'
    ),
    'weather_control': Topic(
        '/carla/weather_control', CarlaWeatherParameters, 'bridge', EVENT, 'sets the weather'
    ),
    'actor_list': Topic(
        '/carla/actor_list', CarlaActorList, 'bridge', FRAME, 'ids, to classify collisions'
    ),
    'markers': Topic(
        '/carla/markers', MarkerArray, 'bridge', FRAME, 'a box for every vehicle, where watched'
    ),
    'image': Topic(f'{EGO}/rgb_front/image', Image, 'bridge', FRAME, 'front camera, bgra8'),
    'image_compressed': Topic(
        f'{EGO}/rgb_front/image/compressed',
        CompressedImage,
        'bridge',
        FRAME,
        'the same instead, jpeg or png (perception.camera.transport)',
    ),
    'camera_info': Topic(
        f'{EGO}/rgb_front/camera_info', CameraInfo, 'bridge', FRAME, 'intrinsics'
    ),
    'segmentation': Topic(
        f'{EGO}/semantic_segmentation_front/image',
        Image,
        'bridge',
        FRAME,
        "classes in CARLA's colours, bgra8 (simulator.segmentation)",
    ),
    'segmentation_info': Topic(
        f'{EGO}/semantic_segmentation_front/camera_info',
        CameraInfo,
        'bridge',
        FRAME,
        'intrinsics of that',
    ),
    'depth': Topic(
        f'{EGO}/depth_front/image', Image, 'bridge', FRAME, 'metres, 32FC1 (simulator.depth)'
    ),
    'depth_info': Topic(
        f'{EGO}/depth_front/camera_info', CameraInfo, 'bridge', FRAME, 'intrinsics of that'
    ),
    'odometry': Topic(
        f'{EGO}/odometry', Odometry, 'bridge', FRAME, 'pose in map, velocity in the body frame'
    ),
    'speedometer': Topic(f'{EGO}/speedometer', Float32, 'bridge', FRAME, 'forward speed'),
    'vehicle_status': Topic(
        f'{EGO}/vehicle_status',
        CarlaEgoVehicleStatus,
        'bridge',
        FRAME,
        'speed, acceleration, last control',
    ),
    'vehicle_info': Topic(
        f'{EGO}/vehicle_info', CarlaEgoVehicleInfo, 'bridge_latched', ONCE, 'wheels, mass, limits'
    ),
    'collision': Topic(
        f'{EGO}/collision', CarlaCollisionEvent, 'bridge', EVENT, 'impulse and other actor'
    ),
    'lane_invasion': Topic(
        f'{EGO}/lane_invasion', CarlaLaneInvasionEvent, 'bridge', EVENT, 'markings crossed'
    ),
    'waypoints': Topic(f'{EGO}/waypoints', Path, 'latched', CHANGE, 'the route, about 1 m apart'),
    'goal': Topic(f'{EGO}/goal', PoseStamped, 'bridge', EVENT, 'asks for a route to here'),
    'vehicle_control_cmd': Topic(
        f'{EGO}/vehicle_control_cmd',
        CarlaEgoVehicleControl,
        'bridge',
        FRAME,
        'the one command per frame',
    ),
    'vehicle_control_cmd_manual': Topic(
        f'{EGO}/vehicle_control_cmd_manual',
        CarlaEgoVehicleControl,
        'bridge',
        EVENT,
        'drives instead while the override is on',
    ),
    'manual_override': Topic(
        f'{EGO}/vehicle_control_manual_override',
        Bool,
        'latched',
        CHANGE,
        'whether the manual command drives',
    ),
    'set_transform': Topic(
        f'{EGO}/control/set_transform', Pose, 'bridge', EVENT, 'puts the vehicle somewhere'
    ),
    'set_target_velocity': Topic(
        f'{EGO}/control/set_target_velocity', Twist, 'bridge', EVENT, 'sets its velocity'
    ),
    # ours
    'observation': Topic('observation', Observation, 'bridge', FRAME, 'what the policy sees'),
    'action': Topic('action', Action, 'bridge', FRAME, 'what the policy commanded'),
    'episode_state': Topic(
        'episode_state', EpisodeState, 'bridge', FRAME, 'numbering, reward, progress'
    ),
    'episode_result': Topic(
        'episode_result', EpisodeResult, 'transition', EVENT, 'a finished episode'
    ),
    'transition': Topic(
        'transition', Transition, 'transition', FRAME, 'experience for the learner'
    ),
    'policy_weights': Topic(
        'policy_weights', PolicyWeights, 'latched', EVENT, 'weights with hash and spec'
    ),
    'policy_status': Topic(
        'policy_status', PolicyStatus, 'latched', '1 Hz', 'version that drives, refusals'
    ),
    'training_status': Topic(
        'training_status', TrainingStatus, 'bridge', '>= 5 Hz', 'progress and pacing'
    ),
    'diagnostics': Topic(
        '/diagnostics', DiagnosticArray, 'bridge', '1 Hz', 'health of every node'
    ),
    'cmd_vel': Topic(
        'cmd_vel', Twist, 'bridge', FRAME, 'speed and yaw rate (policy.output: twist)'
    ),
    # for people; `~` is the publishing node
    'debug_stack': Topic(
        '~/debug/stack', Image, 'bridge', '<= 10 Hz', 'the stack that the policy sees'
    ),
    'debug_markers': Topic(
        '~/debug/markers', MarkerArray, 'latched', CHANGE, 'route and goal for rviz'
    ),
    # of watch_node, which stands beside the graph
    'watch_markers': Topic(
        'watch/markers', MarkerArray, 'bridge', '<= 10 Hz', 'planned control, Q and features'
    ),
    'watch_steering': Topic('watch/steering', Float32, 'bridge', '<= 10 Hz', 'to be plotted'),
    'watch_acceleration': Topic(
        'watch/acceleration', Float32, 'bridge', '<= 10 Hz', 'to be plotted'
    ),
    'watch_q_policy': Topic(
        'watch/q_policy', Float32, 'bridge', '1 Hz', 'mean Q of what the policy would do'
    ),
    'watch_q_replay': Topic(
        'watch/q_replay', Float32, 'bridge', '1 Hz', 'mean Q of what was done'
    ),
    'watch_feature_norm': Topic(
        'watch/feature_norm', Float32, 'bridge', '1 Hz', 'mean L2 norm of the features'
    ),
}

SERVICES: Dict[str, Service] = {
    'save_checkpoint': Service('~/save_checkpoint', SaveCheckpoint, 'write a checkpoint now'),
    'set_paused': Service('~/set_paused', SetPaused, 'pause the world, or let it go on'),
    'engage': Service('~/engage', SetBool, 'policy: drive, or hand the car over'),
    'set_mode': Service('~/set_mode', SetMode, 'training or evaluation, from the next episode on'),
}


def topic_name(key: str, role_name: str) -> str:
    """Return a topic's name for one vehicle."""
    return TOPICS[key].name.format(role_name=role_name)


def topic_qos(key: str) -> Any:
    """Return a topic's quality of service."""
    return qos.PROFILES[TOPICS[key].qos]
