"""The comparison with the peer as Markdown, CSV, JSON and a picture."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from av_td3_ros.run_folder import replace_picture, replace_rows
from av_td3_ros.study.race import COMPARED, from_rows, Mark, mean, OURS, ratio, sentence

COLOURS = ('#0072B2', '#D55E00', '#CC79A7', '#E69F00', '#7A7A7A')
WIDTH, HEIGHT, DPI = 12.8, 4.6, 100  # inches and dots of each: 1280 pixels

# By contestant, what each of its finished runs left.
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def marks(results: Results) -> Dict[str, List[List[Mark]]]:
    """Return the evaluations of every run that has some, by contestant."""
    return {
        name: [from_rows(run['marks']) for run in told if run['marks']]
        for name, told in results.items()
    }


def _fewer(results: Results, seeds: Sequence[int]) -> str:
    """Say which learners were evaluated with other seeds than all together, as after Ctrl-C."""
    found = {name: [r['seed'] for r in told if r['marks']] for name, told in results.items()}
    fewer = [
        f'`{name}` {", ".join(map(str, own)) or "none"}'
        for name, own in found.items()
        if own != list(seeds)
    ]
    return f' Of some there are fewer: {"; ".join(fewer)}.' if fewer else ''


def _rate(told: Sequence[Mapping[str, Any]], key: str) -> str:
    """Return the mean over the runs that were measured, or a dash."""
    rates = [run[key] for run in told if run['marks'] and run[key] is not None]
    return f'{sum(rates) / len(rates):.1f}' if rates else '-'


def write_csv(path: Path, results: Results) -> None:
    """Write a line per evaluation."""
    rows = []
    for name, told in results.items():
        for run in told:
            for mark in from_rows(run['marks']):
                figures = [mark.figures[key] for key in COMPARED]
                counts = [mark.env_steps, mark.updates]
                rows.append([name, run['seed'], f'{mark.minutes:.3f}', *counts, *figures])
    replace_rows(path, ['learner', 'seed', 'minutes', 'env_steps', 'updates', *COMPARED], rows)


def to_dict(results: Results, facts: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the comparison as JSON data; ``facts``: of the study."""
    contestants = marks(results)
    return {
        **facts,
        'ratios': {key: ratio(contestants, key) for key in COMPARED},
        'learners': {name: list(told) for name, told in results.items()},
    }


def markdown(results: Results, facts: Mapping[str, Any]) -> str:
    """Return the comparison as a page of Markdown."""
    contestants = marks(results)
    titles = [f'{title}{", " + unit if unit else ""}' for title, unit, _ in COMPARED.values()]
    lines = [
        '# Beside Stable-Baselines3 at equal wall-clock',
        '',
        f'{facts["minutes"]:g} minutes of training each, evaluated every {facts["every"]:g} on '
        f'{facts["episodes"]} held-out routes; the clock stops meanwhile. Seeds '
        f'{", ".join(str(seed) for seed in facts["seeds"])}; means over them.'
        f'{_fewer(results, facts["seeds"])}',
        '',
        *(f'- {sentence(ratio(contestants, key), key)}' for key in COMPARED),
        '',
        '| learner | best '
        + ' | best '.join(titles)
        + ' | last '
        + ' | last '.join(titles)
        + ' | steps/s | updates/s | threads |',
        '|---' * (2 * len(titles) + 4) + '|',
    ]
    for name, told in results.items():
        curves = {key: mean(contestants[name], key)['mean'] for key in COMPARED}
        scaled = [COMPARED[key][2] * curve for key, curve in curves.items()]
        best = [f'{curve.max():.1f}' if len(curve) else '-' for curve in scaled]
        last = [f'{curve[-1]:.1f}' if len(curve) else '-' for curve in scaled]
        rates = [_rate(told, key) for key in ('steps_per_second', 'updates_per_second')]
        threads = ', '.join(sorted({str(run['threads']) for run in told}))
        cells = [f'`{name}`', *best, *last, *rates, threads]
        lines.append(f'| {" | ".join(cells)} |')
    for name, told in results.items():
        lines += [
            f'\n`{name}`, seed {run["seed"]}, was halted: {run["halted"]}'
            for run in told
            if run['halted']
        ]
    lines += ['', '| learner | settings |', '|---|---|']
    lines += [f'| `{name}` | {told[0]["settings"]} |' for name, told in results.items()]
    return '\n'.join(lines) + '\n'


def draw(path: Path, results: Results) -> Optional[Path]:
    """
    Draw all curves: the mean over the seeds, and their spread.

    :param path: of the PNG. :returns: the path, or None where matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(COMPARED), figsize=(WIDTH, HEIGHT), layout='constrained', squeeze=False
    )
    for axis, (key, (title, unit, scale)) in zip(axes[0], COMPARED.items()):
        for place, (name, seeds) in enumerate(marks(results).items()):
            curve, colour = mean(seeds, key), COLOURS[place % len(COLOURS)]
            width = 2.4 if name == OURS else 1.6
            label = f'{name}, n = {len(seeds)}'
            axis.plot(
                curve['minutes'],
                scale * curve['mean'],
                color=colour,
                linewidth=width,
                marker='o',
                markersize=3.5,
                label=label,
            )
            low, high = scale * curve['low'], scale * curve['high']
            axis.fill_between(curve['minutes'], low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set_title(f'{title}{", " + unit if unit else ""}', loc='left', fontsize=11)
        axis.set_xlabel('minutes of training (wall-clock)')
        axis.set_xlim(left=0.0)
        if unit == '%':
            axis.set_ylim(-2.0, 102.0)
        axis.grid(alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
    axes[0, 0].legend(frameon=False, fontsize=9)
    plt.close(figure)
    replace_picture(path, figure, DPI)
    return path
