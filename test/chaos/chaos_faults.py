"""
The faults of the campaign: a function each, which does the harm, undoes it, and says what it did.

What comes after it, recovery included, is the business of the campaign.
"""

from dataclasses import replace
from hashlib import sha256
import os
from pathlib import Path
import random
import resource
import signal
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple

from av_td3_msgs.msg import PolicyWeights
from chaos_tap import Meddling, remappings, SECOND, Tap, TAPPED
import numpy as np
import safetensors.numpy
from sensor_msgs.msg import Image

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import topic_name, topic_qos, TOPICS
from av_td3_ros.config import RunConfig
from av_td3_ros.nodes.member import Member
from av_td3_ros.nodes.supervisor import Supervisor
from av_td3_ros.td3 import weights

NODES = ('simulator', 'perception', 'policy', 'episode_manager', 'trainer')
WIRE_KINDS = ('drop', 'double', 'delay', 'reorder', 'truncate', 'flip')
# Longer than any of them needs: what is not over by then is a fault of the campaign.
PATIENCE = 30.0


class Scene(NamedTuple):
    """
    What a fault can lay its hands on. ``folder``: the run folder of the graph. ``damaged``: files
    that a fault has damaged, with the SHA-256 of what it left there.
    """

    graph: Supervisor
    tap: Tap
    folder: Path
    run: RunConfig
    damaged: Dict[Path, str]


Fault = Callable[[Scene, random.Random], str]


def kill(node: str) -> Fault:
    """The process is gone from one instruction to the next; the supervisor starts it again."""

    def do(scene: Scene, rng: random.Random) -> str:
        process = scene.graph.members[node].process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        scene.graph.spin(lambda: False, rng.uniform(0.0, 2.0))
        scene.graph.revive()
        return 'SIGKILL, started again'

    return do


def restart(node: str) -> Fault:
    """The process is ended in order, and started again."""

    def do(scene: Scene, _: random.Random) -> str:
        process = scene.graph.members[node].process
        process.send_signal(signal.SIGTERM)
        if not scene.graph.spin(lambda: process.poll() is not None, PATIENCE):
            raise AssertionError(f'{node} did not end by SIGTERM')
        scene.graph.revive()
        return 'SIGTERM, started again'

    return do


def stop(node: str) -> Fault:
    """The process stands still for a while, as when the machine swaps or a debugger has it."""

    def do(scene: Scene, rng: random.Random) -> str:
        seconds = rng.uniform(0.2, 4.0)
        _stand_still(scene, node, seconds)
        return f'SIGSTOP for {seconds:.1f} s'

    return do


def pause_simulator(scene: Scene, _: random.Random) -> str:
    """The world itself hangs."""
    _stand_still(scene, 'simulator', 5.0)
    return 'for 5 s'


def meddle(kind: str) -> Fault:
    """Messages of a random topic of the loop are lost, late, wrong."""

    def do(scene: Scene, rng: random.Random) -> str:
        topic = rng.choice(list(TAPPED))
        amount = {'delay': rng.uniform(0.02, 0.5), 'flip': rng.randint(1, 64)}.get(kind, 0.0)
        order = Meddling(kind, topic, rng.randint(1, 5), amount, rng.randrange(2**31))
        _meddle(scene, order)
        told = {'delay': f' by {amount:.2f} s', 'flip': f' {amount} bits'}.get(kind, '')
        return f'{order.count} x {topic}{told}'

    return do


def camera(kind: str) -> Fault:
    """The camera hangs, or goes black; its stamps go on."""

    def do(scene: Scene, rng: random.Random) -> str:
        count = rng.randint(20, 100)
        _meddle(scene, Meddling(kind, 'image', count))
        return f'{count} frames'

    return do


def clock_jump(scene: Scene, rng: random.Random) -> str:
    """Time goes on from a later time."""
    seconds = rng.choice((1, 10, 3600))
    scene.tap.ask('shift', seconds * SECOND)
    return f'{seconds} s ahead'


def clock_reset(scene: Scene, rng: random.Random) -> str:
    """Time goes on from an earlier time or from nought, as after a restart of the world."""
    seconds = rng.choice((2, 10, 3600))
    scene.tap.ask('shift', -seconds * SECOND)
    return f'{seconds} s back, at most to 0'


def bad_weights(scene: Scene, rng: random.Random) -> str:
    """Weights as the trainer sends them, newer, with a hash that is right, and no numbers."""
    heard: List[PolicyWeights] = []
    subscription = scene.graph.node.create_subscription(
        PolicyWeights, topic_name('policy_weights', ''), heard.append, topic_qos('policy_weights')
    )
    scene.graph.spin(lambda: bool(heard), PATIENCE)
    scene.graph.node.destroy_subscription(subscription)
    msg = heard[-1]
    tensors = safetensors.numpy.load(bytes(msg.tensors))
    name = rng.choice(sorted(tensors))
    tensors[name] = np.full_like(tensors[name], rng.choice((np.nan, np.inf)))
    packed = safetensors.numpy.save(tensors)
    msg.version, msg.sha256 = msg.version + 10_000, weights.sha256(packed)
    msg.tensors = convert.to_bytes(np.frombuffer(packed, np.uint8))
    refused = scene.graph.policy_status.refused
    told = _say(scene, 'policy_weights', msg, lambda: scene.graph.policy_status.refused > refused)
    if not told:
        raise AssertionError(f'weights with {name} not finite were not refused')
    return f'{name}: refused'


def full_disk(scene: Scene, _: random.Random) -> str:
    """No file of the trainer may grow while a checkpoint is written."""
    trainer = scene.graph.members['trainer'].process.pid
    before = resource.prlimit(trainer, resource.RLIMIT_FSIZE)
    resource.prlimit(trainer, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        answer = _save(scene)
    finally:
        resource.prlimit(trainer, resource.RLIMIT_FSIZE, before)
    if answer.success:
        raise AssertionError('a checkpoint was written to a full disk')
    again = _save(scene)
    if not again.success:
        raise AssertionError(f'no checkpoint after the disk was free: {again.message}')
    return answer.message


def torn_checkpoint(scene: Scene, rng: random.Random) -> str:
    """The newest checkpoint is damaged, and the trainer killed: it must go on from another."""
    _save(scene)
    newest = max((scene.folder / 'checkpoints').glob('step_*'))
    file = newest / rng.choice(('policy.safetensors', 'learner.safetensors', 'checkpoint.json'))
    content = bytearray(file.read_bytes())
    how = rng.choice(('cut', 'changed', 'emptied'))
    if how == 'changed':
        content[rng.randrange(len(content))] ^= 255
    left = content[: {'cut': len(content) // 2, 'emptied': 0}.get(how, len(content))]
    file.write_bytes(left)
    scene.damaged[file] = sha256(left).hexdigest()
    kill('trainer')(scene, rng)
    return f'{file.name} {how}'


def second_trainer(scene: Scene, rng: random.Random) -> str:
    """Somebody starts a second trainer on the same graph."""
    config = replace(scene.run.trainer, run_dir=str(scene.folder / 'second'))
    return _two(scene, 'trainer', config, rng)


def second_policy(scene: Scene, rng: random.Random) -> str:
    """Somebody starts a second policy on the same graph."""
    return _two(scene, 'policy', scene.run.policy, rng)


def flood(scene: Scene, rng: random.Random) -> str:
    """Somebody publishes as fast as he can: pictures of nothing, weights, observations."""
    topic = rng.choice(('image', 'policy_weights', 'observation', 'odometry', 'transition'))
    node, name = scene.graph.node, topic_name(topic, 'ego_vehicle')
    publisher = node.create_publisher(TOPICS[topic].type, name, topic_qos(topic))
    msg = TOPICS[topic].type()
    if topic == 'image':
        msg = Image(height=54, width=96, encoding='bgra8', step=384, data=bytes(54 * 384))
    count, until = 0, time.monotonic() + 3.0
    while time.monotonic() < until:
        for _ in range(20):
            publisher.publish(msg)
            count += 1
        scene.graph.spin(lambda: False, 0.001)
    node.destroy_publisher(publisher)
    return f'{count} x {topic} in 3 s'


FAULTS: Dict[str, Fault] = {
    **{f'kill {node}': kill(node) for node in NODES},
    **{f'restart {node}': restart(node) for node in NODES},
    **{f'stop {node}': stop(node) for node in NODES},
    **{f'{kind} messages': meddle(kind) for kind in WIRE_KINDS},
    'frozen camera': camera('freeze'),
    'black camera': camera('blacken'),
    'clock jump': clock_jump,
    'clock reset': clock_reset,
    'NaN weights': bad_weights,
    'full disk': full_disk,
    'torn checkpoint': torn_checkpoint,
    'two trainers': second_trainer,
    'two policies': second_policy,
    'flood': flood,
    'simulator pause': pause_simulator,
}


def _two(scene: Scene, node: str, config: Any, rng: random.Random) -> str:
    spec, seconds = scene.graph.members[node].spec, rng.uniform(4.0, 8.0)  # its start included
    params = scene.folder / f'second_{spec.file}'
    log = scene.folder / 'logs' / f'second_{node}.log'
    twin = Member(spec, params, log, dict(os.environ), remappings()[node])
    twin.write_parameters(config)
    twin.spawn()
    try:
        scene.graph.spin(lambda: False, seconds)
    finally:
        twin.terminate(PATIENCE)
    scene.graph.spin(lambda: False, 0.5)  # what it said last
    return f'for {seconds:.0f} s'


def _stand_still(scene: Scene, node: str, seconds: float) -> None:
    pid = scene.graph.members[node].process.pid
    os.kill(pid, signal.SIGSTOP)
    # Not by the graph: its own messages go on, and the pause must end whatever happens.
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
    timer.start()
    scene.graph.spin(lambda: not timer.is_alive(), seconds + PATIENCE)
    timer.join()


def _meddle(scene: Scene, order: Meddling) -> None:
    scene.tap.ask('meddle', order)
    # A topic may fall silent by it (nothing is published for what never came): then it is over.
    passed, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < PATIENCE:
        report = scene.tap.ask()
        if report['left'] <= 0:
            break
        if report['passed'][order.topic] != passed:
            passed, quiet_since = report['passed'][order.topic], time.monotonic()
        scene.graph.spin(lambda: False, 0.05)
    scene.graph.spin(lambda: False, 0.1 + (order.amount if order.kind == 'delay' else 0.0))
    scene.tap.ask('meddle', None)


def _say(scene: Scene, topic: str, msg: Any, heard: Callable[[], bool]) -> bool:
    """Publish until it was heard: a listener that is new may be matched seconds later."""
    node, name = scene.graph.node, topic_name(topic, 'ego_vehicle')
    publisher = node.create_publisher(TOPICS[topic].type, name, topic_qos(topic))
    end, in_time = time.monotonic() + PATIENCE, False
    while not in_time and time.monotonic() < end:
        publisher.publish(msg)  # again: it may have been one of too many that waited, and left out
        in_time = scene.graph.spin(heard, 1.0)
    node.destroy_publisher(publisher)
    return in_time


def _save(scene: Scene) -> Any:
    answer = scene.graph.ask('trainer', 'save_checkpoint', PATIENCE)
    if answer is None:
        raise AssertionError('save_checkpoint did not answer')
    return answer
