"""The two sides of ``av-td3 study peer``: each learns in a process of its own, by the clock."""

from dataclasses import replace
import math
import os
from pathlib import Path
import shutil
from typing import Any, Callable, Dict, Optional

import torch

from av_td3_ros.cli import study_sb3
from av_td3_ros.cli.bench_learner import Case, PEER, Settings
from av_td3_ros.cli.evaluate_drive import drive_here
from av_td3_ros.config import build_run, RunConfig
from av_td3_ros.datatypes import Observation
from av_td3_ros.evaluation.figures import Result
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.sim.env import DrivingEnv
from av_td3_ros.study.jobs import Tell
from av_td3_ros.study.race import COMPARED, OURS, Race
from av_td3_ros.td3.behaviour import Behaviour
from av_td3_ros.td3.trainer import Trainer
from av_td3_ros.train import train

# Frames and time with which the number of torch threads is chosen.
FRAMES, SECONDS = 1024, 3.0


class Acting:
    """Drives with whatever acts now, as the evaluation wants a driver."""

    def __init__(self, act: Callable[[Observation], Any]) -> None:
        """:param act: returns [steering, acceleration], each in [-1, 1]."""
        self._act = act

    def begin(self, env: DrivingEnv) -> None:
        """Begin an episode; nothing is remembered."""

    def act(self, env: DrivingEnv, obs: Observation) -> Any:
        """Return the action."""
        return self._act(obs)


class _Asking:
    """Stands where the evaluation shows its progress: it ends where the study is stopped."""

    def __init__(self, tell: Callable[[], bool]) -> None:
        self._tell = tell

    @property
    def stops(self) -> bool:
        """Whether to stop."""
        return self._tell()

    def episode(self, result: Result) -> None:
        """Show nothing."""


def evaluation(
    config: RunConfig,
    driver: Any,
    episodes: int,
    seed: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Optional[Dict[str, float]]:
    """
    Drive held-out routes without exploration, as ``av-td3 evaluate --via in-process`` does.

    :param seed: of the routes. :param stopped: asked before every step.
    :returns: means by ``COMPARED``; None where it was stopped.
    """
    limits = replace(
        config.episode_manager, seed=seed, routes='held_out', start_in_evaluation=True
    )
    config = replace(config, episode_manager=limits)
    result = Result('learner', 'in-process', episodes)
    drive_here(config, driver, result, _Asking(stopped))
    if len(result.rows) < episodes:
        return None
    metrics = result.metrics()
    return {key: metrics[key].mean for key in COMPARED}


def work(folder: Path, facts: Dict[str, Any], tell: Tell) -> Dict[str, Any]:
    """
    Let one learner have its time.

    :param facts: ``learner`` (``OURS`` or one of ``study_sb3.SETTINGS``), ``seed``, ``minutes``,
        ``every``, ``episodes``, ``routes_seed``, ``threads`` (0: by measurement, or as trained),
        ``values`` of the run.
    """
    config = build_run({**facts['values'], 'trainer.run_dir': str(folder)}, 'the study')
    side = _ours if facts['learner'] == OURS else _sb3
    race, threads, halted = side(folder, facts, config, tell)
    last = race.marks[-1] if race.marks else None
    seconds = 60.0 * last.minutes if last else math.nan
    return {
        'seed': facts['seed'],
        'threads': threads,
        'halted': halted,
        'settings': _settings(facts, config),
        'steps_per_second': last.env_steps / seconds if last else None,
        'updates_per_second': last.updates / seconds if last else None,
        'marks': [mark._asdict() for mark in race.marks],
    }


def _race(facts: Dict[str, Any], config: RunConfig, driver: Any, tell: Tell) -> Race:
    def look() -> Optional[Dict[str, float]]:
        share = race.share
        return evaluation(
            config, driver, facts['episodes'], facts['routes_seed'], lambda: tell(share)
        )

    race = Race(facts['minutes'], facts['every'], look)
    return race


def _ours(folder: Path, facts: Dict[str, Any], config: RunConfig, tell: Tell) -> Any:
    behaviour = Behaviour(seed=0)
    driver = Acting(lambda obs: behaviour.act(obs.image, obs.vector, explore=False))
    race: Optional[Race] = None

    def look(trainer: Trainer) -> None:
        nonlocal race
        behaviour.adopt(trainer.agent.settled_policy)  # another one after the first update
        if race is None:
            race = _race(facts, config, driver, tell)
        race.step(trainer.env_steps, trainer.updates)

    def over() -> bool:
        return race is not None and (race.over or tell(race.share))

    run = RunFolder(folder)
    trainer = train(config, run, look, over)
    run.close()
    shutil.rmtree(folder / 'replay', ignore_errors=True)  # large, and never gone on with
    return race, torch.get_num_threads(), trainer.halted


def _sb3(folder: Path, facts: Dict[str, Any], config: RunConfig, tell: Tell) -> Any:
    import gymnasium

    from av_td3_ros import gym_env

    settings = study_sb3.SETTINGS[facts['learner']]
    threads = facts['threads'] or fastest_threads(
        settings.get('batch_size', study_sb3.DEFAULT_BATCH)
    )
    torch.set_num_threads(threads)
    env = gymnasium.make(
        gym_env.TOWN, camera='training', config=facts['values'], disable_env_checker=True
    )
    model = study_sb3.make(env, settings, facts['seed'])
    race = _race(facts, config, Acting(lambda obs: study_sb3.act(model, obs)), tell)
    try:
        study_sb3.learn(
            model, lambda steps, updates: race.step(steps, updates) or tell(race.share)
        )
    finally:
        env.close()
    return race, threads, ''


def fastest_threads(batch: int) -> int:
    """Return the number of torch threads, 1 to all cores, with which the peer updates fastest."""
    from av_td3_ros.cli.bench_sides import Peers

    peers, rates = Peers(Settings(FRAMES, 'cpu')), {}
    threads = 1
    while threads <= len(os.sched_getaffinity(0)):
        turn = peers.turn(Case(PEER, 'fp32', batch, threads), SECONDS)
        rates[threads] = turn.updates / turn.seconds
        threads *= 2
    return int(max(rates, key=lambda count: rates[count]))


def _settings(facts: Dict[str, Any], config: RunConfig) -> str:
    """Return what a learner is made of, in words."""
    learner = config.trainer.learner
    if facts['learner'] == OURS:
        return (
            f'preset {OURS}: batch {learner.batch_size}, {learner.n_step}-step returns, '
            f'{config.trainer.updates_per_round} updates per {config.trainer.update_every} steps'
        )
    settings = study_sb3.SETTINGS[facts['learner']]
    text = ', '.join(f'{key} {value}' for key, value in settings.items())
    return f'TD3 MultiInputPolicy {study_sb3.bench_peer.version()}: {text or "its defaults"}'
