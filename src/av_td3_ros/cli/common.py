"""What several commands share: config from all its sources, run folders, progress, stops."""

import argparse
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import shlex
import shutil
import signal
import sys
import time
from typing import Any, Dict, Iterator, Optional, Sequence

from av_td3_ros import config as conf
from av_td3_ros import presets
from av_td3_ros.cli.doctor import rmw_fault
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError, flatten
from av_td3_ros.resources import map_source
from av_td3_ros.task_config import observation_preset, OBSERVATIONS

PLAIN_PERIOD = 10.0
PROGRAM = 'av-td3'
# Up to 101 the ports lie below those that Linux lends out; low ones are chosen by hand.
DOMAINS = range(60, 102)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--map``, ``--observation``, ``--preset``, ``--config`` and ``--set``."""
    parser.add_argument(
        '--map',
        metavar='MAP',
        help='OpenDRIVE file, random_town:SEED, random_town:FIRST-LAST (several side by side), or '
        "'town' for the shipped one (default)",
    )
    parser.add_argument(
        '--observation',
        metavar='NAME',
        help=f"what the policy sees: {' or '.join(OBSERVATIONS)} (default waypoints); see "
        '`av-td3 presets`',
    )
    parser.add_argument(
        '--preset',
        metavar='NAME',
        help='settings of the algorithm: one of `av-td3 presets`, or a YAML file of that form '
        f'(default {presets.DEFAULT}); --config, the other options and --set go before it',
    )
    parser.add_argument(
        '--config', metavar='FILE', help='YAML file with settings; see config.yaml of any run'
    )
    parser.add_argument(
        '--set',
        metavar='KEY=VALUE',
        action='append',
        default=[],
        dest='assignments',
        help='one setting, such as trainer.learner.batch_size=64; may be repeated',
    )


def load_config(options: argparse.Namespace, extra: Optional[Dict[str, Any]] = None) -> RunConfig:
    """
    Return the config of a run: defaults, then the preset, the file, the options and ``--set``.

    :raises ConfigError: where anything in it does not fit.
    """
    preset = options.preset
    values: Dict[str, Any] = {} if preset is None else presets.load(preset)
    where = '--set or the command line'
    if options.config is not None:
        where = options.config
        given = conf.without_shared_copies(flatten(presets.read_yaml(Path(options.config))))
        if preset is not None and values.keys() <= given.keys():
            raise ConfigError(
                f'--preset must be able to set something, got {preset}, but {where} '
                'already sets all that a preset holds; leave one of them out'
            )
        values.update(given)
    if options.map is not None:
        values['simulator.map'] = map_source(options.map)
    if options.observation:
        values.update(observation_preset(options.observation))
    values.update(extra or {})
    for text in options.assignments:
        key, value = conf.parse_assignment(text)
        values[key] = value
    return conf.build_run(values, where)


def check_middleware() -> None:
    """
    Refuse a middleware that would end this process without a word of ours.

    :raises ConfigError: where RMW_IMPLEMENTATION names one that does not start.
    """
    wanted = os.environ.get('RMW_IMPLEMENTATION')
    fault = rmw_fault() if wanted else ''
    if fault:
        raise ConfigError(
            f'RMW_IMPLEMENTATION must name an installed middleware, got {wanted}: {fault}; '
            'unset it or install that one'
        )


def called() -> str:
    """Return what starts this program here, to be pasted: its name where PATH has it."""
    path, found = sys.argv[0], shutil.which(PROGRAM)
    is_on_path = found is not None and os.path.realpath(found) == os.path.realpath(path)
    if Path(path).name != PROGRAM or is_on_path:
        return PROGRAM
    return shlex.quote(path)


def own_domain() -> int:
    """Return a ROS domain id that the environment does not use."""
    taken = os.environ.get('ROS_DOMAIN_ID') or '0'
    first, second = (DOMAINS[(os.getpid() + more) % len(DOMAINS)] for more in (0, 1))
    return first if str(first) != taken else second


def stay_on_own_domain() -> None:
    """
    Let this process and its graphs use a ROS domain of their own.

    A benchmark commands a vehicle: it must not be one that is on the user's domain.
    """
    os.environ['ROS_DOMAIN_ID'] = str(own_domain())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of as many cells each as text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(map(str.ljust, row, widths)).rstrip() for row in rows)


class Progress:
    """One line that is rewritten in a terminal, or a plain line every ten seconds elsewhere."""

    def __init__(self) -> None:
        """Begin."""
        self._live = sys.stdout.isatty()
        self._last = float('-inf')

    def show(self, text: str) -> None:
        """Show the newest state."""
        moment = time.monotonic()
        if self._live and moment - self._last > 0.2:
            width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be rewritten
            self._print(f'\r\033[K{text[:width]}', end='')
            self._last = moment
        elif not self._live and moment - self._last > PLAIN_PERIOD:
            self._print(text)
            self._last = moment

    def end(self, text: str) -> None:
        """Show a last line and leave it."""
        self._print(f'\r\033[K{text}' if self._live else text)

    def _print(self, text: str, end: str = '\n') -> None:
        with suppress(OSError):  # a closed pipe or a full disk ends no work that is shown on it
            print(text, end=end, flush=True)


def printed(text: str) -> str:
    """
    Print what a command tells at its end; return what went wrong, or ''.

    A reader that has seen enough, such as ``head``, is no fault.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        with suppress(OSError), open(os.devnull, 'w') as nowhere:
            # What still waits to be written must not fail once more when Python ends.
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return (
                f'what a command tells must be printed, got {error.strerror or error}; look at '
                'what it has written, or free space'
            )
    return ''


def clock(seconds: float) -> str:
    """Return a duration as m:ss."""
    if seconds != seconds or seconds > 359999:
        return '-:--'
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


@contextmanager
def stops_are_interrupts() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end this as Ctrl-C does, everything put back."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
