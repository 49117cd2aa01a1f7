"""
When updates are due: rounds of them, at a fixed ratio to environment steps.

They are counted from where the schedule began, which is the start of the run or where a resumed
run took up another one: of what that one would have done before, nothing is owed and nothing is
ahead.
"""

from typing import Dict, Mapping

from av_td3_ros.config import TrainerConfig

SETTINGS = ('update_after', 'update_every', 'updates_per_round')


class Schedule:
    """Updates that belong to environment steps, and steps that updates allow."""

    def __init__(self, config: TrainerConfig) -> None:
        """Begin with the run."""
        self._config = config
        self._base_steps = self._base_updates = 0

    def owed(self, env_steps: int) -> int:
        """Return the updates of the whole run that belong to so many environment steps."""
        config = self._config
        warm = min(env_steps, config.steps) - self._begin
        return self._base_updates + max(warm, 0) // config.update_every * config.updates_per_round

    def allowed(self, updates: int) -> int:
        """Return the environment steps up to which experience may run ahead of so many updates."""
        config = self._config
        # A round begins only when all its steps are there: they are always allowed.
        rounds = (updates - self._base_updates) // config.updates_per_round + 1
        earned = rounds * config.update_every + config.max_lead
        return min(self._begin + earned, config.steps)

    def state(self) -> Dict[str, int]:
        """Return what :meth:`load_state` needs, as JSON data."""
        return {
            **self._settings,
            'base_steps': self._base_steps,
            'base_updates': self._base_updates,
        }

    def load_state(self, state: Mapping[str, int], env_steps: int, updates: int) -> None:
        """
        Go on with the schedule that :meth:`state` is of, or begin another one here.

        :param state: empty where nothing is known, as of older checkpoints: it was this schedule.
        :param env_steps: so far.
        :param updates: so far.
        """
        if all(state.get(name, value) == value for name, value in self._settings.items()):
            self._base_steps = int(state.get('base_steps', 0))
            self._base_updates = int(state.get('base_updates', 0))
        else:
            self._base_steps, self._base_updates = env_steps, updates

    @property
    def _begin(self) -> int:
        return max(self._config.update_after, self._base_steps)

    @property
    def _settings(self) -> Dict[str, int]:
        return {name: getattr(self._config, name) for name in SETTINGS}
