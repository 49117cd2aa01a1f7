"""The trainer across its lives: updates at their ratio, and what a resumed run goes on with."""

import json

from av_td3_ros.datatypes import Outcome
from av_td3_ros.td3 import checkpoint
from small_trainers import blank, drive


def lived(make, **values):
    """Return a trainer that goes on from step 70."""
    before = make(checkpoint_every=1000)
    drive(before, 70)
    assert before.updates == 50
    return resumed(make, before, **values)


def resumed(make, before, **values):
    """Return a trainer that goes on from where another one is."""
    before.save()
    after = make(**values, resume=True)
    after.begin(*blank(after))
    return after


def live(trainer, steps):
    """Take steps; return the updates that each of them made due."""
    counts = []
    for _ in range(steps):
        known = trainer.updates
        trainer.add((0.0, 0.0), 0.5, Outcome.CONTINUES, *blank(trainer))
        assert trainer.env_steps <= trainer.steps_allowed
        while trainer.update_due:
            trainer.update()
        counts.append(trainer.updates - known)
    return counts


def test_a_slower_schedule_begins_where_it_was_taken_up(make):
    trainer = lived(make, update_every=4, max_lead=3)
    assert trainer.steps_allowed == 70 + 4 + 3
    assert live(trainer, 8) == [0, 0, 0, 1, 0, 0, 0, 1]


def test_of_a_faster_schedule_nothing_is_owed_for_the_time_before(make):
    trainer = lived(make, update_every=4)
    live(trainer, 4)
    trainer = resumed(make, trainer, update_every=1)
    assert not trainer.update_due
    assert live(trainer, 3) == [1, 1, 1]
    again = resumed(make, trainer, update_every=1, updates_per_round=3)
    assert live(again, 2) == [3, 3]


def test_the_same_schedule_goes_on_as_if_never_interrupted(make):
    trainer = lived(make, update_every=4)
    live(trainer, 6)
    again = resumed(make, trainer, update_every=4)
    assert live(again, 2) == [0, 1]


def test_updates_put_off_wait_for_their_step(make):
    trainer = lived(make, update_after=75)
    assert live(trainer, 7) == [0, 0, 0, 0, 0, 1, 1]


def test_a_checkpoint_that_tells_no_schedule_was_of_this_one(make, tmp_path):
    trainer = make(update_every=4, checkpoint_every=1000)
    drive(trainer, 70)
    path = trainer.save() / checkpoint.INFO
    info = json.loads(path.read_text())
    assert info['extra'].pop('schedule')['update_every'] == 4
    path.write_text(json.dumps(info))
    again = make(update_every=4, resume=True)
    again.begin(*blank(again))
    assert live(again, 2) == [0, 1]  # of the twelve at 70, and the thirteenth at 72


def test_a_first_life_without_a_checkpoint_is_followed_by_a_new_run(make, tmp_path):
    assert [make().next_weights().version for _ in range(2)] == [1, 1]
    (tmp_path / 'weights_version').write_text('torn\n7')
    make(checkpoint_every=1000).save()
    assert make(resume=True).next_weights().version > 1


def test_where_no_version_can_be_noted_weights_go_out_all_the_same(make, tmp_path, caplog):
    (tmp_path / 'weights_version.part').mkdir()
    trainer = make()
    assert [trainer.next_weights().version for _ in range(3)] == [1, 2, 3]
    assert caplog.text.count('may have its number twice') == 1


def test_a_replay_that_never_holds_a_batch_ends_the_run_with_the_reason(make):
    values = {'replay.capacity': 100, 'learner.batch_size': 80, 'checkpoint_every': 1000}
    trainer = make(**values)
    drive(trainer, 200, length=3)
    assert trainer.env_steps < 100 and trainer.updates == 0 and not trainer.update_due
    assert 'batch_size must be <= what fits into the replay, got 80 > 7' in trainer.halted
    trainer.save()
    assert trainer._run.read_summary()['halted'] == trainer.halted


def test_a_replay_of_long_episodes_holds_the_largest_batch_that_is_allowed(make):
    trainer = make(**{'replay.capacity': 100, 'learner.batch_size': 96})
    drive(trainer, 140, length=1000)
    assert not trainer.halted and trainer.updates == 120


def test_an_unreadable_replay_is_not_a_full_one(make, tmp_path):
    trainer = make(**{'replay.capacity': 100, 'checkpoint_every': 1000})
    drive(trainer, 150)
    trainer.save()
    for path in (tmp_path / 'replay').glob('*.npz'):
        path.write_bytes(b'')
    again = make(**{'replay.capacity': 100}, resume=True)
    again.begin(*blank(again))
    live(again, 20)
    assert len(again.replay) == 20 and not again.halted
