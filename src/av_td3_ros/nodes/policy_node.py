"""
Observation to vehicle command, and the hot swap of weights between two of them.

Exactly one command answers each frame. New weights are checked whole before they drive; what is
refused is reported and the old weights drive on. Nothing here waits for a trainer.
"""

from av_td3_msgs.msg import Observation, PolicyStatus, PolicyWeights
from builtin_interfaces.msg import Time
from carla_msgs.msg import CarlaStatus
import numpy as np
from rosgraph_msgs.msg import Clock

from av_td3_ros.bridge import convert
from av_td3_ros.config import PolicyConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.deployment.driver import load_driver
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.command_gate import CommandGate
from av_td3_ros.nodes.base import ERROR, GraphNode, Health, OK, WARN, main as run_main, now
from av_td3_ros.options import ConfigError

PERIOD = 0.05
WATCH_PERIOD = 0.1


class PolicyNode(GraphNode):
    """Runs the actor; the last thing before the vehicle bus is the command gate."""

    NAME = 'policy'
    CONFIG = PolicyConfig

    def setup(self) -> None:
        """Load the checkpoint, if one is given, and subscribe."""
        self._spec = self.config.observation.spec()
        self._behaviour, self.version = load_driver(self.config)
        self._gate = CommandGate(self.config.gate, PERIOD)
        self.adopted = self.refused = self.commands = self.observations = 0
        self._last_refusal = self._fault = ''
        self._latency_sum, self._latency_count = 0.0, 0
        self._newest_stamp = self._commanded_stamp = -1
        self._newest_at = now()
        self._half_tick = int(PERIOD * convert.NANOSECONDS / 2)
        self._running = True
        self._braking = False
        self._observed_at = now()
        self._command_pub = self.publisher('vehicle_control_cmd')
        self._action_pub = self.publisher('action')
        self._status_pub = self.publisher('policy_status')
        if self.config.accept_weights and not self.config.artefact:
            self.subscribe_always('policy_weights', self.on_weights)
        self.subscribe('clock', self.on_clock)
        self.subscribe('status', self.on_status)
        self.subscribe('observation', self.on_observation)
        self.every(WATCH_PERIOD, self._watch)
        self.every(1.0, self._report)

    def start(self) -> None:
        """Count silence from here on."""
        self._observed_at = now()

    def halt(self) -> None:
        """Leave the car braking."""
        if self._needs_command():
            self._command(self._gate.brake())

    def health(self) -> Health:
        """Refused weights, silence and an acting gate show here."""
        values = {
            'policy_version': self.version,
            'adopted': self.adopted,
            'refused': self.refused,
            'last_refusal': self._last_refusal,
            'commands': self.commands,
            'gate_interventions': self._gate.interventions,
        }
        silent = now() - self._observed_at
        if self._braking:
            return ERROR, f'no observation for {silent:.1f} s: braking', values
        if self._fault:
            return ERROR, self._fault, values
        if self._last_refusal:
            return WARN, f'weights refused: {self._last_refusal}', values
        if not self._behaviour.ready:
            return WARN, 'waiting for weights: braking', values
        return OK, f'driving with version {self.version}' if self.active else 'inactive', values

    # -- events -----------------------------------------------------------------------------------

    def on_status(self, msg: CarlaStatus) -> None:
        """Learn the step size, and whether the world is paused."""
        self._running = msg.synchronous_mode_running
        if msg.fixed_delta_seconds > 0.0:
            self._gate.set_period(msg.fixed_delta_seconds)
            self._half_tick = int(msg.fixed_delta_seconds * convert.NANOSECONDS / 2)

    def on_clock(self, msg: Clock) -> None:
        """Know the newest frame, so that each is commanded once, whoever commands it."""
        stamp = convert.to_ns(msg.clock)
        if stamp < self._newest_stamp - convert.NANOSECONDS:
            self._commanded_stamp = -1  # another simulation
        self._newest_stamp, self._newest_at = stamp, now()

    def on_weights(self, msg: PolicyWeights) -> None:
        """
        Check weights whole, then adopt them: the next observation is the first that they act on.
        """
        from av_td3_ros.td3 import weights  # torch: an exported policy drives without

        try:
            exploration = convert.exploration(msg)
            policy = weights.unpack(bytes(msg.tensors), msg.sha256, msg.spec, self._spec)
        except (weights.WeightsError, ConfigError) as error:
            self.refused += 1
            self._last_refusal = f'version {msg.version}: {error}'
            self.get_logger().error(
                f'weights refused, version {self.version} drives on: {self._last_refusal}'
            )
            self.diagnose()
        else:
            self._behaviour.adopt(policy)
            self._behaviour.explore(msg.exploration_std, msg.random_actions, exploration)
            self.version = msg.version
            self.adopted += 1
            self._last_refusal = ''
        self._report()

    def on_observation(self, msg: Observation) -> None:
        """Act on one frame."""
        begun = self._observed_at = now()
        self._braking = False
        stamp = convert.to_ns(msg.header.stamp)
        if self._answered(stamp):
            return
        drive = msg.drive and self._behaviour.ready
        action = self._choose(msg) if drive else self._brake(msg)
        reply = convert.to_action_msg(msg, self.version, action)
        reply.drive = drive and not self._fault
        self._action_pub.publish(reply)
        self._command(action, msg.header.stamp)
        self._commanded_stamp = stamp
        self.observations += 1
        self._latency_sum += now() - begun
        self._latency_count += 1

    # -- work -------------------------------------------------------------------------------------

    def _choose(self, msg: Observation) -> tuple:
        try:
            image, vector = convert.to_image_stack(msg, self._spec)
        except SpecError as error:
            self._fault = str(error)
            self.get_logger().error(f'braking: {error}', throttle_duration_sec=5.0)
            return self._gate.brake()
        self._fault = ''
        if msg.step_id == 0:
            self._behaviour.begin_episode()
        gated = self._gate.check(self._behaviour.act(image, vector, msg.explore))
        if gated.reason:
            self.get_logger().warning(f'command gate: {gated.reason}', throttle_duration_sec=30.0)
        # What is stored as the action is what was commanded, in the precision of the message.
        return tuple(float(value) for value in np.asarray(gated.action, np.float32))

    def _brake(self, msg: Observation) -> tuple:
        if msg.drive:
            self.get_logger().warning('no weights yet: braking', throttle_duration_sec=5.0)
        return self._gate.brake()

    def _command(self, action: tuple, stamp: Time = Time()) -> None:
        # The stamp is that of the frame which is answered; nought for a brake that answers none.
        self._command_pub.publish(convert.to_control_msg(to_control(action), stamp))
        self.commands += 1

    def _watch(self) -> None:
        """
        Brake where observations stay out.

        In lock-step a frame gets one command: a second one would be taken for the next frame's,
        and from then on every command would come one tick late. Without a simulation's frame
        count, brake again and again, but not before the first observation: the car has not been
        driven yet.
        """
        silent = self._silence()
        if self._needs_command() and silent > self.config.gate.observation_timeout:
            self._commanded_stamp, self._braking = self._newest_stamp, True
            self.get_logger().error(
                f'no observation for {silent:.1f} s: braking', throttle_duration_sec=5.0
            )
            self._command(self._gate.brake())

    def _needs_command(self) -> bool:
        """
        Whether the car waits for one: a frame without its command, or, where none are counted, any
        time.
        """
        if not self.active or not self._running:
            return False
        if self._in_lock_step():
            return self._newest_stamp > self._commanded_stamp + self._half_tick
        return self.observations > 0

    def _in_lock_step(self) -> bool:
        return self.config.lock_step and self._newest_stamp >= 0

    def _answered(self, stamp: int) -> bool:
        """
        Whether a frame must not be commanded (again).

        The watchdog may have braked for it, or the simulation have gone on without a command: a
        late one would be taken for the next frame's.
        """
        if not self._in_lock_step():
            return False
        return (
            stamp <= self._commanded_stamp + self._half_tick
            or stamp < self._newest_stamp - self._half_tick
        )

    def _silence(self) -> float:
        """Seconds without an observation, counted from the frame that waits for one."""
        waiting = self._newest_at if self._in_lock_step() else self._observed_at
        return now() - max(self._observed_at, waiting)

    def _report(self) -> None:
        mean = self._latency_sum / self._latency_count if self._latency_count else 0.0
        self._latency_sum, self._latency_count = 0.0, 0
        msg = PolicyStatus(
            policy_version=self.version,
            adopted=self.adopted,
            refused=self.refused,
            last_refusal=self._last_refusal,
            commands=self.commands,
            observations=self.observations,
            gate_interventions=self._gate.interventions,
            inference_latency=mean,
        )
        msg.header.stamp = self.get_clock().now().to_msg()
        self._status_pub.publish(msg)


def main() -> None:
    """Run the policy."""
    run_main(PolicyNode)


if __name__ == '__main__':
    main()
