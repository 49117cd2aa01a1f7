"""Presets: complete files of values that are checked, compared and laid under a run's settings."""

from pathlib import Path
import sys

import pytest
import yaml

from av_td3_ros import config as conf
from av_td3_ros import options as opt
from av_td3_ros import presets
from av_td3_ros.cli import common, train
from av_td3_ros.cli.main import parser
from av_td3_ros.learning_config import HealthConfig

ROOT = Path(__file__).resolve().parents[2]
NAMES = presets.names()
SHIPPED = {
    'recommended',
    'fujimoto_paper',
    'fujimoto_code',
    'spinning_up',
    'sb3',
    'diverging',
    'ddpg',
}
# Settings without effect, and when: they keep their default, so that `diff` shows what matters.
IDLE = {
    'learner.target.weight': lambda v: v['learner.target.kind'] != 'weighted',
    'learner.target.noise_clip': lambda v: v['learner.target.noise'] == 0.0,
    'learner.target.clip_refresh': lambda v: not v['learner.target.clip_to_seen'],
    'learner.optimiser.critic_clip': lambda v: v['learner.optimiser.clip'] == 'none',
    'learner.optimiser.actor_clip': lambda v: v['learner.optimiser.clip'] == 'none',
    'replay.priority_exponent': lambda v: not v['replay.prioritised'],
    'replay.importance_exponent': lambda v: not v['replay.prioritised'],
    'replay.importance_updates': lambda v: not v['replay.prioritised'],
    'exploration.warmup_throttle': lambda v: v['exploration.warmup'] == 'uniform',
    'exploration.std_steps': lambda v: v['exploration.std_start'] == v['exploration.std_end'],
}
# What the originals are known by; from their code.
ORIGINALS = {
    'fujimoto_paper': (100, 1e-3, 0.005, 0.99, 400, 300, 10_000, 0.1),
    'fujimoto_code': (256, 3e-4, 0.005, 0.99, 256, 256, 25_000, 0.1),
    'spinning_up': (100, 1e-3, 0.005, 0.99, 256, 256, 10_000, 0.1),
    'sb3': (256, 1e-3, 0.005, 0.99, 256, 256, 100, 0.0),
    'ddpg': (256, 3e-4, 0.005, 0.99, 256, 256, 25_000, 0.1),
}


def contents(name):
    return yaml.safe_load((ROOT / 'config' / 'presets' / f'{name}.yaml').read_text())


def config_of(*arguments):
    return common.load_config(parser().parse_args(['train', *arguments]))


def test_the_default_comes_first_and_none_is_missing():
    assert NAMES[0] == presets.DEFAULT and set(NAMES) == SHIPPED


@pytest.mark.parametrize('name', NAMES)
def test_a_file_says_everything_that_makes_the_algorithm_and_nothing_else(name):
    values = contents(name)
    assert next(iter(values)) == 'description'
    assert values.pop('description').strip() == presets.description(name) != ''
    flat = opt.flatten(values)
    assert list(flat) == list(presets.keys())
    assert {presets.PREFIX + key: value for key, value in flat.items()} == presets.load(name)


def test_machine_and_run_are_the_only_settings_that_presets_leave_out():
    left = {item.key for item in opt.options(conf.TrainerConfig)} - set(presets.keys())
    assert {key for key in left if not key.startswith('observation.')} == {
        'run_dir',
        'resume',
        'steps',
        'seed',
        'device',
        'precision',
        'threads',
        'max_lead',
        'publish_every',
        'checkpoint_every',
        'log_every',
        'replay.storage',
        'replay.prefetch',
        *(f'health.{item.key}' for item in opt.options(HealthConfig)),
    }


@pytest.mark.parametrize('name', NAMES)
def test_idle_settings_keep_their_default(name):
    flat = opt.flatten(contents(name))
    for key, idle in IDLE.items():
        assert not idle(flat) or flat[key] == presets.keys()[key].default, key


@pytest.mark.parametrize('name', NAMES)
def test_every_preset_makes_a_valid_run(name):
    run = conf.build_run(presets.load(name), name)
    flat = {presets.PREFIX + key: value for key, value in opt.to_flat(run.trainer).items()}
    assert {key: flat[key] for key in presets.load(name)} == presets.load(name)


def test_recommended_is_the_default_of_every_setting():
    assert conf.build_run(presets.load('recommended'), 'x') == conf.RunConfig()


@pytest.mark.parametrize('name', sorted(ORIGINALS))
def test_the_originals_have_their_values(name):
    run = conf.build_run(presets.load(name), name).trainer
    learner, noise = run.learner, run.exploration
    assert ORIGINALS[name] == (
        learner.batch_size,
        learner.optimiser.critic_lr,
        learner.tau,
        learner.discount,
        learner.network.hidden_1,
        learner.network.hidden_2,
        noise.warmup_steps,
        noise.std_start,
    )
    assert learner.optimiser.critic_lr == learner.optimiser.actor_lr
    assert run.updates_per_round == run.update_every  # one update per step, Spinning Up too
    assert noise.std_end == noise.std_start and noise.correlation == 0.0
    assert not learner.network.shared_encoder and learner.loss == 'mse'


def test_ddpg_is_td3_without_its_three_ideas():
    differing = presets.difference('ddpg', 'fujimoto_code')
    assert {key.rpartition('.')[2]: pair for key, pair in differing.items()} == {
        'policy_delay': (1, 2),
        'critics': (1, 2),
        'noise': (0.0, 0.2),
    }


def test_sb3_has_the_defaults_of_the_installed_stable_baselines3():
    peer = pytest.importorskip('stable_baselines3', reason='only for comparison')
    import inspect

    usual = {k: p.default for k, p in inspect.signature(peer.TD3.__init__).parameters.items()}
    run = conf.build_run(presets.load('sb3'), 'sb3').trainer
    learner, target = run.learner, run.learner.target
    assert usual['learning_rate'] == learner.optimiser.critic_lr == learner.optimiser.encoder_lr
    assert usual['buffer_size'] == run.replay.capacity
    assert usual['learning_starts'] == run.update_after == run.exploration.warmup_steps
    assert usual['batch_size'] == learner.batch_size
    assert (usual['tau'], usual['gamma']) == (learner.tau, learner.discount)
    assert (usual['train_freq'], usual['gradient_steps']) == (1, 1)
    assert usual['action_noise'] is None and run.exploration.std_start == 0.0
    assert usual['n_steps'] == learner.n_step and usual['policy_delay'] == learner.policy_delay
    assert (usual['target_policy_noise'], usual['target_noise_clip']) == (
        target.noise,
        target.noise_clip,
    )


# -- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize('a', NAMES)
@pytest.mark.parametrize('b', NAMES)
def test_a_difference_is_exact_and_symmetric(a, b):
    differing = presets.difference(a, b)
    assert {key: pair[::-1] for key, pair in differing.items()} == presets.difference(b, a)
    assert {**presets.load(a), **{k: pair[1] for k, pair in differing.items()}} == presets.load(b)
    assert all(first != second for first, second in differing.values())
    assert bool(differing) == (a != b)


# -- files of one's own ---------------------------------------------------------------------------


def test_a_file_of_ones_own_keeps_the_default_of_what_it_leaves_out(own):
    path = own('learner: {tau: 1e-3, batch_size: 48}\n', 'any_name')  # YAML 1.1 reads a string
    assert presets.description(path) == ''
    assert presets.difference(presets.DEFAULT, path) == {
        'trainer.learner.batch_size': (32, 48),
        'trainer.learner.tau': (0.01, 0.001),
    }


@pytest.mark.parametrize(
    'text, message',
    [
        ('learner: {tua: 0.1}', "unknown key 'learner.tua' in FILE; did you mean 'learner.tau'?"),
        ('learner:', "unknown key 'learner' in FILE"),
        ('steps: 100', "'steps' in FILE is of the machine or the run"),
        ('replay: {storage: mapped}', "set 'trainer.replay.storage' with --set or --config"),
        ('learner: {tau: lots}', "learner.tau must be float, got 'lots' (str); fix it in FILE"),
        ('learner: {tau: 2.0}', 'learner.tau must be 0 to 1, got 2.0; fix it in FILE'),
        ('learner: {loss: l1}', "learner.loss must be one of huber, mse, got 'l1'"),
        ('learner: {target: {critics: 1, kind: mpg}}', "kind must be 'minimum' with critics 1"),
        ('learner: {tau: 0.1, tau: 0.2}', "key 'tau' is said twice"),
        ('description: [1]', 'description must be str, got [1] (list); fix it in FILE'),
        ('[1, 2]', 'preset file must hold a mapping, got list in FILE'),
        ('a: [', 'preset file must be YAML, got FILE'),
        ('', 'preset file must hold a mapping, got NoneType in FILE'),
    ],
)
def test_a_bad_file_is_refused_with_key_value_and_place(own, text, message):
    path = own(text)
    with pytest.raises(opt.ConfigError) as error:
        presets.load(path)
    assert message.replace('FILE', path) in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(opt.ConfigError, match='preset file must be YAML'):
        presets.load(str(path))


def test_a_wrong_name_is_refused_with_the_near_one_and_all_others():
    with pytest.raises(opt.ConfigError) as error:
        presets.load('spining_up')
    assert "got 'spining_up'; did you mean 'spinning_up'?" in str(error.value)
    assert all(name in str(error.value) for name in NAMES)


# -- training with one ----------------------------------------------------------------------------


def test_each_source_of_settings_goes_before_the_last(tmp_path):
    file = tmp_path / 'more.yaml'
    file.write_text('trainer: {learner: {tau: 0.5, n_step: 7}}')
    chain = ('--preset', 'sb3', '--config', str(file), '--set', 'trainer.learner.n_step=9')
    learner = config_of().trainer.learner
    assert (learner.discount, learner.tau, learner.n_step) == (0.97, 0.01, 3)
    learner = config_of(*chain[:2]).trainer.learner
    assert (learner.discount, learner.tau, learner.n_step) == (0.99, 0.005, 1)
    learner = config_of(*chain[:4]).trainer.learner
    assert (learner.discount, learner.tau, learner.n_step) == (0.99, 0.5, 7)
    learner = config_of(*chain).trainer.learner
    assert (learner.discount, learner.tau, learner.n_step) == (0.99, 0.5, 9)


def test_the_options_of_the_command_line_go_before_the_preset():
    options = parser().parse_args(['train', '--preset', 'sb3', '--steps', '77'])
    _, config = train.prepare(options)
    assert config.trainer.steps == 77 and config.trainer.learner.batch_size == 256


def test_a_preset_of_ones_own_trains(own):
    assert config_of('--preset', own('learner: {shift_pad: 1}')).trainer.learner.shift_pad == 1


def test_a_preset_that_could_set_nothing_is_refused(tmp_path):
    from dataclasses import asdict

    file = tmp_path / 'config.yaml'
    file.write_text(yaml.safe_dump(asdict(conf.RunConfig())))
    with pytest.raises(opt.ConfigError, match='already sets all that a preset holds'):
        config_of('--preset', 'sb3', '--config', str(file))


# -- what is generated and installed --------------------------------------------------------------


@pytest.fixture
def write_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import write_tables

    yield write_tables
    sys.modules.pop('write_tables')


def test_the_page_of_presets_is_up_to_date(write_tables):
    page = (ROOT / 'docs' / 'presets.md').read_text()
    assert page == write_tables.presets_page(), 'run tools/write_tables.py: presets.md'


def test_the_page_shows_every_value_and_every_part(write_tables):
    table = [row.strip('| ').split(' | ') for row in write_tables.preset_table().splitlines()]
    assert table[0] == ['key', *NAMES, 'meaning'] and len(table) == 2 + len(presets.keys())
    cells = {row[0].strip('`'): row[1:] for row in table[2:]}
    assert cells['learner.batch_size'][NAMES.index('recommended')] == '32'
    assert cells['learner.batch_size'][NAMES.index('sb3')] == '**256**'
    for kind, key in (('encoders', 'learner.network.encoder'), ('targets', 'learner.target.kind')):
        rows = write_tables.part_table(kind).splitlines()[2:]
        assert [row.split('`')[1] for row in rows] == list(presets.keys()[key].choices)
        assert all(len(row) > 30 for row in rows)


def test_an_installation_has_the_presets():
    text = (ROOT / 'setup.py').read_text()
    assert "glob('config/presets/*.yaml')" in text and "glob('config/*.*')" in text
    assert all(path.is_file() for path in ROOT.glob('config/*.*'))
