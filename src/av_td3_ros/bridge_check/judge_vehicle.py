"""
Axes, signs and units, found by a short drive: ahead, left, right, stop.

Each quantity is compared with what the poses themselves say, so that one wrong topic is not taken
for another.
"""

import math
from statistics import median
from typing import Callable, Dict, List, Tuple

from av_td3_ros.bridge_check.facts import Facts, finite
from av_td3_ros.bridge_check.finding import Finding, not_made, OK, verdict
from av_td3_ros.bridge_check.poses import (
    fastest,
    moving,
    ratio_of,
    SLOW,
    turned,
    turning,
    ways_of,
    wrapped,
)

NOT_DRIVEN = 'the vehicle was not driven'
# Below these nothing is concluded, rad.
STRAIGHT, LEVEL = 0.03, 0.03
KMPH, DEGREES = 3.6, 180.0 / math.pi


def frames(facts: Facts) -> List[Finding]:
    """Odometry is in map, of the vehicle; so is vehicle_status."""
    check, role = 'odometry frames', facts.expected.role_name
    expected = f'map, {role}; vehicle_status map'
    if not facts.odometry:
        return not_made(check, expected, 'no odometry was heard')
    found = sorted({(m.frame_id, m.child_frame_id) for m in facts.odometry})
    stated = sorted({status.frame_id for status in facts.vehicle_status} or {'map'})
    return verdict(
        check,
        found == [('map', role)] and stated == ['map'],
        expected,
        ', '.join(f'{a or "none"}, {b or "none"}' for a, b in found)
        + f'; vehicle_status {", ".join(stated)}',
        'use sensor.pseudo.odom below the vehicle; a relay may have changed the frame',
        facts.topics['odometry'].name,
    )


def numbers(facts: Facts) -> List[Finding]:
    """All of odometry and vehicle_status is finite."""
    check, expected = 'finite numbers', 'everywhere'
    heard = {'odometry': facts.odometry, 'vehicle_status': facts.vehicle_status}
    if not any(heard.values()):
        return not_made(check, expected, 'neither odometry nor vehicle_status was heard')
    bad = {
        key: sum(not finite(*(v for v in m if isinstance(v, float))) for m in messages)
        for key, messages in heard.items()
    }
    return verdict(
        check,
        not any(bad.values()),
        expected,
        ', '.join(f'{count} of {key} not' for key, count in bad.items() if count) or 'so',
        'the vehicle has fallen off the map or was destroyed: respawn it',
        facts.topics['odometry'].name,
    )


def brake(facts: Facts) -> List[Finding]:
    """Under the brake it stands, or slows down: nobody else drives it."""
    check, expected = 'brake', 'stands, or slows down'
    ways = [math.hypot(*way) for way in ways_of(facts, 'braked')]
    if len(ways) < 5:
        return not_made(check, expected, facts.unmade.get('handshake', 'no odometry was heard'))
    first, last = (way / facts.expected.fixed_delta_seconds for way in (ways[0], ways[-1]))
    return verdict(
        check,
        last < 0.1 or last < first - SLOW,
        expected,
        f'{first:.1f} m/s, {last:.1f} m/s after {len(ways)} frames',
        'an autopilot or a velocity that another node sets drives it: publish False on '
        'enable_autopilot; or throttle and brake are exchanged',
        facts.topics['vehicle_control_cmd'].name,
    )


def throttle(facts: Facts) -> List[Finding]:
    """Throttle moves the vehicle towards its heading, by the poses."""
    check, expected = 'throttle', 'moves along the heading'
    way = ways_of(facts, 'ahead')
    if not way:
        return not_made(check, expected, _why(facts))
    first, last = facts.span('ahead')[0], facts.span('ahead')[-1]
    distance = math.hypot(last.x - first.x, last.y - first.y)
    along = sum(ahead for ahead, _ in way)
    aside = sum(abs(left) for _, left in way)
    if distance < 1.0:
        found = f'moved {distance:.2f} m in {len(way)} frames at throttle'
    else:
        found = f'{along:.1f} m ahead, {aside:.1f} m aside'
    return verdict(
        check,
        distance >= 1.0 and along > 0.9 * distance and aside < 0.3 * distance,
        expected,
        found,
        (
            'check that nothing stands before the vehicle and that no hand brake or autopilot '
            'holds it'
            if distance < 1.0
            else "the pose's position and yaw are not of one right-handed frame: y and yaw must "
            'both be turned from CARLA'
        ),
        facts.topics['odometry'].name,
    )


def steering(facts: Facts) -> List[Finding]:
    """The bridge's steer is positive to the right; yaw is positive to the left."""
    check, expected = 'steering sign', 'steer < 0: yaw rises; steer > 0: yaw falls'
    turns = {name: turned(facts.span(name)) for name in ('left', 'right')}
    if not all(facts.span(name) for name in turns) or fastest(facts) < SLOW:
        return not_made(check, expected, _why(facts))
    return verdict(
        check,
        turns['left'] > STRAIGHT and turns['right'] < -STRAIGHT,
        expected,
        f'steer < 0: {turns["left"]:+.2f} rad; steer > 0: {turns["right"]:+.2f} rad',
        'the command or the pose is not turned as the bridge does (steer + right, yaw + left): '
        'remove the second turn, or check carla_common',
        facts.topics['vehicle_control_cmd'].name,
    )


def speed(facts: Facts) -> List[Finding]:
    """The twist has the length that the poses give, in m/s."""
    check, expected = 'odometry speed', 'm/s, as the poses move'
    pairs = [
        (math.hypot(m.vx, m.vy), math.hypot(*way) / facts.expected.fixed_delta_seconds)
        for m, way in moving(facts)
    ]
    return _as_the_poses_move(facts, check, expected, pairs, 'convert it to m/s', 'odometry')


def twist(facts: Facts) -> List[Finding]:
    """The twist is in the frame of the vehicle, not in that of the map."""
    check, expected = 'odometry twist frame', 'the vehicle: x ahead, y left'
    if throttle(facts)[0].state != OK:
        return not_made(check, expected, "needs the pose's own axes right: see throttle")
    body, chart = 0.0, 0.0
    seen = 0
    for motion, (ahead, left) in moving(facts):
        if abs(motion.pitch) > LEVEL:
            continue  # the bridge itself is right for pure yaw alone
        seen += 1
        course = math.atan2(left, ahead)
        given = math.atan2(motion.vy, motion.vx)
        body += abs(wrapped(given - course))
        chart += abs(wrapped(given - course - motion.yaw))
    if seen < 5:
        return not_made(check, expected, _why(facts) if not seen else 'the road is not level')
    body, chart = body / seen, chart / seen
    if abs(body - chart) < 0.1 and body < 0.2:
        return not_made(check, expected, "the vehicle's axes are those of the map here")
    return verdict(
        check,
        body < 0.2,
        expected,
        f'{math.degrees(body):.0f} deg from it, {math.degrees(chart):.0f} deg from the map',
        (
            'the twist is in the frame of the map: turn it by minus the yaw'
            if chart < body
            else "the twist's axes are not x ahead, y left"
        ),
        facts.topics['odometry'].name,
    )


def yaw_rate(facts: Facts) -> List[Finding]:
    """The yaw rate is what the yaw does, in rad/s."""
    check, expected = 'yaw rate', 'rad/s, + left, as the yaw moves'
    given = {m.stamp: m.wz for m in facts.odometry}
    pairs = [(given[stamp], rate) for stamp, rate in turning(facts)]
    ratio = ratio_of(pairs)
    if ratio is None:
        return not_made(check, expected, _why(facts))
    degrees = abs(abs(ratio) - DEGREES) < 0.2 * DEGREES
    return verdict(
        check,
        abs(ratio - 1.0) < 0.25,
        expected,
        f'{ratio:+.2f} of the yaw{" (deg/s)" if degrees else ""}',
        'turn the sign of angular.z, as the bridge does' if ratio < 0 else 'convert it to rad/s',
        facts.topics['odometry'].name,
    )


def speedometer(facts: Facts) -> List[Finding]:
    """The speedometer is the forward speed in m/s, signed."""
    check, expected = 'speedometer', 'm/s, + ahead'
    both = facts.speeds.get('ahead')
    if both is None:
        return not_made(check, expected, _why(facts))
    heard, driven = both
    if throttle(facts)[0].state != OK:
        return not_made(check, expected, "needs the pose's own axes right: see throttle")
    if abs(driven) < SLOW:
        return not_made(check, expected, _why(facts))
    ratio = heard / driven
    return verdict(
        check,
        abs(ratio - 1.0) < 0.15,
        expected,
        f'{heard:.2f} at {driven:.2f} m/s{_unit(ratio)}',
        'use sensor.pseudo.speedometer of the bridge, which is in m/s',
        facts.topics['speedometer'].name,
    )


def status_speed(facts: Facts) -> List[Finding]:
    """vehicle_status tells the unsigned speed in m/s."""
    check, expected = 'vehicle_status speed', 'm/s, unsigned'
    motions = {m.stamp: way for m, way in moving(facts)}
    pairs = [
        (
            status.velocity,
            math.hypot(*motions[status.stamp]) / facts.expected.fixed_delta_seconds,
        )
        for status in facts.vehicle_status
        if status.stamp in motions
    ]
    change = 'use the vehicle_status of the bridge, which is in m/s'
    return _as_the_poses_move(facts, check, expected, pairs, change, 'vehicle_status')


def acceleration(facts: Facts) -> List[Finding]:
    """vehicle_status tells the change of velocity in map axes, without gravity."""
    check, expected = 'acceleration', 'm/s^2 in map axes, without gravity'
    if throttle(facts)[0].state != OK:
        return not_made(check, expected, "needs the pose's own axes right: see throttle")
    by_stamp = {status.stamp: status for status in facts.vehicle_status}
    span = [m for m in facts.span('ahead') if m.stamp in by_stamp]
    if len(span) < 10 or fastest(facts) < SLOW:
        return not_made(check, expected, _why(facts))
    found = [by_stamp[m.stamp] for m in span]
    up = median(status.az for status in found)
    along = median(s.ax * math.cos(m.yaw) + s.ay * math.sin(m.yaw) for s, m in zip(found, span))
    aside = median(-s.ax * math.sin(m.yaw) + s.ay * math.cos(m.yaw) for s, m in zip(found, span))
    gravity = abs(abs(up) - 9.81) < 2.0
    return verdict(
        check,
        abs(up) < 5.0 and along > 0.0 and abs(aside) < max(0.5, along),
        expected,
        f'{along:+.1f} ahead, {aside:+.1f} left, {up:+.1f} up at throttle',
        'take gravity out' if gravity else 'turn y as the bridge does: map axes, right-handed',
        facts.topics['vehicle_status'].name,
    )


def echo(facts: Facts) -> List[Finding]:
    """vehicle_status repeats the command with its sign, steer positive to the right."""
    check, expected = 'vehicle_status control', 'the command, steer + right'
    asked = facts.speeds.get('steer')
    if asked is None or not facts.vehicle_status:
        return not_made(check, expected, _why(facts))
    sent, heard = asked
    return verdict(
        check,
        abs(sent - heard) < 0.02,
        expected,
        f'steer {heard:+.2f} after {sent:+.2f}',
        'publish the control as it was applied',
        facts.topics['vehicle_status'].name,
    )


def info(facts: Facts) -> List[Finding]:
    """vehicle_info has angles in rad and radii in cm."""
    check, expected = 'vehicle_info', 'steering angle in rad, wheel radius in cm'
    if facts.vehicle_info is None:
        return not_made(check, expected, 'vehicle_info was not heard')
    angle, radius = facts.vehicle_info.max_steer, facts.vehicle_info.radius
    return verdict(
        check,
        0.1 < angle < 1.6 and 10.0 < radius < 150.0,
        expected,
        f'{angle:.2f}, {radius:.2f}',
        (
            'the angle is in degrees: use the vehicle_info of the bridge'
            if angle >= 1.6
            else 'no wheel steers, or the radius is not in cm: use the vehicle_info of the bridge'
        ),
        facts.topics['vehicle_info'].name,
    )


def inertial(facts: Facts) -> List[Finding]:
    """CARLA's IMU feels gravity, and turns as the odometry does; we do not need it."""
    check, expected = 'imu', '+9.8 m/s^2 up at rest, yaw rate + left'
    if not facts.imu:
        return not_made(check, expected, 'there is no imu; none is needed')
    up = median(message.az for message in facts.imu)
    rates = dict(turning(facts)) if steering(facts)[0].state == OK else {}
    ratio = ratio_of([(i.wz, rates[i.stamp]) for i in facts.imu if i.stamp in rates])
    return verdict(
        check,
        abs(up - 9.81) < 1.0 and (ratio is None or ratio > 0.0),
        expected,
        f'{up:+.1f} m/s^2 up, yaw rate {"not seen" if ratio is None else f"{ratio:+.2f}"} of '
        'the poses',
        'take sensor.other.imu unchanged: z up with gravity, turned right-handed',
        f'/carla/{facts.expected.role_name}/imu',
    )


def _as_the_poses_move(
    facts: Facts,
    check: str,
    expected: str,
    pairs: List[Tuple[float, float]],
    change: str,
    key: str,
) -> List[Finding]:
    """Judge speeds that a topic tells by those that the poses give, as pairs, m/s."""
    ratio = ratio_of(pairs)
    if ratio is None:
        return not_made(check, expected, _why(facts))
    return verdict(
        check,
        abs(ratio - 1.0) < 0.15,
        expected,
        f'{ratio:.2f} of the poses{_unit(ratio)}',
        change,
        facts.topics[key].name,
    )


def _unit(ratio: float) -> str:
    return ' (km/h)' if abs(ratio - KMPH) < 0.3 else ''


def _why(facts: Facts) -> str:
    return facts.unmade.get('drive', NOT_DRIVEN if not facts.spans else 'it did not move enough')


CHECKS: Dict[str, Callable[[Facts], List[Finding]]] = {
    'odometry frames': frames,
    'finite numbers': numbers,
    'brake': brake,
    'throttle': throttle,
    'steering sign': steering,
    'odometry speed': speed,
    'odometry twist frame': twist,
    'yaw rate': yaw_rate,
    'speedometer': speedometer,
    'vehicle_status speed': status_speed,
    'acceleration': acceleration,
    'vehicle_status control': echo,
    'vehicle_info': info,
    'imu': inertial,
}
