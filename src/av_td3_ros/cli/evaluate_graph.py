"""How ``av-td3 evaluate`` drives one policy over the ROS 2 graph."""

from pathlib import Path
import time
from typing import Any

from av_td3_ros.bridge.convert import result_row
from av_td3_ros.cli.evaluate_drive import (
    late_note,
    MOST_ABORTED,
    PATIENCE,
    PATIENCE_PER_STEP,
    Watch,
)
from av_td3_ros.config import RunConfig
from av_td3_ros.evaluation.figures import Result
from av_td3_ros.nodes.supervisor import GraphError, Supervisor


def drive_graph(config: RunConfig, result: Result, folder: Path, watch: Watch) -> str:
    """
    Add the episodes that the graph drives to a result.

    :param folder: for logs. :returns: what went wrong, or ''.
    """

    def take(msg: Any) -> None:
        if len(result.driven) < result.wanted:
            result.rows.append(result_row(msg))
            watch.episode(result)

    try:
        graph = Supervisor(config, 'evaluation', folder)
        graph.on_result = take  # before it starts: short episodes end while it does
        with graph:
            _watch(graph, config, result, folder, watch)
            graph.finish()
            result.notes += late_note(result.policy, graph.health)
    except GraphError as error:
        return str(error)
    return ''


def _watch(
    graph: Supervisor, config: RunConfig, result: Result, folder: Path, watch: Watch
) -> None:
    """
    Wait until all episodes are driven, or somebody wants it to stop.

    :raises GraphError: where nothing ends, or too many episodes abort, or a node that counts them
        had to be started again.
    """
    patience = PATIENCE + PATIENCE_PER_STEP * config.episode_manager.termination.max_steps
    known, since = 0, time.monotonic()

    def over() -> bool:
        return bool(watch.stops) or len(result.driven) >= result.wanted

    while not over():
        graph.spin(lambda: over() or len(result.rows) > known, 0.25)
        graph.revive()
        if len(result.rows) > known:
            known, since = len(result.rows), time.monotonic()
        aborted = len(result.rows) - len(result.driven)
        if aborted > max(MOST_ABORTED, result.wanted):
            raise GraphError(f'{aborted} episodes were aborted; see {folder / "logs"}')
        if graph.members['episode_manager'].restarts:
            raise GraphError(f'the episode manager ended; see {folder / "logs"}')
        if time.monotonic() - since > patience:
            raise GraphError(f'no episode ended within {patience:g} s; see {folder / "logs"}')
