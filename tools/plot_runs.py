"""
Draw the learning curves of groups of runs into one picture: each run thin, the mean of a group
thick.

    python tools/plot_runs.py OUT.png fp32=a.csv,b.csv,c.csv bf16=d.csv,e.csv,f.csv

The files are ``episodes.csv`` of run folders.
"""

import csv
from pathlib import Path
import sys
from typing import List, Tuple

import matplotlib
import numpy as np

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

SMOOTHED_OVER = 8  # episodes


def curve(path: Path) -> Tuple[np.ndarray, np.ndarray]:
    """Return environment steps and the mean return of the last episodes at each of them."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row['outcome'] != 'aborted']
    steps = np.array([int(row['env_step']) for row in rows])
    returns = np.array([float(row['episode_return']) for row in rows])
    means = [returns[max(0, i + 1 - SMOOTHED_OVER) : i + 1].mean() for i in range(len(returns))]
    return steps, np.array(means)


def main(arguments: List[str]) -> None:
    """Draw."""
    out, *groups = arguments
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout='constrained')
    for number, text in enumerate(groups):
        label, _, files = text.partition('=')
        curves = [curve(Path(name)) for name in files.split(',')]
        grid = np.linspace(
            max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves), 200
        )
        for steps, returns in curves:
            axes.plot(steps, returns, color=f'C{number}', alpha=0.35, linewidth=1.0)
        mean = np.mean([np.interp(grid, steps, returns) for steps, returns in curves], axis=0)
        text = f'{label}, n = {len(curves)}'
        axes.plot(grid, mean, color=f'C{number}', linewidth=2.5, label=text)
    axes.set_xlabel('environment steps')
    axes.set_ylabel(f'return, mean of the last {SMOOTHED_OVER} episodes')
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc='upper left')
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.savefig(out, dpi=120)


if __name__ == '__main__':
    main(sys.argv[1:])
