"""
Image streams of other rates than in training.

The stack shows motion by what changes between its frames, so the frames must be as far apart as in
training: faster streams are thinned, slower ones do not drive, and those that are far too fast are
not driven by at all.
"""

from collections import deque
from typing import Deque, Optional

NANOSECONDS = 1_000_000_000
# Gaps that a rate is the mean of: one lost image is no slow stream.
GAPS = 4
SLACK = 1.05
# So many times the rate of training is not that camera but another device, or several on one
# topic; and the time that each image costs, though it is thinned out, is the vehicle's.
FASTEST = 5.0
# So many gaps tell such a stream: more than those of what a driver has in store and sends at once
# after it hung, with the time of sending on it.
FLOOD_GAPS = 8


class Thinning:
    """
    Picks by stamp the images that are nearest to when one is due.

    A stream up to a third faster than training is left as it is: to leave out one of its images
    now and then would disturb more. The mean of 30 Hz is right, its gaps are one and two images.
    An image that was late, by up to half a period, does not cost the punctual one after it.
    """

    def __init__(self, rate: float) -> None:
        """:param rate: of what is kept, Hz."""
        self._period = int(NANOSECONDS / rate)
        self._due: Optional[int] = None
        self._newest = 0
        self.left_out = 0

    def keeps(self, stamp: int) -> bool:
        """
        Whether an image is kept; of repeated and earlier stamps none is.

        :param stamp: ns; may be set back by more than a second, as a new simulation does.
        """
        if self._due is None or self._newest - stamp > NANOSECONDS:
            self._newest = self._due = stamp
        else:
            gap = stamp - self._newest
            self._newest = max(self._newest, stamp)
            if gap >= 2 * self._period:
                self._due = stamp
            elif gap >= 0.75 * self._period:
                self._due = max(min(self._due, stamp), stamp - self._period // 2)
            elif gap <= 0 or stamp < self._due - gap // 2:
                self.left_out += 1
                return False
        self._due += self._period
        return True


class _Gaps:
    """The last gaps of a stream, s, by its stamps."""

    def __init__(self, number: int) -> None:
        """:param number: so many are kept."""
        self._gaps: Deque[float] = deque(maxlen=number)
        self._last: Optional[int] = None

    @property
    def rate(self) -> float:
        """Hz, the mean of the last gaps; 0 while it is not known."""
        total = sum(self._gaps)
        return len(self._gaps) / total if total > 0.0 else 0.0


class RateWatch(_Gaps):
    """The rate of a stream by its stamps, and whether it is enough to drive."""

    def __init__(self, slowest: float) -> None:
        """:param slowest: rate that is still enough, Hz."""
        super().__init__(GAPS)
        self._longest = SLACK / slowest

    @property
    def is_enough(self) -> bool:
        """Whether the stream is known and fast enough."""
        return bool(self._gaps) and sum(self._gaps) <= self._longest * len(self._gaps)

    @property
    def is_slow(self) -> bool:
        """Whether the stream is known and too slow."""
        return bool(self._gaps) and not self.is_enough

    def add(self, stamp: int) -> bool:
        """
        Count one image; return whether it begins a stream: the first, or after a gap or a jump.

        :param stamp: ns.
        """
        gap = None if self._last is None else (stamp - self._last) / NANOSECONDS
        self._last = stamp
        if gap is None or not 0.0 < gap <= 1.0:
            self._gaps.clear()
            return True
        self._gaps.append(gap)
        return False


class FloodWatch(_Gaps):
    """Whether a stream is far too fast for the camera of the training, by its stamps."""

    def __init__(self, rate: float) -> None:
        """:param rate: of training, Hz."""
        super().__init__(FLOOD_GAPS)
        self.limit = FASTEST * rate
        self._shortest = 1.0 / (SLACK * self.limit)

    @property
    def is_flood(self) -> bool:
        """Whether the last images came too fast: a burst, or a stream that is."""
        return bool(self._gaps) and sum(self._gaps) < self._shortest * len(self._gaps)

    @property
    def is_certain(self) -> bool:
        """Whether it is a stream that is too fast, and no burst."""
        return self.is_flood and len(self._gaps) == FLOOD_GAPS

    def add(self, stamp: int) -> None:
        """
        Count one image; one that is repeated or late says nothing of the rate.

        :param stamp: ns; after a gap or a jump of more than a second a stream begins anew.
        """
        gap = 0.0 if self._last is None else (stamp - self._last) / NANOSECONDS
        if abs(gap) > 1.0:
            self._gaps.clear()
        elif gap > 0.0:
            self._gaps.append(gap)
        if self._last is None or gap > 0.0 or gap < -1.0:
            self._last = stamp
