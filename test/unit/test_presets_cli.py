"""``av-td3 presets``: the list, one preset, the difference of two; for people and as JSON."""

import json

import pytest

from av_td3_ros import presets
from av_td3_ros.cli.main import main

NAMES = presets.names()


def test_the_list_fits_100_columns_and_compares_each(capsys):
    assert main(['presets']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 100
    head = lines[0]
    rows = {line.split()[0]: line for line in lines[1 : len(NAMES) + 1]}
    assert set(rows) == set(NAMES)
    for column, text in (('batch', '32'), ('lr', '0.0003'), ('upd/step', '0.25')):
        assert rows['recommended'][head.index(column) :].startswith(text)
    assert all(any(presets.description(name) in line for line in lines) for name in NAMES)


def test_the_list_as_json(capsys):
    assert main(['presets', '--json']) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item['name'] for item in listed] == list(NAMES)
    assert all(item['values'] == presets.load(item['name']) for item in listed)
    assert all(item['description'] for item in listed)


def test_show_tells_every_value(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '400')
    assert main(['presets', 'show', 'sb3']) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == presets.description('sb3')
    shown = {line.split()[0]: line.split()[1] for line in lines}
    assert shown == {key: presets.text(value) for key, value in presets.load('sb3').items()}
    assert lines[0].endswith('environment steps before the first update')


@pytest.mark.parametrize('order', [('presets', '--json', 'show'), ('presets', 'show', '--json')])
def test_show_as_json(capsys, order):
    assert main([*order, 'sb3']) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown['name'] == 'sb3' and shown['values'] == presets.load('sb3')


def test_diff_tells_key_both_values_and_meaning(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    assert main(['presets', 'diff', 'ddpg', 'fujimoto_code']) == 0
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ['key', 'ddpg', 'fujimoto_code', 'meaning'],
        [
            'trainer.learner.policy_delay',
            '1',
            '2',
            'critic updates per update of actor and targets',
        ],
        ['trainer.learner.target.critics', '1', '2', 'critics: 2 for TD3, 1 for DDPG'],
        [
            'trainer.learner.target.noise',
            '0',
            '0.2',
            'standard deviation of target policy smoothing',
        ],
    ]


def test_a_narrow_terminal_loses_no_word(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '20')
    assert main(['presets', 'diff', 'sb3', 'recommended']) == 0
    narrow = capsys.readouterr().out.split()
    monkeypatch.setenv('COLUMNS', '400')
    main(['presets', 'diff', 'sb3', 'recommended'])
    assert sorted(narrow) == sorted(capsys.readouterr().out.split())


def test_diff_of_the_same_says_so(capsys):
    assert main(['presets', 'diff', 'sb3', 'sb3']) == 0
    assert capsys.readouterr().out == 'sb3 and sb3 do not differ\n'


def test_diff_as_json(capsys, own):
    path = own('learner: {shift_pad: 2}')
    assert main(['presets', 'diff', path, 'recommended', '--json']) == 0
    assert json.loads(capsys.readouterr().out) == {
        'a': path,
        'b': 'recommended',
        'differences': [
            {
                'key': 'trainer.learner.shift_pad',
                'a': 2,
                'b': 4,
                'meaning': 'random shift of the images; 0 for none [px]',
            }
        ],
    }


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['presets', 'show', 'sb4'], "got 'sb4'; did you mean 'sb3'?"),
        (['presets', 'diff', 'sb3', 'nothing'], 'preset must be one of recommended, '),
        (['presets', 'show', 'no/such.yaml'], 'preset file must be readable, got no/such.yaml'),
        (['train', '--preset', 'sb4'], "did you mean 'sb3'?"),
        (
            ['train', '--preset', 'sb3', '--resume', 'runs/x'],
            '--preset must not be given with --resume, got sb3: a run goes on with the settings '
            'in runs/x/config.yaml',
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, arguments, text):
    assert text in refused(*arguments)
