"""The picture of a run: return, ending, speed and learning over environment steps."""

from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from av_td3_ros.gate_evidence import current
from av_td3_ros.run_folder import replace_picture, RunFolder

WINDOW = 10
GOOD, BAD, NEUTRAL = '#2a9d5c', '#d1495b', '#7f8fa6'


def draw(run: RunFolder) -> Optional[Path]:
    """
    Draw ``curves.png`` in the run folder; what a resumed run drove again is drawn once.

    :returns: its path, or None where there are no episodes or matplotlib is missing.
    :raises OSError: where it cannot be written.
    """
    rows = [row for row in run.read_episodes() if row.get('outcome') not in ('aborted', None)]
    if not rows:
        return None
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    kept = current(_column(rows, 'env_step'))
    rows = [row for row, is_kept in zip(rows, kept) if is_kept]
    steps = _column(rows, 'env_step')
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), sharex=True, constrained_layout=True)
    panels = (
        ('episode_return', 'return of an episode', 1.0),
        ('route_completion', 'route driven (%)', 100.0),
        ('mean_speed', 'mean speed (km/h)', 3.6),
        ('mean_lateral_deviation', 'distance from the route (m)', 1.0),
    )
    colours = [_colour(row) for row in rows]
    for axis, (key, title, scale) in zip(axes.flat, panels):
        values = _column(rows, key) * scale
        axis.scatter(steps, values, s=12, c=colours, alpha=0.6, linewidths=0)
        axis.plot(steps, _smooth(values), color='#1d3557', linewidth=2)
        axis.set_title(title, loc='left', fontsize=11)
        axis.grid(alpha=0.25)
        axis.spines[['top', 'right']].set_visible(False)
        axis.margins(x=0.02)
    for axis in axes[1]:
        axis.set_xlabel('environment steps')
    for label, colour in (('goal', GOOD), ('failure', BAD), ('time limit', NEUTRAL)):
        axes[0, 0].scatter([], [], s=20, c=colour, label=label)
    axes[0, 0].plot([], [], color='#1d3557', label=f'mean of {WINDOW} episodes')
    axes[0, 0].legend(frameon=False, fontsize=9, loc='upper left')
    figure.suptitle(f'{run.path.name}: {len(rows)} episodes', x=0.01, ha='left', fontsize=13)
    path = run.path / 'curves.png'
    plt.close(figure)
    replace_picture(path, figure, dpi=110)
    return path


def _column(rows: List[Dict[str, Any]], key: str) -> np.ndarray:
    """Return a column; NaN where an older run, or a torn row, has none."""
    return np.array([float(row.get(key) or 'nan') for row in rows])


def _colour(row: Dict[str, Any]) -> str:
    return {'goal': GOOD, 'time_limit': NEUTRAL}.get(row.get('reason') or '', BAD)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the mean of what is known of the last values at each place; NaN where nothing is."""
    known = ~np.isnan(values)
    sums = np.cumsum(np.insert(np.where(known, values, 0.0), 0, 0.0))
    counts = np.cumsum(np.insert(known, 0, False))
    ends = np.arange(1, len(values) + 1)
    begin = np.maximum(ends - WINDOW, 0)
    with np.errstate(invalid='ignore'):
        return (sums[ends] - sums[begin]) / (counts[ends] - counts[begin])
