"""What an alert does to a run: its account, the end, the way back, and what is resumed then."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from av_td3_ros import run_folder
from av_td3_ros.datatypes import Outcome
from av_td3_ros.learning_config import HealthConfig, LearnerConfig
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.health import Alert
from av_td3_ros.td3.health_guard import Guard
from av_td3_ros.td3.metrics import COLUMNS, RECORD_METRICS
from small_trainers import blank, drive, EPISODE

SICK = 60  # from this step on the rewards are
BOUND = {
    'health.reward_bound': 1.0,
    'health.patience': 2,
    'learner.loss': 'mse',
    'learner.n_step': 1,
}


def huge(step):
    return 0.5 if step < SICK else 1e6


def rows(trainer, name):
    with (trainer._run.path / name).open(newline='') as file:
        return list(csv.DictReader(file))


def poison(trainer, times=1):
    """Let the next batches hold a reward that is not a number."""
    sample, left = trainer.replay.sample, [times]

    def poisoned(size):
        batch = sample(size)
        if left[0] > 0:
            left[0] -= 1
            batch.reward[0] = np.nan
        return batch

    trainer.replay.sample = poisoned


def test_metrics_are_written_where_they_were_computed(make):
    trainer = make(**{'learner.policy_delay': 8})
    drive(trainer, 60)
    records = rows(trainer, 'metrics.csv')
    assert list(records[0]) == ['env_step', 'updates', 'seconds', *COLUMNS]
    assert [int(row['updates']) for row in records] == list(range(4, 41, 4))
    times = [float(row['seconds']) for row in records]
    assert times == sorted(times) and times[0] > 0.0
    for row in records:
        with_actor = int(row['updates']) % 8 == 0
        assert (row['actor_loss'] != '') == (row['update_norm_actor'] != '') == with_actor
        assert all(row[name] for name in RECORD_METRICS)
        assert row['update_norm_critic'] and row['gradient_norm_critic_total']
    last = records[-1]
    assert 0.0 < float(last['replay_age']) < 64.0  # 60 steps, four episodes
    assert float(last['update_ratio']) == pytest.approx(1.0, abs=0.05)


def test_the_share_of_clipped_updates_is_over_all_of_a_record(make):
    trainer = make(**{'learner.optimiser.critic_clip': 1e-6})
    drive(trainer, 22)
    trainer.agent._critic_step._limit = 1e9
    drive(trainer, 40)
    shares = [float(row['clipped_critic']) for row in rows(trainer, 'metrics.csv')]
    assert shares[0] == 0.5 and shares[1:] == [0.0] * len(shares[1:])


def test_a_halt_ends_the_run_and_keeps_the_healthy_checkpoint_the_newest(make, tmp_path):
    trainer = make(**BOUND)
    drive(trainer, 200, huge)
    assert SICK < trainer.env_steps < 200 and not trainer.update_due
    assert trainer.halted.split(':')[0] in ('q_unbounded', 'gradient_explosion')
    saved = trainer.save()
    assert saved.parent == tmp_path / 'halted' / 'checkpoints'
    assert checkpoint.load_policy(tmp_path).env_step <= SICK
    assert checkpoint.load_policy(saved).env_step == trainer.env_steps
    last = [row for row in rows(trainer, 'alerts.csv') if row['action'] == 'halt'][-1]
    expected = ['env_step', 'updates', 'name', 'action', 'state', 'value', 'limit', 'text']
    assert list(last) == expected
    assert last['text'] == trainer.halted and last['state'] == 'raised'
    assert float(last['value']) > float(last['limit'])
    assert trainer._run.read_summary()['halted'] == trainer.halted


def test_a_halted_run_can_be_resumed_from_its_healthy_checkpoint(make):
    drive(make(**BOUND), 200, huge)
    trainer = make(**BOUND, resume=True)
    assert not trainer.halted and not trainer.alerts and trainer.env_steps <= SICK
    found = rows(trainer, 'alerts.csv')
    states = [row['state'] for row in found]  # what stood is over
    assert states.count('raised') == states.count('cleared') > 0
    # It was raised after the checkpoint that the run goes on from: it never ends before it began.
    assert int(found[-1]['env_step']) == int(found[-2]['env_step']) > trainer.env_steps
    drive(trainer, trainer.env_steps + 20)
    assert not trainer.halted


def fall_ill(make, tmp_path):
    """Make a run that was saved while it fell ill, as by Ctrl-C, and then halted."""
    trainer = make(**BOUND, checkpoint_every=40)
    drive(trainer, 200, huge, lambda: trainer._guard.healthy or trainer.save())
    assert trainer.halted
    trainer.save()
    sick = [json.loads(path.read_text()) for path in tmp_path.glob('checkpoints/*/*.json')]
    assert not max(sick, key=lambda info: info['env_step'])['extra']['healthy']


def test_a_halted_run_drives_and_goes_on_with_what_was_saved_before_it_fell_ill(make, tmp_path):
    fall_ill(make, tmp_path)
    assert checkpoint.load_policy(tmp_path).env_step <= SICK + 1  # no record had told yet
    again = make(**BOUND, resume=True)
    assert again.env_steps <= SICK + 1
    assert checkpoint.load_policy(tmp_path).env_step == again.env_steps  # the sick are gone
    again.save()
    assert not again._run.read_summary()['halted']


def test_a_learner_that_was_ill_when_it_was_saved_is_so_until_a_record_tells(make):
    values = {**BOUND, 'health.patience': 1000}
    trainer = make(**values, checkpoint_every=1000)
    drive(trainer, 200, huge)
    assert not trainer._guard.healthy and not trainer.halted
    trainer.save()
    again = make(**values, resume=True)
    assert not again._guard.healthy
    again.save()
    third = make(**values, resume=True)
    assert not third._guard.healthy


def test_a_batch_that_is_not_finite_halts(make):
    trainer = make()
    drive(trainer, 40)
    poison(trainer)
    before = trainer.agent.state_dict()
    trainer.update()
    assert 'non_finite: critic_loss must be finite, got nan' in trainer.halted
    after = trainer.agent.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if name != 'generator')


def test_a_roll_back_restores_the_learner_keeps_experience_and_makes_a_new_version(make):
    trainer = make(**{'health.on_halt': 'rollback', 'checkpoint_every': 1000})
    drive(trainer, 30)
    saved = trainer.save()
    kept = trainer.agent.state_dict()
    drive(trainer, 50)
    trainer.next_weights()
    steps, updates, stored = trainer.env_steps, trainer.updates, len(trainer.replay)
    assert not trainer.publish_due
    poison(trainer)
    trainer.update()
    assert not trainer.halted and trainer.rollbacks == 1 and not trainer.alerts
    restored = trainer.agent.state_dict()
    assert all(torch.equal(restored[name], kept[name]) for name in kept if name != 'updates')
    assert (trainer.env_steps, trainer.updates) == (steps, updates)
    assert len(trainer.replay) == stored
    assert trainer.publish_due and trainer.next_weights().version == 2
    assert [(row['name'], row['state']) for row in rows(trainer, 'alerts.csv')] == [
        ('non_finite', 'raised'),
        ('non_finite', 'cleared'),
    ]
    assert checkpoint.latest(saved.parents[1]) == saved
    drive(trainer, 80)
    assert trainer.updates > updates and not trainer.halted


def test_a_checkpoint_of_a_sick_learner_is_not_gone_back_to(make):
    values = {**BOUND, 'health.on_halt': 'rollback', 'health.patience': 1000}
    trainer = make(**values, checkpoint_every=1000)
    drive(trainer, 40)
    healthy = trainer.agent.state_dict()
    trainer.save()
    drive(trainer, 160, huge)
    assert not trainer._guard.healthy
    trainer.save()  # as Ctrl-C does
    poison(trainer)
    trainer.add((0.0, 0.0), 0.5, Outcome.CONTINUES, *blank(trainer))
    trainer.update()
    assert trainer.rollbacks == 1 and not trainer.halted
    now = trainer.agent.state_dict()
    assert all(torch.equal(now[name], healthy[name]) for name in healthy if name != 'updates')


def test_the_alert_that_stops_is_named_though_another_came_before_or_with_it(make):
    trainer = make()
    guard = trainer._guard
    for name, action, state in (
        ('q_gap', 'warn', 'raised'),
        ('saturation', 'warn', 'raised'),
        ('q_gap', 'rollback', 'raised'),
    ):
        alert = Alert(name, action, state, 1.0, 0.5, f'{name}: by {action}')
        guard.monitor.active[name] = alert
        guard._take([alert])
    assert guard.alerts[-1].name == 'saturation' and guard.cause == 'q_gap: by rollback'


@pytest.mark.parametrize('allowed', [0, 2])
def test_roll_backs_come_to_an_end(make, allowed):
    trainer = make(**{'health.on_halt': 'rollback', 'health.rollbacks': allowed})
    drive(trainer, 40)
    poison(trainer, times=10)
    drive(trainer, 60)
    assert trainer.rollbacks == allowed
    assert trainer.halted.startswith('non_finite: ')
    assert trainer.halted.endswith('(after 2 roll-backs)') == bool(allowed)
    assert rows(trainer, 'alerts.csv')[-1]['action'] == 'halt'


def test_without_a_checkpoint_there_is_no_way_back(make):
    trainer = make(**{'health.on_halt': 'rollback', 'checkpoint_every': 1000})
    drive(trainer, 20)
    poison(trainer)
    trainer.add((0.0, 0.0), 0.5, Outcome.CONTINUES, *blank(trainer))
    trainer.update()
    assert 'no roll-back: a whole and healthy checkpoint must be in' in trainer.halted


def test_warned_only_it_goes_on(make):
    trainer = make(**BOUND, **{'health.on_halt': 'warn'})
    drive(trainer, 100, huge)
    assert trainer.env_steps == 100 and not trainer.halted
    assert 'gradient_explosion' in {alert.name for alert in trainer.alerts}
    assert {row['action'] for row in rows(trainer, 'alerts.csv')} == {'warn'}


def test_an_alert_of_a_full_disk_is_written_with_the_next_record(tmp_path, monkeypatch):
    """Else a gate would find a run without alerts."""
    run, opened = RunFolder(tmp_path), run_folder._open_table
    guard = Guard(HealthConfig(), LearnerConfig(), run)

    def full(path, names):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, '_open_table', full)
        for update in range(1, 6):
            guard.record(100 + update, update, {'gradient_norm_critic': 2e4})
        assert not (tmp_path / 'alerts.csv').exists()
    assert run_folder._open_table is opened
    guard.record(106, 6, {'gradient_norm_critic': 2e4})
    guard.record(107, 7, {'gradient_norm_critic': 2e4})
    run.close()
    with (tmp_path / 'alerts.csv').open(newline='') as file:
        (row,) = csv.DictReader(file)
    # Of the moment at which it was raised.
    assert (row['name'], row['state']) == ('gradient_explosion', 'raised')
    assert (row['env_step'], row['updates']) == ('103', '3')


def test_no_checkpoint_is_made_while_a_figure_is_beyond_a_limit_to_halt(make, tmp_path):
    trainer = make(**{**BOUND, 'health.patience': 1000})
    drive(trainer, 160, huge)
    assert not trainer.halted
    assert checkpoint.load_policy(tmp_path).env_step <= SICK
    drive(trainer, 170)
    trainer.save()  # asked for, or at the end: it is made
    assert checkpoint.load_policy(tmp_path).env_step == 170


def test_where_an_alert_only_warns_checkpoints_go_on_and_tell_it(make, tmp_path):
    trainer = make(**BOUND, **{'health.on_halt': 'warn'})
    drive(trainer, 160, huge)
    assert not trainer._guard.healthy and not trainer.halted
    newest = checkpoint.latest(tmp_path)
    info = json.loads((newest / checkpoint.INFO).read_text())
    assert info['env_step'] > 160 - 20 and not info['extra']['healthy']
    poison(trainer)
    trainer.add((0.0, 0.0), 0.5, Outcome.CONTINUES, *blank(trainer))
    trainer.update()
    assert trainer.halted and not trainer.checkpoint_due


def test_random_episodes_are_not_judged_and_shares_of_the_reward_are_recorded(make, tmp_path):
    trainer = make(**{'health.episodes': 2, 'health.standing_speed': 40.0})
    for _ in range(5):
        trainer.end_episode(EPISODE)
    assert not trainer.alerts
    drive(trainer, 60)
    assert [alert.name for alert in trainer.alerts] == ['standing_still']
    trainer._run.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()['scalars'])
    assert {'episode/share_progress', 'train/replay_age', 'health_value/q_gap'} <= tags
    assert events.Scalars('episode/share_progress')[0].value == 0.75
    assert events.Scalars('health/standing_still')[-1].value == 1.0
    assert events.Scalars('health/saturation')[-1].value == 0.0


def test_nor_are_random_episodes_that_are_learned_from_already(make):
    standing = {'health.episodes': 4, 'health.standing_speed': 40.0}
    trainer = make(**standing, **{'exploration.warmup_steps': 61})
    drive(trainer, 90)
    assert trainer.updates == 70
    assert not trainer.alerts  # of two episodes one began at 60
    drive(trainer, 105)
    assert [alert.name for alert in trainer.alerts] == ['standing_still']


def test_what_was_seen_outlives_a_pause(make):
    trainer = make(**{'health.episodes': 2})
    drive(trainer, 60, lambda step: 2.5)
    trainer.save()
    seconds = trainer._seconds
    again = make(**{'health.episodes': 2}, resume=True)
    history = again._guard.monitor.history
    assert history.largest_reward == 2.5 and history.best == (1.0, 0.0)
    assert again._seconds >= seconds - 1.0 and math.isfinite(history.q_bound)
