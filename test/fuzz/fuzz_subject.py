"""
One node as a subject of fuzzing: how it is made, what is good for it, how to see that it works.

Which messages a node takes is asked of the node; a subscription that nobody describes here is
fuzzed from its type alone.
"""

from abc import ABC, abstractmethod
import array
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from av_td3_msgs.msg import (
    Action,
    Observation,
)
from carla_msgs.msg import CarlaStatus, CarlaWorldInfo
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import TOPICS, topic_name
from av_td3_ros.config import ObservationConfig
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.route import Route

ROLE = 'ego_vehicle'
TICK = 50_000_000
OBSERVATION = {'height': 36, 'width': 36}
NETWORK = {'hidden_1': 16, 'hidden_2': 16, 'feature_size': 16}
SPEC = ObservationConfig(**OBSERVATION).spec()
ROUTE = Route.from_points(np.stack([np.arange(100.0), np.zeros(100)], axis=1))
INFRASTRUCTURE = ('rcl_interfaces', 'lifecycle_msgs', 'type_description_interfaces')
# A road of 400 m with two lanes: a map that is read in a moment.
LANE = (
    '<lane id="{}" type="driving" level="false"><link/>'
    '<width sOffset="0" a="3.5" b="0" c="0" d="0"/>'
    '<roadMark sOffset="0" type="solid" color="white" width="0.1"/></lane>'
)
ROAD = (
    '<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4" name="small" version="1"/>'
    '<road name="" length="400" id="1" junction="-1"><link/><planView>'
    '<geometry s="0" x="0" y="0" hdg="0" length="400"><line/></geometry></planView>'
    '<elevationProfile/><lateralProfile/><lanes><laneSection s="0"><left>'
    + LANE.format(1)
    + '</left><center><lane id="0" type="none" level="false"/></center><right>'
    + LANE.format(-1)
    + '</right></laneSection></lanes></road></OpenDRIVE>'
)


class Entrance(NamedTuple):
    """
    A way into a node: its key (a topic's, or a service's name), its type, its callback.

    ``often``: how often it is taken beside others; services are small, and may write checkpoints.
    """

    key: str
    type: Any
    call: Callable[[Any], Any]
    often: int = 6


class Subject(ABC):
    """One node under fuzz; ``published`` grows with all that it says until somebody clears it."""

    NODE: Any
    PARAMS: Dict[str, Any] = {}
    FRAME: Tuple[str, ...] = ()

    def __init__(self, context: Any, folder: Any) -> None:
        """:param context: of rclpy. :param folder: for what the node writes, new for each."""
        self.folder = folder
        self.published: List[Tuple[str, Any]] = []
        self.frame = 100
        overrides = [
            Parameter(key.replace('__', '.'), value=value) for key, value in self.params().items()
        ]
        self.node = self.NODE(context=context, namespace='av_td3', parameter_overrides=overrides)
        success = TransitionCallbackReturn.SUCCESS
        assert self.node.trigger_configure() == success
        self._listen()
        assert self.node.trigger_activate() == success

    @classmethod
    def name(cls) -> str:
        """Return the name of the node."""
        return cls.NODE.NAME

    def params(self) -> Dict[str, Any]:
        """Return the parameters of the node."""
        return self.PARAMS

    def entrances(self) -> Iterator[Entrance]:
        """Yield every subscription and service of the node, as the node itself tells them."""
        keys = {topic_name(key, ROLE): key for key in TOPICS}
        for made in self.node.subscriptions:
            name = made.topic_name.removeprefix('/av_td3/')
            if made.msg_type.__module__.split('.')[0] not in INFRASTRUCTURE:
                yield Entrance(keys.get(name, made.topic_name), made.msg_type, made.callback)
        for made in self.node.services:
            if made.srv_type.__module__.split('.')[0] not in INFRASTRUCTURE:
                reply = made.srv_type.Response
                yield Entrance(
                    made.srv_name,
                    made.srv_type.Request,
                    lambda msg, made=made, reply=reply: made.callback(msg, reply()),
                    often=2,
                )

    def targets(self) -> List[Entrance]:
        """Return the entrances that are ours: in rclpy's own, a negative /clock ends any node."""
        return [one for one in self.entrances() if one.call.__module__ != 'rclpy.time_source']

    def good(self, key: str) -> Any:
        """Return a good message for an entrance, or None where none is known."""
        maker = getattr(self, f'good_{key}', None)
        return maker() if maker else None

    def say(self, key: str, msg: Any) -> None:
        """Hand a message to the node as its own subscription would."""
        for entrance in self.entrances():
            if entrance.key == key:
                entrance.call(msg)

    def follow(self, key: str) -> None:
        """Say the good messages that make a whole frame with one."""
        for other in self.FRAME if key in self.FRAME else ():
            if other != key:
                self.say(other, self.good(other))

    def restamp(self, msg: Any, steps: int) -> None:
        """Give a message the stamp of this frame or the next; else all that comes would be old."""
        self.frame += steps
        if hasattr(msg, 'header'):
            msg.header.stamp = self.stamp()

    def tick(self) -> None:
        """Let every timer of the node run once."""
        for timer in list(self.node.timers):
            timer.callback()

    def settle(self) -> None:
        """Wait until what was said is worked off."""

    def heard(self, key: str) -> List[Any]:
        """Return what the node has published on a topic of the table."""
        return [msg for said, msg in self.published if said == key]

    @abstractmethod
    def probe(self) -> None:
        """Raise AssertionError where the node does not work with good messages."""

    def close(self) -> None:
        """Release the node."""
        self.node.close()
        self.node.destroy_node()

    # -- good messages of more than one node ------------------------------------------------------

    def stamp(self) -> Any:
        """Return the stamp of the frame."""
        return convert.from_ns(self.frame * TICK)

    def good_status(self) -> CarlaStatus:
        """Return the status of a world that runs."""
        return CarlaStatus(
            frame=self.frame,
            fixed_delta_seconds=0.05,
            synchronous_mode=True,
            synchronous_mode_running=True,
        )

    def good_clock(self) -> Clock:
        """Return the time of the frame."""
        return Clock(clock=self.stamp())

    def good_world_info(self) -> CarlaWorldInfo:
        """Return a map."""
        return CarlaWorldInfo(map_name='Carla/Maps/small', opendrive=ROAD)

    def good_waypoints(self) -> Any:
        """Return a route."""
        return convert.to_path(ROUTE, self.stamp())

    def good_odometry(self) -> Odometry:
        """Return a vehicle on that route."""
        msg = Odometry(header=Header(stamp=self.stamp(), frame_id='map'))
        msg.pose.pose = convert.to_pose_msg(Pose(10.0, 0.5, 0.0))
        msg.twist.twist.linear.x = 5.0
        return msg

    def good_action(self) -> Action:
        """Return an action of the first step."""
        return Action(header=Header(stamp=self.stamp()), drive=True, steering=0.1)

    def good_observation(self) -> Observation:
        """Return an observation."""
        return Observation(
            header=Header(stamp=self.stamp()),
            episode_id=1,
            drive=True,
            spec=SPEC.digest,
            image_shape=np.array(SPEC.image_shape, np.uint32),
            image=convert.to_bytes(np.full(SPEC.image_shape, 120, np.uint8)),
            vector=array.array('f', [0.1] * SPEC.vector_size),
        )

    def _listen(self) -> None:
        keys = {topic_name(key, ROLE): key for key in TOPICS}
        for publisher in self.node.publishers:
            name = publisher.topic_name.removeprefix('/av_td3/')
            key = keys.get(name, name.rsplit('/', 1)[-1])
            publish = publisher.publish

            def heard(msg: Any, key: str = key, publish: Any = publish) -> None:
                publish(msg)  # the real one: what cannot be serialised raises here
                self.published.append((key, msg))

            publisher.publish = heard
