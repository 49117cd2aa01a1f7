"""What the stamps of observations tell: jumps of the clock, age, rate."""

from collections import deque
from typing import Deque, Optional, Tuple

from av_td3_ros.driving.command_gate_states import Reason
from av_td3_ros.gate_config import GateConfig

WINDOW = 10
LEAST = 4  # as many steps as five observations have between them

Verdict = Tuple[Reason, str]
FINE: Verdict = (Reason.NONE, '')


class StampWatch:
    """Follows the stamps of observations, s."""

    def __init__(self, config: GateConfig) -> None:
        """:param config: limits."""
        self._config = config
        self._last: Optional[float] = None
        self._steps: Deque[float] = deque(maxlen=WINDOW)

    def outdated(self, stamp: float) -> bool:
        """Whether a stamp is no newer than the last one; a clock set back is another matter."""
        if self._last is None:
            return False
        return -self._config.clock_jump <= stamp - self._last <= 0.0

    def take(self, stamp: float, passed: float) -> Verdict:
        """
        Follow one stamp and return whether the clock has jumped.

        :param stamp: s.
        :param passed: real time since the last, which is no jump, s; nought in lock-step.
        """
        step = 0.0 if self._last is None else stamp - self._last
        jump, limit = FINE, self._config.clock_jump
        if step < -limit:
            jump = Reason.CLOCK_BACKWARD, f'the clock has jumped back by {-step:.2f} s'
        elif step - passed > limit:
            jump = Reason.CLOCK_FORWARD, f'the clock has jumped forward by {step - passed:.2f} s'
        if self._last is None or jump is not FINE or step > self._config.observation_timeout:
            self.forget_rate()  # a gap is no rate
            self._last = stamp
        elif step > 0.0:
            self._steps.append(step)
            self._last = stamp
        return jump

    def forget_rate(self) -> None:
        """Measure the rate anew: there was a gap."""
        self._steps.clear()

    def judge(self, clock: Optional[float], period: float) -> Verdict:
        """
        Return what age and rate of the last observation say.

        :param clock: what the clock of the stamps shows now, s; nought where it never began, None
            where nobody looks at it.
        :param period: that observations should have, s.
        """
        limit, factor = self._config.max_age, self._config.rate_factor
        age = 0.0 if clock is None or self._last is None else clock - self._last
        if limit > 0.0 and abs(age) > limit and clock == 0.0:
            return Reason.STALE, (
                'the clock of the stamps must run, got none: use_sim_time waits for /clock; '
                'publish it, or set use_sim_time: false or gate.max_age: 0'
            )
        if limit > 0.0 and abs(age) > limit:
            return Reason.STALE, (
                f'the observation must be at most {limit:g} s old, got {age:.2f} s; '
                'gate.max_age: 0 where its stamps come from another clock'
            )
        if factor > 0.0 and len(self._steps) >= LEAST:
            mean = sum(self._steps) / len(self._steps)
            if not period / factor <= mean <= period * factor:
                return Reason.INPUT_RATE, (
                    f'observations must come at {1.0 / period:.1f} Hz, give or take a factor of '
                    f'{factor:g}, got {1.0 / mean:.1f} Hz; check the camera'
                )
        return FINE
