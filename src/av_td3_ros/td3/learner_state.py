"""All that the next update depends on, as flat named tensors, and back."""

import logging
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple

import torch
from torch import nn, Tensor

from av_td3_ros.td3.optimiser import Optimiser

LOG = logging.getLogger(__name__)
GENERATOR = 'generator'
MOMENTS = ('exp_avg', 'exp_avg_sq')


class LearnerError(RuntimeError):
    """Learning that went wrong; the text names the quantity."""


def collect(
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[Optimiser],
    memory: Mapping[str, Tensor],
) -> Dict[str, Tensor]:
    """
    Return copies on the CPU.

    :param modules: networks by name.
    :param optimisers: whose averages belong to the state.
    :param memory: further tensors by name.
    """
    state = {
        f'{group}.{name}': tensor
        for group, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    for name, parameter, optimiser in _optimised(optimisers):
        for key, value in optimiser.adam.state.get(parameter, {}).items():
            state[f'adam.{key}.{name}'] = value
    state.update(memory)
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def restore(
    state: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[Optimiser],
    memory: Mapping[str, Tensor],
) -> None:
    """
    Put back what :func:`collect` returned; ``memory`` is written in place.

    A generator of random numbers is of its kind of device: of another kind it stays as it is.

    :raises LearnerError: naming the first tensor that is missing, unknown or of another shape;
        nothing is changed then.
    """
    drawn, own = state.get(GENERATOR), memory.get(GENERATOR)
    if drawn is not None and own is not None and drawn.shape != own.shape:
        LOG.warning('noise is drawn anew: the learner comes from another kind of device')
        state = {**state, GENERATOR: own}
    _check(state, modules, optimisers, memory)
    for group, module in modules.items():
        names = module.state_dict()
        module.load_state_dict({name: state[f'{group}.{name}'] for name in names})
    for optimiser in optimisers:
        optimiser.adam.state.clear()
    for name, parameter, optimiser in _optimised(optimisers):
        if f'adam.step.{name}' in state:
            # Written like the parameter in layout and device: the fused kernel relies on it.
            moments = {key: torch.empty_like(parameter, requires_grad=False) for key in MOMENTS}
            for key, moment in moments.items():
                moment.copy_(state[f'adam.{key}.{name}'])
            # One step for each parameter, beside it on a GPU and for fused Adam.
            step = state[f'adam.step.{name}'].to(parameter.device, copy=True)
            optimiser.adam.state[parameter] = {'step': step, **moments}
    for name, tensor in memory.items():
        tensor.copy_(state[name])


def _check(
    state: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[Optimiser],
    memory: Mapping[str, Tensor],
) -> None:
    expected: Dict[str, Any] = {name: tensor.shape for name, tensor in memory.items()}
    for group, module in modules.items():
        expected.update(
            {f'{group}.{name}': tensor.shape for name, tensor in module.state_dict().items()}
        )
    for name, parameter, _ in _optimised(optimisers):
        if f'adam.step.{name}' in state:
            expected[f'adam.step.{name}'] = ()
            expected.update({f'adam.{key}.{name}': parameter.shape for key in MOMENTS})
    for name in sorted(set(expected) | set(state)):
        wanted = tuple(expected[name]) if name in expected else 'no such tensor'
        got = tuple(state[name].shape) if name in state else 'no such tensor'
        if wanted != got:
            raise LearnerError(
                f'learner state {name} must be {wanted}, got {got}; the settings of '
                'learner must be those of that run (network, target, privileged_*, average_share)'
            )


def _optimised(
    optimisers: Sequence[Optimiser],
) -> Iterator[Tuple[str, nn.Parameter, Optimiser]]:
    for optimiser in optimisers:
        for group in optimiser.groups:
            for name, parameter in group.module.named_parameters():
                yield f'{group.name}.{name}', parameter, optimiser
