"""
``av-td3 bench swap``: new weights while the policy drives: what they do to its commands.

The graph is that of ``bench deploy``, with a policy that takes weights as in training. They come
out of step with the images, so that they meet every moment of a frame.
"""

import argparse
from dataclasses import replace
import json
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from av_td3_ros.cli import bench_frames, bench_soak, bench_stack, common
from av_td3_ros.cli.bench_frames import faults, judge, unknown
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.graph import EXIT_FAULT
from av_td3_ros.options import ConfigError

SWAPS, SWAPS_PER_SECOND = 10_000, 17.0
# Different weights that are published in turn.
KINDS = 4
# A frame meets a swap where the weights were sent so long before it, s, or before its command.
NEAR = 0.02
MEMORY_PERIOD = 5.0
MIB = 1 << 20
# Fewer looks at the memory tell nothing of its growth.
LOOKS = 8


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'swap',
        help='new weights while the policy drives: missed commands, latency, memory',
        description='Publish new weights again and again while a policy answers a camera; tell '
        'which commands were missed or doubled, the time from image to command with and without '
        'a swap, and the memory of the policy. Exit code 1 where a frame was commanded twice or '
        'braked at, a command was for no image, or the memory grew.',
    )
    parser.add_argument(
        '--swaps', type=int, default=SWAPS, metavar='N', help=f'how many ({SWAPS})'
    )
    parser.add_argument(
        '--swap-rate',
        type=float,
        default=SWAPS_PER_SECOND,
        metavar='HZ',
        help=f'how many a second ({SWAPS_PER_SECOND:g})',
    )
    bench_stack.add_stack_arguments(parser)
    common.add_config_arguments(parser)
    parser.set_defaults(run=run, source=None)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    common.check_middleware()
    common.stay_on_own_domain()
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.nodes.supervisor import GraphError

    check(options)
    given, output = bench_frames.given(options), bench_stack.output_folder(options)
    with tempfile.TemporaryDirectory(prefix='av_td3_bench_') as folder:
        config = bench_stack.prepare(options, Path(folder))
        policy = replace(config.policy, artefact='', accept_weights=True)
        config = replace(config, policy=policy)
        try:
            result, frames = measure(config, options, Path(folder))
        except GraphError as error:
            return refuse(error)
    if output:
        bench_frames.write(output, 'swap', 'swap', frames, given, result)
    if options.json:
        print(json.dumps({'machine': machine(), 'swap': result}, indent=2))
    else:
        print(table(result))
    said = faults(result)
    if said:
        print(f'av-td3: no measurement: {", ".join(said)}', file=sys.stderr)
    return EXIT_FAULT if said or result['memory_grew'] else 0


def table(result: Mapping[str, Any]) -> str:
    """Return what was measured as lines of text."""
    lines = [
        '{adopted} of {published} weights adopted, {refused} refused; {versions_that_drove} of '
        'them drove {frames_driven} frames; {unknown} commands for no image'.format(**result)
    ]
    for key, text in (('with_swap', 'with a swap'), ('without', 'without')):
        lines.append(
            f'{text:>11}  stamp to command p50 {{p50_ms:.2f}} ms, p99 {{p99_ms:.2f}} ms, longest '
            '{max_ms:.2f} ms; {frames} frames, {missed} missed, {repeated} commanded again, '
            '{braked} braked'.format(**result[key])
        )
    memory, quarters = [mib for _, mib in result['memory_mib']], result['memory_quarters_mib']
    grew, judged = result['memory_grew'], 'too short to tell whether it grows'
    if quarters:
        judged = '{:.1f} to {:.1f} in the last two quarters, '.format(*quarters)
        judged += f'GREW: {grew}' if grew else 'flat'
    lines.append(
        f'memory of the policy, MiB: {memory[0]:.1f} at first, {memory[-1]:.1f} at last; {judged}'
    )
    return '\n'.join(lines)


def check(options: argparse.Namespace) -> None:
    """:raises ConfigError: for an option that cannot be used."""
    if options.swaps < 1:
        raise ConfigError(f'--swaps must be >= 1, got {options.swaps}')
    if not 0.1 <= options.swap_rate <= 1000.0:
        raise ConfigError(f'--swap-rate must be 0.1 to 1000 a second, got {options.swap_rate:g}')
    bench_stack.check_stack(options)


class Trainer:
    """Sends weights in turn, and keeps what the policy says and takes."""

    def __init__(self, node: Any, graph: Any, weights: Sequence[Any]) -> None:
        """:param node: of ROS. :param weights: messages; the first is sent now."""
        import psutil
        from av_td3_ros.bridge.topics import TOPICS, topic_qos
        from rclpy.clock import Clock, ClockType

        topic = TOPICS['policy_weights']
        self._publish = node.create_publisher(
            topic.type, topic.name, topic_qos('policy_weights')
        ).publish
        self.adopted = self.refused = 0
        topic = TOPICS['policy_status']
        node.create_subscription(
            topic.type, topic.name, self._on_status, topic_qos('policy_status')
        )
        self._node, self._weights = node, weights
        self._policy = psutil.Process(graph.members['policy'].process.pid)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.sent: List[float] = []
        self.memory_mib: List[Tuple[float, float]] = []
        self._send()

    def begin(self, rate: float) -> None:
        """Send so many a second from now on."""
        self._node.create_timer(1.0 / rate, self._send, clock=self._steady)
        self._node.create_timer(MEMORY_PERIOD, self._weigh, clock=self._steady)
        self._weigh()

    def _send(self) -> None:
        msg = self._weights[len(self.sent) % len(self._weights)]
        msg.version = len(self.sent) + 1
        self.sent.append(time.perf_counter())
        self._publish(msg)

    def _weigh(self) -> None:
        # Asking for the unique part walks its pages for 20 ms, and holds it up meanwhile.
        memory = self._policy.memory_info()
        private = (memory.rss - memory.shared) / MIB
        self.memory_mib.append((time.perf_counter() - self.sent[0], private))

    def _on_status(self, msg: Any) -> None:
        self.adopted, self.refused = msg.adopted, msg.refused


def measure(
    config: RunConfig, options: argparse.Namespace, folder: Path
) -> Tuple[Dict[str, Any], List[Tuple[Any, ...]]]:
    """
    Swap weights while the policy drives; return figures, and a row for each frame.

    :raises GraphError: where the graph does not start, or commands nothing.
    """
    trainers: List[Trainer] = []
    seconds = options.swaps / options.swap_rate

    def begin(node: Any, graph: Any) -> None:
        trainers.append(Trainer(node, graph, make_weights(config)))

    stack, before = bench_stack.drive(
        config,
        bench_stack.show(config),
        options,
        folder / 'graph',
        seconds,
        begin,
        lambda: trainers[0].begin(options.swap_rate),
    )
    (trainer,) = trainers
    stamps = list(stack.sent)[before:]
    met, free = split(stack.sent, stack.answers, stamps, trainer.sent)
    period = 1.0 / options.rate
    parts = [judge(stack.answers, part, period, stack.braked) for part in (met, free)]
    figures = {
        'published': len(trainer.sent),
        'adopted': trainer.adopted,
        'refused': trainer.refused,
        'versions_that_drove': len(stack.drove),
        'frames_driven': sum(stack.drove.values()),
        'seconds': seconds,
        'swaps_per_second': options.swap_rate,
        'camera': options.camera,
        'rate': options.rate,
        'busy': options.busy,
        'priority': stack.priority,
        'with_swap': parts[0],
        'without': parts[1],
        **{key: sum(part[key] for part in parts) for key in ('repeated', 'braked')},
        'unknown': unknown(stack.unknown, stack.sent, stamps, period),
        'memory_mib': trainer.memory_mib,
        **growth(trainer.memory_mib),
    }
    swapped = set(met)
    return figures, bench_frames.rows(stack, stamps, lambda stamp: int(stamp in swapped))


def growth(series: Sequence[Tuple[float, float]]) -> Dict[str, Any]:
    """
    Return whether memory grew, by the rule of ``bench soak``.

    ``memory_quarters_mib``: medians of the last two quarters of the time, None where it was too
    short to tell. ``memory_grew``: what is more than it may be, as words, or ''.

    :param series: moments, s, and what was held then, MiB.
    """
    since = [moment - series[0][0] for moment, _ in series]
    parts = bench_soak.quarters([mib for _, mib in series], since, max(since, default=0.0))
    if len(series) < LOOKS or not all(parts):
        return {'memory_quarters_mib': None, 'memory_grew': ''}
    usual, grew = bench_soak.memory(parts, bench_soak.MEMORY['memory_mib'])
    return {'memory_quarters_mib': usual, 'memory_grew': ', '.join(grew)}


def make_weights(config: RunConfig) -> List[Any]:
    """Return messages with the weights of different policies that nobody trained."""
    import numpy as np
    from av_td3_msgs.msg import PolicyWeights
    from av_td3_ros.bridge import convert
    from av_td3_ros.td3 import weights
    from av_td3_ros.td3.agent import TD3

    spec, learner, made = config.observation.spec(), config.trainer.learner, []
    for seed in range(KINDS):
        packed = weights.pack(TD3(spec, learner, seed=seed).policy, spec, learner.network)
        tensors = convert.to_bytes(np.frombuffer(packed.tensors, np.uint8))
        made.append(PolicyWeights(sha256=packed.sha256, spec=packed.spec, tensors=tensors))
    return made


def split(
    sent: Mapping[int, float],
    answers: Mapping[int, Sequence[float]],
    stamps: Sequence[int],
    swaps: Sequence[float],
) -> Tuple[List[int], List[int]]:
    """
    Return the stamps of frames that met a swap, and of those that did not.

    :param sent: when each frame was shown, s, by its stamp. :param answers: how long its commands
        took, s. :param swaps: when weights were sent, s, rising.
    """
    import numpy as np

    times = np.asarray(swaps)
    met: List[int] = []
    free: List[int] = []
    for stamp in stamps:
        begun = sent[stamp]
        ended = begun + (answers[stamp][0] if stamp in answers else 0.0)
        first = np.searchsorted(times, begun - NEAR)
        meets = first < len(times) and times[first] <= ended
        (met if meets else free).append(stamp)
    return met, free
