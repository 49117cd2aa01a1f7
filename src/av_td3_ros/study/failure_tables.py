"""The study of failure as Markdown, CSV and JSON."""

import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from av_td3_ros import presets
from av_td3_ros.run_folder import replace_rows
from av_td3_ros.study.failures import cured, first_update, halts, Row, seeds, shown, Told
from av_td3_ros.study.symptoms import Finding, SYMPTOMS

ABSENT = '-'
COLUMNS = (
    'configuration',
    'kind',
    'seed',
    'symptom',
    'update',
    'env_step',
    'value',
    'limit',
    'worst',
    'halts_at',
)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a line per configuration, seed and symptom; empty where there is nothing."""
    lines = []
    for row in rows:
        for told in row.told:
            for finding in told.findings:
                values = {
                    'configuration': row.configuration.name,
                    'kind': row.configuration.kind,
                    'seed': told.seed,
                    **{key: _empty(value) for key, value in finding._asdict().items()},
                }
                lines.append([values[key] for key in COLUMNS])
    replace_rows(path, COLUMNS, lines)


def to_dict(rows: Sequence[Row], facts: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Return the study as JSON data.

    :param facts: of the study: steps, settings, machine.
    """
    return {
        **facts,
        'seeds': seeds(rows),
        'symptoms': {name: symptom._asdict() for name, symptom in SYMPTOMS.items()},
        'cures': cured(rows),
        'configurations': [
            {
                'name': row.configuration.name,
                'kind': row.configuration.kind,
                'reason': row.configuration.reason,
                'changes': row.configuration.changes,
                'runs': [_run(told) for told in row.told],
            }
            for row in rows
        ],
    }


def _run(told: Told) -> Dict[str, Any]:
    return {
        'seed': told.seed,
        **told.facts,
        'symptoms': {
            finding.symptom: {
                key: _plain(value) for key, value in finding._asdict().items() if key != 'symptom'
            }
            for finding in told.findings
        },
    }


def markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """Return the study as a page of Markdown."""
    several = len(seeds(rows)) > 1
    lines = [
        '# How training fails, and what cures it',
        '',
        f'{len(rows)} configurations, {facts["steps"]:,} environment steps, seeds '
        f'{_listed(seeds(rows))}.{_fewer(rows)} Each cell: the update at which the '
        'symptom first appears'
        + (
            ', the median of the seeds that show it, and how many of its seeds do'
            if several
            else ''
        )
        + f', and its figure there; {ABSENT} where it never does.',
        '',
        *_first(rows, several),
        '',
        '## What each cure removes',
        '',
        'Of the symptoms that the configuration without it shows in at least half of its seeds: '
        '`diverging`, or `exploding` where the name begins so.',
        '',
        '| configuration | removes | keeps | adds |',
        '|---|---|---|---|',
    ]
    for name, told in cured(rows).items():
        cells = (', '.join(SYMPTOMS[symptom].title for symptom in told[key]) for key in told)
        lines.append(f'| `{name}` | ' + ' | '.join(cell or ABSENT for cell in cells) + ' |')
    lines += ['', '## How far each figure went', '', *_worst(rows)]
    lines += ['', '## Symptoms', '', '| symptom | what it is | figure |', '|---|---|---|']
    lines += [f'| {s.title} | {s.meaning} | {s.figure} |' for s in SYMPTOMS.values()]
    lines += ['', '## Configurations', '', '| configuration | changes | reason |', '|---|---|---|']
    lines += [_described(row) for row in rows]
    return '\n'.join(lines) + '\n'


def _listed(values: Sequence[int]) -> str:
    return ', '.join(map(str, values))


def _fewer(rows: Sequence[Row]) -> str:
    """Say which configurations tell of other seeds than all together, as after Ctrl-C."""
    found = {row.configuration.name: [told.seed for told in row.told] for row in rows}
    fewer = [f'`{name}` {_listed(own)}' for name, own in found.items() if own != seeds(rows)]
    return f' Of some there are fewer: {"; ".join(fewer)}.' if fewer else ''


def _first(rows: Sequence[Row], several: bool) -> List[str]:
    titles = ' | '.join(symptom.title for symptom in SYMPTOMS.values())
    lines = [f'| configuration | {titles} | would halt |', '|---' * (len(SYMPTOMS) + 2) + '|']
    for row in rows:
        cells = [cell(row, name, several) for name in SYMPTOMS]
        lines.append(
            f'| `{row.configuration.name}` | {" | ".join(cells)} | {ending(row, several)} |'
        )
    return lines


def _worst(rows: Sequence[Row]) -> List[str]:
    measured = [name for name in SYMPTOMS if SYMPTOMS[name].figure]
    heads = [f'{SYMPTOMS[name].title}, {SYMPTOMS[name].figure}' for name in measured]
    lines = [f'| configuration | {" | ".join(heads)} |', '|---' * (len(measured) + 1) + '|']
    for row in rows:
        cells = []
        for name in measured:
            index = list(SYMPTOMS).index(name)
            worst = [told.findings[index].worst for told in row.told]
            cells.append(', '.join(number(value) for value in worst))
        lines.append(f'| `{row.configuration.name}` | {" | ".join(cells)} |')
    return lines


def _described(row: Row) -> str:
    item = row.configuration
    changes = [
        f'`{key.removeprefix(presets.PREFIX)}`: {presets.text(a)} to {presets.text(b)}'
        for key, (a, b) in item.changes.items()
    ]
    return f'| `{item.name}` | {"; ".join(changes) or ABSENT} | {item.reason} |'


def cell(row: Row, symptom: str, several: bool) -> str:
    """
    Return when a symptom appears, in how many of the seeds, and its figure there.

    :param several: whether the study has more than one seed, which each row may lack.
    """
    update = first_update(row, symptom)
    if update is None:
        return ABSENT
    found = shown(row, symptom)
    figures = [item.value for item in found if math.isfinite(item.value)]
    figure = f': {number(sorted(figures)[len(figures) // 2])}' if figures else ''
    return f'{update:.0f}{_of(row, found, several)}{figure}'


def _of(row: Row, found: Sequence[Finding], several: bool) -> str:
    return f' ({len(found)}/{len(row.told)})' if several else ''


def ending(row: Row, several: bool) -> str:
    """
    Return where health would have ended the first of the runs, and for what.

    :param several: as for :func:`cell`.
    """
    found: List[Finding] = sorted(halts(row), key=lambda finding: finding.halts_at or 0)
    if not found:
        return ABSENT
    return f'{found[0].halts_at}{_of(row, found, several)}: {SYMPTOMS[found[0].symptom].title}'


def number(value: float) -> str:
    """Return a figure with three digits, or a dash where it was not measured."""
    return ABSENT if math.isnan(value) else f'{value:.3g}'


def _empty(value: Any) -> Any:
    return '' if value is None or isinstance(value, float) and math.isnan(value) else value


def _plain(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
