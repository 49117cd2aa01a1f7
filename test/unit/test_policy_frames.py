"""Which frames of a simulation have had their command, whatever its clock does."""

from av_td3_ros.nodes.policy_frames import Frames

TICK, SECOND = 50_000_000, 1_000_000_000


def test_a_frame_gets_one_command():
    frames = Frames(lock_step=True, period=0.05)
    frames.clock(10 * TICK, 0.0)
    assert frames.needs_command and not frames.answered(10 * TICK)
    frames.command(10 * TICK)
    assert not frames.needs_command and frames.answered(10 * TICK)
    frames.clock(11 * TICK, 0.1)
    assert frames.needs_command and frames.answered(10 * TICK)


def test_a_clock_that_goes_back_bit_by_bit_leaves_no_frame_without_its_command():
    frames = Frames(lock_step=True, period=0.05)
    frames.clock(100 * SECOND, 0.0)
    frames.command(100 * SECOND)
    for number in (1, 2, 3):
        frames.clock(100 * SECOND - number * 9 * SECOND // 10, 0.1 * number)
    assert frames.needs_command and not frames.answered(frames.newest)


def test_a_clock_set_back_far_begins_anew():
    frames = Frames(lock_step=True, period=0.05)
    frames.clock(100 * SECOND, 0.0)
    frames.spend()
    frames.clock(SECOND, 0.1)
    assert frames.needs_command and not frames.answered(SECOND)
