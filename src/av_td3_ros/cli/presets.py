"""``av-td3 presets``: list the presets, show one, or show where two differ."""

import argparse
import json
import shutil
import textwrap
from typing import Any, Dict, List, Sequence

from av_td3_ros import presets
from av_td3_ros.task_config import OBSERVATIONS

WIDTH = 100  # of the list
NARROWEST = 24  # column that text is wrapped into


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'presets',
        help='list the presets, show one, or compare two',
        description='List the presets of the learner with what people compare first. A preset '
        'holds all that makes the algorithm; train with one by `av-td3 train --preset NAME`. '
        'Wherever a NAME is taken, so is the path of a YAML file of the same form.',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run_list)
    parts = parser.add_subparsers(dest='what', metavar='show|diff')
    show = parts.add_parser(
        'show', help='every value of a preset', description='Every value of one preset.'
    )
    show.add_argument('name', metavar='NAME', help='preset, or the path of a YAML file')
    show.set_defaults(run=run_show)
    diff = parts.add_parser(
        'diff', help='where two presets differ', description='Where two presets differ.'
    )
    diff.add_argument('first', metavar='A', help='preset, or the path of a YAML file')
    diff.add_argument('second', metavar='B', help='preset, or the path of a YAML file')
    diff.set_defaults(run=run_diff)
    for part in (show, diff):
        # Without a default of its own, which would hide a --json before the word.
        part.add_argument(
            '--json', action='store_true', default=argparse.SUPPRESS, help='print JSON'
        )


def run_list(options: argparse.Namespace) -> int:
    """List all."""
    if options.json:
        return _print_json([_whole(name) for name in presets.names()])
    loaded = {name: presets.load(name) for name in presets.names()}
    rows = [['preset', *_compared(loaded[presets.DEFAULT])]]
    rows += [[name, *_compared(values).values()] for name, values in loaded.items()]
    print('\n'.join(_align(rows)), end='\n\n')
    _print_table([[name, presets.description(name)] for name in loaded], WIDTH)
    print(
        '\nTrain with one: `av-td3 train --preset NAME`. Every value: `av-td3 presets show NAME`.'
        '\n\nWhat the policy sees is chosen beside it: `av-td3 train --observation NAME`.'
    )
    _print_table([[name, preset.description] for name, preset in OBSERVATIONS.items()], WIDTH)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Show one."""
    if options.json:
        return _print_json(_whole(options.name))
    values, meaning = presets.load(options.name), _meanings()
    print(presets.description(options.name) or options.name)
    _print_table([[key, presets.text(value), meaning[key]] for key, value in values.items()])
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """Show where two differ."""
    differing, meaning = presets.difference(options.first, options.second), _meanings()
    if options.json:
        return _print_json(
            {
                'a': options.first,
                'b': options.second,
                'differences': [
                    {'key': key, 'a': a, 'b': b, 'meaning': meaning[key]}
                    for key, (a, b) in differing.items()
                ],
            }
        )
    if not differing:
        print(f'{options.first} and {options.second} do not differ')
        return 0
    rows = [['key', options.first, options.second, 'meaning']]
    rows += [
        [key, presets.text(a), presets.text(b), meaning[key]] for key, (a, b) in differing.items()
    ]
    _print_table(rows)
    return 0


def _whole(name: str) -> Dict[str, Any]:
    return {
        'name': name,
        'description': presets.description(name),
        'values': presets.load(name),
    }


def _compared(values: Dict[str, Any]) -> Dict[str, str]:
    """Return what people compare first, by the head of its column."""

    def shown(key: str) -> str:
        return presets.text(values[f'{presets.PREFIX}{key}'])

    per_step = (
        values[f'{presets.PREFIX}updates_per_round'] / values[f'{presets.PREFIX}update_every']
    )
    return {
        'batch': shown('learner.batch_size'),
        'lr': shown('learner.optimiser.critic_lr'),
        'enc. lr': shown('learner.optimiser.encoder_lr'),
        'tau': shown('learner.tau'),
        'gamma': shown('learner.discount'),
        'n': shown('learner.n_step'),
        'critics': shown('learner.target.critics'),
        'target': shown('learner.target.kind'),
        'encoder': shown('learner.network.encoder'),
        'upd/step': f'{per_step:g}',
    }


def _meanings() -> Dict[str, str]:
    """Return what each setting means, by its key in a config file."""
    return {
        f'{presets.PREFIX}{key}': f'{item.doc} [{item.unit}]' if item.unit else item.doc
        for key, item in presets.keys().items()
    }


def _align(rows: Sequence[Sequence[str]]) -> List[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]


def _print_table(rows: Sequence[Sequence[str]], width: int = 0) -> None:
    """
    Print rows; the last column is wrapped, under itself.

    :param width: of the whole; 0 for that of the terminal.
    """
    width = width or shutil.get_terminal_size((WIDTH, 24)).columns
    for line, row in zip(_align([row[:-1] + ['.'] for row in rows]), rows):
        start = line[:-1]
        room = max(width - len(start), NARROWEST)
        text = textwrap.wrap(row[-1], room, break_on_hyphens=False) or ['']
        print(f'\n{" " * len(start)}'.join([f'{start}{text[0]}'.rstrip(), *text[1:]]))


def _print_json(data: Any) -> int:
    print(json.dumps(data, indent=2))
    return 0
