"""What rviz shows besides the camera: route, vehicles, the command's path, how the learner is."""

from typing import Any, Iterable, Sequence, Tuple

from geometry_msgs.msg import Point, Vector3
import numpy as np
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from av_td3_ros.bridge.convert import to_pose_msg
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.route import Route

HEIGHT = 0.2
ROUTE_COLOUR = ColorRGBA(r=0.1, g=0.6, b=1.0, a=0.8)
GOAL_COLOUR = ColorRGBA(r=0.1, g=0.9, b=0.3, a=0.8)
# As the bridge has them: the vehicle green, the others red, both to be seen through.
EGO_COLOUR = ColorRGBA(r=0.0, g=1.0, b=0.0, a=0.3)
OTHER_COLOUR = ColorRGBA(r=1.0, g=0.0, b=0.0, a=0.3)
THROTTLE_COLOUR = ColorRGBA(r=0.2, g=0.9, b=0.4, a=0.9)
BRAKE_COLOUR = ColorRGBA(r=1.0, g=0.25, b=0.2, a=0.9)
TEXT_COLOUR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
BODY_HEIGHT, TEXT_HEIGHT, TEXT_SIZE = 1.6, 4.0, 1.0
# Metres of the bar at full throttle or brake.
BAR = 4.0


def route(driven: Route, header: Any) -> MarkerArray:
    """Return the route as a line and its goal as a disc."""
    points = [Point(x=float(x), y=float(y), z=HEIGHT) for x, y in driven.points]
    line = _marker(header, 'route', 0, Marker.LINE_STRIP, ROUTE_COLOUR)
    line.scale.x = 0.4
    line.points = points
    goal = _marker(header, 'route', 1, Marker.CYLINDER, GOAL_COLOUR)
    goal.scale = Vector3(x=3.0, y=3.0, z=0.2)
    goal.pose.position = points[-1]
    return MarkerArray(markers=[line, goal])


def vehicles(boxes: Iterable[Tuple[int, Sequence[float]]], ego: int, header: Any) -> MarkerArray:
    """
    Return every vehicle as a box, as ``sensor.pseudo.markers`` of the bridge does.

    :param boxes: actor id, and x, y, yaw, length, width in the map frame.
    :param ego: actor id of the vehicle itself.
    """
    found = []
    for number, (x, y, yaw, length, width, *_) in boxes:
        box = _marker(
            header, '', number, Marker.CUBE, EGO_COLOUR if number == ego else OTHER_COLOUR
        )
        box.pose = to_pose_msg(Pose(float(x), float(y), BODY_HEIGHT / 2, float(yaw)))
        box.scale = Vector3(x=float(length), y=float(width), z=BODY_HEIGHT)
        found.append(box)
    return MarkerArray(markers=found)


def planned(
    path: np.ndarray, acceleration: float, lines: Sequence[str], header: Any
) -> MarkerArray:
    """
    Return the path of the command, a bar of throttle or brake, and text, beside the vehicle.

    :param path: (n, 2) m in the vehicle's frame.
    :param acceleration: [-1, 1], throttle where positive.
    :param lines: of the text.
    :param header: of the vehicle's frame.
    """
    colour = THROTTLE_COLOUR if acceleration >= 0.0 else BRAKE_COLOUR
    line = _marker(header, 'planned', 0, Marker.LINE_STRIP, colour)
    line.scale.x = 0.3
    line.points = [Point(x=float(x), y=float(y), z=HEIGHT) for x, y in path]
    bar = _marker(header, 'planned', 1, Marker.LINE_STRIP, colour)
    bar.scale.x = 0.5
    bar.points = [
        Point(x=0.0, y=-2.0, z=HEIGHT),
        Point(x=float(acceleration) * BAR, y=-2.0, z=HEIGHT),
    ]
    text = _marker(header, 'planned', 2, Marker.TEXT_VIEW_FACING, TEXT_COLOUR)
    text.scale.z = TEXT_SIZE
    text.pose.position.z = TEXT_HEIGHT
    text.text = '\n'.join(lines)
    return MarkerArray(markers=[line, bar, text])


def _marker(header: Any, space: str, number: int, kind: int, colour: ColorRGBA) -> Marker:
    made = Marker(header=header, ns=space, id=number, type=kind, action=Marker.ADD, color=colour)
    made.pose.orientation.w = 1.0
    return made
