"""
Harm a graph that trains, again and again, and see what becomes of it: ``make chaos``.

For every fault: what the car was told and did, what was lost, how long until all was as before.
The same seed does the same harm at the same moments, as far as several processes allow.
"""

import argparse
from hashlib import sha256
import os
from pathlib import Path
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, Iterator, List, Optional, Sequence

from chaos_faults import FAULTS, Scene
from chaos_table import keep, Row, table
from chaos_tap import remappings, Tap
from small_graph import SMALL_GRAPH

from av_td3_ros.config import build_run
from av_td3_ros.nodes import shared_memory
from av_td3_ros.nodes.supervisor import GraphError, Supervisor
from av_td3_ros.td3 import checkpoint

# A small network and picture: faults need frames, not learning. What is promised about steps
# that are lost is left as it is shipped.
SETTINGS = {
    **SMALL_GRAPH,
    'trainer.update_after': 100,
    'trainer.exploration.warmup_steps': 100,
    'trainer.publish_every': 10,
    'trainer.threads': 1,
    'trainer.steps': 10_000_000,
}
# As before: so many frames with one command each, so many steps stored, updates made, weights
# adopted.
FRAMES, STEPS, UPDATES, VERSIONS = 40, 20, 5, 1
NORMAL_WITHIN = 60.0
# Longer than a checkpoint takes to be removed, s.
REMOVAL = 0.5


class Campaign:
    """One graph after another, as long as each lasts."""

    def __init__(self, folder: Path) -> None:
        """:param folder: of the runs; made."""
        self._folder = folder
        self._segments = shared_memory.snapshot()
        self._graphs = 0
        self._scene: Optional[Scene] = None

    def __enter__(self) -> 'Campaign':
        """Nothing starts before the first fault."""
        return self

    def __exit__(self, *_: Any) -> None:
        """End what runs."""
        self._end()

    def harm(self, name: str, number: int) -> Row:
        """
        Do one fault and wait until all is as before.

        :param name: a key of ``FAULTS``.
        :param number: its seed.
        """
        rng = random.Random(f'{name} {number}')
        scene = self._scene or self._begin()
        graph, tap = scene.graph, scene.tap
        for member in graph.members.values():
            member.restarts = 0  # of one fault; a graph of a hundred is no graph that keeps dying
        graph.spin(lambda: False, rng.uniform(0.0, 2.0))
        steps, lost, aborts = self._counts()
        self._lowest = steps
        tap.ask('begin')
        what, ended, reason = '', 'recovered', ''
        begun = time.monotonic()
        try:
            what = FAULTS[name](scene, rng)
            begun = time.monotonic()
            if not self._recover():
                ended, reason = 'stuck', self._complaints()
        except GraphError as error:
            ended, reason = 'stopped', str(error)
        except AssertionError as error:
            ended, reason = 'stuck', str(error)
        seconds = time.monotonic() - begun
        now_steps, now_lost, now_aborts = self._counts()
        seen = tap.ask()
        row = Row(
            name,
            number,
            what,
            ended,
            round(seconds, 2),
            max(steps - self._lowest, 0) + max(now_lost - lost, 0),
            max(now_aborts - aborts, 0),
            seen['stood'],
            round(seen['stale_metres'], 2),
            round(seen['fastest'], 2),
            '; '.join(seen['uncommanded'][:3]),
            '; '.join(seen['out_of_bounds'][:3]),
            self._torn(),
            reason,
        )
        if ended != 'recovered' or row.torn:  # a torn checkpoint is told once
            self._end()
        return row

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self) -> Scene:
        self._graphs += 1
        folder = self._folder / f'graph_{self._graphs}'
        folder.mkdir(parents=True)
        run = build_run({**SETTINGS, 'trainer.run_dir': str(folder)}, 'chaos')
        tap = Tap()
        graph = Supervisor(run, 'training', folder, remappings())
        try:
            graph.__enter__()
        except BaseException:
            tap.close()
            raise
        self._scene = Scene(graph, tap, folder, run, {})
        self._lowest = 0
        if not self._recover():
            raise RuntimeError(f'the graph did not begin to learn: {self._complaints()}')
        return self._scene

    def _end(self) -> None:
        scene, self._scene = self._scene, None
        if scene is not None:
            scene.graph.close()
            scene.tap.close()
            shared_memory.remove_orphans(self._segments)  # of the killed, whose ports the tap held

    def _recover(self) -> bool:
        """Wait until frames, commands, experience, updates and weights flow again."""
        graph, tap = self._scene.graph, self._scene.tap
        graph.status = graph.policy_status = None
        if not graph.spin(lambda: graph.status and graph.policy_status, NORMAL_WITHIN):
            graph.revive()
            return False
        first, adopted = graph.status, graph.policy_status.adopted
        self._lowest = first.env_steps
        end = time.monotonic() + NORMAL_WITHIN
        while time.monotonic() < end:
            graph.revive()
            if graph.status.phase == graph.status.FAILED:
                raise GraphError(graph.status.message)
            flows = (
                graph.status.env_steps >= first.env_steps + STEPS
                and graph.status.updates >= first.updates + UPDATES
                and graph.policy_status.adopted >= adopted + VERSIONS
            )
            if flows and tap.ask()['streak'] >= FRAMES:
                return True
            graph.spin(lambda: False, 0.1)
        return False

    def _counts(self) -> tuple:
        graph = self._scene.graph
        manager = graph.health.get('episode_manager', {})
        status = graph.status
        steps, lost = (status.env_steps, status.transitions_lost) if status else (0, 0)
        return steps, lost, int(manager.get('aborts', 0))

    def _complaints(self) -> str:
        health = self._scene.graph.health
        return '; '.join(f'{name}: {values["message"]}' for name, values in health.items())

    def _torn(self) -> str:
        """
        Every checkpoint that is there must be whole, or as we have damaged it.

        Not only the newest that is whole, which a reader would take. The trainer goes on
        meanwhile and removes old ones: what is torn must be so for longer than that takes.
        """
        found = set((self._scene.folder / 'checkpoints').glob('step_*'))
        for pause in (0.0, REMOVAL):
            time.sleep(pause if found else 0.0)
            reasons = {path: self._fault_of(path) for path in sorted(found) if path.exists()}
            found = {path for path, reason in reasons.items() if reason}
        return '; '.join(filter(None, reasons.values()))

    def _fault_of(self, path: Path) -> str:
        """Return why a checkpoint is torn; '' where it is whole or damaged by us."""
        for file, left in self._scene.damaged.items():
            if file.parent == path and file.is_file():
                if sha256(file.read_bytes()).hexdigest() == left:
                    return ''
        try:
            checkpoint.load_policy(path)
        except (checkpoint.CheckpointError, OSError) as error:
            return str(error)
        return ''


def in_turn(kinds: Sequence[str], count: int) -> Iterator[tuple]:
    """Yield (kind, seed): every kind once, then every kind again."""
    for number in range(count):
        for kind in kinds:
            yield kind, number


def parsed(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description='Harm a graph that trains, and watch it.')
    parser.add_argument('--times', type=int, default=100, help='of every fault (default 100)')
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--fault', action='append', help='only this one; may be repeated')
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for chaos.csv and chaos.md; what other parts left there, or add meanwhile, '
        'is kept, but for the same fault and seed',
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.fault or ()) - set(FAULTS))
    if unknown:
        parser.error(f'fault must be one of {", ".join(FAULTS)}; got {", ".join(unknown)}')
    if options.times < 1:
        parser.error(f'times must be at least 1, got {options.times}')
    return options


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a campaign or a part of one; 1 where a promise was broken in it, 2 for bad options."""
    options = parsed(arguments)
    try:
        keep(options.out, [])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    kinds = options.fault or list(FAULTS)
    os.environ.setdefault('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix='av_td3_chaos_'))
    rows: List[Row] = []
    begun, total = time.monotonic(), len(kinds) * options.times
    try:
        with Campaign(folder) as campaign:
            for kind, number in in_turn(kinds, options.times):
                row = campaign.harm(kind, number + options.first_seed)
                rows.append(row)
                left = (time.monotonic() - begun) / len(rows) * (total - len(rows))
                print(
                    f'{len(rows)}/{total} {kind}: {row.what}: {row.ended} in {row.seconds:.1f} s, '
                    f'{row.lost_steps} steps lost{"  BROKEN " if row.is_failure else ""}'
                    f'{row.reason or row.uncommanded or row.out_of_bounds or row.torn}'
                    f'  ({left / 60:.0f} min left)',
                    flush=True,
                )
                keep(options.out, [row])
    except KeyboardInterrupt:
        print('stopped; what was measured is kept', file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if rows:
        print(table(keep(options.out, rows)))
    return 1 if not rows or any(row.is_failure for row in rows) else 0


if __name__ == '__main__':
    sys.exit(main())
