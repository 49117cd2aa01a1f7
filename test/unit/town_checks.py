"""
What must hold for a town, measured on what ``carla.Map`` reads, with shapely.

    python test/unit/town_checks.py COUNT FOLDER

writes FOLDER/seeds.csv, a row for each seed from 0 on, and FOLDER/towns.png, six of the towns.
"""

import csv
import math
from pathlib import Path
import sys
import time
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import shapely

from av_td3_ros.driving.road_map import DRIVING, Lane, NO_MARKING, RoadMap
from av_td3_ros.driving.towns import town

# Two lanes overlap where they share more than this, m^2; chords of 2 mm error cost a little.
SHARED = 0.02
# Curvature is measured over this length, m.
WINDOW = 1.5
PICTURED = (1, 4, 5, 7, 12, 15)
COLOURS = {'Driving': '#555555', 'Shoulder': '#999999', 'Sidewalk': '#d8c9a8'}


class Town(NamedTuple):
    """A town, read; ``seconds``: to generate and to read it."""

    text: str
    road_map: RoadMap
    seconds: Tuple[float, float]


def make(seed: int) -> Town:
    """Generate a town and read it."""
    begin = time.perf_counter()
    text = town(seed)
    middle = time.perf_counter()
    road_map = RoadMap(f'random_town_{seed}', text)
    return Town(text, road_map, (middle - begin, time.perf_counter() - middle))


def driving(road_map: RoadMap) -> List[Lane]:
    """Return the lanes that are driven on."""
    return [lane for lane in road_map.lanes if lane.kind == DRIVING]


def is_strongly_connected(road_map: RoadMap) -> bool:
    """Return whether every lane leads to every lane."""
    graph = nx.DiGraph()
    for lane in driving(road_map):
        graph.add_node(lane.key)
        graph.add_edges_from((lane.key, following) for following in lane.successors)
    return nx.is_strongly_connected(graph)


def joints(road_map: RoadMap) -> Tuple[float, float]:
    """Return the widest gap (m) and the sharpest kink (rad) between lanes that follow."""
    gap = kink = 0.0
    for lane in driving(road_map):
        for key in lane.successors:
            following = road_map.lane(key)
            for side in ('left_edge', 'right_edge'):
                away = getattr(following, side)[0] - getattr(lane, side)[-1]
                gap = max(gap, float(np.hypot(*away)))
            turn = math.remainder(following.yaw[0] - lane.yaw[-1], 2 * math.pi)
            kink = max(kink, abs(turn))
    return gap, kink


def tightest(lanes: Sequence[Lane]) -> float:
    """Return the smallest radius of centre lines, m."""
    sharpest = 0.0
    for lane in lanes:
        at = np.linspace(0.0, lane.length, max(int(lane.length / WINDOW), 1) + 1)
        yaw = np.interp(at, lane.distance, np.unwrap(lane.yaw))
        sharpest = max(sharpest, float(np.abs(np.diff(yaw) / np.diff(at)).max()))
    return 1.0 / sharpest


def overlaps(road_map: RoadMap) -> Iterator[Tuple[Lane, Lane, float]]:
    """
    Yield pairs of lanes that must not overlap, but do, with the area that they share, m^2.

    Driving lanes of one junction may; everything else may not.
    """
    lanes = road_map.lanes
    outlines = shapely.make_valid(
        [shapely.Polygon([*lane.left_edge, *lane.right_edge[::-1]]) for lane in lanes]
    )
    for i, j in shapely.STRtree(outlines).query(outlines, predicate='intersects').T:
        a, b = lanes[i], lanes[j]
        if i >= j or a.key[0] == b.key[0]:
            continue
        is_crossing = a.junction == b.junction >= 0 and a.kind == b.kind == DRIVING
        if not is_crossing:
            shared = outlines[i].intersection(outlines[j]).area
            if shared > SHARED:
                yield a, b, shared


def folded(road_map: RoadMap) -> List[Lane]:
    """Return lanes with an edge that goes back somewhere: a bend tighter than they are wide."""
    return [
        lane
        for lane in road_map.lanes
        for edge in (lane.left_edge, lane.right_edge)
        if (np.diff(edge, axis=0) * np.diff(lane.centre[:, :2], axis=0)).sum(axis=1).min() < 0.0
    ]


def kinds(text: str) -> Dict[str, int]:
    """Return how many T junctions, crossings and roundabouts there are."""
    names = [junction.get('name') for junction in ElementTree.fromstring(text).iter('junction')]
    return {
        't_junctions': sum(name.startswith('t_junction') for name in names),
        'crossings': sum(name.startswith('crossing') for name in names),
        'roundabouts': sum(name.startswith('roundabout') and name[-1] == '0' for name in names),
    }


def figures(seed: int) -> Dict[str, object]:
    """Return one row of the table."""
    text, road_map, (generated, read) = make(seed)
    lanes = driving(road_map)
    outside = [lane for lane in lanes if not lane.is_junction]
    points = np.concatenate([lane.centre[:, :2] for lane in lanes])
    gap, kink = joints(road_map)
    rng = np.random.default_rng(seed)
    routes = [road_map.random_route(rng, 80.0, 200.0).length for _ in range(10)]
    size = points.max(axis=0) - points.min(axis=0)
    return {
        'seed': seed,
        'generate_ms': round(1e3 * generated, 1),
        'read_ms': round(1e3 * read),
        'kilobytes': round(len(text) / 1e3),
        'width': round(float(size.max())),
        'height': round(float(size.min())),
        'lane_km': round(sum(lane.length for lane in lanes) / 1e3, 2),
        'lanes': len(lanes),
        **kinds(text),
        'two_lane_km': round(sum(lane.length for lane in lanes if abs(lane.key[2]) > 1) / 1e3, 2),
        'strongly_connected': is_strongly_connected(road_map),
        'gap_mm': round(1e3 * gap, 3),
        'kink_deg': round(math.degrees(kink), 4),
        'overlaps': len(list(overlaps(road_map))),
        'folded': len(folded(road_map)),
        'street_radius': round(tightest([lane for lane in outside if lane.length > 45.0]), 1),
        'turn_radius': round(tightest([lane for lane in lanes if lane.is_junction]), 1),
        'routes': len(routes),
    }


def write_table(count: int, path: Path) -> None:
    """Write the figures of the first seeds."""
    rows = [figures(seed) for seed in range(count)]
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def write_picture(path: Path) -> None:
    """Draw six towns from above."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(15, 10))
    for seed, ax in zip(PICTURED, axes.flat):
        text, road_map, _ = make(seed)
        for lane in sorted(road_map.lanes, key=lambda lane: lane.kind == DRIVING):
            outline = np.concatenate([lane.left_edge, lane.right_edge[::-1]])
            ax.fill(*outline.T, color=COLOURS[lane.kind], linewidth=0.0)
        for lane in driving(road_map):
            sides = (lane.left_edge, lane.left_markings), (lane.right_edge, lane.right_markings)
            for edge, ((kind, colour), *_) in sides:
                if kind != NO_MARKING:
                    ax.plot(
                        *edge.T,
                        color='#f2c230' if colour == 'Yellow' else 'white',
                        linewidth=1.0 if kind == 'SolidSolid' else 0.5,
                        linestyle='--' if kind == 'Broken' else '-',
                    )
        count = kinds(text)
        ax.set_title(f'{seed}: ' + ', '.join(f'{count[kind]} {kind}' for kind in count))
        ax.set_aspect('equal')
        ax.set_facecolor('#7d9a62')
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / 'towns.png')
    write_table(int(sys.argv[1]), folder / 'seeds.csv')
