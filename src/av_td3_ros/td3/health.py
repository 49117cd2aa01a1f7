"""
Notices when training goes wrong, and says why: records in, raised and cleared alerts out.

An alert is raised by ``patience`` figures in a row beyond its limit and cleared by as many well
below it, so that one noisy record changes nothing. What is judged is in ``health_checks.py``, and
what an alert does to a run in ``health_guard.py``.
"""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from av_td3_ros.learning_config import HealthConfig, LearnerConfig
from av_td3_ros.td3.health_checks import History, OF_EPISODES, OF_RECORDS, Reading

WARN, HALT, ROLLBACK = 'warn', 'halt', 'rollback'
RAISED, CLEARED = 'raised', 'cleared'

# What it says, {value} and {limit} filled in, and what helps.
TEXTS: Dict[str, Tuple[str, str]] = {
    'non_finite': (
        '',
        'lower the learning rates; look for the reward or observation that is',
    ),
    'q_unbounded': (
        '|Q| is {value:.3g} times r_max / (1 - discount), limit {limit:g}',
        'bound the features (network.feature_head), use target.clip_to_seen, lower critic_lr',
    ),
    'q_gap': (
        'Q of policy actions is {value:.3g} times as far from Q of replayed actions as these are '
        'large, limit {limit:g}: the actor leaves the data',
        'bound the features, use network.critic_layer_norm, lower actor_lr',
    ),
    'feature_explosion': (
        'L2 norm of the features is {value:.3g}, limit {limit:g}',
        'set network.feature_head to layer_norm_tanh, lower encoder_lr',
    ),
    'gradient_explosion': (
        'gradient norm before the clip is {value:.3g}, limit {limit:g}',
        'bound the features and the rewards; clipping does not cure it',
    ),
    'saturation': (
        '{value:.0%} of the actor outputs are saturated, limit {limit:.0%}',
        'raise pre_tanh_penalty, lower actor_lr',
    ),
    'dead_actor': (
        'the actor is saturated and its gradient norm is {value:.3g}, limit {limit:g}: it never '
        'moves again',
        'raise pre_tanh_penalty, bound the features, lower actor_lr; go back to a checkpoint',
    ),
    'td_error_stuck': (
        'the TD error is {value:.3g} of the size of Q, limit {limit:g}, and does not fall',
        'lower critic_lr or raise batch_size; look at the rewards',
    ),
    'return_collapse': (
        'the mean return lost {value:.0%} of its best, or of its spread where that is more, limit '
        '{limit:.0%}',
        'go back to a checkpoint; look at camera and reward; lower the learning rates',
    ),
    'standing_still': (
        '{value:.0%} of the episodes hardly move, limit {limit:.0%}',
        'raise the weight of progress or the warm-up throttle; look at the sign of the reward',
    ),
    'reward_dominance': (
        'one reward term is {value:.0%} of all, limit {limit:.0%}, and routes are not driven',
        'balance the weights of the reward',
    ),
}


class Alert(NamedTuple):
    """
    An alert that was raised or cleared.

    ``action``: 'warn', 'halt' or 'rollback'. ``state``: 'raised' or 'cleared'. ``value``: the
    figure; ``limit``: what it passed. ``text``: one sentence with both, and what helps.
    """

    name: str
    action: str
    state: str
    value: float
    limit: float
    text: str

    @property
    def stops(self) -> bool:
        """Whether learning must not simply go on."""
        return self.state == RAISED and self.action != WARN


class Monitor:
    """Judges a run; pure, its time is that of the records it is given."""

    def __init__(self, config: HealthConfig, learner: LearnerConfig) -> None:
        """Begin with no alert."""
        self.config = config
        self.history = History(config, learner)
        self.active: Dict[str, Alert] = {}
        self.readings: Dict[str, float] = {}
        self._beyond: Dict[Tuple[str, str], int] = {}
        self._below: Dict[str, int] = {}

    @property
    def suspicious(self) -> bool:
        """Whether a figure is beyond a limit to halt, even if not for long enough yet."""
        beyond = any(
            action == HALT and count and name in self.config.halts
            for (name, action), count in self._beyond.items()
        )
        return beyond or any(alert.stops for alert in self.active.values())

    def reward(self, value: float) -> None:
        """Take the reward of a step: the bound of Q follows from the largest."""
        history = self.history
        history.largest_reward = max(history.largest_reward, abs(value))

    def record(self, metrics: Mapping[str, float]) -> List[Alert]:
        """
        Judge a record of the learner.

        :param metrics: by name as in ``td3/metrics.py``; what was not computed is left out.
        :returns: what was raised or cleared by it.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                return self.failed(f'{name} is {value}')
        self.history.add_record(metrics)
        found = {name: check(self.history, metrics) for name, check in OF_RECORDS.items()}
        return self._judge(found, self.config.patience)

    def episode(self, row: Mapping[str, Any]) -> List[Alert]:
        """Judge a finished episode, as for ``episodes.csv``; likewise."""
        self.history.add_episode(row)
        found = {name: check(self.history) for name, check in OF_EPISODES.items()}
        return self._judge(found, 1)  # each looks at many episodes already

    def failed(self, what: str) -> List[Alert]:
        """Raise ``non_finite``, at once: parameters must not take such a step."""
        name = 'non_finite'
        text = f'{name}: {what}; {TEXTS[name][1]}'
        action = ROLLBACK if self.config.on_halt == ROLLBACK else HALT
        self.active[name] = Alert(name, action, RAISED, math.nan, math.inf, text)
        return [self.active[name]]

    def forget(self) -> List[Alert]:
        """Clear every alert and judge anew, as after a roll-back."""
        cleared = [alert._replace(state=CLEARED) for alert in self.active.values()]
        self.active.clear()
        self._beyond.clear()
        self._below.clear()
        self.history.forget()
        return cleared

    def _judge(self, found: Mapping[str, Optional[Reading]], patience: int) -> List[Alert]:
        changes = []
        for name, reading in found.items():
            if reading is not None and name not in self.config.ignores:
                self.readings[name] = abs(reading.value)
                change = self._follow(name, reading, patience)
                if change is not None:
                    changes.append(change)
        return changes

    def _follow(self, name: str, reading: Reading, patience: int) -> Optional[Alert]:
        """Count a figure; return what it raised or cleared."""
        for action, beyond in ((WARN, reading.over_warn), (HALT, reading.over_halt)):
            self._beyond[name, action] = self._beyond.get((name, action), 0) + 1 if beyond else 0
        self._below[name] = self._below.get(name, 0) + 1 if reading.is_calm else 0
        known = self.active.get(name)
        if known is not None and self._below[name] >= patience:
            del self.active[name]
            return _alert(name, known.action, CLEARED, reading, reading.warn)
        needed = max(patience, reading.patience)
        halts = self._beyond[name, HALT] >= needed and name in self.config.halts
        action = self.config.on_halt if halts else WARN
        limit = reading.halt if halts else reading.warn
        if (
            self._beyond[name, WARN] < needed
            or known is not None
            and (known.action == action or not halts)
        ):
            return None
        self.active[name] = _alert(name, action, RAISED, reading, limit)
        return self.active[name]


def _alert(name: str, action: str, state: str, reading: Reading, limit: float) -> Alert:
    value, limit = abs(reading.value), abs(limit)
    what, helps = TEXTS[name]
    text = f'{name}: {what.format(value=value, limit=limit)}'
    return Alert(name, action, state, value, limit, f'{text}; {helps}')
