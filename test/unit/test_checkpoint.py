"""Checkpoints: exact continuation, and nothing lost to a kill, a full disk or a torn file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from av_td3_ros.datatypes import ObsSpec, Outcome
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.run_folder import has_checkpoints
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.checkpoint import CheckpointError
from av_td3_ros.td3.replay import ReplayBuffer
from learners import small

SPEC = ObsSpec(2, 36, 36, ('speed',))
TINY = {'batch_size': 8, 'network__feature_size': 8, 'network__hidden_1': 8}
CONFIG = small(**TINY)


def make(seed=0, spec=SPEC, config=CONFIG, capacity=50):
    replay = ReplayBuffer(spec, ReplayConfig(capacity=capacity), 3, 0.9, seed)
    return TD3(spec, config, seed=seed), replay


def drive(replay, steps, seed):
    rng = np.random.default_rng(seed)
    for step in range(steps):
        observation = rng.integers(0, 256, (36, 36), np.uint8), rng.random(1, np.float32)
        if step % 10 == 0:
            replay.begin(*observation)
        else:
            replay.add(rng.uniform(-1, 1, 2), rng.random(), Outcome.CONTINUES, *observation)


def run(agent, replay, updates):
    return [agent.update(replay.sample(8)) for _ in range(updates)]


def save(folder, agent, env_step, **kwargs):
    version = env_step // 10
    return checkpoint.save(folder, agent, SPEC, env_step=env_step, version=version, **kwargs)


def steps_in(folder):
    return sorted(path.name for path in (folder / 'checkpoints').iterdir() if path.is_dir())


def tear(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_a_checkpoint_drives_with_the_mean_of_the_newest_policies(tmp_path):
    agent, replay = make()
    drive(replay, 80, 0)
    run(agent, replay, 6)
    loaded = checkpoint.load_policy(save(tmp_path, agent, 80)).policy.state_dict()
    mean, newest = agent.settled_policy.state_dict(), agent.policy.state_dict()
    assert all(torch.equal(tensor, mean[name]) for name, tensor in loaded.items())
    assert not all(torch.equal(tensor, newest[name]) for name, tensor in loaded.items())


def test_without_a_mean_it_drives_with_the_newest_policy(tmp_path):
    agent, replay = make(config=small(**TINY, average_share=0.0))
    drive(replay, 80, 0)
    run(agent, replay, 6)
    loaded = checkpoint.load_policy(save(tmp_path, agent, 80)).policy.state_dict()
    newest = agent.policy.state_dict()
    assert all(torch.equal(tensor, newest[name]) for name, tensor in loaded.items())


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    agent, replay = make()
    drive(replay, 80, 0)
    run(agent, replay, 3)
    save(tmp_path, agent, 80, replay=replay, extra={'returns': [1.5]})
    other, other_replay = make(seed=5)
    found = checkpoint.load(tmp_path, other, SPEC, other_replay)
    assert (found.env_step, found.update, found.version) == (80, 3, 8)
    assert found.extra == {'returns': [1.5]}
    assert found.obs_spec == SPEC and found.learner['network']['hidden_1'] == 8
    for r in (replay, other_replay):
        drive(r, 30, 1)
    assert run(agent, replay, 5) == run(other, other_replay, 5)
    mine, its = agent.state_dict(), other.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in mine)


def test_holds_no_pickle(tmp_path):
    path = save(tmp_path, make()[0], 10)
    assert {p.name for p in path.iterdir()} == {
        'checkpoint.json',
        'learner.safetensors',
        'policy.safetensors',
    }
    assert not any(p.read_bytes().startswith((b'\x80', b'PK')) for p in path.iterdir())


def test_keeps_the_newest_three(tmp_path):
    agent, _ = make()
    for step in range(10, 60, 10):
        path = save(tmp_path, agent, step)
        assert checkpoint.latest(tmp_path) == path
    assert steps_in(tmp_path) == ['step_00000030', 'step_00000040', 'step_00000050']
    assert (tmp_path / 'checkpoints' / 'latest').read_text() == 'step_00000050'


def test_the_same_step_again_replaces(tmp_path):
    agent, replay = make()
    drive(replay, 30, 0)
    save(tmp_path, agent, 10)
    run(agent, replay, 2)
    save(tmp_path, agent, 10)
    assert checkpoint.load(tmp_path, make()[0], SPEC).update == 2
    assert steps_in(tmp_path) == ['step_00000010']


def test_a_replacement_that_fails_midway_leaves_the_old_one(tmp_path, monkeypatch):
    agent, replay = make()
    drive(replay, 30, 0)
    save(tmp_path, agent, 10)
    run(agent, replay, 2)
    rename, calls = os.rename, []

    def second_fails(*paths):
        calls.append(paths)
        if len(calls) == 2:
            raise OSError(5, 'Input/output error')
        rename(*paths)

    monkeypatch.setattr(os, 'rename', second_fails)
    with pytest.raises(CheckpointError, match='got Input/output error'):
        save(tmp_path, agent, 10)
    assert len(calls) == 3 and steps_in(tmp_path) == ['step_00000010']
    assert checkpoint.load(tmp_path, make()[0], SPEC).update == 0


@pytest.mark.parametrize('next_step', [10, 20])
def test_a_replacement_that_is_killed_midway_leaves_the_old_one(tmp_path, next_step):
    agent, _ = make()
    path = save(tmp_path, agent, 10)
    path.rename(path.with_name('.part_old_step_00000010'))
    path.with_name('.part_step_00000010').mkdir()
    assert has_checkpoints(tmp_path)
    assert checkpoint.load(tmp_path, make()[0], SPEC).env_step == 10
    assert checkpoint.load_policy(tmp_path, SPEC).env_step == 10
    save(tmp_path, agent, next_step)
    assert steps_in(tmp_path) == sorted({'step_00000010', f'step_000000{next_step}'})
    assert checkpoint.load(tmp_path, make()[0], SPEC).env_step == next_step


@pytest.mark.parametrize('name', ['policy.safetensors', 'learner.safetensors', 'checkpoint.json'])
@pytest.mark.parametrize('harm', [tear, Path.unlink])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path, name, harm, caplog):
    agent, replay = make()
    drive(replay, 40, 0)
    run(agent, replay, 1)
    save(tmp_path, agent, 10, replay=replay)
    expected = agent.state_dict()
    at_save = replay.state()
    run(agent, replay, 2)
    drive(replay, 20, 1)
    newest = save(tmp_path, agent, 20, replay=replay)
    harm(newest / name)
    other, other_replay = make(seed=3)
    found = checkpoint.load(tmp_path, other, SPEC, other_replay)
    assert found.env_step == 10
    assert other_replay.state() == at_save
    assert 'step_00000020 is left out' in caplog.text
    assert all(torch.equal(tensor, expected[key]) for key, tensor in other.state_dict().items())
    # The run goes on from there, past the torn one.
    save(tmp_path, other, 15, replay=other_replay)
    assert checkpoint.latest(tmp_path).name == 'step_00000015'


def test_the_pointer_wins_over_a_later_step_of_another_past(tmp_path):
    agent, _ = make()
    save(tmp_path, agent, 90)
    own = save(tmp_path, agent, 10)  # a run that began again in the same folder
    assert checkpoint.latest(tmp_path) == own
    assert steps_in(tmp_path) == ['step_00000010', 'step_00000090'], 'nothing learned is lost'


def test_a_lost_pointer_is_no_loss(tmp_path):
    agent, _ = make()
    save(tmp_path, agent, 10)
    newest = save(tmp_path, agent, 20)
    for harm in (lambda p: p.write_bytes(b'\xff\x00'), Path.unlink):
        harm(tmp_path / 'checkpoints' / 'latest')
        assert checkpoint.latest(tmp_path) == newest


def test_leftovers_of_a_killed_writer_do_no_harm(tmp_path):
    agent, _ = make()
    part = tmp_path / 'checkpoints' / '.part_step_00000010'
    part.mkdir(parents=True)
    (part / 'policy.safetensors').write_bytes(b'half')
    assert checkpoint.latest(tmp_path) is None
    save(tmp_path, agent, 10)
    assert steps_in(tmp_path) == ['step_00000010']


@pytest.mark.parametrize('call', ['fsync', 'rename', 'replace'])
def test_a_full_disk_leaves_the_old_ones_and_no_rubbish(tmp_path, monkeypatch, call):
    agent, replay = make()
    drive(replay, 40, 0)
    old = save(tmp_path, agent, 10)
    run(agent, replay, 1)

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, call, full)
    text = 'step_00000020, got No space left on device; free'
    with pytest.raises(CheckpointError, match=text) as refused:
        save(tmp_path, agent, 20)
    assert '\n' not in str(refused.value)
    monkeypatch.undo()
    assert not list((tmp_path / 'checkpoints').glob('.part*'))
    assert not list((tmp_path / 'checkpoints').glob('*.part'))
    assert old.is_dir()
    assert checkpoint.load(tmp_path, make()[0], SPEC).env_step in (10, 20)
    save(tmp_path, agent, 30)
    assert checkpoint.latest(tmp_path).name == 'step_00000030'


def test_a_replay_that_cannot_be_saved_is_reported_alike(tmp_path):
    agent, replay = make()
    drive(replay, 20, 0)
    (tmp_path / 'replay').write_text('a file where a folder belongs')
    with pytest.raises(CheckpointError, match='checkpoint must be written to'):
        save(tmp_path, agent, 10, replay=replay)


def test_an_unusable_run_folder_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(CheckpointError, match='must be written to .* got Not a directory'):
        save(tmp_path / 'file', make()[0], 10)


@pytest.mark.parametrize(
    'spec, config, text',
    [
        (
            SPEC,
            small(**{**TINY, 'network__hidden_1': 24}),
            "must have network {'hidden_1': 24}, got {'hidden_1': 8};",
        ),
        (ObsSpec(2, 36, 36, ('yaw',)), CONFIG, 'must have observation .*yaw.* got .*speed'),
    ],
)
def test_another_network_or_observation_is_refused(tmp_path, spec, config, text):
    save(tmp_path, make()[0], 10)
    other, replay = make(spec=spec, config=config)
    before = other.state_dict()
    with pytest.raises(CheckpointError, match=text):
        checkpoint.load(tmp_path, other, spec, replay)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_a_learner_of_another_kind_of_device_goes_on_with_other_noise(tmp_path, caplog):
    agent, _ = make()
    state = agent.state_dict()
    state['generator'] = torch.zeros(16, dtype=torch.uint8)  # as that of a GPU
    other, _ = make(seed=1)
    before = other.generator.get_state()
    other.load_state_dict(state)
    assert 'noise is drawn anew' in caplog.text
    assert torch.equal(other.generator.get_state(), before)
    assert torch.equal(other.state_dict()['updates'], state['updates'])


def test_another_learning_rate_is_no_obstacle(tmp_path):
    save(tmp_path, make()[0], 10)
    faster = small(**TINY, optimiser__actor_lr=1e-2)
    assert checkpoint.load(tmp_path, make(config=faster)[0], SPEC).env_step == 10


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(CheckpointError, match='a whole checkpoint must be in .*, got none'):
        checkpoint.load(tmp_path, make()[0], SPEC)
    with pytest.raises(CheckpointError, match='holds no whole checkpoint'):
        checkpoint.load_policy(tmp_path)
    with pytest.raises(CheckpointError, match='there is no such folder'):
        checkpoint.load_policy(tmp_path / 'nowhere')


def test_a_checkpoint_of_a_later_format_is_refused(tmp_path):
    path = save(tmp_path, make()[0], 10) / 'checkpoint.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'format': 4}))
    with pytest.raises(CheckpointError, match='must be of format 3, got 4'):
        checkpoint.load(tmp_path, make()[0], SPEC)


def test_load_policy_takes_a_checkpoint_or_a_run(tmp_path):
    agent, _ = make(seed=2)
    path = save(tmp_path, agent, 20)
    image = torch.randint(0, 256, (3, 2, 36, 36), dtype=torch.uint8)
    for source in (path, tmp_path, str(tmp_path)):
        loaded = checkpoint.load_policy(source, SPEC)
        assert (loaded.version, loaded.env_step, loaded.obs_spec) == (2, 20, SPEC)
        one, two = (p.act(image, torch.ones(3, 1)) for p in (loaded.policy, agent.policy))
        assert torch.equal(one, two)
    assert checkpoint.load_policy(path).obs_spec == SPEC
    assert checkpoint.find(tmp_path) == checkpoint.find(path) == path


def test_load_policy_refuses_another_observation_and_damage(tmp_path):
    path = save(tmp_path, make()[0], 20)
    with pytest.raises(CheckpointError, match='cannot drive: observation must be stack 4, got 2'):
        checkpoint.load_policy(path, ObsSpec(4, 36, 36, ('speed',)))
    tear(path / 'policy.safetensors')
    with pytest.raises(CheckpointError, match='cannot drive: policy.safetensors does not have'):
        checkpoint.load_policy(path)
