"""How ``av-td3 evaluate`` drives: over the graph or in this process, episode by episode."""

from pathlib import Path
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.cli import common
from av_td3_ros.cli.evaluate import Plan
from av_td3_ros.cli.sim_drivers import Action, ExpertDriver, PolicyDriver
from av_td3_ros.cli.sources import env_step, halted_by, settings_file
from av_td3_ros.cli.train import catch_stops
from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import Observation, Outcome
from av_td3_ros.evaluation.figures import Result
from av_td3_ros.learning_config import ExplorationConfig
from av_td3_ros.resources import generated_seeds
from av_td3_ros.sim.env import DrivingEnv
from av_td3_ros.td3.exploration import Exploration

# Time without the end of an episode that is a fault: s, and per step of the longest episode.
PATIENCE, PATIENCE_PER_STEP = 60.0, 0.1
# Aborted episodes that are too many: a number, and per episode wanted.
MOST_ABORTED = 10
TRAINED_THERE = (
    '{policy} was trained on routes of all roads: the roads that are held out are not new to it.'
)
UNKNOWN_TIME = (
    'Over the graph nobody says where the others are: the least time to collision is measured '
    'with --via in-process alone.'
)


TOO_LATE = (
    '{policy}: {count} steps were not driven in step with the simulator, because this machine was '
    'too busy: the figures may differ from those without ROS.'
)


def late_note(policy: str, health: Mapping[str, Mapping[str, Any]]) -> Tuple[str, ...]:
    """
    Say where commands came late over the graph; nothing where none did.

    :param health: what each node says of itself on ``/diagnostics``.
    """
    simulator, manager = health.get('simulator', {}), health.get('episode_manager', {})
    counts = [simulator.get('timeouts', 0), manager.get('unpaced_steps', 0)]
    count = sum(int(value) for value in counts)
    return (TOO_LATE.format(policy=policy, count=count),) if count else ()


class RandomDriver:
    """
    Acts by chance, as the default warm-up does: forwards, whatever a run was trained with, so that
    the random columns of two tables compare.
    """

    def __init__(self, seed: int) -> None:
        """:param seed: of the actions."""
        self._exploration = Exploration(ExplorationConfig())
        self._rng = np.random.default_rng(seed)

    def begin(self, env: DrivingEnv) -> None:
        """Forget the noise of the last episode."""
        self._exploration.reset()

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return any action."""
        steering, acceleration = self._exploration.random_action(self._rng).tolist()
        return steering, acceleration


class Frozen:
    """Shows a driver the first image of each episode throughout."""

    def __init__(self, driver: Any) -> None:
        """:param driver: who drives."""
        self._driver = driver
        self._image: Optional[np.ndarray] = None

    def begin(self, env: DrivingEnv) -> None:
        """Take the next image."""
        self._image = None
        self._driver.begin(env)

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return what the driver does about the old image."""
        if self._image is None:
            self._image = obs.image.copy()
        return self._driver.act(env, obs._replace(image=self._image))


class Watch:
    """Shows how far all of it is, and whether somebody wants it to stop."""

    def __init__(self, wanted: int) -> None:
        """:param wanted: episodes of all policies."""
        self.stops = catch_stops()
        self._wanted, self._done = wanted, 0
        self._progress = common.Progress()
        self._begun = time.monotonic()

    def episode(self, result: Result) -> None:
        """Show what a policy has driven so far."""
        self._done += 1
        passed = time.monotonic() - self._begun
        left = passed / self._done * max(self._wanted - self._done, 0)
        driven = result.driven
        goals = sum(row['reason'] == 'goal' for row in driven)
        self._progress.show(
            f'{result.policy}: {len(driven)}/{result.wanted} episodes, success '
            f'{goals / max(len(driven), 1):.0%} | {common.clock(left)} left'
        )

    def policy(self, result: Result) -> None:
        """Say that a policy begins."""
        self._progress.end(f'{result.policy}: {result.wanted} episodes, {result.via}')


def drive(plan: Plan, folders: Sequence[Path]) -> Tuple[List[Result], str]:
    """
    Drive all policies.

    :param folders: for the logs of each run's graph.
    :returns: a result each, the runs first, of those that were begun; and what went wrong.
    """
    watch = Watch(plan.episodes * (len(plan.sources) + len(plan.baselines)))
    results: List[Result] = []
    try:
        fault = _drive(plan, folders, watch, results)
    except (ValueError, OSError, RuntimeError) as error:  # what others drove is kept
        fault = ': '.join([*(result.policy for result in results[-1:]), str(error)])
    return results, fault


def _drive(plan: Plan, folders: Sequence[Path], watch: Watch, results: List[Result]) -> str:
    """Add the results of all policies, one after the other; return what went wrong, or ''."""
    if plan.via == 'graph' and plan.sources:  # baselines are driven in this process
        common.check_middleware()
        from av_td3_ros.cli.evaluate_graph import drive_graph
    fault = ''
    for name, source, policy, config, folder in zip(
        plan.names, plan.sources, plan.policies, plan.configs, folders
    ):
        if watch.stops or fault:
            break
        results.append(_result(plan, name, config, plan.via, _notes(plan, name, source, config)))
        results[-1].facts['env_step'] = env_step(policy)
        watch.policy(results[-1])
        if plan.via == 'graph':
            fault = drive_graph(config, results[-1], folder, watch)
        else:
            driver = PolicyDriver(policy, config)
            drive_here(config, Frozen(driver) if plan.is_frozen else driver, results[-1], watch)
    config = plan.configs[0]
    makers: Dict[str, Callable[[], Any]] = {
        'expert': lambda: ExpertDriver(config.simulator.fixed_delta_seconds),
        'random': lambda: RandomDriver(config.episode_manager.seed),
    }
    for name in plan.baselines:
        if not (watch.stops or fault):
            results.append(_result(plan, name, config, 'in-process', (), is_baseline=True))
            watch.policy(results[-1])
            drive_here(config, makers[name](), results[-1], watch, camera=False)
    return fault


def drive_here(
    config: RunConfig, driver: Any, result: Result, watch: Watch, camera: bool = True
) -> None:
    """Add the episodes of a driver to its result; an unfinished one is left out."""
    env = DrivingEnv(config, camera)
    try:
        while len(result.rows) < result.wanted:
            obs, outcome = env.reset(), Outcome.CONTINUES
            driver.begin(env)
            while outcome is Outcome.CONTINUES:
                if watch.stops:
                    return
                obs, _, verdict = env.step(driver.act(env, obs))
                outcome = verdict.outcome
            result.rows.append(env.summary(verdict))
            watch.episode(result)
    finally:
        env.close()


def _result(
    plan: Plan,
    name: str,
    config: RunConfig,
    via: str,
    notes: Tuple[str, ...],
    is_baseline: bool = False,
) -> Result:
    facts = {
        'map': config.simulator.map,
        'vehicles': config.simulator.vehicles,
        'weather': config.simulator.weather,
        'routes': plan.routes,
        'seed': config.episode_manager.seed,
        'camera': 'frozen' if plan.is_frozen and not is_baseline else 'live',
    }
    return Result(name, via, plan.episodes, facts, notes=notes)


def _notes(plan: Plan, name: str, source: Path, config: RunConfig) -> Tuple[str, ...]:
    """Say what a reader of the figures must know."""
    notes = []
    if plan.routes == 'held-out' and not _held_out(source, config):
        notes.append(TRAINED_THERE.format(policy=name))
    alert = halted_by(source)
    if alert:
        notes.append(f'{name}: this run was halted: {alert}')
    if plan.via == 'graph' and config.simulator.vehicles:
        notes.append(UNKNOWN_TIME)
    return tuple(notes)


def _held_out(source: Path, config: RunConfig) -> bool:
    """Whether a run kept off the roads of its evaluation, or was trained on another map."""
    from av_td3_ros.options import flatten
    from av_td3_ros import presets

    with settings_file(source) as written:
        trained = flatten(presets.read_yaml(Path(written)))
    map, here = trained.get('simulator.map', config.simulator.map), config.simulator.map
    if map == here:
        # Routes of a file go along any road.
        on_others = trained.get('episode_manager.routes') == 'training'
        return on_others and not trained.get('episode_manager.route_file')
    # The same town on two maps holds out other roads on each.
    return not set(generated_seeds(map)) & set(generated_seeds(here))
