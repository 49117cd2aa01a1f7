"""
Prioritised experience replay, proportional variant (Schaul et al. 2016, section 3.3).

A sum-tree in one array: the leaves are priorities by slot, each other node the sum of its two
children. Draws and changes go through the tree level by level for a whole batch at once.
"""

from typing import Dict, Tuple

import numpy as np

from av_td3_ros.learning_config import ReplayConfig

EPSILON = 1e-6  # a transition without any error may come again
STAGED_MOST = 4096


class SumTree:
    """Weights that can be drawn in proportion; setting and finding cost log2(size) steps."""

    def __init__(self, size: int) -> None:
        """:param size: leaves, all 0 at first."""
        self._leaves = 1 << max(size - 1, 1).bit_length()
        self._node = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        """Sum of all leaves."""
        return float(self._node[1])

    def get(self, leaf: np.ndarray) -> np.ndarray:
        """Return leaves by number, (B,) int64 to (B,) float64."""
        return self._node[leaf + self._leaves]

    def set(self, leaf: np.ndarray, value: np.ndarray) -> None:
        """
        Change leaves; sums are worked out anew and not corrected, so that no error builds up.

        :param leaf: (B,) int64, each at most once.
        :param value: (B,) float64, >= 0.
        """
        node = leaf + self._leaves
        self._node[node] = value
        for _ in range(self._leaves.bit_length() - 1):
            node = np.unique(node >> 1)
            self._node[node] = self._node[2 * node] + self._node[2 * node + 1]

    def find(self, value: np.ndarray) -> np.ndarray:
        """
        Return the leaves at which the running sum passes given values; never one that is 0.

        :param value: (B,) float64 in [0, total).
        """
        value = value.copy()
        node = np.ones(len(value), np.int64)
        for _ in range(self._leaves.bit_length() - 1):
            left = self._node[2 * node]
            # Rounding may lead past the last weight: an empty side is never taken.
            right = (value >= left) & (self._node[2 * node + 1] > 0.0)
            value -= np.where(right, left, 0.0)
            node = 2 * node + right
        return node - self._leaves


class Priorities:
    """Priorities of the transitions in a ring, by slot."""

    def __init__(self, config: ReplayConfig) -> None:
        """:param config: capacity and the three exponents are used."""
        self._config = config
        self._tree = SumTree(config.capacity)
        self._staged: Dict[int, float] = {}  # of single transitions: set many at a time
        self.largest = 1.0
        self.draws = 0

    def add(self, slot: int) -> None:
        """Let a new transition be drawn, with the largest priority so far."""
        self._stage(slot, self.largest)

    def remove(self, slot: int) -> None:
        """Never draw this one again."""
        self._stage(slot, 0.0)

    def update(self, slot: np.ndarray, td_error: np.ndarray) -> None:
        """
        Change priorities; those of slots that are not drawn stay as they are.

        :param slot: (B,) int64; of one that comes twice, the last counts.
        :param td_error: (B,).
        """
        self._flush()
        priority = (np.abs(td_error) + EPSILON) ** self._config.priority_exponent
        unique, back = np.unique(slot[::-1], return_index=True)
        value = priority[::-1][back]
        held = self._tree.get(unique) > 0.0
        if held.any():
            self._tree.set(unique[held], value[held])
            self.largest = max(self.largest, float(value[held].max()))

    def draw(
        self, rng: np.random.Generator, batch_size: int, held: int
    ) -> Tuple[np.ndarray, np.ndarray]:
        """
        Draw one slot from each of ``batch_size`` equal parts of the sum.

        :param rng: source of randomness.
        :param batch_size: slots to draw.
        :param held: transitions that can be drawn.
        :returns: slots, (B,) int64, and importance weights, (B,) float32, the largest of them 1.
        """
        self._flush()
        part = (np.arange(batch_size) + rng.random(batch_size)) / batch_size
        slot = self._tree.find(part * self._tree.total)
        chance = self._tree.get(slot) / self._tree.total
        done = min(self.draws / self._config.importance_updates, 1.0)
        begin = self._config.importance_exponent
        exponent = begin + (1.0 - begin) * done
        self.draws += 1
        weight = (held * chance) ** -exponent
        return slot, (weight / weight.max()).astype(np.float32)

    def get(self, slot: np.ndarray) -> np.ndarray:
        """Return priorities, 0 for what is not drawn: (B,) int64 to (B,) float64."""
        self._flush()
        return self._tree.get(slot)

    def restore(self, slot: np.ndarray, priority: np.ndarray, largest: float, draws: int) -> None:
        """
        Replace everything by what :meth:`get` once returned.

        :param slot: (B,) int64, each once.
        :param priority: (B,) float64, >= 0; 0 stands for the largest.
        :param largest: so far.
        :param draws: calls of :meth:`draw` so far.
        """
        self._staged.clear()
        self._tree = SumTree(self._config.capacity)
        self.largest, self.draws = largest, draws
        if len(slot):
            self._tree.set(slot, np.where(priority > 0.0, priority, largest))

    def _stage(self, slot: int, value: float) -> None:
        self._staged[slot] = value
        if len(self._staged) >= STAGED_MOST:
            self._flush()

    def _flush(self) -> None:
        if self._staged:
            slots = np.fromiter(self._staged.keys(), np.int64, len(self._staged))
            values = np.fromiter(self._staged.values(), np.float64, len(self._staged))
            self._tree.set(slots, values)
            self._staged.clear()
