"""What is drawn from the replay: before its arrays are gathered, and after."""

from typing import Any, Dict, Mapping, NamedTuple, Optional

import numpy as np


class Batch(NamedTuple):
    """
    Transitions for one update, as arrays.

    ``image``, ``next_image``: (B, stack, height, width) uint8, oldest first; tensors where frames
    live on a GPU. ``vector``, ``next_vector``: (B, n + p) float32, the n entries that the policy
    sees, then the p privileged ones that the replay keeps. ``action``: (B, 2) float32 in [-1, 1].
    ``reward``: (B,) float32, discounted sum of up to n_step rewards. ``discount``: (B,) float32,
    gamma^k, or 0 where the last of those k steps terminated. ``weight``: (B,) float32, importance
    in the loss, at most 1. ``index``: (B,) int64, names the start of each transition.
    """

    image: Any
    vector: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    next_image: Any
    next_vector: np.ndarray
    weight: np.ndarray
    index: np.ndarray

    def to_arrays(self) -> Dict[str, np.ndarray]:
        """Return it as NumPy arrays by name."""
        arrays = self._asdict()
        for name in ('image', 'next_image'):
            if not isinstance(arrays[name], np.ndarray):
                arrays[name] = arrays[name].cpu().numpy()
        return arrays


class Draw:
    """Transitions that are drawn; ``batch`` is there once they are gathered."""

    def __init__(self, index: np.ndarray, weight: np.ndarray, count: int, lowest: int) -> None:
        """
        Name the transitions.

        :param index: (B,) int64, where each begins.
        :param weight: (B,) float32.
        :param count: observations stored at that time: later ones belong to no return in it.
        :param lowest: index of the oldest observation that it needs.
        """
        self.index, self.weight, self.count, self.lowest = index, weight, count, lowest
        self.batch: Optional[Batch] = None

    def to_dict(self) -> Dict[str, Any]:
        """Return it as JSON data."""
        return {
            'index': self.index.tolist(),
            'weight': self.weight.tolist(),
            'count': self.count,
            'lowest': self.lowest,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Draw':
        """
        Read back what :meth:`to_dict` returned.

        :raises ValueError, KeyError, TypeError: where it is something else.
        """
        index, weight = np.array(data['index'], np.int64), np.array(data['weight'], np.float32)
        count, lowest = int(data['count']), int(data['lowest'])
        if index.ndim != 1 or index.shape != weight.shape:
            raise ValueError(f'{index.shape} transitions with {weight.shape} weights')
        if len(index) and not lowest <= index.min() <= index.max() < count - 1:
            raise ValueError(f'transitions drawn from [{lowest}, {count})')
        return cls(index, weight, count, lowest)
