"""The judgements of a bridge check, on facts made by hand: each fault by its own name, alone."""

import ast
from dataclasses import asdict, replace
import json
import math
from pathlib import Path

from bridge_facts import made, TICK
import pytest

from av_td3_ros.bridge_check import facts as seen
from av_td3_ros.bridge_check.contract import EXPERIMENTS
from av_td3_ros.bridge_check.finding import FAIL, NOT_MADE, OK
from av_td3_ros.bridge_check.judge import failed, GROUPS, judge
from av_td3_ros.cli import check
from av_td3_ros.cli.main import main


@pytest.fixture(scope='module')
def good():
    return made()


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
    'another vehicle': (one('vehicle_info', rolename='hero'), {'role name'}),
    'nobody of that name': (each('actors', rolename='hero'), {'role name'}),
    'image rate halved': (
        lambda f: f.counts.update(image=f.counts['image'] // 2),
        {'rates'},
    ),
    'odometry doubled': (lambda f: f.counts.update(odometry=f.counts['odometry'] * 2), {'rates'}),
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


def test_facts_without_a_fault_pass_every_check(good):
    findings = [finding for group in judge(good).values() for finding in group]
    assert {f.check: f.found for f in findings if f.state != OK} == {}
    assert {f.check for f in findings} == {name for checks in GROUPS.values() for name in checks}


@pytest.mark.parametrize('name', DEVIATIONS)
def test_a_deviation_is_found_by_its_name_and_by_no_other(name):
    facts = made()
    alter, expected = DEVIATIONS[name]
    alter(facts)
    groups = judge(facts)
    assert set(failed(groups)) == expected
    for finding in (f for group in groups.values() for f in group if f.state == FAIL):
        assert finding.expected and finding.found and finding.advice, finding


def test_every_check_is_failed_by_a_deviation():
    named = {name for checks in GROUPS.values() for name in checks}
    assert named - {check for _, expected in DEVIATIONS.values() for check in expected} == {'tf'}


def test_of_nothing_heard_nothing_is_said_to_be_right():
    facts = made()
    nothing = seen.Facts(
        topics={k: t._replace(publishers=(), subscribers=()) for k, t in facts.topics.items()}
    )
    groups = judge(nothing)
    assert failed(groups) == ['topics']
    said = {f.check for group in groups.values() for f in group if f.state == OK}
    assert said == {'types', 'QoS', 'one publisher', 'no other commander'}  # of those found


def test_a_world_that_never_ticks_fails_although_all_topics_are_there():
    facts = seen.Facts(topics=made().topics, unmade={'silence': 'no frame came'})
    assert failed(judge(facts)) == ['waits for a command']


def test_experiments_left_out_are_said_to_be_so(good):
    facts = replace(
        good,
        handshake=None,
        override=None,
        pause=None,
        reset=None,
        thrown=None,
        route=None,
        spans={},
        speeds={},
        counts={},
        drive_ticks=0,
        collision=[],
        lane_invasion=[],
        unmade=dict.fromkeys(EXPERIMENTS, 'left out'),
    )
    groups = judge(facts)
    assert failed(groups) == []
    left_out = {
        f.check
        for g in groups.values()
        for f in g
        if f.state == NOT_MADE and f.found == 'left out'
    }
    assert {
        'one tick per command',
        'manual override',
        'pause',
        'steering sign',
        'route',
        'set_transform position',
        'collision timing',
    } <= left_out


# -- advice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'alter, text',
    [
        (put(roles=['hero']), 'try --role-name hero'),
        (put(roles=['']), 'without role_name'),
        (each('camera_info', **focal(256 / (2 * math.tan(45.0)))), 'tangent of degrees'),
        (one('reset', found=(20.0, -30.0, 0.7), arrived=-1), 'left-handed'),
        (one('reset', found=(60.0, 60.0, 0.7), arrived=-1), 'actor.pseudo.control'),
        (one('silence', ticks=50, shortest_gap=0.05), 'wait_for_vehicle_control_command:=True'),
        (lambda f: f.counts.update(image=f.counts['image'] // 2), 'sensor_tick'),
        (each('odometry', vx=twist_in_map, vy=lambda m: m.vx * math.sin(m.yaw)), 'minus the yaw'),
        (each('vehicle_status', az=9.81), 'gravity'),
    ],
)
def test_the_advice_names_the_cause(alter, text):
    facts = made()
    offers('collision', 'publishers')(facts)  # a topic is missing, too
    alter(facts)
    told = [f.advice for group in judge(facts).values() for f in group if f.state == FAIL]
    assert any(text in advice for advice in told), told


# -- files and the command ------------------------------------------------------------------------


def test_facts_are_read_back_as_they_were(good, tmp_path):
    file = tmp_path / 'facts.json'
    seen.save(good, file)
    back = seen.load(file)
    assert asdict(back) == asdict(good) and type(back.odometry[0]) is seen.Motion
    assert judge(back) == judge(good)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '{}',
        '[]',
        '{"format": 2}',
        '{"format": 1, "x": 1}',
        '{"format": 1, "clock": 3}',
        '{"format": 1, "odometry": [[1, 2]]}',
        '{"format": 1, "map_name": 3}',
    ],
)
def test_a_file_of_something_else_is_refused(text, tmp_path):
    file = tmp_path / 'facts.json'
    file.write_text(text)
    with pytest.raises(seen.FactsError, match='must be a file of `av-td3 check bridge --save`'):
        seen.load(file)


def test_the_command_judges_a_file_and_says_so_by_its_exit_code(good, tmp_path, capsys):
    file = tmp_path / 'facts.json'
    seen.save(good, file)
    assert main(['check', 'bridge', '--facts', str(file)]) == 0
    assert 'failed' not in capsys.readouterr().out
    bad = made()
    DEVIATIONS['speed in km/h'][0](bad)
    seen.save(bad, file)
    assert main(['check', 'bridge', '--facts', str(file), '--json']) == 1
    told = json.loads(capsys.readouterr().out)
    assert told['failed'] == ['odometry speed'] and told['passed'] is False
    finding = next(f for f in told['findings'] if f['state'] == FAIL)
    assert finding['group'] == 'vehicle' and '(km/h)' in finding['found']


def test_the_table_has_check_expected_found_and_what_to_change(monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    facts = made()
    DEVIATIONS['speed in km/h'][0](facts)
    lines = check.table(judge(facts)).splitlines()
    row = next(number for number, line in enumerate(lines) if 'odometry speed' in line)
    assert 'FAIL' in lines[row] and 'm/s, as the poses move' in lines[row]
    assert '-> /carla/ego_vehicle/odometry: convert it to m/s' in '\n'.join(lines[row:])
    assert max(map(len, lines)) <= 100


def test_a_wrong_option_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(['check', 'bridge', '--image', '800'])
    assert 'must be WIDTHxHEIGHT' in capsys.readouterr().err
    assert main(['check', 'bridge', '--facts', '/no/such/file']) == 2


@pytest.mark.parametrize(
    'options, text',
    [
        (['--fov', '0'], '--fov must be 1 to 179, got 0'),
        (['--step', 'nan'], '--step must be 0.001 to 1, got nan'),
        (['--image', '0x5'], '--image must be 1 to inf, got 0'),
        (['--role-name', 'my car'], "--role-name must be letters, digits and '_'"),
        (['--save', '/no/such/folder/file'], 'No such file or directory'),
    ],
)
def test_nonsense_is_refused_before_anything_is_started(options, text, capsys):
    assert main(['check', 'bridge', *options]) == 2
    assert text in capsys.readouterr().err


def test_judging_needs_no_more_than_the_standard_library():
    folder = Path(seen.__file__).parent
    allowed = {
        'av_td3_ros',
        'bisect',
        'dataclasses',
        'json',
        'math',
        'pathlib',
        'statistics',
        'typing',
    }
    for path in folder.glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split('.')[0] for name in names} <= allowed, path.name


def test_a_glancing_blow_tells_nothing_of_axes():
    facts = made()
    facts.collision[0] = facts.collision[0]._replace(impulse=(1.0, 0.2, 0.0))
    findings = [f for g in judge(facts).values() for f in g if f.check == 'collision impulse']
    assert [f.state for f in findings] == [NOT_MADE]


def test_a_drive_that_hit_something_tells_nothing_of_signs():
    facts = made()
    facts.spans, facts.speeds = {k: facts.spans[k] for k in ('braked', 'off_road')}, {}
    facts.unmade['drive'] = 'it hit something'
    groups = judge(facts)
    assert failed(groups) == []
    why = {f.check: f.found for f in groups['vehicle'] if f.state == NOT_MADE}
    assert why['steering sign'] == why['throttle'] == 'it hit something'
