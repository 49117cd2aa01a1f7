"""``av-td3 report``: one page about one run or several."""

import argparse
from pathlib import Path
from typing import Any

FILE = 'report.html'


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'report',
        help='write a page about runs',
        description='Write one self-contained HTML page about one run, or several side by side: '
        'curves, health, gates, evaluation, reward, pictures, settings. Runs of the same settings '
        'are drawn as mean and spread over their seeds.',
    )
    parser.add_argument('run_dirs', metavar='RUN', nargs='+', help='run folder')
    parser.add_argument(
        '--output', metavar='FILE', help=f'the page (default {FILE} in the first run folder)'
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from av_td3_ros.report import page

    paths = [Path(path) for path in options.run_dirs]
    output = Path(options.output) if options.output else paths[0] / FILE
    for found in page.write(paths, output):
        for note in found.notes:
            print(f'{found.name}: {note}')
    print(f'report: {output}')
    return 0
