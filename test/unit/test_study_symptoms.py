"""Symptoms of made runs: each where it belongs, with its update and figure, and none elsewhere."""

import csv
import json
import math

import pytest

from av_td3_ros.config import build_run
from av_td3_ros.report import runs
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.study import failure_plot, failure_tables, failures
from av_td3_ros.study.cures import Configuration
from av_td3_ros.study.jobs import DONE
from av_td3_ros.study.symptoms import find, halting, SYMPTOMS
from av_td3_ros.td3.health_guard import Guard

HEALTHY = {
    'critic_loss': 0.1,
    'td_error': 0.1,
    'q_replay_mean': 2.0,
    'q_replay_std': 1.0,
    'q_replay_min': 0.0,
    'q_replay_max': 4.0,
    'q_policy_mean': 2.2,
    'q_policy_min': 0.0,
    'q_policy_max': 4.0,
    'feature_l2': 20.0,
    'feature_l2_seen': 10.0,
    'tanh_saturation': 0.3,
    'action_std': 0.3,
    'gradient_norm_actor': 0.1,
    'gradient_norm_encoder': 1.0,
    'gradient_norm_actor_encoder': 1.0,
}
EPISODE = {
    'outcome': 'terminated',
    'reason': 'goal',
    'length': 100,
    'episode_return': 50.0,
    'route_completion': 0.9,
    'mean_speed': 6.0,
    'reward_progress': 60.0,
    'reward_lateral_deviation': -10.0,
}
EVERY, BEGUN, RECORDS = 25, 1000, 80
BAD_FROM = 1000  # updates


def made(path, bad=None, bad_episode=None, flat=False):
    """
    Write the folder of a run whose figures turn bad after 1,000 updates of 2,000.

    Its alerts are those of the guard that writes them in real runs.
    """
    config = build_run({'trainer.health.on_halt': 'warn'}, 'a test').trainer
    run = RunFolder(path)
    run.write_config(build_run({'trainer.health.on_halt': 'warn'}, 'a test'))
    guard = Guard(config.health, config.learner, run)
    guard.monitor.reward(1.0)
    for i in range(1, RECORDS + 1):
        updates, env_step = EVERY * i, BEGUN + EVERY * i
        late = updates > BAD_FROM
        record = {**HEALTHY, **((bad or {}) if late else {})}
        if not flat:
            record['td_error'] = 0.1 + 2.0 * 0.9**i
        if not math.isfinite(record['critic_loss']):  # the update raises: there is no record of it
            guard.failed(env_step, updates, 'critic_loss must be finite')
            break
        row = {'env_step': env_step, 'updates': updates, 'seconds': 0.1 * env_step}
        run.add_record({**row, **record})
        guard.record(env_step, updates, record)
        if guard.halted:
            break
        episode = {**EPISODE, **((bad_episode or {}) if late else {})}
        episode['episode_return'] += i % 3  # of nothing but one number nothing is significant
        run.add_episode({'env_step': env_step, **episode})
        guard.episode(env_step, updates, episode)
    run.write_summary({'env_steps': env_step, 'largest_reward': 1.0})
    run.close()
    return runs.read(path)


def shown(run):
    return {finding.symptom: finding for finding in find(run) if finding.update is not None}


def test_a_healthy_run_shows_nothing_and_how_far_it_went(tmp_path):
    run = made(tmp_path)
    assert shown(run) == {} and halting(find(run)) is None
    worst = {finding.symptom: finding.worst for finding in find(run)}
    assert worst['saturation'] == 0.3 and worst['gradient_explosion'] == 1.0
    assert worst['dead_actor'] == 0.1 and math.isnan(worst['frozen_policy'])
    assert worst['q_gap'] == pytest.approx(0.2 / 3.0)
    assert worst['short_episodes'] == 1.0


@pytest.mark.parametrize(
    'bad, name, value, halts',
    [
        ({'tanh_saturation': 1.0}, 'saturation', 1.0, False),
        ({'tanh_saturation': 1.0, 'gradient_norm_actor': 0.0}, 'dead_actor', 0.0, True),
        ({'action_std': 0.001, 'tanh_saturation': 0.9}, 'frozen_policy', 0.001, False),
        ({'q_policy_mean': 17.0}, 'q_gap', 5.0, False),
        ({'q_policy_mean': 107.0}, 'q_gap', 35.0, True),
        ({'q_policy_max': 3000.0}, 'q_unbounded', 3000.0 * 0.03, True),
        ({'feature_l2_seen': 200.0}, 'feature_explosion', 200.0, False),
        ({'feature_l2_seen': 7e12}, 'feature_explosion', 7e12, True),
        ({'gradient_norm_encoder': 7e6}, 'gradient_explosion', 7e6, True),
        ({'gradient_norm_actor_encoder': 309.0}, 'encoder_imbalance', 309.0, False),
    ],
)
def test_a_record_that_turns_bad(tmp_path, bad, name, value, halts):
    found = shown(made(tmp_path, bad))
    assert name in found
    finding = found[name]
    # Records in a row, the first of which is that after update 1,000.
    in_a_row = 8 if name in ('saturation', 'frozen_policy') else 3
    assert finding.update == BAD_FROM + in_a_row * EVERY
    assert finding.env_step == BEGUN + finding.update
    assert finding.value == pytest.approx(value) and finding.worst == pytest.approx(value)
    assert finding.halts_at == (finding.update if halts else None)
    also = {'saturation'} if name == 'dead_actor' else set()
    assert set(found) == {name, *also}


def test_a_figure_that_halts_later_than_it_warns(tmp_path):
    """The run's own alert stays at its first limit, as it only warns."""
    made(tmp_path, {'feature_l2_seen': 200.0})
    path = tmp_path / 'metrics.csv'
    rows = list(csv.DictReader(path.open()))
    for row in rows[-10:]:
        row['feature_l2_seen'] = 1e6
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    finding = shown(runs.read(tmp_path))['feature_explosion']
    assert finding.update == BAD_FROM + 3 * EVERY and finding.value == 200.0
    assert finding.halts_at == EVERY * (RECORDS - 10 + 3) and finding.worst == 1e6


def test_a_fresh_policy_is_not_frozen(tmp_path):
    assert shown(made(tmp_path, {'action_std': 0.0001, 'tanh_saturation': 0.0})) == {}


@pytest.mark.parametrize(
    'bad, name',
    [
        ({'length': 10}, 'short_episodes'),
        ({'mean_speed': 0.1}, 'standing_still'),
        ({'episode_return': 5.0}, 'return_collapse'),
        ({'reward_lateral_deviation': 0.0, 'route_completion': 0.1}, 'reward_dominance'),
    ],
)
def test_episodes_that_turn_bad(tmp_path, bad, name):
    found = shown(made(tmp_path, bad_episode=bad))
    assert set(found) == {name}
    assert BAD_FROM < found[name].update <= BAD_FROM + 20 * EVERY


def test_a_td_error_that_does_not_fall(tmp_path):
    assert set(shown(made(tmp_path / 'a', {'td_error': 9.7}, flat=True))) == {'td_error_stuck'}
    assert 'td_error_stuck' not in shown(made(tmp_path / 'b', {'td_error': 9.7}))


def test_a_loss_that_is_no_number(tmp_path):
    run = made(tmp_path, {'critic_loss': math.nan})
    assert set(shown(run)) == {'non_finite'}
    ending = halting(find(run))
    assert ending.symptom == 'non_finite'
    assert ending.update == ending.halts_at == BAD_FROM + EVERY


def test_a_metric_that_is_no_number(tmp_path):
    """Of that there is a record."""
    run = made(tmp_path, {'q_replay_std': math.inf})
    ending = halting(find(run))
    assert ending.symptom == 'non_finite'
    assert ending.update == ending.halts_at == BAD_FROM + EVERY


def test_a_run_without_updates_shows_nothing(tmp_path):
    run = RunFolder(tmp_path)
    run.write_config(build_run({}, 'a test'))
    run.add_episode({'env_step': 100, **EPISODE})
    run.close()
    findings = find(runs.read(tmp_path))
    assert [finding.symptom for finding in findings] == list(SYMPTOMS)
    assert all(finding.update is None and math.isnan(finding.worst) for finding in findings)


# -- side by side ---------------------------------------------------------------------------------


DEAD = {'tanh_saturation': 1.0, 'gradient_norm_actor': 0.0, 'action_std': 0.0}
MADE = {
    'diverging': ('preset', DEAD),
    'with_feature_head': ('cure', {'feature_l2_seen': 200.0}),
    'with_loss': ('cure', DEAD),
    'recommended': ('preset', None),
}


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp('study')
    chosen = []
    for name, (kind, bad) in MADE.items():
        base = 'diverging' if kind == 'cure' else ''
        changes = {'trainer.a': (1, 2)}
        chosen.append(Configuration(name, name, kind, 'A reason.', {}, changes, base))
        for seed in (0, 1):
            path = folder / 'runs' / f'{name}_seed{seed}'
            # The cure is none of one of two seeds.
            made(path, DEAD if name == 'with_feature_head' and seed == 1 else bad)
            (path / DONE).write_text(json.dumps({'facts': {}, 'result': {'updates': 2000}}))
    return folder, failures.gather(chosen, (0, 1, 2), folder)


def test_rows_hold_what_is_finished(study):
    _, rows = study
    assert [row.configuration.name for row in rows] == list(MADE)
    assert all([told.seed for told in row.told] == [0, 1] for row in rows)
    assert failures.first_update(rows[0], 'dead_actor') == 1075.0
    assert failures.first_update(rows[-1], 'dead_actor') is None
    assert [finding.symptom for finding in failures.halts(rows[0])] == ['dead_actor'] * 2
    assert failures.halts(rows[-1]) == []


def test_what_a_cure_removes_keeps_and_adds(study):
    told = failures.cured(study[1])
    dead = ['dead_actor', 'saturation', 'frozen_policy']
    assert told['recommended'] == {'removes': dead, 'keeps': [], 'adds': []}
    assert told['with_loss'] == {'removes': [], 'keeps': dead, 'adds': []}
    # One of two seeds is half of them.
    assert told['with_feature_head'] == {
        'removes': [],
        'keeps': dead,
        'adds': ['feature_explosion'],
    }


def test_a_configuration_of_fewer_seeds_says_so(study):
    """As after Ctrl-C: a count is of what there is."""
    rows = [row._replace(told=row.told[:1]) if row is study[1][2] else row for row in study[1]]
    assert failures.seeds(rows) == [0, 1]
    text = failure_tables.markdown(rows, {'steps': 5000})
    assert 'seeds 0, 1. Of some there are fewer: `with_loss` 0. Each cell' in text
    lines = {
        line.split('|')[1].strip(): line for line in reversed(text.splitlines()) if '|' in line
    }
    assert '1075 (1/1)' in lines['`with_loss`'] and '1075 (2/2)' in lines['`diverging`']
    assert 'fewer' not in failure_tables.markdown(study[1], {'steps': 5000})


def test_tables_and_picture(study, tmp_path):
    folder, rows = study
    facts = {'steps': 5000}
    text = failure_tables.markdown(rows, facts)
    first = next(line for line in text.splitlines() if line.startswith('| `diverging` |'))
    cells = [cell.strip() for cell in first.split('|')[2:-1]]
    assert cells[:3] == ['1075 (2/2): 0', '1200 (2/2): 1', '1200 (2/2): 0']
    assert set(cells[3:-1]) == {'-'} and cells[-1] == '1075 (2/2): dead actor'
    assert '| `recommended` | dead actor, saturation, frozen policy | - | - |' in text
    failure_tables.write_csv(tmp_path / 'a.csv', rows)
    lines = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert len(lines) == len(MADE) * 2 * len(SYMPTOMS)
    row = lines[0]
    assert (row['configuration'], row['symptom'], row['update']) == (
        'diverging',
        'dead_actor',
        '1075',
    )
    data = json.loads(json.dumps(failure_tables.to_dict(rows, facts), allow_nan=False))
    told = data['configurations'][0]['runs'][0]['symptoms']
    assert told['dead_actor']['halts_at'] == 1075 and told['non_finite']['worst'] is None
    from PIL import Image

    with Image.open(failure_plot.draw(tmp_path / 'a.png', rows, folder)) as image:
        assert image.width == 1280 and image.height >= 800
