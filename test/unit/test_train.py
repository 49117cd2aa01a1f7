"""The in-process loop, whole: it learns, stops when asked, saves whatever ends it, and goes on."""

import csv

import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.options import ConfigError  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from av_td3_ros.td3 import checkpoint  # noqa: E402
from av_td3_ros.train import train  # noqa: E402

SMALL = {
    'observation.height': 36,
    'observation.width': 36,
    'simulator.image_width': 64,
    'simulator.image_height': 48,
    'trainer.learner.batch_size': 8,
    'trainer.learner.network.hidden_1': 16,
    'trainer.learner.network.hidden_2': 16,
    'trainer.learner.network.feature_size': 16,
    'trainer.precision': 'fp32',
    'trainer.update_after': 40,
    'trainer.replay.capacity': 1000,
    'trainer.exploration.warmup_steps': 40,
    'trainer.threads': 1,
    'trainer.steps': 120,
    'trainer.log_every': 5,
    'episode_manager.termination.max_steps': 30,
}


def run(folder, stop=lambda: False, progress=lambda trainer: None, **values):
    config = build_run({**SMALL, 'trainer.run_dir': str(folder), **values}, 'test')
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


def test_a_fault_in_the_loop_saves_first(tmp_path):
    def fail(trainer):
        if trainer.env_steps == 60:
            raise RuntimeError('planted')

    with pytest.raises(RuntimeError, match='planted'):
        run(tmp_path, progress=fail)
    assert checkpoint.load_policy(tmp_path).env_step == 60


def test_no_wait_for_a_batch_that_cannot_be_filled_yet(tmp_path):
    trainer = run(tmp_path, **{'trainer.learner.batch_size': 100})
    assert trainer.env_steps == 120


def test_versions_never_come_twice(tmp_path):
    trainer = run(tmp_path)
    trainer.version = 7
    trainer.save()
    again = run(tmp_path, **{'trainer.resume': True})
    assert again.version > 7 + 2000 * 0.75 / 50
