"""The five nodes as subjects of fuzzing."""

import array
import os
from typing import Any, Dict

from av_td3_msgs.msg import (
    EpisodeState,
    PolicyWeights,
    TrainingStatus,
    Transition,
)
from carla_msgs.msg import CarlaControl, CarlaEgoVehicleControl
import cv2
from fuzz_subject import NETWORK, OBSERVATION, ROUTE, SPEC, Subject
import geometry_msgs.msg
import numpy as np
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Bool, Header
from std_srvs.srv import SetBool

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact
from av_td3_ros.deployment.export import export
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.nodes.simulator_node import SimulatorNode
from av_td3_ros.nodes.trainer_node import TrainerNode
from av_td3_ros.options import build
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3 import checkpoint, weights
from av_td3_ros.td3.agent import TD3


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
        return convert.to_camera_info(256, 144, 120.0, header)

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

    def say(self, key: str, msg: Any) -> None:
        """Hand it a message; of weights it has the time to check them."""
        super().say(key, msg)
        if key == 'policy_weights':
            self.node._check_weights()

    def _frames(self, count: int) -> None:
        for _ in range(count):
            self.frame += 1
            self.published.clear()
            self.say('clock', self.good('clock'))
            self.say('observation', self.good('observation'))


class PolicyInCar(Policy):
    """Without lock-step: paced by its observations, commands as a Twist."""

    PARAMS = {
        **Policy.PARAMS,
        'lock_step': False,
        'output': 'twist',
        'use_sim_time': True,
        'gate__observation_timeout': 0.3,
        'gate__resume_after': 5,
    }

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
        commands, actions = self.heard('cmd_vel'), self.heard('action')
        assert len(commands) == 1, f'{len(commands)} commands: {self.node.health()}'
        assert actions[0].drive, f'it does not drive: {self.node.health()[1]}'


class PolicyOfFile(PolicyInCar):
    """With an exported policy, which ONNX Runtime runs; nobody sends it weights."""

    _file = ''

    @classmethod
    def name(cls) -> str:
        """Return the name of the node and its variant."""
        return 'policy (exported)'

    def params(self) -> Dict[str, Any]:
        """Return the parameters, with a small policy that is exported once per campaign."""
        if not os.path.exists(PolicyOfFile._file):
            network = {f'trainer.learner.network.{key}': size for key, size in NETWORK.items()}
            sizes = {f'observation.{key}': size for key, size in OBSERVATION.items()}
            config = build_run({**network, **sizes}, 'test')
            folder = self.folder.with_name('exported')
            agent = TD3(SPEC, config.trainer.learner, seed=0)
            checkpoint.save(folder, agent, SPEC, env_step=1, version=7)
            artefact.write(folder / 'policy.avtd3', export(folder, config)[0])
            PolicyOfFile._file = str(folder / 'policy.avtd3')
        return {**self.PARAMS, 'artefact': PolicyOfFile._file, 'accept_weights': False}

    def probe(self) -> None:
        """Show it frames; the last must be commanded, by what was exported."""
        super().probe()
        assert self.node.version == 7 and self.node._behaviour.engine == 'onnx'


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
            privileged=array.array('f', [0.1] * len(PRIVILEGED_NAMES)),
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
    PolicyOfFile,
    Perception,
    PerceptionOfCommands,
    PerceptionInCar,
    EpisodeManager,
    Trainer,
    Simulator,
)
