"""
Render the pictures of the docs: what the cameras see, what the policy sees, and the maps.

    python tools/make_pictures.py [TOWN01.xodr]

Town01's pictures are made where its file is given or lies in ../shared/maps.
"""

import math
from pathlib import Path
import sys
from typing import List

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402
from matplotlib.collections import LineCollection, PolyCollection  # noqa: E402
import numpy as np  # noqa: E402

from av_td3_ros.config import ObservationConfig, SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Pose  # noqa: E402
from av_td3_ros.driving import preprocess  # noqa: E402
from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from view_sheets import view_sheets  # noqa: E402

from av_td3_ros.sim.palette import GRASS, GROUND, PAINT, WHITE  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / 'docs' / 'images'
VIEWS = ROOT / 'docs' / 'results' / 'sim' / 'views'
TOWN01 = ROOT.parent / 'shared' / 'maps' / 'Town01.xodr'
# The route of the picture and how far along it the camera stands, by map.
SEEDS = {'town': (7, 60.0), 'Town01': (3, 20.0)}
STACK_ENLARGED = 3


def main() -> None:
    """Make every picture that can be made here."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    town01 = Path(sys.argv[1]) if len(sys.argv) > 1 else TOWN01
    for name, path in (('town', 'town'), ('Town01', str(town01))):
        if name == 'Town01' and not town01.exists():
            print(f'{town01} is not there: no pictures of Town01')
            continue
        camera_picture(path, name)
        road_map = RoadMap.load(path)
        map_picture(road_map, name)
        if name == 'Town01':
            view_sheets(road_map, VIEWS)
    stack_picture()


def camera_picture(path: str, name: str) -> None:
    """Save what the front camera sees on a street."""
    world = World(SimulatorConfig(map=path, image_width=800, image_height=600))
    world.teleport(_on_route(world.road_map, name, 0.0))
    pyplot.imsave(IMAGES / f'camera_{name.lower()}.png', world.image()[..., 2::-1])
    world.close()


def stack_picture() -> None:
    """Save the four grey frames that the policy sees, oldest on the left."""
    world = World(SimulatorConfig())
    frames: List[np.ndarray] = []
    for ahead in (0.0, 0.5, 1.0, 1.5):
        world.teleport(_on_route(world.road_map, 'town', ahead))
        frames.append(preprocess.grey_frame(world.image(), ObservationConfig()))
    world.close()
    gap = np.full((frames[0].shape[0], 2), 255, np.uint8)
    row = np.hstack([part for frame in frames for part in (frame, gap)][:-1])
    enlarged = row.repeat(STACK_ENLARGED, 0).repeat(STACK_ENLARGED, 1)
    pyplot.imsave(IMAGES / 'stack_84.png', enlarged, cmap='gray', vmin=0, vmax=255)


def map_picture(road_map: RoadMap, name: str) -> None:
    """Save the map from above, with a route."""
    figure, axes = pyplot.subplots(figsize=(9, 9), dpi=100)
    axes.set_facecolor(GRASS)
    lanes = sorted(road_map.lanes, key=lambda lane: lane.kind == 'Driving')
    for lane in lanes:
        strip = np.array([(p.x, p.y, p.yaw, p.width / 2) for p in lane.points])
        side = np.stack([-np.sin(strip[:, 2]), np.cos(strip[:, 2])], axis=1) * strip[:, 3:]
        outline = np.concatenate([strip[:, :2] + side, (strip[:, :2] - side)[::-1]])
        colour = GROUND.get(lane.kind)
        if colour is not None:
            axes.add_collection(
                PolyCollection([outline], facecolor=colour, edgecolor=colour, linewidth=0.4)
            )
        middle = lane.points[len(lane.points) // 2]
        for marking, edge in (
            (middle.left, strip[:, :2] + side),
            (middle.right, strip[:, :2] - side),
        ):
            # The middle of the road belongs to the lane that comes the other way.
            again = lane.key[2] == 1 and marking is middle.left
            if marking[0] in ('Broken', 'Solid') and not lane.is_junction and not again:
                axes.add_collection(
                    LineCollection(
                        [edge],
                        colors=[PAINT.get(marking[1], WHITE)],
                        linewidth=0.8,
                        linestyles=(0, (4, 3)) if marking[0] == 'Broken' else '-',
                    )
                )
    route = road_map.random_route(np.random.default_rng(SEEDS[name][0]), 200.0, 300.0)
    axes.plot(
        *route.points.T, color='#00b7ff', linewidth=3.0, label=f'a route, {route.length:.0f} m'
    )
    axes.plot(*route.points[0], 'o', color='#00b7ff', markersize=9)
    axes.plot(*route.points[-1], '*', color='#ff3860', markersize=16, label='goal')
    axes.set_aspect('equal')
    axes.autoscale_view()
    axes.set(xlabel='x, m', ylabel='y, m', title=f'{road_map.name} ({len(lanes)} lane pieces)')
    axes.legend(loc='lower right')
    figure.tight_layout()
    figure.savefig(IMAGES / f'map_{name.lower()}.png', metadata={'Software': None})
    pyplot.close(figure)


def _on_route(road_map: RoadMap, name: str, ahead: float) -> Pose:
    seed, distance = SEEDS[name]
    route = road_map.random_route(np.random.default_rng(seed), 200.0, 300.0)
    at = distance + ahead
    i = int(np.searchsorted(route.distance, at))
    share = (at - route.distance[i - 1]) / (route.distance[i] - route.distance[i - 1])
    x, y = route.points[i - 1] + share * (route.points[i] - route.points[i - 1])
    return Pose(float(x), float(y), 0.0, float(math.remainder(route.yaw[i - 1], 2 * math.pi)))


if __name__ == '__main__':
    main()
