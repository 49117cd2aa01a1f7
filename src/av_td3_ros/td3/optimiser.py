"""
One gradient step: backward, measure, limit, Adam. What a limit bounds is told before and after it.

Nothing here waits for the device, so that a step can be recorded in a CUDA graph. A gradient that
is not finite leaves parameters and Adam's averages as they are.
"""

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn, Tensor
from torch.profiler import record_function

from av_td3_ros.learning_config import OptimiserConfig


class Group(NamedTuple):
    """Parameters that share a learning rate and are accounted for together."""

    name: str
    module: nn.Module
    lr: float


class Step(NamedTuple):
    """
    What a gradient step did.

    ``metrics``: () float32 tensors by name. ``finite``: () bool, whether it was taken.
    """

    metrics: Dict[str, Tensor]
    finite: Tensor


class Optimiser:
    """AdamW (Adam where there is no weight decay) over groups, with one kind of limit."""

    def __init__(
        self,
        name: str,
        groups: Sequence[Group],
        config: OptimiserConfig,
        limit: float,
        device: torch.device,
    ) -> None:
        """
        Prepare for the groups' parameters as they are now.

        :param name: in the metrics: ``gradient_norm_<name>_total`` and so on.
        :param limit: ``critic_clip`` or ``actor_clip``; what it bounds is ``config.clip``.
        """
        self.name = name
        self.groups = tuple(groups)
        self._kind, self._limit = config.clip, limit
        self._names = [group.name for group in groups]
        self._norms = [f'gradient_norm_{name}' for name in self._names]
        self._total, self._largest = f'gradient_norm_{name}_total', f'gradient_max_{name}'
        self._parameters = [list(group.module.parameters()) for group in groups]
        self._all = [parameter for group in self._parameters for parameter in group]
        self._last = [torch.empty_like(parameter, requires_grad=False) for parameter in self._all]
        self.adam = torch.optim.AdamW(
            [
                {'params': chosen, 'lr': group.lr, 'weight_decay': decay}
                for group, parameters in zip(groups, self._parameters)
                for chosen, decay in _by_decay(parameters, config.weight_decay)
            ],
            fused=True,
            capturable=device.type == 'cuda',
        )

    def step(self, loss: Tensor, allowed: Optional[Tensor] = None, account: bool = True) -> Step:
        """
        Move the parameters against the gradient of a loss; no other parameter gets one.

        :param loss: () float32.
        :param allowed: () bool; where it is false nothing moves.
        :param account: whether to measure weights and their change, a pass over memory each.
        """
        self.adam.zero_grad()
        with record_function(f'{self.name}_backward'):
            loss.backward(inputs=self._all)
        with torch.no_grad(), record_function(f'{self.name}_step'):
            gradients = [[p.grad for p in group] for group in self._parameters]
            metrics = self._measure(gradients)
            finite = torch.isfinite(loss + metrics[self._total])
            finite = finite if allowed is None else finite & allowed
            metrics.update(self._clip(gradients, metrics))
            # Made for loss scaling: where this is 1 the fused kernel changes nothing at all.
            self.adam.found_inf = 1.0 - finite.float()
            if account:
                torch._foreach_copy_(self._last, self._all)
            self.adam.step()
            if account:
                metrics.update(self._account())
        return Step(metrics, finite)

    def _account(self) -> Dict[str, Tensor]:
        """Return the norm of each group's weights, and of what the step changed in them."""
        torch._foreach_sub_(self._last, self._all)
        weights, changes = torch._foreach_norm(self._all), torch._foreach_norm(self._last)
        account, begin = {}, 0
        for name, parameters in zip(self._names, self._parameters):
            own = slice(begin, begin + len(parameters))
            account[f'weight_norm_{name}'] = torch.stack(weights[own]).norm()
            account[f'update_norm_{name}'] = torch.stack(changes[own]).norm()
            begin = own.stop
        return account

    def _measure(self, gradients: List[List[Tensor]]) -> Dict[str, Tensor]:
        """Return what limits bound: the norm of each group and over all, or the largest entry."""
        norms = [torch.stack(torch._foreach_norm(group)).norm() for group in gradients]
        measured = dict(zip(self._norms, norms))
        measured[self._total] = torch.stack(norms).norm()
        if self._kind == 'value':
            flat = [gradient for group in gradients for gradient in group]
            measured[self._largest] = torch.stack(torch._foreach_norm(flat, math.inf)).max()
        return measured

    def _clip(self, gradients: List[List[Tensor]], before: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Apply the limit; return the same quantities after it, and whether it changed any."""
        if self._kind == 'none':
            after, clipped = before, torch.zeros_like(before[self._total])
        elif self._kind == 'value':
            flat = [gradient for group in gradients for gradient in group]
            torch._foreach_clamp_min_(flat, -self._limit)
            torch._foreach_clamp_max_(flat, self._limit)
            after, clipped = self._measure(gradients), before[self._largest] > self._limit
        else:
            # A norm scales with its vector: no second pass over the gradients is needed.
            limited = [self._total] * len(gradients) if self._kind == 'norm' else self._norms
            scales = [(self._limit / before[name]).clamp(max=1.0) for name in limited]
            for own, scale in zip(gradients, scales):
                torch._foreach_mul_(own, scale)
            after = {name: before[name] * scale for name, scale in zip(self._norms, scales)}
            after[self._total] = torch.stack(list(after.values())).norm()
            clipped = torch.stack(scales).amin() < 1.0
        limited = {f'{name}_clipped': value for name, value in after.items()}
        return {**limited, f'clipped_{self.name}': clipped.float()}


def _by_decay(
    parameters: List[nn.Parameter], weight_decay: float
) -> List[Tuple[List[nn.Parameter], float]]:
    """Split off biases, gains and offsets, which are vectors: they never decay."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [(matrices, weight_decay), (vectors, 0.0)]
