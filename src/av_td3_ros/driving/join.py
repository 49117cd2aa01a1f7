"""Brings together what belongs to one frame, by stamp."""

from typing import Any, Dict, Iterable, Optional

NANOSECONDS = 1_000_000_000


class FrameJoin:
    """
    Collects one message of each kind per frame.

    Stamps of one frame may differ by up to half a tick. When a frame is complete, older,
    incomplete ones are dropped and counted: they will never be complete. What comes of a complete
    frame again is told by a stamp within a quarter of a tick: a camera that was late once is
    punctual, and nearer than a tick, the next time.
    """

    def __init__(self, kinds: Iterable[str], period: float, keep: int = 8) -> None:
        """
        :param kinds: what makes a frame complete.
        :param period: time of a tick, s.
        :param keep: incomplete frames that are kept at most.
        """
        self._kinds = frozenset(kinds)
        self._tolerance = int(period * NANOSECONDS / 2)
        self._keep = keep
        self._frames: Dict[int, Dict[str, Any]] = {}
        self._done = -1
        self.dropped = 0
        self.repeated = 0

    def add(self, kind: str, stamp: int, value: Any) -> Optional[Dict[str, Any]]:
        """
        Add a message; return the frame's messages by kind where it is complete now, else None.

        :param stamp: ns.
        """
        if self._done - stamp > NANOSECONDS:
            self.reset()  # the clock was set back: another simulation
        elif self._done >= 0 and stamp <= self._done + self._tolerance // 2:
            self.repeated += 1
            return None
        key = next((k for k in self._frames if abs(k - stamp) <= self._tolerance), stamp)
        frame = self._frames.setdefault(key, {})
        self.repeated += kind in frame
        frame[kind] = value
        if frame.keys() != self._kinds:
            while len(self._frames) > self._keep:
                # What came first, not what is stamped first: stamps from the future would stay.
                del self._frames[next(iter(self._frames))]
                self.dropped += 1
            return None
        older = [k for k in self._frames if k <= key]
        self.dropped += len(older) - 1
        for k in older:
            del self._frames[k]
        self._done = key
        return frame

    def reset(self) -> None:
        """Forget everything."""
        self._frames.clear()
        self._done = -1
