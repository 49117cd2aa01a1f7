"""
``av-td3 bench soak``: an hour of training over the graph; what grows meanwhile.

Memory is told twice: that which a process has for itself (USS), and all that is resident (RSS),
with shared segments and libraries. Shared-memory segments, ports among them, are those that the
process holds itself: what others do on the machine changes nothing. The replay is small, so that
it is full early and its growth is not taken for a leak.
"""

import argparse
import json
import math
from pathlib import Path
import time
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

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
# by so much, MiB.
SHARE, LITTLE = 0.03, 8.0
MEMORY = {'memory_mib': 'own memory', 'resident_mib': 'resident memory'}
# So many more there may be: some descriptors are open for a moment; to a process each peer is a
# segment and two ports, and those of a peer that is started again are opened before the old ones
# are let go.
SPARE = {'threads': 0, 'descriptors': 3, 'segments': 3}
HEADS = {
    'memory_mib': 'own memory, MiB',
    'resident_mib': 'resident memory, MiB',
    'threads': 'threads',
    'descriptors': 'descriptors',
    'segments': 'segments',
}


class Sample(NamedTuple):
    """
    What one process held at a moment: ``minute`` of the run, then the figures.

    ``memory_mib``: its own (USS); ``resident_mib``: all (RSS); ``segments``: of shared memory.
    """

    minute: float
    process: str
    memory_mib: float
    resident_mib: float
    threads: int
    descriptors: int
    segments: int


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'soak',
        help='training over the graph for an hour: does anything grow?',
        description='Train over the graph and look at memory (its own, and resident), '
        'threads, file descriptors and shared-memory segments of every process. The replay holds '
        f'{CAPACITY} transitions, to be full early, unless --set trainer.replay.capacity says '
        'otherwise. Writes soak.csv, .json and .png; exit code 1 where something grew, was lost '
        'or died.',
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
    stops = catch_stops()
    account: Dict[str, Any] = {}
    fault = ''
    try:
        with Supervisor(config, 'training', folder) as graph:
            try:
                watch(graph, options, samples, stops)
                graph.finish()
            finally:
                account = accounts(graph, None)
    except GraphError as error:
        fault = str(error)
    if not samples:
        return refuse(fault or 'stopped before the first look: nothing is written')
    rows = judge(samples)
    write(folder, samples, rows, account)
    print(table(rows))
    grew = [f'{row["process"]}: {row["grew"]}' for row in rows if row['grew']]
    lost = account['transitions_lost'] + account['transitions_duplicated']
    missed = account['transitions_missed']  # after the last that came no gap tells of a loss
    print(
        f'{account["transitions_stored"]} transitions stored, {lost} lost or doubled, '
        f'{missed} missed; restarts: {account["restarts"] or "none"}'
    )
    print(f'written: {folder}/soak.csv, .json, .png')
    if fault:
        refuse(fault)
    return EXIT_FAULT if fault or grew or lost or missed or account['restarts'] or stops else 0


def watch(
    graph: Any, options: argparse.Namespace, samples: List[Sample], stops: Sequence[int]
) -> None:
    """Add samples of every process while it trains."""
    import psutil
    from av_td3_ros.nodes import shared_memory

    progress, begun, looks = common.Progress(), time.monotonic(), 0
    while not stops and time.monotonic() - begun < 60.0 * options.minutes:
        graph.spin(lambda: bool(stops), options.every)
        graph.revive()
        minute = (time.monotonic() - begun) / 60.0
        for name, member in graph.members.items():
            try:
                process = psutil.Process(member.process.pid)
                memory = process.memory_full_info()
                counts = process.num_threads(), process.num_fds()
            except psutil.Error:
                continue  # it died just now; the next look starts it again
            held = len(shared_memory.segments(process.pid))
            samples.append(
                Sample(minute, name, memory.uss / MIB, memory.rss / MIB, *counts, held)
            )
        looks += 1
        total = sum(sample.memory_mib for sample in samples[-len(graph.members) :])
        steps = graph.status.env_steps if graph.status else 0
        progress.show(
            f'{minute:.1f} of {options.minutes:g} min | {steps} steps | {total:.0f} MiB in all'
        )
    progress.end(f'{looks} looks')


def quarters(items: Sequence[Any], moments: Sequence[float], end: float) -> Tuple[List[Any], ...]:
    """Return those of the third and those of the last quarter of the time, which begins at 0."""
    timed = list(zip(items, moments))
    before = [item for item, moment in timed if 0.5 * end < moment <= 0.75 * end]
    return before, [item for item, moment in timed if moment > 0.75 * end]


def memory(parts: Sequence[Sequence[float]], word: str) -> Tuple[List[float], List[str]]:
    """
    Return the medians of the last two quarters, MiB, and what grew, as words; none where flat.

    :param parts: what was held in each, MiB. :param word: what it is.
    """
    usual = [float(np.median(part)) for part in parts]
    if usual[1] <= usual[0] + max(SHARE * usual[0], LITTLE):
        return usual, []
    return usual, [f'{word} by {usual[1] - usual[0]:.1f} MiB']


def judge(samples: Sequence[Sample]) -> List[Dict[str, Any]]:
    """
    Return a row for each process: its figures in the last two quarters of the time, what grew.

    ``memory_mib``, ``resident_mib``: medians of both quarters; ``threads``, ``descriptors``,
    ``segments``: their maxima. ``grew``: what is more than it may be, as words, or ''.
    """
    rows = []
    end = max((sample.minute for sample in samples), default=0.0)
    for name in dict.fromkeys(sample.process for sample in samples):
        own = [sample for sample in samples if sample.process == name]
        parts = quarters(own, [sample.minute for sample in own], end)
        if not all(parts):
            continue
        row: Dict[str, Any] = {'process': name}
        grew = []
        for key, word in MEMORY.items():
            row[key], more = memory([[getattr(s, key) for s in part] for part in parts], word)
            grew += more
        for key, spare in SPARE.items():
            most = [max(getattr(s, key) for s in part) for part in parts]
            row[key] = most
            if most[1] > most[0] + spare:
                grew.append(f'{key} from {most[0]} to {most[1]}')
        rows.append({**row, 'grew': ', '.join(grew)})
    return rows


def table(rows: Sequence[Dict[str, Any]]) -> str:
    """Return the rows as aligned text."""
    lines = [('process', *HEADS.values(), '')]
    for row in rows:
        cells = (
            ('{:.1f} to {:.1f}' if key in MEMORY else '{} to {}').format(*row[key])
            for key in HEADS
        )
        lines.append((row['process'], *cells, f'GREW: {row["grew"]}' if row['grew'] else 'flat'))
    return common.aligned(lines)


def write(
    folder: Path,
    samples: Sequence[Sample],
    rows: Sequence[Dict[str, Any]],
    account: Dict[str, Any],
) -> None:
    """Write every sample, the judgement, and a picture."""
    lines = (
        (f'{s.minute:.2f}', s.process, f'{s.memory_mib:.1f}', f'{s.resident_mib:.1f}', *s[4:])
        for s in samples
    )
    replace_rows(folder / 'soak.csv', Sample._fields, lines)
    found = {'machine': machine(), 'processes': list(rows), 'graph': account}
    replace_file(folder / 'soak.json', json.dumps(found, indent=1) + '\n')
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    titles = {**HEADS, 'descriptors': 'file descriptors', 'segments': 'shared-memory segments'}
    names = list(dict.fromkeys(sample.process for sample in samples))
    figure, axes = plt.subplots(2, 3, figsize=(12.8, 7.2), layout='constrained')
    *panels, rest = axes.flat
    for axis, (key, title) in zip(panels, titles.items()):
        for place, name in enumerate(names):
            own = [sample for sample in samples if sample.process == name]
            values = [getattr(sample, key) for sample in own]
            # Several have the same counts: who lies beneath is wider.
            width = 1.5 if key in MEMORY else 1.5 * (len(names) - place)
            axis.plot([sample.minute for sample in own], values, label=name, linewidth=width)
        axis.set_title(title, loc='left', fontsize=11)
        axis.set_xlabel('minutes')
        axis.set_ylim(0, 1.1 * axis.dataLim.y1)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
    rest.axis('off')
    rest.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc='upper left')
    plt.close(figure)
    replace_picture(folder / 'soak.png', figure, dpi=100)
