"""
The fault campaign in small: it harms a real graph, and each promise that it judges can be broken.
"""

from concurrent.futures import ThreadPoolExecutor
import random
import shutil

import chaos_campaign
from chaos_campaign import Campaign, in_turn, main, SETTINGS
import chaos_faults
from chaos_faults import FAULTS, Scene
from chaos_table import keep, read, Row, table, write
import pytest

from av_td3_ros.config import build_run
from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

GOOD = Row('kill policy', 0, 'SIGKILL', 'recovered', 2.0, 3, 1, True, 0.4, 6.0, '', '', '', '')


def test_a_graph_survives_a_fault_of_every_sort(tmp_path, nothing_left):
    with Campaign(tmp_path) as campaign:
        for fault in ('kill policy', 'flip messages', 'NaN weights', 'torn checkpoint'):
            row = campaign.harm(fault, 0)
            assert row.what and row.ended == 'recovered' and not row.is_failure, row


@pytest.mark.parametrize(
    'broken',
    [
        {'uncommanded': '0.20 m/s gained without throttle'},
        {'out_of_bounds': 'throttle nan'},
        {'torn': 'no whole checkpoint'},
        {'ended': 'stuck'},
        {'ended': 'stopped'},
        {'lost_steps': 1001},
    ],
)
def test_every_promise_can_be_broken(broken):
    assert not GOOD.is_failure and GOOD._replace(**broken).is_failure
    assert not GOOD._replace(ended='stopped', reason='the disk is full').is_failure


def test_the_table_counts_by_fault(tmp_path):
    rows = [GOOD, GOOD._replace(seconds=4.0, lost_steps=9), GOOD._replace(fault='flood')]
    rows[1] = rows[1]._replace(stood=False, fastest=7.25)
    assert '| kill policy | 2 | 2 | 3.0 (4.0) | 9 | 0.40 | 7.2 | 1 | 0 | 0 | 0 |' in table(rows)
    assert len({line.count('|') for line in table(rows).splitlines()}) == 1
    write(tmp_path / 'new', rows)
    assert (tmp_path / 'new' / 'chaos.csv').read_text().count('\n') == 4
    assert list(in_turn(['a', 'b'], 2)) == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]


class Parts:
    """In place of a campaign: every fault takes as many seconds as it is told."""

    seconds = 1.0

    def __init__(self, folder):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def harm(self, name, number):
        return GOOD._replace(fault=name, seed=number, seconds=self.seconds)


def test_a_campaign_is_made_in_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chaos_campaign, 'Campaign', Parts)
    monkeypatch.setattr(chaos_campaign.signal, 'signal', lambda *_: None)
    part = ['--out', str(tmp_path), '--fault', 'flood']
    assert main([*part, '--times', '2']) == 0
    assert main([*part, '--times', '2', '--first-seed', '2', '--fault', 'kill policy']) == 0
    monkeypatch.setattr(Parts, 'seconds', 9.0)
    capsys.readouterr()
    assert main([*part, '--times', '1', '--first-seed', '1']) == 0
    rows = read(tmp_path)
    assert sorted((row.fault, row.seed, row.seconds) for row in rows) == [
        ('flood', 0, 1.0),
        ('flood', 1, 9.0),
        ('flood', 2, 1.0),
        ('flood', 3, 1.0),
        ('kill policy', 2, 1.0),
        ('kill policy', 3, 1.0),
    ]
    whole = table(rows)
    assert (tmp_path / 'chaos.md').read_text() == whole + '\n'
    assert '| flood | 4 | 4 | 1.0 (9.0) |' in whole and whole in capsys.readouterr().out


def test_what_was_written_is_read_back_as_it_was(tmp_path):
    rows = [
        GOOD,
        GOOD,
        GOOD._replace(seed=7, stood=False, reason='a "disk", full\nof it', torn='x'),
    ]
    write(tmp_path, rows)
    assert read(tmp_path) == rows and read(tmp_path / 'nowhere') == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == ['chaos.csv', 'chaos.md']


def test_campaigns_side_by_side_keep_each_others_rows(tmp_path):
    def add(kind):
        for number in range(20):
            keep(tmp_path, [GOOD._replace(fault=kind, seed=number)])

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(add, kind) for kind in ('flood', 'drop', 'flip', 'stop')]:
            done.result()
    assert len(keep(tmp_path, [])) == 80 and keep(None, [GOOD]) == [GOOD]


@pytest.mark.parametrize('old, new', [('seed', 'seeds'), ('True', 'yes'), (',recovered', '')])
def test_a_file_of_another_campaign_is_refused_and_kept(tmp_path, capsys, old, new):
    write(tmp_path, [GOOD])
    file = tmp_path / 'chaos.csv'
    file.write_text(file.read_text().replace(old, new))
    before = file.read_bytes()
    assert main(['--out', str(tmp_path)]) == 2
    assert 'as of this campaign, got' in capsys.readouterr().err and file.read_bytes() == before


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """A campaign whose graph has written three checkpoints and stands."""
    monkeypatch.setattr(chaos_campaign, 'REMOVAL', 0.1)
    run = build_run({**SETTINGS, 'trainer.run_dir': str(tmp_path)}, 'chaos')
    spec = ObsSpec(2, 36, 36, ('speed',))
    agent = TD3(spec, run.trainer.learner, seed=0)
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, agent, spec, env_step=step, version=step)
    made = Campaign(tmp_path)
    made._scene = Scene(None, None, tmp_path, run, {})
    made.again = lambda: checkpoint.save(tmp_path, agent, spec, env_step=30, version=31)
    return made


@pytest.mark.parametrize('file', ['policy.safetensors', 'learner.safetensors', 'checkpoint.json'])
@pytest.mark.parametrize('name', ['step_00000010', 'step_00000030'])
def test_a_torn_checkpoint_beside_whole_ones_is_told(campaign, tmp_path, file, name):
    assert campaign._torn() == ''
    torn = tmp_path / 'checkpoints' / name / file
    torn.write_bytes(torn.read_bytes()[:-9])
    assert name in campaign._torn()
    torn.unlink()
    assert name in campaign._torn()


def test_a_checkpoint_that_the_campaign_damaged_is_its_own_as_it_left_it(
    campaign, tmp_path, monkeypatch
):
    monkeypatch.setattr(chaos_faults, '_save', lambda scene: campaign.again())
    monkeypatch.setattr(chaos_faults, 'kill', lambda node: lambda scene, rng: '')
    for number in range(5):
        chaos_faults.torn_checkpoint(campaign._scene, random.Random(number))
        assert campaign._torn() == ''
    folder = tmp_path / 'checkpoints'
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load_policy(folder / 'step_00000030')
    campaign.again()  # written once more by a resumed trainer: judged as any other
    assert campaign._torn() == ''
    file = folder / 'step_00000030' / 'policy.safetensors'
    file.write_bytes(file.read_bytes()[:-1])
    assert 'step_00000030' in campaign._torn()


def test_a_checkpoint_that_is_being_removed_is_not_torn(campaign, tmp_path, monkeypatch):
    folder = tmp_path / 'checkpoints' / 'step_00000010'
    (folder / 'policy.safetensors').unlink()
    monkeypatch.setattr(chaos_campaign.time, 'sleep', lambda s: s and shutil.rmtree(folder))
    assert campaign._torn() == ''


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--fault', 'earthquake'], f'fault must be one of {", ".join(FAULTS)}; got earthquake'),
        (['--times', '0'], 'times must be at least 1, got 0'),
    ],
)
def test_bad_options_end_with_a_line(capsys, arguments, text):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and text in capsys.readouterr().err
