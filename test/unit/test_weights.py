"""Weights that travel: what is whole is adopted, every fault is refused by name."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import LearnerConfig, NetworkConfig
from av_td3_ros.td3 import weights
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.weights import unpack, WeightsError

SPEC = ObsSpec(2, 36, 36, ('speed',))
CONFIG = NetworkConfig(feature_size=16, hidden_1=16, hidden_2=24)
LEARNER = LearnerConfig(network=CONFIG)


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """
    How many share a product is decided by the load of the machine, and it rounds by that: also
    the first weights, which are made orthogonal.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def packed():
    return weights.pack(TD3(SPEC, LEARNER, seed=1).policy, SPEC, CONFIG, 7)


def changed_tensors(packed, change):
    """Return packed weights with other tensors and a hash that fits them."""
    state = safetensors.torch.load(packed.tensors)
    change(state)
    data = safetensors.torch.save(state)
    return packed._replace(tensors=data, sha256=weights.sha256(data))


def changed_spec(packed, change):
    spec = json.loads(packed.spec)
    change(spec)
    return packed._replace(spec=json.dumps(spec))


def refusal(packed, expected=SPEC):
    with pytest.raises(WeightsError) as refused:
        unpack(packed.tensors, packed.sha256, packed.spec, expected)
    text = str(refused.value)
    assert '\n' not in text and len(text) < 1000
    return text


def test_whole_weights_act_like_the_original_bit_for_bit(packed):
    original = TD3(SPEC, LEARNER, seed=1).policy
    policy = unpack(packed.tensors, packed.sha256, packed.spec, SPEC)
    image = torch.randint(0, 256, (4, 2, 36, 36), dtype=torch.uint8)
    vector = torch.rand(4, 1)
    assert torch.equal(policy.act(image, vector), original.act(image, vector))
    assert not any(p.requires_grad or p.is_meta for p in policy.parameters())
    assert packed.version == 7


def test_unpacked_weights_are_independent_of_the_learner():
    agent = TD3(SPEC, LEARNER)
    packed = weights.pack(agent.policy, SPEC, CONFIG)
    with torch.no_grad():
        agent.policy.actor.layers[0].weight.zero_()
    policy = unpack(packed.tensors, packed.sha256, packed.spec, SPEC)
    assert policy.actor.layers[0].weight.abs().sum() > 0


def test_an_empty_vector_works():
    spec = ObsSpec(1, 36, 36, ())
    packed = weights.pack(TD3(spec, LEARNER).policy, spec, CONFIG)
    policy = unpack(packed.tensors, packed.sha256, packed.spec, spec)
    action = policy.act(torch.zeros(1, 1, 36, 36, dtype=torch.uint8), torch.zeros(1, 0))
    assert action.shape == (1, 2)


def test_spec_names_observation_action_and_network():
    assert json.loads(weights.spec_json(SPEC, CONFIG)) == {
        'format': 4,
        'observation': SPEC.to_dict(),
        'action': ['steering', 'acceleration'],
        'network': dataclasses.asdict(CONFIG),
    }


def test_refuses_a_wrong_hash(packed):
    damaged = bytearray(packed.tensors)
    damaged[-1] ^= 1
    text = refusal(packed._replace(tensors=bytes(damaged)))
    assert text.startswith(f'hash must be {packed.sha256}, got ')
    assert 'hash must be' in refusal(packed._replace(sha256='x\n' * 10_000))


@pytest.mark.parametrize('spec', ['', '{', '[]', 'null', '{"format": 4}', '[' * 100_000, '1e999'])
def test_refuses_an_unreadable_specification(packed, spec):
    assert refusal(packed._replace(spec=spec)).startswith('specification is unreadable')


@pytest.mark.parametrize(
    'change, text',
    [
        (lambda s: s.update(format=1), 'format must be 4, got 1'),
        (lambda s: s['observation'].update(height=84), 'observation must be height 36, got 84'),
        (lambda s: s['observation'].update(stack=float('inf')), 'specification is unreadable'),
        (
            lambda s: s['observation'].update(vector=['yaw']),
            "observation must be vector ['speed'], got ['yaw']",
        ),
        (
            lambda s: s.update(action=['acceleration', 'steering']),
            "action must be ['steering', 'acceleration']",
        ),
        (lambda s: s['network'].update(encoder='resnet'), 'encoder must be one of'),
        (
            lambda s: s['network'].update(hidden_1=10**9),
            'hidden_1 must be 8 to 4096, got 1000000000',
        ),
        (lambda s: s['network'].update(hidden_1='16'), 'hidden_1 must be int'),
        (lambda s: s['network'].update(layers=3), 'network must name'),
        (lambda s: s['network'].update(tau=0.5), 'network must name'),
        (lambda s: s['network'].pop('feature_size'), 'network must name'),
        (
            lambda s: s['network'].update(feature_size=32),
            'tensor actor.layers.0.weight must be (16, 33) torch.float32, got (16, 17) '
            'torch.float32',
        ),
    ],
)
def test_refuses_another_specification(packed, change, text):
    assert text in refusal(changed_spec(packed, change))


def test_refuses_what_is_too_large_before_it_is_parsed(packed, monkeypatch):
    monkeypatch.setattr(weights, 'MAX_BYTES', len(packed.tensors) - 1)
    monkeypatch.setattr(safetensors.torch, 'load', None)
    assert 'weights must have at most' in refusal(packed)


@pytest.mark.parametrize('data', [b'', b'\x80\x04pickle', b'\xff' * 64, bytes(8), None])
def test_refuses_what_is_not_safetensors(packed, data):
    data = packed.tensors[:-4] if data is None else data
    text = refusal(packed._replace(tensors=data, sha256=weights.sha256(data)))
    assert 'must be a safetensors file' in text or 'must be there, got none' in text


@pytest.mark.parametrize(
    'change, text',
    [
        (
            lambda s: s.pop('encoder.head.0.bias'),
            'tensor encoder.head.0.bias must be there, got none',
        ),
        (lambda s: s.update(extra=torch.zeros(1)), 'tensor extra must not be there'),
        (
            lambda s: s.update({'actor.layers.4.bias': torch.zeros(3)}),
            'must be (2,) torch.float32, got (3,)',
        ),
        (
            lambda s: s.update({'actor.layers.4.bias': torch.zeros(2, dtype=torch.float64)}),
            'must be (2,) torch.float32, got (2,) torch.float64',
        ),
        (lambda s: s['encoder.body.0.0.weight'].fill_(np.inf), '0.weight must be finite'),
        (
            lambda s: (
                s['actor.layers.0.bias'].fill_(1e38),
                s['actor.layers.2.weight'].fill_(1e38),
            ),
            'actions on a probe batch must be finite',
        ),
        (
            lambda s: s['encoder.body.0.2.weight'].fill_(3e38),
            'actions on a probe batch must be finite',
        ),
    ],
)
def test_refuses_tensors_that_do_not_fit(packed, change, text):
    assert text in refusal(changed_tensors(packed, change))


def test_every_tensor_is_checked_for_nan(packed):
    for name in safetensors.torch.load(packed.tensors):

        def spoil(state, name=name):
            state[name].view(-1)[-1] = np.nan

        text = refusal(changed_tensors(packed, spoil))
        assert text == f'tensor {name} must be finite, got NaN or infinity'


def test_refuses_where_another_observation_is_expected(packed):
    assert 'observation must be stack 4, got 2' in refusal(packed, ObsSpec(4, 36, 36, ('speed',)))


@pytest.mark.parametrize('driving, version', [(0, 1), (0, 900), (3, 4), (3, 900), (900, 1)])
def test_versions_rise_and_the_first_begins_a_new_run(driving, version):
    weights.admit(version, driving, 10, 10)


@pytest.mark.parametrize(
    'driving, version', [(3, 3), (3, 2), (900, 2), (3, 0), (0, 0), (3, 2**64 - 1), (2**64 - 1, 5)]
)
def test_an_older_or_impossible_version_is_refused(driving, version):
    with pytest.raises(WeightsError, match=f'version must rise, .*got {version} while {driving}'):
        weights.admit(version, driving, 10, 10)


def test_a_huge_message_is_refused_before_it_is_hashed(packed, monkeypatch):
    with pytest.raises(WeightsError, match='weights must have at most 268435456 bytes, got 4294'):
        weights.admit(1, 0, 2**32, 10)
    with pytest.raises(WeightsError, match='at most 100000 characters, got 100001'):
        weights.admit(1, 0, 10, 100_001)
    monkeypatch.setattr(weights, '_check_hash', lambda *_: pytest.fail('hashed'))
    text = refusal(packed._replace(spec=packed.spec + ' ' * 100_000))
    assert text.startswith('specification must have at most 100000 characters')
