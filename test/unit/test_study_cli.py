"""``av-td3 study``, whole and tiny: real runs in processes of their own, and what is refused."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.cli import bench_sides, study, study_peer, study_sb3, study_sides  # noqa: E402
from av_td3_ros.cli.bench_learner import Turn  # noqa: E402
from av_td3_ros.cli.main import main  # noqa: E402
from av_td3_ros.cli.study import cores  # noqa: E402
from av_td3_ros.cli.sim_drivers import ExpertDriver  # noqa: E402
from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.gym_env import TownEnv  # noqa: E402
from av_td3_ros.study.race import COMPARED  # noqa: E402
from small_runs import SMALL  # noqa: E402
from waiting import until  # noqa: E402

TINY = {
    **SMALL,
    'trainer.update_after': 60,
    'trainer.exploration.warmup_steps': 60,
    'trainer.log_every': 5,
    'episode_manager.termination.max_steps': 40,
}
SETTINGS = [text for key, value in TINY.items() for text in ('--set', f'{key}={value}')]
PATIENCE = 120.0


@pytest.fixture(autouse=True)
def handlers():
    """A study collects stops; the tests want their own Ctrl-C back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def failures(folder, *arguments):
    names = 'diverging,with_feature_head'
    return ['study', 'failures', '--output', str(folder), '--only', names, *SETTINGS, *arguments]


def test_failures_from_runs_to_table_and_picture(tmp_path, capsys, monkeypatch):
    arguments = failures(tmp_path, '--steps', '300', '--seeds', '1', '--parallel', '2')
    assert main(arguments) == 0
    assert '2 of 2 runs; written' in capsys.readouterr().out
    data = json.loads((tmp_path / 'failures.json').read_text())
    assert [item['name'] for item in data['configurations']] == ['diverging', 'with_feature_head']
    for item in data['configurations']:
        (run,) = item['runs']
        assert run['env_steps'] == 300 and run['updates'] > 100 and run['halted'] == ''
        assert run['symptoms']['gradient_explosion']['worst'] > 0.0
    head = data['configurations'][1]['changes']['trainer.learner.network.feature_head']
    assert head[0] == 'none'
    config = (tmp_path / 'runs' / 'with_feature_head_seed0' / 'config.yaml').read_text()
    assert f'feature_head: {head[1]}' in config and 'on_halt: warn' in config
    assert '`with_feature_head`' in (tmp_path / 'failures.md').read_text()
    assert (tmp_path / 'failures.png').stat().st_size > 10_000
    assert not list(tmp_path.glob('runs/*/replay'))
    summary = json.loads((tmp_path / 'runs' / 'diverging_seed0' / 'summary.json').read_text())
    assert 0.0 < summary['largest_reward'] < 10.0

    # What is finished is not run again, and not mixed with anything else.
    seen = {path: path.stat().st_mtime_ns for path in tmp_path.glob('runs/*/done.json')}
    assert main(arguments) == 0
    assert '2 of 2 runs are finished already' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in seen} == seen
    assert main(failures(tmp_path, '--steps', '200', '--seeds', '1')) == 2
    assert 'trainer.steps 300 instead of 200' in capsys.readouterr().err

    # After Ctrl-C the tables tell of the seeds that there are.
    shutil.copytree(tmp_path / 'runs/diverging_seed0', tmp_path / 'runs/diverging_seed2')
    monkeypatch.setattr(study, 'run_jobs', lambda *_: [])  # stopped before anything more was run
    assert main(failures(tmp_path, '--steps', '300', '--seeds', '5')) == 1
    assert '3 of 10 runs; written' in capsys.readouterr().out
    data = json.loads((tmp_path / 'failures.json').read_text())
    assert data['seeds'] == [0, 2]
    text = (tmp_path / 'failures.md').read_text()
    assert 'seeds 0, 2. Of some there are fewer: `with_feature_head` 0. Each cell' in text


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(tmp_path):
    """A stop reaches the whole group of processes, as in a terminal."""
    command = failures(tmp_path, '--steps', '1000000', '--seeds', '1', '--parallel', '2')
    process = subprocess.Popen(
        [sys.executable, '-m', 'av_td3_ros.cli.main', *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        written = [tmp_path / 'runs' / f'{n}_seed0' for n in ('diverging', 'with_feature_head')]
        until(lambda: all((path / 'metrics.csv').exists() for path in written), PATIENCE, process)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 1 and 'no run is finished: nothing is written' in out
    assert 'Traceback' not in out
    assert not list(tmp_path.glob('runs/*/done.json'))
    until(lambda: not _is_there(process.pid), PATIENCE)


def _is_there(group):
    """Return whether a process of a group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_peer_from_runs_to_ratio_and_picture(tmp_path, capsys):
    pytest.importorskip('stable_baselines3', reason='compares with stable_baselines3')
    arguments = [
        'study',
        'peer',
        '--output',
        str(tmp_path),
        '--minutes',
        '0.06',
        '--every',
        '0.03',
    ]
    side_by_side = ['--parallel', str(cores())]  # so that each has one core, and one thread
    arguments += ['--episodes', '1', '--seeds', '1', *side_by_side, *SETTINGS]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert '3 of 3 runs; written' in out and '- return: ' in out
    data = json.loads((tmp_path / 'peer.json').read_text())
    assert list(data['learners']) == ['recommended', 'sb3_best', 'sb3_tuned']
    for (run,) in data['learners'].values():
        assert [round(mark['minutes'], 2) >= due for mark, due in zip(run['marks'], (0.03, 0.06))]
        assert len(run['marks']) == 2 and run['steps_per_second'] > 0.0 and run['threads'] == 1
        assert all(0.0 <= mark['figures']['route_completion'] <= 1.0 for mark in run['marks'])
    assert len(list(csv.DictReader((tmp_path / 'peer.csv').open()))) == 6
    assert (tmp_path / 'peer.png').stat().st_size > 10_000
    assert main(arguments) == 0
    assert '3 of 3 runs are finished already' in capsys.readouterr().out


def test_list(capsys):
    assert main(['study', 'failures', '--list']) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names[0] == 'diverging' and len(names) == len(set(names))
    assert {'recommended', 'with_loss', 'without_loss', 'exploding_with_loss'} <= set(names)


@pytest.mark.parametrize(
    'arguments, text',
    [
        (('failures', '--only', 'with_los'), "got 'with_los'; did you mean 'with_loss'?"),
        (('failures', '--seeds', '0'), '--seeds must be >= 1, got 0'),
        (('failures', '--parallel', '0'), '--parallel must be >= 1, got 0'),
        (('failures', '--set', 'trainer.nothing=1'), "unknown key 'trainer.nothing'"),
        (('failures', '--steps', '1'), 'trainer.steps must be 10 to'),
        (('peer', '--minutes', '0'), '--minutes must be above 0 and finite, got 0'),
        (('peer', '--minutes', 'nan'), '--minutes must be above 0 and finite, got nan'),
        (('peer', '--every', '31'), '--every must be <= --minutes 30, got 31'),
        (('peer', '--episodes', '0'), '--episodes must be >= 1, got 0'),
        (('peer', '--threads', '5000'), '--threads must be 0 to .*, got 5000'),
        (('peer', '--parallel', '0'), '--parallel must be 1 to .*, got 0'),
        (('peer', '--peers', 'ppo'), "--peers must be among .*, got 'ppo'"),
    ],
)
def test_refuses(tmp_path, refused, arguments, text):
    error = refused('study', *arguments, '--output', str(tmp_path / 'out'))
    assert re.search(text, error), error
    assert not (tmp_path / 'out' / 'runs').exists()


def test_says_what_to_install(tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, 'stable_baselines3', None)
    error = refused('study', 'peer', '--output', str(tmp_path / 'out'))
    assert 'must have stable_baselines3' in error and 'pip install' in error


# -- the peer -------------------------------------------------------------------------------------


def test_the_evaluation_is_that_of_the_command(tmp_path):
    output = ['--output', str(tmp_path), '--episodes', '1']
    assert main(['evaluate', '--baselines', 'expert', *output, *SETTINGS]) == 0
    told = json.loads((tmp_path / 'evaluation.json').read_text())['metrics']
    config = build_run(TINY, 'test')
    driver = ExpertDriver(config.simulator.fixed_delta_seconds)
    found = study_sides.evaluation(config, driver, 1, study_peer.ROUTES_SEED)
    assert set(found) == set(COMPARED)
    assert found == {key: told[key]['mean'] for key in COMPARED}
    assert study_sides.evaluation(config, driver, 1, 0, lambda: True) is None


def test_threads_are_chosen_by_measurement(monkeypatch):
    pytest.importorskip('stable_baselines3', reason='measures stable_baselines3')
    monkeypatch.setattr(study_sides, 'FRAMES', 300)
    asked = []

    def faster_with_more(self, case, seconds):
        asked.append((case.threads, case.batch))
        return Turn(updates=100 * case.threads, seconds=1.0, core_seconds=1.0)

    monkeypatch.setattr(bench_sides.Peers, 'turn', faster_with_more)
    most = study_sides.fastest_threads(8)
    assert most == asked[-1][0] <= len(os.sched_getaffinity(0))
    assert asked == [(2**i, 8) for i in range(len(asked))]


@pytest.fixture(scope='module')
def peer():
    pytest.importorskip('stable_baselines3', reason='compares with stable_baselines3')
    settings = {**SMALL, 'trainer.seed': 0}
    env = TownEnv(camera='training', config=settings)
    yield study_sb3.make(env, {**study_sb3.SETTINGS['sb3_tuned'], 'batch_size': 8}, 0, 16)
    env.close()


def test_returns_of_three_steps_by_hand(peer):
    """Rewards 1, 2, 4, ...: an ending at 4, a time limit at 9, the newest at 11."""
    import numpy as np

    buffer, spaces = peer.replay_buffer, peer.observation_space.spaces
    buffer.reset()
    gamma = peer.gamma

    def obs(i):
        return {key: np.full((1, *space.shape), i, space.dtype) for key, space in spaces.items()}

    for i in range(12):
        over, late = i in (4, 9), i == 9
        info = [{'TimeLimit.truncated': late}]
        reward = np.array([2.0**i])
        buffer.add(obs(i), obs(i + 1), np.zeros((1, 2)), reward, np.array([over]), info)
    asked = np.array([0, 3, 4, 8, 9, 10, 11])
    found = buffer._get_samples(asked)
    rewards = [
        1 + 2 * gamma + 4 * gamma**2,
        8 + 16 * gamma,
        16.0,
        256 + 512 * gamma,
        512.0,
        1024 + 2048 * gamma,
        2048.0,
    ]
    assert found.rewards.flatten().tolist() == pytest.approx(rewards)
    steps = [3, 2, 1, 2, 1, 2, 1]
    assert found.discounts.flatten().tolist() == pytest.approx([gamma**n for n in steps])
    assert found.dones.flatten().tolist() == [0, 1, 1, 0, 0, 0, 0]  # a time limit is no end
    assert found.observations['vector'][:, 0].tolist() == asked.tolist()
    assert found.next_observations['vector'][:, 0].tolist() == (asked + steps).tolist()
    assert found.next_observations['image'][:, 0, 0, 0].tolist() == (asked + steps).tolist()


def test_the_tuned_peer_has_its_settings(peer):
    assert (peer.learning_starts, peer.batch_size, peer.gamma) == (1000, 8, 0.99)
    assert peer.action_noise is not None and peer.n_steps == 1  # the buffer makes the returns
    assert peer.lr_schedule(1.0) == 3e-4 and peer.policy.share_features_extractor is False


def test_the_best_peer_warms_up_forwards_with_noise_that_lasts_and_updates_as_often_as_ours():
    pytest.importorskip('stable_baselines3', reason='compares with stable_baselines3')
    import numpy as np
    from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise

    env = TownEnv(camera='training', config=TINY)
    model = study_sb3.make(env, study_sb3.SETTINGS['sb3_best'], seed=0, capacity=50)
    assert isinstance(model.action_noise, OrnsteinUhlenbeckActionNoise)
    assert model.train_freq.frequency == 4 and model.gradient_steps == 1
    model._setup_learn(1, None)
    actions = [model._sample_action(1000, model.action_noise)[0][0] for _ in range(500)]
    ahead = np.mean(actions, axis=0)[1]
    assert 0.15 < ahead < 0.55  # uniform ones are 0 in the mean, and the car stands
    env.close()
