"""
Experience in, weights out.

Callbacks only enqueue. One worker thread owns replay, networks and gradients. The graph is paced,
never starved: the trainer tells how far experience may run ahead of the updates.
"""

import array
from contextlib import ExitStack
import os
import queue
import threading
from typing import Any, Optional

from av_td3_msgs.msg import EpisodeResult, EpisodeState, PolicyWeights, TrainingStatus, Transition
import numpy as np

from av_td3_ros.bridge import convert
from av_td3_ros.config import TrainerConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.graph import EXIT_FAULT, EXIT_OK
from av_td3_ros.nodes.base import (
    ERROR,
    GraphNode,
    Health,
    OK,
    WARN,
    main as run_main,
    now,
    SUPERVISED,
)
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import claimed, RunFolder
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.arithmetic import require_device
from av_td3_ros.td3.checkpoint import CheckpointError
from av_td3_ros.td3.experience import take_or_refuse
from av_td3_ros.td3.intake import Intake
from av_td3_ros.td3.trainer import Trainer

QUEUE_SIZE = 10_000
STATUS_PERIOD = 0.2
# Longest wait for a checkpoint that was asked for, s.
SAVE_TIMEOUT = 60.0
UNLIMITED = 2**63


class TrainerNode(GraphNode):
    """Owns the worker; the learning itself is ``td3/trainer.py``."""

    NAME = 'trainer'
    CONFIG = TrainerConfig

    def setup(self) -> None:
        """Make or resume the learner; refuse a folder that cannot be written."""
        if not self.config.run_dir:
            raise ConfigError(
                'run_dir must name a folder, got nothing; set it in trainer.param.yaml'
            )
        require_device(self.config.device)
        self._run = RunFolder(self.config.run_dir)
        self._claim = ExitStack()
        if SUPERVISED not in os.environ:  # who supervises has the claim
            self._claim.enter_context(claimed(self._run.path))
        self._trainer = Trainer(self.config, self._run)
        self.get_logger().info(self._trainer.machine)
        self._intake = Intake()
        self._queue: 'queue.Queue[Any]' = queue.Queue(QUEUE_SIZE)
        self._dropped = self._refused = 0
        self._misfit = ''
        self._failure = self._save_failure = ''
        self._worker: Optional[threading.Thread] = None
        self._stopping = threading.Event()
        self._weights_pub = self.publisher('policy_weights')
        self._status_pub = self.publisher('training_status')
        self.subscribe('transition', self.on_transition)
        self.subscribe('episode_result', self.on_result)
        self.serve('save_checkpoint', self.on_save)
        self.every(STATUS_PERIOD, self._publish_status)

    def start(self) -> None:
        """Publish the first weights and start the worker."""
        self._publish_weights()
        self._stopping.clear()
        self._worker = threading.Thread(target=self._work, name='learner', daemon=True)
        self._worker.start()

    def halt(self) -> None:
        """Store what has arrived, write a checkpoint, stop."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.join()
            self._worker = None
        self._publish_status()

    def release(self) -> None:
        """Close the run folder."""
        trainer, run = getattr(self, '_trainer', None), getattr(self, '_run', None)
        if trainer is not None:
            trainer.close()
        if run is not None:
            run.close()
            self._claim.close()

    def health(self) -> Health:
        """Losses and alerts are worth a look; a learner that stopped is a fault."""
        trainer, intake = self._trainer, self._intake
        values = {
            'env_steps': trainer.env_steps,
            'updates': trainer.updates,
            'version': trainer.version,
            'publisher': intake.publisher,
            'last_sequence': intake.last_sequence,
            'received': intake.received,
            'stored': intake.stored,
            'lost': intake.lost,
            'duplicated': intake.duplicated,
            'unusable': intake.unusable,
            'refused': self._refused,
            'dropped': self._dropped,
            'queue': self._queue.qsize(),
            'machine': trainer.machine,
            'alerts': ', '.join(alert.name for alert in trainer.alerts),
            'rollbacks': trainer.rollbacks,
            **trainer.metrics,
        }
        if self._failure:
            return ERROR, self._failure, values
        if self._save_failure:
            return ERROR, self._save_failure, values
        if self._misfit:
            return ERROR, f'refused: {self._misfit}', values
        if self._run.fault:
            return WARN, self._run.fault, values
        if intake.lost:  # those that were dropped here are among them: their numbers are missing
            return WARN, f'{intake.lost} transitions lost', values
        if self._dropped:
            return WARN, f'{self._dropped} messages dropped', values
        if trainer.alerts:
            return WARN, '; '.join(alert.text for alert in trainer.alerts), values
        return OK, 'warming up' if trainer.random_actions else 'learning', values

    # -- events -----------------------------------------------------------------------------------

    def on_save(self, request: Any, reply: Any) -> Any:
        """Write a checkpoint between two updates."""
        done: 'queue.Queue[Any]' = queue.Queue()
        worker = self._worker
        if worker is None:
            reply.success, reply.message = False, 'the trainer is not active'
            return reply
        self._queue.put(done)
        end = now() + SAVE_TIMEOUT
        reply.message = f'not saved within {SAVE_TIMEOUT:g} s'
        while now() < end:
            try:
                reply.path = str(done.get(timeout=0.1))
            except queue.Empty:
                if worker.is_alive():
                    continue
                reply.message = f'learning has ended: {self._failure or "in order"}'
            else:
                reply.success = bool(reply.path)
                reply.message = 'saved' if reply.success else self._failure or self._save_failure
            break
        return reply

    def on_transition(self, msg: Transition) -> None:
        """Take a step; what is too long is not kept, but its number is: the worker judges it."""
        spec = self._trainer.spec
        if len(msg.frame) > spec.height * spec.width:
            msg.frame = array.array('B')
        if len(msg.vector) > spec.vector_size:
            msg.vector = array.array('f')
        if len(msg.privileged) > len(PRIVILEGED_NAMES):
            msg.privileged = array.array('f')
        self._enqueue(msg)

    def on_result(self, msg: EpisodeResult) -> None:
        """Take the account of an episode."""
        try:
            row = convert.result_row(msg)
        except SpecError as error:
            self._refuse(str(error))
        else:
            self._enqueue(row)

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self._misfit = why
        self.get_logger().error(f'refused: {why}', throttle_duration_sec=5.0)

    def _enqueue(self, msg: Any) -> None:
        try:
            self._queue.put_nowait(msg)
        except queue.Full:
            self._dropped += 1
            self.get_logger().error(
                f'queue of {QUEUE_SIZE} is full: {self._dropped} messages dropped',
                throttle_duration_sec=5.0,
            )

    # -- the worker -------------------------------------------------------------------------------

    def _work(self) -> None:
        why = ''
        try:
            why = self._learn()
        except Exception as error:  # the thread's boundary: say why, end visibly
            why = f'{type(error).__name__}: {error}'
        if why:
            self.get_logger().fatal(f'learner stopped: {why}')
        try:
            if not self._save():
                why = why or self._save_failure
        finally:  # told when it is saved: who hears of it looks for the checkpoint
            if why:
                self.finish(EXIT_FAULT)
                self._failure = why
                self._publish_status()

    def _learn(self) -> str:
        """Learn until stopped; return why an alert ended the run, or ''."""
        while not self._stopping.is_set():
            self._take_all(wait=not self._trainer.update_due)
            if self._trainer.halted:  # by an update, or by the account of an episode
                return f'halted: {self._trainer.halted}'
            is_due = self._trainer.update_due
            if is_due:
                self._trainer.update()
            if self._trainer.publish_due:  # by updates, or because warm-up is over
                self._publish_weights()
            if is_due:
                self._publish_status()
            if self._trainer.checkpoint_due:
                self._save()
        self._take_all(wait=False)
        return ''

    def _save(self) -> str:
        """Write a checkpoint; where that fails, say so and learn on: the next one may succeed."""
        try:
            path = str(self._trainer.save())
            self._save_failure = ''
            return path
        except (CheckpointError, OSError) as error:
            self._save_failure = str(error)
            self.get_logger().error(f'no checkpoint: {error}')
            return ''

    def _take_all(self, wait: bool) -> None:
        try:
            self._take(self._queue.get(timeout=0.05) if wait else self._queue.get_nowait())
            while True:
                self._take(self._queue.get_nowait())
        except queue.Empty:
            pass

    def _take(self, item: Any) -> None:
        if isinstance(item, Transition):
            self._take_step(item)
        elif isinstance(item, dict):
            if item['mode'] == EpisodeState.TRAINING:
                self._trainer.end_episode(item)
        else:
            item.put(self._save())

    def _take_step(self, msg: Transition) -> None:
        """Store a step; one that does not fit ends its episode, and many of them the learner."""
        stored = self._intake.stored
        why = take_or_refuse(msg, self._intake, self._trainer, self._trainer.spec.frame_shape)
        if why:
            self._refuse(why)
        elif self._intake.stored > stored:
            self._misfit = ''

    # -- publishing -------------------------------------------------------------------------------

    def _publish_weights(self) -> None:
        packed = self._trainer.next_weights()
        msg = PolicyWeights(
            version=packed.version,
            sha256=packed.sha256,
            spec=packed.spec,
            env_step=self._trainer.env_steps,
            update=self._trainer.updates,
            exploration_std=self._trainer.exploration_std,
            random_actions=self._trainer.random_actions,
            noise_correlation=self.config.exploration.correlation,
            random_uniform=self.config.exploration.warmup == 'uniform',
            random_acceleration=self.config.exploration.warmup_throttle,
            tensors=convert.to_bytes(np.frombuffer(packed.tensors, np.uint8)),
        )
        self._weights_pub.publish(msg)

    def _publish_status(self) -> None:
        trainer, intake = self._trainer, self._intake
        finished = trainer.finished
        phase = TrainingStatus.WARM_UP if trainer.random_actions else TrainingStatus.TRAINING
        if self._failure:
            phase = TrainingStatus.FAILED
        elif finished:
            phase = TrainingStatus.FINISHED
        ahead = max(trainer.steps_allowed - trainer.env_steps, 0)
        msg = TrainingStatus(
            phase=phase,
            transition_limit=(
                min(intake.last_sequence + ahead, UNLIMITED) if intake.received else UNLIMITED
            ),
            env_steps=trainer.env_steps,
            env_steps_target=self.config.steps,
            updates=trainer.updates,
            policy_version=trainer.version,
            transitions_received=intake.received,
            transitions_stored=intake.stored,
            transitions_lost=intake.lost,
            transitions_duplicated=intake.duplicated,
            queue_length=self._queue.qsize(),
            steps_per_second=trainer.steps_per_second,
            updates_per_second=trainer.updates_per_second,
            update_ratio=trainer.update_ratio,
            return_mean=trainer.return_mean,
            message=self._failure,
        )
        msg.header.stamp = self.get_clock().now().to_msg()
        self._status_pub.publish(msg)
        if finished and SUPERVISED not in os.environ:
            # By itself under a launch file; a supervisor ends the graph in order.
            self.finish(EXIT_OK)


def main() -> None:
    """Run the trainer."""
    run_main(TrainerNode)


if __name__ == '__main__':
    main()
