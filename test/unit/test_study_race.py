"""Equal wall-clock by hand: when is evaluated, what is compared, and how much sooner that is."""

import csv
import json

import numpy as np
import pytest

from av_td3_ros.study import failure_tables, race_results
from av_td3_ros.study.race import from_rows, Mark, mean, OURS, Race, ratio, sentence

FIGURES = {'success_rate': 0.5, 'route_completion': 0.7, 'episode_return': 40.0}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_the_clock_stands_while_a_policy_is_evaluated():
    clock, evaluated = Clock(), []

    def evaluate():
        evaluated.append(clock.time)
        clock.time += 45.0
        return FIGURES

    race = Race(1.0, 0.4, evaluate, clock)  # 60 s, every 24 s
    steps = 0
    over = False
    while not over:
        clock.time += 2.0
        steps += 10
        over = race.step(steps, steps // 2)
    assert steps == 300 and len(evaluated) == 3  # at 24, 48 and 60 s of training
    assert [mark.minutes for mark in race.marks] == pytest.approx([0.4, 0.8, 1.0])
    assert [mark.env_steps for mark in race.marks] == [120, 240, 300]
    assert race.seconds == pytest.approx(60.0) and race.share == 1.0
    assert race.step(steps, 0) and len(evaluated) == 3


def test_a_stopped_evaluation_leaves_no_mark():
    clock = Clock()
    race = Race(1.0, 0.5, lambda: None, clock)
    clock.time += 31.0
    assert race.step(1, 1) and race.over and race.marks == []


def marks(*success, every=3.0):
    return [
        Mark(every * (i + 1), 100 * i, 50 * i, {**FIGURES, 'success_rate': value})
        for i, value in enumerate(success)
    ]


def test_curves_are_of_what_all_seeds_have():
    curve = mean([marks(0.0, 0.2, 0.9), marks(0.2, 0.6)], 'success_rate')
    assert curve['mean'] == pytest.approx([0.1, 0.4])
    assert curve['low'] == pytest.approx([0.0, 0.2]) and curve['high'] == pytest.approx([0.2, 0.6])
    assert mean([], 'success_rate')['mean'].shape == (0,)


@pytest.mark.parametrize(
    'ours, peers, best, peer_minutes, our_minutes, at_most',
    [
        ((0.1, 0.6, 0.9), {'a': (0.0, 0.2, 0.6)}, 0.6, 9.0, 6.0, False),
        ((0.7, 0.6, 0.9), {'a': (0.0, 0.2, 0.6)}, 0.6, 9.0, 3.0, True),
        ((0.7, 0.6, 0.9), {'a': (0.0, 0.6, 0.6)}, 0.6, 6.0, 3.0, True),
        ((0.1, 0.2, 0.5), {'a': (0.0, 0.6, 0.1)}, 0.6, 6.0, None, None),
        ((0.1, 0.4, 0.5), {'a': (0.0, 0.1, 0.2), 'b': (0.3, 0.1, 0.0)}, 0.3, 3.0, 6.0, False),
        ((0.1, 0.4, 0.5), {'a': (0.0, 0.0, 0.0)}, 0.0, 3.0, None, None),
    ],
)
def test_how_much_sooner(ours, peers, best, peer_minutes, our_minutes, at_most):
    contestants = {OURS: [marks(*ours)], **{name: [marks(*x)] for name, x in peers.items()}}
    told = ratio(contestants, 'success_rate')
    assert (told['best'], told['peer_minutes']) == (best, peer_minutes)
    assert (told['our_minutes'], told['at_most']) == (our_minutes, at_most)
    if our_minutes is None:
        assert told['ratio'] is None and 'not' in sentence(told, 'success_rate')
    else:
        assert told['ratio'] == pytest.approx(our_minutes / peer_minutes)
        text = sentence(told, 'success_rate')
        assert f'{told["ratio"]:.2f} of the time' in text and ('at most' in text) is at_most


def test_nobody_to_compare_with():
    assert ratio({OURS: [marks(0.5)]}, 'success_rate')['best'] is None
    assert ratio({'a': [marks(0.5)]}, 'success_rate')['ratio'] is None


def result(seed, *success):
    return {
        'seed': seed,
        'threads': 2,
        'settings': 'its settings',
        'halted': 'dead_actor: why' if seed else '',
        'steps_per_second': 10.0,
        'updates_per_second': 5.0 + seed,
        'marks': json.loads(json.dumps([mark._asdict() for mark in marks(*success)])),
    }


def test_results(tmp_path):
    results = {
        OURS: [result(0, 0.6, 0.8), result(1, 0.8, 1.0)],
        'sb3_tuned': [result(0, 0.0, 0.2), result(1, 0.0, 0.4)],
    }
    facts = {'minutes': 6.0, 'every': 3.0, 'episodes': 20, 'seeds': [0, 1]}
    text = race_results.markdown(results, facts)
    assert 'at most 3.0 min: at most 0.50 of the time' in text
    assert '| `sb3_tuned` | 30.0 | 70.0 | 40.0 | 30.0 | 70.0 | 40.0 | 10.0 | 5.5 | 2 |' in text
    assert text.count('was halted') == 2 and '`sb3_tuned`, seed 1, was halted: dead' in text
    data = json.loads(json.dumps(race_results.to_dict(results, facts)))
    assert data['ratios']['success_rate']['ratio'] == pytest.approx(0.5)
    race_results.write_csv(tmp_path / 'a.csv', results)
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert len(rows) == 8 and rows[-1]['success_rate'] == '0.4'
    from PIL import Image

    with Image.open(race_results.draw(tmp_path / 'a.png', results)) as image:
        assert image.width == 1280


def test_marks_survive_json():
    made = marks(0.1, 0.2)
    assert from_rows(json.loads(json.dumps([mark._asdict() for mark in made]))) == made
    lost = from_rows([{**made[0]._asdict(), 'figures': {'episode_return': None}}])
    assert np.isnan(lost[0].figures['episode_return'])


def test_a_run_without_an_evaluation_says_nothing_and_is_told(tmp_path):
    """As after Ctrl-C: it neither slows the mean nor hides the others."""
    lost = {**result(1), 'steps_per_second': None, 'updates_per_second': None}
    results = {OURS: [result(0, 0.6, 0.8), result(1, 0.8, 1.0)], 'sb3': [result(0, 0.2), lost]}
    facts = {'minutes': 6.0, 'every': 3.0, 'episodes': 20, 'seeds': [0, 1]}
    text = race_results.markdown(results, facts)
    assert 'means over them. Of some there are fewer: `sb3` 0.' in text
    assert '| `sb3` | 20.0 | 70.0 | 40.0 | 20.0 | 70.0 | 40.0 | 10.0 | 5.0 | 2 |' in text
    nobody = race_results.markdown({**results, 'sb3': [lost]}, facts)
    assert '`sb3` none.' in nobody and '| `sb3` | - | - | - | - | - | - | - | - | 2 |' in nobody
    whole = race_results.markdown({OURS: results[OURS]}, facts)
    assert 'fewer' not in whole


def test_a_table_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / 'a.csv'
    path.write_text('of before')

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr('av_td3_ros.run_folder.os.replace', killed)
    for write in (race_results.write_csv, failure_tables.write_csv):
        with pytest.raises(KeyboardInterrupt):
            write(path, {})
        assert path.read_text() == 'of before'
