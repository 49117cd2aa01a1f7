"""
``av-td3 bench sim``: steps per second of the embedded simulator, its memory and its loading.

Every side is a process of its own, on one thread, so that its peak memory is its own; they work by
turns, so that a busy moment of the machine meets all of them. Where others use the machine, too,
steps per second of processor time tell what one core can do.
"""

import argparse
from contextlib import suppress
import json
import multiprocessing
import os
from pathlib import Path
import signal
import statistics
import tempfile
import time
from typing import Any, Dict, List, Tuple

from av_td3_ros.cli import common
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError

CAMERAS = ('84x84', '256x144')
TRAFFIC = (0, 20, 100)
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
WARM_UP = 40
SHORTEST = 0.1
CRUISE = 8.0
PARTS_SHOWN = 16


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'sim',
        help='the environment: steps per second, memory, loading',
        description='Measure the whole step of the environment (vehicle, traffic, picture, '
        'observation, reward) on one core, without a learner and without ROS, with several '
        'cameras and amounts of traffic by turns.',
    )
    parser.add_argument(
        '--camera',
        action='append',
        metavar='WxH',
        help=f'camera size; may be repeated (default {" and ".join(CAMERAS)})',
    )
    parser.add_argument(
        '--vehicles',
        action='append',
        type=int,
        metavar='N',
        help='other vehicles; may be repeated (default '
        f'{", ".join(str(count) for count in TRAFFIC)})',
    )
    parser.add_argument('--rounds', type=int, default=7, help='interleaved rounds (default 7)')
    parser.add_argument(
        '--seconds', type=float, default=0.5, help='of one turn of one side (default 0.5)'
    )
    parser.add_argument(
        '--profile', action='store_true', help='show where the time of a step goes, too'
    )
    parser.add_argument('--json', action='store_true', help='print JSON alone')
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.rounds < 1:
        raise ConfigError(f'--rounds must be >= 1, got {options.rounds}')
    if not options.seconds >= SHORTEST:
        raise ConfigError(f'--seconds must be >= {SHORTEST:g}, got {options.seconds:g}')
    sides = [
        (camera, vehicles, side_config(options, camera, vehicles))
        for camera in options.camera or CAMERAS
        for vehicles in (TRAFFIC if options.vehicles is None else options.vehicles)
    ]
    progress = None if options.json else common.Progress()
    with common.stops_are_interrupts():
        results = measure(sides, options, progress)
    if progress:
        progress.end(table(results))
        for row in results:
            if 'profile' in row:
                print(f'\n{row["side"]}\n{profile_table(row["profile"])}')
    else:
        report = {
            'machine': machine(),
            'map': Path(sides[0][2].simulator.map).stem,
            'rounds': options.rounds,
            'seconds': options.seconds,
            'sim': results,
        }
        print(json.dumps(report, indent=2))
    return 0


def side_config(options: argparse.Namespace, camera: str, vehicles: int) -> RunConfig:
    """Return the config of one side; a camera of the observation's size is not cropped."""
    width, _, height = camera.partition('x')
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f'--camera must be WIDTHxHEIGHT, such as 256x144, got {camera!r}')
    seen = common.load_config(options).observation
    extra: Dict[str, Any] = {
        'simulator.image_width': int(width),
        'simulator.image_height': int(height),
        'simulator.vehicles': vehicles,
    }
    if (int(width), int(height)) == (seen.width, seen.height):
        extra['observation.crop_top'] = 0.0
    return common.load_config(options, extra)


# -- the process of a side ------------------------------------------------------------------------


class Bench:
    """One environment, driven along its routes."""

    def __init__(self, config: RunConfig) -> None:
        """:param config: of the side."""
        from av_td3_ros.sim.env import DrivingEnv

        begun = time.perf_counter()
        self._env = DrivingEnv(config)
        self._env.reset()
        self.load_seconds = time.perf_counter() - begun
        self.step = self._env.step
        self._action = (0.0, 0.5)
        self.forget()
        self.drive(steps=WARM_UP)
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.steps, self.resets = 0, 0
        self.step_seconds = self.busy_seconds = self.reset_seconds = 0.0

    def drive(self, steps: int = 0, seconds: float = 0.0) -> None:
        """Take steps for a number of them or for a time; resets are timed beside them."""
        from av_td3_ros.datatypes import Outcome

        until = time.perf_counter() + seconds
        while steps > 0 or time.perf_counter() < until:
            steps -= 1
            busy, begun = time.process_time(), time.perf_counter()
            _, _, result = self.step(self._action)
            self.step_seconds += time.perf_counter() - begun
            self.busy_seconds += time.process_time() - busy
            self.steps += 1
            self._action = self._follow(result.position)
            if result.outcome is not Outcome.CONTINUES:
                begun = time.perf_counter()
                self._env.reset()
                self.reset_seconds += time.perf_counter() - begun
                self.resets += 1
                self._action = (0.0, 0.5)

    def _follow(self, position: Any) -> Tuple[float, float]:
        """Keep to the route: what is seen must be streets, not one wall."""
        steering = -0.25 * position.lateral_deviation - 1.2 * position.heading_error
        return steering, 0.4 * (CRUISE - self._env.world.state.speed)


def serve(pipe: Any, config: RunConfig) -> None:
    """Answer what the parent asks until it is gone."""
    with suppress(EOFError, ConnectionError):
        try:
            _answer_all(pipe, config)
        except ConnectionError:
            raise
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            pipe.send(error)


def _answer_all(pipe: Any, config: RunConfig) -> None:
    bench = Bench(config)
    pipe.send({'load_seconds': bench.load_seconds})
    while True:
        task, amount = pipe.recv()
        if task == 'turn':
            bench.forget()
            bench.drive(seconds=amount)
            pipe.send(
                {
                    'steps_per_second': bench.steps / bench.step_seconds,
                    'steps_per_core_second': bench.steps / bench.busy_seconds,
                    'resets': bench.resets,
                    'reset_seconds': bench.reset_seconds,
                }
            )
        elif task == 'profile':
            from av_td3_ros.cli.bench_sim_profile import profile

            pipe.send(profile(bench, amount))
        else:
            pipe.send(peak_memory())


def peak_memory() -> int:
    """
    Return the largest resident memory that this process had, bytes.

    Not of ``getrusage``: that of a new process begins with what its parent had.
    """
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) * 1024
    raise RuntimeError('/proc/self/status must tell the peak memory (VmHWM), got none')


class Side:
    """The parent's end of a process."""

    def __init__(self, config: RunConfig, cache: str) -> None:
        """
        Start it.

        :param config: of the side. :param cache: folder of its caches.
        """
        context = multiprocessing.get_context('spawn')
        self._pipe, far = context.Pipe()
        before = {key: os.environ.get(key) for key in (*ONE_THREAD, 'AV_TD3_CACHE')}
        os.environ.update({**ONE_THREAD, 'AV_TD3_CACHE': cache})
        # Ctrl-C reaches all processes of a terminal: this one ends its sides.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._process = context.Process(target=serve, args=(far, config), daemon=True)
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, interrupt)
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value
        far.close()
        try:
            self.load_seconds = self._answer()['load_seconds']
        except BaseException:
            self.close()
            raise

    def ask(self, task: str, amount: float = 0.0) -> Any:
        """Let it do something."""
        self._pipe.send((task, amount))
        return self._answer()

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(
                'the process of a side must answer, got its end with exit code '
                f'{self._process.exitcode}'
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


# -- measuring ------------------------------------------------------------------------------------


def measure(
    sides: List[Tuple[str, int, RunConfig]], options: argparse.Namespace, progress: Any
) -> List[Dict[str, Any]]:
    """Load every side twice, cold and from the cache, then let all work by turns."""
    running: List[Side] = []
    results = []

    def say(text: str) -> None:
        if progress:
            progress.show(text)

    try:
        for camera, vehicles, config in sides:
            say(f'loading {_name(camera, vehicles)}')
            with tempfile.TemporaryDirectory(prefix='av_td3_bench_') as cache:
                cold = Side(config, cache)
                cold.close()
                running.append(Side(config, cache))
            results.append(
                {
                    'side': _name(camera, vehicles),
                    'camera': camera,
                    'vehicles': vehicles,
                    'load_cold_seconds': cold.load_seconds,
                    'load_cached_seconds': running[-1].load_seconds,
                }
            )
        turns: List[List[Dict[str, float]]] = [[] for _ in sides]
        for turn in range(options.rounds):
            for side, kept, row in zip(running, turns, results):
                say(f'round {turn + 1}/{options.rounds}: {row["side"]}')
                kept.append(side.ask('turn', options.seconds))
        for side, kept, row in zip(running, turns, results):
            row.update(_summary(kept), peak_bytes=side.ask('memory'))
            if options.profile:
                say(f'profile: {row["side"]}')
                row['profile'] = side.ask('profile', options.seconds)
    finally:
        for side in running:
            side.close()
    return results


def _name(camera: str, vehicles: int) -> str:
    return f'{camera}, {vehicles} vehicles'


def _summary(turns: List[Dict[str, float]]) -> Dict[str, Any]:
    resets = sum(turn['resets'] for turn in turns)
    return {
        'steps_per_second': _spread([turn['steps_per_second'] for turn in turns]),
        'steps_per_core_second': _spread([turn['steps_per_core_second'] for turn in turns]),
        'reset_ms': (
            1e3 * sum(turn['reset_seconds'] for turn in turns) / resets if resets else None
        ),
    }


def _spread(values: List[float]) -> Dict[str, float]:
    return {'median': statistics.median(values), 'low': min(values), 'high': max(values)}


def table(results: List[Dict[str, Any]]) -> str:
    """Return the results as text."""
    lines = [
        f'{"":24}{"steps/s":>22}{"per s of a core":>22}{"reset":>10}{"peak":>9}'
        f'{"cold":>8}{"cached":>8}'
    ]
    for row in results:
        wall, core = (_range(row[f'steps_per_{unit}']) for unit in ('second', 'core_second'))
        reset = '-' if row['reset_ms'] is None else f'{row["reset_ms"]:.1f} ms'
        lines.append(
            f'{row["side"]:24}{wall:>22}{core:>22}{reset:>10}'
            f'{row["peak_bytes"] / 1e6:6.0f} MB{row["load_cold_seconds"]:6.2f} s'
            f'{row["load_cached_seconds"]:6.2f} s'
        )
    return '\n'.join(lines)


def _range(values: Dict[str, float]) -> str:
    return f'{values["median"]:.0f} ({values["low"]:.0f}-{values["high"]:.0f})'


def profile_table(parts: List[Dict[str, Any]]) -> str:
    """Return where the time of a step goes, as text."""
    return '\n'.join(
        f'  {part["part"]:36}{part["ms"]:8.3f} ms{part["share"]:7.1%}{part["calls"]:8.1f} calls'
        for part in parts[:PARTS_SHOWN]
    )
