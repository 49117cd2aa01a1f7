"""Every state of the command gate meets every event; the table is that of docs/design/gate.md."""

from pathlib import Path
import re

import pytest

from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import Reason, State
from av_td3_ros.gate_config import GateConfig

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'design' / 'gate.md'
PERIOD = 0.05
TIMEOUT = 0.9
STORM = 3


class Car:
    """A gate and its two clocks."""

    def __init__(self, lock_step=False, **config):
        values = {'refusal_storm': STORM, **config}
        self.gate = GateMachine(GateConfig(**values), PERIOD, lock_step)
        self.now, self.stamp = 100.0, 7.0

    def see(self, count=1, blocked=Reason.NONE, age=0.0, step=PERIOD, passed=PERIOD):
        """Observations, one by one."""
        for _ in range(count):
            self.now += passed
            self.stamp += step
            clock = self.stamp + age
            drives = self.gate.observe(self.stamp, self.now, blocked, '', clock)
        return drives

    def refuse(self, count=STORM):
        for _ in range(count):
            self.gate.weights_refused(self.now)

    def calm(self):
        """Nothing but sound observations, until all that was is forgotten."""
        self.now += 20.0
        self.stamp += 20.0
        self.see(5)


def inactive():
    return Car()


def disengaged():
    car = Car(engaged=False)
    car.gate.activate(car.now)
    car.see(5)
    return car


def manual():
    car = driving()
    car.gate.override(True, car.now)
    return car


def waiting():
    car = Car()
    car.gate.activate(car.now)
    return car


def driving():
    car = waiting()
    car.see(5)
    return car


def braking():
    car = driving()
    car.see(blocked=Reason.BAD_OBSERVATION)
    return car


STATES = {
    'inactive': inactive,
    'disengaged': disengaged,
    'manual': manual,
    'waiting': waiting,
    'driving': driving,
    'braking': braking,
}
EVENTS = {
    'activate': lambda car: car.gate.activate(car.now),
    'deactivate': lambda car: car.gate.deactivate(car.now),
    'engage': lambda car: car.gate.engage(car.now),
    'disengage': lambda car: car.gate.disengage(car.now),
    'override on': lambda car: car.gate.override(True, car.now),
    'override off': lambda car: car.gate.override(False, car.now),
    'good observation': lambda car: car.see(),
    'bad observation': lambda car: car.see(blocked=Reason.BAD_OBSERVATION),
    'told to wait': lambda car: car.see(blocked=Reason.HOLD),
    'no weights': lambda car: car.see(blocked=Reason.NO_WEIGHTS),
    'stale observation': lambda car: car.see(age=0.6),
    'clock forward': lambda car: car.see(2, step=1.2),
    'clock backward': lambda car: car.see(2, step=-1.1),
    'wrong rate': lambda car: car.see(12, step=0.2, passed=0.2),
    'silence': lambda car: car.gate.watch(TIMEOUT + 0.1, car.now + TIMEOUT + 0.1),
    'one refusal': lambda car: car.refuse(1),
    'refusal storm': lambda car: car.refuse(),
    'adopted': lambda car: car.gate.weights_adopted(),
    'sound action': lambda car: car.gate.drive((0.1, 0.2), car.now),
    'action not finite': lambda car: car.gate.drive((float('nan'), 0.2), car.now),
}


def documented():
    """Return {(event, state): next state} of the table in the docs; '' where nothing changes."""
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in PAGE.read_text().splitlines()
        if line.startswith('|')
    ]
    start = next(i for i, row in enumerate(rows) if row[0] == 'event')
    states = rows[start][1:]
    table = {}
    for row in rows[start + 2 :]:
        if row[0] not in EVENTS:
            break
        table.update({(row[0], state): cell for state, cell in zip(states, row[1:])})
    return table


TABLE = documented()


def test_the_table_has_every_state_and_every_event():
    assert set(TABLE) == {(event, state) for event in EVENTS for state in STATES}
    assert {state.value for state in State} == set(STATES)


@pytest.mark.parametrize('name', STATES)
def test_each_state_can_be_reached(name):
    assert STATES[name]().gate.state is State(name)


@pytest.mark.parametrize('event, state', sorted(TABLE))
def test_transition(event, state):
    if event.endswith('action') or event == 'action not finite':
        if state != 'driving':
            assert TABLE[event, state] == 'never'  # the node asks only where it may
            return
    car = STATES[state]()
    EVENTS[event](car)
    wanted = re.sub(r'[*`]', '', TABLE[event, state])
    assert car.gate.state.value == (state if wanted == '·' else wanted)


@pytest.mark.parametrize(
    'event, reason',
    [
        ('bad observation', Reason.BAD_OBSERVATION),
        ('told to wait', Reason.HOLD),
        ('no weights', Reason.NO_WEIGHTS),
        ('stale observation', Reason.STALE),
        ('wrong rate', Reason.INPUT_RATE),
        ('silence', Reason.NO_OBSERVATION),
        ('refusal storm', Reason.REFUSED_WEIGHTS),
        ('action not finite', Reason.NOT_FINITE),
        ('deactivate', Reason.LIFECYCLE),
        ('override on', Reason.OVERRIDE),
        ('disengage', Reason.REQUEST),
    ],
)
def test_the_reason_is_said_counted_and_dated(event, reason):
    car = driving()
    EVENTS[event](car)
    gate = car.gate
    assert gate.reason is reason and gate.why and gate.counts[reason] == 1
    values = gate.summary(gate.since + 3.0)
    assert values['gate_state'] == gate.state.value and values['gate_for'] == '3.0 s'
    assert values['gate_reason'] == gate.why
    assert values[f'gate_count_{reason.name.lower()}'] == 1


@pytest.mark.parametrize(
    'step, passed, reason, text',
    [
        (1.2, PERIOD, Reason.CLOCK_FORWARD, 'forward by 1.15 s'),
        (-1.1, PERIOD, Reason.CLOCK_BACKWARD, 'back by 1.10 s'),
        (-50.0, PERIOD, Reason.CLOCK_BACKWARD, 'back by 50.00 s'),
    ],
)
def test_a_jump_of_the_clock_brakes_for_one_observation_and_the_new_time_counts(
    step, passed, reason, text
):
    car = driving()
    assert not car.see(step=step, passed=passed)
    assert car.gate.reason is reason and text in car.gate.why
    assert car.see()


def test_time_that_has_passed_is_no_jump():
    car = driving()
    assert car.see(step=3.0, passed=3.0)


def test_lock_step_knows_no_real_time():
    car = Car(lock_step=True)
    car.gate.activate(car.now)
    car.see()
    assert car.see(step=0.9, passed=0.0) and car.see(step=-0.9) and car.see(step=0.0)
    assert not car.see(step=2.1, passed=60.0) and car.gate.reason is Reason.CLOCK_FORWARD
    assert car.see(age=100.0)
    assert car.see(20, step=0.9)


@pytest.mark.parametrize('age, fine', [(0.49, True), (0.51, False), (-0.51, False), (0.0, True)])
def test_age_by_the_stamp(age, fine):
    car = driving()
    assert car.see(age=age) is fine
    off = Car(max_age=0.0)
    off.gate.activate(off.now)
    assert off.see(age=1000.0)


@pytest.mark.parametrize(
    'hertz, fine', [(3, False), (10, True), (20, True), (50, True), (200, False)]
)
def test_rate_of_the_observations(hertz, fine):
    car = waiting()
    car.see(12, step=1 / hertz, passed=1 / hertz)
    assert (car.gate.state is State.DRIVING) is fine
    if not fine:
        assert f'must come at 20.0 Hz, give or take a factor of 3, got {hertz}.0' in car.gate.why
        car.see(12)
        assert car.gate.state is State.DRIVING


def test_doubled_and_reordered_observations_are_no_news():
    car = driving()
    assert car.gate.outdated(car.stamp) and car.gate.outdated(car.stamp - 0.9)
    assert not car.gate.outdated(car.stamp + 0.01)
    assert not car.gate.outdated(car.stamp - 1.1)  # a clock set back
    assert not Car(lock_step=True).gate.outdated(0.0)


def test_silence_while_disengaged_does_not_brake_but_forbids_to_engage():
    car = disengaged()
    car.now += TIMEOUT + 0.1
    answer = car.gate.engage(car.now)
    assert not answer.granted and 'no observation for 1.0 s' in answer.text
    car.see()
    car.stamp += 1.0
    assert car.gate.engage(car.now).granted and car.gate.state is State.DRIVING


def test_engaging_needs_all_to_be_well_and_says_what_is_not():
    car = disengaged()
    for event, text in (
        ('bad observation', 'bad observation'),
        ('no weights', 'no weights yet'),
        ('stale observation', 'at most 0.5 s old, got 0.60 s'),
        ('refusal storm', '3 weights refused within 10 s'),
    ):
        EVENTS[event](car)
        answer = car.gate.engage(car.now)
        assert not answer.granted and text in answer.text, event
        assert car.gate.state is State.DISENGAGED
    car.calm()
    assert car.gate.engage(car.now).granted
    fresh = Car(engaged=False)
    assert 'not active' in fresh.gate.engage(0.0).text
    fresh.gate.activate(0.0)
    assert 'nothing seen yet' in fresh.gate.engage(0.0).text


def test_engaging_needs_as_many_good_observations_as_driving_on_does():
    car = Car(engaged=False, resume_after=5)
    car.gate.activate(car.now)
    car.see(4)
    answer = car.gate.engage(car.now)
    assert not answer.granted and '4 good observations in a row, 5 are needed' in answer.text
    car.see()
    assert car.gate.engage(car.now).granted


def test_the_driver_has_the_last_word():
    car = manual()
    assert 'driver has taken over' in car.gate.engage(car.now).text
    assert not car.see(5)
    car.gate.override(False, car.now)
    assert car.gate.state is State.DISENGAGED and not car.see(5)  # nobody drives until asked
    assert car.gate.engage(car.now).granted and car.see()


def test_a_driver_at_the_wheel_stays_there_when_the_node_comes_up():
    car = Car()
    car.gate.override(True, car.now)
    assert car.gate.state is State.INACTIVE
    car.gate.activate(car.now)
    assert car.gate.state is State.MANUAL


def wheel_taken_and_let_go_of_while_inactive(car):
    car.gate.override(True, car.now)
    car.gate.deactivate(car.now)
    car.gate.override(False, car.now)


def wheel_taken_and_an_old_word_heard_after_configuring_anew(car):
    car.gate.override(True, car.now)
    car.gate.deactivate(car.now)
    configured_anew(car)
    car.gate.override(False, car.now)


def handed_over_while_inactive(car):
    car.gate.deactivate(car.now)
    assert car.gate.disengage(car.now) == ((True, 'disengaged already'), None)


def handed_over_before(car):
    car.gate.disengage(car.now)
    car.gate.deactivate(car.now)


def handed_over_and_configured_anew(car):
    handed_over_before(car)
    configured_anew(car)


def configured_anew(car):
    before, car.gate = car.gate, Car().gate
    car.gate.remember(before)


@pytest.mark.parametrize(
    'take',
    [
        wheel_taken_and_let_go_of_while_inactive,
        wheel_taken_and_an_old_word_heard_after_configuring_anew,
        handed_over_while_inactive,
        handed_over_before,
        handed_over_and_configured_anew,
    ],
)
def test_a_car_that_was_taken_is_not_driven_after_activation_before_it_is_asked_for(take):
    car = driving()
    take(car)
    car.gate.activate(car.now)
    assert car.gate.state is State.DISENGAGED and not car.see(5)
    assert car.gate.engage(car.now).granted and car.see()
    restart(car)
    assert car.gate.state is State.WAITING and car.see()  # given back, it is driven as configured


def test_a_gate_that_nobody_took_the_car_from_drives_on_when_it_is_configured_anew():
    car = driving()
    car.gate.deactivate(car.now)
    configured_anew(car)
    car.gate.activate(car.now)
    assert car.see()


@pytest.mark.parametrize('count', [1, 3, 10])
def test_a_braking_car_drives_on_after_so_many_good_observations(count):
    car = Car(resume_after=count)
    car.gate.activate(car.now)
    car.see()
    car.see(blocked=Reason.BAD_OBSERVATION)
    for _ in range(count - 1):
        assert not car.see()
    assert car.see()


def test_it_may_be_told_not_to_drive_on_by_itself():
    car = Car(resume_after=0)
    car.gate.activate(car.now)
    car.see()
    car.see(blocked=Reason.BAD_OBSERVATION)
    assert not car.gate.engage(car.now).granted
    assert not car.see(100) and car.gate.state is State.BRAKING
    assert car.gate.engage(car.now).granted and car.see()


def test_a_storm_of_refused_weights_ends_by_itself_or_with_good_ones():
    for end in ('time', 'adopted'):
        car = driving()
        car.refuse(STORM - 1)
        assert car.see()
        car.refuse(1)
        assert not car.see(3) and car.gate.reason is Reason.REFUSED_WEIGHTS
        if end == 'time':
            car.now += 10.1
            car.stamp += 10.1
            car.gate.watch(0.0, car.now)
        else:
            car.gate.weights_adopted()
        assert car.see()
    slow = driving()
    for _ in range(10):
        slow.refuse(1)
        assert slow.see(step=6.0, passed=6.0)


def test_the_brake_is_comfortable_then_full_and_never_less_again():
    car = driving()
    car.see(blocked=Reason.BAD_OBSERVATION)
    levels = []
    for _ in range(40):
        car.see(blocked=Reason.HOLD)
        levels.append(car.gate.brake(car.now)[1])
    assert levels[0] == -0.4 and levels[-1] == -1.0
    assert levels == sorted(levels, reverse=True)
    assert levels.index(-1.0) == pytest.approx(1.5 / PERIOD, abs=1)
    car.see()
    car.gate.drive((0.0, 0.3), car.now)
    car.see(blocked=Reason.BAD_OBSERVATION)
    assert car.gate.brake(car.now)[1] == -0.4  # another stop, from the beginning


def test_a_brake_of_the_policy_is_not_released_by_the_gate():
    car = driving()
    car.see()
    car.gate.drive((0.0, -0.9), car.now)
    car.see(blocked=Reason.HOLD)
    assert car.gate.brake(car.now)[1] == -0.9
    _, word = car.gate.disengage(car.now)
    assert word[1] == -0.9


def test_a_driver_who_takes_over_is_left_neither_throttle_nor_brake():
    car = driving()
    car.see()
    steering, throttle = car.gate.drive((0.02, 0.7), car.now).action
    assert throttle == 0.7
    assert car.gate.override(True, car.now) == (steering, 0.0)
    assert car.gate.override(True, car.now) is None  # said once
    car.gate.override(False, car.now)
    assert car.gate.override(True, car.now) is None  # nobody drove meanwhile


def test_silence_before_the_first_observation_brakes_in_lock_step_alone():
    for lock_step in (True, False):
        car = Car(lock_step=lock_step)
        car.gate.activate(car.now)
        assert car.gate.watch(TIMEOUT + 0.1, car.now) is lock_step
        assert (car.gate.reason is Reason.NO_OBSERVATION) is lock_step


def test_in_lock_step_the_brake_is_full_at_once():
    car = Car(lock_step=True)
    car.gate.activate(car.now)
    assert car.gate.speaks and car.gate.brake(car.now) == (0.0, -1.0)
    car.see(blocked=Reason.HOLD)
    assert car.gate.brake(car.now) == (0.0, -1.0)


def test_an_action_that_is_no_number_brakes_in_full_and_the_next_sound_one_drives():
    car = driving()
    gated = car.gate.drive((0.0, float('inf')), car.now)
    assert gated.action == (0.0, -1.0) and 'not finite' in car.gate.why
    car.now += PERIOD
    assert car.gate.brake(car.now) == (0.0, -1.0)
    assert car.see() and car.gate.drive((0.0, 0.5), car.now).action == (0.0, 0.5)


def test_last_words():
    assert driving().gate.deactivate(101.0) == (0.0, -1.0)
    assert driving().gate.disengage(101.0)[1] == (0.0, -0.4)
    for state in ('inactive', 'disengaged', 'manual', 'waiting'):
        assert STATES[state]().gate.deactivate(101.0) is None, state
    assert braking().gate.deactivate(100.4) == (0.0, -1.0)


@pytest.mark.parametrize('name', STATES)
def test_who_is_silent(name):
    assert STATES[name]().gate.speaks is (name in ('driving', 'braking'))


def turning(**config):
    """A car in the middle of a turn to the left, under full throttle."""
    car = Car(max_steering_rate=2.0, max_acceleration_rate=2.0, **config)
    car.gate.activate(car.now)
    for _ in range(10):
        car.see()
        action = car.gate.drive((1.0, 1.0), car.now).action
    assert action == pytest.approx((1.0, 1.0))
    return car


def hand_over(car):
    car.gate.disengage(car.now)


def take_the_wheel_and_let_go(car):
    car.gate.override(True, car.now)
    car.see(50)
    car.gate.override(False, car.now)


def restart(car):
    car.gate.deactivate(car.now)
    car.gate.activate(car.now)


@pytest.mark.parametrize('lock_step', [True, False])
@pytest.mark.parametrize('leave', [hand_over, take_the_wheel_and_let_go, restart])
def test_who_takes_over_begins_straight_ahead_and_without_throttle(leave, lock_step):
    car = turning(lock_step=lock_step)
    leave(car)
    for _ in range(100):
        car.see()
        if car.gate.state is State.DISENGAGED:
            assert car.gate.brake(car.now) == (0.0, -1.0)  # nothing leaves
    assert car.gate.engage(car.now).granted
    car.see()
    steering, acceleration = car.gate.drive((1.0, 1.0), car.now).action
    assert steering == pytest.approx(0.1) and acceleration <= 0.1 + 1e-9


def test_a_brake_that_left_last_is_let_go_of_gently_when_the_policy_takes_over():
    car = turning()
    car.gate.disengage(car.now)  # a last word of -0.4
    car.see(5)
    car.gate.engage(car.now)
    car.see()
    assert car.gate.drive((0.0, 1.0), car.now).action == pytest.approx((0.0, -0.3))


def test_who_only_braked_goes_on_from_what_he_commanded():
    car = turning(resume_after=1)
    car.see(blocked=Reason.BAD_OBSERVATION)
    steering = car.gate.brake(car.now)[0]
    assert steering == pytest.approx(0.9)
    car.see()
    assert car.gate.drive((1.0, 0.0), car.now).action[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    'lock_step, number, expected',
    [(True, 2, (0.0, -1.0)), (True, 1, (0.9, -1.0)), (False, 2, (0.9, -0.4))],
)
def test_every_episode_of_a_simulation_begins_straight_ahead(lock_step, number, expected):
    car = Car(max_steering_rate=2.0, lock_step=lock_step)
    car.gate.activate(car.now)
    car.gate.in_episode(1)
    for _ in range(10):
        car.see()
        car.gate.drive((1.0, 1.0), car.now)
    car.gate.in_episode(number)
    car.see(blocked=Reason.HOLD)
    assert car.gate.brake(car.now) == pytest.approx(expected)


def test_actions_that_were_changed_are_counted():
    car = driving()
    car.gate.drive((3.0, 0.0), car.now)
    assert car.gate.counts[Reason.CHANGED] == 1 and car.gate.interventions == 1
    assert car.gate.state is State.DRIVING


@pytest.mark.parametrize('state', STATES)
def test_what_is_said_beforehand_is_what_is_answered(state):
    car = STATES[state]()
    said = car.gate.summary(car.now)['gate_could_engage']
    answer = car.gate.engage(car.now)
    assert (said == 'yes') is answer.granted
    assert answer.granted or said in answer.text


def uncommanded(**config):
    """A gate of a simulation in lock-step that is not commanded: it ticks once a second."""
    car = Car(lock_step=True, engaged=False, resume_after=5, observation_timeout=0.3, **config)
    car.gate.activate(car.now)
    for _ in range(5):
        car.see(passed=1.0)
        car.gate.watch(0.9, car.now + 0.9)
    return car


def test_in_lock_step_frames_that_wait_for_a_command_are_no_silence():
    car = uncommanded()
    assert car.gate.engage(car.now + 0.9).granted


def test_in_lock_step_too_a_simulation_that_has_gone_is_silence():
    car = uncommanded()
    car.gate.watch(1.6, car.now + 1.6)
    assert 'no observation' in car.gate.engage(car.now + 1.6).text
