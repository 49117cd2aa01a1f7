"""
The five nodes as subjects of fuzzing: how each is made, what is good for it, how to see that it
works.

Which messages a node takes is asked of the node; a subscription that nobody describes here is
fuzzed from its type alone.
"""

import array
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from av_td3_msgs.msg import (
    Action,
    EpisodeState,
    Observation,
    PolicyWeights,
    TrainingStatus,
    Transition,
)
from carla_msgs.msg import CarlaControl, CarlaEgoVehicleControl, CarlaStatus, CarlaWorldInfo
import cv2
import geometry_msgs.msg
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Bool, Header
from std_srvs.srv import SetBool

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import TOPICS, topic_name
from av_td3_ros.config import ObservationConfig
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.route import Route
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.nodes.simulator_node import SimulatorNode
from av_td3_ros.nodes.trainer_node import TrainerNode
from av_td3_ros.options import build
from av_td3_ros.td3 import weights
from av_td3_ros.td3.agent import TD3

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
    """A way into a node: its key (a topic's, or a service's name), its type, its callback."""

    key: str
    type: Any
    call: Callable[[Any], Any]


class Subject:
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
                )

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

    def probe(self) -> None:
        """Raise AssertionError where the node does not work with good messages."""
        raise NotImplementedError

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


class Perception(Subject):
    """Camera and odometry in, observations out."""

    NODE = PerceptionNode
    FIRST = ('world_info', 'status', 'waypoints')
    FRAME = ('odometry', 'episode_state', 'image')
    FRAMES = 3
    PARAMS = {'observation__height': 36, 'observation__width': 36}

    def good_image(self) -> Any:
        """Return a grey picture."""
        header = Header(stamp=self.stamp(), frame_id='ego_vehicle/rgb_front')
        return convert.to_image(np.full((48, 64, 4), 120, np.uint8), 'bgra8', header)

    def good_episode_state(self) -> EpisodeState:
        """Return the numbering of a running episode."""
        return EpisodeState(
            header=Header(stamp=self.stamp()),
            episode_id=1,
            step_id=1,
            phase=EpisodeState.RUNNING,
            route_stamp=convert.from_ns(7),
        )

    def good_waypoints(self) -> Any:
        """Return the route that the numbering names."""
        return convert.to_path(ROUTE, convert.from_ns(7))

    def probe(self) -> None:
        """Show it what it needs first, then whole frames; the last must be observed."""
        for key in self.FIRST:
            self.say(key, self.good(key))
        for _ in range(self.FRAMES):
            self.frame += 1
            self.published.clear()
            for key in self.FRAME:
                self.say(key, self.good(key))
        said = self.heard('observation')
        assert len(said) == 1, f'a whole frame made {len(said)} observations: {self.node.health()}'
        convert.to_image_stack(said[0], self.node.config.observation.spec())


class PerceptionOfCommands(Perception):
    """With the map, which it reads for the command at junctions."""

    PARAMS = {**Perception.PARAMS, 'observation__command': True}

    @classmethod
    def name(cls) -> str:
        """Return the name of the node and its variant."""
        return 'perception (command)'


class PerceptionInCar(Perception):
    """Without an episode manager: CameraInfo is compared, images may be compressed."""

    PARAMS = {**Perception.PARAMS, 'episodes': False, 'camera__transport': 'compressed'}
    FIRST = ('status', 'waypoints', 'camera_info')
    FRAME = ('odometry', 'image_compressed')
    # Enough to know their rate again.
    FRAMES = 40

    @classmethod
    def name(cls) -> str:
        """Return the name of the node and its variant."""
        return 'perception (deployed)'

    def good_image_compressed(self) -> CompressedImage:
        """Return a grey picture as PNG, each time another: a camera that hangs is no good one."""
        header = Header(stamp=self.stamp(), frame_id='ego_vehicle/rgb_front')
        data = cv2.imencode('.png', np.full((144, 256, 3), 100 + self.frame % 50, np.uint8))[
            1
        ].tobytes()
        return CompressedImage(header=header, format='png', data=array.array('B', data))

    def good_camera_info(self) -> Any:
        """Return the camera of the training."""
        header = Header(stamp=self.stamp(), frame_id='ego_vehicle/rgb_front')
        return convert.to_camera_info(256, 144, 90.0, header)

    def probe(self) -> None:
        """Show it a camera, a route and frames; the last must be observed, to drive."""
        super().probe()
        said = self.heard('observation')
        assert said[0].drive, f'it does not drive: {self.node.health()}'


class Policy(Subject):
    """Observations and weights in, commands out."""

    NODE = PolicyNode
    FRAME = ('clock', 'observation')
    PARAMS = {'observation__height': 36, 'observation__width': 36}
    # More than the gate wants to see in a row before it lets go of the brake.
    FRAMES = 25
    _packed: Any = None
    version = 1

    def good_policy_weights(self) -> Any:
        """Return weights of a small network."""
        if Policy._packed is None:
            learner = build(
                LearnerConfig, {f'network.{key}': value for key, value in NETWORK.items()}, 'test'
            )
            Policy._packed = weights.pack(TD3(SPEC, learner, seed=0).policy, SPEC, learner.network)
        made = Policy._packed
        return PolicyWeights(
            version=self.version,
            sha256=made.sha256,
            spec=made.spec,
            exploration_std=0.1,
            tensors=convert.to_bytes(np.frombuffer(made.tensors, np.uint8)),
        )

    def probe(self) -> None:
        """Let it drive, as a person would; a frame must get one command, which drives."""
        self.say('status', self.good('status'))
        self.say('manual_override', Bool(data=False))
        self.version = self.node.version % 2**63 + 1
        self.say('policy_weights', self.good('policy_weights'))
        self._frames(self.FRAMES)
        self.say('~/engage', SetBool.Request(data=True))
        self._frames(1)
        commands, actions = self.heard('vehicle_control_cmd'), self.heard('action')
        assert (
            len(commands) == len(actions) == 1
        ), f'{len(commands)} commands for a frame: {self.node.health()}'
        assert actions[0].drive, f'it does not drive: {self.node.health()[1]}'

    def _frames(self, count: int) -> None:
        for _ in range(count):
            self.frame += 1
            self.published.clear()
            self.say('clock', self.good('clock'))
            self.say('observation', self.good('observation'))


class PolicyInCar(Policy):
    """Without lock-step: paced by its observations, commands as a Twist."""

    PARAMS = {**Policy.PARAMS, 'lock_step': False, 'output': 'twist'}

    @classmethod
    def name(cls) -> str:
        """Return the name of the node and its variant."""
        return 'policy (deployed)'

    def probe(self) -> None:
        """Show it frames; the last must be commanded."""
        for key, msg in (
            ('status', self.good('status')),
            ('manual_override', Bool(data=False)),
            ('odometry', self.good('odometry')),
        ):
            self.say(key, msg)
        self.version = self.node.version % 2**63 + 1
        self.say('policy_weights', self.good('policy_weights'))
        self._frames(self.FRAMES)
        self.say('~/engage', SetBool.Request(data=True))
        self._frames(1)
        commands = self.heard('cmd_vel')
        assert len(commands) == 1, f'{len(commands)} commands: {self.node.health()}'


class Trainer(Subject):
    """Experience in, weights out."""

    NODE = TrainerNode
    PARAMS = {
        'observation__height': 36,
        'observation__width': 36,
        'learner__batch_size': 8,
        'learner__network__hidden_1': 16,
        'learner__network__hidden_2': 16,
        'learner__network__feature_size': 16,
        'precision': 'fp32',
        'replay__capacity': 1000,
        'threads': 1,
        'steps': 10**9,
        'checkpoint_every': 10**8,
        'update_after': 100,
        'update_every': 100,
        'log_every': 1,
    }
    sequence = 0

    def params(self) -> Dict[str, Any]:
        """Return the parameters of a small learner."""
        return {**self.PARAMS, 'run_dir': str(self.folder)}

    def good_transition(self) -> Transition:
        """Return the first step of an episode."""
        return self.step(0)

    def step(self, number: int) -> Transition:
        """Return a step of an episode."""
        self.sequence += 1
        return Transition(
            publisher=1,
            sequence=self.sequence,
            episode_id=1,
            step_id=number,
            action=np.array([0.1, 0.2], np.float32),
            reward=0.5,
            frame=array.array('B', [7]) * (36 * 36),
            vector=array.array('f', [0.1] * SPEC.vector_size),
        )

    def settle(self) -> None:
        """
        Send a step that fits, and wait for the worker, which ends only with a reason: one of them
        is a whole row of steps that do not fit.
        """
        self.sequence = self.node._intake.last_sequence % 2**63
        self.say('transition', self.step(0))
        worker = self.node._worker
        while worker.is_alive() and not self.node._queue.empty():
            worker.join(0.001)

    def probe(self) -> None:
        """Send it an episode; every step must be stored."""
        self.settle()
        self.sequence = self.node._intake.last_sequence % 2**63
        stored = self.node._trainer.replay.count
        for number in range(4):
            self.say('transition', self.step(number))
        for _ in range(3000):
            if self.node._trainer.replay.count >= stored + 4:
                return
            assert self.node._worker.is_alive(), f'the learner stopped: {self.node._failure}'
            self.node._worker.join(0.01)
        raise AssertionError('an episode was not stored within 30 s')


class EpisodeManager(Subject):
    """The world in, numbering and experience out."""

    NODE = EpisodeManagerNode
    FRAME = ('observation', 'action', 'odometry')
    PARAMS = {'route_length_min': 50.0, 'route_length_max': 200.0}

    def good_training_status(self) -> TrainingStatus:
        """Return the permission to go on."""
        return TrainingStatus(phase=TrainingStatus.TRAINING, transition_limit=2**63)

    def probe(self) -> None:
        """Show it a world, then frames; each must be numbered."""
        for key in ('world_info', 'status', 'training_status'):
            self.say(key, self.good(key))
        for _ in range(3):
            self.frame += 1
            self.published.clear()
            self.say('odometry', self.good('odometry'))
            self.node._pace()
        said = self.heard('episode_state')
        assert len(said) == 1, f'a frame was numbered {len(said)} times'


class Simulator(Subject):
    """Commands in, a world out."""

    NODE = SimulatorNode
    PARAMS = {'image_width': 64, 'image_height': 48}

    def __init__(self, context: Any, folder: Any) -> None:
        """Start it without waiting for the others to be discovered."""
        super().__init__(context, folder)
        self.node._started = True
        self.node._tick()

    def good_vehicle_control_cmd(self) -> CarlaEgoVehicleControl:
        """Return a gentle command."""
        return CarlaEgoVehicleControl(throttle=0.3, steer=0.1)

    def good_set_transform(self) -> geometry_msgs.msg.Pose:
        """Return the place where the vehicle is."""
        return convert.to_pose_msg(self.node._world.state.pose)

    def probe(self) -> None:
        """Command it; a frame must follow."""
        self.say('manual_override', Bool(data=False))
        self.say('world_control', CarlaControl(command=CarlaControl.PLAY))
        self.published.clear()
        self.say('vehicle_control_cmd', self.good('vehicle_control_cmd'))
        assert len(self.heard('image')) == len(self.heard('odometry')) == 1, 'no frame'


SUBJECTS = (
    Policy,
    PolicyInCar,
    Perception,
    PerceptionOfCommands,
    PerceptionInCar,
    EpisodeManager,
    Trainer,
    Simulator,
)
