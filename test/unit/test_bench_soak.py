"""``av-td3 bench soak``: what counts as growth, and what it refuses."""

import json
from types import SimpleNamespace

import psutil
import pytest

from av_td3_ros.cli import bench_soak
from av_td3_ros.cli.bench_soak import judge, Sample, table
from av_td3_ros.cli.main import main


def samples(memory=lambda minute: 200.0, threads=lambda minute: 8, descriptors=lambda minute: 30):
    minutes = [0.25 * place for place in range(1, 241)]
    return [
        Sample(minute, 'trainer', memory(minute), threads(minute), descriptors(minute))
        for minute in minutes
    ]


@pytest.mark.parametrize(
    'grows, what',
    [
        ({}, ''),
        ({'memory': lambda minute: 200.0 + 100.0 * (minute < 20.0)}, ''),  # a start is no leak
        ({'memory': lambda minute: 200.0 + 5.0 * (minute % 1.0)}, ''),
        ({'memory': lambda minute: 200.0 + minute}, 'memory by 15.0 MiB'),
        ({'threads': lambda minute: 8 + (minute > 50.0)}, 'threads from 8 to 9'),
        ({'descriptors': lambda minute: 30 + 2 * (minute > 50.0)}, ''),
        ({'descriptors': lambda minute: 30 + int(minute)}, 'descriptors from 75 to 90'),
    ],
)
def test_what_grows_is_named(grows, what):
    (row,) = judge(samples(**grows))
    assert row['grew'] == what
    assert (f'GREW: {what}' if what else 'flat') in table([row])


def test_a_process_that_came_late_is_compared_as_far_as_it_was_there():
    late = [Sample(59.0, 'policy', 1.0, 1, 1)]
    assert [row['process'] for row in judge(samples() + late)] == ['trainer']
    assert judge([]) == []


def test_files(tmp_path):
    held = samples()
    bench_soak.write(tmp_path, held, judge(held), [5, 6], {'transitions_lost': 0})
    assert (tmp_path / 'soak.csv').read_text().count('\n') == 241
    data = json.loads((tmp_path / 'soak.json').read_text())
    assert data['processes'][0]['threads'] == [8, 8] and data['graph'] == {'transitions_lost': 0}
    assert (tmp_path / 'soak.png').stat().st_size > 10_000


@pytest.mark.parametrize('looks, code', [(0, 2), (3, 1)])
def test_a_graph_that_dies_half_way_is_a_fault_and_what_was_seen_is_kept(
    tmp_path, monkeypatch, capsys, looks, code
):
    supervisor = pytest.importorskip('av_td3_ros.nodes.supervisor')
    from av_td3_ros.nodes.lives import Lives

    class Graph:
        """Lives for so many looks; its one process is this one."""

        def __init__(self, *_):
            self.status = self.policy_status = None
            self.health, self.lives, self.looks = {}, Lives(), 0
            self.members = {'trainer': SimpleNamespace(process=psutil.Process(), restarts=3)}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def spin(self, until, timeout):
            self.looks += 1

        def revive(self):
            if self.looks > looks:
                raise supervisor.GraphError('trainer ended 4 times')

    monkeypatch.setattr(supervisor, 'Supervisor', Graph)
    monkeypatch.setattr('av_td3_ros.cli.train.catch_stops', list)
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')
    assert main(['bench', 'soak', '--output', str(tmp_path / 'soak')]) == code
    shown = capsys.readouterr()
    assert shown.err == 'av-td3: trainer ended 4 times\n'
    assert ('written: ' in shown.out) is (looks > 0)
    if looks:
        assert (tmp_path / 'soak' / 'soak.csv').read_text().count('\n') == 1 + looks
        data = json.loads((tmp_path / 'soak' / 'soak.json').read_text())
        assert data['graph']['restarts'] == {'trainer': 3}


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--minutes', '0'], '--minutes must be above 0, got 0'),
        (['--every', 'nan'], '--every must be above 0, got nan'),
        (['--minutes', '1'], '--minutes must be at least 8 looks long, got 1'),
    ],
)
def test_nonsense_is_refused(refused, monkeypatch, arguments, text):
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')  # put back after the bench has chosen its own
    assert text in refused('bench', 'soak', *arguments)
