"""The judgements of a bridge check, on facts made by hand: each fault by its own name, alone."""

import ast
from dataclasses import asdict, replace
import json
import math
from pathlib import Path

from bridge_facts import made
from bridge_faults import DEVIATIONS, each, focal, offers, one, put, twist_in_map
import pytest

from av_td3_ros.bridge_check import facts as seen, judge_vehicle
from av_td3_ros.bridge_check.contract import EXPERIMENTS
from av_td3_ros.bridge_check.finding import FAIL, NOT_MADE, OK
from av_td3_ros.bridge_check.judge import failed, GROUPS, judge
from av_td3_ros.cli import check
from av_td3_ros.cli.main import main


@pytest.fixture(scope='module')
def good():
    return made()


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


@pytest.mark.parametrize('driven', [0.0, -0.3, 0.5])
def test_a_speedometer_is_not_compared_with_a_car_that_stands(driven):
    facts = made()
    facts.speeds['ahead'] = 4.0, driven
    (finding,) = judge_vehicle.speedometer(facts)
    assert finding.state == NOT_MADE and finding.found == 'it did not move enough'


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
        (each('image', encoding='rgb8', step=768), 'reads all encodings of bridge/images.py'),
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
