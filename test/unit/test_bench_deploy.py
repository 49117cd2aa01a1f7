"""``av-td3 bench deploy``: its figures by hand, and what it does not measure."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from av_td3_ros.cli import bench_deploy, bench_graph, bench_swap
from av_td3_ros.cli.bench_frames import faults, judge, unknown
from av_td3_ros.cli.main import main
from av_td3_ros.config import RunConfig

PERIOD = 0.05


def test_figures_by_hand():
    # Two that do not count, one that nobody answers, one that is late, one that is answered twice.
    answers = {stamp: [stamp * 1e-5] for stamp in range(1002) if stamp != 500}
    answers[0] = [9.0]
    answers[700] = [0.06]
    answers[800].append(0.2)
    figures = judge(answers, range(2, 1002), PERIOD)
    assert (figures['frames'], figures['commanded']) == (1000, 999)
    assert (figures['missed'], figures['repeated']) == (2, 1)
    values = [answers[stamp][0] * 1e3 for stamp in range(2, 1002) if stamp != 500]
    assert figures['mean_ms'] == pytest.approx(np.mean(values))
    assert figures['p50_ms'] == pytest.approx(np.median(values))
    assert figures['p99_ms'] == pytest.approx(np.percentile(values, 99))
    assert figures['p99_9_ms'] == pytest.approx(np.percentile(values, 99.9))
    assert figures['max_ms'] == pytest.approx(60.0)


def test_no_answer_is_no_figure():
    figures = judge({}, [1, 2], PERIOD)
    assert (figures['frames'], figures['commanded'], figures['missed']) == (2, 0, 2)
    assert np.isnan(figures['p99_ms'])


def test_frames_that_braked_by_hand():
    # Braked in time; braked before the part that counts; told to, but silent: no command at all.
    figures = judge({1: [0.01], 2: [0.01], 3: [0.01]}, [2, 3, 4], PERIOD, braked={1, 3, 4})
    assert (figures['commanded'], figures['braked'], figures['missed']) == (2, 1, 1)


def test_commands_for_no_image_count_while_the_frames_that_count_are_shown():
    sent = {stamp: 10.0 + 0.1 * stamp for stamp in range(6)}
    # A brake before the first that counts is of the start; those behind the last one's period are
    # of a camera that has ended.
    heard = [9.0, 10.19, 10.2, 10.35, 10.59, 10.61, 11.4]
    assert unknown(heard, sent, [2, 3, 4, 5], 0.1) == 3
    assert unknown(heard, sent, [], 0.1) == 0


@pytest.mark.parametrize(
    'found, words',
    [
        ({}, []),
        ({'missed': 9}, []),
        ({'repeated': 1}, ['1 commanded again']),
        ({'braked': 2, 'unknown': 3}, ['2 braked', '3 commands for no image']),
    ],
)
def test_what_makes_a_measurement_worthless_is_said(found, words):
    figures = {'missed': 0, 'repeated': 0, 'braked': 0, 'unknown': 0}
    assert faults({**figures, **found}) == words


@pytest.mark.parametrize('kept', [True, False])
@pytest.mark.parametrize(
    'change, text, code',
    [
        ({}, '0 braked, 0 commands for no image', 0),
        ({'braked': {103}}, '1 braked, 0 commands for no image', 1),
        ({'unknown': [4.01, 0.5]}, '0 braked, 1 commands for no image', 1),
        ({'answers': {103: [0.005, 0.006]}}, '1 commanded again', 1),
    ],
)
def test_a_run_that_brakes_or_commands_too_often_is_no_measurement(
    monkeypatch, capsys, tmp_path, change, text, code, kept
):
    pytest.importorskip('av_td3_ros.nodes.supervisor')
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')  # put back after the bench has chosen its own
    whole = {
        'sent': {100 + turn: 1.0 * turn for turn in range(6)},
        'answers': {100 + turn: [0.005] for turn in range(6)},
        'unknown': [],
        'braked': set(),
        'priority': 0,
    }
    whole['answers'].update(change.get('answers', {}))
    stack = SimpleNamespace(**{**whole, **change, 'answers': whole['answers']})
    config = RunConfig()
    monkeypatch.setattr(bench_deploy.bench_stack, 'prepare', lambda *_: config)
    monkeypatch.setattr(bench_deploy.bench_stack, 'show', lambda *_: None)
    monkeypatch.setattr(bench_deploy.bench_stack, 'drive', lambda *_: (stack, 2))
    output = ['--output', str(tmp_path / 'out')] if kept else []
    assert main(['bench', 'deploy', '--engine', 'onnx', '--rate', '1', *output]) == code
    shown = capsys.readouterr()
    assert text in shown.out
    assert ('no measurement' in shown.err) is bool(code)
    if not kept:
        return
    lines = (tmp_path / 'out' / 'frames.csv').read_text().splitlines()
    assert lines[0] == 'since_first_s,gap_ms,answered_ms,engine,commands,braked'
    assert lines[1].startswith('0.000,,5.00,onnx,') and lines[2].startswith('1.000,1000.00,')
    assert len(lines) == 5
    found = json.loads((tmp_path / 'out' / 'deploy.json').read_text())
    assert found['options']['rate'] == 1.0 and found['machine']['cores'] >= 1
    assert found['deploy'][0]['frames'] == 4


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--seconds', '1'], '--seconds must be >= 2, got 1'),
        (['--rate', '0.5'], '--rate must be 1 to 200 images per second, got 0.5'),
        (['--busy', '-1'], '--busy must be 0 to 64 cores, got -1'),
        (['--camera', '800'], "--camera must be WIDTHxHEIGHT, such as 800x600, got '800'"),
        (['--camera', '0x600'], '--camera must be WIDTHxHEIGHT'),
        (['runs/none'], 'FILE must be an exported policy, got runs/none; make one with'),
    ],
)
def test_nonsense_is_refused(refused, arguments, text):
    assert text in refused('bench', 'deploy', *arguments)


def test_what_is_no_exported_policy_is_refused(refused, tmp_path):
    (tmp_path / 'x').write_text('x')
    assert 'artefact must be a file that' in refused('bench', 'deploy', str(tmp_path / 'x'))


@pytest.mark.parametrize('bench', [bench_deploy, bench_graph, bench_swap])
@pytest.mark.parametrize('domain', ['that of its own choice', '0', ''])
def test_a_bench_commands_no_vehicle_on_the_user_s_domain(monkeypatch, bench, domain):
    if domain not in ('0', ''):
        monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
        domain = str(bench.common.own_domain())
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)
    monkeypatch.setattr(bench.common, 'check_middleware', lambda: None)
    with pytest.raises(AttributeError):
        bench.run(None)  # no options: it ends behind the choice of the domain
    assert os.environ['ROS_DOMAIN_ID'] not in (domain, '0', '')
