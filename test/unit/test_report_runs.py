"""A run of any age, broken or growing: what is there is read, what is not is told."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from av_td3_ros import curves
from av_td3_ros.cli.main import main
from av_td3_ros.gate_evidence import current
from av_td3_ros.options import ConfigError
from av_td3_ros.report import runs, series, tables
from av_td3_ros.run_folder import RunFolder
from made_runs import episode, evaluation, made

NAN = math.nan


def test_a_whole_run_is_read_without_a_note(tmp_path):
    found = runs.read(made(tmp_path / 'whole'))
    assert found.notes == () and found.alerts == []
    assert (found.name, found.env_steps) == ('whole', 10_000)
    assert len(found.metrics['env_step']) == 90 and len(found.episodes['reason']) == 100
    assert np.isnan(found.metrics['q_policy_mean']).sum() == 45  # empty where not computed
    assert found.settings['trainer.seed'] == 0


@pytest.mark.parametrize('name', ['no/such', 'empty', 'file'])
def test_what_is_no_run_is_refused(tmp_path, name):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='a run folder must be given, got .*holds|where there'):
        runs.read(tmp_path / name)


def test_half_a_line_at_the_end_is_left_out_and_told(tmp_path):
    path = made(tmp_path)
    for name in ('metrics.csv', 'episodes.csv'):
        text = (path / name).read_text()
        (path / name).write_text(text[:-20])
    found = runs.read(path)
    assert len(found.metrics['env_step']) == 89 and len(found.episodes['reason']) == 99
    assert sum('ends within a row' in note for note in found.notes) == 2


def test_rows_that_do_not_fit_are_left_out_and_counted(tmp_path):
    path = made(tmp_path)
    with (path / 'metrics.csv').open('a') as file:
        file.write('1,2\n3\n')
    found = runs.read(path)
    assert 'metrics.csv: 2 rows do not fit its head, and are left out.' in found.notes
    assert len(found.metrics['env_step']) == 90


def test_rows_without_a_step_are_left_out_and_told(tmp_path):
    path = made(tmp_path, 2000)
    head, *lines = (path / 'metrics.csv').read_text().splitlines()
    (path / 'metrics.csv').write_text(
        '\n'.join([head, *(',' + line.partition(',')[2] for line in lines), ''])
    )
    found = runs.read(path)
    assert found.notes == ('metrics.csv: 10 rows tell no step, and are left out.',)
    assert len(series.metric_curve(found, 'td_error', series.STEPS).x) == 0


def test_what_is_not_finite_is_kept_apart_from_what_is_not_computed(tmp_path):
    path = made(tmp_path, bad={'critic_loss': math.nan, 'td_error': ''})
    metrics = runs.read(path).metrics
    assert np.isinf(metrics['critic_loss'][-1]) and np.isnan(metrics['td_error'][-1])


def test_a_run_of_an_older_version_has_no_metrics_and_no_alerts(tmp_path):
    path = made(tmp_path)
    (path / 'metrics.csv').unlink()
    found = runs.read(path)
    assert found.metrics == {} and found.alerts is None
    assert 'There is no metrics.csv.' in found.notes and len(found.episodes['reason']) == 100


@pytest.mark.parametrize('text', ['', 'env_step,outcome\n', 'x\n1\n'])
def test_a_table_of_another_kind_is_left_out(tmp_path, text):
    path = made(tmp_path)
    (path / 'episodes.csv').write_text(text)
    found = runs.read(path)
    assert found.episodes == {} and found.driven == {} and 'episodes.csv' in found.notes[0]


def test_a_run_without_episodes_says_so(tmp_path):
    path = made(tmp_path)
    head = (path / 'episodes.csv').read_text().splitlines()[0]
    (path / 'episodes.csv').write_text(head + '\n')
    found = runs.read(path)
    assert found.notes == ('No episode has ended yet.',) and found.driven == {}


def test_files_that_are_not_whole_are_told(tmp_path):
    path = made(tmp_path)
    (path / 'summary.json').write_text('{"env_steps": 10')
    (path / 'config.yaml').write_text('trainer: {')
    found = runs.read(path)
    assert found.settings == {} and found.summary == {} and found.env_steps == 10_000
    assert 'summary.json is not whole, and is left out.' in found.notes
    assert 'There is no config.yaml that can be read.' in found.notes


@pytest.mark.parametrize(
    'data, low, note',
    [
        (evaluation(0.9), 0.85, ''),
        ({'episodes': 20, 'route_completion': 0.9}, math.nan, 'older version'),
        ({'metrics': {'route_completion': {'mean': None}}}, None, ''),
        ({'metrics': [1]}, None, ''),
        ([1], None, 'holds no mapping'),
    ],
)
def test_evaluations_of_every_age_are_read(tmp_path, data, low, note):
    path = made(tmp_path)
    (path / 'evaluation').mkdir()
    (path / 'evaluation' / 'evaluation.json').write_text(json.dumps(data))
    found = runs.read(path)
    measured = found.evaluation.get('metrics', {}).get('route_completion')
    assert (
        (measured is None) if low is None else measured['low'] == pytest.approx(low, nan_ok=True)
    )
    assert not note or note in found.notes[0]


@pytest.mark.parametrize(
    'name, data, note',
    [
        ('evaluation/evaluation.json', {'env_step': '10000'}, "env_step must be a number, got '1"),
        ('evaluation/evaluation.json', {'env_step': True}, 'env_step must be a number, got True'),
        ('evaluation/evaluation.json', {'env_step': NAN}, 'env_step must be a number, got nan'),
        ('evaluation/evaluation.json', {'episodes': '20'}, "episodes must be a number, got '20'"),
        ('evaluation/evaluation.json', {'episodes': None}, 'episodes must be a number, got None'),
        ('evaluation/evaluation.json', {'notes': None}, 'notes must be a list, got None'),
        (
            'evaluation/evaluation.json',
            {'others': 'x' * 99},
            f"others must be a list, got '{'x' * 39}...",
        ),
        ('summary.json', {'updates': None, 'env_steps': 10_000}, 'updates must be a number'),
        ('summary.json', {'env_steps': 'many'}, "env_steps must be a number, got 'many'"),
        ('config.yaml', {'episode_manager.route_length_min': None}, 'must be a number, got None'),
        ('config.yaml', {'trainer.exploration.warmup_steps': 'many'}, "a number, got 'many'"),
        ('config.yaml', {'trainer.learner.optimiser.clip': [1]}, 'must be text, got [1]'),
        (
            'config.yaml',
            {'simulator.wait_for_vehicle_control_command': 1},
            'must be true or false',
        ),
    ],
)
def test_what_has_another_type_is_left_out_and_told(tmp_path, name, data, note):
    path = made(tmp_path / 'run')
    (path / 'evaluation').mkdir()
    (path / 'evaluation' / 'evaluation.json').write_text(json.dumps(evaluation(0.9)))
    if name == 'summary.json':
        (path / 'metrics.csv').unlink()
    if name == 'config.yaml':
        (path / name).write_text(json.dumps(data))
    else:
        (path / name).write_text(json.dumps({**evaluation(0.9), **data}))
    run = runs.read(path)
    assert any(note in told and told.startswith(Path(name).name) for told in run.notes)
    assert run.env_steps == 10_000
    tables.headline(run)
    for part in (tables.overview, tables.gate_rows, tables.evaluation_rows, tables.setting_rows):
        text = str(part([run]))
        assert "text='None'" not in text and "text='nan'" not in text
    tables.evaluation_notes([run])


def test_runs_of_the_same_settings_are_seeds_of_one_group(tmp_path):
    found = [
        runs.read(made(tmp_path / name, seed=seed, settings=settings))
        for name, seed, settings in (
            ('a', 0, {}),
            ('b', 1, {}),
            ('c', 0, {'trainer.learner.tau': 0.02}),
        )
    ]
    groups = series.groups(found)
    assert [[run.name for run in group.runs] for group in groups] == [['a', 'b'], ['c']]
    curves = [series.episode_curve(run, 'episode_return', series.STEPS) for run in found[:2]]
    band = series.band(groups[0], curves)[0]
    assert (band.high - band.low) == pytest.approx(np.ones(len(band.x)))
    assert band.mean == pytest.approx((band.low + band.high) / 2)


def test_a_setting_that_an_older_version_did_not_have_is_the_default(tmp_path):
    found = [made(tmp_path / name, 1000, seed) for seed, name in enumerate('abc')]
    text = (found[1] / 'config.yaml').read_text()
    assert text.count('    tau: 0.01\n') == 1
    (found[1] / 'config.yaml').write_text(text.replace('    tau: 0.01\n', ''))
    (found[2] / 'config.yaml').write_text(text.replace('    tau: 0.01\n', '    tau: 0.02\n'))
    groups = series.groups([runs.read(path) for path in found])
    assert [[run.name for run in group.runs] for group in groups] == [['a', 'b'], ['c']]


def test_a_band_is_of_the_runs_that_are_there(tmp_path):
    """Beyond the end of the shortest it is that of the others."""
    found = [runs.read(made(tmp_path / str(steps), steps)) for steps in (2000, 3000)]
    lines = [series.episode_curve(run, 'episode_return', series.STEPS) for run in found]
    (band,) = series.band(series.groups(found)[0], lines)
    assert (band.x[0], band.x[-1]) == (100, 3000)
    both = band.x <= 2000.0
    assert (band.low[both] < band.high[both]).all()
    assert (band.low[~both] == band.high[~both]).all()


def test_smooth_is_the_mean_of_what_there_was(tmp_path):
    assert list(series.smooth(np.array([1.0, 3.0, 5.0, 7.0]), 2)) == [1.0, 2.0, 4.0, 6.0]


def test_the_clock_is_that_of_the_metrics(tmp_path):
    run = runs.read(made(tmp_path))  # 0.05 s a step
    assert series.minutes(run, np.array([600.0, 6000.0])) == pytest.approx([0.5, 5.0])
    (tmp_path / 'metrics.csv').unlink()
    assert len(series.minutes(runs.read(tmp_path), np.array([600.0]))) == 0


def test_reward_shares_sum_to_a_hundred(tmp_path):
    steps, terms = series.shares(runs.read(made(tmp_path)))
    assert len(steps) == 100 and set(terms) == {'progress', 'lateral_deviation'}
    assert sum(terms.values()) == pytest.approx(np.full(100, 100.0))
    assert terms['progress'][0] == pytest.approx(100 * 120 / 140)


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    paths = [made(tmp_path / place / 'run', 200) for place in ('one/a', 'two/a', 'two/b')]
    assert [run.name for run in runs.read_all(paths)] == ['one/a/run', 'two/a/run', 'b/run']
    assert [run.name for run in runs.read_all(paths[:1])] == ['run']


def test_a_run_that_is_given_twice_is_refused(tmp_path):
    path = made(tmp_path / 'run', 200)
    with pytest.raises(ConfigError, match='runs must differ, got'):
        runs.read_all([path, tmp_path / 'run' / '..' / 'run'])


@pytest.mark.parametrize('output', ['', 'file/report.html', 'run'])
def test_a_page_that_cannot_be_written_is_told_in_one_sentence(tmp_path, capsys, output):
    path = made(tmp_path / 'run', 200)
    (tmp_path / 'file').write_text('')
    assert main(['report', str(path), '--output', str(tmp_path / output)]) == 2
    told = capsys.readouterr().err
    assert not list(tmp_path.rglob('*.part'))
    assert told.count('\n') == 1 and 'must go to a file that can be written, got' in told


def test_a_folder_may_have_any_name(tmp_path):
    """Linux takes any bytes."""
    path = made(tmp_path / os.fsdecode(b'r\xff\xfe'), 1000)
    assert main(['report', str(path)]) == 0
    assert 'r??' in (path / 'report.html').read_text()


def test_gates_judge_what_was_driven_last(tmp_path):
    """Killed at 10,000 and resumed at 5,000: what was driven twice counts once."""
    path = made(tmp_path / 'run')
    for name, lines in (('episodes.csv', 51), ('metrics.csv', 41)):
        text = (path / name).read_text().splitlines(keepends=True)
        (path / name).write_text(''.join([*text, *text[lines:]]))
    evidence = runs.read(path).evidence()
    for columns in (evidence.metrics, evidence.episodes):
        assert (np.diff(columns['env_step']) > 0).all()


def resumed(path, **lines):
    """Let a run of 10,000 steps go on from 5,000, by so many lines of each table."""
    made(path)
    for name, head in (('episodes', 51), ('metrics', 41)):
        text = (path / f'{name}.csv').read_text().splitlines(keepends=True)
        again = text[head : head + lines[name]]
        (path / f'{name}.csv').write_text(''.join([*text, *again]))
    return path


@pytest.mark.parametrize(
    'lines, env_steps',
    [
        ({'episodes': 0, 'metrics': 0}, 10_000),
        ({'episodes': 10, 'metrics': 10}, 6000),
        ({'episodes': 0, 'metrics': 3}, 5300),  # no episode has ended since
        ({'episodes': 2, 'metrics': 0}, 5200),
        ({'episodes': 50, 'metrics': 50}, 10_000),
    ],
)
def test_a_resumed_run_is_where_it_goes_on(tmp_path, lines, env_steps):
    """Its summary is the old one until its next checkpoint."""
    run = runs.read(resumed(tmp_path / 'run', **lines))
    assert run.env_steps == run.evidence().env_steps == env_steps
    assert len(run.driven['reason']) == (env_steps // 100 if lines['episodes'] else 100)


def test_a_finished_run_is_as_long_as_its_summary_says(tmp_path):
    """Its last episode, and its last record, end a little before; once killed at 10,000, too."""
    path = resumed(tmp_path / 'run', episodes=49, metrics=49)
    RunFolder(path).write_summary({'env_steps': 9980})
    assert runs.read(path).env_steps == 9980
    path = made(tmp_path / 'never_killed')
    RunFolder(path).write_summary({'env_steps': 10_090})
    assert runs.read(path).env_steps == 10_090


def test_the_quick_curves_show_a_resumed_run_once(tmp_path, monkeypatch):
    import matplotlib

    drawn = []
    monkeypatch.setattr(curves, 'replace_picture', lambda path, figure, dpi: drawn.append(figure))
    assert curves.draw(RunFolder(resumed(tmp_path / 'run', episodes=10, metrics=10)))
    (figure,) = drawn
    assert isinstance(figure, matplotlib.figure.Figure)
    assert figure.get_suptitle() == 'run: 60 episodes'
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [100.0 * number for number in range(1, 61)]


@pytest.mark.parametrize(
    'env_step, updates, kept',
    [
        ([1050, 1050, 1100, 1100], [25, 50, 75, 100], [1, 1, 1, 1]),
        ([1050, 1050, 1100, 1100, 1100, 1100], [25, 50, 75, 100, 75, 100], [1, 1, 0, 0, 1, 1]),
        ([1050, 1050, 1100, 1100, 1050], [25, 50, 75, 100, 50], [1, 0, 0, 0, 1]),
        ([1050, 1050, 1100, 1075], [25, 50, 75, 75], [1, 1, 0, 1]),
        ([1050, 1050, 1100], [NAN, NAN, NAN], [0, 1, 1]),
        ([1050, 1050, 1100], None, [0, 1, 1]),
        ([], None, []),
        ([], [], []),
    ],
)
def test_a_round_of_many_updates_leaves_many_records_of_one_step(env_step, updates, kept):
    counted = None if updates is None else np.array(updates, float)
    assert current(np.array(env_step, float), counted).tolist() == [bool(k) for k in kept]


def test_an_aborted_episode_of_no_step_does_not_stand_for_the_one_before(tmp_path):
    path = made(tmp_path / 'run', 300)
    row = {**RunFolder(path).read_episodes()[-1], 'outcome': 'aborted', 'env_step': 200}
    table = path / 'episodes.csv'
    lines = table.read_text().splitlines()
    table.write_text('\n'.join([*lines[:3], ','.join(map(str, row.values())), *lines[3:], '']))
    run = runs.read(path)
    for episodes in (run.driven, run.evidence().episodes):
        assert episodes['env_step'].tolist() == [100.0, 200.0, 300.0]


def test_gates_and_curves_take_every_record_of_a_round(tmp_path):
    """As preset spinning_up has them: 50 updates every 50 steps, a record every 25."""
    path = made(tmp_path / 'run')
    head, *lines = (path / 'metrics.csv').read_text().splitlines()
    rows = [line.split(',') for line in lines]
    doubled = [','.join([rows[i | 1][0], *row[1:]]) for i, row in enumerate(rows)]
    (path / 'metrics.csv').write_text('\n'.join([head, *doubled]) + '\n')
    run = runs.read(path)
    assert len(run.evidence().metrics['env_step']) == 90
    assert len(series.metric_curve(run, 'critic_loss', series.STEPS).x) == 90


def test_a_reward_term_that_was_switched_on_with_a_resume_has_its_share(tmp_path):
    run = RunFolder(made(tmp_path / 'run', 2000))
    run.add_episode({**episode(2100, 2100), 'reward_jerk': -1000.0})
    run.close()
    steps, parts = series.shares(runs.read(run.path))
    assert steps[-1] == 2100 and parts['jerk'][-1] > 30.0 and parts['jerk'][0] == 0.0


def test_the_quick_curves_pass_over_a_torn_row():
    smoothed = curves._smooth(np.array([1.0, np.nan, 3.0]))
    assert smoothed.tolist() == [1.0, 1.0, 2.0]
