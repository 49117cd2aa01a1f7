"""A graph whose processes all live, and that takes no step."""

from typing import Any, Callable, Optional

from av_td3_ros.nodes.supervisor import GraphError

# Without a step for so long, who says nothing is started again; for so long, the run ends, s.
PATIENCE, MOST = 30.0, 180.0
# What passed between two looks counts for no more, s: the caller had the world stand, or slept.
LONGEST_LOOK = 1.0


class Standstill:
    """Follows the steps of a graph that is to drive."""

    def __init__(self, graph: Any, say: Callable[[str], None]) -> None:
        """
        :param graph: a :class:`~av_td3_ros.nodes.supervisor.Supervisor` whose world is to go on.
        :param say: gets a line for people.
        """
        self._graph, self._say = graph, say
        self._steps: Optional[int] = None
        self._looked = self._seconds = 0.0
        self._roused = False

    def look(self, moment: float) -> None:
        """
        Look whether the trainer has taken a step since.

        :param moment: of a steady clock, s.
        :raises GraphError: where none came for ``MOST``.
        """
        status = self._graph.status
        steps = status.env_steps if status is not None else 0
        if steps != self._steps:
            self._steps, self._seconds, self._roused = steps, 0.0, False
        else:
            self._seconds += min(moment - self._looked, LONGEST_LOOK)
        self._looked = moment
        if self._seconds >= MOST:
            raise GraphError(f'no step for {MOST:g} s: {self._graph.complaints()}')
        if self._seconds >= PATIENCE and not self._roused:
            self._roused = True
            told = self._graph.complaints()
            silent = self._graph.kill_silent()
            again = f'; started again: {", ".join(silent)}' if silent else ''
            self._say(f'no step for {PATIENCE:g} s: {told}{again}')
