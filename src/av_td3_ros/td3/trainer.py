"""
Experience in, updates at the target ratio, weights and checkpoints out.

The in-process loop and the trainer node run this same class; it knows neither environment nor
transport.
"""

from collections import deque
import math
import os
from pathlib import Path
import time
from typing import Any, Deque, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from av_td3_ros.config import TrainerConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.td3 import checkpoint, weights
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.arithmetic import Arithmetic, choose, keep_memory
from av_td3_ros.td3.exploration import Exploration
from av_td3_ros.td3.prefetch import Prefetcher
from av_td3_ros.td3.replay import ReplayBuffer

RETURNS_KEPT = 20
RATE_WINDOW = 10.0
MAX_THREADS = 4


class Trainer:
    """One learner, its replay and its run folder."""

    def __init__(self, config: TrainerConfig, run: RunFolder) -> None:
        """
        Make a learner, or go on from the newest checkpoint where ``config.resume`` is set.

        :raises CheckpointError: where the checkpoint is of another network or specification.
        :raises ConfigError: where the folder holds another run's checkpoints.
        """
        torch.set_num_threads(config.threads or default_threads())
        keep_memory()
        self.config = config
        self.spec = config.observation.spec()
        learner = config.learner
        arithmetic, self.pass_times = choose(
            self.spec, learner.network, learner.batch_size, config.precision, config.device
        )
        self.agent = TD3(self.spec, learner, config.device, config.seed, arithmetic)
        self.replay = ReplayBuffer(
            self.spec,
            config.replay,
            learner.n_step,
            learner.discount,
            config.seed,
            folder=run.path / 'replay',
            device=config.device,
        )
        self._prefetcher: Optional[Prefetcher] = None
        if config.replay.prefetch:
            self._prefetcher = Prefetcher(self.replay, learner.batch_size, config.device)
        self._run = run
        self._exploration = Exploration(config.exploration)
        self.env_steps = self.version = 0
        self.episodes = 0
        self.metrics: Dict[str, float] = {}
        self._returns: Deque[float] = deque(maxlen=RETURNS_KEPT)
        self._steps, self._updates = _Rate(), _Rate()
        self._published_at = self._saved_at = 0
        self._published_random = True
        if config.resume:
            self._resume()
        elif checkpoint.latest(run.path) is not None:
            raise ConfigError(
                f'run folder must be new, got {run.path}, which holds checkpoints; go on with '
                '--resume (resume in trainer.param.yaml) or choose another folder'
            )

    @property
    def machine(self) -> str:
        """How this learner computes, and what the alternatives would have taken, as one line."""
        measured = ', '.join(
            f'{item} {1e3 * seconds:.0f} ms' for item, seconds in self.pass_times.items()
        )
        return (
            f'{self.config.device}, {torch.get_num_threads()} threads, encoders in '
            f'{self.agent.arithmetic}' + (f' (a pass: {measured})' if measured else '')
        )

    # -- experience -------------------------------------------------------------------------------

    def begin(self, frame: np.ndarray, vector: np.ndarray) -> None:
        """Take the first observation of an episode: (height, width) uint8 and (n,) float32."""
        self.replay.begin(frame, vector)

    def add(
        self,
        action: Sequence[float],
        reward: float,
        outcome: Outcome,
        frame: np.ndarray,
        vector: np.ndarray,
    ) -> None:
        """
        Take one step: the action, its reward, and the newest frame and vector that it led to.
        """
        self.replay.add(np.asarray(action, np.float32), float(reward), outcome, frame, vector)
        self.env_steps += 1
        self._steps.count()

    def abort(self) -> None:
        """End the running episode at its last good step."""
        self.replay.abort()

    def end_episode(self, row: Mapping[str, Any]) -> None:
        """Take the account of a finished episode."""
        self.episodes += 1
        self._run.add_episode({'env_step': self.env_steps, **row})
        if row['outcome'] != 'aborted':
            self._returns.append(float(row['episode_return']))
            self._run.add_metrics(
                {
                    f'episode/{key}': float(value)
                    for key, value in row.items()
                    if isinstance(value, (int, float))
                },
                self.env_steps,
            )

    # -- updates ----------------------------------------------------------------------------------

    @property
    def updates(self) -> int:
        """Gradient updates so far."""
        return self.agent.updates

    @property
    def update_due(self) -> bool:
        """Whether the ratio asks for another update now."""
        warm = min(self.env_steps, self.config.steps) - self.config.update_after
        rounds = max(warm, 0) // self.config.update_every
        return (
            len(self.replay) >= self.config.learner.batch_size
            and self.updates < rounds * self.config.updates_per_round
        )

    @property
    def steps_allowed(self) -> int:
        """Environment steps up to which experience may run ahead of the updates."""
        if len(self.replay) < self.config.learner.batch_size:
            return self.config.steps  # there is nothing yet to wait for
        # A round begins only when all its steps are there: they are always allowed.
        rounds = self.updates // self.config.updates_per_round + 1
        earned = rounds * self.config.update_every + self.config.max_lead
        return min(self.config.update_after + earned, self.config.steps)

    def update(self) -> None:
        """Do one update."""
        if self._prefetcher is not None:
            batch = self._prefetcher.next()
        else:
            batch = self.replay.sample(self.config.learner.batch_size)
        self.metrics.update(self.agent.update(batch))
        if self.config.replay.prioritised:
            self.replay.update_priorities(batch.index, self.agent.td_error)
        self._updates.count()
        if self.updates % self.config.log_every == 0:
            self._run.add_metrics(
                {f'train/{key}': value for key, value in self.metrics.items()}, self.env_steps
            )
            self._run.add_metrics(
                {
                    'train/update_ratio': self.update_ratio,
                    'train/exploration_std': self.exploration_std,
                },
                self.env_steps,
            )

    # -- behaviour --------------------------------------------------------------------------------

    @property
    def policy(self) -> Any:
        """The policy as it is now."""
        return self.agent.policy

    @property
    def random_actions(self) -> bool:
        """Whether this is warm-up."""
        return self.env_steps < self.config.exploration.warmup_steps

    @property
    def exploration_std(self) -> float:
        """Standard deviation of the exploration noise now."""
        return self._exploration.std(self.env_steps)

    @property
    def publish_due(self) -> bool:
        """Whether new weights should be published."""
        return (
            self.updates - self._published_at >= self.config.publish_every
            or self.random_actions != self._published_random
        )

    def next_weights(self) -> Any:
        """Return the policy as a new version, ready to travel."""
        self.version += 1
        self._published_at, self._published_random = self.updates, self.random_actions
        return weights.pack(self.policy, self.spec, self.config.learner.network, self.version)

    def close(self) -> None:
        """End the prefetching thread."""
        if self._prefetcher is not None:
            self._prefetcher.close()

    # -- progress ---------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the run has all its steps and the updates that belong to them."""
        return self.env_steps >= self.config.steps and not self.update_due

    @property
    def return_mean(self) -> float:
        """Mean return of the last 20 episodes, NaN before the first."""
        return float(np.mean(self._returns)) if self._returns else math.nan

    @property
    def update_ratio(self) -> float:
        """Updates per environment step since warm-up."""
        return self.updates / max(self.env_steps - self.config.update_after, 1)

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second, over the last seconds."""
        return self._steps.per_second()

    @property
    def updates_per_second(self) -> float:
        """Updates per second, over the last seconds."""
        return self._updates.per_second()

    # -- checkpoints ------------------------------------------------------------------------------

    @property
    def checkpoint_due(self) -> bool:
        """
        Whether ``checkpoint_every`` environment steps have gone since the last, or warm-up is
        over.
        """
        first = self._saved_at == 0 and self.updates > 0
        return first or self.env_steps - self._saved_at >= self.config.checkpoint_every

    def save(self) -> Path:
        """
        Write a checkpoint and the summary now.

        :raises CheckpointError: where it cannot be written; older checkpoints stay.
        """
        self._saved_at = self.env_steps
        path = checkpoint.save(
            self._run.path,
            self.agent,
            self.spec,
            env_step=self.env_steps,
            version=self.version,
            extra={
                'returns': list(self._returns),
                'episodes': self.episodes,
                'arithmetic': self.agent.arithmetic._asdict(),
            },
            replay=self.replay,
        )
        self._run.write_summary(
            {
                'env_steps': self.env_steps,
                'updates': self.updates,
                'version': self.version,
                'episodes': self.episodes,
                'update_ratio': self.update_ratio,
                'return_mean': self.return_mean if self._returns else None,
                'arithmetic': str(self.agent.arithmetic),
                'threads': torch.get_num_threads(),
                'metrics': self.metrics,
            }
        )
        return path

    def _resume(self) -> None:
        state = checkpoint.load(self._run.path, self.agent, self.spec, self.replay)
        self.env_steps = state.env_step
        # Versions never come twice: skip what may have been published after the checkpoint.
        ratio = self.config.updates_per_round / self.config.update_every
        lost = self.config.checkpoint_every * ratio / self.config.publish_every
        self.version = state.version + math.ceil(lost) + 1
        self.episodes = int(state.extra.get('episodes', 0))
        self._returns.extend(state.extra.get('returns', ()))
        self._published_at, self._saved_at = self.updates, self.env_steps
        if self.config.precision == 'auto':  # measured again it might differ, and so would the run
            self.agent.arithmetic = Arithmetic(**state.extra['arithmetic'])


def default_threads() -> int:
    """
    Return the torch threads of a learner that shares its cores: one core is the simulation's.

    A thread more is slower: where two threads wait for each other and a third process runs, both
    wait for that process.
    """
    return max(1, min(len(os.sched_getaffinity(0)) - 1, MAX_THREADS))


class _Rate:
    """Events per second over a sliding window."""

    def __init__(self) -> None:
        self._total = 0
        self._marks: Deque[Tuple[float, int]] = deque()

    def count(self) -> None:
        """Count one event."""
        self._total += 1
        moment = time.monotonic()
        if not self._marks or moment - self._marks[-1][0] > 0.2:
            self._marks.append((moment, self._total))
            while moment - self._marks[0][0] > RATE_WINDOW:
                self._marks.popleft()

    def per_second(self) -> float:
        """Return the rate."""
        if not self._marks:
            return 0.0
        begun, total = self._marks[0]
        return (self._total - total) / max(time.monotonic() - begun, 1e-3)
