"""``av-td3 bench deploy``: its figures by hand, and what it does not measure."""

import os

import numpy as np
import pytest

from av_td3_ros.cli import bench_deploy, bench_graph, bench_swap
from av_td3_ros.cli.bench_frames import judge

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
