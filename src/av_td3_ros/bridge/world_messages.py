"""
What the embedded simulator says, as the CARLA ROS bridge would say it.

Pure: a world in, messages out. Left-handed quantities are turned here, as in ``convert.py``.
"""

import math
from typing import List

from carla_msgs.msg import (
    CarlaActorInfo,
    CarlaActorList,
    CarlaCollisionEvent,
    CarlaEgoVehicleInfo,
    CarlaEgoVehicleInfoWheel,
    CarlaEgoVehicleStatus,
    CarlaLaneInvasionEvent,
)
from geometry_msgs.msg import TransformStamped, Vector3
from nav_msgs.msg import Odometry
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from av_td3_ros.bridge import convert, markers
from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.sim.traffic import FIRST_ID
from av_td3_ros.sim.vehicle import VehicleParams
from av_td3_ros.sim.world import Collision, World

EGO_ID = 100
EGO_TYPE = 'vehicle.tesla.model3'
TYPES = {
    'compact': 'vehicle.mini.cooper_s',
    'sedan': 'vehicle.lincoln.mkz_2020',
    'suv': 'vehicle.nissan.patrol',
    'van': 'vehicle.mercedes.sprinter',
    'truck': 'vehicle.carlamotors.carlacola',
}


def odometry(world: World, role: str, stamp: convert.Time) -> Odometry:
    """Return pose in the map and velocity in the body frame; covariances are nought."""
    state = world.state
    msg = Odometry(header=_in_map(stamp), child_frame_id=role)
    msg.pose.pose = convert.to_pose_msg(state.pose)
    msg.twist.twist.linear.x = float(state.speed)
    msg.twist.twist.linear.y = float(state.lateral_speed)
    msg.twist.twist.angular.z = float(state.yaw_rate)
    return msg


def vehicle_status(world: World, control: Control, stamp: convert.Time) -> CarlaEgoVehicleStatus:
    """Return unsigned speed, acceleration in the map and the control of the last tick."""
    state, vehicle = world.state, world.vehicle
    yaw, ahead, left = state.pose.yaw, vehicle.acceleration, vehicle.lateral_acceleration
    msg = CarlaEgoVehicleStatus(
        header=_in_map(stamp),
        velocity=math.hypot(state.speed, state.lateral_speed),
        orientation=convert.to_quaternion(state.pose),
    )
    msg.acceleration.linear.x = ahead * math.cos(yaw) - left * math.sin(yaw)
    msg.acceleration.linear.y = ahead * math.sin(yaw) + left * math.cos(yaw)
    msg.control = convert.to_control_msg(control, stamp)
    msg.control.gear = vehicle.gear
    msg.control.header = Header()  # the bridge leaves it empty
    return msg


def vehicle_info(params: VehicleParams, role: str) -> CarlaEgoVehicleInfo:
    """Return wheels (angles in rad, radius in cm) and mass."""
    half = params.width / 2 - 0.1
    wheels = [
        CarlaEgoVehicleInfoWheel(
            tire_friction=3.5,
            max_steer_angle=float(params.max_steer) if x > 0 else 0.0,
            radius=35.0,
            position=Vector3(x=x, y=y, z=0.0),
        )
        for x in (params.wheelbase / 2, -params.wheelbase / 2)
        for y in (half, -half)
    ]
    return CarlaEgoVehicleInfo(
        id=EGO_ID,
        type=EGO_TYPE,
        rolename=role,
        wheels=wheels,
        mass=float(params.mass),
        use_gear_autobox=True,
    )


def actor_list(world: World, role: str) -> CarlaActorList:
    """Return the vehicle and the traffic, so that collisions can be told apart."""
    ego = CarlaActorInfo(id=EGO_ID, parent_id=0, type=EGO_TYPE, rolename=role)
    others = [
        CarlaActorInfo(
            id=FIRST_ID + index, parent_id=0, type=TYPES[body.kind], rolename='autopilot'
        )
        for index, body in enumerate(world.traffic.bodies)
    ]
    return CarlaActorList(actors=[ego, *others])


def vehicle_markers(world: World, stamp: convert.Time) -> MarkerArray:
    """Return a box for the vehicle and for each of the traffic, to be looked at."""
    others = enumerate(world.others.tolist(), start=FIRST_ID)
    return markers.vehicles([(EGO_ID, world.box.tolist()), *others], EGO_ID, _in_map(stamp))


def collision(hit: Collision, role: str, stamp: convert.Time) -> CarlaCollisionEvent:
    """Return a hit; on this one topic the bridge leaves y as CARLA has it."""
    x, y, z = hit.impulse
    return CarlaCollisionEvent(
        header=Header(stamp=stamp, frame_id=f'{role}/collision'),
        other_actor_id=hit.other_actor_id,
        normal_impulse=Vector3(x=float(x), y=-float(y), z=float(z)),
    )


def lane_invasion(codes: List[int], role: str, stamp: convert.Time) -> CarlaLaneInvasionEvent:
    """Return the markings that were crossed."""
    return CarlaLaneInvasionEvent(
        header=Header(stamp=stamp, frame_id=f'{role}/lane_invasion'),
        crossed_lane_markings=[int(code) for code in codes],
    )


def transform(parent: str, child: str, pose: Pose, stamp: convert.Time) -> TransformStamped:
    """Return where ``child`` is in ``parent``."""
    place = convert.to_pose_msg(pose)
    msg = TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child)
    msg.transform.translation = Vector3(x=place.position.x, y=place.position.y, z=place.position.z)
    msg.transform.rotation = place.orientation
    return msg


def _in_map(stamp: convert.Time) -> Header:
    return Header(stamp=stamp, frame_id='map')
