"""What the policy node says of itself: health, changes of the gate, latency."""

from typing import Any, Callable, Tuple

from av_td3_msgs.msg import PolicyStatus

from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import QUIET, Reason, State
from av_td3_ros.nodes.base import ERROR, OK, WARN


def everyday(gate: GateMachine) -> Tuple[Reason, ...]:
    """Return what comes and goes without a word; in training the waits between episodes, too."""
    wait = (Reason.HOLD,) if gate.lock_step else ()
    return (Reason.NONE, Reason.NOTHING_YET, *wait)


def judge(gate: GateMachine, ready: bool, refusal: str, version: int) -> Tuple[bytes, str]:
    """
    Return level and message for /diagnostics.

    :param gate: of the node.
    :param ready: whether there are weights.
    :param refusal: why the last weights were refused, or ''.
    :param version: of the weights that drive.
    """
    if gate.state is State.BRAKING and gate.reason not in (*QUIET, Reason.NO_WEIGHTS):
        return ERROR, f'{gate.why}: braking'
    if refusal:
        return WARN, f'weights refused: {refusal}'
    if not ready:
        braking = ': braking' if gate.state is State.BRAKING else ''
        return WARN, f'waiting for weights{braking}'
    if gate.reason is Reason.HOLD:  # in lock-step every reset of an episode does it
        level = OK if gate.lock_step else WARN
        return level, 'told to wait: braking; perception says why'
    if gate.state in (State.DISENGAGED, State.MANUAL):
        return OK, f'{gate.state.value}: {gate.why}'
    if gate.state is State.WAITING:
        level = OK if gate.lock_step else WARN
        return level, f'waiting for the first observation, to drive with version {version}'
    return OK, 'inactive' if gate.state is State.INACTIVE else f'driving with version {version}'


class Announcer:
    """Says each change of the gate once: on the log and on /diagnostics."""

    def __init__(self, gate: GateMachine, log: Any, diagnose: Callable[[], None]) -> None:
        """
        Remember where the gate is now.

        :param gate: to follow.
        :param log: the node's logger.
        :param diagnose: publishes the node's health.
        """
        self._gate, self._log, self._diagnose = gate, log, diagnose
        self._said = gate.state, gate.reason

    def __call__(self) -> None:
        """Call after every event."""
        state, reason = self._gate.state, self._gate.reason
        before, self._said = self._said, (state, reason)
        usual = everyday(self._gate)
        if before == self._said or (before[1] in usual and reason in usual):
            return
        text = f'{state.value}: {self._gate.why}' if self._gate.why else state.value
        if reason in (Reason.NO_WEIGHTS, Reason.HOLD):
            self._log.warning(text, throttle_duration_sec=5.0)
        elif reason in QUIET:
            self._log.info(text, throttle_duration_sec=1.0)
        else:
            self._log.error(text, throttle_duration_sec=1.0)
        self._diagnose()


class Latency:
    """Mean time from observation to command since it was last asked for."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self._sum, self._count = 0.0, 0

    def add(self, seconds: float) -> None:
        """Take one."""
        self._sum += seconds
        self._count += 1

    def mean(self) -> float:
        """Return the mean, s, and begin anew; nought where there was none."""
        mean = self._sum / self._count if self._count else 0.0
        self._sum, self._count = 0.0, 0
        return mean


def status(node: Any, latency: float) -> PolicyStatus:
    """Return what the node is doing as a message; its counters have the names of the fields."""
    names = ('adopted', 'refused', 'last_refusal', 'commands', 'observations')
    msg = PolicyStatus(
        policy_version=node.version,
        gate_interventions=node.gate.interventions,
        inference_latency=latency,
        **{name: getattr(node, name) for name in names},
    )
    msg.header.stamp = node.get_clock().now().to_msg()
    return msg
