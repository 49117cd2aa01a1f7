"""
The charts of a report: small SVG images that are part of the page.

Each is as wide as a phone, and its text stays text: several stand side by side on a desk. The same
data give the same bytes.
"""

import hashlib
import io
import re
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from av_td3_ros.report import series
from av_td3_ros.report.runs import Run
from av_td3_ros.report.series import Band, Curve, Group

# Okabe and Ito, "Color Universal Design", 2008; their yellow is too pale for a line on white.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7A7A7A', '#333333')
ACTIONS = {'warn': '#E69F00', 'rollback': '#0072B2', 'halt': '#D55E00'}
INK, MUTED, GRID = '#24292f', '#57606a', '#d8dee4'
# What the page calls them, so that it can be bright or dark.
NAMES = ('blue', 'red', 'green', 'pink', 'orange', 'sky', 'grey', 'dark')
VARIABLES = {
    **dict(zip(COLOURS, NAMES)),
    INK: 'ink',
    MUTED: 'muted',
    GRID: 'line',
    '#ffffff': 'paper',
}
# Most rows of a chart of alerts, and the narrowest bar and gap of it, as a share of the run.
ALERTS, NARROW = 20, 1 / 400
SIZE = (5.0, 2.9)  # inches, of 72 units each: a chart on a phone is shown as it is
STYLE: Dict[str, Any] = {
    'svg.fonttype': 'none',
    'text.parse_math': False,  # names of folders may hold a dollar
    'font.family': 'DejaVu Sans',  # measured with it; the page shows its own
    'font.size': 10.5,
    'text.color': INK,
    'axes.labelcolor': MUTED,
    'axes.edgecolor': GRID,
    'axes.titlesize': 11.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.titlepad': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'xtick.major.size': 0,
    'ytick.major.size': 0,
    'lines.linewidth': 1.8,
    'legend.frameon': False,
    'legend.fontsize': 9.5,
    'path.simplify_threshold': 0.5,
    'axes.formatter.useoffset': False,
}


class Panel(NamedTuple):
    """What a chart of curves shows: its title, its axis, and how a run becomes a curve."""

    title: str
    unit: str
    curve: Callable[[Run, str], Curve]
    log: bool = False
    percent: bool = False
    metric: str = ''


def _episodes(title: str, unit: str, name: str, scale: float = 1.0) -> Panel:
    return Panel(
        title,
        unit,
        lambda run, axis: series.episode_curve(run, name, axis, scale),
        percent=unit == '%',
    )


def _metric(title: str, name: str, log: bool = False, unit: str = '') -> Panel:
    return Panel(
        title, unit, lambda run, axis: series.metric_curve(run, name, axis), log, metric=name
    )


DRIVING = (
    _episodes('Return of an episode', 'return', 'episode_return'),
    Panel('Goals', '% of episodes', series.goal_curve, percent=True),
    _episodes('Route driven', '%', 'route_completion', 100.0),
    _episodes('Mean speed', 'km/h', 'mean_speed', 3.6),
    _episodes('Distance from the route', 'm', 'mean_lateral_deviation'),
    _episodes('Length of an episode', 'steps', 'length'),
)
LEARNING = (
    _metric('Q of policy actions, mean', 'q_policy_mean', unit='Q'),
    _metric('TD error, mean', 'td_error', unit='Q'),
    _metric('Loss of the critics', 'critic_loss', log=True, unit='loss'),
    _metric('Image features', 'feature_l2', log=True, unit='L2 norm'),
    _metric('Critic gradient, before the clip', 'gradient_norm_critic_total', True, 'norm'),
    _metric('Actor outputs on the flat of tanh', 'tanh_saturation', unit='share'),
)
OVER_TIME = DRIVING[:3]


def palette(count: int) -> List[str]:
    """Return a colour for each of so many groups; they come again after the last."""
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def curves(panels: Sequence[Panel], groups: Sequence[Group], axis: str) -> List[str]:
    """Return a chart for each panel that there is data for."""
    charts = []
    for panel in panels:
        bands = [
            (colour, found)
            for colour, group in zip(palette(len(groups)), groups)
            for found in series.band(group, [panel.curve(run, axis) for run in group.runs])
        ]
        if bands:
            charts.append(_curves(panel, bands, axis))
    return charts


def not_finite(runs: Sequence[Run]) -> List[str]:
    """Return a sentence for each run that has records of what is drawn that were not finite."""
    told = []
    for run in runs:
        counts = {
            panel.title: int(np.isinf(run.metrics[panel.metric]).sum())
            for panel in LEARNING
            if panel.metric in run.metrics
        }
        found = [f'{title} ({count} records)' for title, count in counts.items() if count]
        if found:
            told.append(f'{run.name}: not finite, and not drawn: {", ".join(found)}.')
    return told


def _curves(panel: Panel, bands: Sequence[Tuple[str, Band]], axis: str) -> str:
    def draw(axes: Any) -> None:
        for colour, found in bands:
            if not np.array_equal(found.low, found.high):
                axes.fill_between(
                    found.x, found.low, found.high, color=colour, alpha=0.18, linewidth=0
                )
            axes.plot(found.x, found.mean, color=colour, label=found.label)
        if panel.log and all((found.low > 0).all() for _, found in bands):
            _logarithmic(axes)
        if panel.percent:
            axes.set_ylim(-3, 103)
        axes.set_xlabel(axis)
        axes.set_ylabel(panel.unit)
        axes.margins(x=0.01)
        axes.set_xlim(left=0)
        if axis == series.STEPS:
            _thousands(axes)

    return _svg(panel.title, draw, f'{panel.title} over {axis}')


def reward_shares(runs: Sequence[Run]) -> List[str]:
    """Return the stacked shares of the reward terms of each run; a term has one colour in all."""
    found = [(run, *series.shares(run)) for run in runs]
    total: Dict[str, float] = {}
    for _, _, terms in found:
        for name, values in terms.items():
            total[name] = total.get(name, 0.0) + float(values.mean())
    shown = sorted(total, key=lambda name: -total[name])[: len(COLOURS) - 1]
    return [
        _shares(run.name, steps, terms, shown) for run, steps, terms in found if len(steps) > 1
    ]


def _shares(
    title: str, steps: np.ndarray, terms: Dict[str, np.ndarray], shown: Sequence[str]
) -> str:
    nothing = np.zeros(len(steps))
    layers = [terms.get(name, nothing) for name in shown]
    labels = [name.replace('_', ' ') for name in shown]
    rest = [values for name, values in terms.items() if name not in shown]
    if rest:
        layers, labels = [*layers, np.sum(rest, axis=0)], [*labels, 'others']

    def draw(axes: Any) -> None:
        axes.stackplot(steps, layers, labels=labels, colors=COLOURS, alpha=0.85, linewidth=0)
        axes.set_ylim(0, 100)
        axes.set_xlim(steps[0], steps[-1])
        axes.set_xlabel(series.STEPS)
        axes.set_ylabel('% of all terms, by size')
        _thousands(axes)
        axes.legend(loc='upper center', bbox_to_anchor=(0.45, -0.24), ncols=2, handlelength=1.0)

    return _svg(title, draw, f'reward shares of {title}', (SIZE[0], 4.1))


def health(run: Run) -> str:
    """Return when which alert stood; '' where none was ever raised."""
    found = spans(run)
    if not found:
        return ''
    names = list(dict.fromkeys(name for name, *_ in found))[:ALERTS]
    found = _merged([span for span in found if span[0] in names], NARROW * run.env_steps)

    def draw(axes: Any) -> None:
        for name, action, begin, end in found:
            row, colour = names.index(name), ACTIONS.get(action, MUTED)
            axes.barh(row, end - begin, left=begin, height=0.5, color=colour)
            axes.plot(begin, row, marker='|', markersize=13, markeredgewidth=2.5, color=colour)
        for action, colour in ACTIONS.items():
            if any(span[1] == action for span in found):
                axes.plot([], [], color=colour, linewidth=6, label=action)
        axes.set_yticks(range(len(names)), [name.replace('_', ' ') for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, max(run.env_steps, 1))
        axes.set_xlabel(series.STEPS)
        axes.grid(axis='y', visible=False)
        _thousands(axes)
        axes.legend(
            loc='upper right',
            bbox_to_anchor=(1.0, 1.0),
            bbox_transform=axes.figure.transFigure,
            ncols=3,
        )

    return _svg(run.name, draw, f'alerts of {run.name}', (SIZE[0], 1.5 + 0.32 * len(names)))


def spans(run: Run) -> List[Tuple[str, str, float, float]]:
    """Return (name, action, begin, end) of every alert, in environment steps."""
    found: List[Tuple[str, str, float, float]] = []
    standing: Dict[str, Tuple[str, float]] = {}
    for row in run.alerts or ():
        name, action, step = row['name'], row['action'], float(row['env_step'])
        raised = row['state'] == 'raised'
        if raised and name in standing and standing[name][0] == action:
            continue
        if name in standing:  # cleared, or a warning that became a halt
            found.append((name, *standing.pop(name), step))
        if raised:
            standing[name] = (action, step)
    found += [(name, *begun, float(run.env_steps)) for name, begun in standing.items()]
    return sorted(found, key=lambda span: span[2])


def _merged(
    found: List[Tuple[str, str, float, float]], gap: float
) -> List[Tuple[str, str, float, float]]:
    """Return spans of which those that nobody could tell apart are one."""
    merged: Dict[Tuple[str, str], List[List[float]]] = {}
    for name, action, begin, end in found:
        known = merged.setdefault((name, action), [])
        if known and begin - known[-1][1] <= gap:
            known[-1][1] = max(known[-1][1], end)
        else:
            known.append([begin, end])
    return [(*key, begin, end) for key, known in merged.items() for begin, end in known]


def _logarithmic(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale('log')
    low, high = axes.get_ylim()
    narrow = high < 30 * low  # a single power of ten, or none, would be labelled
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.yaxis.set_minor_formatter(NullFormatter())


def _thousands(axes: Any) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:,.0f}')
    axes.xaxis.get_major_locator().set_params(nbins=5)


def _svg(
    title: str,
    draw: Callable[[Any], None],
    description: str,
    size: Tuple[float, float] = SIZE,
) -> str:
    """Return a figure as an ``<svg>`` element whose ids are its own."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    key = 'c' + hashlib.sha1(description.encode()).hexdigest()[:6]
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, 'svg.hashsalt': key}):
        figure = Figure(figsize=size, layout='constrained')
        axes = figure.add_subplot()
        axes.set_title(title)
        draw(axes)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={'Date': None, 'Creator': None})
    return _inline(text.getvalue(), key, description)


def _inline(file: str, key: str, description: str) -> str:
    """Return an SVG file as an element of a page: no head, no style of its own, ids by key."""
    body = file[file.index('<svg') :]
    for unwanted in (r'<metadata>.*?</metadata>\s*', r'<!--.*?-->\s*', r'<style.*?</style>\s*'):
        body = re.sub(unwanted, '', body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', '<g', body)
    for colour, name in VARIABLES.items():
        body = re.sub(rf'(?<=: ){colour}(?=[;"])', f'var(--{name})', body, flags=re.IGNORECASE)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{key}-', body)
    box = re.search(r'viewBox="[^"]*"', body).group()
    label = description.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;')
    return f'<svg {box} role="img" aria-label="{label}">{body[body.index(">") + 1 :]}'
