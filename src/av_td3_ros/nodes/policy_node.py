"""
Observation to vehicle command, and the hot swap of weights between two of them.

Exactly one command answers each frame of a simulation in lock-step. New weights are checked whole
before they drive, between two frames; what is refused is reported and the old weights drive on.
Nothing here waits for a trainer. Whether the policy may drive at all is for
``driving/command_gate_machine.py`` to say.
"""

from collections import deque
import math
from typing import Any, Deque, Optional, Tuple

from av_td3_msgs.msg import Observation, PolicyWeights
from builtin_interfaces.msg import Time
from carla_msgs.msg import CarlaStatus
from nav_msgs.msg import Odometry
import numpy as np
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from av_td3_ros.bridge import bounds, convert, outputs, qos
from av_td3_ros.config import PolicyConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.deployment.driver import load_driver
from av_td3_ros.deployment.trained import of_run
from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import Reason, State
from av_td3_ros.nodes.base import GraphNode, Health, main as run_main, now, OK, WARN
from av_td3_ros.nodes.policy_frames import Frames
from av_td3_ros.nodes.policy_report import Announcer, judge, Latency, status
from av_td3_ros.options import ConfigError

PERIOD = 0.05
WATCH_PERIOD = 0.1
IDLE = 0.1
# So long after a command weights are checked: it is on its way then, and the next frame is not, s.
CHECK_AFTER = 0.01
# Weights that wait to be checked; a flood pushes out its own oldest.
UNCHECKED = 4


class PolicyNode(GraphNode):
    """Runs the actor; the last thing before the vehicle bus is the command gate."""

    NAME = 'policy'
    CONFIG = PolicyConfig
    gate: Optional[GateMachine] = None

    def setup(self) -> None:
        """Load the checkpoint, if one is given, and subscribe."""
        self._spec = self.config.observation.spec()
        self._behaviour, self.version = load_driver(self.config)
        period = getattr(self._behaviour, 'period', PERIOD)  # an artefact knows that of training
        if self.config.checkpoint and (trained := of_run(self.config.checkpoint)):
            period = trained.camera.period
        before = self.gate
        self.gate = GateMachine(self.config.gate, period, self.config.lock_step)
        if before is not None:
            self.gate.remember(before)
        self.frames = Frames(self.config.lock_step, period)
        self.adopted = self.refused = self.commands = self.observations = 0
        self.last_refusal = self._sha256 = ''
        self._received: Deque[PolicyWeights] = deque(maxlen=UNCHECKED)
        self._answered_at = -math.inf
        self._announce = Announcer(self.gate, self.get_logger(), self.diagnose)
        self._latency = Latency()
        self._speed, self._speed_at = 0.0, -math.inf
        self._output = outputs.choose(self.config.output, self.config.vehicle)
        self._command_pub = self._publisher(self._output.topic)
        self._action_pub = self.publisher('action')
        self._status_pub = self.publisher('policy_status')
        if self.config.accept_weights and not self.config.artefact:
            self.subscribe_always('policy_weights', self.on_weights)
        # Who presses the button may latch it, or not, or publish best effort: DDS brings each kind
        # to who asks for it alone, and hearing one press twice changes nothing.
        for profile in ('latched', 'bridge', 'sensor'):
            self.subscribe_always('manual_override', self.on_override, profile)
        self.serve('engage', self.on_engage)
        if self.config.lock_step:
            self.subscribe('clock', self.on_clock)
        self.subscribe('status', self.on_status)
        if self._output.needs_speed:  # the newest counts: a lost one is replaced by the next
            self.subscribe('odometry', self.on_odometry, 'sensor')
        self.subscribe('observation', self.on_observation)
        self.every(WATCH_PERIOD, self._watch)
        self.every(1.0, self._report)
        self._check = self.every(CHECK_AFTER, self._check_weights)
        self._check.cancel()

    def is_deployed(self, config: PolicyConfig) -> bool:
        """In a deployment no trainer sends weights."""
        return bool(config.artefact) or not config.accept_weights

    def start(self) -> None:
        """Count silence from here on."""
        self.frames.start(now())
        self.gate.activate(now())
        self._announce()

    def halt(self) -> None:
        """Leave the car braking, where it is ours."""
        self._last_word(self.gate.deactivate(now()))
        self._announce()

    def health(self) -> Health:
        """Refused weights, silence and an acting gate show here."""
        values = {
            'policy_version': self.version,
            'adopted': self.adopted,
            'refused': self.refused,
            'last_refusal': self.last_refusal,
            'commands': self.commands,
            'output': self.config.output,
            **self.gate.summary(now()),
        }
        level, text = judge(self.gate, self._behaviour.ready, self.last_refusal, self.version)
        drivers = self.count_publishers(topic := self._command_pub.topic_name)
        if level == OK and drivers > 1:
            return WARN, f'{drivers} publish {topic}: a vehicle must have one driver', values
        return level, text, values

    # -- events -----------------------------------------------------------------------------------

    def on_status(self, msg: CarlaStatus) -> None:
        """
        Learn whether the world is paused and, in lock-step, the step size.

        In real time limits are per second and rates those of training, whatever a simulation says.
        """
        self.frames.run(msg.synchronous_mode_running, now())
        period = bounds.tick(msg)
        if period and self.config.lock_step:
            self.gate.set_period(period)
            self.frames.set_period(period)

    def on_clock(self, msg: Clock) -> None:
        """Know the newest frame, so that each is commanded once, whoever commands it."""
        self.frames.clock(convert.to_ns(msg.clock), now())

    def on_odometry(self, msg: Odometry) -> None:
        """Know the speed, for outputs that ask for one; what no vehicle does is not believed."""
        try:
            self._speed, self._speed_at = convert.from_odometry(msg).speed, now()
        except SpecError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def on_override(self, msg: Bool) -> None:
        """The driver takes over, or lets go."""
        self._last_word(self.gate.override(msg.data, now()))
        self._announce()

    def on_engage(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        """Drive, or hand the car over."""
        word = None
        if request.data:
            answer = self.gate.engage(now())
        else:
            answer, word = self.gate.disengage(now())
        self._last_word(word)
        self.get_logger().info(f'asked to {"" if request.data else "dis"}engage: {answer.text}')
        self._announce()
        response.success, response.message = answer
        return response

    def on_weights(self, msg: PolicyWeights) -> None:
        """
        Take weights; they are checked where that delays no frame.

        That is soon after an observation was answered, or now where none came for a while.
        """
        self._received.append(msg)
        if now() - self._answered_at > IDLE:
            self._check_weights()

    def _check_weights(self) -> None:
        """
        Check the oldest weights whole, then adopt them: the next observation is the first that
        they act on.
        """
        self._check.cancel()
        if not self._received:
            return
        msg = self._received.popleft()
        from av_td3_ros.td3 import weights  # torch: an exported policy drives without

        if (msg.version, msg.sha256) == (self.version, self._sha256):
            return  # doubled on the way
        try:
            weights.admit(msg.version, self.version, len(msg.tensors), len(msg.spec))
            exploration = convert.exploration(msg)
            policy = weights.unpack(bytes(msg.tensors), msg.sha256, msg.spec, self._spec)
        except (weights.WeightsError, ConfigError) as error:
            self.refused += 1
            self.last_refusal = f'version {msg.version}: {error}'
            self.get_logger().error(
                f'weights refused, version {self.version} drives on: {self.last_refusal}'
            )
            self.gate.weights_refused(now())
            self._announce()
            self.diagnose()
        else:
            if not self.adopted:
                self._behaviour.go_on(msg.env_step)
            self._behaviour.adopt(policy)
            self._behaviour.explore(msg.exploration_std, msg.random_actions, exploration)
            self.version, self._sha256 = msg.version, msg.sha256
            self.adopted += 1
            self.last_refusal = ''
            self.gate.weights_adopted()
        self._report()

    def on_observation(self, msg: Observation) -> None:
        """Act on one frame."""
        begun, stamp = now(), convert.to_ns(msg.header.stamp)
        seconds = stamp / convert.NANOSECONDS
        if self.gate.outdated(seconds):
            return
        self.frames.observed(begun)
        self.gate.in_episode(msg.episode_id)
        inputs, blocked, detail = self._read(msg)
        drive = self.gate.observe(seconds, begun, blocked, detail, self._time_of_stamps())
        if self.frames.answered(stamp):
            self._announce()
            return
        action = self._choose(msg, *inputs) if drive else self.gate.brake(now())
        if self.gate.speaks:  # the car first
            self._command(action, msg.header.stamp)
            self.frames.command(stamp)
        reply = convert.to_action_msg(msg, self.version, action)
        reply.drive = drive
        self._action_pub.publish(reply)
        self.observations += 1
        self._answered_at = now()
        self._latency.add(self._answered_at - begun)
        self._announce()
        if self._received and self._check.is_canceled():
            self._check.reset()

    # -- work -------------------------------------------------------------------------------------

    def _read(self, msg: Observation) -> Tuple[Tuple[Any, ...], Reason, str]:
        """Return the observation as arrays, or what is wrong with it."""
        if not msg.drive:
            return (), Reason.HOLD, ''
        if not self._behaviour.ready:
            return (), Reason.NO_WEIGHTS, ''
        try:
            return convert.to_image_stack(msg, self._spec), Reason.NONE, ''
        except SpecError as error:
            return (), Reason.BAD_OBSERVATION, str(error)

    def _choose(self, msg: Observation, image: np.ndarray, vector: np.ndarray) -> tuple:
        if msg.step_id == 0:
            self._behaviour.begin_episode()
        try:
            wanted = self._behaviour.act(image, vector, msg.explore)
        except SpecError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            wanted = math.nan, math.nan  # for the gate, which brakes
        gated = self.gate.drive(wanted, now())
        if gated.reason:
            self.get_logger().warning(f'command gate: {gated.reason}', throttle_duration_sec=30.0)
        # What is stored as the action is what was commanded, in the precision of the message.
        return tuple(float(value) for value in np.asarray(gated.action, np.float32))

    def _command(self, action: tuple, stamp: Time) -> None:
        """Publish; the stamp is that of the frame that is answered."""
        # Who brakes wants to stand, whatever the speed was said to be last, and whenever; a driver
        # who takes over is left the speed that there is, where it is known.
        moves = self.gate.state in (State.DRIVING, State.MANUAL)
        is_known = now() - self._speed_at <= self.config.gate.observation_timeout
        speed = self._speed if moves and is_known else 0.0
        self._command_pub.publish(self._output.build(action, speed, stamp))
        self.commands += 1

    def _watch(self) -> None:
        """Brake where observations stay out: once for a counted frame, else again and again."""
        if now() - self._answered_at > IDLE:
            self._check_weights()
        silence = self.frames.silence(now())
        if self.gate.watch(silence, now()) and silence > self.config.gate.observation_timeout:
            self._last_word(self.gate.brake(now()))
        self._announce()

    def _last_word(self, action: Optional[tuple]) -> None:
        """
        Command what answers no observation; without one the car would hold what came before.

        Silence follows, so that a command too many in lock-step takes no frame from another.
        """
        if action is None or not self.active or not self.frames.begun:
            return
        self._command(action, self._unasked())
        if self.frames.counted:
            self.frames.spend()

    def _unasked(self) -> Time:
        """
        Return the stamp of a command that answers no frame: nought in lock-step, which counts by
        it; else now, as a receiver may drop what is old.
        """
        seconds = 0.0 if self.config.lock_step else self._time_of_stamps()
        return convert.from_ns(round(seconds * convert.NANOSECONDS))

    def _time_of_stamps(self) -> float:
        """
        What the clock of the stamps shows, s: that of the system or, with use_sim_time, /clock.

        Nought where use_sim_time waits for a /clock that nobody publishes.
        """
        return self.get_clock().now().nanoseconds / convert.NANOSECONDS

    def _publisher(self, topic: Any) -> Any:
        name = topic.name.format(role_name=self.config.role_name)
        made = self.create_publisher(topic.type, name, qos.PROFILES[topic.qos])
        self._entities.append(lambda: self.destroy_publisher(made))
        return made

    def _report(self) -> None:
        self._status_pub.publish(status(self, self._latency.mean()))


def main() -> None:
    """Run the policy."""
    run_main(PolicyNode)


if __name__ == '__main__':
    main()
