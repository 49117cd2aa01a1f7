"""
Measure the traffic: ten minutes without an overlap, cost by the number of vehicles, two pictures.

Run from the root of the repository: python docs/results/sim/traffic/measure.py [Town01.xodr ...].
"""

import csv
import json
from pathlib import Path
import sys
import time
from typing import Any, Dict, List, Tuple

import matplotlib
from matplotlib.collections import LineCollection, PolyCollection
import matplotlib.pyplot as plt
import numpy as np

from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.towns import town
from av_td3_ros.sim.boxes import corners, touching
from av_td3_ros.sim.traffic import Traffic
from av_td3_ros.sim.traffic_lanes import LaneNetwork
from av_td3_ros.sim.traffic_paths import FRONT

matplotlib.use('agg')

HERE = Path(__file__).parent
TICK, MINUTES = 0.05, 10
AWAY = (1e4, 1e4, 0.0, 4.5, 1.8, 0.0)
VEHICLES = {'town': 60, 'Town01': 100, 'fabriksgatan': 8}


def maps(files: List[str]) -> List[RoadMap]:
    """Return the shipped town, the files given, and some random towns."""
    drawn = [RoadMap(f'random_town:{seed}', town(seed)) for seed in range(4)]
    return [RoadMap.load('town'), *(RoadMap.load(file) for file in files), *drawn]


def drive(road_map: RoadMap, count: int, seed: int) -> Dict[str, Any]:
    """Let vehicles drive for ten minutes; look at every pair at every tick."""
    traffic = Traffic(road_map, count, seed)
    traffic.reset(seed, AWAY[:5])
    first, second = np.triu_indices(count, 1)
    overlaps, ticks = 0, round(MINUTES * 60 / TICK)
    still, longest, hardest, lateral = np.zeros(count), np.zeros(count), 0.0, 0.0
    speeds, stood, spent, way = [], [], 0.0, np.zeros(count)
    for _ in range(ticks):
        speed, before = traffic.speed, traffic.boxes.copy()
        begin = time.process_time()
        traffic.step(TICK, AWAY)
        spent += time.process_time() - begin
        overlaps += int(touching(traffic.boxes[first], traffic.boxes[second]).sum())
        still = np.where(traffic.speed < 0.1, still + TICK, 0.0)
        longest = np.maximum(longest, still)
        # Who came back elsewhere has not moved there.
        moved = np.hypot(*(traffic.boxes[:, :2] - before[:, :2]).T) < 1.0
        # Below walking pace a stop is a matter of centimetres.
        slowing = (speed - traffic.speed)[moved & (speed > 1.0)] / TICK
        hardest = max(hardest, float(slowing.max(initial=0.0)))
        turn = np.angle(np.exp(1j * (traffic.boxes[:, 2] - before[:, 2]))) / TICK
        lateral = max(lateral, float((np.abs(turn) * traffic.speed)[moved].max(initial=0.0)))
        way += TICK * traffic.speed
        speeds.append(float(traffic.speed.mean()))
        stood.append(float((traffic.speed < 0.1).mean()))
    return {
        'map': road_map.name,
        'vehicles': count,
        'seed': seed,
        'ticks': ticks,
        'overlaps': overlaps,
        'longest_standstill_s': round(float(longest.max()), 2),
        'median_longest_standstill_s': round(float(np.median(longest)), 2),
        'least_driven_m': round(float(way.min())),
        'mean_speed': round(float(np.mean(speeds)), 2),
        'standing_share': round(float(np.mean(stood)), 3),
        'hardest_braking': round(hardest, 2),
        'largest_lateral_acceleration': round(lateral, 2),
        'tick_us': round(1e6 * spent / ticks),
    }


def cost(road_map: RoadMap) -> List[Dict[str, Any]]:
    """Return microseconds of a tick by the number of vehicles, the ego among them."""
    route = road_map.random_route(np.random.default_rng(1), 300.0, 600.0)
    columns = (*route.points.T, np.unwrap(route.yaw))
    rows, ticks = [], 1000
    for count in (0, 1, 5, 10, 20, 50, 100):
        traffic = Traffic(road_map, count, 0)
        traffic.reset(0, (*route.points[0], 0.0, 4.5, 1.8))
        samples = []
        for tick in range(ticks):
            at = (0.25 * tick) % route.length
            ego = (*(float(np.interp(at, route.distance, c)) for c in columns), 4.5, 1.8, 5.0)
            begin = time.process_time()
            traffic.step(TICK, ego)
            samples.append(1e6 * (time.process_time() - begin))
        rows.append(
            {
                'map': road_map.name,
                'vehicles': count,
                'mean_us': round(float(np.mean(samples[100:])), 1),
                'median_us': round(float(np.median(samples[100:])), 1),
                'p99_us': round(float(np.percentile(samples[100:], 99)), 1),
            }
        )
    return rows


def snapshot(road_map: RoadMap, count: int) -> None:
    """Draw a junction from above after two minutes."""
    network, traffic = LaneNetwork(road_map), Traffic(road_map, count, 0)
    traffic.reset(0, AWAY[:5])
    for _ in range(2400):
        traffic.step(TICK, AWAY)
    places = traffic.boxes[:, :2]
    busy = places[np.argmax((np.hypot(*(places[:, None] - places).T) < 45.0).sum(axis=0))]
    figure, axes = plt.subplots(1, 2, figsize=(14, 7))
    for axis, around in zip(axes, (None, busy)):
        axis.add_collection(PolyCollection(corners(network.cells), color='0.85'))
        closed = network.closed[network.cell_segment]
        axis.add_collection(PolyCollection(corners(network.cells[closed]), color='0.72'))
        boxes = traffic.boxes.copy()
        if around is None:
            boxes[:, 3:] *= 2.5
        edge = ['red' if lit else 'black' for lit in traffic.braking]
        paint = [body.colour for body in traffic.bodies]
        axis.add_collection(PolyCollection(corners(boxes), facecolors=paint, edgecolors=edge))
        axis.autoscale()
        axis.set_aspect('equal')
        if around is not None:
            axis.set_xlim(around[0] - 45.0, around[0] + 45.0)
            axis.set_ylim(around[1] - 45.0, around[1] + 45.0)
    axes[0].set_title(f'{road_map.name}, {count} vehicles after 2 min (drawn 2.5 times as large)')
    axes[1].set_title('where most are; red edge: brake lights; dark: closed segments')
    figure.tight_layout()
    figure.savefig(HERE / 'snapshot.png', dpi=80)


def space_time(road_map: RoadMap, count: int) -> None:
    """Draw how vehicles come along the busiest lane to its junction."""
    network, traffic = LaneNetwork(road_map), Traffic(road_map, count, 0)
    traffic.reset(0, AWAY[:5])
    segment = int(np.argmax(np.where(network.closed, 0.0, network.length)))
    lines: Dict[Tuple[int, int], List[Tuple[float, float, float]]] = {}
    visits = np.zeros(count, int)
    paths, before = traffic._paths, np.zeros(count, bool)
    for tick in range(4000):
        traffic.step(TICK, AWAY)
        on = paths.segment[FRONT] == segment
        visits += on & ~before
        before = on
        for k in np.flatnonzero(on).tolist():
            place = float(paths.front[k] - paths.begin[FRONT, k])
            lines.setdefault((k, int(visits[k])), []).append(
                (tick * TICK, place, float(traffic.speed[k]))
            )
    figure, axis = plt.subplots(figsize=(12, 6))
    for rows in lines.values():
        points = np.array(rows)
        parts = np.stack([points[:-1, :2], points[1:, :2]], axis=1)
        drawn = LineCollection(parts, cmap='viridis', norm=plt.Normalize(0.0, 12.0))
        drawn.set_array(points[1:, 2])
        axis.add_collection(drawn)
    axis.axhline(network.length[segment], color='red', linewidth=0.8)
    axis.autoscale()
    axis.set_xlabel('time, s')
    axis.set_ylabel('front bumper on the lane, m (red: where the junction begins)')
    axis.set_title(f'{road_map.name}, {count} vehicles: the longest lane')
    figure.colorbar(drawn, label='speed, m/s')
    figure.tight_layout()
    figure.savefig(HERE / 'space_time.png', dpi=80)


def main() -> None:
    """Measure all and write it beside this file."""
    found = maps(sys.argv[1:])
    runs = [
        drive(road_map, VEHICLES.get(road_map.name, 60), seed)
        for road_map in found
        for seed in range(3 if road_map.name == 'Town01' else 1)
    ]
    (HERE / 'ten_minutes.json').write_text(json.dumps(runs, indent=1) + '\n')
    largest = max(found, key=lambda road_map: VEHICLES.get(road_map.name, 0))
    with open(HERE / 'cost.csv', 'w', newline='') as file:
        rows = cost(largest)
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    snapshot(largest, 100)
    space_time(largest, 100)


if __name__ == '__main__':
    main()
