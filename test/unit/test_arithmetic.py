"""Precision and layout: chosen by measurement, forced where asked, and near to each other."""

import pytest
import torch

from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.td3 import arithmetic
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.arithmetic import Arithmetic, CANDIDATES, choose, FP32
from learners import make_batch, small, SPEC

NETWORK = NetworkConfig(feature_size=16)


def test_fp32_needs_no_measurement():
    assert choose(SPEC, NETWORK, 4, 'fp32', 'cpu') == (FP32, {})


@pytest.mark.parametrize('wanted, tried', [('auto', 3), ('bf16', 2)])
def test_the_fastest_is_chosen(wanted, tried):
    chosen, times = choose(SPEC, NETWORK, 4, wanted, 'cpu')
    assert len(times) == tried
    assert times[chosen] == min(times.values()) > 0.0
    assert wanted == 'auto' or chosen.precision == 'bf16'


def test_the_choice_follows_the_times(monkeypatch):
    slow = {CANDIDATES[0]: 3.0, CANDIDATES[1]: 2.0, CANDIDATES[2]: 1.0}
    monkeypatch.setattr(arithmetic, '_pass_time', lambda encoder, image, item: slow[item])
    assert choose(SPEC, NETWORK, 4, 'auto', 'cpu')[0] == Arithmetic('bf16', False)
    slow[FP32] = 0.5
    assert choose(SPEC, NETWORK, 4, 'auto', 'cpu')[0] == FP32


def test_it_measures_the_whole_pass_and_leaves_no_gradient_behind(monkeypatch):
    made = []
    real = arithmetic.Encoder
    monkeypatch.setattr(
        arithmetic, 'Encoder', lambda *args: made.append(real(*args)) or made[-1]
    )
    choose(SPEC, NETWORK, 4, 'auto', 'cpu')
    assert all(p.grad is None for p in made[0].parameters())


@pytest.mark.parametrize('channels_last', [True, False])
def test_bf16_is_near_fp32_and_not_the_same(channels_last):
    updates = []
    for item in (FP32, Arithmetic('bf16', channels_last)):
        agent = TD3(SPEC, small(target__noise=0.0), seed=1, arithmetic=item)
        updates.append([agent.update(make_batch(seed=i)) for i in range(4)])
    for one, two in zip(*updates):
        assert one['critic_loss'] != two['critic_loss']
        assert one['critic_loss'] == pytest.approx(two['critic_loss'], rel=0.05)
        assert one['feature_l2'] == pytest.approx(two['feature_l2'], rel=0.05)


def test_the_layout_changes_no_result_beyond_rounding():
    last, first = (
        TD3(SPEC, small(), seed=1, arithmetic=Arithmetic('fp32', layout))
        for layout in (True, False)
    )
    for i in range(3):
        one, two = last.update(make_batch(seed=i)), first.update(make_batch(seed=i))
        assert one['critic_loss'] == pytest.approx(two['critic_loss'], rel=1e-4)


def test_memory_that_is_freed_is_kept():
    resource = pytest.importorskip('resource')
    arithmetic.keep_memory()

    def faults_of(rounds):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(rounds):
            torch.empty(2 * 2**20).fill_(1.0)  # 8 MiB, 2,048 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults_of(2)
    assert faults_of(20) < 20 * 2048 // 4, 'handed back now and then at most, not each time'
