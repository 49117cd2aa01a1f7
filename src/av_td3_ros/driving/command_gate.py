"""
The last check before the vehicle bus: bounds value and rate, rejects what is not a number.

This is not a comfort filter. Where it acts often, the policy is at fault; it counts and says when
it acts.
"""

import math
from typing import NamedTuple, Sequence, Tuple

from av_td3_ros.config import GateConfig


class Gated(NamedTuple):
    """A command fit for the bus, and why it differs from what came in ('' where it does not)."""

    action: Tuple[float, float]
    reason: str


class CommandGate:
    """Stateful only in the last action that it let through."""

    def __init__(self, config: GateConfig, period: float) -> None:
        """
        :param config: the limits.
        :param period: time between two commands, s.
        """
        self._rate = config.max_steering_rate
        self._rise = config.max_acceleration_rate
        self._steering = self._acceleration = 0.0
        self.interventions = 0
        self.set_period(period)

    @property
    def commanded(self) -> Tuple[float, float]:
        """The last action that it let through."""
        return self._steering, self._acceleration

    def set_period(self, period: float) -> None:
        """Set the time between two commands, s."""
        self._max_change = self._rate * period
        self._max_rise = self._rise * period if self._rise else math.inf

    def begin_anew(self) -> None:
        """
        Go on from straight ahead and without throttle: somebody else has driven since, and where
        he left the wheel is not known here; or a simulation has put the vehicle elsewhere.
        """
        self._steering, self._acceleration = 0.0, min(self._acceleration, 0.0)

    def brake(self, acceleration: float = -1.0) -> Tuple[float, float]:
        """
        Return the braking action; the steering goes straight as fast as the limit allows.

        :param acceleration: how hard, in [-1, 0].
        """
        self._steering, self._acceleration = self._limited(0.0), acceleration
        return self._steering, acceleration

    def check(self, action: Sequence[float]) -> Gated:
        """
        Return a bounded, finite action.

        :param action: [steering, acceleration] as the policy wants it.
        """
        steering, acceleration = float(action[0]), float(action[1])
        if not (math.isfinite(steering) and math.isfinite(acceleration)):
            self.interventions += 1
            return Gated(
                self.brake(), f'not finite: steering {steering}, acceleration {acceleration}'
            )
        bounded = max(-1.0, min(1.0, steering)), max(-1.0, min(1.0, acceleration))
        limited = self._limited(bounded[0])
        reason = ''
        if bounded != (steering, acceleration):
            reason = f'out of [-1, 1]: steering {steering:.3f}, acceleration {acceleration:.3f}'
        elif limited != steering:
            reason = f'steering rate: {self._steering:.3f} to {steering:.3f} in one tick'
        elif bounded[1] > self._acceleration + self._max_rise:
            reason = f'acceleration rate: {self._acceleration:.3f} to {acceleration:.3f}'
        self.interventions += bool(reason)
        self._steering = limited
        # Upward alone: a brake is never held up.
        self._acceleration = min(bounded[1], self._acceleration + self._max_rise)
        return Gated((limited, self._acceleration), reason)

    def _limited(self, steering: float) -> float:
        return max(
            self._steering - self._max_change, min(self._steering + self._max_change, steering)
        )
