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


def top_down(pose: Pose, altitude: float = ALTITUDE) -> Pose:
    """
    Return a view straight down on a vehicle, whose front points up in the picture.

    :param pose: of the vehicle. :param altitude: m.
    """
    return Pose(pose.x, pose.y, altitude, pose.yaw, math.pi / 2)
