"""CUDA graphs: an update never waits for the device, and a record does what the call did."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.graphs import EAGER_CALLS, Recorder
from learners import make_batch, PRIVILEGED, SEEING, small, SPEC


@pytest.mark.parametrize('clip', ['none', 'norm', 'group_norm', 'value'])
@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('seeing', [{}, SEEING])
def test_an_update_reads_nothing_back(clip, shared, seeing):
    """Tensors without data: whatever needs a number from one fails, as it would in a record."""
    config = small(
        network__shared_encoder=shared,
        optimiser__clip=clip,
        target__clip_to_seen=True,
        actor_q_clamp=5.0,
        policy_delay=1,
        shift_pad=0,  # on the processor it asks where to; see test_augment.py
        **seeing,
    )
    agent = TD3(SPEC, config)
    agent.update(make_batch(privileged=len(agent.privileged)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        for with_actor in (False, True):
            values = agent._update(with_actor, True)
            assert len(values) == len(agent._names[with_actor, True])
        agent._move_targets()
        with pytest.raises(DataDependentOutputException):
            values[0].item()


def test_on_the_processor_the_function_is_called_each_time():
    calls = []
    recorder = Recorder(torch.device('cpu'), torch.Generator())
    for i in range(EAGER_CALLS + 3):
        assert recorder.call('key', lambda: torch.tensor(len(calls))) == i
        calls.append(i)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_recorded_updates_are_those_of_single_launches():
    recorded, single = (TD3(SPEC, small(**SEEING), 'cuda', seed=1) for _ in range(2))
    single._recorder._records = False
    for i in range(4 * EAGER_CALLS):
        batch = make_batch(seed=i, privileged=PRIVILEGED)
        one, two = recorded.update(batch), single.update(batch)
        assert one.keys() == two.keys()
        assert one['critic_loss'] == pytest.approx(two['critic_loss'], rel=1e-3)
    assert recorded._recorder._graphs
