"""``av-td3 gate``: may this run go on? A table of criteria, GO or NO-GO."""

import argparse
from contextlib import nullcontext
import json
from pathlib import Path
import subprocess
import sys
from typing import Any, Callable, ContextManager, Optional, Sequence

from av_td3_ros import gates
from av_td3_ros.cli import common
from av_td3_ros.report import runs

EXIT_NO_GO = 1
EVALUATED_FROM = '10k'
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
    return f'{common.aligned(rows)}\n{judgement.stage}: {judgement.verdict}'


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


def evaluated(folder: Path, stage: str) -> str:
    """
    Let the newest checkpoint of a run and random actions drive, in a process of its own.

    :param stage: names the evaluation, which later ones do not replace.
    :returns: what went wrong, or ''.
    """
    command = [sys.executable, '-m', 'av_td3_ros.cli.main', 'evaluate', str(folder)]
    command += ['--via', 'in-process', '--baselines', 'random', '--vehicles', '0']
    command += ['--output', str(folder / runs.EVALUATED_AT.format(stage=stage))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return ''
    told = (done.stderr or done.stdout).strip()
    return told or f'the evaluation ended with exit code {done.returncode}'


class Gatekeeper:
    """
    Watches a run that goes on: each stage is judged when it is reached, on the files as they are.

    A run that is resumed beyond a stage is judged at that stage, too. From 10k on a checkpoint of
    now drives the held-out routes first, and random actions do; training waits.
    """

    def __init__(
        self,
        folder: Path,
        watches: bool,
        evaluate: Optional[Callable[[Path, str], str]] = None,
    ) -> None:
        """
        :param folder: of the run. :param watches: false lets everything pass.
        :param evaluate: drives what a folder holds at a stage; returns what went wrong, or ''.
        """
        self._folder = folder
        self._evaluate = evaluate or evaluated
        self._left = list(gates.STAGES if watches else ())
        self.stopped = False

    def look(
        self,
        env_steps: int,
        tell: Callable[[str], None],
        saved: Callable[[], ContextManager[Any]] = nullcontext,
        stops: Sequence[int] = (),
    ) -> None:
        """
        Judge the last stage that was reached since the last look.

        :param env_steps: of the run. :param tell: takes the table.
        :param saved: writes a checkpoint, and makes the training wait while it is open.
        :param stops: not empty once somebody wants all to end: Ctrl-C ends an evaluation, too,
            which then says nothing of the run.
        """
        due = [stage for stage in gates.reached(env_steps) if stage in self._left]
        for stage in due:
            self._left.remove(stage)
        if due and not self.stopped:
            if gates.steps(due[-1]) >= gates.steps(EVALUATED_FROM):
                tell(f'{due[-1]}: driving the held-out routes, training waits')
                with saved():
                    fault = self._evaluate(self._folder, due[-1])
                if stops:
                    return
                if fault:
                    tell(fault)
            judgement = gates.judge(runs.read(self._folder).evidence(env_steps), due[-1])
            self.stopped = not judgement.passed
            tell(table(judgement))
