"""
Messages to core types and back. Every left-handed quantity of the bridge is turned right-handed
here.

The only one on our topics is steering: the bridge's command has + to the right.
"""

import array
import math
from typing import Any, Dict, Tuple

from av_td3_msgs.msg import (
    Action,
    EpisodeResult,
    EpisodeState,
    Observation,
    PolicyWeights,
    Transition,
)
from builtin_interfaces.msg import Time
from carla_msgs.msg import CarlaEgoVehicleControl, CarlaWeatherParameters
import geometry_msgs.msg
from nav_msgs.msg import Odometry, Path
import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from av_td3_ros.bridge import bounds
from av_td3_ros.datatypes import check_range, Control, ObsSpec, Pose, SpecError, VehicleState
from av_td3_ros.driving import episode_machine as machine
from av_td3_ros.driving.episode import SUMMARY
from av_td3_ros.driving.route import Route
from av_td3_ros.learning_config import ExplorationConfig
from av_td3_ros.options import build
from av_td3_ros.sim.weather import Weather

NANOSECONDS = 1_000_000_000


def to_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def from_ns(stamp: int) -> Time:
    """Return nanoseconds as a stamp, the last or first one where it is beyond."""
    seconds, rest = divmod(stamp, NANOSECONDS)
    return Time(sec=min(max(seconds, -(2**31)), 2**31 - 1), nanosec=rest)


def to_bytes(values: np.ndarray) -> array.array:
    """
    Return an array as ``uint8[]``; rclpy copies an ``array.array`` fast, anything else slowly.
    """
    data = array.array('B')
    data.frombytes(memoryview(np.ascontiguousarray(values)).cast('B'))
    return data


# -- attitude and motion --------------------------------------------------------------------------


def to_quaternion(pose: Pose) -> geometry_msgs.msg.Quaternion:
    """Return roll, pitch, yaw (rad) as a quaternion."""
    cr, sr = math.cos(pose.roll / 2), math.sin(pose.roll / 2)
    cp, sp = math.cos(pose.pitch / 2), math.sin(pose.pitch / 2)
    cy, sy = math.cos(pose.yaw / 2), math.sin(pose.yaw / 2)
    return geometry_msgs.msg.Quaternion(
        w=cr * cp * cy + sr * sp * sy,
        x=sr * cp * cy - cr * sp * sy,
        y=cr * sp * cy + sr * cp * sy,
        z=cr * cp * sy - sr * sp * cy,
    )


def to_pose_msg(pose: Pose) -> geometry_msgs.msg.Pose:
    """Return a pose as a message."""
    point = geometry_msgs.msg.Point(x=float(pose.x), y=float(pose.y), z=float(pose.z))
    return geometry_msgs.msg.Pose(position=point, orientation=to_quaternion(pose))


def from_pose_msg(msg: geometry_msgs.msg.Pose) -> Pose:
    """Return a message as a pose."""
    q, p = msg.orientation, msg.position
    if not all(math.isfinite(value) for value in (q.w, q.x, q.y, q.z)):
        return Pose(p.x, p.y, p.z, math.nan)
    yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (q.w * q.y - q.z * q.x))))
    roll = math.atan2(2 * (q.w * q.x + q.y * q.z), 1 - 2 * (q.x * q.x + q.y * q.y))
    return Pose(p.x, p.y, p.z, yaw, pitch, roll)


def from_odometry(msg: Odometry) -> VehicleState:
    """
    Return odometry as a vehicle state; linear velocity is in the body frame.

    :raises SpecError: where a number in it is not finite, or is that of no vehicle, and where the
        orientation is none.
    """
    state = VehicleState(
        from_pose_msg(msg.pose.pose), msg.twist.twist.linear.x, msg.twist.twist.angular.z
    )
    bounds.check_state(state)
    bounds.check_orientation(msg.pose.pose.orientation)
    return state


# -- camera ---------------------------------------------------------------------------------------


def to_image(pixels: np.ndarray, encoding: str, header: Any) -> Image:
    """Return (rows, columns[, channels]), in the encoding's own type, as an image message."""
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=to_bytes(pixels),
    )


def to_camera_info(width: int, height: int, fov_deg: float, header: Any) -> CameraInfo:
    """Return the intrinsics of an ideal pinhole camera, square pixels, centre in the middle."""
    focal = width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
    cx, cy = width / 2.0, height / 2.0
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


# -- control --------------------------------------------------------------------------------------


def to_control_msg(control: Control, stamp: Time) -> CarlaEgoVehicleControl:
    """Return a control as the bridge's command, whose steering is positive to the right."""
    msg = CarlaEgoVehicleControl(
        throttle=control.throttle,
        brake=control.brake,
        steer=-control.steering,
        hand_brake=control.hand_brake,
        reverse=control.reverse,
        gear=control.gear,
        manual_gear_shift=control.manual_gear_shift,
    )
    msg.header.stamp = stamp
    return msg


def from_control_msg(msg: CarlaEgoVehicleControl) -> Control:
    """
    Return the bridge's command as a control; values beyond the limits are clipped, NaN brakes.
    """
    if not all(math.isfinite(value) for value in (msg.throttle, msg.brake, msg.steer)):
        return Control(brake=1.0)
    return Control(
        min(max(msg.throttle, 0.0), 1.0),
        min(max(msg.brake, 0.0), 1.0),
        min(max(-msg.steer, -1.0), 1.0),
        msg.hand_brake,
        msg.reverse,
        msg.gear,
        msg.manual_gear_shift,
    )


# -- weather --------------------------------------------------------------------------------------


def from_weather_msg(msg: CarlaWeatherParameters) -> Weather:
    """
    Return a weather message as weather.

    :raises ValueError: where a value is no number or out of range.
    """
    values = {name: float(getattr(msg, name)) for name in Weather._fields}
    if math.isfinite(values['sun_azimuth_angle']):
        values['sun_azimuth_angle'] %= 360.0  # CARLA's own presets have -1
    return Weather(**values).check()


# -- route ----------------------------------------------------------------------------------------


def from_path(msg: Path) -> Route:
    """
    Return a path as a route.

    :raises SpecError: for fewer than two points, too many, or one that is nowhere.
    """
    bounds.check_count(msg)
    points = np.array(
        [(p.pose.position.x, p.pose.position.y) for p in msg.poses], np.float64
    ).reshape(-1, 2)
    bounds.check_points(points)
    try:
        return Route.from_points(points)
    except ValueError as error:
        raise SpecError(f'{error}; check the waypoints topic') from None


def to_path(route: Route, stamp: Time) -> Path:
    """Return a route as a path in the map frame."""
    msg = Path()
    msg.header.frame_id = 'map'
    msg.header.stamp = stamp
    for (x, y), yaw in zip(route.points.tolist(), route.yaw.tolist()):
        msg.poses.append(geometry_msgs.msg.PoseStamped(pose=to_pose_msg(Pose(x, y, 0.0, yaw))))
    return msg


# -- our messages ---------------------------------------------------------------------------------


def to_image_stack(msg: Observation, spec: ObsSpec) -> Tuple[np.ndarray, np.ndarray]:
    """
    Return an observation message as ((stack, height, width) uint8, (n,) float32), without a copy.

    :raises SpecError: where it follows another specification.
    """
    size = math.prod(spec.image_shape)
    if msg.spec != spec.digest or len(msg.image) != size or len(msg.vector) != spec.vector_size:
        raise SpecError(
            f'observation must follow specification {spec.digest} ({size} pixels, '
            f'{spec.vector_size} values), got {msg.spec} ({len(msg.image)} pixels, '
            f'{len(msg.vector)} values); give perception, policy and trainer the same '
            'observation.param.yaml'
        )
    vector = np.frombuffer(msg.vector, np.float32)
    check_range(spec, vector)
    return np.frombuffer(msg.image, np.uint8).reshape(spec.image_shape), vector


def to_transition(step: machine.Experience, publisher: int, sequence: int) -> Transition:
    """Return one step of experience as a message."""
    msg = Transition(
        publisher=publisher,
        sequence=sequence,
        episode_id=step.episode_id,
        step_id=step.step_id,
        policy_version=step.policy_version,
        action=np.asarray(step.action, np.float32),
        reward=float(step.reward),
        outcome=int(step.outcome),
        frame=to_bytes(step.frame),
        vector=array.array('f', step.vector.tobytes()),
        privileged=array.array('f', step.privileged.tobytes()),
    )
    msg.header.stamp = from_ns(step.stamp)
    return msg


def to_episode_state(state: machine.FrameState) -> EpisodeState:
    """Return the numbering and verdict of a frame as a message."""
    position = state.position
    msg = EpisodeState(
        episode_id=state.episode_id,
        step_id=state.step_id,
        phase=int(state.phase),
        mode=int(state.mode),
        policy_version=state.policy_version,
        route_stamp=from_ns(state.route_stamp),
        steering=float(state.steering),
        reward=float(state.reward),
        reward_terms=list(state.terms),
        reward_values=[float(v) for v in state.terms.values()],
        episode_return=float(state.episode_return),
        route_completion=float(state.route_completion),
        speed=float(state.speed),
        lateral_deviation=float(position.lateral_deviation) if position else 0.0,
        heading_error=float(position.heading_error) if position else 0.0,
    )
    msg.header.stamp = from_ns(state.stamp)
    msg.header.frame_id = 'map'
    return msg


def to_episode_result(ended: machine.Ended, route: str) -> EpisodeResult:
    """Return a finished episode on a route of some name as a message."""
    episode = ended.episode
    trail = episode.measures.trail.points
    msg = EpisodeResult(
        episode_id=ended.episode_id,
        mode=int(ended.mode),
        outcome=ended.outcome,
        reason=ended.reason,
        route=route,
        route_length=float(episode.route.length),
        **episode.summary,
        policy_version=ended.policy_version,
        trail_x=[float(x) for x, _ in trail],
        trail_y=[float(y) for _, y in trail],
        reward_terms=list(episode.term_sums),
        reward_sums=[float(v) for v in episode.term_sums.values()],
    )
    msg.header.stamp = from_ns(ended.stamp)
    return msg


def exploration(msg: PolicyWeights) -> ExplorationConfig:
    """
    Return how the trainer wants to explore.

    :raises ConfigError: where a value is out of range or NaN.
    """
    place = 'the weights message'
    build(ExplorationConfig, {'std_start': msg.exploration_std}, place)
    # Without it: it falls with every message, and noise of another config begins anew.
    return build(
        ExplorationConfig,
        {
            'warmup': 'uniform' if msg.random_uniform else 'forward',
            'warmup_throttle': msg.random_acceleration,
            'correlation': msg.noise_correlation,
        },
        place,
    )


def result_row(msg: EpisodeResult) -> Dict[str, Any]:
    """
    Return a finished episode as a row for ``RunFolder.add_episode``.

    :raises SpecError: where it holds more or other than an episode can have.
    """
    bounds.check_result(msg)
    row = {
        name: getattr(msg, name)
        for name in (
            'episode_id',
            'mode',
            'outcome',
            'reason',
            *SUMMARY,
            'route',
            'route_length',
            'policy_version',
        )
    }
    row['trail'] = tuple(zip(msg.trail_x, msg.trail_y))
    row.update({f'reward_{name}': value for name, value in zip(msg.reward_terms, msg.reward_sums)})
    return row


def to_action_msg(observation: Observation, version: int, action: Tuple[float, float]) -> Action:
    """Return the action taken on an observation as a message."""
    return Action(
        header=observation.header,
        episode_id=observation.episode_id,
        step_id=observation.step_id,
        policy_version=version,
        drive=observation.drive,
        steering=float(action[0]),
        acceleration=float(action[1]),
    )
