"""The picture of an evaluation: a panel per figure, a bar with its interval per policy."""

import math
from pathlib import Path
from typing import Any, Optional, Sequence

from av_td3_ros.driving.statistics import Estimate
from av_td3_ros.evaluation.figures import FIGURES, Result
from av_td3_ros.run_folder import replace_picture

SHOWN = (
    'success_rate',
    'route_completion',
    'driving_score_2.1',
    'collisions_per_km',
    'off_road_per_km',
    'mean_speed',
    'mean_jerk',
    'mean_lateral_acceleration',
    'mean_lateral_deviation',
    'mean_heading_error',
    'min_time_to_collision',
    'completion_time',
)
COLUMNS = 4
# Okabe and Ito, "Color Universal Design", 2008.
PALETTE = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#56B4E9', '#CC79A7', '#7A7A7A')
UNITS = {'m/s3': 'm/s³', 'm/s2': 'm/s²', 'deg': '°'}
# Letters below one panel that stand side by side.
ROOM = 45
ARROWS = {1: ' (more is better)', -1: ' (less is better)', 0: ''}


def draw(path: Path, results: Sequence[Result]) -> Optional[Path]:
    """
    Draw the results side by side.

    :param path: of the PNG. :returns: the path, or None where matplotlib is missing.
    :raises OSError: where it cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    measured = [result.metrics() for result in results]
    shown = [name for name in SHOWN if any(math.isfinite(m[name].mean) for m in measured)]
    rows = max(-(-len(shown) // COLUMNS), 1)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(14, 2.9 * rows), squeeze=False, constrained_layout=True
    )
    names = [_name(result) for result in results]
    is_crowded = sum(max(map(len, name.split('\n'))) for name in names) > ROOM
    labels = [str(number) for number, _ in enumerate(names, 1)] if is_crowded else names
    for axis, name in zip(axes.flat, shown):
        _panel(axis, name, [metrics[name] for metrics in measured], labels)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    if is_crowded:
        _key(figure, names)
    title = f'Means and 95 % intervals{_facts(results[0])}'
    figure.suptitle(title, x=0.01, ha='left', fontsize=13, parse_math=False)
    plt.close(figure)
    replace_picture(path, figure, dpi=110)
    return path


def _facts(result: Result) -> str:
    """Say where it was driven, as far as it is known."""
    facts = result.facts
    told = [Path(facts['map']).stem] if 'map' in facts else []
    told += [f'{facts["routes"]} routes'] if facts.get('routes') in ('held-out', 'random') else []
    told += [f'{facts["vehicles"]} other vehicles'] if 'vehicles' in facts else []
    return ''.join(f', {text}' for text in told)


def _key(figure: Any, names: Sequence[str]) -> None:
    """Say below the panels which number is whom."""
    from matplotlib.patches import Patch

    key = figure.legend(
        [Patch(color=PALETTE[place % len(PALETTE)]) for place in range(len(names))],
        [f'{number}  {name}'.replace('\n', ', ') for number, name in enumerate(names, 1)],
        loc='outside lower left',
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    for text in key.get_texts():
        text.set_parse_math(False)


def _name(result: Result) -> str:
    partial = f' of {result.wanted}' if result.is_partial else ''
    return f'{result.policy}\n{len(result.driven)}{partial} episodes'


def _panel(axis: Any, name: str, estimates: Sequence[Estimate], labels: Sequence[str]) -> None:
    kind = FIGURES[name]
    for place, estimate in enumerate(estimates):
        if not math.isfinite(estimate.mean):
            axis.annotate(
                'not measured',
                (place, 0.0),
                (0, 6),
                textcoords='offset points',
                rotation=90,
                ha='center',
                va='bottom',
                fontsize=8,
            )
            continue
        value = kind.scale * estimate.mean
        colour = PALETTE[place % len(PALETTE)]
        axis.bar(place, value, width=0.6, color=colour, alpha=0.85)
        if math.isfinite(estimate.low):
            ends = [
                [max(value - kind.scale * estimate.low, 0.0)],
                [max(kind.scale * estimate.high - value, 0.0)],
            ]
            axis.errorbar(place, value, yerr=ends, color='black', capsize=4, linewidth=1.2)
    unit = UNITS.get(kind.unit, kind.unit)
    axis.set_title(f'{kind.title}, {unit}' + ARROWS[kind.better], loc='left', fontsize=9)
    axis.set_xticks(range(len(labels)), labels, fontsize=8, parse_math=False)
    axis.set_xlim(-0.6, len(labels) - 0.4)
    if kind.unit == '%':
        axis.set_ylim(0.0, 104.0)  # no cap of an interval is cut off
        axis.set_yticks(range(0, 101, 20))
    axis.grid(axis='y', alpha=0.25)
    axis.spines[['top', 'right']].set_visible(False)
