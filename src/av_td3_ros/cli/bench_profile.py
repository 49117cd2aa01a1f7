"""
Where the time of a ``recommended`` update goes, and how far that is from the processor's peak.

PyTorch's profiler says which operation took how long; the labels of ``TD3.update`` and hooks on
the networks say what it was for. The peak is that of a large square matrix product, measured here.
"""

from collections import defaultdict
from contextlib import contextmanager
import os
from pathlib import Path
import statistics
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import torch
from torch import nn
from torch.profiler import profile, ProfilerActivity, record_function

from av_td3_ros.cli.bench_learner import busy_lines, machine_lines, RECOMMENDED, Settings
from av_td3_ros.cli.bench_sides import filled, Load, settings_of, take_turn
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.arithmetic import choose, keep_memory

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
FRAMES = 4096
PEAK_SIZES = (1024, 2048)  # of square matrices
WARM_UP = 4
WINDOW = 6  # updates profiled at a time: see _touch_memory
TOUCHED, TOUCHED_BLOCK = 448 * 2**20, 16 * 2**20  # below the limits of keep_memory()
ENCODER, MLP, SAMPLE = 'bench encoder', 'bench mlp', 'bench sample'
CONVOLUTION_BACKWARD = 'backward, convolution {}'
LINEAR_BACKWARD = 'backward, linear layer of the encoder'
METRICS = 'metrics'
OTHER = 'Python and what has no name here'


class Layer(NamedTuple):
    """
    A layer of the encoder.

    ``output``: its shape without the batch. ``flops``: of one forward pass of a batch.
    """

    module: nn.Module
    output: Tuple[int, ...]
    flops: float


def bf16_instructions() -> List[str]:
    """Return the instruction sets for bf16 that the processor has."""
    try:
        flags = Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return []
    return [flag for flag in ('amx_bf16', 'avx512_bf16') if flag in flags]


def matrix_peak(threads: int, device: str = 'cpu') -> Dict[str, float]:
    """Return the fastest large matrix product in each precision, GFLOP/s."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return {
            name: max(_product_rate(size, dtype, device) for size in PEAK_SIZES)
            for name, dtype in PRECISIONS.items()
        }
    finally:
        torch.set_num_threads(before)


def _product_rate(size: int, dtype: torch.dtype, device: str) -> float:
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    best = float('inf')
    for _ in range(6):
        begun = time.perf_counter()
        product = torch.mm(a, b)
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begun)
    return 2.0 * size**3 / best / 1e9


# -- measuring ------------------------------------------------------------------------------------


def measure(
    threads: Sequence[int], rounds: int, seconds: float, say: Callable[[str], None]
) -> Dict[str, Any]:
    """
    Profile updates in every precision with every number of threads.

    :param rounds: of turns that time an update without the profiler.
    :param seconds: of a turn; the profiler runs about as long.
    :param say: takes the progress, one line.
    """
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # says at every start and stop that it does
    keep_memory()
    config = settings_of(RECOMMENDED)
    learner, spec = config.trainer.learner, config.observation.spec()
    say('filling a replay buffer')
    replay = filled(config, RECOMMENDED, Settings(FRAMES, 'cpu'))
    before = torch.get_num_threads()
    results, load = [], Load()
    try:
        for count in threads:
            torch.set_num_threads(count)
            for precision in PRECISIONS:
                say(f'{precision}, {count} thread(s)')
                arithmetic, _ = choose(spec, learner.network, learner.batch_size, precision, 'cpu')
                agent = TD3(spec, learner, arithmetic=arithmetic)
                entry = _profiled(
                    agent, lambda: replay.sample(learner.batch_size), rounds, seconds
                )
                results.append(
                    {
                        'threads': count,
                        'arithmetic': str(arithmetic),
                        'precision': precision,
                        **entry,
                    }
                )
        others = load.cores()
    finally:
        torch.set_num_threads(before)
        say('')
    return {
        'batch': learner.batch_size,
        'cores_used_by_others': others,
        'profile': results,
    }


def _profiled(
    agent: TD3, sample: Callable[[], Any], rounds: int, seconds: float
) -> Dict[str, Any]:
    for _ in range(WARM_UP):
        agent.update(sample())
    turns = [take_turn(lambda: agent.update(sample()), seconds) for _ in range(rounds)]
    plain = statistics.median(turn.seconds / turn.updates for turn in turns)
    layers = encoder_layers(agent)
    spent: Dict[str, float] = defaultdict(float)
    windows = max(1, round(seconds / (WINDOW * plain)))
    whole = sum(_window(agent, sample, layers, spent) for _ in range(windows))
    updates = windows * WINDOW
    spent[OTHER] += max(0.0, whole - sum(spent.values()))
    flops = work(layers)
    rows = [
        {
            'part': part,
            'ms': 1e3 * time_ / updates,
            'share': time_ / whole,
            'gflop': flops.get(part, 0.0) / 1e9,
        }
        for part, time_ in sorted(spent.items(), key=lambda item: -item[1])
    ]
    return {
        'update_ms': 1e3 * plain,
        'profiled_update_ms': 1e3 * whole / updates,
        'profiled_updates': updates,
        'metrics_share': spent[METRICS] / whole,
        'rows': rows,
    }


def _window(
    agent: TD3, sample: Callable[[], Any], layers: Sequence[Layer], spent: Dict[str, float]
) -> float:
    """Profile some updates; add what each part took to ``spent`` and return the whole, s."""
    _touch_memory()
    with _named_networks(agent), profile(
        activities=[ProfilerActivity.CPU], record_shapes=True
    ) as profiler:
        begun = time.perf_counter()
        for _ in range(WINDOW):
            with record_function(SAMPLE):
                batch = sample()
            agent.update(batch)
        whole = time.perf_counter() - begun
    for event in profiler.events():
        spent[classify(event, layers)] += 1e-6 * event.self_cpu_time_total
    return whole


def _touch_memory() -> None:
    """
    Let the allocator hold memory that is mapped in already.

    The profiler's own small pieces come to lie in between and drive large tensors to new pages;
    mapping those in would be booked on whatever writes there first, up to half of an update.
    """
    held = [torch.ones(TOUCHED_BLOCK // 4) for _ in range(TOUCHED // TOUCHED_BLOCK)]
    held.clear()


def encoder_layers(agent: TD3) -> List[Layer]:
    """Return the convolutions and linear layers of the encoder with their work in an update."""
    found: List[Layer] = []

    def note(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        per_output = module.weight[0].numel()
        work = 2.0 * agent.config.batch_size * output[0].numel() * per_output
        found.append(Layer(module, tuple(output.shape[1:]), work))

    body = agent.critic_encoder
    hooks = [
        module.register_forward_hook(note)
        for module in body.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            body(torch.zeros(1, *agent.obs_spec.image_shape, dtype=torch.uint8))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def work(layers: Sequence[Layer]) -> Dict[str, float]:
    """Return the floating-point operations of each part of an update that has many."""
    forward = sum(layer.flops for layer in layers)
    flops = {'target encoder forward': forward, 'encoder forward': forward}
    for number, layer in enumerate(layers, 1):
        # Gradients of weights and of inputs; nobody asks for that of the pixels.
        both = layer.flops * (1 if number == 1 else 2)
        flops[_backward(number, layer)] = flops.get(_backward(number, layer), 0.0) + both
    return flops


def _backward(number: int, layer: Layer) -> str:
    if isinstance(layer.module, nn.Linear):
        return LINEAR_BACKWARD
    return CONVOLUTION_BACKWARD.format(number)


@contextmanager
def _named_networks(agent: TD3) -> Iterator[None]:
    """Label what encoders and MLPs do in their forward passes."""
    named = {ENCODER: [agent.critic_encoder.body, agent.target_critic_encoder.body]}
    named[MLP] = [agent.policy.actor, agent.target_policy.actor]
    named[MLP] += [*agent.critic.q, *agent.target_critic.q]
    named[MLP] += [] if agent.predictor is None else [agent.predictor]
    opened: List[Any] = []

    def enter(name: str) -> None:
        opened.append(record_function(name))
        opened[-1].__enter__()

    hooks = []
    for name, modules in named.items():
        for module in modules:
            hooks += [
                module.register_forward_pre_hook(lambda *_, name=name: enter(name)),
                module.register_forward_hook(lambda *_: opened.pop().__exit__(None, None, None)),
            ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# -- what an operation was for --------------------------------------------------------------------

# The first name that an operation or anything around it has decides.
SIMPLE = {
    SAMPLE: 'sampling: gathering stacks from the replay buffer',
    'prepare': 'random shift',
    'metrics': METRICS,
    'polyak': 'Polyak step of the targets',
    'actor': 'actor: forward, backward',
    'actor_backward': 'actor: forward, backward',
}


def classify(event: Any, layers: Sequence[Layer]) -> str:
    """Return the part of an update that an event of the profiler belongs to."""
    around = []
    node = event
    while node is not None:
        around.append(node)
        node = node.cpu_parent
    names = {node.name for node in around}
    for name, part in SIMPLE.items():
        if name in names:
            return part
    if names & {'critic_step', 'actor_step'} or any('Optimizer' in name for name in names):
        adam = any('Optimizer' in name for name in names)
        return 'Adam' if adam else 'gradient norms and clip'
    if 'critic_backward' in names:
        return _classify_backward(around, layers)
    for label, part in (
        ('target', 'target encoder forward'),
        ('critic_forward', 'encoder forward'),
    ):
        if label in names:
            if ENCODER in names:
                return part
            return 'MLPs forward' if MLP in names else 'pixels to floats, heads, loss'
    return OTHER


def _classify_backward(around: Sequence[Any], layers: Sequence[Layer]) -> str:
    names = ' '.join(node.name for node in around)
    if 'ConvolutionBackward' in names:
        for number, layer in enumerate(layers, 1):
            if any(_has_shape(node, layer.output) for node in around):
                return CONVOLUTION_BACKWARD.format(number)
    linear = [layer.module for layer in layers if isinstance(layer.module, nn.Linear)]
    if 'AddmmBackward' in names and linear:
        width = linear[-1].in_features
        if any(width in shape for node in around for shape in node.input_shapes or () if shape):
            return LINEAR_BACKWARD
    return 'backward, MLPs, heads and activations'


def _has_shape(event: Any, output: Tuple[int, ...]) -> bool:
    """Return whether the first input of an operation is a gradient of this shape."""
    shapes = event.input_shapes or [[]]
    return tuple(shapes[0][1:]) == output if shapes[0] else False


# -- showing --------------------------------------------------------------------------------------


def text(result: Dict[str, Any]) -> str:
    """Return the tables for people, at most 99 columns wide."""
    described = result['machine']
    lines = machine_lines(described)
    for entry in result['profile']:
        peak = described['matrix_peak_gflops'][str(entry['threads'])][entry['precision']]
        gflop = sum(part['gflop'] for part in entry['rows'])
        at_peak = 1e3 * gflop / peak
        lines += [
            '',
            f'recommended, batch {result["batch"]}, {entry["threads"]} thread(s), encoders in '
            f'{entry["arithmetic"]}: {entry["update_ms"]:.1f} ms an update',
            f'({entry["profiled_update_ms"]:.1f} ms with the profiler; no prefetching here)',
            '',
            f'{"part":50} {"ms":>8} {"share":>7} {"GFLOP":>7} {"GFLOP/s":>8} {"of peak":>8}',
        ]
        for part in entry['rows']:
            line = f'{part["part"]:50} {part["ms"]:8.2f} {part["share"]:7.1%}'
            if part['gflop']:
                rate = 1e3 * part['gflop'] / part['ms']
                line += f' {part["gflop"]:7.2f} {rate:8.0f} {rate / peak:8.0%}'
            lines.append(line)
        lines.append(
            f"At the matrix peak the encoder's {gflop:.1f} GFLOP would take {at_peak:.1f} ms, "
            f'{at_peak / entry["update_ms"]:.0%} of an update.'
        )
    return '\n'.join([*lines, *busy_lines(result)])
