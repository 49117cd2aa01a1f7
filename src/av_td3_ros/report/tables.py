"""The tables of a report, and its sentences: text only, ready to be shown."""

import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros import gates, presets
from av_td3_ros.config import RunConfig, without_shared_copies
from av_td3_ros.evaluation.figures import Figure, FIGURES
from av_td3_ros.evaluation.tables import number
from av_td3_ros.options import options, to_flat
from av_td3_ros.report import series
from av_td3_ros.report.runs import Run, WITH_FROZEN_CAMERA

RECENT = 20
NONE = '–'
# What an evaluation says of itself, as far as it does.
FACTS = ('env_step', 'map', 'routes', 'vehicles', 'weather', 'seed', 'camera', 'via')
# Where these agree, the same policy drove on the same routes.
SAME = ('env_step', 'map', 'routes', 'vehicles', 'weather', 'seed')
HEADS = {'env_step': 'policy of step', 'vehicles': 'other vehicles'}
# Minutes that are told as hours.
LONG = 120.0
# Alerts in the list, and names of them in the headline, that are shown.
ALERTS, NAMED = 100, 6
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
    told = f'at the gate of {verdict.stage} steps{of}; {_driving(run)}; {_alerts(run)}.'
    return Headline(verdict.verdict, MARKS[verdict.passed], told)


def _driving(run: Run) -> str:
    driven = run.driven
    if not driven or not len(driven['reason']):
        return 'no episode has ended'
    last = driven['reason'][-RECENT:]
    goals = int((last == 'goal').sum())
    reached = f'{goals} of the last {len(last)} episodes reached the goal'
    first, now = _first(driven['episode_return']), _last(driven['episode_return'])
    if not len(first):
        return reached
    return f'{reached}, and the return of an episode went from {_mean(first)} to {_mean(now)}'


def _first(values: np.ndarray) -> np.ndarray:
    """Return the first of the episodes: never those that are the last of them, too."""
    return values[: min(RECENT, len(values) // 2)]


def _last(values: np.ndarray) -> np.ndarray:
    return values[len(values) - len(_first(values)) :]


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f'{known.mean():.1f}' if len(known) else NONE


def _alerts(run: Run) -> str:
    if run.alerts is None:
        return 'alerts were not recorded'
    found = [row['name'].replace('_', ' ') for row in raised(run)]
    if not found:
        return 'no alert was raised'
    names = list(dict.fromkeys(found))
    more = [f'{len(names) - NAMED} more'] if len(names) > NAMED else []
    told = ', '.join([*names[:NAMED], *more])
    return f'{len(found):,} alert{"s" if len(found) > 1 else ""}: {told}'


def raised(run: Run) -> List[Dict[str, str]]:
    """Return the alerts that were raised, oldest first."""
    return [row for row in run.alerts or () if row['state'] == 'raised']


def overview(runs: Sequence[Run]) -> List[Row]:
    """Return what people compare first."""
    rows = (
        ('steps', lambda run: f'{run.env_steps:,}'),
        ('updates', _updates),
        ('wall clock', _clock),
        ('episodes', lambda run: f'{len(run.driven.get("reason", ())):,}'),
        ('goals', _goals),
        ('return of the first episodes', lambda run: _mean(_first(_returns(run)))),
        ('return of the last episodes', lambda run: _mean(_last(_returns(run)))),
        ('alerts raised', _raised),
    )
    small = {
        'goals': f'of the last {RECENT} episodes',
        'return of the first episodes': f'{RECENT}, or half of all',
        'return of the last episodes': f'{RECENT}, or half of all',
    }
    return [
        Row(head, small.get(head, ''), tuple(Cell(cell(run)) for run in runs))
        for head, cell in rows
    ]


def _updates(run: Run) -> str:
    counted = run.metrics.get('updates', np.empty(0))
    last = float(counted[-1]) if len(counted) else run.summary.get('updates', math.nan)
    return f'{last:,.0f}' if math.isfinite(last) else NONE


def _clock(run: Run) -> str:
    end = series.minutes(run, np.array([float(run.env_steps)]))
    if not len(end):
        return NONE
    return f'{end[0]:.1f} min' if end[0] < LONG else f'{end[0] / 60.0:.1f} h'


def _goals(run: Run) -> str:
    last = run.driven.get('reason', np.empty(0, str))[-RECENT:]
    return f'{int((last == "goal").sum())} of {len(last)}' if len(last) else NONE


def _returns(run: Run) -> np.ndarray:
    return run.driven.get('episode_return', np.empty(0))


def _raised(run: Run) -> str:
    if run.alerts is None:
        return NONE
    return f'{len(raised(run)):,}'


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
    """Return every evaluation with the head of its column: the runs, then those beside them."""
    own = [run for run in runs if run.evaluation.get('metrics')]
    found = [(run.name, run.evaluation) for run in own]
    for run in own:
        beside = f' beside {run.name}' if len(own) > 1 else ''
        found += [(other['policy'] + beside, other) for other in run.evaluation['others']]
    return found


def evaluation_rows(runs: Sequence[Run]) -> List[Row]:
    """Return the metrics of :func:`evaluated` with their intervals; none where there are none."""
    found = [evaluation for _, evaluation in evaluated(runs)]
    known = {name for evaluation in found for name in evaluation['metrics']}
    rows = [Row('episodes', '', tuple(Cell(_episodes(evaluation)) for evaluation in found))]
    for key in FACTS:
        if any(key in evaluation for evaluation in found):
            cells = tuple(Cell(_fact(key, evaluation.get(key, NONE))) for evaluation in found)
            rows.append(Row(HEADS.get(key, key), '', cells))
    for name, figure in FIGURES.items():
        if name in known:
            cells = (_measured(evaluation['metrics'].get(name), figure) for evaluation in found)
            rows.append(Row(figure.title, figure.unit, tuple(cells)))
    return rows if found else []


def _fact(key: str, value: Any) -> str:
    """Return a fact as text: of a file its name alone, or columns were as wide as paths are."""
    if key == 'env_step' and isinstance(value, (int, float)):
        return f'{value:,}'
    return Path(str(value)).name if key in ('map', 'routes') else str(value)


def evaluation_notes(runs: Sequence[Run]) -> List[str]:
    """Return what a reader of :func:`evaluation_rows` must know, and whether policies look."""
    notes = [note for _, evaluation in evaluated(runs) for note in evaluation.get('notes', ())]
    notes += [_looks(run) for run in runs if WITH_FROZEN_CAMERA in run.evaluations]
    return list(dict.fromkeys(str(note) for note in notes if note))


def _looks(run: Run) -> str:
    """
    Compare the success with a frozen camera with that of the same policy, on the same way.

    It looks where the 95 % intervals of both lie apart.
    """
    frozen = run.evaluations[WITH_FROZEN_CAMERA]
    success = frozen['metrics'].get('success_rate', {})
    share = success.get('mean')
    if share is None:
        return ''
    for live in run.evaluations.values():
        is_live = live.get('camera', 'live') == 'live' and live is not frozen
        is_same = all(live.get(key) == frozen.get(key) for key in SAME)
        if is_live and is_same and 'success_rate' in live['metrics']:
            other = live['metrics']['success_rate']
            falls = success.get('high', share) < other.get('low', other['mean'])
            return (
                f'{run.name}: success {other["mean"]:.0%}, and {share:.0%} with a frozen camera: '
                + ('it looks.' if falls else 'nothing shows that it looks.')
            )
    step = f'{frozen["env_step"]:,}' if 'env_step' in frozen else 'unknown'
    return (
        f'{run.name}: success {share:.0%} with a frozen camera at step {step}; with a live one '
        'there is no evaluation of that step, world and routes.'
    )


def _episodes(evaluation: Dict[str, Any]) -> str:
    driven = NONE if evaluation.get('episodes') is None else evaluation['episodes']
    is_partial = evaluation.get('partial') and 'wanted' in evaluation
    return f'{driven} of {evaluation["wanted"]}, partial' if is_partial else str(driven)


def _measured(value: Optional[Dict[str, float]], figure: Figure) -> Cell:
    if value is None:
        return Cell(NONE)
    ends = [figure.scale * value[end] for end in ('low', 'high')]
    small = f'{number(ends[0])} to {number(ends[1])}' if all(map(math.isfinite, ends)) else ''
    return Cell(number(figure.scale * value['mean']), small)


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
