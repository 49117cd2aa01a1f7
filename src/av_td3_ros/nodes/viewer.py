"""
Subscribes to the graph for the viewer in a browser.

It takes what it can show, a few times a second, and asks for no more: its subscriptions are best
effort and one deep, so that nobody keeps or repeats a message for it.
"""

from typing import Any, Callable, Dict, Optional, Sequence

from av_td3_msgs.msg import Action, EpisodeState
from carla_msgs.msg import CarlaEgoVehicleInfo, CarlaWorldInfo
import cv2
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry, Path
import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from av_td3_ros import watching
from av_td3_ros.bridge import convert, images
from av_td3_ros.bridge.watching import watched
from av_td3_ros.datatypes import SpecError, VehicleState
from av_td3_ros.driving.road_map import MapError, RoadMap
from av_td3_ros.graph import NAMESPACE
from av_td3_ros.live_view import LiveView
from av_td3_ros.nodes.base import now

PERIOD = 0.1


class ViewerNode(Node):
    """``shown``: messages by topic key that reached the viewer."""

    def __init__(
        self,
        view: LiveView,
        role_name: str,
        namespace: str = NAMESPACE,
        rules: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        """
        Subscribe.

        :param view: what shows it. :param rules: what was remapped, each ``FROM:=TO``.
        :param kwargs: of ``rclpy.node.Node``.
        """
        super().__init__('viewer', **kwargs)
        self.shown: Dict[str, int] = {}
        self._view = view
        self._car = watching.Geometry()
        self._own_id: Optional[int] = None
        self._state: Optional[VehicleState] = None
        self._route: Optional[np.ndarray] = None
        self._others = np.zeros((0, 5))
        self._path: Optional[np.ndarray] = None
        self._is_braking = False
        self._is_raw = False
        self._taken: Dict[str, float] = {}
        topics = watched(role_name, namespace, rules)
        for key, callback in (
            ('world_info', self.on_world_info),
            ('vehicle_info', self.on_vehicle),
            ('waypoints', self.on_route),
            ('image', self.on_image),
            ('image_compressed', self.on_compressed),
            ('debug_stack', self.on_stack),
            ('markers', self.on_markers),
            ('odometry', self.on_odometry),
            ('action', self.on_action),
            ('episode_state', self.on_episode),
            ('diagnostics', self.on_diagnostics),
        ):
            self._listen(key, topics[key], callback)

    # -- events -----------------------------------------------------------------------------------

    def on_world_info(self, msg: CarlaWorldInfo) -> None:
        """Draw the map; without one everything else is still shown."""
        try:
            road_map = RoadMap(msg.map_name.rsplit('/', 1)[-1], msg.opendrive)
        except (MapError, ImportError) as error:
            self.get_logger().warning(f'no map is drawn: {error}')
            return
        lanes = [lane for lane in road_map.lanes if lane.kind == 'Driving']
        self._view.roads([edge for lane in lanes for edge in (lane.left_edge, lane.right_edge)])

    def on_vehicle(self, msg: CarlaEgoVehicleInfo) -> None:
        """Learn how the vehicle steers, and which of the markers is its own."""
        self._own_id = msg.id
        wheels = [(wheel.max_steer_angle, wheel.position.x) for wheel in msg.wheels]
        self._car = watching.geometry(wheels)

    def on_route(self, msg: Path) -> None:
        """Draw the route."""
        points = [(p.pose.position.x, p.pose.position.y) for p in msg.poses]
        self._route = np.array(points, np.float64).reshape(-1, 2)
        self._view.route(self._route)

    def on_image(self, msg: Image) -> None:
        """Show the camera."""
        self._is_raw = self._show(msg, images.to_rgb, self._view.camera) or self._is_raw

    def on_compressed(self, msg: CompressedImage) -> None:
        """Show the camera where it comes compressed alone."""
        if not self._is_raw:
            self._show(msg, images.compressed_to_rgb, self._view.camera)

    def on_stack(self, msg: Image) -> None:
        """Show what the policy sees."""
        self._show(msg, images.to_grey, self._view.stack)

    def on_markers(self, msg: MarkerArray) -> None:
        """Know the other vehicles."""
        found = []
        for marker in msg.markers:
            if marker.id == self._own_id:
                continue
            pose = convert.from_pose_msg(marker.pose)
            found.append((pose.x, pose.y, pose.yaw, marker.scale.x, marker.scale.y))
        boxes = np.array(found, np.float64).reshape(-1, 5)
        self._others = boxes[np.all(np.isfinite(boxes), axis=1)]

    def on_odometry(self, msg: Odometry) -> None:
        """Draw the scene, and plot the speed."""
        try:
            self._state = convert.from_odometry(msg)
        except SpecError:
            return
        self._at(msg.header.stamp)
        self._view.numbers({'speed/kmph': self._state.speed * 3.6})
        self._view.scene(self._state.pose, self._route, self._others, self._path, self._is_braking)

    def on_action(self, msg: Action) -> None:
        """Plot the command, and know where it leads."""
        speed = self._state.speed if self._state is not None else 0.0
        self._path = watching.planned_path(msg.steering, speed, self._car)
        self._is_braking = msg.acceleration < 0.0
        self._at(msg.header.stamp)
        self._view.numbers(
            {'command/steering': msg.steering, 'command/acceleration': msg.acceleration}
        )

    def on_episode(self, msg: EpisodeState) -> None:
        """Plot the reward and its terms."""
        self._at(msg.header.stamp)
        terms = dict(zip(msg.reward_terms, msg.reward_values))
        self._view.numbers(
            {'reward/sum': msg.reward, **{f'reward/{name}': v for name, v in terms.items()}}
        )

    def on_diagnostics(self, msg: DiagnosticArray) -> None:
        """Plot how the learner is."""
        for status in msg.status:
            if status.name.partition(':')[0] == 'trainer':
                vital = watching.vitals({item.key: item.value for item in status.values})
                norm = (
                    {'features/l2': vital.pop('feature_norm')} if 'feature_norm' in vital else {}
                )
                self._view.numbers({**{f'q/{n[2:]}': v for n, v in vital.items()}, **norm})

    # -- work -------------------------------------------------------------------------------------

    def _listen(self, key: str, topic: Any, callback: Callable[[Any], None]) -> None:
        latched = topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        profile = QoSProfile(
            depth=1,
            reliability=(ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT),
            durability=topic.qos.durability,
        )
        often = not latched and key != 'diagnostics'

        def take(msg: Any) -> None:
            if often and now() - self._taken.get(key, float('-inf')) < PERIOD:
                return
            self._taken[key] = now()
            callback(msg)
            self.shown[key] = self.shown.get(key, 0) + 1

        self.create_subscription(topic.type, topic.name, take, profile)

    def _show(
        self, msg: Any, decode: Callable[[Any], np.ndarray], show: Callable[[np.ndarray], None]
    ) -> bool:
        """Show an image and return True; of one that cannot be decoded say why."""
        try:
            pixels = decode(msg)
        except (SpecError, cv2.error) as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return False
        self._at(msg.header.stamp)
        show(pixels)
        return True

    def _at(self, stamp: Any) -> None:
        self._view.at(convert.to_ns(stamp) * 1e-9)
