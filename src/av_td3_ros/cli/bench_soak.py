"""
``av-td3 bench soak``: an hour of training over the graph; what grows meanwhile.

Memory is that which a process has for itself (USS): shared segments and libraries are left out.
The replay is small, so that it is full early and its growth is not taken for a leak.
"""

import argparse
import json
import math
from pathlib import Path
import time
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np

from av_td3_ros.cli import common
from av_td3_ros.cli.machine import machine
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import (
    new_run_folder,
    replace_file,
    replace_picture,
    replace_rows,
    RunFolder,
)

MINUTES, EVERY = 60.0, 15.0
EXIT_FAULT = 1
CAPACITY = 20_000
MIB = 1 << 20
# Quarters of the time: the last is compared with the one before. Memory may differ by a share, or
# by so much, MiB; and so many descriptors may be open for a moment.
SHARE, LITTLE, SPARE = 0.03, 8.0, 3
NUMBERS = ('memory_mib', 'threads', 'descriptors')


class Sample(NamedTuple):
    """What one process held at a moment: ``minute`` of the run, then the figures."""

    minute: float
    process: str
    memory_mib: float
    threads: int
    descriptors: int


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'soak',
        help='training over the graph for an hour: does anything grow?',
        description='Train over the graph and look at memory, threads, file descriptors and '
        'shared-memory segments of every process. Writes soak.csv, .json and .png; exit code 1 '
        'where something grew, was lost or died.',
    )
    parser.add_argument(
        '--minutes', type=float, default=MINUTES, metavar='N', help=f'({MINUTES:g})'
    )
    parser.add_argument(
        '--every', type=float, default=EVERY, metavar='S', help=f'between two looks ({EVERY:g} s)'
    )
    parser.add_argument(
        '--output', metavar='DIR', help='where to write (default runs/soak_<date>)'
    )
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    common.check_middleware()
    common.stay_on_own_domain()
    for name in ('minutes', 'every'):
        if not 0.0 < getattr(options, name) < math.inf:
            raise ConfigError(f'--{name} must be above 0, got {getattr(options, name):g}')
    if 60.0 * options.minutes < 8.0 * options.every:
        raise ConfigError(f'--minutes must be at least 8 looks long, got {options.minutes:g}')
    folder = RunFolder(options.output or new_run_folder('soak')).path.resolve()
    config = common.load_config(
        options,
        {
            'trainer.run_dir': str(folder / 'run'),
            'trainer.steps': 1_000_000_000,
            'trainer.replay.capacity': CAPACITY,
        },
    )
    from av_td3_ros.cli.main import refuse
    from av_td3_ros.cli.train import accounts, catch_stops
    from av_td3_ros.nodes.supervisor import GraphError, Supervisor

    samples: List[Sample] = []
    segments: List[int] = []
    stops = catch_stops()
    account: Dict[str, Any] = {}
    fault = ''
    try:
        with Supervisor(config, 'training', folder) as graph:
            try:
                watch(graph, options, samples, segments, stops)
                graph.finish()
            finally:
                account = accounts(graph, None)
    except GraphError as error:
        fault = str(error)
    if not samples:
        return refuse(fault or 'stopped before the first look: nothing is written')
    rows = judge(samples)
    write(folder, samples, rows, segments, account)
    print(table(rows))
    grew = [f'{row["process"]}: {row["grew"]}' for row in rows if row['grew']]
    lost = account['transitions_lost'] + account['transitions_duplicated']
    print(
        f'{account["transitions_stored"]} transitions stored, {lost} lost or doubled; '
        f'{min(segments)} to {max(segments)} shared-memory segments; restarts: '
        f'{account["restarts"] or "none"}'
    )
    print(f'written: {folder}/soak.csv, .json, .png')
    if fault:
        refuse(fault)
    return EXIT_FAULT if fault or grew or lost or account['restarts'] or stops else 0


def watch(
    graph: Any,
    options: argparse.Namespace,
    samples: List[Sample],
    segments: List[int],
    stops: Sequence[int],
) -> None:
    """Add samples of every process while it trains."""
    import psutil
    from av_td3_ros.nodes import shared_memory

    progress, begun = common.Progress(), time.monotonic()
    while not stops and time.monotonic() - begun < 60.0 * options.minutes:
        graph.spin(lambda: bool(stops), options.every)
        graph.revive()
        minute = (time.monotonic() - begun) / 60.0
        for name, member in graph.members.items():
            try:
                process = psutil.Process(member.process.pid)
                held = process.memory_full_info().uss / MIB
                counts = process.num_threads(), process.num_fds()
            except psutil.Error:
                continue  # it died just now; the next look starts it again
            samples.append(Sample(minute, name, held, *counts))
        segments.append(len(shared_memory.snapshot()))
        total = sum(sample.memory_mib for sample in samples[-len(graph.members) :])
        steps = graph.status.env_steps if graph.status else 0
        progress.show(
            f'{minute:.1f} of {options.minutes:g} min | {steps} steps | {total:.0f} MiB in all'
        )
    progress.end(f'{len(segments)} looks')


def judge(samples: Sequence[Sample]) -> List[Dict[str, Any]]:
    """
    Return a row for each process: its figures in the last two quarters of the time, what grew.

    ``memory_mib``: medians of both quarters; ``threads``, ``descriptors``: their maxima. ``grew``:
    what is more than it may be, as words, or ''.
    """
    rows = []
    end = max((sample.minute for sample in samples), default=0.0)
    for name in dict.fromkeys(sample.process for sample in samples):
        own = [sample for sample in samples if sample.process == name]
        late = [s for s in own if s.minute > 0.75 * end]
        before = [s for s in own if 0.5 * end < s.minute <= 0.75 * end]
        if not (late and before):
            continue
        memory = [float(np.median([s.memory_mib for s in part])) for part in (before, late)]
        row: Dict[str, Any] = {'process': name, 'memory_mib': memory}
        grew = [f'memory by {memory[1] - memory[0]:.1f} MiB'] * (
            memory[1] > memory[0] + max(SHARE * memory[0], LITTLE)
        )
        for key in ('threads', 'descriptors'):
            most = [max(getattr(s, key) for s in part) for part in (before, late)]
            row[key] = most
            if most[1] > most[0] + SPARE * (key == 'descriptors'):
                grew.append(f'{key} from {most[0]} to {most[1]}')
        rows.append({**row, 'grew': ', '.join(grew)})
    return rows


def table(rows: Sequence[Dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    head = ('process', 'memory, MiB', 'threads', 'descriptors', '')
    lines = [head] + [
        (
            row['process'],
            '{:.1f} to {:.1f}'.format(*row['memory_mib']),
            '{} to {}'.format(*row['threads']),
            '{} to {}'.format(*row['descriptors']),
            f'GREW: {row["grew"]}' if row['grew'] else 'flat',
        )
        for row in rows
    ]
    return common.aligned(lines)


def write(
    folder: Path,
    samples: Sequence[Sample],
    rows: Sequence[Dict[str, Any]],
    segments: Sequence[int],
    account: Dict[str, Any],
) -> None:
    """Write every sample, the judgement, and a picture."""
    lines = ((f'{s.minute:.2f}', s.process, f'{s.memory_mib:.1f}', *s[3:]) for s in samples)
    replace_rows(folder / 'soak.csv', Sample._fields, lines)
    found = {'machine': machine(), 'processes': list(rows), 'segments': list(segments)}
    replace_file(folder / 'soak.json', json.dumps({**found, 'graph': account}, indent=1) + '\n')
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12.8, 3.8), layout='constrained')
    for axis, key, title in zip(axes, NUMBERS, ('memory, MiB', 'threads', 'file descriptors')):
        for name in dict.fromkeys(sample.process for sample in samples):
            own = [sample for sample in samples if sample.process == name]
            values = [getattr(sample, key) for sample in own]
            axis.plot([sample.minute for sample in own], values, label=name)
        axis.set_title(title, loc='left', fontsize=11)
        axis.set_xlabel('minutes')
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
    axes[-1].legend(frameon=False, fontsize=8, loc='lower left')
    plt.close(figure)
    replace_picture(folder / 'soak.png', figure, dpi=100)
