"""What is told of the frames of a measurement: figures, what makes it none, a file of each."""

import argparse
import json
from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterable, List, Mapping, Sequence, Tuple

import numpy as np

from av_td3_ros.cli.machine import machine
from av_td3_ros.run_folder import replace_file, replace_rows

PERCENTILES = {'p50_ms': 50.0, 'p99_ms': 99.0, 'p99_9_ms': 99.9}
# What must be nought in the figures, and how it is said.
FAULTS = {
    'repeated': 'commanded again',
    'braked': 'braked',
    'unknown': 'commands for no image',
}


def judge(
    answers: Mapping[int, Sequence[float]],
    stamps: Sequence[int],
    period: float,
    braked: Collection[int] = (),
) -> Dict[str, Any]:
    """
    Return figures of frames.

    :param answers: by stamp, how long each of its commands took, s.
    :param stamps: of the frames that count, ns.
    :param period: time until the next frame, s, after which a command is missed.
    :param braked: stamps of the frames at which the gate braked, ns.
    """
    first = [answers[stamp][0] for stamp in stamps if stamp in answers]
    values = np.asarray(first or [np.nan]) * 1e3
    return {
        'frames': len(stamps),
        'commanded': len(first),
        'missed': len(stamps) - int(np.sum(np.asarray(first) < period)),
        'repeated': sum(len(answers.get(stamp, ())) > 1 for stamp in stamps),
        'braked': sum(stamp in answers and stamp in braked for stamp in stamps),
        'mean_ms': float(values.mean()),
        **{name: float(np.percentile(values, q)) for name, q in PERCENTILES.items()},
        'max_ms': float(values.max()),
    }


def unknown(
    heard: Sequence[float], sent: Mapping[int, float], stamps: Sequence[int], period: float
) -> int:
    """
    Return how many commands for no image came while the frames that count were shown.

    Before the first of them a gate may brake because nothing has begun, and a period behind the
    last because the camera has ended.

    :param heard: when such commands came, s. :param sent: when each frame was shown, s, by its
        stamp. :param stamps: of the frames that count, ns, rising. :param period: between two, s.
    """
    if not stamps:
        return 0
    begin, end = sent[stamps[0]], sent[stamps[-1]] + period
    return sum(begin <= moment < end for moment in heard)


def faults(figures: Mapping[str, Any]) -> List[str]:
    """Return why figures are not those of a car that drives, commanded once a frame."""
    return [f'{figures[key]} {words}' for key, words in FAULTS.items() if figures[key]]


def given(options: argparse.Namespace) -> Dict[str, Any]:
    """Return what was asked for on the command line, as it can be written."""
    return {key: value for key, value in vars(options).items() if not callable(value)}


def rows(stack: Any, stamps: Sequence[int], told: Callable[[int], Any]) -> List[Tuple[Any, ...]]:
    """
    Return a row for each frame that counts, as ``frames.csv`` has it; '' where there is no value.

    :param stack: ``bench_stack.Stack``, with what it heard.
    :param stamps: of the frames, ns, rising.
    :param told: returns what the column of the benchmark itself says of a stamp.
    """
    made = []
    for place, stamp in enumerate(stamps):
        moment, answers = stack.sent[stamp], stack.answers.get(stamp, [])
        made.append(
            (
                f'{moment - stack.sent[stamps[0]]:.3f}',
                f'{(moment - stack.sent[stamps[place - 1]]) * 1e3:.2f}' if place else '',
                f'{answers[0] * 1e3:.2f}' if answers else '',
                told(stamp),
                len(answers),
                int(stamp in stack.braked),
            )
        )
    return made


def write(
    folder: Path,
    what: str,
    column: str,
    frames: Iterable[Sequence[Any]],
    options: Mapping[str, Any],
    found: Any,
) -> None:
    """
    Write ``frames.csv``, and beside it the figures.

    :param what: the benchmark, by its name on the command line.
    :param column: its own of the frames.
    :param options: as they were given.
    :raises OSError: where it cannot be written; what was there stays.
    """
    columns = ('since_first_s', 'gap_ms', 'answered_ms', column, 'commands', 'braked')
    replace_rows(folder / 'frames.csv', columns, frames)
    data = {'machine': machine(), 'options': options, what: found}
    replace_file(folder / f'{what}.json', json.dumps(data, indent=1) + '\n')
