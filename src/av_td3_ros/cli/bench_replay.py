"""
``av-td3 bench replay``: memory and speed of every storage, beside Stable-Baselines3's buffer.

All buffers hold the same frames of the simulator and stay filled; rounds of storing and sampling
go through them by turns, so that a busy minute of the machine meets all of them.
"""

import argparse
import gc
import json
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from av_td3_ros.cli import common
from av_td3_ros.cli.machine import machine
from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, Outcome
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.options import ConfigError

BATCHES = (128, 256)
BATCHES_PER_ROUND = 8
STORED_PER_ROUND = 400
MILLION = 1_000_000
# It takes 56 kB for each: held down, whatever the others hold.
PEER_MOST = 10_000
SIDES: Dict[str, Dict[str, Any]] = {
    'memory': {'storage': 'memory'},
    'compressed': {'storage': 'compressed'},
    'mapped': {'storage': 'mapped'},
    'memory, prioritised': {'storage': 'memory', 'prioritised': True},
    'compressed, prioritised': {'storage': 'compressed', 'prioritised': True},
}
PEERS = {'Stable-Baselines3': False, 'Stable-Baselines3, optimised': True}


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'replay',
        help='memory and speed of the replay buffer',
        description='Fill every kind of replay buffer with frames of the simulator, then measure '
        'resident memory, storing and sampling (stack 4, n-step 3), beside the ReplayBuffer of '
        'Stable-Baselines3 where it is installed.',
    )
    parser.add_argument(
        '--transitions',
        type=int,
        default=10_000,
        metavar='N',
        help='that each buffer holds (default 10000; a million of them compressed: '
        '--transitions 1000000 --side compressed)',
    )
    parser.add_argument(
        '--side',
        action='append',
        choices=[*SIDES, *PEERS],
        metavar='NAME',
        help=f'one of: {"; ".join([*SIDES, *PEERS])}. May be repeated (default all)',
    )
    parser.add_argument(
        '--frames',
        type=int,
        default=2000,
        help='different frames, drawn by the simulator and then repeated (default 2000)',
    )
    parser.add_argument('--rounds', type=int, default=7, help='interleaved rounds (default 7)')
    parser.add_argument(
        '--codecs',
        action='store_true',
        help='compare ways to compress those frames instead, and print them as CSV',
    )
    parser.add_argument('--json', action='store_true', help='print JSON alone')
    common.add_config_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    for name, least in (('transitions', 1000), ('frames', 100), ('rounds', 1)):
        if getattr(options, name) < least:
            raise ConfigError(f'--{name} must be >= {least}, got {getattr(options, name)}')
    config = common.load_config(options)
    frames = simulated_frames(config, options.frames)
    if options.codecs:
        from av_td3_ros.cli import bench_codecs

        bench_codecs.run(frames)
        return 0
    missing = '' if peer_version() else 'not installed; pip install stable-baselines3'
    sides = options.side or [*SIDES, *PEERS]
    if missing:
        sides = [name for name in sides if name not in PEERS]
    with tempfile.TemporaryDirectory(prefix='av_td3_bench_') as folder:
        results = measure(config, sides, frames, options, Path(folder))
    report = {
        'machine': machine(),
        'transitions': options.transitions,
        'different_frames': len(frames),
        'stable_baselines3': missing or peer_version(),
        'replay': results,
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_table(results)
        if missing:
            print(f'Stable-Baselines3: {missing}')
    return 0


def simulated_frames(config: RunConfig, count: int) -> np.ndarray:
    """Drive at random and return what is seen, (count, height, width) uint8."""
    from av_td3_ros.sim.env import DrivingEnv

    rng = np.random.default_rng(0)
    frames = np.empty((count, *config.observation.spec().frame_shape), np.uint8)
    env = DrivingEnv(config)
    try:
        steering, ended = 0.0, True
        for index in range(count):
            if ended:
                obs, ended = env.reset(), False
            else:
                steering = float(np.clip(0.9 * steering + 0.15 * rng.standard_normal(), -1, 1))
                throttle = float(np.clip(0.3 + 0.3 * rng.standard_normal(), -1, 1))
                obs, _, result = env.step((steering, throttle))
                ended = result.outcome is not Outcome.CONTINUES
            frames[index] = obs.image[-1]
    finally:
        env.close()
    return frames


# -- the two kinds of sides -----------------------------------------------------------------------


class Own:
    """A replay of this package, fed by episodes of 200 steps."""

    def __init__(
        self, spec: ObsSpec, config: RunConfig, held: int, how: Dict[str, Any], folder: Path
    ) -> None:
        from av_td3_ros.td3.replay import ReplayBuffer

        learner = config.trainer.learner
        # An episode of 200 steps takes 201 slots; the oldest stack is short of frames.
        settings = ReplayConfig(capacity=held + held // 200 + 8, **how)
        self._replay = ReplayBuffer(
            spec, settings, learner.n_step, learner.discount, folder=folder
        )
        self._prioritised = settings.prioritised
        self._vector = np.zeros(spec.vector_size, np.float32)
        self._action = np.zeros(ACTION_SIZE, np.float32)
        self._stored = 0

    def store(self, frames: np.ndarray, count: int) -> None:
        """Store steps."""
        for index in range(self._stored, self._stored + count):
            frame = frames[index % len(frames)]
            if index % 200 == 0:
                self._replay.begin(frame, self._vector)
            self._replay.add(self._action, 0.5, Outcome.CONTINUES, frame, self._vector)
        self._stored += count

    def sample(self, size: int) -> None:
        """Sample a batch, and give it priorities where it has them."""
        batch = self._replay.sample(size)
        if self._prioritised:
            self._replay.update_priorities(batch.index, batch.reward)

    def __len__(self) -> int:
        return len(self._replay)


class Peer:
    """Stable-Baselines3's replay with the same stacks; it has no n-step returns here."""

    def __init__(self, spec: ObsSpec, held: int, optimised: bool) -> None:
        import gymnasium
        from stable_baselines3.common.buffers import ReplayBuffer

        self._replay = ReplayBuffer(
            held,
            gymnasium.spaces.Box(0, 255, spec.image_shape, np.uint8),
            gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32),
            'cpu',
            optimize_memory_usage=optimised,
            handle_timeout_termination=not optimised,
        )
        self._stack = spec.stack
        self._action = np.zeros((1, ACTION_SIZE), np.float32)
        self._none = np.zeros(1)
        self._stored = 0

    def store(self, frames: np.ndarray, count: int) -> None:
        """Store steps."""
        last = len(frames) - self._stack
        for index in range(self._stored, self._stored + count):
            first = index % last
            obs = frames[None, first : first + self._stack]
            next_obs = frames[None, first + 1 : first + 1 + self._stack]
            self._replay.add(obs, next_obs, self._action, self._none, self._none, [{}])
        self._stored += count

    def sample(self, size: int) -> None:
        """Sample a batch."""
        self._replay.sample(size)

    def __len__(self) -> int:
        return self._replay.size()


def peer_version() -> str:
    """Return the version of Stable-Baselines3, empty where it is not installed."""
    try:
        import stable_baselines3
    except ImportError:
        return ''
    return stable_baselines3.__version__


# -- measuring ------------------------------------------------------------------------------------


def measure(
    config: RunConfig,
    names: List[str],
    frames: np.ndarray,
    options: argparse.Namespace,
    folder: Path,
) -> List[Dict[str, Any]]:
    """Fill all sides one after the other, then let them work by turns."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        filled = [fill(config, name, frames, options.transitions, folder) for name in names]
        timings: List[Dict[str, List[float]]] = [{} for _ in filled]
        for turn in range(options.rounds + 1):  # the first round warms up
            for (side, _), kept in zip(filled, timings):
                for key, value in one_round(side, frames):
                    if turn:
                        kept.setdefault(key, []).append(value)
    finally:
        torch.set_num_threads(threads)
    results = []
    for name, (_, result), kept in zip(names, filled, timings):
        spread = {key: _spread(values) for key, values in kept.items()}
        results.append({'side': name, **result, **spread})
    return results


def fill(
    config: RunConfig, name: str, frames: np.ndarray, held: int, folder: Path
) -> Tuple[Any, Dict[str, Any]]:
    """Return a side that is full, and what that took."""
    spec = config.observation.spec()
    make: Callable[[], Any]
    if name in PEERS:
        held = min(held, PEER_MOST)

        def make() -> Any:
            return Peer(spec, held, PEERS[name])

    else:

        def make() -> Any:
            return Own(spec, config, held, SIDES[name], folder / name.replace(', ', '_'))

    gc.collect()
    before, begun = resident(), time.perf_counter()
    side = make()
    side.store(frames, held)
    seconds = time.perf_counter() - begun
    gc.collect()
    anonymous, of_files = (int(now - then) for now, then in zip(resident(), before))
    # Pages of the mapped file are resident, too, and the system may take them back at any time.
    grown = anonymous + of_files if SIDES.get(name, {}).get('storage') == 'mapped' else anonymous
    per_transition = grown / len(side)
    return side, {
        'transitions': len(side),
        'resident_bytes': grown,
        'bytes_per_transition': per_transition,
        'million_gb': per_transition * MILLION / 1e9,
        'fill_per_second': held / seconds,
    }


def resident() -> Tuple[int, int]:
    """Return the resident memory of this process, of its own and of mapped files, bytes."""
    sizes = {}
    for line in Path('/proc/self/status').read_text().splitlines():
        key, _, value = line.partition(':')
        if key in ('RssAnon', 'RssFile', 'RssShmem'):
            sizes[key] = int(value.split()[0]) * 1024
    return sizes['RssAnon'] + sizes['RssShmem'], sizes['RssFile']


def one_round(side: Any, frames: np.ndarray) -> Iterator[Tuple[str, float]]:
    """Yield what one round of a side measures."""
    begun = time.perf_counter()
    side.store(frames, STORED_PER_ROUND)
    yield 'inserts_per_second', STORED_PER_ROUND / (time.perf_counter() - begun)
    for size in BATCHES:
        taken = []
        for _ in range(BATCHES_PER_ROUND):
            begun = time.perf_counter()
            side.sample(size)
            taken.append((time.perf_counter() - begun) * 1e3)
        yield f'sample_{size}_ms', statistics.median(taken)


def _spread(values: List[float]) -> Dict[str, float]:
    return {'median': statistics.median(values), 'low': min(values), 'high': max(values)}


def print_table(results: List[Dict[str, Any]]) -> None:
    """Print medians, with the lowest and the highest round."""
    print(f'{"":30}{"bytes each":>12}{"million":>10}{"inserts/s":>20}', end='')
    print(''.join(f'{f"ms per {size}":>22}' for size in BATCHES))
    for row in results:
        print(
            f'{row["side"]:30}{row["bytes_per_transition"]:12,.0f}{row["million_gb"]:7.2f} GB'
            f'{_range(row["inserts_per_second"], 0):>20}',
            end='',
        )
        print(''.join(f'{_range(row[f"sample_{size}_ms"], 2):>22}' for size in BATCHES))


def _range(values: Dict[str, float], digits: Optional[int]) -> str:
    low, high = (f'{values[key]:.{digits}f}' for key in ('low', 'high'))
    return f'{values["median"]:.{digits}f} ({low}-{high})'
