"""Facts of a bridge that are wrong in one way each, and the checks that must say so."""

import math

from bridge_facts import TICK


def each(name, **change):
    """Change every message of a list: a value, or a function of the message."""

    def alter(facts):
        setattr(
            facts,
            name,
            [
                m._replace(**{k: v(m) if callable(v) else v for k, v in change.items()})
                for m in getattr(facts, name)
            ],
        )

    return alter


def one(name, **change):
    return lambda facts: setattr(facts, name, getattr(facts, name)._replace(**change))


def offers(key, side, *changes):
    """Replace the endpoints of a topic by altered copies of its one."""

    def alter(facts):
        topic = facts.topics[key]
        base = (topic.publishers or topic.subscribers)[0]
        altered = tuple(base._replace(**change) for change in changes)
        facts.topics = {**facts.topics, key: topic._replace(**{side: altered})}

    return alter


def put(**values):
    def alter(facts):
        for name, value in values.items():
            setattr(facts, name, value)

    return alter


def doubled(facts):
    """Every message of the odometry comes twice."""
    facts.odometry = [m for m in facts.odometry for _ in range(2)]
    facts.spans = {name: (2 * a, 2 * b) for name, (a, b) in facts.spans.items()}
    facts.counts.update(odometry=2 * facts.counts['odometry'])


def twist_in_map(m):
    return m.vx * math.cos(m.yaw) - m.vy * math.sin(m.yaw)


def scaled(factor):
    """Intrinsics of the same camera with so many times the pixels."""

    def of(name):
        return lambda m: tuple(v if v in (0.0, 1.0) else factor * v for v in getattr(m, name))

    return {'k': of('k'), 'p': of('p')}


def focal(f):
    return {
        'k': (f, 0.0, 128.0, 0.0, f, 72.0, 0.0, 0.0, 1.0),
        'p': (f, 0.0, 128.0, 0.0, 0.0, f, 72.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    }


DEVIATIONS = {
    'no collision sensor': (offers('collision', 'publishers'), {'topics'}),
    'no listener to set_transform': (offers('set_transform', 'subscribers'), {'topics'}),
    'another type': (offers('speedometer', 'publishers', {'type': 'x/msg/Float64'}), {'types'}),
    'two types': (
        offers('image', 'publishers', {}, {'type': 'x/msg/Y'}),
        {'types', 'one publisher'},
    ),
    'best effort images': (offers('image', 'publishers', {'reliable': False}), {'QoS'}),
    'map not latched': (offers('world_info', 'publishers', {'latched': False}), {'QoS'}),
    'two bridges': (offers('odometry', 'publishers', {}, {'node': '/b'}), {'one publisher'}),
    'a second commander': (
        offers('vehicle_control_cmd', 'publishers', {}),
        {'no other commander'},
    ),
    'a manual commander': (
        offers('vehicle_control_cmd_manual', 'publishers', {}),
        {'no other commander'},
    ),
    'another vehicle': (one('vehicle_info', rolename='hero'), {'role name'}),
    'nobody of that name': (each('actors', rolename='hero'), {'role name'}),
    'image rate halved': (
        lambda f: f.counts.update(image=f.counts['image'] // 2),
        {'rates'},
    ),
    'odometry doubled': (lambda f: f.counts.update(odometry=f.counts['odometry'] * 2), {'rates'}),
    'every odometry twice': (doubled, {'rates'}),
    'speedometer silent': (lambda f: f.counts.update(speedometer=0), {'rates'}),
    'asynchronous': (each('ticks', synchronous=False), {'synchronous mode'}),
    'another step': (each('ticks', fixed_delta_seconds=0.1), {'time step'}),
    'clock backwards': (lambda f: f.clock.insert(50, 0), {'clock'}),
    'clock too fast': (lambda f: put(clock=[2 * c for c in f.clock])(f), {'clock'}),
    'a second ticker': (each('ticks', frame=lambda m: 2 * m.frame), {'frame numbers'}),
    'image stamps a frame late': (
        lambda f: [
            each('image', stamp=lambda m: m.stamp + TICK)(f),
            put(rest={**f.rest, 'image': f.rest['image'] + TICK})(f),
        ],
        {'stamps'},
    ),
    'status stamps off': (
        lambda f: [
            each('vehicle_status', stamp=lambda m: m.stamp + TICK * 7 // 10)(f),
            put(rest={**f.rest, 'vehicle_status': f.rest['odometry'] + TICK * 7 // 10})(f),
        ],
        {'stamps'},
    ),
    'image stamps of another clock': (
        each('image', stamp=lambda m: m.stamp + 10**15),
        {'stamps'},
    ),
    'does not wait': (one('silence', ticks=50, shortest_gap=0.05), {'waits for a command'}),
    'stands for ever': (one('silence', ticks=0), {'waits for a command'}),
    'two ticks a command': (one('handshake', ticks=40), {'one tick per command'}),
    'commands without effect': (one('handshake', ticks=1), {'one tick per command'}),
    'one tick late': (
        lambda f: one('handshake', applied=(1.0, *f.handshake.applied[:-1]))(f),
        {'command lag'},
    ),
    'no override': (one('override', automatic=1, manual=0), {'manual override'}),
    'no pause': (one('pause', ticks=2), {'pause'}),
    'a pause unsaid': (one('pause', told=(False, True)), {'pause'}),
    'steps twice': (one('pause', steps=(2, 2)), {'step once'}),
    'second step lost': (one('pause', steps=(1, 0)), {'step once'}),
    'never plays': (one('pause', played=0, told=(True, False)), {'play'}),
    'rgb8': (each('image', encoding='rgb8', step=768, size=768 * 144), {'image encoding'}),
    'cut images': (each('image', size=1000), {'image layout'}),
    'big-endian': (each('image', big_endian=True), {'image layout'}),
    'small images': (
        lambda f: [
            each('image', width=128, height=72, step=512, size=512 * 72)(f),
            each('camera_info', width=128, height=72, **scaled(0.5))(f),
        ],
        {'image size'},
    ),
    'a black camera': (each('image', spread=0), {'image content'}),
    'a frozen camera': (each('image', checksum=7), {'image content'}),
    'argb': (each('image', alpha=3), {'image content'}),
    'no prefix': (each('image', frame_id='rgb_front'), {'camera frame'}),
    'info of another camera': (
        each('camera_info', width=512, height=288, **scaled(2.0)),
        {'camera_info size'},
    ),
    'another fov': (each('camera_info', **focal(200.0)), {'focal length'}),
    'tangent of degrees': (
        each('camera_info', **focal(256 / (2 * math.tan(45.0)))),
        {'focal length'},
    ),
    'off centre': (each('camera_info', k=lambda m: m.k[:2] + (100.0,) + m.k[3:]), {'projection'}),
    'distorted': (each('camera_info', d=(0.1, 0.0, 0.0, 0.0, 0.0)), {'projection'}),
    'ids of classes': (each('segmentation', spread=22), {'semantic camera'}),
    'a slow server': (put(drive_seconds=100.0), {'frames per second'}),
    'a number that is none': (
        lambda f: f.vehicle_status.append(f.vehicle_status[-1]._replace(ax=math.nan)),
        {'finite numbers'},
    ),
    'an autopilot': (
        lambda f: f.spans.update(braked=f.spans['ahead']),
        {'brake'},
    ),
    'odometry in odom': (each('odometry', frame_id='odom'), {'odometry frames'}),
    'yaw in another frame': (
        each('odometry', yaw=lambda m: -m.yaw, wz=lambda m: -m.wz),
        {'throttle', 'steering sign'},
    ),
    'drives backwards': (each('odometry', x=lambda m: -m.x, y=lambda m: -m.y), {'throttle'}),
    'does not drive': (each('odometry', x=0.0, y=0.0), {'throttle'}),
    'speed in km/h': (each('odometry', vx=lambda m: 3.6 * m.vx), {'odometry speed'}),
    'twist in map': (
        each('odometry', vx=twist_in_map, vy=lambda m: m.vx * math.sin(m.yaw)),
        {'odometry twist frame'},
    ),
    'yaw rate to the right': (each('odometry', wz=lambda m: -m.wz), {'yaw rate'}),
    'yaw rate in deg/s': (each('odometry', wz=lambda m: math.degrees(m.wz)), {'yaw rate'}),
    'speedometer in km/h': (lambda f: f.speeds.update(ahead=(21.6, 6.0)), {'speedometer'}),
    'speedometer unsigned wrong': (lambda f: f.speeds.update(ahead=(-6.0, 6.0)), {'speedometer'}),
    'status in km/h': (
        each('vehicle_status', velocity=lambda m: 3.6 * m.velocity),
        {'vehicle_status speed'},
    ),
    'gravity in the acceleration': (each('vehicle_status', az=9.81), {'acceleration'}),
    'acceleration left-handed': (each('vehicle_status', ay=lambda m: -m.ay), {'acceleration'}),
    'steer turned': (lambda f: f.speeds.update(steer=(-0.3, 0.3)), {'vehicle_status control'}),
    'degrees in vehicle_info': (one('vehicle_info', max_steer=70.0), {'vehicle_info'}),
    'radius in m': (one('vehicle_info', radius=0.35), {'vehicle_info'}),
    'no gravity in the imu': (each('imu', az=0.0), {'imu'}),
    'imu turned': (each('imu', wz=lambda m: -m.wz), {'imu'}),
    'no map': (put(map_name='', opendrive=0), {'world_info'}),
    'an id twice': (lambda f: put(actors=f.actors * 2)(f), {'actor ids', 'role name'}),
    'set_transform ignored': (
        one('reset', found=(60.0, 60.0, 0.7), arrived=-1),
        {'set_transform position'},
    ),
    'set_transform mirrored': (
        one('reset', found=(20.0, -30.0, 0.7), arrived=-1),
        {'set_transform position'},
    ),
    'set_transform late': (one('reset', arrived=9), {'set_transform delay'}),
    'heading mirrored': (one('reset', found=(20.0, 30.0, -0.7)), {'set_transform heading'}),
    'thrown by a reset': (one('reset', speed_there=9.0), {'velocity after set_transform'}),
    'slides': (one('reset', speed_after=0.8), {'stands after reset'}),
    'velocity in map axes': (one('thrown', found=((3.8, 3.2),)), {'set_target_velocity'}),
    'velocity ignored': (one('thrown', found=((0.0, 0.0),)), {'set_target_velocity'}),
    'no route': (put(route=None), {'route'}),
    'a coarse route': (one('route', spacing=10.0), {'route'}),
    'no collision event': (put(collision=[]), {'collision timing'}),
    'collision stamped late': (
        each('collision', stamp=lambda m: m.stamp + 10 * TICK, tick=lambda m: m.tick + 10 * TICK),
        {'collision timing'},
    ),
    'collision arrives late': (
        each('collision', tick=lambda m: m.tick + 10 * TICK),
        {'collision timing'},
    ),
    'collision of nobody': (each('collision', actor=77), {'collision event'}),
    'impulse turned': (
        each('collision', impulse=lambda m: (m.impulse[0], -m.impulse[1], 0.0)),
        {'collision impulse'},
    ),
    'lane event late': (
        each('lane_invasion', tick=lambda m: m.tick + 10 * TICK),
        {'lane invasion timing'},
    ),
    'lane code 11': (each('lane_invasion', codes=(11,)), {'lane invasion event'}),
}
