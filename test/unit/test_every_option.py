"""A key that changes nothing is a defect: every key of learning is set, and something differs."""

from dataclasses import replace
import json

import numpy as np
import pytest
import torch

from av_td3_ros.config import ObservationConfig, TrainerConfig
from av_td3_ros.datatypes import Outcome
from av_td3_ros.learning_config import HealthConfig
from av_td3_ros.options import build, options
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.arithmetic import default_threads
from av_td3_ros.td3.behaviour import Behaviour
from av_td3_ros.td3.trainer import Trainer

STEPS = 60
BASE = {
    'steps': STEPS,
    'precision': 'fp32',
    'threads': 1,
    'update_after': 20,
    'checkpoint_every': 1000,
    'learner.batch_size': 8,
    'learner.network.feature_size': 16,
    'learner.network.hidden_1': 16,
    'learner.network.hidden_2': 16,
    'replay.capacity': 1000,
    'exploration.warmup_steps': 20,
}
# Another value for each key; with it, what else must be set for the key to have a meaning.
PER = {'replay.prioritised': True}
OTHER = {
    'steps': (40, {}),
    'seed': (1, {}),
    'precision': ('bf16', {}),
    'update_after': (30, {}),
    'update_every': (2, {}),
    'updates_per_round': (2, {}),
    'max_lead': (2, {}),
    'publish_every': (5, {}),
    'checkpoint_every': (30, {}),
    'log_every': (3, {}),
    'learner.batch_size': (4, {}),
    'learner.discount': (0.5, {}),
    'learner.n_step': (1, {}),
    'learner.tau': (0.5, {}),
    'learner.policy_delay': (1, {}),
    'learner.loss': ('mse', {}),
    'learner.reward_scale': (3.0, {}),
    'learner.actor_q_clamp': (1e-4, {}),
    'learner.pre_tanh_penalty': (1.0, {}),
    'learner.shift_pad': (0, {}),
    'learner.average_share': (0.0, {'update_every': 1}),  # of one update it is that
    'learner.network.encoder': ('nature_leaky', {}),
    'learner.network.shared_encoder': (False, {}),
    'learner.privileged_critics': (False, {}),
    'learner.privileged_loss': (3.0, {}),
    'learner.network.pixels': ('unit', {}),
    'learner.network.feature_size': (24, {}),
    'learner.network.feature_head': ('relu', {}),
    'learner.network.hidden_1': (24, {}),
    'learner.network.hidden_2': (24, {}),
    'learner.network.critic_layer_norm': (False, {}),
    'learner.network.initialisation': ('torch', {}),
    'learner.target.kind': ('weighted', {}),
    'learner.target.critics': (1, {}),
    'learner.target.weight': (0.5, {'learner.target.kind': 'weighted'}),
    'learner.target.noise': (0.5, {}),
    'learner.target.noise_clip': (0.1, {}),
    'learner.target.clip_to_seen': (True, {}),
    'learner.target.clip_refresh': (3, {'learner.target.clip_to_seen': True}),
    'learner.optimiser.encoder_lr': (1e-2, {}),
    'learner.optimiser.critic_lr': (1e-2, {}),
    'learner.optimiser.actor_lr': (1e-2, {}),
    'learner.optimiser.weight_decay': (0.5, {}),
    'learner.optimiser.clip': ('value', {'learner.optimiser.critic_clip': 1e-3}),
    'learner.optimiser.critic_clip': (1e-3, {}),
    'learner.optimiser.actor_clip': (1e-6, {}),
    'replay.capacity': (100, {'steps': 150}),
    'replay.prefetch': (False, {}),
    'replay.prioritised': (True, {}),
    'replay.priority_exponent': (0.0, PER),
    'replay.importance_exponent': (1.0, PER),
    'replay.importance_updates': (5, PER),
    'exploration.warmup_steps': (40, {}),
    'exploration.warmup': ('uniform', {}),
    'exploration.warmup_throttle': (-0.5, {}),
    'exploration.std_start': (0.0, {}),
    'exploration.std_end': (2.0, {}),
    'exploration.std_steps': (10, {}),
    'exploration.correlation': (0.0, {}),
}
# Shown elsewhere: where things are and what they are made on.
ELSEWHERE = {
    'run_dir': 'test_train.py',
    'resume': 'test_train.py',
    'device': 'test_graphs.py, on a GPU',
    'threads': 'below',
    'replay.storage': 'test_frames.py',
    **{f'health.{item.key}': 'test_health.py' for item in options(HealthConfig)},
    'health.rollbacks': 'test_health_guard.py',
}


def trainer_config(**values):
    observation = ObservationConfig(height=36, width=36, stack=2, waypoints=0)
    return replace(build(TrainerConfig, {**BASE, **values}, 'test'), observation=observation)


def account(folder, config):
    """Drive a learner through made-up episodes; return all that can be seen of it."""
    run = RunFolder(folder)
    trainer = Trainer(config, run)
    behaviour, rng = Behaviour(0), np.random.default_rng(0)
    behaviour.adopt(trainer.policy)
    seen = []

    def observe():
        image = rng.integers(0, 256, trainer.spec.image_shape, np.uint8)
        vector = rng.random(trainer.spec.vector_size).astype(np.float32)
        return image, vector, rng.random(len(PRIVILEGED_NAMES)).astype(np.float32)

    image, vector, privileged = observe()
    trainer.begin(image[-1], vector, privileged)
    try:
        while trainer.env_steps < config.steps:
            behaviour.explore(trainer.exploration_std, trainer.random_actions, config.exploration)
            action = behaviour.act(image, vector, explore=True)
            image, vector, privileged = observe()
            ends = trainer.env_steps % 15 == 14
            outcome = Outcome.TRUNCATED if ends else Outcome.CONTINUES
            trainer.add(action, float(rng.normal()), outcome, image[-1], vector, privileged)
            if ends:
                image, vector, privileged = observe()
                trainer.begin(image[-1], vector, privileged)
            seen.append([*map(float, action), trainer.steps_allowed])
            while trainer.update_due:
                trainer.update()
                seen.append(sorted(trainer.metrics.items()))
            if trainer.publish_due:
                seen.append(trainer.next_weights().sha256)
            if trainer.checkpoint_due:
                path = trainer.save()
                driven = json.loads((path / 'checkpoint.json').read_text())['sha256']
                seen.append([path.name, driven['policy.safetensors']])
    finally:
        trainer.close()
    run.close()
    rows = sum(path.stat().st_size for path in run.path.rglob('events.out.*'))
    return json.dumps([seen, len(trainer.replay), rows])


@pytest.fixture(scope='module')
def accounts(tmp_path_factory):
    """Remember the account of each config: many keys share their base."""
    known = {}

    def of(values):
        key = tuple(sorted(values.items()))
        if key not in known:
            known[key] = account(tmp_path_factory.mktemp('run'), trainer_config(**values))
        return known[key]

    return of


def test_every_key_is_listed():
    keys = {item.key for item in options(TrainerConfig)}
    keys = {key for key in keys if not key.startswith('observation.')}
    assert keys == set(OTHER) | set(ELSEWHERE)
    assert not set(OTHER) & set(ELSEWHERE)


def test_the_same_settings_give_the_same_account(tmp_path, accounts):
    assert account(tmp_path, trainer_config()) == accounts({})


@pytest.mark.parametrize('key', OTHER)
def test_a_key_has_an_effect(accounts, key):
    value, needs = OTHER[key]
    known = {item.key: item.default for item in options(TrainerConfig)}
    assert value != {**known, **BASE, **needs}[key], 'no other value'
    assert accounts({**needs, key: value}) != accounts(needs)


def test_threads(tmp_path):
    for threads, used in ((1, 1), (2, 2), (0, default_threads())):
        Trainer(trainer_config(threads=threads), RunFolder(tmp_path / str(threads))).close()
        assert torch.get_num_threads() == used
    assert 1 <= default_threads() <= 4
