"""
Experience in, updates at the target ratio, weights and checkpoints out.

The in-process loop and the trainer node run this same class; it knows neither environment nor
transport.
"""

from collections import deque
import logging
import math
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
from av_td3_ros.td3.arithmetic import Arithmetic, choose, default_threads, keep_memory
from av_td3_ros.td3.checkpoint import CheckpointError
from av_td3_ros.td3.exploration import Exploration
from av_td3_ros.td3.health import Alert
from av_td3_ros.td3.health_guard import Guard, HALTED
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.metrics import COLUMNS, Rate, Record, reward_shares
from av_td3_ros.td3.prefetch import Prefetcher
from av_td3_ros.td3.replay import ReplayBuffer
from av_td3_ros.td3.schedule import Schedule
from av_td3_ros.td3.versions import Versions

LOG = logging.getLogger(__name__)
RETURNS_KEPT = 20


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
            privileged=self.agent.privileged,
        )
        self._prefetcher: Optional[Prefetcher] = None
        if config.replay.prefetch:
            self._prefetcher = Prefetcher(self.replay, learner.batch_size, config.device)
        self._run = run
        self._guard = Guard(config.health, learner, run)
        self._record = Record()
        self._begun = time.monotonic()
        self._exploration = Exploration(config.exploration)
        self._schedule = Schedule(config)
        self._versions = Versions(run.path)
        self.env_steps = self.episodes = 0
        self.metrics: Dict[str, float] = {}
        self._returns: Deque[float] = deque(maxlen=RETURNS_KEPT)
        self._steps, self._updates = Rate(), Rate()
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

    def begin(self, frame: np.ndarray, vector: np.ndarray, privileged: np.ndarray) -> None:
        """
        Take the first observation of an episode.

        :param frame: (height, width) uint8. :param vector: (n,) float32, what the policy sees.
        :param privileged: (23,) float32, ``PRIVILEGED_NAMES``; the learner may want less.
        """
        self.replay.begin(frame, vector, privileged)

    def add(
        self,
        action: Sequence[float],
        reward: float,
        outcome: Outcome,
        frame: np.ndarray,
        vector: np.ndarray,
        privileged: np.ndarray,
    ) -> None:
        """Take one step: the action, its reward, and what it led to, as in :meth:`begin`."""
        chosen = np.asarray(action, np.float32)
        self.replay.add(chosen, float(reward), outcome, frame, vector, privileged)
        self.env_steps += 1
        self._steps.count()
        self._guard.monitor.reward(reward)
        batch = self.config.learner.batch_size
        if self.replay.is_full and len(self.replay) < batch:
            self._guard.stop(
                f'learner.batch_size must be <= what fits into the replay, got {batch} > '
                f'{len(self.replay)} transitions in {self.replay.capacity} observations of '
                'episodes as short as these; raise replay.capacity in trainer.param.yaml'
            )

    def abort(self) -> None:
        """End the running episode at its last good step."""
        self.replay.abort()

    def end_episode(self, row: Mapping[str, Any]) -> None:
        """Take the account of a finished episode."""
        self.episodes += 1
        self._run.add_episode({'env_step': self.env_steps, **row})
        if row['outcome'] == 'aborted':
            return
        self._returns.append(float(row['episode_return']))
        numbers = {key: float(x) for key, x in row.items() if isinstance(x, (int, float))}
        numbers.update({f'share_{term}': x for term, x in reward_shares(row).items()})
        self._run.add_metrics({f'episode/{key}': x for key, x in numbers.items()}, self.env_steps)
        # Random actions say nothing of the policy.
        begun = self.env_steps - int(row['length'])
        is_its_own = self.updates > 0 and begun >= self.config.exploration.warmup_steps
        if is_its_own and self._guard.episode(self.env_steps, self.updates, row):
            self._roll_back()

    # -- updates ----------------------------------------------------------------------------------

    @property
    def updates(self) -> int:
        """Gradient updates so far."""
        return self.agent.updates

    @property
    def update_due(self) -> bool:
        """Whether the ratio asks for another update now."""
        return (
            not self.halted
            and len(self.replay) >= self.config.learner.batch_size
            and self.updates < self._schedule.owed(self.env_steps)
        )

    @property
    def steps_allowed(self) -> int:
        """Environment steps up to which experience may run ahead of the updates."""
        if len(self.replay) < self.config.learner.batch_size:
            return self.config.steps  # there is nothing yet to wait for
        return self._schedule.allowed(self.updates)

    def update(self) -> None:
        """Do one update, and every ``log_every`` of them record and judge what they did."""
        if self._prefetcher is not None:
            batch = self._prefetcher.next()
        else:
            batch = self.replay.sample(self.config.learner.batch_size)
        left = self.config.log_every - self.updates % self.config.log_every
        try:
            metrics = self.agent.update(batch, left <= self.config.learner.policy_delay)
        except LearnerError as error:
            if self._guard.failed(self.env_steps, self.updates, str(error)):
                self._roll_back()
            return
        self._record.add({**metrics, 'replay_age': self.replay.count - float(batch.index.mean())})
        self.metrics.update(metrics)
        if self.config.replay.prioritised:
            self.replay.update_priorities(batch.index, self.agent.td_error)
        self._updates.count()
        if self.updates % self.config.log_every == 0:
            self._judge()

    def _judge(self) -> None:
        """Record the metrics since the last record, and let the guard look at them."""
        record = self._record.take()
        record.update(
            update_ratio=self.update_ratio,
            exploration_std=self.exploration_std,
            steps_per_second=self.steps_per_second,
            updates_per_second=self.updates_per_second,
        )
        self.metrics.update(record)
        self._run.add_metrics({f'train/{key}': x for key, x in record.items()}, self.env_steps)
        row = {'env_step': self.env_steps, 'updates': self.updates, 'seconds': self._seconds}
        self._run.add_record({**row, **{name: record.get(name, '') for name in COLUMNS}})
        if self._guard.record(self.env_steps, self.updates, record):
            self._roll_back()

    def _roll_back(self) -> None:
        """
        Bring the learner to the newest healthy checkpoint; experience stays, and so do the
        counters: lost updates are not made up for.
        """
        updates = self.updates
        try:
            state = checkpoint.load(self._run.path, self.agent, self.spec, healthy=True)
        except CheckpointError as error:
            self._guard.stop(f'{self._guard.cause} (no roll-back: {error})')
            return
        self.agent.updates = updates
        self._published_at = updates - self.config.publish_every  # a new version, at once
        LOG.warning('%s: back to the learner of step %d', self._guard.cause, state.env_step)
        self._guard.went_back()

    # -- health -----------------------------------------------------------------------------------

    @property
    def alerts(self) -> Tuple[Alert, ...]:
        """The alerts that are active now."""
        return self._guard.alerts

    @property
    def halted(self) -> str:
        """Why an alert or a batch that cannot be filled ended the run, or ''."""
        return self._guard.halted

    @property
    def rollbacks(self) -> int:
        """How often the learner went back to a healthy checkpoint."""
        return self._guard.rollbacks

    # -- behaviour --------------------------------------------------------------------------------

    @property
    def policy(self) -> Any:
        """The policy as it is now."""
        return self.agent.policy

    @property
    def version(self) -> int:
        """Version of the newest weights."""
        return self._versions.newest

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
        self._published_at, self._published_random = self.updates, self.random_actions
        network = self.config.learner.network
        return weights.pack(self.policy, self.spec, network, self._versions.next())

    def close(self) -> None:
        """End the prefetching thread."""
        if self._prefetcher is not None:
            self._prefetcher.close()

    # -- progress ---------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the run has all its steps and the updates that belong to them."""
        return not self.halted and self.env_steps >= self.config.steps and not self.update_due

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
        over. Not while the newest checkpoint must stay a healthy one.
        """
        if not self._guard.may_save:
            return False
        first = self._saved_at == 0 and self.updates > 0
        return first or self.env_steps - self._saved_at >= self.config.checkpoint_every

    def save(self) -> Path:
        """
        Write a checkpoint and the summary now; the learner of a halted run goes to ``halted/``.

        :raises CheckpointError: where it cannot be written; older checkpoints stay.
        """
        self._saved_at = self.env_steps
        path = checkpoint.save(
            self._run.path / HALTED if self.halted else self._run.path,
            self.agent,
            self.spec,
            env_step=self.env_steps,
            version=self.version,
            extra={
                'returns': list(self._returns),
                'episodes': self.episodes,
                'arithmetic': self.agent.arithmetic._asdict(),
                'health': self._guard.state(),
                'healthy': self._guard.healthy,
                'schedule': self._schedule.state(),
                'seconds': self._seconds,
            },
            replay=None if self.halted else self.replay,
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
                'halted': self.halted,
                'alerts': [alert.name for alert in self.alerts],
                'rollbacks': self.rollbacks,
                'metrics': self.metrics,
            }
        )
        return path

    @property
    def _seconds(self) -> float:
        """Wall-clock time since the start of the run, in s, without pauses between processes."""
        return round(time.monotonic() - self._begun, 3)

    def _resume(self) -> None:
        halted = bool(self._run.read_summary().get('halted'))
        state = checkpoint.load(self._run.path, self.agent, self.spec, self.replay, halted)
        checkpoint.forget_after(self._run.path, state.env_step)
        self._run.forget_after(state.env_step)
        self.env_steps = state.env_step
        self._versions.resume(state.version, self.config)
        schedule = state.extra.get('schedule', {})
        self._schedule.load_state(schedule, self.env_steps, self.updates)
        self.episodes = int(state.extra.get('episodes', 0))
        self._returns.extend(state.extra.get('returns', ()))
        self._published_at, self._saved_at = self.updates, self.env_steps
        if 'health' in state.extra:  # of older checkpoints nothing is known
            self._guard.load_state(state.extra['health'], state.env_step, state.healthy)
            self._begun -= float(state.extra['seconds'])
        kept = Arithmetic(**state.extra['arithmetic'])
        if self.config.precision in ('auto', kept.precision):  # measured again it might differ
            self.agent.arithmetic = kept
