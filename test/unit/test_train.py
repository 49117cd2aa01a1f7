"""The in-process loop, whole: it learns, stops when asked, saves whatever ends it, and goes on."""

import csv
import errno
import json
import math
import shutil

import numpy as np
import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.driving.episode_effects import Mode  # noqa: E402
from av_td3_ros.options import ConfigError  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from av_td3_ros.sim.env import DrivingEnv  # noqa: E402
from av_td3_ros.task_config import PRIVILEGED_NAMES  # noqa: E402
from av_td3_ros.td3 import checkpoint  # noqa: E402
from av_td3_ros.td3.trainer import Trainer  # noqa: E402
from av_td3_ros.train import train  # noqa: E402
from small_runs import SMALL  # noqa: E402

SETTINGS = {
    **SMALL,
    'trainer.update_after': 40,
    'trainer.updates_per_round': 3,
    'trainer.replay.capacity': 1000,
    'trainer.exploration.warmup_steps': 40,
    'trainer.steps': 120,
    'trainer.log_every': 5,
    'episode_manager.termination.max_steps': 30,
}


def run(folder, stop=lambda: False, progress=lambda trainer: None, **values):
    config = build_run({**SETTINGS, 'trainer.run_dir': str(folder), **values}, 'test')
    return train(config, RunFolder(folder), progress, stop)


def test_it_takes_its_steps_and_updates_and_leaves_a_run_folder(tmp_path):
    trainer = run(tmp_path)
    assert (trainer.env_steps, trainer.updates) == (120, 60)
    assert checkpoint.load_policy(tmp_path).env_step == 120
    with (tmp_path / 'episodes.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 3
    for row in rows:
        terms = sum(float(value) for key, value in row.items() if key.startswith('reward_'))
        assert terms == pytest.approx(float(row['episode_return']), abs=1e-6)
    assert {'config.yaml', 'summary.json'} <= {path.name for path in tmp_path.iterdir()}


def test_the_same_seed_gives_the_same_weights(tmp_path):
    import torch

    first, second = run(tmp_path / 'a'), run(tmp_path / 'b')
    for one, other in zip(first.policy.parameters(), second.policy.parameters()):
        assert torch.equal(one, other)


def test_stopping_saves_and_resuming_goes_on(tmp_path):
    seen = []
    run(tmp_path, stop=lambda: len(seen) >= 70, progress=seen.append)
    assert checkpoint.load_policy(tmp_path).env_step == 70
    with pytest.raises(ConfigError, match='run folder must be new'):
        run(tmp_path)
    trainer = run(tmp_path, **{'trainer.resume': True})
    assert (trainer.env_steps, trainer.updates) == (120, 60)


def routes(folder):
    return [int(row['route']) for row in RunFolder(folder).read_episodes()]


def test_a_resumed_run_drives_on_where_it_was(tmp_path):
    """Neither its routes nor its noise are those that it has had."""
    drawn = []

    def seen(trainer):
        drawn.append(trainer.replay._ring.columns['action'][trainer.replay.count - 1].tolist())

    run(tmp_path, stop=lambda: len(drawn) >= 70, progress=seen)
    driven = len(routes(tmp_path))
    assert driven >= 2 and routes(tmp_path) == list(range(driven))
    run(tmp_path, progress=seen, **{'trainer.resume': True})
    assert routes(tmp_path) == list(range(len(routes(tmp_path)))) and len(drawn) == 120
    again = run(tmp_path / 'other', stop=lambda: len(drawn) >= 120 + 50, progress=seen)
    assert again.env_steps == 50 and drawn[120:] == drawn[:50]
    assert drawn[70:90] != drawn[:20]


def test_a_checkpoint_at_the_end_of_an_episode_knows_of_it(tmp_path):
    """Else a run that is killed behind it and resumed would drive the same route again."""
    ends = {'episode_manager.termination.max_steps': 30, 'trainer.checkpoint_every': 30}
    killed = []

    def kill(trainer):
        if trainer.env_steps == 31 and not killed:
            killed.append(shutil.copytree(tmp_path / 'run', tmp_path / 'killed'))

    run(tmp_path / 'run', progress=kill, **ends)
    assert routes(killed[0]) == [0]
    run(killed[0], **ends, **{'trainer.resume': True})
    assert routes(killed[0]) == [0, 1, 2, 3]


def test_the_first_route_may_be_chosen_and_an_evaluation_begins_at_nought(tmp_path):
    run(tmp_path, **{'episode_manager.first_route': 5})
    assert routes(tmp_path)[:3] == [5, 6, 7]
    evaluation = {'episode_manager.first_route': 5, 'episode_manager.start_in_evaluation': True}
    env = DrivingEnv(build_run({**SETTINGS, **evaluation}, 'test'), camera=False)
    env.reset()
    assert env.route_name == '0'
    env.close()


@pytest.mark.parametrize('evaluation', [False, True])
def test_an_episode_says_what_it_was_for_as_over_the_graph(evaluation):
    settings = {**SETTINGS, 'episode_manager.start_in_evaluation': evaluation}
    env = DrivingEnv(build_run(settings, 'test'), camera=False)
    env.reset()
    row = env.summary(env.step((0.0, 0.0))[2])
    assert row['mode'] == (Mode.EVALUATION if evaluation else Mode.TRAINING)
    env.close()


@pytest.mark.parametrize('evaluation', [False, True])
def test_the_time_to_collision_is_computed_for_evaluations_alone(evaluation):
    traffic = {'simulator.vehicles': 5, 'episode_manager.start_in_evaluation': evaluation}
    env = DrivingEnv(build_run({**SETTINGS, **traffic}, 'test'), camera=False)
    env.reset()
    row = env.summary(env.step((0.0, 0.0))[2])
    assert math.isnan(row['min_time_to_collision']) is not evaluation
    env.close()


def test_stopping_waits_for_no_round_of_updates(tmp_path):
    seen = []
    trainer = run(tmp_path, lambda: bool(seen) and seen[0].updates >= 10, seen.append)
    assert trainer.updates == 10  # three a round
    again = run(tmp_path, **{'trainer.resume': True})
    assert (again.env_steps, again.updates) == (120, 60)


def test_a_resumed_run_computes_as_it_did(tmp_path, monkeypatch):
    from av_td3_ros.td3 import trainer as module
    from av_td3_ros.td3.arithmetic import Arithmetic

    def always(item):
        monkeypatch.setattr(module, 'choose', lambda *arguments: (item, {}))

    always(Arithmetic('bf16', False))
    auto = {'trainer.precision': 'auto'}
    run(tmp_path, stop=lambda: len(seen) >= 60, progress=(seen := []).append, **auto)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['arithmetic'] == 'bf16, channels first' and summary['threads'] == 1
    always(Arithmetic('fp32', True))
    resumed = run(tmp_path, **auto, **{'trainer.resume': True})
    assert resumed.agent.arithmetic == Arithmetic('bf16', False)
    assert 'encoders in bf16, channels first' in resumed.machine


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'trainer.replay.prioritised': True},
        {'trainer.replay.storage': 'compressed'},
        {'trainer.replay.storage': 'mapped'},
        {'trainer.observation.waypoints': 0},
    ],
)
def test_a_resumed_learner_has_the_same_bits(tmp_path, options):
    import torch

    from av_td3_ros.config import TrainerConfig
    from av_td3_ros.datatypes import Outcome
    from av_td3_ros.options import build
    from av_td3_ros.td3.trainer import Trainer

    prefix = 'trainer.'
    values = {
        k[len(prefix) :]: v for k, v in {**SETTINGS, **options}.items() if k.startswith(prefix)
    }

    def make(folder, **more):
        config = build(TrainerConfig, {**values, **more}, 'the test')
        return Trainer(config, RunFolder(folder))

    def drive(trainer, begin, end):
        for step in range(begin, end):
            rng = np.random.default_rng(step)
            frame = rng.integers(0, 256, trainer.spec.frame_shape, np.uint8)
            vector = rng.random(trainer.spec.vector_size).astype(np.float32)
            privileged = rng.random(len(PRIVILEGED_NAMES)).astype(np.float32)
            if step % 20 == 0:
                trainer.begin(frame, vector, privileged)
            outcome = Outcome.TRUNCATED if step % 20 == 19 else Outcome.CONTINUES
            trainer.add(
                rng.uniform(-1, 1, 2), float(rng.normal()), outcome, frame, vector, privileged
            )
            while trainer.update_due:
                trainer.update()

    whole = make(tmp_path / 'whole')
    drive(whole, 0, 110)
    halved = make(tmp_path / 'halved')
    drive(halved, 0, 70)
    halved.save()
    halved.close()
    resumed = make(tmp_path / 'halved', resume=True)
    drive(resumed, 70, 110)
    assert whole.updates == resumed.updates > 40
    one, two = whole.agent.state_dict(), resumed.agent.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    whole.close()
    resumed.close()


def test_a_fault_in_the_loop_saves_first(tmp_path):
    def fail(trainer):
        if trainer.env_steps == 60:
            raise RuntimeError('planted')

    with pytest.raises(RuntimeError, match='planted'):
        run(tmp_path, progress=fail)
    assert checkpoint.load_policy(tmp_path).env_step == 60


def test_a_disk_that_is_full_for_a_while_ends_no_run(tmp_path, monkeypatch):
    """Neither rows nor a checkpoint can be written; what is learned is not lost by it."""
    saves = []

    def save(*arguments, **options):
        saves.append(options['env_step'])
        if len(saves) == 1:
            raise checkpoint.CheckpointError('no space')
        return real(*arguments, **options)

    def full():
        raise OSError(errno.ENOSPC, 'No space left on device')

    def fill(trainer):
        if trainer.env_steps == 80:
            trainer._run._tables['metrics'][0].flush = full

    real = checkpoint.save
    monkeypatch.setattr(checkpoint, 'save', save)
    trainer = run(tmp_path, progress=fill, **{'trainer.checkpoint_every': 30})
    assert (trainer.env_steps, trainer.updates) == (120, 60)
    assert len(saves) > 2 and checkpoint.load_policy(tmp_path).env_step == 120
    with (tmp_path / 'metrics.csv').open() as file:
        kept = [int(row['updates']) for row in csv.DictReader(file)]
    assert kept == [u for u in range(5, 65, 5) if u != 35]


def test_where_the_last_checkpoint_cannot_be_written_everything_is_closed_all_the_same(
    tmp_path, monkeypatch
):
    closed = []

    def fail(*arguments, **options):
        raise checkpoint.CheckpointError('no space')

    monkeypatch.setattr(checkpoint, 'save', fail)
    monkeypatch.setattr(DrivingEnv, 'close', lambda env: closed.append('env'))
    monkeypatch.setattr(Trainer, 'close', lambda trainer: closed.append('trainer'))
    with pytest.raises(checkpoint.CheckpointError, match='no space'):
        run(tmp_path)
    assert closed == ['trainer', 'env']


def test_no_wait_for_a_batch_that_cannot_be_filled_yet(tmp_path):
    trainer = run(tmp_path, **{'trainer.learner.batch_size': 100})
    assert trainer.env_steps == 120


def test_versions_never_come_twice(tmp_path):
    trainer = run(tmp_path)
    trainer._versions.newest = 7
    trainer.save()
    again = run(tmp_path, **{'trainer.resume': True})
    assert again.version > 7 + 2000 * 0.75 / 50


def test_nor_where_lives_end_without_a_checkpoint(tmp_path):
    run(tmp_path)
    values = {**SETTINGS, 'trainer.run_dir': str(tmp_path), 'trainer.resume': True}
    published = []
    for count in (20, 150, 1):
        trainer = Trainer(build_run(values, 'test').trainer, RunFolder(tmp_path))
        published += [trainer.next_weights().version for _ in range(count)]
        trainer.close()
    assert published == sorted(set(published))


def test_what_the_learner_is_told_is_of_the_same_step_as_what_the_policy_sees(tmp_path):
    """Every second point that it is told is one that a policy sees at twice the spacing."""
    values = {'observation.waypoint_spacing': 4.0, 'observation.waypoints': 5}
    trainer = run(tmp_path, **values)
    rows = trainer.replay._ring.columns['vector'][: trainer.replay.count]
    seen, told = rows[:, trainer.spec.vector.index('waypoint_0_x') :][:, :10], rows[:, -20:]
    assert trainer.agent.privileged[0] == 'waypoint_0_x'
    assert np.array_equal(seen.reshape(-1, 5, 2), told.reshape(-1, 10, 2)[:, 1::2])
    assert (np.abs(np.diff(seen[:, 1])) > 1e-6).mean() > 0.5  # each step differs from the last
