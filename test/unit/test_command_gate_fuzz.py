"""Whatever happens to the gate, in whatever order: what leaves it is fit for a bus."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine

from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import Reason, State
from av_td3_ros.gate_config import GateConfig

PERIOD = 0.05
WATCH = 0.1
NEAR = 1e-9
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
CALM = st.floats(-1.2, 1.2)


class Vehicle(RuleBasedStateMachine):
    """
    Drives a gate as the node does, and looks at every command on the way to the bus.

    ``watch`` comes at least every 0.1 s, as from the node's timer.
    """

    @initialize(
        lock_step=st.booleans(),
        engaged=st.booleans(),
        rate=st.floats(0.5, 40.0),
        rise=st.sampled_from([0.0, 1.0, 5.0]),
        resume_after=st.integers(0, 4),
        comfort_time=st.sampled_from([0.0, 0.2, 1.5]),
    )
    def begin(self, lock_step, engaged, rate, rise, resume_after, comfort_time):
        self.config = GateConfig(
            engaged=engaged,
            max_steering_rate=rate,
            max_acceleration_rate=rise,
            resume_after=resume_after,
            comfort_time=comfort_time,
            refusal_storm=3,
        )
        self.lock_step = lock_step
        self.gate = GateMachine(self.config, PERIOD, lock_step)
        self.now = self.observed_at = 50.0
        self.stamp = 10.0
        self.overridden = False
        self.sent_at, self.steering, self.acceleration = None, 0.0, 0.0
        self.braked_since = None
        self.asked = engaged  # whether anybody has asked for driving since it was last forbidden
        self.taken = False  # whether a person has forbidden it since it was last granted
        self.gate.activate(self.now)

    # -- the bus ----------------------------------------------------------------------------------

    def send(self, action, braking):
        steering, acceleration = action
        assert math.isfinite(steering) and math.isfinite(acceleration)
        assert -1.0 <= steering <= 1.0 and -1.0 <= acceleration <= 1.0
        passed = PERIOD if self.lock_step or self.sent_at is None else self.now - self.sent_at
        most = self.config.max_steering_rate * min(passed, PERIOD)
        assert abs(steering - self.steering) <= most + NEAR
        if braking:
            assert acceleration <= -self.config.comfort_brake
            assert acceleration <= self.acceleration, 'a brake was released'
            assert self.lock_step is False or acceleration == -1.0
        elif self.config.max_acceleration_rate:
            rise = self.config.max_acceleration_rate * min(passed, PERIOD)
            assert acceleration - self.acceleration <= rise + NEAR
        self.sent_at, self.steering, self.acceleration = self.now, steering, acceleration

    def last_word(self, action):
        if action is not None:
            self.send(action, braking=True)

    def takes_over(self):
        """Somebody else has driven: the wheel counts as straight, and the throttle as released."""
        self.steering, self.acceleration = 0.0, min(self.acceleration, 0.0)

    # -- what happens -----------------------------------------------------------------------------

    def watch(self):
        silence = self.now - self.observed_at
        braking = self.gate.watch(silence, self.now)
        late = silence > self.config.observation_timeout
        if late and self.gate.state in (State.DRIVING, State.BRAKING):
            assert braking, 'driving on without an observation'
        if braking and late:
            self.send(self.gate.brake(self.now), braking=True)

    @rule(ticks=st.integers(1, 40))
    def time_passes(self, ticks):
        for _ in range(ticks):
            self.now += WATCH
            self.watch()

    @rule(
        action=st.tuples(st.one_of(CALM, NUMBERS), st.one_of(CALM, NUMBERS)),
        step=st.one_of(st.just(PERIOD), st.floats(-100.0, 100.0)),
        passed=st.one_of(st.just(PERIOD), st.floats(0.0, WATCH)),
        age=st.one_of(st.just(0.0), st.none(), st.floats(-2.0, 2.0)),
        blocked=st.sampled_from(
            [Reason.NONE] * 6 + [Reason.BAD_OBSERVATION, Reason.HOLD, Reason.NO_WEIGHTS]
        ),
    )
    def observation(self, action, step, passed, age, blocked):
        self.now += passed
        stamp = self.stamp + step
        if self.gate.outdated(stamp):
            self.watch()
            return
        self.stamp, self.observed_at = stamp, self.now
        clock = None if age is None else stamp + age
        drive = self.gate.observe(stamp, self.now, blocked, '', clock)
        assert not drive or self.gate.state is State.DRIVING
        assert not (drive and blocked is not Reason.NONE)
        if drive:
            assert self.asked and not self.overridden
            gated = self.gate.drive(action, self.now)
            sound = all(math.isfinite(value) for value in action)
            self.send(gated.action, braking=not sound)
            assert sound or self.gate.state is State.BRAKING
        else:
            command = self.gate.brake(self.now)
            if self.gate.speaks:
                self.send(command, braking=True)

    @rule()
    def calm_drive(self):
        for _ in range(6):
            self.observation((0.1, 0.3), PERIOD, PERIOD, 0.0, Reason.NONE)

    @rule(steering=st.sampled_from([-1.0, 1.0]), by_override=st.booleans())
    def handed_over_in_a_turn(self, steering, by_override):
        for _ in range(6):
            self.observation((steering, 0.3), PERIOD, PERIOD, 0.0, Reason.NONE)
        if by_override:
            self.override(True)
            self.override(False)
        else:
            self.disengage()
        for _ in range(6):
            self.observation((steering, 0.3), PERIOD, PERIOD, 0.0, Reason.NONE)
        self.engage()
        self.observation((steering, 0.3), PERIOD, PERIOD, 0.0, Reason.NONE)

    @rule(count=st.integers(1, 5))
    def weights_refused(self, count):
        for _ in range(count):
            self.gate.weights_refused(self.now)
        if count >= 3:
            assert self.gate.state is not State.DRIVING

    @rule()
    def weights_adopted(self):
        self.gate.weights_adopted()

    @rule()
    def engage(self):
        before = self.gate.state
        granted = self.gate.engage(self.now).granted
        if granted and before is State.DISENGAGED:
            self.takes_over()
        assert not (granted and self.overridden)
        self.asked = self.asked or granted
        self.taken = self.taken and not granted

    @rule()
    def disengage(self):
        self.last_word(self.gate.disengage(self.now)[1])
        self.taken = True
        if self.gate.state is not State.INACTIVE:
            self.asked = False
            assert not self.gate.speaks

    @rule(on=st.booleans())
    def override(self, on):
        self.gate.override(on, self.now)
        self.overridden, self.taken = on, self.taken or on
        if self.gate.state in (State.MANUAL, State.DISENGAGED):
            self.asked = False
        if on:
            assert not self.gate.speaks

    @rule()
    def deactivate(self):
        drove = self.gate.state in (State.DRIVING, State.BRAKING)
        word = self.gate.deactivate(self.now)
        self.last_word(word)
        assert not drove or word[1] == -1.0

    @precondition(lambda self: self.gate.state is State.INACTIVE)
    @rule()
    def activate(self):
        self.gate.activate(self.now)
        self.takes_over()
        self.asked = self.gate.state is State.WAITING
        assert self.asked is (self.config.engaged and not self.taken)

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_brake_gets_full_in_time(self):
        if not hasattr(self, 'gate') or self.gate.state is not State.BRAKING:
            return
        if self.now - self.gate.since > self.config.comfort_time:
            assert self.gate.brake(self.now)[1] == -1.0
            self.sent_at, self.steering = self.now, self.gate._gate._steering

    @invariant()
    def it_says_why(self):
        if hasattr(self, 'gate'):
            driving = self.gate.state is State.DRIVING
            assert driving == (self.gate.reason is Reason.NONE) and driving == (not self.gate.why)


TestVehicle = Vehicle.TestCase
TestVehicle.settings = settings(max_examples=100, stateful_step_count=40)
