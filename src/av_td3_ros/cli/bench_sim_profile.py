"""
Where the time of a simulator step goes, by module of this package.

cProfile says what every function took; what lies outside the package (Panda3D, numpy, OpenCV,
CARLA's map) counts for the module that called it. cProfile slows calls down: what it adds to one
is measured and taken off, and what is left is scaled to the processor time of a step without it.
"""

from collections import defaultdict
import cProfile
import functools
from pathlib import Path
import pstats
import time
from typing import Any, Dict, List, Optional, Tuple

import av_td3_ros

ROOT = Path(av_td3_ros.__file__).parent
# What people call the parts, by how their modules begin; others go by their own names.
PARTS = {
    'sim/scenery': 'collisions',
    'sim/camera': 'render',
    'sim/scene': 'render',
    'sim/view': 'render',
    'sim/fleet': 'render',
    'sim/lens': 'render',
    'sim/vehicle': 'physics',
    'sim/single_track': 'physics',
    'sim/powertrain': 'physics',
    'sim/traffic': 'traffic',
    'sim/right_of_way': 'traffic',
    'sim/collisions': 'collisions',
    'sim/boxes': 'collisions',
    'sim/lane_watch': 'lane invasions',
    'driving/preprocess': 'preprocess',
    'driving/episode': 'reward',
    'driving/reward': 'reward',
    'driving/road_map': 'queries of the map',
    'driving/lane': 'queries of the map',
    'driving/route': 'position on the route',
    'sim/world': 'world',
    'sim/env': 'environment',
}
CALIBRATION = 20_000

Function = Tuple[str, int, str]
Stats = Dict[
    Function, Tuple[int, int, float, float, Dict[Function, Tuple[int, int, float, float]]]
]


def profile(bench: Any, seconds: float) -> List[Dict[str, Any]]:
    """
    Return the parts of a step, the most expensive first.

    :param bench: a ``bench_sim.Bench``.
    :param seconds: how long to drive; as many steps follow with the profiler.
    :returns: part, ms of a step, its share of the step, calls in a step.
    """
    bench.forget()
    bench.drive(seconds=seconds)
    steps, plain = bench.steps, bench.busy_seconds
    profiler, step = cProfile.Profile(), bench.step
    bench.step = functools.partial(profiler.runcall, step)
    bench.drive(steps=steps)
    bench.step = step
    times, calls = by_part(pstats.Stats(profiler).stats)  # type: ignore[attr-defined]
    overhead = call_overhead()
    cost = {part: max(took - overhead * calls[part], 0.0) for part, took in times.items()}
    whole = sum(cost.values())
    return [
        {
            'part': part,
            'ms': 1e3 * cost[part] / whole * plain / steps,
            'share': cost[part] / whole,
            'calls': calls[part] / steps,
        }
        for part in sorted(cost, key=cost.__getitem__, reverse=True)
    ]


def call_overhead() -> float:
    """Return what cProfile adds to one call of a function, s."""

    def nothing() -> None:
        return

    def calls() -> float:
        begun = time.perf_counter()
        for _ in range(CALIBRATION):
            nothing()
        return time.perf_counter() - begun

    excess = (cProfile.Profile().runcall(calls) - calls() for _ in range(5))
    return max(min(excess), 0.0) / CALIBRATION


def by_part(stats: Stats) -> Tuple[Dict[str, float], Dict[str, float]]:
    """
    Return the time (s) and the number of calls of every part.

    :param stats: of ``pstats.Stats``: (file, line, name) to calls, own calls, own time, whole time
        and the same by caller.
    """
    times: Dict[str, float] = defaultdict(float)
    calls: Dict[str, float] = defaultdict(float)
    owners: Dict[Function, Dict[str, float]] = {}
    for function, (_, count, own, _, _) in stats.items():
        for part, share in _owners(function, stats, owners).items():
            times[part] += share * own
            calls[part] += share * count
    return times, calls


def _owners(
    function: Function, stats: Stats, known: Dict[Function, Dict[str, float]]
) -> Dict[str, float]:
    """Return the parts that a function works for, with their shares of it."""
    if function in known:
        return known[function]
    part = part_of(function[0])
    if part is not None:
        known[function] = {part: 1.0}
        return known[function]
    known[function] = {}  # where functions outside call each other in a circle
    callers = {caller: entry[3] for caller, entry in stats[function][4].items() if caller in stats}
    shares: Dict[str, float] = defaultdict(float)
    for caller, seconds in callers.items():
        for owner, share in _owners(caller, stats, known).items():
            shares[owner] += share * seconds
    whole = sum(shares.values())
    known[function] = {owner: share / whole for owner, share in shares.items()} if whole else {}
    return known[function]


def part_of(file: str) -> Optional[str]:
    """Return the part that a file belongs to; None outside this package."""
    try:
        module = Path(file).relative_to(ROOT).with_suffix('').as_posix()
    except ValueError:
        return None
    return next((part for start, part in PARTS.items() if module.startswith(start)), module)
