"""
What every node of the graph shares: lifecycle, parameters, topics by name, diagnostics, a clean
end.

A node declares what it needs in ``setup()`` and says how it is in ``health()``. Anything the core
raises while configuring becomes one ERROR, on the log and on /diagnostics, and a refused
transition; nothing half-built stays behind.
"""

import os
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Tuple, Type

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from av_td3_ros.bridge import params, qos
from av_td3_ros.bridge.topics import SERVICES, TOPICS, topic_name, topic_qos
from av_td3_ros.graph import EXIT_FAULT, EXIT_OK, EXIT_REFUSED
from av_td3_ros.nodes import log_folder, realtime

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
EXPECTED_ERRORS = (ValueError, OSError, RuntimeError, ImportError)
# A process that ends at once is known to nobody yet: so long it waits until who listens to
# /diagnostics is discovered, and until he has its last word, s. Everybody announces himself every
# 3 s, and an announcement may be lost.
DISCOVERY, ARRIVAL = 6.5, 0.5
# Set for the processes of a supervisor: they end with it, however it ends.
SUPERVISED = 'AV_TD3_SUPERVISED'

Health = Tuple[bytes, str, Dict[str, Any]]


class GraphNode(LifecycleNode):
    """Base of the five nodes."""

    NAME = ''
    CONFIG: Type[Any]

    def __init__(self, **kwargs: Any) -> None:
        """Keyword arguments go to ``rclpy.node.Node``."""
        super().__init__(self.NAME, **kwargs)
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self.declare_parameter('autostart', False)
        self.config: Any = None
        self.active = False
        # Whether the process is this node's alone, as under `run`, and may be changed for it.
        self.owns_process = False
        # Why it must not be configured in this process, or ''.
        self.obstacle = ''
        self.exit_code = EXIT_OK
        self.wants_exit = False
        self._entities: List[Callable[[], Any]] = []
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._refusal = ''
        # Beside the life cycle: it tells of a refused configuration, too.
        self._diagnostics = self.create_publisher(
            TOPICS['diagnostics'].type, self._name('diagnostics'), topic_qos('diagnostics')
        )

    # -- for the nodes ----------------------------------------------------------------------------

    def setup(self) -> None:
        """
        Read nothing but ``self.config``; make everything; raise where something does not fit.
        """

    def start(self) -> None:
        """Begin work; called on activation."""

    def halt(self) -> None:
        """Stop work while publishers still work; called on deactivation and before the end."""

    def release(self) -> None:
        """Let go of what ``setup`` made, entities aside."""

    def health(self) -> Health:
        """Return (level, message, values) for /diagnostics."""
        return OK, 'active' if self.active else 'inactive', {}

    def is_deployed(self, config: Any) -> bool:
        """Whether a config puts the node into somebody else's launch."""
        return False

    def publisher(self, key: str) -> Any:
        """Make the publisher of a topic of the table."""
        made = self.create_publisher(TOPICS[key].type, self._name(key), topic_qos(key))
        self._entities.append(lambda: self.destroy_publisher(made))
        return made

    def subscribe(self, key: str, callback: Callable[[Any], None], profile: str = '') -> Any:
        """
        Subscribe to a topic of the table; messages count only while the node is active.

        :param profile: a name from ``bridge/qos.py``, instead of that in the table.
        """
        return self.subscribe_always(
            key, lambda msg: callback(msg) if self.active else None, profile
        )

    def subscribe_always(
        self, key: str, callback: Callable[[Any], None], profile: str = ''
    ) -> Any:
        """
        Subscribe to a latched topic, which may come before activation.

        :param profile: a name from ``bridge/qos.py``, instead of that in the table.
        """
        quality = qos.PROFILES[profile] if profile else topic_qos(key)
        made = self.create_subscription(TOPICS[key].type, self._name(key), callback, quality)
        self._entities.append(lambda: self.destroy_subscription(made))
        return made

    def serve(self, key: str, callback: Callable[[Any, Any], Any]) -> None:
        """Offer a service of the table."""
        made = self.create_service(SERVICES[key].type, SERVICES[key].name, callback)
        self._entities.append(lambda: self.destroy_service(made))

    def every(self, period: float, callback: Callable[[], None]) -> Any:
        """Call back at a period of real time (s); simulated time may stand still."""
        made = self.create_timer(period, callback, clock=self._steady)
        self._entities.append(lambda: self.destroy_timer(made))
        return made

    def last_word(self, spin: Callable[[], None], is_told_to_end: Callable[[], bool]) -> None:
        """
        Have a refusal heard before the process ends, where anybody listens.

        :param spin: waits a moment.
        :param is_told_to_end: whether nobody is waited for any more.
        """
        end = now() + DISCOVERY
        heard = self._diagnostics.get_subscription_count
        while not heard() and not is_told_to_end() and now() < end:
            spin()
        self.diagnose()
        try:
            self._diagnostics.wait_for_all_acked(Duration(seconds=ARRIVAL))
        except RuntimeError as error:  # RCLError: a middleware that does not tell
            self.get_logger().debug(_described(error))

    def fail(self, error: BaseException) -> None:
        """Say on the log and on /diagnostics why the process ends: nothing is said after it."""
        self._refusal = _described(error)
        self.get_logger().fatal(self._refusal)
        self.diagnose()

    def finish(self, code: int) -> None:
        """Ask ``run`` to end the process with an exit code; a fault stays one."""
        self.exit_code = code or self.exit_code
        self.wants_exit = True

    # -- lifecycle --------------------------------------------------------------------------------

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Read and check the parameters, make everything, or refuse with one line."""
        self._refusal = ''
        try:
            if self.obstacle:
                raise OSError(self.obstacle)
            self.config = params.read(self, self.CONFIG, self.is_deployed)
            self.setup()
            self.every(1.0, self.diagnose)
            if self.owns_process:
                self._hurry()
        except Exception as error:  # rclpy would swallow it: say it, and leave nothing half-built
            self._say_fault(error)
            self._release_all()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Begin work."""
        result = super().on_activate(state)
        self.active = True
        self._refusal = ''
        try:
            self.start()
        except Exception as error:
            self._say_fault(error)
            return TransitionCallbackReturn.ERROR  # nothing is left of it: to be configured anew
        self.diagnose()
        return result

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop work: the last messages go out before the publishers fall silent."""
        try:
            self._stop()
        except Exception as error:  # rclpy would swallow it, and go to on_error
            self._say_fault(error)
            return TransitionCallbackReturn.ERROR
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Release everything."""
        self._release_all()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """Stop and release everything, from any state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """After a transition that raised: nothing goes on; the node may be configured anew."""
        try:
            self.close()
        except Exception as error:
            self.get_logger().error(_described(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop and release everything; safe to call twice."""
        self._stop()
        self._release_all()

    def diagnose(self) -> None:
        """Publish this node's health, or why it has none."""
        level, message, values = (ERROR, self._refusal, {}) if self._refusal else self.health()
        values = {'state': 'active' if self.active else 'inactive', 'pid': os.getpid(), **values}
        status = DiagnosticStatus(
            level=level,
            name=f'{self.NAME}: health',
            message=message,
            hardware_id=self.get_namespace(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _on_change_state(self, request: Any, response: Any) -> Any:
        """Refuse a transition out of turn; rclpy of Humble and Jazzy ends the process with it."""
        wanted = request.transition
        possible = {each[0]: each[1] for each in self._state_machine.available_transitions}
        if (wanted.label or possible.get(wanted.id)) in possible.values():
            return self._change_state(request, response)
        self.get_logger().warning(
            f'transition must be one of {possible}, got {wanted.label or wanted.id}; the node is '
            f'{self._state_machine.current_state[1]}, and stays so'
        )
        response.success = False
        return response

    def _say_fault(self, error: BaseException) -> None:
        """Say that this node cannot do its job, on the log and on /diagnostics."""
        self._refusal = _described(error)
        self.get_logger().error(self._refusal)
        self.diagnose()

    def _hurry(self) -> None:
        realtime.keep_what_is()
        refusal = realtime.prioritise(getattr(self.config, 'priority', 0))
        if refusal:
            self.get_logger().warning(refusal)

    def _stop(self) -> None:
        if self.active:
            try:
                self.halt()
            finally:  # whatever happens: what is stopped hears and says nothing more
                self.active = False
            self.diagnose()

    def _release_all(self) -> None:
        while self._entities:
            self._entities.pop()()
        self.release()

    def _name(self, key: str) -> str:
        return topic_name(key, getattr(self.config, 'role_name', ''))


def run(node_class: Type[GraphNode]) -> int:
    """
    Run one node until SIGINT, SIGTERM or its own end.

    :returns: 0 after an orderly end, 1 after a fault, 2 where the configuration was refused.
    """
    arguments, no_log_files = log_folder.arguments(sys.argv)
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # RCLError: no middleware, wrong arguments
        print(
            f'[FATAL] {node_class.NAME}: ROS must start, got {_described(error)}', file=sys.stderr
        )
        return EXIT_REFUSED
    stop = []
    parent = os.getppid() if SUPERVISED in os.environ else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: stop.append(True))
    try:
        node = node_class()
    except Exception as error:  # autostart or use_sim_time of another type
        print(f'[FATAL] {node_class.NAME}: {_described(error)}', file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_REFUSED
    node.owns_process, node.obstacle = True, no_log_files
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    code = EXIT_OK
    try:
        if node.get_parameter('autostart').value:
            success = TransitionCallbackReturn.SUCCESS
            if node.trigger_configure() != success or node.trigger_activate() != success:
                node.last_word(lambda: executor.spin_once(timeout_sec=0.02), lambda: bool(stop))
                return EXIT_REFUSED
        while not stop and not node.wants_exit:
            executor.spin_once(timeout_sec=0.2)
            if parent is not None and os.getppid() != parent:
                node.get_logger().warning('the supervisor is gone: ending')
                break
        code = node.exit_code
    except Exception as error:  # the node's boundary: stop the car, say why, fail visibly
        node.fail(error)
        code = EXIT_FAULT
        raise
    finally:
        node.close()
        code = code or node.exit_code  # its last work may have failed
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        realtime.let_go()
    return code


def main(node_class: Type[GraphNode]) -> None:
    """Run a node as a program."""
    tell_usage(node_class.NAME, '-p autostart:=true -p KEY:=VALUE ...', 'docs/parameters.md')
    sys.exit(run(node_class))


def tell_usage(name: str, parameters: str, page: str) -> None:
    """Where --help is asked for, say how a node is run, and end."""
    if {'-h', '--help'} & set(sys.argv[1:]):
        print(f'usage: ros2 run av_td3_ros {name}_node --ros-args {parameters}; see {page}')
        sys.exit(EXIT_OK)


def now() -> float:
    """Return steady time in seconds."""
    return time.monotonic()


def _described(error: BaseException) -> str:
    text = ' '.join(str(error).split())
    return (
        text if isinstance(error, EXPECTED_ERRORS) and text else f'{type(error).__name__}: {text}'
    )
