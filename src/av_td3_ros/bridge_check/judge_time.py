"""Time and lock-step: clock, frame numbers, stamps, one tick per command, pause and step."""

import bisect
from typing import Callable, Dict, List

from av_td3_ros.bridge_check.contract import NO_FRAME, STAMPED
from av_td3_ros.bridge_check.facts import Facts
from av_td3_ros.bridge_check.judge_graph import connected
from av_td3_ros.bridge_check.finding import FAIL, faults_or_ok, Finding, not_made, verdict

STANDS = (
    'the world stands while nobody commands: it is paused (publish PLAY on /carla/control), the '
    'server hangs, or it is another build of the bridge'
)
# Share of wrong stamps that a lost message explains.
FEW = 0.05


def synchronous(facts: Facts) -> List[Finding]:
    """Lock-step needs CARLA's synchronous mode."""
    check, expected = 'synchronous mode', 'on'
    if not facts.ticks:
        return not_made(check, expected, 'no /carla/status was heard')
    on = all(tick.synchronous for tick in facts.ticks)
    return verdict(
        check,
        on,
        expected,
        'on' if on else 'off',
        'start the bridge with synchronous_mode:=True passive:=False',
    )


def time_step(facts: Facts) -> List[Finding]:
    """The status says the step of the config, and below 0.1 s, as CARLA's physics needs."""
    check = 'time step'
    wanted = facts.expected.fixed_delta_seconds
    if not facts.ticks:
        return not_made(check, f'{wanted:g} s', 'no /carla/status was heard')
    found = facts.ticks[-1].fixed_delta_seconds
    return verdict(
        check,
        abs(found - wanted) < 1e-4 and found < 0.1 + 1e-4,
        f'{wanted:g} s',
        f'{found:g} s',
        f'start the bridge with fixed_delta_seconds:={wanted:g}, or pass --step',
    )


def clock(facts: Facts) -> List[Finding]:
    """/clock rises by one step a frame."""
    check = 'clock'
    expected = f'rises by {facts.expected.fixed_delta_seconds:g} s'
    steps = [after - before for before, after in zip(facts.clock, facts.clock[1:])]
    if not steps:
        return not_made(check, expected, 'fewer than two /clock messages were heard')
    back = [step for step in steps if step <= 0]
    if back:
        return verdict(
            check,
            False,
            expected,
            f'went by {min(back) / 1e9:+g} s, {len(back)} times',
            'two clocks are published, or the world was reloaded: restart the bridge and all that '
            'follows it',
        )
    odd = [step for step in steps if abs(step - facts.tick_ns) > facts.tick_ns / 2]
    return verdict(
        check,
        len(odd) <= FEW * len(steps),
        expected,
        f'{len(odd)} of {len(steps)} steps differ, such as {odd[0] / 1e9:g} s' if odd else 'so',
        'something else ticks the world (another client, Traffic Manager in synchronous mode): '
        'let the bridge alone tick',
    )


def frame_numbers(facts: Facts) -> List[Finding]:
    """Each status counts one frame more."""
    check, expected = 'frame numbers', 'rise by 1'
    frames = [tick.frame for tick in facts.ticks]
    steps = [after - before for before, after in zip(frames, frames[1:]) if after != before]
    if not steps:
        return not_made(check, expected, 'fewer than two frames were heard')
    odd = [step for step in steps if step != 1]
    return verdict(
        check,
        len(odd) <= FEW * len(steps),
        expected,
        f'{len(odd)} of {len(steps)} differ, such as {odd[0]:+d}' if odd else 'rise by 1',
        'a second client ticks the world: let the bridge alone tick, and start it with '
        'passive:=False',
    )


def stamps(facts: Facts) -> List[Finding]:
    """All messages of a frame have one stamp, within half a tick; odometry sets it."""
    check, expected = 'stamps', 'one for a frame'
    known = sorted(message.stamp for message in facts.odometry)
    if len(known) < 2:
        return not_made(check, expected, 'fewer than two odometry messages were heard')
    half, faults = facts.tick_ns // 2, []
    for key in STAMPED:
        found = [m.stamp for m in getattr(facts, key) if known[0] <= m.stamp <= known[-1] + half]
        heard = len(getattr(facts, key))
        offs = [min(abs(stamp - other) for other in _near(known, stamp)) for stamp in found]
        shift = _shift(facts, key)
        wrong = sum(off > half for off in offs) + (heard - len(found)) * (heard > len(found) + 3)
        if heard and (wrong > FEW * heard + 1 or shift):
            faults.append(
                Finding(
                    check,
                    FAIL,
                    'that of the odometry',
                    (
                        f'{shift:+d} frames away'
                        if shift
                        else f'{wrong} of {heard} more than half a tick away'
                    ),
                    'leave sensor_tick unset, and run the bridge in synchronous mode, where it '
                    'waits for every sensor',
                    facts.topics[key].name if key in facts.topics else key,
                )
            )
    return faults_or_ok(check, faults, expected, 'one for a frame')


def _shift(facts: Facts, key: str) -> int:
    """Return by how many frames the last stamp differs, when the world had come to rest."""
    for one in (key, 'odometry'):
        if one not in facts.rest or abs(facts.counts.get(one, 0) - facts.drive_ticks) > 2:
            return 0  # not driven, or the last is missing, which 'rates' says
    return round((facts.rest[key] - facts.rest['odometry']) / facts.tick_ns)


def _near(known: List[int], stamp: int) -> List[int]:
    place = bisect.bisect_left(known, stamp)
    return known[max(0, place - 1) : place + 1]


def waits(facts: Facts) -> List[Finding]:
    """The world waits for a command, and goes on without one after its timeout."""
    check = 'waits for a command'
    timeout, silence = facts.expected.control_timeout, facts.silence
    expected = f'a tick each {timeout:g} s of silence'
    if silence is None:
        why = facts.unmade.get('silence', 'not tried')
        if why == NO_FRAME and any(connected(facts.topics[key]) for key in ('status', 'clock')):
            return verdict(check, False, expected, why, STANDS, facts.topics['status'].name)
        return not_made(check, expected, why)
    rate = silence.ticks / silence.seconds
    if silence.ticks and silence.shortest_gap < 0.6 * timeout:
        return verdict(
            check,
            False,
            expected,
            f'{rate:.1f} ticks/s without any command',
            'start the bridge with synchronous_mode_wait_for_vehicle_control_command:=True, or '
            'set policy.lock_step to false and drive in real time',
        )
    return verdict(
        check,
        silence.ticks > 0 and silence.longest_gap < 2.5 * timeout,
        expected,
        f'{silence.ticks} ticks in {silence.seconds:.1f} s',
        STANDS,
    )


def one_tick(facts: Facts) -> List[Finding]:
    """As many ticks as commands."""
    check, expected, done = 'one tick per command', '1', facts.handshake
    if done is None:
        return not_made(check, expected, facts.unmade.get('handshake', 'not tried'))
    return verdict(
        check,
        done.ticks == done.commands,
        expected,
        f'{done.ticks} ticks for {done.commands} commands',
        (
            'commands do not release ticks: start the bridge with '
            'synchronous_mode_wait_for_vehicle_control_command:=True'
            if done.ticks < done.commands
            else 'the world ticks by itself or twice for a command: another client ticks it, or '
            'the bridge does not wait'
        ),
    )


def lag(facts: Facts) -> List[Finding]:
    """
    The command to a frame is the one that the next tick applies.

    After one surplus command a bridge goes on one tick late for good.
    """
    check, expected, done = 'command lag', '0 ticks', facts.handshake
    if done is None or done.ticks != done.commands or not done.applied:
        return not_made(check, expected, 'needs one tick per command and vehicle_status')
    sent, applied = done.sent, done.applied
    best = next(
        (
            late
            for late in range(4)
            if all(abs(b - a) < 2e-3 for b, a in zip(applied[late:], sent))
        ),
        None,
    )
    if best is None:
        return not_made(check, expected, 'vehicle_status does not show the brakes that were sent')
    return verdict(
        check,
        best == 0,
        expected,
        f'{best} ticks',
        'a surplus command was credited to a frame: let exactly one node publish exactly one '
        'command per frame, and restart the bridge',
    )


def override(facts: Facts) -> List[Finding]:
    """Under manual override the manual command alone drives and releases ticks."""
    check, done = 'manual override', facts.override
    expected = 'manual commands alone tick'
    if done is None:
        return not_made(check, expected, facts.unmade.get('override', 'not tried'))
    return verdict(
        check,
        done.automatic == 0 and done.manual >= 1 and done.released >= 1,
        expected,
        f'ticks: {done.automatic} by automatic, {done.manual} by manual, {done.released} after it',
        'the override was not heard: its publisher must be transient local, and the bridge of '
        '2022-07 or later',
    )


def pause(facts: Facts) -> List[Finding]:
    """PAUSE holds the world, and the status says so."""
    check, expected = 'pause', '0 ticks, and said so'
    if facts.pause is None:
        return not_made(check, expected, facts.unmade.get('pause', 'not tried'))
    stood = facts.pause.told[0]
    return verdict(
        check,
        facts.pause.ticks == 0 and stood,
        expected,
        f'{facts.pause.ticks} ticks, {"said" if stood else "not said"}',
        '/carla/control works in synchronous mode alone: pass synchronous_mode:=True '
        'passive:=False',
    )


def step_once(facts: Facts) -> List[Finding]:
    """STEP_ONCE ticks once; the next is sent after its frame, else the bridge drops it."""
    check, expected, done = 'step once', '1 tick each', facts.pause
    if done is None or done.ticks:
        return not_made(check, expected, facts.unmade.get('pause', 'needs a pause that holds'))
    return verdict(
        check,
        set(done.steps) == {1},
        expected,
        f'{", ".join(map(str, done.steps))} ticks',
        '/carla/control works in synchronous mode alone: pass synchronous_mode:=True '
        'passive:=False',
    )


def play(facts: Facts) -> List[Finding]:
    """PLAY lets the world go on, and the status says so."""
    check, expected, done = 'play', 'ticks again, and said so', facts.pause
    if done is None or done.ticks or not done.told[0]:
        return not_made(check, expected, facts.unmade.get('pause', 'needs a pause that holds'))
    return verdict(
        check,
        done.played > 0 and done.told[1],
        expected,
        f'{done.played} ticks, {"said" if done.told[1] else "not said"}',
        'restart the bridge: it stays paused',
    )


CHECKS: Dict[str, Callable[[Facts], List[Finding]]] = {
    'synchronous mode': synchronous,
    'time step': time_step,
    'clock': clock,
    'frame numbers': frame_numbers,
    'stamps': stamps,
    'waits for a command': waits,
    'one tick per command': one_tick,
    'command lag': lag,
    'manual override': override,
    'pause': pause,
    'step once': step_once,
    'play': play,
}
