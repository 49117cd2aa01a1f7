"""``av-td3 gate``: may this run go on? A table of criteria, GO or NO-GO."""

import argparse
import json
from pathlib import Path
from typing import Any, Callable, List

from av_td3_ros import gates
from av_td3_ros.report import runs

EXIT_NO_GO = 1
MARKS = {True: 'pass', False: 'FAIL', None: 'not judged'}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'gate',
        help='judge a run: GO or NO-GO',
        description='Judge a run at a stage, and at the stages before it: each criterion with its '
        'figure and its limit. Exit code 0 is GO, 1 is NO-GO; what cannot be judged is NO-GO.',
    )
    parser.add_argument('run_dir', metavar='RUN', help='run folder')
    parser.add_argument(
        '--stage', required=True, metavar='STAGE', help=f'one of {", ".join(gates.STAGES)}'
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    found = runs.read(options.run_dir)
    judgement = gates.judge(found.evidence(), options.stage)
    print(as_json(judgement) if options.json else table(judgement))
    return 0 if judgement.passed else EXIT_NO_GO


def table(judgement: gates.Judgement) -> str:
    """Return a judgement as aligned text."""
    rows = [('stage', 'criterion', 'figure', 'limit', '')]
    rows += [
        (f.stage, f.criterion, f.figure, f.limit, MARKS[f.passed]) for f in judgement.findings
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return '\n'.join([*lines, f'{judgement.stage}: {judgement.verdict}'])


def as_json(judgement: gates.Judgement) -> str:
    """Return a judgement as JSON."""
    return json.dumps(
        {
            'stage': judgement.stage,
            'verdict': judgement.verdict,
            'criteria': [finding._asdict() for finding in judgement.findings],
        },
        indent=2,
    )


def gatekeeper(folder: Path, tell: Callable[[str], None]) -> Callable[[int], bool]:
    """
    Return a function that is told the environment steps of a run and says whether it must stop.

    Each stage is judged once, when the run reaches it, on the files as they are then.

    :param folder: of the run. :param tell: takes the table of a stage.
    """
    judged: List[str] = []

    def blocked(env_steps: int) -> bool:
        due = [stage for stage in gates.reached(env_steps) if stage not in judged]
        if not due:
            return False
        judged.extend(due)
        judgement = gates.judge(runs.read(folder).evidence(env_steps), due[-1])
        tell(table(judgement))
        return not judgement.passed

    return blocked
