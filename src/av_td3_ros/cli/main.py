"""``av-td3``: train, gate, report, evaluate, bench and more. Each command is one module here."""

import argparse
import sys
from typing import List, Optional

from av_td3_ros.cli import (
    bench,
    check,
    doctor,
    evaluate,
    export,
    gate,
    presets,
    record,
    replay,
    report,
    security,
    sim,
    study,
    train,
    view,
)

COMMANDS = (
    train,
    evaluate,
    gate,
    report,
    export,
    sim,
    record,
    replay,
    view,
    study,
    bench,
    presets,
    check,
    security,
    doctor,
)
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog='av-td3',
        description='Train and drive a visual TD3 policy over a real ROS 2 graph.',
        epilog='Start with `av-td3 doctor`, then `av-td3 train`.',
    )
    commands = top.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for module in COMMANDS:
        module.add_parser(commands)
    return top


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:  # what the core refuses, with its reason
        return refuse(error)
    except ImportError as error:
        return refuse(
            f'{error.name or error} is missing: {error}; run `av-td3 doctor` to see what to do'
        )


def refuse(error: object) -> int:
    """Print one line and return the exit code of a refused input."""
    print(f'av-td3: {" ".join(str(error).split())}', file=sys.stderr)
    return EXIT_REFUSED


if __name__ == '__main__':
    sys.exit(main())
