"""The page: whole, the same every time, without network or script, and of whatever there is."""

import base64
import html.parser
import io
import json
import re

import numpy as np
from PIL import Image
import pytest

pytest.importorskip('jinja2')
pytest.importorskip('matplotlib')

from av_td3_ros.report import charts, frames, page, runs, series, tables  # noqa: E402
from made_runs import evaluation, made, replay  # noqa: E402

ALERTS = [
    (1500, 'saturation', 'warn', 'raised'),
    (1800, 'saturation', 'warn', 'cleared'),
    (9000, 'q_gap', 'halt', 'raised'),
]
VOID = {'meta', 'link', 'img', 'br', 'input', 'hr'}


class Checker(html.parser.HTMLParser):
    """Reads a page: every element closed, every id there once, no address to be fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags = [], [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        for name, value in attributes:
            if name == 'id':
                self.ids.append(value)
            if name in ('src', 'href', 'xlink:href', 'action', 'data'):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def wrote_alerts(path, alerts):
    rows = [
        f'{step},0,"{name}",{action},{state},1,2,"a, b"' for step, name, action, state in alerts
    ]
    head = 'env_step,updates,name,action,state,value,limit,text'
    (path / 'alerts.csv').write_text('\n'.join([head, *rows, '']))


def checked(text):
    """Return the checker that has read a page."""
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    assert all(re.match(r'data:|#', address) for address in checker.addresses)
    assert not re.search(r'@import|url\((?!#)', text) and 'script' not in checker.tags
    return checker


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return a run folder with everything that a page can show."""
    path = tmp_path_factory.mktemp('runs') / 'whole'
    made(path, settings={'trainer.learner.tau': 0.02})
    replay(path)
    wrote_alerts(path, ALERTS)
    random = evaluation(0.1, policy='random')
    success = {'success_rate': {'mean': 0.85, 'low': 0.64, 'high': 0.95}}
    for name, more in (
        ('evaluation', {'others': [random], 'notes': ['Roads are <empty>.'], 'metrics': success}),
        ('evaluation_frozen_camera', {'metrics': {'success_rate': {'mean': 0.0}}}),
    ):
        (path / name).mkdir(exist_ok=True)
        found = evaluation(
            0.9, **{**more, 'metrics': {**evaluation(0.9)['metrics'], **more['metrics']}}
        )
        (path / name / 'evaluation.json').write_text(json.dumps(found))
    return path


def evaluated(path, name, share, **more):
    """Write an evaluation with a success rate."""
    (path / name).mkdir(parents=True)
    metrics = {'success_rate': {'mean': share, 'low': share - 0.2, 'high': share + 0.2}}
    text = json.dumps(evaluation(0.9, **{'map': 'town', 'metrics': metrics, **more}))
    (path / name / 'evaluation.json').write_text(text)


@pytest.mark.parametrize(
    'key, other',
    [
        ('env_step', 9000),
        ('env_step', None),
        ('vehicles', 20),
        ('map', 'random_town:3'),
        ('routes', 'random'),
        ('seed', 7),
        ('weather', 'wet_noon'),
        ('camera', 'frozen'),
    ],
)
def test_success_with_a_frozen_camera_is_compared_with_that_of_the_same_policy(
    tmp_path, key, other
):
    path = made(tmp_path / 'run', 1000)
    evaluated(path, 'evaluation_frozen_camera', 0.1, camera='frozen')
    evaluated(path, 'evaluation', 0.8, **{key: other})
    assert tables.evaluation_notes([runs.read(path)]) == [
        'run: success 10% with a frozen camera at step 10,000; with a live one there is no '
        'evaluation of that step, world and routes.'
    ]
    evaluated(path, 'evaluation_10k', 0.7)
    assert tables.evaluation_notes([runs.read(path)]) == [
        'run: success 70%, and 10% with a frozen camera: it looks.'
    ]


def test_a_policy_that_drives_as_well_by_a_frozen_camera_is_not_said_to_look(tmp_path):
    path = made(tmp_path / 'run', 1000)
    evaluated(path, 'evaluation_frozen_camera', 0.7, camera='frozen')
    evaluated(path, 'evaluation', 0.9)
    assert tables.evaluation_notes([runs.read(path)]) == [
        'run: success 90%, and 70% with a frozen camera: nothing shows that it looks.'
    ]


def test_a_map_is_told_by_its_name(tmp_path):
    path = made(tmp_path / 'run', 1000)
    evaluated(path, 'evaluation', 0.7, map='/far/away/Town01.xodr', env_step=20_001, seed=12345)
    found = {row.head: row.cells[0].text for row in tables.evaluation_rows([runs.read(path)])}
    assert found['map'] == 'Town01.xodr' and found['policy of step'] == '20,001'
    assert found['seed'] == '12345'
    assert tables._fact('env_step', None) == 'None'  # of an older version


@pytest.fixture(scope='module')
def text(whole):
    """Return its page."""
    return page.render([runs.read(whole)])


def test_the_page_holds_every_section(text):
    checker = checked(text)
    assert (
        text.count('<svg viewBox') == 6 + 3 + 6 + 1 + 1
    )  # driving, clock, learner, health, reward
    assert text.count('<img') == 2 * frames.PICTURES
    for words in (
        'NO-GO</strong> at the gate of 10k steps',
        'q gap',
        '85 to 93',
        'random',
        'trainer.learner.tau',
        'Training, the last 40 episodes',
        'policy of step',
        'Roads are &lt;empty&gt;.',
        'success 85%, and 0% with a frozen camera',
    ):
        assert words in text
    assert 'fp32' in text and checker.tags >= {'details', 'table', 'main'}


def test_the_same_run_gives_the_same_bytes(whole, text):
    assert page.render([runs.read(whole)]) == text


def test_several_runs_stand_side_by_side(tmp_path):
    found = [runs.read(made(tmp_path / name, 2000, seed)) for seed, name in enumerate('ab')]
    text = page.render(found)
    checked(text)
    assert 'report of 2 runs' in text and 'a, b</li>' in text
    assert 'from the smallest to the largest' in text
    assert len(tables.overview(found)[0].cells) == 2


@pytest.mark.parametrize('name', ['<b>&"x', '$\\nothing$', 'ä\u202e{{ 6*7777 }}'])
def test_names_cannot_break_the_page(tmp_path, name):
    """Of the folder, an alert, a reward term, a policy, a machine, a setting: none is trusted."""
    path = made(tmp_path / name)
    wrote_alerts(path, [(1500, name.replace('"', '""'), 'warn', 'raised')])
    text = (path / 'episodes.csv').read_text()
    term = 'reward_' + name.replace('"', '')
    (path / 'episodes.csv').write_text(text.replace('reward_progress', term))
    (path / 'summary.json').write_text(json.dumps({'machine': {name: name}, 'arithmetic': name}))
    (path / 'config.yaml').write_text(json.dumps({'simulator': {'map': name, name: name}}))
    (path / 'evaluation').mkdir()
    text = json.dumps(evaluation(0.9, policy=name, map=name))
    (path / 'evaluation' / 'evaluation.json').write_text(text)
    text = page.render([runs.read(path)])
    checked(text)
    assert '<b>' not in text
    assert ('{{ 6*7777 }}' in text) is ('{{' in name) and '46662' not in text


def test_a_long_run_has_a_page_of_bounded_size(tmp_path):
    """Thousands of episodes and alerts: as many points, rows and lines as of a short one."""
    path = made(tmp_path / 'run', 500_000)
    wrote_alerts(
        path,
        [
            (step, f'alert_{step % 50}', 'warn', ('raised', 'cleared')[step // 50 % 2])
            for step in range(1000, 500_000, 50)
        ],
    )
    text = page.render([runs.read(path)])
    checked(text)
    assert len(text) < 600_000 and 'The last 100 of 4990; alerts.csv has all' in text
    assert 'Training, the last 40 episodes' in text


def test_a_run_that_was_resumed_is_drawn_once(tmp_path):
    """Killed at 10,000 and resumed at 5,000: its curve goes through what was driven last."""
    path = made(tmp_path / 'run')
    text = (path / 'episodes.csv').read_text().splitlines(keepends=True)
    (path / 'episodes.csv').write_text(''.join([*text, *text[51:]]))
    curve = series.episode_curve(runs.read(path), 'length', series.STEPS)
    assert list(curve.x) == [100.0 * number for number in range(1, 101)]


@pytest.mark.parametrize('kept', ['config.yaml', 'episodes.csv', 'metrics.csv', 'summary.json'])
def test_what_can_be_shown_is_shown(tmp_path, kept):
    path = made(tmp_path / 'run')
    for file in path.iterdir():
        if file.name != kept:
            file.unlink()
    text = page.render([runs.read(path)])
    checked(text)
    assert ('<svg' in text) is kept.endswith('.csv')
    assert 'NO-GO' in text and 'There is no' in text


def test_why_a_run_was_halted_is_told_first(tmp_path):
    path = made(tmp_path / 'run', 1000)
    (path / 'summary.json').write_text('{"halted": "dead_actor: it never moves again <b>"}')
    text = page.render([runs.read(path)])
    assert 'halted: dead_actor: it never moves again &lt;b&gt;' in text.partition('<main>')[0]


def test_one_episode_is_enough(tmp_path):
    text = page.render([runs.read(made(tmp_path / 'run', 100))])
    checked(text)
    assert 'holds no frames' in text and '</strong> at the gate of 2k steps' in text


def test_values_that_are_not_finite_are_not_drawn(tmp_path):
    path = made(tmp_path / 'run', bad={'critic_loss': float('nan'), 'feature_l2': float('inf')})
    run = runs.read(path)
    drawn = charts.curves(charts.LEARNING, series.groups([run]), series.STEPS)
    assert len(drawn) == len(charts.LEARNING)
    assert charts.not_finite([run]) == [
        'run: not finite, and not drawn: Loss of the critics (10 records), Image features '
        '(10 records).'
    ]
    assert not re.search(r'\b(nan|inf)\b', ''.join(drawn))


def pixels(picture):
    """Return the pixels of a picture of the page."""
    data = base64.b64decode(picture.source.partition(',')[2])
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_pictures_are_those_of_the_episode(whole):
    best, worst = frames.strips(runs.read(whole))
    assert 'at step 10,000' in best.text and 'at step 9,500' not in best.text
    assert [p.step for p in best.pictures] == [0, 14, 29, 43, 57, 71, 86, 100]
    for picture in best.pictures:
        assert (pixels(picture) == 255 * picture.step // 100).all()
    assert worst.text != best.text


@pytest.mark.parametrize('storage', ['compressed', 'mapped'])
def test_frames_that_cannot_be_read_are_left_out(tmp_path, storage):
    path = made(tmp_path / 'run')
    replay(path, storage=storage)
    assert frames.strips(runs.read(path)) == []


def test_a_torn_replay_is_left_out(tmp_path):
    path = made(tmp_path / 'run')
    replay(path)
    for file in (path / 'replay').glob('*.npz'):
        file.write_bytes(file.read_bytes()[:1000])
    assert frames.strips(runs.read(path)) == []


def test_frames_that_are_broken_are_left_out(tmp_path):
    path = made(tmp_path / 'run')
    replay(path)
    for file in (path / 'replay').glob('*.npz'):
        data = bytearray(file.read_bytes())
        at = data.index(b'frame.npy') + 2000
        data[at] ^= 255
        file.write_bytes(data)
    assert frames.strips(runs.read(path)) == []


def test_an_alert_stands_until_it_is_cleared(whole):
    run = runs.read(whole)
    assert charts.spans(run) == [
        ('saturation', 'warn', 1500.0, 1800.0),
        ('q_gap', 'halt', 9000.0, 10_000.0),
    ]


def test_a_warning_that_becomes_a_halt_is_drawn_as_both(tmp_path):
    path = made(tmp_path / 'run')
    rows = [(1000, 'warn', 'raised'), (1500, 'halt', 'raised'), (1700, 'halt', 'cleared')]
    lines = [f'{step},{step},q_gap,{action},{state},text' for step, action, state in rows]
    (path / 'alerts.csv').write_text(
        '\n'.join(['env_step,updates,name,action,state,text', *lines, ''])
    )
    assert charts.spans(runs.read(path)) == [
        ('q_gap', 'warn', 1000.0, 1500.0),
        ('q_gap', 'halt', 1500.0, 1700.0),
    ]


def test_settings_are_those_that_differ(whole):
    rows = tables.setting_rows([runs.read(whole)])
    assert [row.head for row in rows] == ['trainer.learner.tau']
    assert [cell.text for cell in rows[0].cells] == ['0.01', '0.02']
