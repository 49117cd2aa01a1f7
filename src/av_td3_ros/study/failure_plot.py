"""The picture of the study of failure: symptoms by configuration, and a few curves beside them."""

from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.report import runs
from av_td3_ros.report.series import smooth
from av_td3_ros.run_folder import replace_picture
from av_td3_ros.study.attempts import EXPLODING
from av_td3_ros.study.cures import SICK, WELL
from av_td3_ros.study.failures import first_update, Row, shown
from av_td3_ros.study.symptoms import SYMPTOMS

WIDTH, DPI = 12.8, 100  # inches and dots of each: 1280 pixels
ROW_HEIGHT = 0.34
WINDOW = 5
SMALLEST = 1e-8
COLOURS = {SICK: '#D55E00', EXPLODING: '#CC79A7', WELL: '#0072B2'}
OTHERS, INK = '#b8bec6', '#24292f'


class Panel(NamedTuple):
    """
    A small chart.

    ``table``, ``columns``: what it shows, the largest of them. ``log``: its axis is logarithmic.
    """

    title: str
    table: str
    columns: Tuple[str, ...]
    log: bool = False


PANELS = (
    Panel('return of an episode', 'episodes', ('episode_return',)),
    Panel('saturated actions (share)', 'metrics', ('tanh_saturation',)),
    Panel("gradient norm of the actor's MLP", 'metrics', ('gradient_norm_actor',), True),
    Panel(
        'L2 norm of the features, before a head',
        'metrics',
        ('feature_l2', 'actor_feature_l2'),
        True,
    ),
)


def draw(path: Path, rows: Sequence[Row], folder: Path) -> Optional[Path]:
    """
    Draw the study.

    :param path: of the PNG. :param folder: of the study, with its runs.
    :returns: the path, or None where matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    height = max(2.6 + ROW_HEIGHT * len(rows), 8.0)
    figure = plt.figure(figsize=(WIDTH, height), layout='constrained')
    grid = figure.add_gridspec(len(PANELS), 2, width_ratios=(2.3, 1.0))
    _grid(figure.add_subplot(grid[:, 0]), rows)
    for place, panel in enumerate(PANELS):
        axes = figure.add_subplot(grid[place, 1])
        _curves(axes, panel, rows, folder)
        if place == 0:
            axes.legend(frameon=False, fontsize=9)
    plt.close(figure)
    replace_picture(path, figure, DPI)
    return path


def _grid(axes: Any, rows: Sequence[Row]) -> None:
    """Draw when each symptom first appears: the earlier, the darker."""
    import matplotlib

    updates = np.array(
        [
            [np.nan if (u := first_update(row, name)) is None else u for name in SYMPTOMS]
            for row in rows
        ]
    )
    latest = max(float(np.nanmax(updates)) if np.isfinite(updates).any() else 1.0, 1.0)
    colours = matplotlib.colormaps['YlOrRd_r'].with_extremes(bad='#f6f8fa')
    axes.imshow(updates / latest, cmap=colours, vmin=-0.1, vmax=1.3, aspect='auto')
    for y, row in enumerate(rows):
        for x, name in enumerate(SYMPTOMS):
            if np.isfinite(updates[y, x]):
                count = len(shown(row, name))
                partly = f'\n{count} of {len(row.told)}' if count < len(row.told) else ''
                dark = updates[y, x] < 0.35 * latest
                axes.text(
                    x,
                    y,
                    f'{updates[y, x]:.0f}{partly}',
                    ha='center',
                    va='center',
                    fontsize=7.5 if partly else 9,
                    linespacing=0.95,
                    color='white' if dark else INK,
                )
    titles = [symptom.title for symptom in SYMPTOMS.values()]
    axes.set_xticks(range(len(titles)), titles, rotation=40, ha='left', fontsize=9.5)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), [row.configuration.title for row in rows], fontsize=9.5)
    for label, row in zip(axes.get_yticklabels(), rows):
        if row.configuration.name in COLOURS:
            label.set_fontweight('bold')
    axes.set_xticks(np.arange(len(titles)) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows)) + 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=2)
    axes.tick_params(which='both', length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        'update at which a symptom first appears: the median of the seeds that show it, and how '
        'many do where not all do',
        fontsize=9.5,
    )


def _curves(axes: Any, panel: Panel, rows: Sequence[Row], folder: Path) -> None:
    """Draw one line per run: thick those that others are compared with."""
    for row in sorted(rows, key=lambda row: row.configuration.name in COLOURS):
        name = row.configuration.name
        colour = COLOURS.get(name, OTHERS)
        label: Optional[str] = name if name in COLOURS else None
        for told in row.told:
            x, y = _curve(panel, folder / 'runs' / f'{name}_seed{told.seed}')
            if len(x):
                width = 1.8 if name in COLOURS else 0.8
                axes.plot(x, y, color=colour, linewidth=width, label=label)
                label = None
    if panel.log:
        _logarithmic(axes)
    axes.set_title(panel.title, loc='left', fontsize=10)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel('environment steps', fontsize=9)


def _logarithmic(axes: Any) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curve(panel: Panel, path: Path) -> List[np.ndarray]:
    run = runs.read(path)
    columns = run.driven if panel.table == 'episodes' else run.metrics
    known = [columns[name] for name in panel.columns if name in columns]
    # fmax: of a number and NaN, the number.
    y = np.fmax.reduce(known) if known else np.empty(0)
    kept = np.isfinite(y)
    if not kept.any():
        return [np.empty(0), np.empty(0)]
    if panel.log:  # a dead actor has 0
        y = np.maximum(y, SMALLEST)
    return [columns['env_step'][kept], smooth(y[kept], WINDOW)]
