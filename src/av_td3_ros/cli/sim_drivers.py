"""Who drives in ``av-td3 sim``: a person at the keyboard, the expert, or a trained policy."""

from pathlib import Path
from typing import Protocol, Tuple

from av_td3_ros.cli import sources
from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import Observation
from av_td3_ros.sim.env import DrivingEnv

Action = Tuple[float, float]

PEDAL_STEP = 0.2
STEERING_STEP = 0.12
# A terminal tells of key presses, not of releases: the wheel is let go so long after the last one,
# which bridges the pause before a held key repeats.
STEERING_HOLD = 0.5
STEERING_RETURN = 1.5


class Driver(Protocol):
    """Chooses actions in [-1, 1]."""

    def begin(self, env: DrivingEnv) -> None:
        """Begin an episode that was just reset."""

    def press(self, key: str) -> None:
        """Take a key that the loop does not use itself."""

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return [steering, acceleration] for the next tick."""


class Keyboard:
    """
    Pedals stay where they are put; the wheel goes back by itself.

    Keys: 'up' and 'down' move the pedals, 'left' and 'right' the wheel, 'brake' brakes fully.
    """

    def __init__(self, period: float) -> None:
        """:param period: time of a tick, s."""
        self._period = period
        self._steering = self._pedal = self._since = 0.0

    def begin(self, env: DrivingEnv) -> None:
        """Let go of everything."""
        self._steering = self._pedal = self._since = 0.0

    def press(self, key: str) -> None:
        """Move a pedal or the wheel by one step."""
        if key in ('up', 'down'):
            step = PEDAL_STEP if key == 'up' else -PEDAL_STEP
            # On whole steps, so that the middle is met exactly.
            self._pedal = _bounded(round((self._pedal + step) / PEDAL_STEP) * PEDAL_STEP)
        elif key == 'brake':
            self._pedal = -1.0
        elif key in ('left', 'right'):
            step = STEERING_STEP if key == 'left' else -STEERING_STEP
            self._steering, self._since = _bounded(self._steering + step), 0.0

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return where wheel and pedals are, and let the wheel return."""
        action = self._steering, self._pedal
        self._since += self._period
        if self._since > STEERING_HOLD:
            back = min(STEERING_RETURN * self._period, abs(self._steering))
            self._steering -= back if self._steering > 0.0 else -back
        return action


class ExpertDriver:
    """The expert of ``driving/expert.py``."""

    def __init__(self, period: float) -> None:
        """:param period: time of a tick, s."""
        from av_td3_ros.driving.expert import Expert

        self._expert = Expert(period=period)

    def begin(self, env: DrivingEnv) -> None:
        """Tell it the route."""
        self._expert.begin(env.episode.route)

    def press(self, key: str) -> None:
        """Leave the key unused."""

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return what it does about the route and the others."""
        steering, acceleration = self._expert.act(env.world.state, env.world.others)
        return float(steering), float(acceleration)


class PolicyDriver:
    """A trained policy, without exploration."""

    def __init__(self, source: Path, config: RunConfig) -> None:
        """
        Load it.

        :param source: a run or checkpoint folder, or an exported file.
        :param config: its observation must be that of the policy; its policy section names the
            engine of an exported one.
        :raises CheckpointError: where a checkpoint cannot drive here.
        :raises ArtefactError: where an exported policy cannot drive here.
        """
        self._behaviour = sources.load(
            source,
            config.observation,
            engine=config.policy.engine,
            threads=config.policy.engine_threads,
        )

    def begin(self, env: DrivingEnv) -> None:
        """Forget the last episode."""
        self._behaviour.begin_episode()

    def press(self, key: str) -> None:
        """Leave the key unused."""

    def act(self, env: DrivingEnv, obs: Observation) -> Action:
        """Return the policy's action."""
        return self._behaviour.act(obs.image, obs.vector, explore=False)


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value))
