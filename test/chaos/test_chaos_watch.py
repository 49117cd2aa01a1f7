"""The judge of the fault campaign sees what must not be, and nothing else."""

import math

from chaos_tap import HEADER, Hands, KINDS, Meddling, OtherClock
from chaos_watch import Command, DriveWatch, out_of_bounds, PUSHES_FOR
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

PUSH, BRAKE = Command(0.5, 0.0, 0.0), Command(0.0, 0.0, 1.0)


def drive(watch, command, speeds, x=0.0):
    for speed in speeds:
        watch.said(command)
        watch.applied(command)
        x += 0.05 * speed
        watch.moved(x, 0.0, speed)
    return x


def test_a_car_that_does_as_it_is_told_is_clean():
    watch = DriveWatch()
    drive(watch, PUSH, [0.1 * step for step in range(30)])
    report = watch.report()
    assert report['streak'] == report['frames'] == report['commands'] == 30
    assert not report['uncommanded'] and not report['out_of_bounds']
    assert report['stale_metres'] == 0.0 and report['fastest'] == pytest.approx(2.9)


def test_speed_without_throttle_is_seen_once_the_engine_cannot_be_it():
    watch = DriveWatch()
    x = drive(watch, PUSH, [1.0])
    x = drive(watch, BRAKE, [1.2] * (PUSHES_FOR - 1), x)
    assert not watch.report()['uncommanded']
    drive(watch, BRAKE, [1.2, 1.4], x)
    assert watch.report()['uncommanded'] == ['0.20 m/s gained without throttle']


def test_metres_without_a_new_command_are_counted_and_break_the_streak():
    watch = DriveWatch()
    x = drive(watch, PUSH, [2.0] * 5)
    watch.moved(x + 0.1, 0.0, 2.0)
    watch.moved(x + 0.2, 0.0, 2.0)
    assert watch.report()['stale_metres'] == pytest.approx(0.2) and watch.streak == 0
    watch.applied(PUSH)
    watch.applied(PUSH)
    watch.moved(x + 0.3, 0.0, 2.0)
    assert watch.streak == 0  # two commands in one frame
    watch.begin()
    assert watch.report()['stale_metres'] == 0.0


def test_being_put_elsewhere_is_no_motion():
    watch = DriveWatch()
    drive(watch, BRAKE, [0.0] * 20)
    watch.moved(500.0, 80.0, 0.0)
    assert watch.report()['stale_metres'] == 0.0 and watch.report()['stood']


@pytest.mark.parametrize(
    'command, fault',
    [
        (PUSH, ''),
        (BRAKE, ''),
        (Command(1.5, 0.0, 0.0), 'throttle 1.5'),
        (Command(0.0, math.nan, 0.0), 'steering nan'),
        (Command(0.0, 0.0, -0.1), 'brake -0.1'),
        (Command(0.5, 0.0, 0.5), 'throttle 0.5 and brake 0.5'),
        (Command(0.0, 0.0, 0.0, True), 'reverse'),
    ],
)
def test_bounds(command, fault):
    assert out_of_bounds(command) == fault


def message(sec=7, nanosec=500_000_000, grey=9):
    """Names of these lengths leave no gaps as bytes, in which anything may stand."""
    image = Image(height=4, width=8, encoding='mono16', step=16, data=bytes([grey] * 64))
    image.header.frame_id = 'cam'
    image.header.stamp.sec, image.header.stamp.nanosec = sec, nanosec
    return bytes(serialize_message(image))


def test_a_clock_that_jumps_changes_stamps_and_nothing_else():
    clock = OtherClock()
    assert clock.stamped(message()) == message()
    clock.jump(1_600_000_000)
    assert clock.stamped(message()) == message(9, 100_000_000)


def test_a_clock_set_back_far_goes_on_from_nought_and_does_not_stand_there():
    clock = OtherClock()
    clock.stamped(message(7, 0))
    clock.jump(-3600_000_000_000)
    assert clock.stamped(message(7, 0)) == message(0, 0)
    assert clock.stamped(message(9, 5)) == message(2, 5)


def test_a_world_that_is_started_again_has_a_clock_of_its_own():
    clock = OtherClock()
    clock.stamped(message(300, 0))
    clock.jump(-250_000_000_000)
    assert clock.stamped(message(301, 0)) == message(51, 0)
    assert clock.stamped(message(1, 0)) == message(1, 0)
    clock.jump(-10_000_000_000)
    assert clock.stamped(message(2, 0)) == message(1, 0)


@pytest.mark.parametrize('kind', KINDS)
def test_hands_do_what_they_are_told(kind):
    hands = Hands(Meddling(kind, 'odometry', 2, 3.0, seed=1))
    one, two = message(1, grey=10), message(2, grey=20)
    out = KINDS[kind](one, hands) + KINDS[kind](two, hands)
    exact = {
        'drop': [],
        'delay': [],
        'double': [one, one, two, two],
        'reorder': [two, one],
        'freeze': [one, message(2, grey=10)],
        'blacken': [message(1, grey=0), message(2, grey=0)],
    }
    if kind in exact:
        assert out == exact[kind]
        assert len(hands.later) == (2 if kind == 'delay' else 0)
    elif kind == 'truncate':
        assert [one.startswith(out[0]), two.startswith(out[1])] == [True, True]
        assert all(HEADER <= len(short) < len(one) for short in out)
    else:
        assert kind == 'flip'
        assert len(out) == 2 and out[0] != one and len(out[0]) == len(one)
        bits = bin(int.from_bytes(out[0], 'big') ^ int.from_bytes(one, 'big')).count('1')
        assert 1 <= bits <= 3 and out[0][:HEADER] == one[:HEADER]
