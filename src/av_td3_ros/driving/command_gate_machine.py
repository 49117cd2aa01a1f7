"""
The state machine around the command gate: whether the policy may drive now, and what else then.

No ROS, no clock of its own: time comes in with every event. The table of states and events is in
docs/design/gate.md, and a test walks through all of it.
"""

from collections import Counter, deque
import math
from typing import Counter as Counts, Deque, Dict, Optional, Sequence, Tuple

from av_td3_ros.driving.command_gate import CommandGate, Gated
from av_td3_ros.driving.command_gate_stamps import StampWatch
from av_td3_ros.driving.command_gate_states import Answer, Reason, State
from av_td3_ros.gate_config import GateConfig

FULL = -1.0
# A simulation in lock-step that nobody commands ticks after 1 s, as the CARLA ROS bridge does.
UNCOMMANDED = 1.5

Action = Tuple[float, float]


class GateMachine:
    """Events come in as methods; ``state``, ``reason`` and ``detail`` say where it is."""

    def __init__(self, config: GateConfig, period: float, lock_step: bool) -> None:
        """
        Begin inactive.

        :param config: limits and times.
        :param period: time between two observations, s.
        :param lock_step: whether a simulation waits for every command. Its time stands still
            meanwhile: the brake is full at once, and stamps say nothing about age or rate.
        """
        self._config, self._period, self.lock_step = config, period, lock_step
        self._gate = CommandGate(config, period)
        self.state, self.reason, self.detail = State.INACTIVE, Reason.LIFECYCLE, ''
        self.since = -math.inf
        self.counts: Counts[Reason] = Counter()
        self._overridden = False
        # Whether a person took the car from the policy, in any state, and nobody engaged it since.
        self._taken = False
        self._full = False
        self._commanded_at: Optional[float] = None
        self._episode: Optional[int] = None
        self._refusals: Deque[float] = deque(maxlen=config.refusal_storm)
        self._forget()

    # -- what it says -----------------------------------------------------------------------------

    @property
    def interventions(self) -> int:
        """Actions of the policy that were changed."""
        return self._gate.interventions

    @property
    def speaks(self) -> bool:
        """Whether commands may go onto the bus at all."""
        return self.state in (State.DRIVING, State.BRAKING) or (
            self.state is State.WAITING and self.lock_step
        )

    @property
    def why(self) -> str:
        """The reason as a sentence, with its figures; '' where the policy drives."""
        return self.detail or self.reason.value

    def summary(self, now: float) -> Dict[str, object]:
        """Return state, reason, since when (s) and counts, for /diagnostics."""
        values: Dict[str, object] = {
            'gate_state': self.state.value,
            'gate_reason': self.why,
            'gate_for': f'{now - self.since:.1f} s' if math.isfinite(self.since) else '',
            'gate_interventions': self.interventions,
            'gate_could_engage': self._refusal(now) or 'yes',
        }
        for reason, count in sorted(self.counts.items(), key=lambda item: item[0].name):
            values[f'gate_count_{reason.name.lower()}'] = count
        return values

    # -- people and the life cycle ----------------------------------------------------------------

    def remember(self, before: 'GateMachine') -> None:
        """Let what people told the gate before this one hold: they need not say it again."""
        self._overridden, self._taken = before._overridden, before._taken

    def activate(self, now: float) -> None:
        """
        Begin, engaged or not as configured.

        A driver at the wheel stays there, and who took the car keeps it until asked for it.
        """
        if self.state is not State.INACTIVE:
            return
        self._forget()
        self._gate.begin_anew()
        if self._overridden:
            self._go(State.MANUAL, Reason.OVERRIDE, now)
        elif self._config.engaged and not self._taken:
            self._go(State.WAITING, Reason.NOTHING_YET, now)
        else:
            self._go(State.DISENGAGED, Reason.REQUEST, now)

    def deactivate(self, now: float) -> Optional[Action]:
        """Return the last word, or None where this gate did not drive."""
        return self._fall_silent(State.INACTIVE, Reason.LIFECYCLE, now)

    def engage(self, now: float) -> Answer:
        """Drive from the next observation on, where all is well; else say what is not."""
        if self.state in (State.WAITING, State.DRIVING):
            return Answer(True, 'engaged already')
        refusal = self._refusal(now)
        if refusal:
            return Answer(False, f'not engaged: {refusal}')
        self._taken = False
        self._drive_on(now)
        return Answer(True, 'engaged')

    def disengage(self, now: float) -> Tuple[Answer, Optional[Action]]:
        """Hand the car over; with it comes the last word, or None where there is none."""
        self._taken = True
        if self.state in (State.INACTIVE, State.DISENGAGED, State.MANUAL):
            return Answer(True, 'disengaged already'), None
        return Answer(True, 'disengaged'), self._fall_silent(State.DISENGAGED, Reason.REQUEST, now)

    def override(self, on: bool, now: float) -> Optional[Action]:
        """
        The driver takes the wheel, at once; or lets go of it, and nobody drives until asked.

        :returns: the last word where this gate drove: neither throttle nor brake, for a receiver
            that holds its last command. None where there is none.
        """
        self._overridden, self._taken = on, self._taken or on
        word = None
        if on and self.state not in (State.INACTIVE, State.MANUAL):
            word = (self._gate.commanded[0], 0.0) if self.speaks else None
            self._go(State.MANUAL, Reason.OVERRIDE, now)
        elif not on and self.state is State.MANUAL:
            self._go(State.DISENGAGED, Reason.REQUEST, now)
        return word

    # -- weights ----------------------------------------------------------------------------------

    def weights_refused(self, now: float) -> None:
        """Count; many within a short time are a storm, and the car brakes."""
        self._refusals.append(now)
        if self._storm(now):
            self._stop(Reason.REFUSED_WEIGHTS, self._storm_text(), now)

    def weights_adopted(self) -> None:
        """Good ones end the storm."""
        self._refusals.clear()

    # -- observations -----------------------------------------------------------------------------

    def in_episode(self, number: int) -> None:
        """Begin anew with every episode of a simulation: it puts the vehicle elsewhere."""
        if self.lock_step and number != self._episode:
            self._gate.begin_anew()
        self._episode = number

    def observe(
        self,
        stamp: float,
        now: float,
        blocked: Reason = Reason.NONE,
        detail: str = '',
        clock: Optional[float] = None,
    ) -> bool:
        """
        Take note of an observation and return whether the policy may answer it.

        :param stamp: its time, s.
        :param now: steady time, s.
        :param blocked: what is wrong with its content, where something is.
        :param detail: the same with figures.
        :param clock: what the clock of the stamps shows now, s; nought where it never began, None
            where nobody looks at it.
        """
        if self.state is State.INACTIVE:
            return False
        reason, detail = self._judged(stamp, now, clock, blocked, detail)
        self._seen_at = now
        self._last = reason, detail
        if reason is not Reason.NONE:
            self._good = 0
            self._stop(reason, detail, now)
            return False
        self._good += 1
        if self.state is State.WAITING:
            self._drive_on(now)
        elif self.state is State.BRAKING and 0 < self._config.resume_after <= self._good:
            self._drive_on(now)
        return self.state is State.DRIVING

    def outdated(self, stamp: float) -> bool:
        """
        Whether an observation is no newer than one seen: doubled, reordered, a camera stuck.

        Such a one is no sign of life. A clock that was set back is another matter, and so is
        lock-step, which counts frames.
        """
        return not self.lock_step and self._stamps.outdated(stamp)

    def watch(self, silence: float, now: float) -> bool:
        """
        Brake where observations stay out; call it often.

        :param silence: s that the car has waited for an observation.
        :returns: whether the car is braking now.
        """
        if silence > self._patience():
            self._good = 0
            self._stamps.forget_rate()
            if self.state is State.DRIVING or (self.state is State.WAITING and self.lock_step):
                self._stop(Reason.NO_OBSERVATION, f'no observation for {silence:.1f} s', now)
            elif self.state is State.BRAKING:
                self._explain(Reason.NO_OBSERVATION, f'no observation for {silence:.1f} s')
        return self.state is State.BRAKING

    # -- commands ---------------------------------------------------------------------------------

    def set_period(self, period: float) -> None:
        """Set the time between two observations, s."""
        self._period = period
        self._gate.set_period(period)

    def drive(self, action: Sequence[float], now: float) -> Gated:
        """
        Return the policy's action, bounded and not too sudden; one that is no number brakes.

        :param action: [steering, acceleration], in [-1, 1] where all is well.
        """
        self._pace(now)
        gated = self._gate.check(action)
        if gated.reason:
            if all(math.isfinite(value) for value in action):
                self.counts[Reason.CHANGED] += 1
            else:
                self._good = 0
                self._stop(Reason.NOT_FINITE, gated.reason, now)
        return gated

    def brake(self, now: float) -> Action:
        """
        Return the braking action: comfortable at first, then full; never less than was commanded.

        Full at once in lock-step, and where the policy's action was no number. Where the gate is
        silent nothing leaves, and the limits go on from what left last.
        """
        if not self.speaks:
            return 0.0, FULL
        self._pace(now)
        begun = self.since if self.state is State.BRAKING else now
        if self.lock_step or now - begun >= self._config.comfort_time:
            self._full = True
        hard = min(-self._config.comfort_brake, self._gate.commanded[1])
        return self._gate.brake(FULL if self._full else hard)

    # -- inside -----------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._stamps = StampWatch(self._config)
        self._seen_at = -math.inf
        self._last: Tuple[Reason, str] = (Reason.NOTHING_YET, '')
        self._good = 0

    def _pace(self, now: float) -> None:
        """In real time the limit is one per second, however often commands leave."""
        if self.lock_step:
            return
        elapsed = self._period if self._commanded_at is None else now - self._commanded_at
        self._gate.set_period(min(max(elapsed, 0.0), self._period))
        self._commanded_at = now

    def _go(self, state: State, reason: Reason, now: float, detail: str = '') -> None:
        if (state, reason) != (self.state, self.reason):
            self.counts[reason] += reason is not Reason.NONE
        if state is not self.state:
            self.since = now
            self._full = reason is Reason.NOT_FINITE
        self.state, self.reason, self.detail = state, reason, detail

    def _stop(self, reason: Reason, detail: str, now: float) -> None:
        if self.state in (State.WAITING, State.DRIVING):
            self._go(State.BRAKING, reason, now, detail)
        elif self.state is State.BRAKING:
            self._explain(reason, detail)

    def _explain(self, reason: Reason, detail: str) -> None:
        """Say the newest reason for braking; how long it has lasted stays."""
        self.counts[reason] += reason is not self.reason
        self.reason, self.detail = reason, detail

    def _drive_on(self, now: float) -> None:
        if self.state is State.DISENGAGED:  # the only way here from a driver at the wheel, too
            self._gate.begin_anew()
        self._go(State.DRIVING, Reason.NONE, now)

    def _fall_silent(self, state: State, reason: Reason, now: float) -> Optional[Action]:
        drove = self.speaks
        if state is State.INACTIVE:
            self._full = True  # nobody will be there to brake harder later
        word = self.brake(now) if drove else None
        self._go(state, reason, now)
        return word

    def _patience(self) -> float:
        """Return the silence that is a fault, s; in lock-step frames wait for who commands."""
        timeout = self._config.observation_timeout
        return max(timeout, UNCOMMANDED) if self.lock_step and not self.speaks else timeout

    def _refusal(self, now: float) -> str:
        """Return why it cannot be engaged, or ''."""
        if self.state is State.INACTIVE:
            return 'the node is not active; activate it first'
        if self.state is State.MANUAL:
            return 'the driver has taken over; release the override'
        if self.state in (State.WAITING, State.DRIVING):
            return ''
        reason, detail = self._unfit(now)
        return detail or reason.value

    def _unfit(self, now: float) -> Tuple[Reason, str]:
        """Return what speaks against driving now, beside the state."""
        if self._storm(now):
            return Reason.REFUSED_WEIGHTS, self._storm_text()
        reason, detail = self._last
        silence = now - self._seen_at
        if reason is Reason.NONE and silence > self._patience():
            return Reason.NO_OBSERVATION, f'no observation for {silence:.1f} s'
        needed = self._config.resume_after
        if reason is Reason.NONE and self._good < needed:
            return Reason.NOTHING_YET, (
                f'{self._good} good observations in a row, {needed} are needed'
            )
        return reason, detail

    def _judged(
        self, stamp: float, now: float, clock: Optional[float], blocked: Reason, detail: str
    ) -> Tuple[Reason, str]:
        passed = 0.0 if self.lock_step else max(now - self._seen_at, 0.0)
        jump = self._stamps.take(stamp, passed)
        if jump[0] is not Reason.NONE:
            return jump
        if self._storm(now):
            return Reason.REFUSED_WEIGHTS, self._storm_text()
        if blocked is not Reason.NONE or self.lock_step:
            return blocked, detail
        return self._stamps.judge(clock, self._period)

    def _storm(self, now: float) -> bool:
        full = len(self._refusals) == self._config.refusal_storm
        return full and now - self._refusals[0] <= self._config.refusal_window

    def _storm_text(self) -> str:
        return (
            f'{self._config.refusal_storm} weights refused within '
            f'{self._config.refusal_window:g} s; stop who sends them'
        )
