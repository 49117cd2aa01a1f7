"""What a process of a graph counts begins anew with each of its lives; here they are summed."""

from typing import Dict, Mapping


class Lives:
    """The counters that each process told last, in each life of it."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: Dict[str, Dict[str, Dict[str, int]]] = {}

    def tell(self, name: str, life: str, counters: Mapping[str, int]) -> None:
        """
        Take counters in the place of what they were before in the same life.

        :param name: of the node. :param life: its process id.
        """
        self._told.setdefault(name, {}).setdefault(life, {}).update(counters)

    def total(self, name: str, counter: str) -> int:
        """Return a counter over all lives; 0 where none told it."""
        return sum(told.get(counter, 0) for told in self._told.get(name, {}).values())
