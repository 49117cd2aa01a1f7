"""Trainers that live through made-up episodes, without a simulator."""

import numpy as np

from av_td3_ros.config import TrainerConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.options import build
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.trainer import Trainer

PRIVILEGED = np.zeros(len(PRIVILEGED_NAMES), np.float32)
LENGTH = 15  # of an episode
SMALL = {
    'observation.height': 36,
    'observation.width': 36,
    'observation.waypoints': 0,
    'steps': 200,
    'precision': 'fp32',
    'threads': 1,
    'update_after': 20,
    'update_every': 1,
    'updates_per_round': 1,
    'checkpoint_every': 20,
    'log_every': 4,
    'learner.batch_size': 8,
    'learner.network.feature_size': 16,
    'learner.network.hidden_1': 16,
    'learner.network.hidden_2': 16,
    'replay.capacity': 1000,
    'replay.prefetch': False,
    'exploration.warmup_steps': 20,
}
EPISODE = {
    'outcome': 'truncated',
    'length': LENGTH,
    'episode_return': 1.0,
    'mean_speed': 5.0,
    'route_completion': 0.9,
    'reward_progress': 3.0,
    'reward_failure': -1.0,
}


def make_trainer(folder, **values):
    """Return a trainer with a run folder; values as in ``SMALL``."""
    return Trainer(build(TrainerConfig, {**SMALL, **values}, 'the test'), RunFolder(folder))


def drive(trainer, steps, reward=lambda step: 0.5, each=lambda: None, length=LENGTH):
    """Live through made-up episodes until a step is reached or an alert ends it."""
    rng = np.random.default_rng(trainer.env_steps)

    def frame():
        return rng.integers(0, 256, trainer.spec.frame_shape, np.uint8)

    def vector():
        return rng.random(trainer.spec.vector_size).astype(np.float32)

    trainer.begin(frame(), vector(), PRIVILEGED)
    while trainer.env_steps < steps and not trainer.halted:
        step = trainer.env_steps
        ends = step % length == length - 1
        outcome = Outcome.TRUNCATED if ends else Outcome.CONTINUES
        trainer.add(rng.uniform(-1, 1, 2), reward(step), outcome, frame(), vector(), PRIVILEGED)
        if ends:
            trainer.end_episode({**EPISODE, 'length': length})
            trainer.begin(frame(), vector(), PRIVILEGED)
        while trainer.update_due:
            trainer.update()
        if trainer.checkpoint_due:
            trainer.save()
        each()


def blank(trainer):
    """Return an observation as ``begin`` and ``add`` of a trainer want it."""
    vector = np.zeros(trainer.spec.vector_size, np.float32)
    return np.zeros(trainer.spec.frame_shape, np.uint8), vector, PRIVILEGED
