"""
The whole training loop on one screen, without ROS: environment, behaviour, trainer.

The ROS graph runs the same three parts, with the environment spread over simulator, perception and
episode manager. ``av-td3 train --in-process`` runs this file.
"""

from contextlib import closing
import logging
from typing import Callable

from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.sim.env import DrivingEnv
from av_td3_ros.td3.behaviour import Behaviour
from av_td3_ros.td3.checkpoint import CheckpointError
from av_td3_ros.td3.trainer import Trainer

LOG = logging.getLogger(__name__)


def train(
    config: RunConfig,
    run: RunFolder,
    progress: Callable[[Trainer], None] = lambda trainer: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trainer:
    """
    Train a policy in this process.

    :param config: everything; ``config.trainer.steps`` environment steps are taken.
    :param run: where checkpoints, metrics and episodes go.
    :param progress: called after every step.
    :param stop: asked before every step and every update.
    :returns: the trainer at the end, ``halted`` where an alert ended the run; whatever ends the
        loop, a checkpoint is written.
    :raises CheckpointError: where there is none to resume from, or the last cannot be written.
    """
    env = DrivingEnv(config)
    trainer = Trainer(config.trainer, run)
    run.write_config(config)
    behaviour = Behaviour(config.policy.seed)
    behaviour.adopt(trainer.policy)
    env.go_on(trainer.episodes)
    behaviour.go_on(trainer.env_steps)

    obs = env.reset()
    trainer.begin(obs.image[-1], obs.vector, env.episode.privileged())
    behaviour.begin_episode()
    try:
        while trainer.env_steps < config.trainer.steps and not trainer.halted and not stop():
            behaviour.explore(
                trainer.exploration_std, trainer.random_actions, config.trainer.exploration
            )
            action = behaviour.act(obs.image, obs.vector, explore=True)
            obs, driven, result = env.step(action)
            trainer.add(
                driven,
                result.reward,
                result.outcome,
                obs.image[-1],
                obs.vector,
                env.episode.privileged(),
            )

            while trainer.update_due and not stop():
                trainer.update()
            is_over = result.outcome is not Outcome.CONTINUES
            if is_over:
                trainer.end_episode(env.summary(result))
            if trainer.checkpoint_due:  # knows of the episode: resumed, it drives the next route
                save(trainer)

            if is_over:
                obs = env.reset()
                trainer.begin(obs.image[-1], obs.vector, env.episode.privileged())
                behaviour.begin_episode()
            progress(trainer)
    finally:
        with closing(env), closing(trainer):
            trainer.save()
    return trainer


def save(trainer: Trainer) -> None:
    """Write a checkpoint; where that fails, say so and go on: the next one may succeed."""
    try:
        trainer.save()
    except (CheckpointError, OSError) as error:
        LOG.error('no checkpoint: %s', error)
