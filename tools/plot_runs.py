"""
Draw the learning curves of groups of runs into one picture: each run thin, the mean of a group
thick.

    python tools/plot_runs.py OUT.png fp32=a.csv,b.csv,c.csv bf16=d.csv,e.csv,f.csv
    python tools/plot_runs.py --goals OUT.png now=a.csv before=b.csv

It shows the return, or with ``--goals`` the share of episodes that reach their goal. The files are
``episodes.csv`` of run folders.
"""

import csv
from pathlib import Path
import sys
from typing import Callable, Dict, List, Tuple

import matplotlib
import numpy as np

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

# What is drawn of an episode, its name, and the episodes that it is smoothed over.
RETURN = (lambda row: float(row['episode_return'])), 'return', 8
GOALS = (lambda row: 100.0 * (row['reason'] == 'goal')), 'goal reached, %', 30


def curve(path: Path, value: Callable[[Dict[str, str]], float], over: int) -> Tuple:
    """Return environment steps and the mean of the last episodes at each of them."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row['outcome'] != 'aborted']
    steps = np.array([int(row['env_step']) for row in rows])
    values = np.array([value(row) for row in rows])
    means = [values[max(0, i + 1 - over) : i + 1].mean() for i in range(len(values))]
    return steps, np.array(means)


def main(arguments: List[str]) -> None:
    """Draw."""
    value, name, over = GOALS if '--goals' in arguments else RETURN
    out, *groups = (text for text in arguments if text != '--goals')
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout='constrained')
    for number, text in enumerate(groups):
        label, _, files = text.partition('=')
        curves = [curve(Path(file), value, over) for file in files.split(',')]
        grid = np.linspace(
            max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves), 200
        )
        for steps, means in curves:
            axes.plot(steps, means, color=f'C{number}', alpha=0.35, linewidth=1.0)
        mean = np.mean([np.interp(grid, steps, means) for steps, means in curves], axis=0)
        text = f'{label}, n = {len(curves)}'
        axes.plot(grid, mean, color=f'C{number}', linewidth=2.5, label=text)
    axes.set_xlabel('environment steps')
    axes.set_ylabel(f'{name}, mean of the last {over} episodes')
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc='upper left')
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.savefig(out, dpi=120)


if __name__ == '__main__':
    main(sys.argv[1:])
