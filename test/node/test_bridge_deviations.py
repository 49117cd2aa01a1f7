"""
``av-td3 check bridge`` over real topics: the embedded simulator passes it whole, and each planted
deviation is found by its name and by no other.
"""

import math
import os
import signal
import subprocess
import sys

import pytest
from rclpy.lifecycle import TransitionCallbackReturn

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.bridge.convert import from_ns  # noqa: E402
from av_td3_ros.bridge_check.contract import COMMANDED, EXPERIMENTS  # noqa: E402
from av_td3_ros.bridge_check.facts import Expected  # noqa: E402
from av_td3_ros.bridge_check.finding import FAIL, NOT_MADE  # noqa: E402
from av_td3_ros.bridge_check.judge import failed, judge  # noqa: E402
from av_td3_ros.nodes.bridge_check_probe import Probe  # noqa: E402
from av_td3_ros.nodes.bridge_check_session import DRIVE_SPEED, Session  # noqa: E402
from av_td3_ros.nodes.simulator_node import SimulatorNode  # noqa: E402
from bridge_deviations import (  # noqa: E402
    changed,
    commander,
    DeviatingSimulator,
    Deviation,
    OBLIQUE,
    RUNS,
    SKIP,
)

SIZE = {'image_width': 64, 'image_height': 48}
# A quarter of it is waited for what is still on the way: longer than a machine stands still.
TIMEOUT = 0.75
START = 20.0


class CountingProbe(Probe):
    """``sent``: its commands."""

    sent = 0

    def command(self, *control):
        self.sent += 1
        super().command(*control)


@pytest.fixture
def checked(ros):
    """Run the script beside a simulator with deviations; return (findings, simulator, probe)."""
    probes = []

    def run(deviations=(), skip=(), **params):
        for deviation in deviations:
            params.update(deviation.params)
        DeviatingSimulator.deviations = tuple(deviations)
        simulator = ros.make(DeviatingSimulator, **SIZE, control_timeout=TIMEOUT, **params)
        success = TransitionCallbackReturn.SUCCESS
        assert simulator.trigger_configure() == success
        assert simulator.trigger_activate() == success
        expected = Expected(width=64, height=48, control_timeout=TIMEOUT)
        probe = CountingProbe(expected, ros.context, ros.executor)
        probes.append(probe)
        facts = Session(probe, skip, 2.0 if deviations else START).run()
        return judge(facts), simulator, probe

    yield run
    for probe in probes:
        probe.close()


def told(groups, state):
    return {f.check: f.found for group in groups.values() for f in group if f.state == state}


def test_the_embedded_simulator_passes_it_whole(checked):
    groups, simulator, probe = checked(segmentation=True, depth=True, **OBLIQUE)
    assert told(groups, FAIL) == {}
    # No tf2_msgs on PyPI, and no IMU, which nothing here needs.
    assert set(told(groups, NOT_MADE)) <= {'tf', 'imu'}
    # It is left where it was, standing, braking.
    start = probe.facts.span('ahead')[0]
    pose = simulator._world.state.pose
    assert math.dist((pose.x, pose.y), (start.x, start.y)) < 0.5
    assert abs(simulator._world.state.speed) < 0.05
    assert simulator._control.brake == 1.0 and simulator._control.throttle == 0.0
    assert not simulator._paused and not simulator._overridden


@pytest.mark.parametrize('name', RUNS)
def test_planted_deviations_are_found_each_by_its_name(checked, name):
    deviations = RUNS[name]
    groups, simulator, _ = checked(deviations.values(), SKIP.get(name, ()))
    expected = {check for deviation in deviations.values() for check in deviation.checks}
    bad = told(groups, FAIL)
    for text, deviation in deviations.items():
        assert deviation.checks <= set(bad), f'not found: {text}'
    assert set(failed(groups)) == expected, bad


@pytest.mark.parametrize('key', COMMANDED)
def test_beside_another_commander_nothing_is_commanded(checked, key):
    groups, simulator, probe = checked([Deviation(also=commander(key))])
    assert failed(groups) == ['no other commander'] and probe.sent == 0
    assert (simulator.frames > 10) == (key == 'vehicle_control_cmd')  # the bridge does wait
    found = told(groups, NOT_MADE)
    who = '/av_td3/simulator commands the vehicle'
    assert found['one tick per command'] == f'{who}: nothing was commanded'
    assert found['waits for a command'] == f'{who}: no silence'


def test_beside_a_second_odometry_the_vehicle_is_not_driven(checked):
    deviation = RUNS['two odometries']['odometry of two']
    groups, _, probe = checked([deviation], skip=set(EXPERIMENTS) - {'drive', 'reset'})
    why = 'odometry has 2 publishers: not driven'
    assert told(groups, NOT_MADE)['speedometer'] == why and failed(groups) == ['one publisher']
    assert max(motion.vx for motion in probe.facts.odometry) < 0.1 and not probe.facts.spans


def test_the_drive_ends_at_its_speed_though_every_odometry_comes_twice(checked):
    deviation = RUNS['resets and events']['odometry doubled']
    groups, _, probe = checked([deviation], skip=set(EXPERIMENTS) - {'drive'})
    assert failed(groups) == ['rates']
    fastest = max(motion.vx for motion in probe.facts.span('ahead'))
    assert DRIVE_SPEED - 0.5 < fastest < DRIVE_SPEED + 1.5


def test_without_a_moment_nothing_is_driven(checked):
    frozen = Deviation(say={'odometry': changed('header.stamp', lambda _: from_ns(1))})
    groups, _, probe = checked([frozen], skip=set(EXPERIMENTS) - {'drive'})
    why = 'the stamp of the odometry stands still: not driven'
    assert told(groups, NOT_MADE)['speedometer'] == why
    assert max(motion.vx for motion in probe.facts.odometry) < 0.1


def test_enough_deviations_are_planted():
    assert sum(map(len, RUNS.values())) >= 40


def test_looking_alone_commands_nothing(checked):
    groups, simulator, _ = checked(skip=EXPERIMENTS)
    assert simulator.commands == 0 and simulator.timeouts >= 1
    assert told(groups, FAIL) == {}
    assert told(groups, NOT_MADE)['steering sign'] == 'left out'


def test_without_any_bridge_all_topics_are_missing(ros):
    probe = Probe(Expected(control_timeout=0.2), ros.context, ros.executor)
    try:
        groups = judge(Session(probe, (), 0.5).run())
    finally:
        probe.close()
    assert failed(groups) == ['topics']
    assert told(groups, NOT_MADE)['clock'] == 'fewer than two /clock messages were heard'


def test_a_world_that_never_ticks_is_a_fault(ros):
    simulator = ros.make(SimulatorNode, **SIZE)
    assert simulator.trigger_configure() == TransitionCallbackReturn.SUCCESS  # and not active
    probe = Probe(Expected(control_timeout=0.2), ros.context, ros.executor)
    try:
        groups = judge(Session(probe, (), 2.0).run())
    finally:
        probe.close()
    assert failed(groups) == ['waits for a command']


def test_an_interrupt_leaves_the_vehicle_braking(ros, checked, monkeypatch):
    def interrupted(session, *args, **kwargs):
        if args[0] == 'left':
            raise KeyboardInterrupt
        return span(session, *args, **kwargs)

    span = Session._span
    monkeypatch.setattr(Session, '_span', interrupted)
    with pytest.raises(KeyboardInterrupt):
        checked(skip=('handshake', 'override'))
    simulator = next(n for n in ros._nodes if isinstance(n, DeviatingSimulator))
    assert simulator._control.brake == 1.0 and simulator._control.throttle == 0.0


def test_an_interrupt_while_paused_lets_the_world_go_on(ros, checked, monkeypatch):
    monkeypatch.setattr(Probe, 'settle', settled(Probe.settle, ros))
    with pytest.raises(KeyboardInterrupt):
        checked(skip=('handshake', 'override', 'drive'))
    simulator = next(n for n in ros._nodes if isinstance(n, DeviatingSimulator))
    assert not simulator._paused and simulator._control.brake == 1.0


def settled(settle, ros):
    """Interrupt as soon as the world is paused."""

    def act(probe):
        settle(probe)
        if any(getattr(node, '_paused', False) for node in ros._nodes):
            raise KeyboardInterrupt

    return act


def test_the_command_starts_a_simulator_of_its_own_and_passes_it(tmp_path):
    command = [sys.executable, '-m', 'av_td3_ros.cli.main', 'check', 'bridge', '--self']
    running = subprocess.Popen(
        [
            *command,
            '--image',
            '64x48',
            *'--skip reset --skip route --skip collision'.split(),
            '--save',
            str(tmp_path / 'facts.json'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'COLUMNS': '120'},
        start_new_session=True,
    )
    try:
        output, _ = running.communicate(timeout=120.0)
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            running.wait()
    assert running.returncode == 0, output
    assert 'one tick per command' in output and 'FAIL' not in output
    assert (tmp_path / 'facts.json').stat().st_size > 10_000
