"""
A camera that hangs: its driver sends one picture for ever, under stamps that go on.

No two pictures of a lens and its noise are equal to the bit while a vehicle moves.
"""

from typing import Optional

import numpy as np

NANOSECONDS = 1_000_000_000
# No frame counts for more: the vehicle may have been put elsewhere in a longer gap.
LONGEST = NANOSECONDS


class FrozenWatch:
    """How far the vehicle has gone under one picture."""

    def __init__(self, distance: float) -> None:
        """:param distance: m, that it may go; 0: any."""
        self._distance = distance
        self._picture: Optional[np.ndarray] = None
        self._stamp = 0
        self.way = 0.0

    @property
    def is_frozen(self) -> bool:
        """Whether the picture has stayed the same for too long."""
        return 0.0 < self._distance <= self.way

    def add(self, picture: np.ndarray, speed: float, stamp: int) -> None:
        """
        Take a frame.

        :param picture: as it will be seen, uint8; not changed afterwards.
        :param speed: m/s, of either sign.
        :param stamp: ns.
        """
        gap, self._stamp = stamp - self._stamp, stamp
        if self._picture is None or not np.array_equal(self._picture, picture):
            self._picture, self.way = picture, 0.0
        elif 0 < gap <= LONGEST:
            self.way += abs(speed) * gap / NANOSECONDS
