"""
Learners beside each other at equal wall-clock: when each is looked at, and who was where first.

The clock of training stops while a policy is evaluated, so that all have the same time to learn.
"""

import math
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

OURS = 'recommended'
# What is compared, and its unit; more is better in all.
COMPARED = {
    'success_rate': ('success', '%', 100.0),
    'route_completion': ('route completion', '%', 100.0),
    'episode_return': ('return', '', 1.0),
}


class Mark(NamedTuple):
    """
    One evaluation of a learner.

    ``minutes``: of training so far. ``figures``: means over the episodes, by ``COMPARED``.
    """

    minutes: float
    env_steps: int
    updates: int
    figures: Dict[str, float]


class Race:
    """One learner's part of it: asked after every step, it evaluates when it is time."""

    def __init__(
        self,
        minutes: float,
        every: float,
        evaluate: Callable[[], Optional[Dict[str, float]]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Start the clock.

        :param minutes: of training. :param every: minutes between two evaluations.
        :param evaluate: returns the figures of the policy as it is; None where it was stopped.
        :param now: seconds of a clock that only goes forward.
        """
        self._budget, self._every = 60.0 * minutes, 60.0 * every
        self._evaluate, self._now = evaluate, now
        self._begun, self._paused = now(), 0.0
        self.marks: List[Mark] = []
        self.over = False

    @property
    def seconds(self) -> float:
        """Time of training so far."""
        return self._now() - self._begun - self._paused

    @property
    def share(self) -> float:
        """How much of the time is over, [0, 1]."""
        return min(self.seconds / self._budget, 1.0)

    def step(self, env_steps: int, updates: int) -> bool:
        """
        Take that a step was made; evaluate where that is due.

        :returns: whether the time is over.
        """
        passed = self.seconds
        due = min((len(self.marks) + 1) * self._every, self._budget)
        if not self.over and passed >= due:
            stopped = self._now()
            figures = self._evaluate()
            self._paused += self._now() - stopped
            if figures is None:
                self.over = True
            else:
                self.marks.append(Mark(passed / 60.0, env_steps, updates, figures))
                self.over = passed >= self._budget
        return self.over


def mean(seeds: Sequence[Sequence[Mark]], key: str) -> Dict[str, np.ndarray]:
    """
    Return the curve of a learner over its seeds.

    :param seeds: the marks of each; the evaluations that all of them have are taken.
    :param key: of ``COMPARED``.
    :returns: 'minutes', 'mean', 'low' and 'high', each (n,) float64.
    """
    count = min((len(marks) for marks in seeds), default=0)
    minutes = np.array([[mark.minutes for mark in marks[:count]] for marks in seeds])
    values = np.array([[mark.figures[key] for mark in marks[:count]] for marks in seeds])
    if not count:
        return dict.fromkeys(('minutes', 'mean', 'low', 'high'), np.empty(0))
    return {
        'minutes': minutes.mean(axis=0),
        'mean': values.mean(axis=0),
        'low': values.min(axis=0),
        'high': values.max(axis=0),
    }


def ratio(contestants: Mapping[str, Sequence[Sequence[Mark]]], key: str) -> Dict[str, Any]:
    """
    Return how much sooner ours is as good as the best that any peer ever was.

    :param contestants: the marks of each seed, by name; ``OURS`` among them.
    :param key: of ``COMPARED``.
    :returns: ``best`` of ``peer`` and the ``peer_minutes`` that it took; ``our_minutes`` until
        ours had it, None where it never had; ``ratio`` of both. ``at_most``: ours had it at its
        first evaluation already, and may have had it before.
    """
    told: Dict[str, Any] = dict.fromkeys(
        ('best', 'peer', 'peer_minutes', 'our_minutes', 'ratio', 'at_most')
    )
    for name, seeds in contestants.items():
        curve = mean(seeds, key)
        if name == OURS or not len(curve['mean']):
            continue
        place = int(np.argmax(curve['mean']))  # the first of equals
        best = float(curve['mean'][place])
        if told['best'] is None or best > told['best']:
            minutes = float(curve['minutes'][place])
            told.update(best=best, peer=name, peer_minutes=minutes)
    ours = mean(contestants.get(OURS, ()), key)
    if told['best'] is None or not len(ours['mean']):
        return told
    if key == 'success_rate' and told['best'] == 0.0:
        return told  # everybody is as good as nothing, at once
    reached = np.flatnonzero(ours['mean'] >= told['best'])
    if len(reached):
        told['our_minutes'] = float(ours['minutes'][reached[0]])
        told['ratio'] = told['our_minutes'] / told['peer_minutes']
        told['at_most'] = bool(reached[0] == 0)
    return told


def sentence(told: Mapping[str, Any], key: str) -> str:
    """Return a ratio in words."""
    title, unit, scale = COMPARED[key]
    if told['best'] is None:
        return f'{title}: no peer was evaluated.'
    best = f'{scale * told["best"]:.1f}{" " + unit if unit else ""}'
    peer = f'{told["peer"]} had its best, {best}, after {told["peer_minutes"]:.1f} min'
    if told['ratio'] is not None:
        at_most = 'at most ' if told['at_most'] else ''
        return (
            f'{title}: {peer}; {OURS} reached that after {at_most}{told["our_minutes"]:.1f} min: '
            f'{at_most}{told["ratio"]:.2f} of the time.'
        )
    if key == 'success_rate' and told['best'] == 0.0:
        return f'{title}: no peer ever reached a goal, so there is nothing to reach.'
    return f'{title}: {peer}; {OURS} did not reach that.'


def from_rows(rows: Sequence[Mapping[str, Any]]) -> List[Mark]:
    """Return marks from JSON data; figures that were not measured are NaN."""
    return [
        Mark(
            float(row['minutes']),
            int(row['env_steps']),
            int(row['updates']),
            {
                key: math.nan if value is None else float(value)
                for key, value in row['figures'].items()
            },
        )
        for row in rows
    ]
