"""What lasts is said once on the log, when it begins, and again only where it has been over."""

from typing import Set


class Once:
    """Remembers which complaints are standing."""

    def __init__(self) -> None:
        """Begin with none."""
        self._standing: Set[str] = set()

    def is_new(self, kind: str, text: str) -> bool:
        """
        Return whether a complaint begins.

        :param kind: what it is about; its figures change and do not count.
        :param text: the complaint, or '' where there is none (any more).
        """
        begins = bool(text) and kind not in self._standing
        (self._standing.add if text else self._standing.discard)(kind)
        return begins
