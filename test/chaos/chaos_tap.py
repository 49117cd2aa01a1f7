"""
A process between the nodes: every message on the way of the loop passes it, as bytes.

It hands them on untouched, or does what a fault tells it to; and it watches the vehicle.
"""

from functools import partial
import multiprocessing
import random
import struct
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from chaos_watch import Command, DriveWatch

# Topic and the node that publishes it, in the order of one frame.
TAPPED = {
    'clock': 'simulator',
    'odometry': 'simulator',
    'image': 'simulator',
    'episode_state': 'episode_manager',
    'observation': 'perception',
    'action': 'policy',
    'vehicle_control_cmd': 'policy',
    'transition': 'episode_manager',
    'policy_weights': 'trainer',
    'training_status': 'trainer',
}
STAMPED = ('clock', 'odometry', 'image')
SUFFIX = '_untapped'
HEADER = 4  # of every message as bytes: its encoding; a stamp comes next
SECOND = 1_000_000_000
TIMEOUT = 30.0
# From one frame to the next at least, s, as in the world's own time: a graph that drives as fast
# as it can leaves no core to the node that is started again, and none to a second campaign.
FRAME = 0.05


class Meddling(NamedTuple):
    """
    What is done to messages of one topic.

    ``kind``: a key of ``KINDS``. ``count``: of messages. ``amount``: s or bits, by kind.
    """

    kind: str
    topic: str
    count: int
    amount: float = 0.0
    seed: int = 0


class Hands:
    """What is being done, and what that needs to remember."""

    def __init__(self, meddling: Meddling) -> None:
        """:param meddling: what to do."""
        self.meddling = meddling
        self.left = meddling.count
        self.rng = random.Random(meddling.seed)
        self.held: Any = None
        self.later: List[Tuple[float, bytes]] = []


def drop(raw: bytes, _: Hands) -> List[bytes]:
    """It never arrives."""
    return []


def double(raw: bytes, _: Hands) -> List[bytes]:
    """It arrives twice."""
    return [raw, raw]


def delay(raw: bytes, hands: Hands) -> List[bytes]:
    """It arrives ``amount`` s later."""
    hands.later.append((time.monotonic() + hands.meddling.amount, raw))
    return []


def reorder(raw: bytes, hands: Hands) -> List[bytes]:
    """Every second one arrives before the one before it."""
    held, hands.held = hands.held, None
    if held is not None:
        return [raw, held]
    hands.held = raw
    return []


def truncate(raw: bytes, hands: Hands) -> List[bytes]:
    """Its end is missing."""
    return [raw[: hands.rng.randrange(HEADER, len(raw))]]


def flip(raw: bytes, hands: Hands) -> List[bytes]:
    """Some of its bits are others."""
    changed = bytearray(raw)
    for _ in range(int(hands.meddling.amount)):
        changed[hands.rng.randrange(HEADER, len(changed))] ^= 1 << hands.rng.randrange(8)
    return [bytes(changed)]


def freeze(raw: bytes, hands: Hands) -> List[bytes]:
    """A camera that shows one picture for ever, under stamps that go on."""

    def first(data: Any) -> Any:
        hands.held = data if hands.held is None else hands.held
        return hands.held

    return [_with_pixels(raw, first)]


def blacken(raw: bytes, _: Hands) -> List[bytes]:
    """A camera that sees nothing."""
    return [_with_pixels(raw, lambda data: bytes(len(data)))]


def _with_pixels(raw: bytes, change: Callable[[Any], Any]) -> bytes:
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import Image

    image = deserialize_message(raw, Image)
    image.data = change(image.data)
    return serialize_message(image)


KINDS = {
    function.__name__: function
    for function in (drop, double, delay, reorder, truncate, flip, freeze, blacken)
}


class OtherClock:
    """
    Stamps as of a clock that has jumped, from nought on; whole worlds that are started again have
    a clock of their own.
    """

    def __init__(self) -> None:
        """It agrees with the world's."""
        self._offset = self._newest = 0

    def jump(self, by: int) -> None:
        """Go on ``by`` ns from now; at nought where that is before it."""
        self._offset = max(self._offset + by, -self._newest)

    def stamped(self, raw: bytes) -> bytes:
        """
        Return a message with the stamp of this clock.

        :param raw: of a type that begins with a stamp, or with a header; in order, but for a
            world that was started again.
        """
        sec, nanosec = struct.unpack_from('<iI', raw, HEADER)
        stamp = sec * SECOND + nanosec
        if self._newest - stamp > SECOND:
            self._offset = self._newest = 0
        self._newest = max(self._newest, stamp)
        if not self._offset:
            return raw
        changed = bytearray(raw)
        moved = max(stamp + self._offset, 0)
        struct.pack_into('<iI', changed, HEADER, *divmod(moved, SECOND))
        return bytes(changed)


class _Tap:
    """Lives in the process."""

    def __init__(self, role_name: str) -> None:
        import rclpy
        from rclpy.serialization import deserialize_message

        from av_td3_ros import graph
        from av_td3_ros.bridge.topics import TOPICS, topic_name, topic_qos

        self._read = deserialize_message
        self._types = {key: TOPICS[key].type for key in TAPPED}
        self.watch = DriveWatch()
        self.hands: Optional[Hands] = None
        self.clock = OtherClock()
        self._next_frame = 0.0
        self.passed: Dict[str, int] = dict.fromkeys(TAPPED, 0)
        self.node = rclpy.create_node('chaos_tap', namespace=graph.NAMESPACE)
        self._out = {}
        for key in TAPPED:
            name, qos = topic_name(key, role_name), topic_qos(key)
            self._out[key] = self.node.create_publisher(TOPICS[key].type, name, qos)
            self.node.create_subscription(
                TOPICS[key].type, name + SUFFIX, partial(self._on, key), qos, raw=True
            )

    def release(self) -> None:
        """Send what was delayed and is due."""
        if self.hands is None:
            return
        key, due = self.hands.meddling.topic, time.monotonic()
        ready = [raw for at, raw in self.hands.later if at <= due]
        self.hands.later = [(at, raw) for at, raw in self.hands.later if at > due]
        for raw in ready:
            self._send(key, raw)

    def _on(self, key: str, raw: bytes) -> None:
        self.passed[key] += 1
        if key == 'clock':
            time.sleep(max(self._next_frame - time.monotonic(), 0.0))
            self._next_frame = time.monotonic() + FRAME
        if key == 'odometry':
            msg = self._read(raw, self._types[key])
            place = msg.pose.pose.position
            self.watch.moved(place.x, place.y, msg.twist.twist.linear.x)
        elif key == 'vehicle_control_cmd':
            self.watch.said(self._command(raw))
        if key in STAMPED:
            raw = self.clock.stamped(raw)
        hands = self.hands
        if hands is None or hands.meddling.topic != key or hands.left <= 0:
            self._send(key, raw)
            return
        hands.left -= 1
        for changed in KINDS[hands.meddling.kind](raw, hands):
            self._send(key, changed)

    def _send(self, key: str, raw: bytes) -> None:
        if key == 'vehicle_control_cmd':
            try:
                self.watch.applied(self._command(raw))
            except Exception:  # cut short: the vehicle cannot read it either
                pass
        self._out[key].publish(raw)

    def _command(self, raw: bytes) -> Command:
        msg = self._read(raw, self._types['vehicle_control_cmd'])
        return Command(msg.throttle, msg.steer, msg.brake, msg.reverse)


def _run(pipe: Any, role_name: str) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    tap = _Tap(role_name)
    executor = SingleThreadedExecutor()
    executor.add_node(tap.node)
    pipe.send('ready')
    try:
        while True:
            executor.spin_once(timeout_sec=0.02)
            tap.release()
            while pipe.poll():
                order, value = pipe.recv()
                if order == 'end':
                    return
                if order == 'meddle':
                    tap.hands = Hands(value) if value else None
                elif order == 'shift':
                    tap.clock.jump(value)
                elif order == 'begin':
                    tap.watch.begin()
                left = tap.hands.left if tap.hands else 0
                pipe.send({**tap.watch.report(), 'left': left, 'passed': dict(tap.passed)})
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        executor.shutdown()
        tap.node.destroy_node()
        rclpy.try_shutdown()


class Tap:
    """The process, as seen from the campaign."""

    def __init__(self, role_name: str = 'ego_vehicle') -> None:
        """Start it; returns when it listens."""
        spawn = multiprocessing.get_context('spawn')
        self._pipe, there = spawn.Pipe()
        self._process = spawn.Process(target=_run, args=(there, role_name), daemon=True)
        self._process.start()
        there.close()
        if not self._pipe.poll(TIMEOUT) or self._pipe.recv() != 'ready':
            raise RuntimeError('the tap did not start')

    def ask(self, order: str = 'report', value: Any = None) -> Dict[str, Any]:
        """
        Give an order, and return what the vehicle did since ``begin``.

        :param order: 'report', 'begin', 'meddle' (a Meddling, or None to stop) or 'shift' (ns).
        """
        self._pipe.send((order, value))
        if not self._pipe.poll(TIMEOUT):
            raise RuntimeError(f'the tap did not answer {order}')
        return self._pipe.recv()

    def close(self) -> None:
        """End it."""
        try:
            self._pipe.send(('end', None))
        except OSError:
            pass
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def remappings(role_name: str = 'ego_vehicle') -> Dict[str, List[str]]:
    """Return, by node, the arguments that lead its messages to the tap."""
    from av_td3_ros.bridge.topics import topic_name

    found: Dict[str, List[str]] = {}
    for key, node in TAPPED.items():
        name = topic_name(key, role_name)
        found.setdefault(node, []).extend(['-r', f'{name}:={name}{SUFFIX}'])
    return found
