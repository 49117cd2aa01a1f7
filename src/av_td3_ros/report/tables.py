"""The tables of a report, and its sentences: text only, ready to be shown."""

import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros import gates, presets
from av_td3_ros.config import RunConfig, without_shared_copies
from av_td3_ros.evaluation.figures import Figure, FIGURES
from av_td3_ros.options import options, to_flat
from av_td3_ros.report import series
from av_td3_ros.report.runs import Run

RECENT = 20
NONE = '–'
MARKS = {True: 'pass', False: 'fail', None: 'open'}
# Of the machine and the place, not of what was tried.
UNTOLD = ('trainer.run_dir', 'trainer.resume')


class Cell(NamedTuple):
    """A cell: its text, a second, smaller line, and 'pass', 'fail', 'open' or ''."""

    text: str
    small: str = ''
    mark: str = ''


class Headline(NamedTuple):
    """A sentence that begins with GO or NO-GO, and 'pass' or 'fail'."""

    verdict: str
    mark: str
    text: str


class Row(NamedTuple):
    """A row: its head, a second, smaller line of it, and its cells."""

    head: str
    small: str
    cells: Tuple[Cell, ...]


def judgement(run: Run) -> gates.Judgement:
    """Return the verdict at the last stage that a run has reached, or at the first."""
    stages = gates.reached(run.env_steps) or list(gates.STAGES)[:1]
    return gates.judge(run.evidence(), stages[-1])


def headline(run: Run) -> Headline:
    """Say in one sentence how a run went."""
    verdict = judgement(run)
    failed = sum(finding.passed is False for finding in verdict.findings)
    unjudged = sum(finding.passed is None for finding in verdict.findings)
    reasons = [f'{failed} fail'] if failed else []
    reasons += [f'{unjudged} cannot be judged'] if unjudged else []
    of = f' ({", ".join(reasons)} of {len(verdict.findings)} criteria)' if reasons else ''
    told = f'at {verdict.stage} steps{of}; {_driving(run)}; {_alerts(run)}.'
    return Headline(verdict.verdict, MARKS[verdict.passed], told)


def _driving(run: Run) -> str:
    driven = run.driven
    if not driven or not len(driven['reason']):
        return 'no episode has ended'
    last = driven['reason'][-RECENT:]
    goals = int((last == 'goal').sum())
    first, now = (_mean(driven['episode_return'][part]) for part in (_FIRST, _LAST))
    return (
        f'{goals} of the last {len(last)} episodes reached the goal, and the return of an episode '
        f'went from {first:.1f} to {now:.1f}'
    )


_FIRST, _LAST = slice(None, RECENT), slice(-RECENT, None)


def _alerts(run: Run) -> str:
    if run.alerts is None:
        return 'alerts were not recorded'
    raised = [row['name'] for row in run.alerts if row['state'] == 'raised']
    if not raised:
        return 'no alert was raised'
    names = ', '.join(name.replace('_', ' ') for name in dict.fromkeys(raised))
    return f'{len(raised)} alert{"s" if len(raised) > 1 else ""}: {names}'


def overview(runs: Sequence[Run]) -> List[Row]:
    """Return what people compare first."""
    rows = (
        ('steps', lambda run: f'{run.env_steps:,}'),
        ('updates', _updates),
        ('wall clock', _clock),
        ('episodes', lambda run: f'{len(run.driven.get("reason", ())):,}'),
        (f'return, first {RECENT}', lambda run: _return(run, _FIRST)),
        (f'return, last {RECENT}', lambda run: _return(run, _LAST)),
        ('alerts raised', _raised),
    )
    return [Row(head, '', tuple(Cell(cell(run)) for run in runs)) for head, cell in rows]


def _updates(run: Run) -> str:
    counted = run.metrics.get('updates', np.empty(0))
    last = float(np.nanmax(counted)) if len(counted) else run.summary.get('updates', math.nan)
    return f'{last:,.0f}' if math.isfinite(last) else NONE


def _clock(run: Run) -> str:
    end = series.minutes(run, np.array([float(run.env_steps)]))
    return f'{end[0]:.1f} min' if len(end) else NONE


def _return(run: Run, part: slice) -> str:
    returns = run.driven.get('episode_return', np.empty(0))[part]
    return f'{_mean(returns):.1f}' if len(returns) else NONE


def _raised(run: Run) -> str:
    if run.alerts is None:
        return NONE
    return str(sum(row['state'] == 'raised' for row in run.alerts))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def gate_rows(runs: Sequence[Run]) -> List[Row]:
    """Return every criterion, a column for each run at the last stage that it has reached."""
    judged = [{_place(finding): finding for finding in judgement(run).findings} for run in runs]
    keys = dict.fromkeys(key for found in judged for key in found)
    rows = [
        Row(criterion, stage, tuple(_finding(found.get((stage, criterion))) for found in judged))
        for stage, criterion in sorted(keys, key=lambda key: ('', *gates.STAGES).index(key[0]))
    ]
    verdicts = [judgement(run) for run in runs]
    cells = tuple(Cell(v.verdict, f'at {v.stage}', MARKS[v.passed]) for v in verdicts)
    return [*rows, Row('verdict', '', cells)]


def _place(finding: gates.Finding) -> Tuple[str, str]:
    """Return the row of a finding; the steps driven are asked for at every stage."""
    return ('' if finding.criterion == gates.LENGTH else finding.stage), finding.criterion


def _finding(finding: Optional[gates.Finding]) -> Cell:
    if finding is None:
        return Cell(NONE)
    limit = '' if finding.limit == '-' else finding.limit
    return Cell(finding.figure, limit, MARKS[finding.passed])


def evaluated(runs: Sequence[Run]) -> List[Tuple[str, Dict[str, Any]]]:
    """Return every evaluation with the head of its column, each run followed by its baselines."""
    found = []
    for run in runs:
        if run.evaluation.get('metrics'):
            found.append((run.name, run.evaluation))
            found += [(other['policy'], other) for other in run.evaluation['others']]
    return found


def evaluation_rows(runs: Sequence[Run]) -> List[Row]:
    """Return the metrics of :func:`evaluated` with their intervals; none where there are none."""
    found = [evaluation for _, evaluation in evaluated(runs)]
    known = {name for evaluation in found for name in evaluation['metrics']}
    rows = [
        Row(head, '', tuple(Cell(str(evaluation.get(key, NONE))) for evaluation in found))
        for head, key in (('episodes', 'episodes'), ('other vehicles', 'vehicles'))
    ]
    for name, figure in FIGURES.items():
        if name in known:
            cells = (_measured(evaluation['metrics'].get(name), figure) for evaluation in found)
            rows.append(Row(figure.title, figure.unit, tuple(cells)))
    return rows if found else []


def _measured(value: Optional[Dict[str, float]], figure: Figure) -> Cell:
    if value is None:
        return Cell(NONE)
    ends = [figure.scale * value[end] for end in ('low', 'high')]
    small = f'{ends[0]:.3g} to {ends[1]:.3g}' if all(map(math.isfinite, ends)) else ''
    return Cell(f'{figure.scale * value["mean"]:.3g}', small)


def setting_rows(runs: Sequence[Run]) -> List[Row]:
    """Return the settings that differ from the default in any run: the default, then each run."""
    default = without_shared_copies(to_flat(RunConfig()))
    meaning = {item.key: item.doc for item in options(RunConfig)}
    given = [without_shared_copies(run.settings) for run in runs]
    keys = dict.fromkeys(key for values in given for key in values if key not in UNTOLD)
    rows = []
    for key in keys:
        values = [found.get(key, default.get(key)) for found in given]
        if any(value != default.get(key) for value in values):
            cells = tuple(Cell(_setting(value)) for value in (default.get(key), *values))
            rows.append(Row(key, meaning.get(key, 'of another version'), cells))
    return rows


def _setting(value: Any) -> str:
    return NONE if value is None or value == '' else presets.text(value)


def environment_rows(runs: Sequence[Run]) -> List[Row]:
    """Return what the runs were computed on, as far as they say it."""
    found = [{**_machine(run), **_learner(run)} for run in runs]
    keys = dict.fromkeys(key for values in found for key in values)
    return [Row(key, '', tuple(Cell(values.get(key, NONE)) for values in found)) for key in keys]


def _machine(run: Run) -> Dict[str, str]:
    told = run.summary.get('machine')
    return {key: str(value) for key, value in told.items()} if isinstance(told, dict) else {}


def _learner(run: Run) -> Dict[str, str]:
    return {key: str(run.summary[key]) for key in ('arithmetic', 'threads') if key in run.summary}
