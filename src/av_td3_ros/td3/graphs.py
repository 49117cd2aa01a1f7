"""
CUDA graphs: the launches of an update are recorded once and then replayed as one.

An update of these small networks is some hundred short kernels; launching them takes the processor
longer than running them takes the GPU. On the CPU the same function is simply called.
"""

from typing import Callable, Dict, Hashable, Optional, Tuple

import torch
from torch import Tensor

# Kernels choose their algorithms and libraries their workspaces in the first calls.
EAGER_CALLS = 3


class Recorder:
    """Calls functions of tensors; on a CUDA device records and replays them."""

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        """
        Record nothing yet.

        :param device: where the functions work.
        :param generator: on that device; what they draw goes on from replay to replay.
        """
        self._records = device.type == 'cuda'
        self._generator = generator
        self._stream = torch.cuda.Stream(device) if self._records else None
        self._calls: Dict[Hashable, int] = {}
        self._graphs: Dict[Hashable, Tuple['torch.cuda.CUDAGraph', Optional[Tensor]]] = {}

    def call(self, key: Hashable, function: Callable[[], Optional[Tensor]]) -> Optional[Tensor]:
        """
        Call a function, or replay its record.

        :param key: names the function and everything that changes what it does.
        :param function: reads and writes the same tensors in every call and never waits for the
            device.
        :returns: what it returned; overwritten by the next call of the same key.
        """
        if not self._records:
            return function()
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if calls <= EAGER_CALLS:
            # On a stream of its own, as the recording: PyTorch asks for it.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = function()
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if key not in self._graphs:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(graph, stream=self._stream):
                result = function()
            self._graphs[key] = (graph, result)
        graph, result = self._graphs[key]
        graph.replay()
        return result

    def forget(self) -> None:
        """Record anew: tensors that the functions use were replaced."""
        self._calls.clear()
        self._graphs.clear()
