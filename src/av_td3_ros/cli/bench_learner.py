"""
``av-td3 bench learner``: updates per second beside Stable-Baselines3, or where an update's time
goes.

Each side lives in a process of its own (``bench_sides.py``); one works while the other waits, and
turns alternate, so that a busy minute of the machine meets all of them. Ratios are taken within a
round.
"""

import argparse
import json
import math
import os
import sys
import time
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Sequence

import numpy as np

from av_td3_ros.cli.common import PLAIN_PERIOD
from av_td3_ros.cli.machine import machine
from av_td3_ros.options import ConfigError

PEER = 'Stable-Baselines3'
PEER_BATCH = 256  # its default
SAME = 'sb3'  # the preset with its networks
RECOMMENDED = 'recommended'
BATCHES = (256, 128, 64)
PRECISIONS = ('fp32', 'bf16')
FRAMES = 8192  # more than caches hold: 58 MB here, 460 MB in its buffer
BUSY = 0.1  # cores used by others that a benchmark should not keep quiet about


class Case(NamedTuple):
    """What is measured: ``PEER`` or a preset, its precision, batch size and torch threads."""

    learner: str
    precision: str
    batch: int
    threads: int


class Turn(NamedTuple):
    """One turn of one case: updates, duration and processor time over all threads, s."""

    updates: int
    seconds: float
    core_seconds: float


class Settings(NamedTuple):
    """What both sides share: frames in their buffers, torch device, seed."""

    frames: int
    device: str
    seed: int = 0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'learner',
        help='updates per second beside Stable-Baselines3',
        description="Measure updates per second beside Stable-Baselines3's TD3 CnnPolicy: with "
        'its networks (preset sb3) at the same batch sizes, and with preset recommended. An '
        'update is all of it: sampling a filled replay buffer, augmentation, gradients, targets, '
        'metrics. With --profile: where the time of a recommended update goes.',
    )
    parser.add_argument(
        '--profile', action='store_true', help='where the time of a recommended update goes'
    )
    parser.add_argument(
        '--threads',
        type=int,
        action='append',
        metavar='N',
        help='torch threads; may be repeated (default 1 and all cores)',
    )
    parser.add_argument(
        '--batch',
        type=int,
        action='append',
        metavar='N',
        help='batch size of both with the same networks; may be repeated (default 256, 128, 64)',
    )
    parser.add_argument('--rounds', type=int, default=3, help='rounds of turns (default 3)')
    parser.add_argument(
        '--seconds', type=float, default=1.5, help='duration of a turn (default 1.5)'
    )
    parser.add_argument(
        '--device', choices=('cpu', 'cuda'), default='cpu', help='torch device (default cpu)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON alone')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    threads = check(options)
    if options.profile:
        from av_td3_ros.cli import bench_profile

        result = bench_profile.measure(threads, options.rounds, options.seconds, Progress().show)
        text = bench_profile.text
    else:
        result = measure(options, threads)
        text = to_text
    result = {'machine': describe(threads, options.device), **result}
    print(json.dumps(result, indent=2) if options.json else text(result))
    return 0


def check(options: argparse.Namespace) -> List[int]:
    """
    Return the thread counts to measure.

    :raises ConfigError: where an option cannot be used.
    """
    import torch

    cores = len(os.sched_getaffinity(0))
    if options.rounds < 1:
        raise ConfigError(f'--rounds must be >= 1, got {options.rounds}')
    if not 0.0 < options.seconds < math.inf:
        raise ConfigError(f'--seconds must be above 0 and finite, got {options.seconds:g}')
    for batch in options.batch or ():
        if not 1 <= batch <= 4096:
            raise ConfigError(f'--batch must be 1 to 4096, got {batch}')
    for threads in options.threads or ():
        if not 1 <= threads <= cores:
            raise ConfigError(f'--threads must be 1 to {cores}, the cores here, got {threads}')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(
            '--device cuda must have a CUDA device, got none that PyTorch can see; check '
            '`nvidia-smi` and that PyTorch is built for CUDA, or leave --device out'
        )
    if options.profile and (options.device != 'cpu' or options.batch):
        raise ConfigError(
            '--profile must stand without --batch and --device: it is of a recommended update on '
            'the CPU'
        )
    if options.threads:
        return list(dict.fromkeys(options.threads))
    return sorted({1, cores}) if options.device == 'cpu' else [cores]


def describe(threads: Iterable[int], device: str) -> Dict[str, Any]:
    """Describe this machine as a learner sees it; takes some seconds."""
    import torch
    from av_td3_ros.cli import bench_profile

    return {
        **machine(),
        'torch': torch.__version__,
        'device': torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
        'bf16_instructions': bench_profile.bf16_instructions(),
        'matrix_peak_gflops': {
            str(count): bench_profile.matrix_peak(count, device) for count in threads
        },
    }


# -- measuring ------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, threads: List[int]) -> Dict[str, Any]:
    """
    Let all cases take turns.

    :raises ConfigError: where Stable-Baselines3 is not installed.
    """
    from av_td3_ros.cli import bench_peer

    version = bench_peer.version()
    from av_td3_ros.cli.bench_sides import Load, settings_of, Side

    batches = list(dict.fromkeys(options.batch or BATCHES))
    cases = list_cases(batches, threads, settings_of(RECOMMENDED).trainer.learner.batch_size)
    settings = Settings(FRAMES, options.device)
    turns: Dict[Case, List[Turn]] = {case: [] for case in cases}
    say = Progress().show
    peer, ours = Side(PEER, settings), Side(SAME, settings)
    try:
        for number in range(options.rounds + 1):  # the first one warms up
            if number == 1:
                load = Load(peer.pid, ours.pid)
            for index, case in enumerate(cases):
                kind = f'round {number} of {options.rounds}' if number else 'warming up'
                say(f'{kind}: {index + 1} of {len(cases)}')
                side = peer if case.learner == PEER else ours
                turn = side.ask('turn', case, options.seconds if number else 0.0)
                turns[case] += [turn] if number else []
        others = load.cores()
        say('the same weights and batches')
        say('the same weights and batches')
        exactness = peer.ask('exactness', max(batches), max(threads))
        accounts = {
            case: (peer if case.learner == PEER else ours).ask('account', case) for case in cases
        }
    finally:
        peer.close()
        ours.close()
        say('')
    rows = [{**row(case, turns), **accounts[case]} for case in cases]
    return {
        'stable_baselines3': version,
        'rounds': options.rounds,
        'seconds': options.seconds,
        'frames': FRAMES,
        'cores_used_by_others': others,
        'exactness': exactness,
        'learner': rows,
    }


def list_cases(batches: Sequence[int], threads: Iterable[int], recommended: int) -> List[Case]:
    """
    Return what is measured, in the order of a round: what is compared stands together.

    :param batches: sizes for both with the same networks.
    :param recommended: batch size of preset ``recommended``.
    """
    cases = []
    for count in threads:
        # Recommended is compared with its defaults and with it at the same batch.
        for batch in sorted({*batches, PEER_BATCH, recommended}, reverse=True):
            cases.append(Case(PEER, 'fp32', batch, count))
            if batch in batches:
                cases += [Case(SAME, precision, batch, count) for precision in PRECISIONS]
            if batch == recommended:
                cases += [Case(RECOMMENDED, each, batch, count) for each in PRECISIONS]
    return cases


def row(case: Case, turns: Mapping[Case, Sequence[Turn]]) -> Dict[str, Any]:
    """
    Return the account of one case: rates, and ratios to its peer within each round.

    :param turns: of all cases.
    """
    own = _rates(turns[case])
    result = {
        **case._asdict(),
        'updates_per_second': _spread(own),
        'core_ms_per_update': _spread([1e3 * t.core_seconds / t.updates for t in turns[case]]),
        'updates': sum(turn.updates for turn in turns[case]),
    }
    for key, batch in (('ratio', case.batch), ('ratio_to_defaults', PEER_BATCH)):
        other = case._replace(learner=PEER, precision='fp32', batch=batch)
        if case.learner != PEER:
            result[key] = _spread([a / b for a, b in zip(own, _rates(turns[other]))])
    return result


def _rates(turns: Iterable[Turn]) -> List[float]:
    return [turn.updates / turn.seconds for turn in turns]


def _spread(values: List[float]) -> Dict[str, float]:
    low, median, high = np.percentile(values, (25, 50, 75))
    return {'median': float(median), 'low': float(low), 'high': float(high)}


# -- showing --------------------------------------------------------------------------------------


def to_text(result: Dict[str, Any]) -> str:
    """Return the table for people, at most 99 columns wide."""
    described, exact = result['machine'], result['exactness']
    lines = [
        *machine_lines(described),
        f'Stable-Baselines3 {result["stable_baselines3"]}, device {described["device"]}',
        '',
        f'Medians of {result["rounds"]} alternating turns of {result["seconds"]:g} s (quartiles). '
        'x: times Stable-Baselines3 at the same',
        'batch and threads. Core ms: processor time of an update.',
        '',
        f'{"threads":>7} {"batch":>5}  {"learner":20} {"updates/s":>20} {"x":>20} {"core ms":>9}',
    ]
    for item in result['learner']:
        peer = item['learner'] == PEER
        name = PEER if peer else f'{item["learner"]} {item["precision"]}'
        ratio = '' if peer else _bracket(item['ratio'], '.2f')
        lines.append(
            f'{item["threads"]:7d} {item["batch"]:5d}  {name:20} '
            f'{_bracket(item["updates_per_second"], ".1f"):>20} {ratio:>20} '
            f'{item["core_ms_per_update"]["median"]:9.1f}'
        )
    lines += busy_lines(result)
    lines += ['', f"recommended against Stable-Baselines3's defaults (batch {PEER_BATCH}):"]
    for item in result['learner']:
        if item['learner'] == RECOMMENDED:
            lines.append(
                f'{item["threads"]:7d} thread(s), batch {item["batch"]}, {item["arithmetic"]}: '
                f'x {_bracket(item["ratio_to_defaults"], ".2f")}'
            )
    return '\n'.join(
        [
            *lines,
            '',
            f"Preset sb3 beside Stable-Baselines3's own train(): after {exact['updates']} updates "
            f'of batch {exact["batch"]} from the same',
            'weights, batches and noise the largest difference of any parameter is '
            f'{exact["largest_difference"]:.1e} (fp32).',
        ]
    )


def busy_lines(result: Dict[str, Any]) -> List[str]:
    """Return a warning where the machine was not quiet."""
    others = result['cores_used_by_others']
    if others is None or others <= BUSY:
        return []
    return ['', f'Other processes used {others:.1f} cores meanwhile: measure again without them.']


def machine_lines(described: Dict[str, Any]) -> List[str]:
    """Return a description of :func:`describe` for people."""
    return [
        f'{described["processor"]}, {described["cores"]} cores, PyTorch {described["torch"]}',
        f'bf16 instructions: {", ".join(described["bf16_instructions"]) or "none"}',
        *peak_lines(described),
    ]


def peak_lines(described: Dict[str, Any]) -> List[str]:
    """Return the measured matrix peak, a line for each number of threads."""
    return [
        f'matrix peak, {threads} thread(s): '
        + ', '.join(f'{precision} {peak:,.0f} GFLOP/s' for precision, peak in peaks.items())
        for threads, peaks in described['matrix_peak_gflops'].items()
    ]


def _bracket(spread: Dict[str, float], form: str) -> str:
    return f'{spread["median"]:{form}} ({spread["low"]:{form}}-{spread["high"]:{form}})'


class Progress:
    """One line on stderr: rewritten in a terminal, a plain one now and then elsewhere."""

    def __init__(self) -> None:
        """Begin."""
        self._live = sys.stderr.isatty()
        self._last = time.monotonic()

    def show(self, text: str) -> None:
        """Show the newest state; '' removes the line."""
        if self._live:
            print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)
        elif text and time.monotonic() - self._last > PLAIN_PERIOD:
            print(text, file=sys.stderr, flush=True)
            self._last = time.monotonic()
