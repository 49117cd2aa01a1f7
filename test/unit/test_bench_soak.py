"""``av-td3 bench soak``: what counts as growth, and what it refuses."""

import json
from types import SimpleNamespace

import psutil
import pytest

from av_td3_ros.cli import bench_soak
from av_td3_ros.cli.bench_soak import judge, Sample, table
from av_td3_ros.cli.main import main


FLAT = {
    'memory_mib': 200.0,
    'resident_mib': 300.0,
    'threads': 8,
    'descriptors': 30,
    'segments': 20,
}


def samples(**grows):
    """An hour of looks; of what grows, its value by the minute."""
    minutes = [0.25 * place for place in range(1, 241)]
    return [
        Sample(minute, 'trainer', **{**FLAT, **{key: at(minute) for key, at in grows.items()}})
        for minute in minutes
    ]


@pytest.mark.parametrize(
    'grows, what',
    [
        ({}, ''),
        ({'memory_mib': lambda minute: 200.0 + 100.0 * (minute < 20.0)}, ''),  # a start: no leak
        ({'memory_mib': lambda minute: 200.0 + 5.0 * (minute % 1.0)}, ''),
        ({'memory_mib': lambda minute: 200.0 + minute}, 'own memory by 15.0 MiB'),
        ({'resident_mib': lambda minute: 300.0 + 5.0 * (minute % 1.0)}, ''),
        ({'resident_mib': lambda minute: 300.0 + minute}, 'resident memory by 15.0 MiB'),
        ({'threads': lambda minute: 8 + (minute > 50.0)}, 'threads from 8 to 9'),
        ({'descriptors': lambda minute: 30 + 2 * (minute > 50.0)}, ''),
        ({'descriptors': lambda minute: 30 + int(minute)}, 'descriptors from 75 to 90'),
        ({'segments': lambda minute: 20 + 3 * (minute > 50.0)}, ''),  # a peer was started again
        ({'segments': lambda minute: 20 + 4 * (minute > 50.0)}, 'segments from 20 to 24'),
        (
            {'segments': lambda minute: 20 + int(minute), 'threads': int},
            'threads from 45 to 60, segments from 65 to 80',
        ),
    ],
)
def test_what_grows_is_named(grows, what):
    (row,) = judge(samples(**grows))
    assert row['grew'] == what
    assert (f'GREW: {what}' if what else 'flat') in table([row])


def test_the_table_has_all_five_columns():
    (row,) = judge(samples(segments=lambda minute: 20 + (minute > 50.0)))
    head, line = table([row]).splitlines()
    assert [cell.strip() for cell in head.split('  ') if cell] == [
        'process',
        'own memory, MiB',
        'resident memory, MiB',
        'threads',
        'descriptors',
        'segments',
    ]
    assert ' '.join(line.split()) == (
        'trainer 200.0 to 200.0 300.0 to 300.0 8 to 8 30 to 30 20 to 21 flat'
    )


def test_a_process_that_came_late_is_compared_as_far_as_it_was_there():
    late = [Sample(59.0, 'policy', **FLAT)]
    assert [row['process'] for row in judge(samples() + late)] == ['trainer']
    assert judge([]) == []


def test_files(tmp_path):
    held = samples()
    bench_soak.write(tmp_path, held, judge(held), {'transitions_lost': 0})
    lines = (tmp_path / 'soak.csv').read_text().splitlines()
    assert len(lines) == 241
    assert lines[0] == 'minute,process,memory_mib,resident_mib,threads,descriptors,segments'
    assert lines[1] == '0.25,trainer,200.0,300.0,8,30,20'
    data = json.loads((tmp_path / 'soak.json').read_text())
    assert data['graph'] == {'transitions_lost': 0}
    assert data['processes'] == [
        {'process': 'trainer', **{key: [value] * 2 for key, value in FLAT.items()}, 'grew': ''}
    ]
    assert (tmp_path / 'soak.png').stat().st_size > 10_000


@pytest.fixture
def graph(monkeypatch):
    """A graph whose one process is this one, and whose time passes with its looks alone."""
    supervisor = pytest.importorskip('av_td3_ros.nodes.supervisor')
    from av_td3_ros.nodes.lives import Lives

    class Graph:
        """Lives for so many ``looks``."""

        looks, restarts, seen, now = 1000, 0, 0, 0.0

        def __init__(self, *_):
            self.status = self.policy_status = None
            self.health, self.lives = {}, Lives()
            own = SimpleNamespace(process=psutil.Process(), restarts=self.restarts)
            self.members = {'trainer': own}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def spin(self, until, timeout):
            Graph.seen, Graph.now = self.seen + 1, self.now + timeout

        def revive(self):
            if self.seen > self.looks:
                raise supervisor.GraphError('trainer ended 4 times')

        def finish(self):
            pass

    monkeypatch.setattr(supervisor, 'Supervisor', Graph)
    monkeypatch.setattr('av_td3_ros.cli.train.catch_stops', list)
    monkeypatch.setattr(bench_soak, 'time', SimpleNamespace(monotonic=lambda: Graph.now))
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')
    return Graph


@pytest.mark.parametrize('looks, code', [(0, 2), (3, 1)])
def test_a_graph_that_dies_half_way_is_a_fault_and_what_was_seen_is_kept(
    tmp_path, graph, capsys, looks, code
):
    graph.looks, graph.restarts = looks, 3
    assert main(['bench', 'soak', '--output', str(tmp_path / 'soak')]) == code
    shown = capsys.readouterr()
    assert shown.err == 'av-td3: trainer ended 4 times\n'
    assert ('written: ' in shown.out) is (looks > 0)
    if looks:
        assert (tmp_path / 'soak' / 'soak.csv').read_text().count('\n') == 1 + looks
        data = json.loads((tmp_path / 'soak' / 'soak.json').read_text())
        assert data['graph']['restarts'] == {'trainer': 3}


@pytest.mark.parametrize(
    'segments, account, code',
    [
        (lambda look: 20, {}, 0),
        (lambda look: 20 + 2 * look, {}, 1),
        (lambda look: 20, {'transitions_lost': 1}, 1),
        (lambda look: 20, {'transitions_duplicated': 1}, 1),
        (lambda look: 20, {'transitions_missed': 1}, 1),
    ],
)
def test_what_grew_or_was_lost_is_told_by_the_exit_code(
    tmp_path, graph, capsys, monkeypatch, segments, account, code
):
    from av_td3_ros.cli import train

    accounts = train.accounts
    monkeypatch.setattr(train, 'accounts', lambda *of: {**accounts(*of), **account})
    monkeypatch.setattr(
        'av_td3_ros.nodes.shared_memory.segments', lambda pid: set(range(segments(graph.seen)))
    )
    monkeypatch.setattr(bench_soak, 'write', lambda *_: None)
    soak = ['bench', 'soak', '--minutes', '1', '--every', '5', '--output', str(tmp_path)]
    assert main(soak) == code
    shown = capsys.readouterr().out
    assert ('GREW: segments from 38 to 44' in shown) is (segments(1) > 20)
    assert (' 0 lost or doubled, 0 missed; ' in shown) is (not account)


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
