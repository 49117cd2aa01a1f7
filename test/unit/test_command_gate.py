"""Whatever a policy says, what leaves the gate is finite, bounded and not too sudden."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import pytest

from av_td3_ros.config import GateConfig, PolicyConfig, RunConfig
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.command_gate import CommandGate
from av_td3_ros.driving.command_gate_machine import GateMachine
from av_td3_ros.driving.command_gate_states import Reason


def gate(rate=10.0):
    return CommandGate(GateConfig(max_steering_rate=rate), 0.05)


def test_a_calm_action_passes_unchanged():
    gated = gate().check((0.3, 0.6))
    assert gated == ((0.3, 0.6), '')


def test_nan_brakes_and_says_so():
    it = gate()
    gated = it.check((float('nan'), 1.0))
    assert gated.action == (0.0, -1.0) and 'not finite' in gated.reason and it.interventions == 1


def test_steering_rate_is_limited_from_the_last_command():
    it = gate(rate=10.0)
    assert it.check((1.0, 0.0)).action[0] == 0.5
    assert it.check((1.0, 0.0)).action[0] == 1.0
    assert it.check((-1.0, 0.0)).action[0] == 0.5


def test_braking_straightens_the_wheel_within_the_limit():
    it = gate()
    it.check((0.5, 0.0))
    it.check((0.9, 0.0))
    assert it.brake() == (0.4, -1.0)


def test_acceleration_rises_within_its_limit_and_a_brake_is_never_held_up():
    it = CommandGate(GateConfig(max_acceleration_rate=4.0), 0.05)
    assert it.check((0.0, 1.0)) == ((0.0, 0.2), 'acceleration rate: 0.000 to 1.000')
    assert it.check((0.0, 1.0)).action[1] == 0.4
    assert it.check((0.0, -1.0)) == ((0.0, -1.0), '')
    assert it.check((0.0, 0.0)).action[1] == -0.8
    it.brake()
    assert it.check((0.0, 0.5)).action[1] == -0.8
    assert it.interventions == 4


@given(st.lists(st.one_of(st.none(), st.tuples(st.floats(), st.floats())), max_size=30))
def test_the_graph_in_lock_step_commands_what_the_simulation_in_process_does(actions):
    alone, machine = gate(), GateMachine(GateConfig(max_steering_rate=10.0), 0.05, lock_step=True)
    machine.activate(0.0)
    for number, action in enumerate(actions):
        machine.observe(0.05 * number, float(number))
        if action is None:
            assert repr(machine.brake(number)) == repr(alone.brake())
        else:
            assert repr(machine.drive(action, number)) == repr(alone.check(action))


def test_episodes_in_process_begin_as_those_over_the_graph_do():
    pytest.importorskip('carla')
    from av_td3_ros.sim.env import DrivingEnv

    limits = GateConfig(max_steering_rate=0.5, max_acceleration_rate=4.0)
    env = DrivingEnv(replace(RunConfig(), policy=PolicyConfig(gate=limits)), camera=False)
    machine, tick = GateMachine(limits, 0.05, lock_step=True), 0
    machine.activate(0.0)
    for episode in range(2):
        env.reset(seed=1)
        machine.in_episode(episode)
        for held in [True] * 4 + [False] * 20:
            machine.observe(0.05 * tick, tick, Reason.HOLD if held else Reason.NONE)
            if held:
                assert machine.brake(tick)[1] == -1.0
            else:
                assert env.step((1.0, 1.0))[1] == machine.drive((1.0, 1.0), tick).action
            tick += 1
    env.close()


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=30))
def test_nothing_out_of_bounds_leaves(actions):
    it, last = gate(), 0.0
    for action in actions:
        steering, acceleration = it.check(action).action
        assert -1.0 <= steering <= 1.0 and -1.0 <= acceleration <= 1.0
        assert abs(steering - last) <= 0.5 + 1e-9
        last = steering
        control = to_control((steering, acceleration))
        assert 0.0 <= control.throttle <= 1.0 and 0.0 <= control.brake <= 1.0
        assert control.throttle == 0.0 or control.brake == 0.0
