"""The Gymnasium environments: the checkers pass, seeds mean bits, worlds do not leak or mix."""

import gc
import hashlib
import inspect
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

gymnasium = pytest.importorskip('gymnasium')
pytest.importorskip('carla')
pytest.importorskip('panda3d')

from gymnasium.utils.env_checker import check_env  # noqa: E402
import yaml  # noqa: E402

from av_td3_ros import gym_env  # noqa: E402
from av_td3_ros.config import RunConfig  # noqa: E402
from av_td3_ros.driving.reward import FAILURES, Reward  # noqa: E402
from av_td3_ros.options import ConfigError, to_flat  # noqa: E402

IDS = (gym_env.TOWN, gym_env.TOWN_IMAGE)
# Everything that draws random numbers.
CHANCE = {'vehicles': 5, 'weather': 'random'}
WEIGHTS = RunConfig().episode_manager.reward
STRAIGHT = np.array([0.0, 0.5], np.float32)


@pytest.fixture
def make():
    """Return gymnasium.make, whose environments are closed at the end."""
    made = []

    def make(id=gym_env.TOWN, **arguments):
        made.append(gymnasium.make(id, **arguments))
        return made[-1]

    yield make
    for env in made:
        env.close()


def digest(env, steps=30):
    """Return a hash of everything that an episode of seeded actions shows."""
    rng = np.random.default_rng(0)
    obs, _ = env.reset(seed=11)
    seen = hashlib.sha256(obs['image'].tobytes() + obs['vector'].tobytes())
    for _ in range(steps):
        action = rng.uniform((-0.1, 0.2), (0.1, 1.0)).astype(np.float32)
        obs, reward, terminated, truncated, info = env.step(action)
        for part in (obs['image'], obs['vector'], np.float64(reward), info['driven_action']):
            seen.update(part.tobytes())
        seen.update(repr((terminated, truncated, sorted(info['reward_terms'].items()))).encode())
        if terminated or truncated:
            obs, _ = env.reset()
    return seen.hexdigest()


@pytest.mark.parametrize('id', IDS)
@pytest.mark.filterwarnings('error')
def test_passes_the_checker_of_gymnasium_without_a_warning(make, id):
    check_env(make(id, render_mode='rgb_array').unwrapped)


@pytest.mark.parametrize('id', IDS)
@pytest.mark.filterwarnings('error')
def test_passes_the_checker_of_stable_baselines3_without_a_warning(make, id):
    checker = pytest.importorskip('stable_baselines3.common.env_checker')
    checker.check_env(make(id, render_mode='rgb_array').unwrapped, skip_render_check=False)


def test_spaces_are_the_documented_ones(make):
    both, image = make(), make(gym_env.TOWN_IMAGE)
    assert both.observation_space['image'] == gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    assert both.observation_space['vector'].shape == (25,)
    assert image.observation_space == both.observation_space['image']
    assert both.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_the_image_alone_is_the_image_of_both(make):
    both, image = make(), make(gym_env.TOWN_IMAGE)
    np.testing.assert_array_equal(both.reset(seed=3)[0]['image'], image.reset(seed=3)[0])
    np.testing.assert_array_equal(both.step(STRAIGHT)[0]['image'], image.step(STRAIGHT)[0])


def test_the_same_seed_gives_the_same_bits_in_another_process(make):
    code = (
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'import gymnasium, test_gym_env\n'
        "id = 'av_td3_ros.gym_env:AvTd3Town-v0'\n"
        'print(test_gym_env.digest(gymnasium.make(id, **test_gym_env.CHANCE)))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    env = make(**CHANCE)
    assert done.stdout.strip() == digest(env), done.stderr
    assert digest(env) == digest(env)  # whatever happened before the seed


def test_another_seed_is_another_route_and_no_seed_goes_on(make):
    env = make()
    lengths = [env.reset(seed=seed)[1]['route_length'] for seed in (1, 2, 1)]
    assert lengths[0] == lengths[2] != lengths[1]
    assert env.reset()[1]['route_length'] != lengths[2]


def test_info_tells_how_the_reward_and_the_end_came_about(make):
    env = make(max_steps=10)
    _, info = env.reset(seed=0)
    assert info['route_completion'] == 0.0 and info['route_length'] >= 80.0
    for step in range(10):
        _, reward, terminated, truncated, info = env.step(STRAIGHT)
        assert set(info['reward_terms']) == set(Reward(WEIGHTS).names)
        assert sum(info['reward_terms'].values()) == pytest.approx(reward, abs=1e-9)
        assert (terminated, truncated) == (False, step == 9)
    assert info['outcome'] == 'truncated' and info['reason'] == 'time_limit'
    assert info['is_success'] is False and 0.0 < info['route_completion'] < 0.1


def test_leaving_the_lane_terminates(make):
    env = make()
    env.reset(seed=0)
    for _ in range(200):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 1.0], np.float32))
        if terminated:
            break
    assert info['reason'] == 'lane_exit' and not truncated
    assert info['reward_terms']['lane_exit'] == -1.0


def test_steering_is_positive_to_the_left(make):
    env = make()
    env.reset(seed=0)
    for _ in range(30):
        info = env.step(np.array([0.3, 0.6], np.float32))[4]
    assert info['heading_error'] > 0.0 and info['lateral_deviation'] > 0.0


def test_steps_need_a_running_episode_and_a_finite_action(make):
    env = make(max_steps=10).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded, match='call reset'):
        env.step(STRAIGHT)
    env.reset(seed=0)
    bad = ([0.0], [np.nan, 0.0], [0.0, np.inf], [0.0, 0.0, 0.0], [10**400, 0.0], [[0.0], 0.0])
    for action in (*bad, 'ab', {'a': 1}, None):
        with pytest.raises(gymnasium.error.InvalidAction, match='must be 2 finite numbers'):
            env.step(action)
    for _ in range(10):
        env.step(STRAIGHT)
    with pytest.raises(gymnasium.error.ResetNeeded, match='after an end'):
        env.step(STRAIGHT)
    env.close()
    with pytest.raises(gymnasium.error.ResetNeeded, match='call reset'):
        env.step(STRAIGHT)


def test_render_shows_what_follows_the_vehicle(make):
    env = make(render_mode='rgb_array')
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (360, 640, 3) and picture.dtype == np.uint8
    assert picture.std() > 10.0
    silent = make()
    silent.reset(seed=0)
    assert silent.unwrapped.render() is None


@pytest.mark.parametrize(
    'arguments, text',
    [
        ({'mapp': 'town'}, "unknown key 'mapp' in the arguments of gymnasium.make"),
        ({'simulator.fovdeg': 90.0}, "did you mean 'simulator.fov_deg'"),
        ({'vehicles': 10_000}, 'simulator.vehicles must be 0 to 100, got 10000'),
        ({'vehicles': 2.5}, r'simulator.vehicles must be int, got 2.5 \(float\)'),
        ({'weather': 'snow'}, "simulator.weather must be one of clear_noon, .*got 'snow'"),
        ({'max_steps': 0}, 'max_steps must be 10 to 100000, got 0'),
        ({'camera': 'big'}, "camera must be one of direct, training, got 'big'"),
        ({'render_mode': 'ansi'}, "render_mode must be None or 'rgb_array', got 'ansi'"),
        ({'map': 'no/such.xodr'}, 'No such file or directory'),
        ({'map': 'a\0b'}, 'map must be .*got .*null byte'),
        ({'map': 'random_town:' + '9' * 5000}, 'a whole number from 0 to'),
        ({'config': [1]}, r'config must be a mapping of settings or .*, got \[1\]; fix it in'),
        ({'config': 3}, 'config must be a mapping of settings or .*, got 3; fix it in'),
        ({'config': 'no/such.yaml'}, 'config file must be readable, got no/such.yaml'),
        ({'config': {'simulator': {'seed': -1}}}, 'simulator.seed must be >= 0, got -1'),
    ],
)
@pytest.mark.filterwarnings('ignore:.*render_mode')
def test_wrong_arguments_are_refused_in_one_sentence(arguments, text):
    with pytest.raises(ValueError, match=text) as error:
        gymnasium.make(gym_env.TOWN, **arguments)
    assert '\n' not in str(error.value)


def test_options_of_reset_are_refused(make):
    with pytest.raises(ConfigError, match='options of reset must be empty'):
        make().reset(options={'start': 1})


def test_the_camera_is_direct_unless_something_says_otherwise(tmp_path):
    run = tmp_path / 'config.yaml'
    run.write_text(yaml.safe_dump(to_flat(RunConfig())))

    def camera(**arguments):
        env = gym_env.TownEnv(**arguments)
        config = env._run
        env.close()
        return (
            config.simulator.image_width,
            config.simulator.image_height,
            config.observation.crop_top,
        )

    assert camera() == (84, 84, 0.0)
    assert camera(**{'observation.width': 64, 'observation.height': 48}) == (64, 48, 0.0)
    assert camera(camera='training') == camera(config=run) == (256, 144, 0.35)
    assert camera(config=run, **{'simulator.image_width': 128})[0] == 128


def test_two_worlds_in_one_process_do_not_mix(make):
    alone = digest(make(), steps=10)
    one, other = make(), make(**{'simulator.seed': 5})
    other.reset(seed=1)
    mixed = []
    rng = np.random.default_rng(0)
    for env in (one, other):
        env.reset(seed=11)
    for _ in range(10):
        action = rng.uniform((-0.1, 0.2), (0.1, 1.0)).astype(np.float32)
        mixed.append(one.step(action)[0]['image'])
        other.step(-action)
    assert digest(one, steps=10) == alone
    fresh = make()
    fresh.reset(seed=11)
    rng = np.random.default_rng(0)
    for image in mixed:
        action = rng.uniform((-0.1, 0.2), (0.1, 1.0)).astype(np.float32)
        np.testing.assert_array_equal(fresh.step(action)[0]['image'], image)


@pytest.mark.parametrize(
    'mode, how', [('sync', {}), ('async', {'context': 'fork'}), ('async', {'context': 'spawn'})]
)
def test_vectorised_environments_show_what_single_ones_do(make, mode, how):
    single = make()
    wanted = [single.reset(seed=seed)[0]['image'] for seed in (4, 5)]
    envs = gymnasium.make_vec(gym_env.TOWN, num_envs=2, vectorization_mode=mode, vector_kwargs=how)
    try:
        obs, info = envs.reset(seed=4)
        np.testing.assert_array_equal(obs['image'], wanted)
        obs, reward, terminated, truncated, info = envs.step(np.stack([STRAIGHT, STRAIGHT]))
        assert obs['image'].shape == (2, 4, 84, 84) and not (terminated | truncated).any()
        assert info['reward_terms']['progress'].shape == (2,)
    finally:
        envs.close()


def resident():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon')) * 1024


def test_closing_gives_the_memory_back():
    def cycle():
        env = gymnasium.make(gym_env.TOWN)
        env.reset(seed=0)
        env.step(STRAIGHT)
        env.close()

    for _ in range(2):
        cycle()
    gc.collect()
    before = resident()
    for _ in range(5):
        cycle()
    gc.collect()
    assert resident() - before < 5 * 300_000  # a world takes far more


def test_a_long_drive_takes_no_more_memory(make):
    env = make(max_steps=10)

    def drive(episodes):
        for _ in range(episodes):
            env.reset()  # elsewhere, as Panda3D keeps what it has seen once
            for _ in range(10):
                env.step(STRAIGHT)

    drive(20)
    before = resident()
    drive(100)
    assert resident() - before < 1_500_000  # 1000 steps: 1.5 kB each


def test_a_learner_of_others_trains_on_it():
    sb3 = pytest.importorskip('stable_baselines3')
    env = gymnasium.make(
        gym_env.TOWN, max_steps=40, **{'observation.height': 36, 'observation.width': 36}
    )
    learner = sb3.TD3(
        'MultiInputPolicy',
        env,
        seed=0,
        learning_starts=100,
        train_freq=20,
        gradient_steps=2,
        batch_size=16,
        buffer_size=300,
        policy_kwargs={'net_arch': [16]},
        device='cpu',
    )
    before = [p.detach().clone() for p in learner.actor.mu.parameters()]
    learner.learn(200)
    assert learner.num_timesteps == 200
    assert all((p != old).any() for p, old in zip(learner.actor.mu.parameters(), before))
    assert len(learner.ep_info_buffer) >= 4
    env.close()


def test_the_page_describes_what_there_is():
    page = (Path(__file__).parents[2] / 'docs' / 'gymnasium.md').read_text()
    for name in Reward(WEIGHTS).names:
        row = next(line for line in page.splitlines() if line.startswith(f'| {name}: '))
        assert row.endswith(f'| {getattr(WEIGHTS, name)} |')
    for reason in FAILURES | {'goal', 'time_limit'}:
        assert f'| `{reason}` |' in page
    for name in list(inspect.signature(gym_env.TownEnv).parameters)[:-1]:
        assert f'| `{name}` |' in page


def test_the_expert_of_the_page_reaches_its_goal(capsys):
    page = (Path(__file__).parents[2] / 'docs' / 'gymnasium.md').read_text()
    snippet = page.partition('## Expert')[2].partition('```python\n')[2].partition('```')[0]
    exec(snippet, {})
    assert capsys.readouterr().out == 'goal\n'


def test_a_closed_environment_shows_no_world(make):
    env = make().unwrapped
    assert env.driving.world.others.shape == (0, 6)
    env.close()
    with pytest.raises(gymnasium.error.ResetNeeded, match='a world must be open'):
        env.driving
