"""Cures make `recommended` of `diverging`, whatever the presets say; every attempt is a config."""

from pathlib import Path

import pytest
import torch

from av_td3_ros import presets
from av_td3_ros.config import build_run
from av_td3_ros.study import attempts, cures
from av_td3_ros.td3.agent import TD3
from learners import make_batch, small, SPEC


def test_all_cures_together_are_the_whole_difference():
    found = cures.differences()
    together = {}
    for name, changes in found.items():
        assert changes and not together.keys() & changes.keys(), name
        together.update(changes)
    assert together == presets.difference('diverging', 'recommended')


def test_every_named_setting_exists():
    known = presets.keys()
    for name, cure in cures.CURES.items():
        for key in cure.keys:
            assert any(k == key or key.endswith('.') and k.startswith(key) for k in known), key
            assert cures.cure_of(presets.PREFIX + key.rstrip('.')) in (name, cures.REST)
    assert cures.cure_of('trainer.learner.target.noise') == 'targets'
    assert cures.cure_of('trainer.learner.anything_new') == cures.REST


def test_a_cure_changes_its_own_settings_alone():
    sick, well = presets.load('diverging'), presets.load('recommended')
    every = {item.name: item for item in cures.configurations(ablations=True)}
    assert list(every)[0] == 'diverging' and 'recommended' in every
    assert every['diverging'].values == sick and every['recommended'].values == well
    assert 'with_feature_head' in every and 'without_feature_head' in every
    for item in every.values():
        start = {'cure': sick, 'ablation': well}.get(item.kind, item.values)
        changed = {key: (start[key], item.values[key]) for key in start}
        changed = {key: pair for key, pair in changed.items() if pair[0] != pair[1]}
        assert changed == item.changes, item.name
        assert item.reason.endswith('.')
        build_run(item.values, item.name)


def test_attempts_and_their_cures_change_what_they_say():
    found = {item.name: item for item in attempts.configurations(cures=True, others=True)}
    assert [item.name for item in attempts.configurations()] == ['exploding']
    start = {'diverging': presets.load('diverging'), 'exploding': found['exploding'].values}
    well = presets.load('recommended')
    for item in found.values():
        assert item.reason.endswith('.') and item.fault in ('', *attempts.FAULTS)
        assert item.changes or item.fault, item.name
        for key, value in item.values.items():
            before = start[item.base][key]
            assert item.changes.get(key, (before, before)) == (before, value), item.name
            if item.kind == 'cure':
                assert value in (before, well[key]) and item.fault == found['exploding'].fault
        build_run(item.values, item.name)
    rates = found['exploding_with_learning_rates'].changes
    assert rates['trainer.learner.optimiser.encoder_lr'][0] == 0.001


@pytest.mark.parametrize('spoiled', (False, True))
def test_only_the_spoiled_actor_climbs_through_its_features(spoiled):
    """With an actor that gives no action gradient, its encoder moves by the features alone."""
    own = {'network__shared_encoder': False, 'policy_delay': 1, 'pre_tanh_penalty': 0.0}
    agent = TD3(SPEC, small(**own))
    with torch.no_grad():
        for parameter in agent.policy.actor.parameters():
            parameter.zero_()  # no action depends on any feature
    if spoiled:
        attempts.climb_through_features(agent)
    metrics = agent.update(make_batch())
    assert (metrics['gradient_norm_actor_encoder'] > 0.0) is spoiled
    assert metrics['gradient_norm_encoder'] > 0.0


def test_the_page_names_every_cure_and_attempt():
    page = Path(__file__).resolve().parents[2] / 'docs' / 'design' / 'study.md'
    rows = {line.split('`')[1]: line for line in page.read_text().splitlines() if '| `' in line}
    for name, cure in cures.CURES.items():
        assert cure.reason in rows[name] and all(f'`{key}`' in rows[name] for key in cure.keys)
    for name, attempt in attempts.ATTEMPTS.items():
        assert attempt.reason in rows[name]
        for key, value in attempt.changes.items():
            assert f'`{key.removeprefix(presets.PREFIX)}={value}`' in rows[name], key
