"""The policy that checkpoints drive with: a mean that looks back over a share of the training."""

import pytest
import torch
from torch import nn

from av_td3_ros.td3.averaging import Average


def averaged(values, share):
    module = nn.Linear(1, 1, bias=False)
    average = Average(module, share)
    for number, value in enumerate(values, start=1):
        with torch.no_grad():
            module.weight.fill_(value)
        average.add(number)
    assert float(module.weight) == values[-1]
    return float(average.module.weight)


def test_the_first_is_taken_as_it_is():
    assert averaged([7.0], 0.2) == 7.0


def test_a_share_of_one_is_the_plain_mean():
    assert averaged([1.0, 2.0, 6.0], 1.0) == pytest.approx(3.0)


@pytest.mark.parametrize('count', [200, 2000])
@pytest.mark.parametrize('share', [0.1, 0.2, 0.5])
def test_it_looks_back_over_a_share_of_all_however_long_that_is(count, share):
    """Of a ramp the mean lags by the mean age: share n / (1 + share), by the recursion."""
    lag = count - averaged([float(n) for n in range(1, count + 1)], share)
    assert lag == pytest.approx(share * count / (1.0 + share), rel=0.05)


def test_no_gradient_reaches_it():
    average = Average(nn.Linear(2, 2), 0.2)
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
