"""What an evaluation leaves behind: a table for people, CSV, JSON and LaTeX."""

import csv
import io
import json
import math
from pathlib import Path
from typing import List, Sequence

from av_td3_ros.driving.statistics import Estimate
from av_td3_ros.evaluation.figures import Figure, FIGURES, Result, Row
from av_td3_ros.run_folder import replace_file, trajectory, TRAJECTORY

NOT_MEASURED = '-'
INTERVAL = 'mean [95 % interval]'
# From here on three digits would be fewer than those before the point.
LARGE = 999.5
# Decimals of figures that are too small for three digits without an exponent.
DECIMALS = 6
LATEX = {'%': r'\%', 'm/s3': r'm/s$^3$', 'm/s2': r'm/s$^2$', 'deg': r'$^\circ$'}
SPECIAL = {
    **{letter: '\\' + letter for letter in '_%&#${}'},
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
}


def write(folder: Path, results: Sequence[Result]) -> None:
    """
    Write evaluation.json, .csv and .tex, trajectories.csv, and others.csv where there are several.

    A reader sees the old or the new file, never a part of it.

    :param folder: made where it is not there. :param results: the first is what it is about.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = {**results[0].to_dict(), 'others': [result.to_dict() for result in results[1:]]}
    replace_file(folder / 'evaluation.json', json.dumps(data, indent=2) + '\n')
    _write_rows(folder / 'evaluation.csv', results[:1])
    if len(results) > 1:
        _write_rows(folder / 'others.csv', results[1:])
    replace_file(folder / 'evaluation.tex', latex(results))
    ways = [
        trajectory({'policy': result.policy, **row})
        for result in results
        for row in result.rows
        if row.get('trail')
    ]
    _write_csv(folder / 'trajectories.csv', [*TRAJECTORY, 'points'], ways)
    if len(results) == 1:
        (folder / 'others.csv').unlink(missing_ok=True)  # of an earlier evaluation


def _write_rows(path: Path, results: Sequence[Result]) -> None:
    rows = [{'policy': result.policy, **row} for result in results for row in result.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row if name != 'trail'))
    _write_csv(path, columns, rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    file = io.StringIO(newline='')
    writer = csv.DictWriter(file, columns, extrasaction='ignore', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, file.getvalue())


def text(results: Sequence[Result]) -> str:
    """Return the table for people: a line per figure, a column per policy."""
    heads = [INTERVAL, ''] + [result.policy for result in results]
    counts = ['episodes', '', *map(_counted, results)]
    lines = [heads, counts, ['driven', ''] + [result.via for result in results]]
    lines += _figures(results, '{mean} [{low}, {high}]')
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    )


def _counted(result: Result) -> str:
    driven = len(result.driven)
    return f'{driven} of {result.wanted}, partial' if result.is_partial else str(driven)


def latex(results: Sequence[Result]) -> str:
    """Return a tabular that needs no package."""
    heads = ' & '.join(['', *(_escaped(result.policy) for result in results)])
    lines = [
        rf'\begin{{tabular}}{{l{"r" * len(results)}}}',
        r'\hline',
        rf'{heads} \\',
        ' & '.join(['episodes', *map(_counted, results)]) + r' \\',
        r'\hline',
    ]
    for title, unit, *cells in _figures(results, '${mean}$ [${low}$, ${high}$]'):
        named = f'{title} ({LATEX.get(unit, unit)})' if unit else title
        lines.append(' & '.join([named, *cells]) + r' \\')
    return '\n'.join([*lines, r'\hline', r'\end{tabular}']) + '\n'


def _figures(results: Sequence[Result], form: str) -> List[List[str]]:
    """Return title, unit and a cell per policy of every figure that somebody has."""
    measured = [result.metrics() for result in results]
    lines = []
    for name, figure in FIGURES.items():
        estimates = [metrics[name] for metrics in measured]
        if any(math.isfinite(estimate.mean) for estimate in estimates):
            cells = [_cell(estimate, figure, form) for estimate in estimates]
            lines.append([figure.title, figure.unit, *cells])
    return lines


def _cell(estimate: Estimate, figure: Figure, form: str) -> str:
    if not math.isfinite(estimate.mean):
        return NOT_MEASURED
    shown = Estimate(*(number(figure.scale * value) for value in estimate))
    if not math.isfinite(estimate.low):
        form = form.partition(' [')[0]
    return form.format(**shown._asdict())


def number(value: float) -> str:
    """Return three digits of a figure, or all before the point; never an exponent."""
    if abs(value) >= LARGE:
        return f'{value:.0f}'
    short = f'{value:.3g}'
    if 'e' not in short:
        return short
    return f'{value:.{DECIMALS}f}'.rstrip('0').rstrip('.')


def _escaped(name: str) -> str:
    return ''.join(SPECIAL.get(letter, letter) for letter in name)
