"""
The two sides of ``av-td3 bench learner``, each in a process of its own that waits for its turn.

Nothing of one side (allocator settings, thread pools, caches of kernels) reaches the other, and
both are there all the time, so that turns can alternate every second.
"""

from dataclasses import replace
from functools import partial
import multiprocessing
from multiprocessing.connection import Connection
import os
from pathlib import Path
import time
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np
import torch

from av_td3_ros import presets
from av_td3_ros.cli import bench_peer
from av_td3_ros.cli.bench_learner import Case, PEER, SAME, Settings, Turn
from av_td3_ros.config import build_run, RunConfig
from av_td3_ros.datatypes import ACTION_SIZE, ObsSpec, Outcome
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.arithmetic import Arithmetic, choose, keep_memory
from av_td3_ros.td3.prefetch import Prefetcher
from av_td3_ros.td3.replay import Batch, ReplayBuffer
from av_td3_ros.td3.tensors import Sight

EPISODE = 200
POLICY_DELAY = 2  # of both: a turn is a whole number of these
EXACT_UPDATES = 20


class Side:
    """A process with learners in it; used by one thread at a time."""

    def __init__(self, kind: str, settings: Settings) -> None:
        """
        Start the process; what goes wrong in it is raised by the first :meth:`ask`.

        :param kind: ``PEER``, or anything else for the learner of this package.
        """
        context = multiprocessing.get_context('spawn')
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, kind, settings), daemon=True)
        self._process.start()
        end.close()

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self._process.pid or 0)

    def ask(self, what: str, *arguments: Any) -> Any:
        """
        Call a method there and return its result.

        :raises RuntimeError: where the process ended; otherwise whatever the method raised.
        """
        try:
            self._pipe.send((what, arguments))
            result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1.0)
            raise RuntimeError(
                'a process of the benchmark must live to its end, got exit code '
                f'{self._process.exitcode}; is there memory enough?'
            ) from None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5.0)
        self._process.kill()


class Load:
    """How much of the machine other processes use meanwhile: if much, rates mean nothing."""

    def __init__(self, *pids: int) -> None:
        """
        Start to measure.

        :param pids: processes that belong to the benchmark, beside this one.
        """
        self._pids = (os.getpid(), *pids)
        self._begun, self._before = time.monotonic(), self._used_by_others()

    def cores(self) -> Optional[float]:
        """Return the cores that others used on average; None where the system does not tell."""
        after = self._used_by_others()
        if after is None or self._before is None:
            return None
        return max(0.0, (after - self._before) / (time.monotonic() - self._begun))

    def _used_by_others(self) -> Optional[float]:
        """Return the processor time of all other processes so far, s."""
        try:
            ticks = [int(value) for value in Path('/proc/stat').read_text().split()[1:9]]
            own = [
                Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[11:13]
                for pid in self._pids
            ]
        except OSError:
            return None
        used = sum(ticks) - ticks[3] - ticks[4]  # all but idle and waiting for disks
        return (used - sum(int(t) for times in own for t in times)) / os.sysconf('SC_CLK_TCK')


def settings_of(preset: str) -> RunConfig:
    """Return the config of a whole graph with a preset."""
    return build_run(presets.load(preset), f'preset {preset}')


class Learners:
    """This package's side: an agent for every preset, precision and batch size."""

    def __init__(self, settings: Settings) -> None:
        """Prepare the process as the trainer does; learners are made when they are asked for."""
        keep_memory()
        self._settings = settings
        self._replays: Dict[str, ReplayBuffer] = {}
        self._agents: Dict[Tuple[str, str, int], TD3] = {}
        self._sources: Dict[Case, Callable[[], Batch]] = {}
        self._arithmetic: Dict[Case, Arithmetic] = {}

    def turn(self, case: Case, seconds: float) -> Turn:
        """Update for a while."""
        torch.set_num_threads(case.threads)
        if case not in self._sources:
            self._prepare(case)
        agent, source = self._agents[case[:3]], self._sources[case]
        agent.arithmetic = self._arithmetic[case]
        return take_turn(lambda: agent.update(source()), seconds)

    def account(self, case: Case) -> Dict[str, Any]:
        """Return how a case was computed."""
        return {
            'arithmetic': str(self._arithmetic[case]),
            'prefetch': self._prefetches(case, settings_of(case.learner)),
        }

    def _prepare(self, case: Case) -> None:
        config, device = settings_of(case.learner), self._settings.device
        learner = replace(config.trainer.learner, batch_size=case.batch)
        spec = spec_of(config, case.learner)
        if case.learner not in self._replays:
            self._replays[case.learner] = filled(config, case.learner, self._settings)
        replay = self._replays[case.learner]
        self._arithmetic[case], _ = choose(
            spec, learner.network, case.batch, case.precision, device
        )
        if case[:3] not in self._agents:
            self._agents[case[:3]] = TD3(
                spec, learner, device, self._settings.seed, self._arithmetic[case]
            )
        if self._prefetches(case, config):
            self._sources[case] = Prefetcher(replay, case.batch, device).next
        else:
            self._sources[case] = partial(replay.sample, case.batch)

    def _prefetches(self, case: Case, config: RunConfig) -> bool:
        """Return whether to: a case of one thread has no other to do it."""
        return config.trainer.replay.prefetch and case.threads > 1


class Peers:
    """Stable-Baselines3's side."""

    def __init__(self, settings: Settings) -> None:
        """Fill its replay buffer with the same frames."""
        spec = ObsSpec(4, 84, 84, ())
        self._model = bench_peer.make(
            spec.image_shape, settings.frames, seed=settings.seed, device=settings.device
        )
        for step in experience(spec, settings):
            bench_peer.add(self._model, *step)

    def turn(self, case: Case, seconds: float) -> Turn:
        """Update for a while, as its learn() does with its defaults: one at a time."""
        torch.set_num_threads(case.threads)
        return take_turn(
            lambda: self._model.train(gradient_steps=1, batch_size=case.batch), seconds
        )

    def account(self, case: Case) -> Dict[str, Any]:
        """Return how a case was computed."""
        return {'arithmetic': 'fp32, channels first', 'prefetch': False}

    def exactness(self, batch: int, threads: int) -> Dict[str, Any]:
        """Update both with the same weights, batches and noise, in fp32 on the CPU."""
        torch.set_num_threads(threads)
        spec = ObsSpec(4, 84, 84, ())
        config = settings_of(SAME).trainer.learner
        model = bench_peer.make(spec.image_shape, 1, fused_adam=True)
        agent = TD3(spec, config)
        bench_peer.copy_weights(model, agent)
        batches = bench_peer.random_batches(spec, batch, EXACT_UPDATES, config.discount)
        differences = bench_peer.update_side_by_side(model, agent, batches)
        return {
            'batch': batch,
            'threads': threads,
            'updates': EXACT_UPDATES,
            'largest_difference': max(differences.values()),
            'by_network': differences,
        }


def take_turn(update: Callable[[], Any], seconds: float) -> Turn:
    """Update until the time is over, after half of it that is not counted."""
    # Wakes caches, uses up what a prefetcher holds ready, and lets the system spread threads that
    # it woke on the same core.
    begun = time.perf_counter()
    update()
    while time.perf_counter() - begun < 0.5 * seconds:
        update()
    begun, used = time.perf_counter(), time.process_time()
    done, elapsed = 0, 0.0
    while elapsed < seconds:
        for _ in range(POLICY_DELAY):
            update()
        done += POLICY_DELAY
        elapsed = time.perf_counter() - begun
    return Turn(done, elapsed, time.process_time() - used)


# -- experience -----------------------------------------------------------------------------------


def spec_of(config: RunConfig, preset: str) -> ObsSpec:
    """Return the observation of a preset: images alone where they are all its peer can see."""
    return ObsSpec(4, 84, 84, ()) if preset == SAME else config.observation.spec()


def filled(config: RunConfig, preset: str, settings: Settings) -> ReplayBuffer:
    """Return a replay buffer full of noise in episodes, the same frames as everywhere."""
    learner, spec = config.trainer.learner, spec_of(config, preset)
    replay = ReplayBuffer(
        spec,
        replace(config.trainer.replay, capacity=settings.frames, storage='memory'),
        learner.n_step,
        learner.discount,
        settings.seed,
        device=settings.device,
        privileged=Sight(spec, learner).privileged,
    )
    vector = np.zeros(spec.vector_size, np.float32)
    privileged = np.zeros(len(PRIVILEGED_NAMES), np.float32)
    begins = True
    for image, action, reward, terminated, next_image in experience(spec, settings):
        if begins:
            replay.begin(image[-1], vector, privileged)
        outcome = Outcome.TERMINATED if terminated else Outcome.CONTINUES
        replay.add(action, reward, outcome, next_image[-1], vector, privileged)
        begins = terminated
    return replay


def experience(
    spec: ObsSpec, settings: Settings
) -> Iterator[Tuple[np.ndarray, np.ndarray, float, bool, np.ndarray]]:
    """Yield (image, action, reward, terminated, next_image): noise in episodes of equal length."""
    rng = np.random.default_rng(settings.seed)
    for first in range(0, settings.frames, EPISODE):
        length = min(EPISODE, settings.frames - first)
        frames = rng.integers(0, 256, (length, *spec.frame_shape), np.uint8)
        before = np.concatenate([np.repeat(frames[:1], spec.stack - 1, axis=0), frames])
        actions = rng.uniform(-1.0, 1.0, (length, ACTION_SIZE)).astype(np.float32)
        for i in range(length - 1):
            image, next_image = (before[j : j + spec.stack] for j in (i, i + 1))
            yield image, actions[i], float(actions[i, 0]), i == length - 2, next_image


def _serve(pipe: Connection, kind: str, settings: Settings) -> None:
    """Answer questions until the other end closes."""
    side: Any = None
    while True:
        try:
            what, arguments = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            if side is None:
                side = (Peers if kind == PEER else Learners)(settings)
            pipe.send(getattr(side, what)(*arguments))
        except KeyboardInterrupt:
            return
        except Exception as error:  # for the other side to raise
            pipe.send(error)
