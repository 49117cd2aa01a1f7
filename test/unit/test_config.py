"""Settings: one source, everything read and checked."""

from pathlib import Path
import sys

import pytest
import yaml

from av_td3_ros import config as conf
from av_td3_ros import graph
from av_td3_ros import options as opt

ROOT = Path(__file__).resolve().parents[2]


def test_values_reach_their_field_nested_or_dotted():
    run = conf.build_run(
        {'trainer': {'learner': {'batch_size': 64}}, 'episode_manager.seed': 3}, 'x'
    )
    assert run.trainer.learner.batch_size == 64
    assert run.episode_manager.seed == 3


def test_shared_settings_reach_every_node_that_has_them():
    run = conf.build_run({'role_name': 'hero', 'observation.stack': 2}, 'x')
    assert (
        run.policy.role_name == run.simulator.role_name == run.episode_manager.role_name == 'hero'
    )
    assert run.trainer.observation == run.policy.observation == run.perception.observation
    assert run.trainer.observation.stack == 2


@pytest.mark.parametrize(
    'values, text',
    [
        (
            {'trainer.lerner.batch_size': 3},
            "unknown key 'trainer.lerner.batch_size' in f.yaml; did you mean "
            "'trainer.learner.batch_size'?",
        ),
        (
            {'batch_size': 3},
            "unknown key 'batch_size' in f.yaml; did you mean 'trainer.learner.batch_size'?",
        ),
        ({'height': 3}, "did you mean 'observation.height'?"),
        (
            {'seed': 3},
            "did you mean 'simulator.seed' or 'policy.seed' or 'episode_manager.seed' or "
            "'trainer.seed'?",
        ),
        (
            {'trainer.steps': 'many'},
            "trainer.steps must be int, got 'many' (str); fix it in f.yaml",
        ),
        ({'trainer.steps': True}, 'trainer.steps must be int, got True (bool)'),
        (
            {'trainer.learner.discount': 1.5},
            'trainer.learner.discount must be 0 to 0.9999, got 1.5',
        ),
        (
            {'trainer.learner.discount': float('nan')},
            'trainer.learner.discount must be 0 to 0.9999, got nan',
        ),
        (
            {'trainer.device': 'tpu'},
            "trainer.device must be one of cpu, cuda, got 'tpu'; fix it in f.yaml",
        ),
        (
            {'policy.role_name': 'x'},
            "'policy.role_name' is shared by several nodes; set 'role_name' at the top",
        ),
        (
            {'trainer.replay.capacity': 100, 'trainer.learner.batch_size': 128},
            'trainer.learner.batch_size must be <= replay.capacity - observation.stack, got 128 > '
            '100 - 4; fix it in f.yaml',
        ),
        (
            {'episode_manager.route_length_min': 900.0},
            'route_length_min must be <= route_length_max - 2 m, got 900 and 200',
        ),
        (
            {'episode_manager.route_length_min': 100.0, 'episode_manager.route_length_max': 100.0},
            'route_length_min must be <= route_length_max - 2 m, got 100 and 100',
        ),
    ],
)
def test_bad_values_are_refused_with_key_value_and_place(values, text):
    with pytest.raises(opt.ConfigError) as error:
        conf.build_run(values, 'f.yaml')
    assert text in str(error.value)
    assert '\n' not in str(error.value)


def test_a_batch_may_fill_the_replay_but_for_one_stack():
    for stack in (1, 4, 8):
        values = {
            'observation.stack': stack,
            'trainer.learner.batch_size': 128,
            'trainer.replay.capacity': 128 + stack,
        }
        assert conf.build_run(values, 'x').trainer.observation.stack == stack
        with pytest.raises(opt.ConfigError, match=f'got 128 > {127 + stack} - {stack}'):
            conf.build_run({**values, 'trainer.replay.capacity': 127 + stack}, 'x')


def test_integers_are_accepted_where_floats_are_meant():
    run = conf.build_run({'episode_manager.reward.goal': 2}, 'x')
    assert run.episode_manager.reward.goal == 2.0
    assert isinstance(run.episode_manager.reward.goal, float)


@pytest.mark.parametrize(
    'text, value',
    [
        ('trainer.steps=12', 12),
        ('trainer.learner.tau=0.5', 0.5),
        ('trainer.resume=true', True),
        ('simulator.map=a=b', 'a=b'),
    ],
)
def test_assignments_are_read_in_the_type_of_their_key(text, value):
    assert conf.parse_assignment(text) == (text.partition('=')[0], value)


@pytest.mark.parametrize(
    'text', ['trainer.steps', 'trainer.steps=x', 'trainer.resume=yes', 'nothing=1']
)
def test_bad_assignments_are_refused(text):
    with pytest.raises(opt.ConfigError):
        conf.parse_assignment(text)


def test_flattened_config_builds_the_same_config():
    run = conf.build_run({'observation.waypoints': 3}, 'x')
    assert opt.build(conf.PolicyConfig, opt.to_flat(run.policy), 'x') == run.policy


def test_generated_files_are_up_to_date():
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        import write_tables
    finally:
        sys.path.pop(0)
    for node in graph.GRAPHS['training']:
        path = ROOT / 'config' / node.file
        assert path.read_text() == write_tables.parameter_file(
            node
        ), f'run tools/write_tables.py: {path.name}'
        values = yaml.safe_load(path.read_text())['/**']['ros__parameters']
        cls = type(getattr(conf.RunConfig(), node.name))
        assert set(opt.flatten(values)) == {item.key for item in opt.options(cls)}
        assert opt.build(cls, values, 'x') == cls()


def test_every_option_says_what_it_means():
    for item in opt.options(conf.RunConfig):
        assert item.doc and item.type in (bool, int, float, str), item.key


def test_observation_entries_follow_their_switches():
    spec = conf.ObservationConfig(speed=False, waypoints=2).spec()
    assert spec.vector == (
        'yaw_rate',
        'last_steering',
        'lateral_deviation',
        'heading_error',
        'waypoint_0_x',
        'waypoint_0_y',
        'waypoint_1_x',
        'waypoint_1_y',
    )
    assert spec.digest != conf.ObservationConfig().spec().digest
    assert type(spec).from_dict(spec.to_dict()) == spec
