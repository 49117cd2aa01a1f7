"""What rviz shows besides the camera: the route and its goal."""

from typing import Any

from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from av_td3_ros.driving.route import Route

HEIGHT = 0.2
ROUTE_COLOUR = ColorRGBA(r=0.1, g=0.6, b=1.0, a=0.8)
GOAL_COLOUR = ColorRGBA(r=0.1, g=0.9, b=0.3, a=0.8)


def route(driven: Route, header: Any) -> MarkerArray:
    """Return the route as a line and its goal as a disc."""
    points = [Point(x=float(x), y=float(y), z=HEIGHT) for x, y in driven.points]
    line = Marker(
        header=header,
        ns='route',
        id=0,
        type=Marker.LINE_STRIP,
        action=Marker.ADD,
        scale=Vector3(x=0.4),
        color=ROUTE_COLOUR,
        points=points,
    )
    goal = Marker(
        header=header,
        ns='route',
        id=1,
        type=Marker.CYLINDER,
        action=Marker.ADD,
        scale=Vector3(x=3.0, y=3.0, z=0.2),
        color=GOAL_COLOUR,
    )
    goal.pose.position = points[-1]
    for marker in (line, goal):
        marker.pose.orientation.w = 1.0
    return MarkerArray(markers=[line, goal])
