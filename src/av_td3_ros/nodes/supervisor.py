"""
Starts the graph as separate processes, watches it, and ends it without leaving anything behind.

Order matters: who listens is active before who speaks, and the world comes last, so that the first
frame already finds everybody. At the end the world is paused first, so that every frame has had
its command.
"""

from dataclasses import replace
import os
from pathlib import Path
import signal
import time
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from av_td3_msgs.msg import EpisodeResult, PolicyStatus, TrainingStatus
from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from av_td3_ros import graph
from av_td3_ros.bridge.topics import SERVICES, TOPICS, topic_qos
from av_td3_ros.config import RunConfig
from av_td3_ros.nodes import calls, shared_memory, twin
from av_td3_ros.nodes.base import SUPERVISED
from av_td3_ros.nodes.lives import Lives
from av_td3_ros.nodes.member import Member

START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
REST_TIMEOUT = 5.0
# A living node speaks once a second on /diagnostics; without a word for so long it is silent, s.
SILENT_AFTER = 10.0
# Its name in the graph, and among the participants of SROS 2.
OPERATOR = 'operator'


class GraphError(RuntimeError):
    """The graph could not be started or did not survive; the text is for the user."""


class Supervisor:
    """Owns the processes of one graph and a node to speak with them."""

    def __init__(
        self,
        run: RunConfig,
        kind: str,
        folder: Path,
        arguments: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """
        Prepare a graph; nothing starts yet.

        :param kind: a key of ``graph.GRAPHS``.
        :param folder: parameter files and logs go below it.
        :param arguments: by node name, further ROS arguments, such as remappings.
        """
        self.status: Optional[TrainingStatus] = None
        self.policy_status: Optional[PolicyStatus] = None
        self.health: Dict[str, Dict[str, str]] = {}
        self.lives = Lives()
        self.on_result: Callable[[EpisodeResult], None] = lambda msg: None
        os.environ.update(graph.environment())
        logs, params = folder / 'logs', folder / 'params'
        logs.mkdir(parents=True, exist_ok=True)
        params.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, 'PYTHONUNBUFFERED': '1', SUPERVISED: '1'}
        self.members = {}
        for spec in graph.nodes(kind):
            self.members[spec.name] = Member(
                spec,
                params / spec.file,
                logs / f'{spec.name}.log',
                environment,
                arguments.get(spec.name, ()),
            )
        self._run = run
        self._paused: Optional[bool] = None  # as it was asked for last
        self._before_asking: Optional[Dict[str, str]] = None
        self._began = False
        self.node: Any = None
        self._executor: Any = None
        self._shared_memory = shared_memory.snapshot()
        self._claim = twin.DomainClaim(twin.domain())

    def __enter__(self) -> 'Supervisor':
        """Start the graph; leave nothing behind where that fails."""
        if not self._claim.take():
            raise GraphError(twin.REFUSAL.format(twin.domain()))
        try:
            for member in self.members.values():
                self._tell(member)
            rclpy.init(
                args=['--ros-args', '--disable-external-lib-logs', *graph.enclave(OPERATOR)],
                signal_handler_options=SignalHandlerOptions.NO,
            )
            self._began = True
            self.node = Node(OPERATOR, namespace=graph.NAMESPACE)
            self._executor = SingleThreadedExecutor()
            self._executor.add_node(self.node)
            self._subscribe()
            if twin.heard(self.node, self.spin, self.call):
                raise GraphError(twin.REFUSAL.format(twin.domain()))
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        """End the graph."""
        self.close()

    # -- running ----------------------------------------------------------------------------------

    def spin(self, until: Callable[[], bool], timeout: float) -> bool:
        """
        Process messages until a predicate holds.

        :param timeout: s.
        :returns: whether the predicate held.
        """
        end = time.monotonic() + timeout
        while not until():
            left = end - time.monotonic()
            if left <= 0.0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True

    def revive(self) -> None:
        """
        Start again what has died; the trainer goes on from its newest checkpoint.

        The world is paused, or goes on, as it was asked for last: who was asked may have died.

        :raises GraphError: where a node refuses its configuration or keeps dying.
        """
        for member in self.members.values():
            if member.alive():
                continue
            code = member.process.returncode
            if member.restarts >= graph.MAX_RESTARTS:
                raise GraphError(
                    f'{member.spec.name} ended {member.restarts + 1} times, last with exit code '
                    f'{code}: {member.last_error()}'
                )
            member.restarts += 1
            self.node.get_logger().warning(
                f'{member.spec.name} ended with exit code {code}: starting it '
                f'again ({member.restarts} of {graph.MAX_RESTARTS})'
            )
            member.terminate(0.0)
            self._tell(member)
            member.spawn()
            self._await_active([member])
        told = self.health.get('simulator')
        is_new = told is not None and told is not self._before_asking
        if self._paused is not None and is_new and told.get('paused') == str(not self._paused):
            self.pause(self._paused)

    def silent(self) -> List[str]:
        """Return the nodes whose process lives, and that say nothing on /diagnostics any more."""
        limit = time.monotonic() - SILENT_AFTER
        alive = [name for name, member in self.members.items() if member.alive()]
        return [name for name in alive if self.health.get(name, {}).get('heard', limit) < limit]

    def kill_silent(self) -> List[str]:
        """Kill what ``silent`` returns, for ``revive`` to start it again; return it."""
        found = self.silent()
        for name in found:
            self.members[name].process.kill()
        return found

    def complaints(self) -> str:
        """Return which nodes say nothing, and what the others find wrong."""
        silent = self.silent()
        found = [f'{name} says nothing' for name in silent]
        for name, told in self.health.items():
            if name not in silent and told['level']:  # 0 is OK
                found.append(f'{name}: {told["message"]}')
        return '; '.join(found) or 'every node says that it is well'

    def pause(self, paused: bool) -> None:
        """Pause the world or let it go on; where nobody can be asked, ``revive`` asks again."""
        self._paused = paused
        if 'episode_manager' in self.members and self.members['episode_manager'].alive():
            self.ask('episode_manager', 'set_paused', 5.0, paused=paused)
        self._before_asking = self.health.get('simulator')

    def publish(self, topic: str, message: Any) -> None:
        """Publish one message once somebody listens."""
        publisher = self.node.create_publisher(type(message), topic, 10)
        self.spin(lambda: publisher.get_subscription_count() > 0, 10.0)
        publisher.publish(message)
        self.spin(lambda: False, 0.1)
        self.node.destroy_publisher(publisher)

    def finish(self) -> None:
        """
        Let the graph come to rest: world paused, every command given, every transition stored.
        """
        self.pause(True)
        self.spin(self._is_answered, REST_TIMEOUT)
        if {'episode_manager', 'trainer'} <= set(self.members):
            # What the manager has told before may be one transition less than it has sent.
            before = self.health.get('episode_manager')
            self.spin(lambda: self._is_stored(before), REST_TIMEOUT)
        for name in ('simulator', 'episode_manager', 'perception', 'policy', 'trainer'):
            member = self.members.get(name)
            if member is not None and member.alive():
                member.process.send_signal(signal.SIGTERM)
                self.spin(lambda: not member.alive(), STOP_TIMEOUT)

    def close(self) -> None:
        """End every process and remove what the killed ones left in shared memory."""
        deadline = time.monotonic() + STOP_TIMEOUT
        for member in self.members.values():
            if member.alive():
                member.process.send_signal(signal.SIGTERM)
        try:
            for member in self.members.values():
                member.terminate(max(deadline - time.monotonic(), 0.1))
            if self._executor is not None:
                self._executor.shutdown()
            if self.node is not None:
                self.node.destroy_node()
            if self._began:
                rclpy.try_shutdown()
            shared_memory.remove_orphans(self._shared_memory)
        finally:
            self._claim.release()

    # -- starting ---------------------------------------------------------------------------------

    def _start(self) -> None:
        """The world comes last, so that its first frame finds everybody."""
        members = list(self.members.values())
        world = [member for member in members if member.spec is graph.SIMULATOR]
        listeners = [member for member in members if member not in world]
        for batch in (listeners, world):
            for member in batch:
                member.spawn()
            self._await_active(batch)

    def _tell(self, member: Member) -> None:
        """Write the parameters of a process that starts, for the first time or again."""
        name = member.spec.name
        going_on = graph.going_on(self._run, name, is_again=member.restarts > 0)
        member.write_parameters(replace(getattr(self._run, name), **going_on))

    def _await_active(self, members: Sequence[Member]) -> None:
        """
        Wait until every member says that it is active.

        :raises GraphError: where one refuses its configuration, or takes too long.
        """

        def settled() -> bool:
            return all(self._active(member) or not member.alive() for member in members)

        in_time = self.spin(settled, START_TIMEOUT)
        for member in members:
            if not member.alive():
                raise GraphError(member.last_error())
            if not in_time and not self._active(member):
                raise GraphError(
                    f'{member.spec.name} was not active within {START_TIMEOUT:g} s: '
                    f'{member.last_error()}'
                )

    def _active(self, member: Member) -> bool:
        """By its process id: a process that was killed may still seem to be there for seconds."""
        health = self.health.get(member.spec.name, {})
        return health.get('pid') == str(member.process.pid) and health.get('state') == 'active'

    def call(self, kind: Any, name: str, request: Any, timeout: float) -> Any:
        """Call a service; None where no answer comes."""
        return calls.call(self.node, self.spin, kind, name, request, timeout)

    def ask(self, node: str, key: str, timeout: float, **values: Any) -> Any:
        """Call a service of the table, of one of the nodes; None where no answer comes."""
        service = SERVICES[key]
        name = f'/{graph.NAMESPACE}/{node}/{service.name[2:]}'
        return self.call(service.type, name, service.type.Request(**values), timeout)

    # -- listening --------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        def subscribe(key: str, callback: Callable[[Any], None]) -> None:
            self.node.create_subscription(
                TOPICS[key].type, TOPICS[key].name, callback, topic_qos(key)
            )

        subscribe('training_status', lambda msg: setattr(self, 'status', msg))
        subscribe('policy_status', lambda msg: setattr(self, 'policy_status', msg))
        subscribe('episode_result', lambda msg: self.on_result(msg))
        subscribe('diagnostics', self._on_diagnostics)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            values = {item.key: item.value for item in status.values}
            level = status.level[0] if isinstance(status.level, bytes) else status.level
            stamp = msg.header.stamp.sec + msg.header.stamp.nanosec * 1e-9
            name = status.name.partition(':')[0]
            counted = {key: int(value) for key, value in values.items() if value.isdecimal()}
            self.lives.tell(name, values.get('pid', ''), counted)
            self.health[name] = {
                **values,
                'level': level,
                'message': status.message,
                'stamp': stamp,
                'heard': time.monotonic(),
            }

    def _is_answered(self) -> bool:
        """Whether the world, as told since it was asked to pause, waits for no command."""
        told = self.health.get('simulator')
        if told is None or told is self._before_asking:
            return False
        return told.get('paused') == 'True' and told.get('awaits_command') == 'False'

    def _is_stored(self, before: Optional[Dict[str, str]]) -> bool:
        """
        Whether what the manager has told since ``before`` is with the trainer.

        By their numbers: either of the two may have begun to count anew.
        """
        manager, trainer = self.health.get('episode_manager'), self.health.get('trainer', {})
        if manager is None or manager is before:
            return False
        sent = int(manager.get('transitions_sent', 0))
        if not sent:
            return True
        is_its_own = trainer.get('publisher') == manager['publisher']
        return is_its_own and int(trainer['last_sequence']) >= sent
