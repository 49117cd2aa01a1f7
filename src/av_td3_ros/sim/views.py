"""Where to look from: views for people, by the pose of the vehicle."""

import math

from av_td3_ros.datatypes import Pose

CHASE_BEHIND, CHASE_ABOVE, CHASE_PITCH = 9.5, 4.2, 0.26
ALTITUDE = 60.0


def chase(pose: Pose) -> Pose:
    """Return a view from behind and above, as it follows a vehicle."""
    return Pose(
        pose.x - CHASE_BEHIND * math.cos(pose.yaw),
        pose.y - CHASE_BEHIND * math.sin(pose.yaw),
        pose.z + CHASE_ABOVE,
        pose.yaw,
        CHASE_PITCH,
    )


def top_down(pose: Pose, altitude: float = ALTITUDE, is_map_up: bool = False) -> Pose:
    """
    Return a view straight down on a vehicle.

    :param pose: of the vehicle. :param altitude: m. :param is_map_up: whether the map's y axis
        points up in the picture; else the vehicle's front does.
    """
    yaw = math.pi / 2 if is_map_up else pose.yaw
    return Pose(pose.x, pose.y, altitude, yaw, math.pi / 2)
