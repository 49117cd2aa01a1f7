"""Map, actors, resets and events."""

import math
from typing import Callable, Dict, List, Optional, Tuple

from av_td3_ros.bridge_check.contract import LANE_CODES
from av_td3_ros.bridge_check.facts import Facts, Motion
from av_td3_ros.bridge_check.finding import FAIL, faults_or_ok, Finding, not_made, OK, verdict

# A change of speed in one tick (m/s) that no brake makes: something was hit.
BLOW = 2.0
# How much the change of velocity must be along the impulse, either way, to tell its axes.
ALONG = 0.95
# Ticks by which an event may come after its frame: the bridge does not wait for event sensors.
LATE = 2
# Ticks that a set_transform may take: the bridge applies it before its next tick.
SOON = 3


def world_info(facts: Facts) -> List[Finding]:
    """The map is told once, with its OpenDRIVE text."""
    check, expected = 'world_info', 'Carla/Maps/<town>, and its OpenDRIVE text'
    if facts.map_name is None:
        return not_made(check, expected, '/carla/world_info was not heard')
    return verdict(
        check,
        facts.map_name.startswith('Carla/Maps/') and facts.opendrive > 0,
        expected,
        f"'{facts.map_name}', {facts.opendrive} characters",
        'the map did not load in time: start the bridge with timeout:=20 (2 s is too short)',
        facts.topics['world_info'].name,
    )


def actors(facts: Facts) -> List[Finding]:
    """Ids are unique, so that a collision names its other."""
    check, expected = 'actor ids', 'each once'
    if not facts.actors:
        return not_made(check, expected, '/carla/actor_list was not heard, or is empty')
    ids = [actor.id for actor in facts.actors]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    return verdict(
        check,
        not twice,
        expected,
        f'twice: {twice}' if twice else f'{len(ids)} ids',
        'pseudo sensors count from 10000 and have met ids of CARLA after many respawns: restart '
        'the server, and reset in place',
        facts.topics['actor_list'].name,
    )


def reset_position(facts: Facts) -> List[Finding]:
    """set_transform puts the vehicle where it is asked to."""
    check, done = 'set_transform position', facts.reset
    expected = 'within 1.5 m'
    if done is None:
        return not_made(check, expected, facts.unmade.get('reset', 'not tried'))
    off = math.dist(done.asked[:2], done.found[:2])
    mirrored = math.dist((done.asked[0], -done.asked[1]), done.found[:2]) < 3.0
    stayed = math.dist(done.before[:2], done.found[:2]) < off / 2
    return verdict(
        check,
        done.arrived >= 0,
        expected,
        f'{off:.1f} m away{" (y mirrored)" if mirrored else ""}',
        (
            'the pose is taken as left-handed: turn y and yaw once, in the bridge'
            if mirrored
            else (
                'it did not move: spawn actor.pseudo.control with id control below the vehicle, '
                'and use a free place'
                if stayed
                else 'it moved elsewhere: check the frame (map) of the bridge'
            )
        ),
        facts.topics['set_transform'].name,
    )


def reset_delay(facts: Facts) -> List[Finding]:
    """set_transform acts before the next ticks."""
    check, expected, done = 'set_transform delay', f'at most {SOON} ticks', facts.reset
    if done is None or done.arrived < 0:
        return not_made(check, expected, _no_reset(facts))
    return verdict(
        check,
        done.arrived <= SOON,
        expected,
        f'{done.arrived} ticks',
        'a node holds the message, or the bridge is behind: resets must act before the episode '
        'begins',
        facts.topics['set_transform'].name,
    )


def reset_heading(facts: Facts) -> List[Finding]:
    """The heading is right-handed, in rad, as a quaternion in map."""
    check, expected, done = 'set_transform heading', 'within 0.15 rad', facts.reset
    if done is None or done.arrived < 0:
        return not_made(check, expected, _no_reset(facts))
    off = abs(math.remainder(done.asked[2] - done.found[2], 2 * math.pi))
    mirrored = abs(math.remainder(done.asked[2] + done.found[2], 2 * math.pi)) < 0.15
    return verdict(
        check,
        off < 0.15,
        expected,
        f'{off:.2f} rad away{" (yaw mirrored)" if mirrored else ""}',
        'the yaw is taken as left-handed or in degrees: turn it once, in the bridge',
        facts.topics['set_transform'].name,
    )


def reset_velocity(facts: Facts) -> List[Finding]:
    """What set_transform leaves of the velocity: CARLA keeps it, which is why we set it to 0."""
    check, done = 'velocity after set_transform', facts.reset
    expected = 'kept or 0; never more'
    if done is None or done.arrived < 0:
        return not_made(check, expected, _no_reset(facts))
    before, there = done.speed_before, done.speed_there
    word = 'kept' if there > 0.5 * before else 'lost'
    return verdict(
        check,
        there < before + 2.0,
        expected,
        f'{word}: {there:.1f} of {before:.1f} m/s',
        'the vehicle was thrown: put it higher (0.5 m above the road) and on a free place',
        facts.topics['set_transform'].name,
    )


def standstill(facts: Facts) -> List[Finding]:
    """Velocity nought and the brake make it stand: so every reset begins."""
    check, expected, done = 'stands after reset', 'below 0.1 m/s after 20 ticks', facts.reset
    if done is None:
        return not_made(check, expected, _no_reset(facts))
    return verdict(
        check,
        abs(done.speed_after) < 0.1,
        expected,
        f'{done.speed_after:.2f} m/s',
        'set_target_velocity or the brake does not act, or it slides: reset on level road',
        facts.topics['set_target_velocity'].name,
    )


def thrown(facts: Facts) -> List[Finding]:
    """set_target_velocity is in the frame of the vehicle."""
    check, done = 'set_target_velocity', facts.thrown
    if done is None or not done.found:
        return not_made(check, 'vx as asked', facts.unmade.get('reset', 'not tried'))
    vx, vy = max(done.found, key=lambda pair: pair[0])
    return verdict(
        check,
        vx > 0.7 * done.asked and abs(vy) < 0.3 * done.asked and vx < 1.4 * done.asked,
        f'vx {done.asked:g} m/s, vy 0',
        f'vx {vx:.1f}, vy {vy:.1f} m/s',
        'spawn actor.pseudo.control with id control; it takes the linear velocity in the frame '
        'of the vehicle, and is not heard under manual override',
        facts.topics['set_target_velocity'].name,
    )


def route(facts: Facts) -> List[Finding]:
    """A goal brings a route from the vehicle, its points about 1 m apart."""
    check, found = 'route', facts.route
    expected = '2 points or more, 0.5 to 2 m apart, from the vehicle, in map'
    if found is None:
        if 'route' in facts.unmade or not facts.odometry:
            return not_made(check, expected, facts.unmade.get('route', 'not tried'))
        return verdict(
            check,
            False,
            expected,
            'none after the goal',
            'carla_waypoint_publisher plans by role_name: give it the same, and a goal on a road',
            facts.topics['waypoints'].name,
        )
    return verdict(
        check,
        found.points >= 2
        and 0.5 <= found.spacing <= 2.0
        and found.begin < 10.0
        and found.frame_id == 'map',
        expected,
        f'{found.points} points, {found.spacing:.2f} m apart, begins {found.begin:.1f} m away, in '
        f"'{found.frame_id}'",
        'carla_waypoint_publisher found no vehicle of this role_name, or another publisher took '
        'the topic',
        facts.topics['waypoints'].name,
    )


def collision_timing(facts: Facts) -> List[Finding]:
    """An event per blow, of its frame or the next, here at most two frames later."""
    check, expected = 'collision timing', f'within {LATE} ticks of the blow'
    blow = _blow(facts)
    if blow is None:
        return not_made(check, expected, facts.unmade.get('collision', 'nothing was hit'))
    if not facts.collision:
        return verdict(
            check,
            False,
            expected,
            f'no event; the velocity changed by {math.hypot(*blow[1]):.1f} m/s in a tick',
            'sensor.other.collision must be attached to the vehicle',
            facts.topics['collision'].name,
        )
    tick = facts.tick_ns
    near = min(facts.collision, key=lambda hit: abs(hit.stamp - blow[0].stamp))
    off = round((near.stamp - blow[0].stamp) / tick)
    late = round((near.tick - near.stamp) / tick) if _in_step(facts) else 0
    return verdict(
        check,
        abs(off) <= LATE and late <= LATE,
        expected,
        f'stamped {off:+d} ticks from it, arrived {late} ticks after its stamp',
        'the episode would go on after a crash: let nothing stand between the bridge and us, and '
        'run in synchronous mode',
        facts.topics['collision'].name,
    )


def collision_frame(facts: Facts) -> List[Finding]:
    """The frame id of a collision, and an other that the actor list knows (0 is scenery)."""
    check, role = 'collision event', facts.expected.role_name
    expected = f'{role}/collision; other in actor_list, or 0'
    if not facts.collision:
        return not_made(check, expected, facts.unmade.get('collision', 'nothing was hit'))
    known = {0, *(actor.id for actor in facts.actors)}
    hit = facts.collision[-1]
    other = 'known' if hit.actor in known else 'unknown'
    return verdict(
        check,
        hit.frame_id == f'{role}/collision' and (other == 'known' or not facts.actors),
        expected,
        f"'{hit.frame_id}'; other {hit.actor} ({other})",
        'give the sensor the id collision, and spawn sensor.pseudo.actor_list',
        facts.topics['collision'].name,
    )


def impulse(facts: Facts) -> List[Finding]:
    """The one left-handed quantity of the bridge: y of the impulse is not turned."""
    check, expected = 'collision impulse', 'map axes, y as in CARLA (left-handed)'
    span = facts.span('off_road')
    places = {motion.stamp: place for place, motion in enumerate(span)}
    hits = [hit for hit in facts.collision if 1 < places.get(hit.stamp, 0) < len(span) - 1]
    if not hits:
        why = 'no event is of a frame of the run off the road'
        return not_made(check, expected, facts.unmade.get('collision', why))
    hit = max(hits, key=lambda one: math.hypot(*one.impulse))
    change = _change(facts, span, places[hit.stamp])
    x, y, _ = hit.impulse
    left_handed, right_handed = _along((x, -y), change), _along((x, y), change)
    if math.hypot(*change) < BLOW or max(left_handed, right_handed) < ALONG:
        return not_made(check, expected, 'a glancing blow: the tyres turned the vehicle, too')
    if abs(left_handed - right_handed) < 0.2:
        return not_made(check, expected, 'the blow came along an axis: both would look the same')
    return verdict(
        check,
        left_handed > right_handed,
        expected,
        f'along the blow by {left_handed:.2f} so, {right_handed:.2f} if right-handed',
        'this build turns y: nothing here reads it, but a penalty by direction would be mirrored',
        facts.topics['collision'].name,
    )


def lane_timing(facts: Facts) -> List[Finding]:
    """Lane events arrive within two ticks of their stamp."""
    check, expected = 'lane invasion timing', f'within {LATE} ticks of its stamp'
    if not facts.lane_invasion:
        return not_made(check, expected, facts.unmade.get('collision', 'no marking was crossed'))
    if not _in_step(facts):
        return not_made(check, expected, 'frames come unasked: what is late cannot be told')
    late = max(round((event.tick - event.stamp) / facts.tick_ns) for event in facts.lane_invasion)
    ahead = min(round((event.tick - event.stamp) / facts.tick_ns) for event in facts.lane_invasion)
    return verdict(
        check,
        late <= LATE and ahead >= -LATE,
        expected,
        f'{ahead} to {late} ticks',
        'let nothing stand between the bridge and us, and run in synchronous mode',
        facts.topics['lane_invasion'].name,
    )


def lane_codes(facts: Facts) -> List[Finding]:
    """Codes are CARLA's enumeration, of which the message names but three."""
    check, expected = 'lane invasion event', 'codes 0 to 10, frame <role>/lane_invasion'
    if not facts.lane_invasion:
        return not_made(check, expected, facts.unmade.get('collision', 'no marking was crossed'))
    frame = f'{facts.expected.role_name}/lane_invasion'
    faults = []
    for event in facts.lane_invasion:
        strange = [code for code in event.codes if code not in LANE_CODES]
        if strange or event.frame_id != frame:
            faults.append(
                Finding(
                    check,
                    FAIL,
                    expected,
                    f"{strange or list(event.codes)}, '{event.frame_id}'",
                    'give the sensor the id lane_invasion, and let the bridge be of 2022-07',
                    facts.topics['lane_invasion'].name,
                )
            )
    return faults_or_ok(check, faults[:1], expected, f'{len(facts.lane_invasion)} events')


# -- what the poses say ---------------------------------------------------------------------------


def _in_step(facts: Facts) -> bool:
    """Return whether frames wait for us, so that the newest one known is the newest there is."""
    return facts.handshake is None or facts.handshake.ticks == facts.handshake.commands


def _blow(facts: Facts) -> Optional[Tuple[Motion, Tuple[float, float]]]:
    """
    Return the motion at the end of the hardest blow of the run off the road, and by how much the
    velocity changed (m/s, map), where it was one.
    """
    span = facts.span('off_road')
    step, worst, found = facts.expected.fixed_delta_seconds, BLOW, None
    for first, before, after in zip(span, span[1:], span[2:]):
        change = (
            (after.x - 2.0 * before.x + first.x) / step,
            (after.y - 2.0 * before.y + first.y) / step,
        )
        if math.hypot(*change) > worst:
            worst, found = math.hypot(*change), (after, change)
    return found


def _change(facts: Facts, span: List[Motion], place: int) -> Tuple[float, float]:
    """Return the change of velocity (m/s, map) over a frame, by the poses."""
    step = facts.expected.fixed_delta_seconds
    first, second, third, fourth = span[place - 2 : place + 2]
    return (
        (fourth.x - third.x - second.x + first.x) / step,
        (fourth.y - third.y - second.y + first.y) / step,
    )


def _along(one: Tuple[float, float], other: Tuple[float, float]) -> float:
    """Return how much two directions are one, of either sign: 0 to 1."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return abs(one[0] * other[0] + one[1] * other[1]) / lengths if lengths else 0.0


def _no_reset(facts: Facts) -> str:
    if facts.reset is not None and reset_position(facts)[0].state != OK:
        return 'needs a set_transform that arrives'
    return facts.unmade.get('reset', 'not tried')


CHECKS: Dict[str, Callable[[Facts], List[Finding]]] = {
    'world_info': world_info,
    'actor ids': actors,
    'set_transform position': reset_position,
    'set_transform delay': reset_delay,
    'set_transform heading': reset_heading,
    'velocity after set_transform': reset_velocity,
    'stands after reset': standstill,
    'set_target_velocity': thrown,
    'route': route,
    'collision timing': collision_timing,
    'collision event': collision_frame,
    'collision impulse': impulse,
    'lane invasion timing': lane_timing,
    'lane invasion event': lane_codes,
}
