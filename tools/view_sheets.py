"""
Five places of a map, each on one sheet: the front camera's picture, its classes and depth, the
chase view and the view from above.
"""

import math
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import cv2
import numpy as np

from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import Lane, RoadMap
from av_td3_ros.sim.bodies import Body, KINDS, PAINTS
from av_td3_ros.sim.camera import Camera
from av_td3_ros.sim.palette import class_palette
from av_td3_ros.sim.scene import Scene
from av_td3_ros.sim.scenery import Scenery
from av_td3_ros.sim.views import chase, top_down
from av_td3_ros.sim.weather import PRESETS

PANEL, FOV_DEG = (400, 225), 90.0
CAMERA_AHEAD, CAMERA_ABOVE = 0.4, 1.5
EGO = KINDS['sedan']._replace(colour=PAINTS[4])
# Depth from blue (near) to red (far), logarithmic between these, m.
NEAREST, FURTHEST = 2.0, 200.0
ROUTE_AHEAD = 120.0
SEED = 1
BESIDE = 4.0
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


class Place(NamedTuple):
    """
    Where the vehicle stands, and in what.

    ``lane``: that it is on. ``at``: m along it. ``weather``: name of a preset. ``others``: kind,
    m ahead, lanes to the left, whether it brakes.
    """

    lane: Lane
    at: float
    weather: str = 'clear_noon'
    others: Tuple[Tuple[str, float, int, bool], ...] = ()


TRAFFIC = (
    ('suv', 11.0, 0, True),
    ('van', 20.0, 0, False),
    ('compact', 16.0, 1, False),
    ('truck', 30.0, 1, False),
    ('sedan', 42.0, 0, False),
)


def view_sheets(road_map: RoadMap, folder: Path) -> None:
    """Write a sheet of every place."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = Scene(road_map, Scenery(road_map, SEED))
    front = Camera(scene, *PANEL, FOV_DEG)
    behind = Camera(scene, *PANEL, FOV_DEG, shows_ego=True)
    above = Camera(scene, 2 * PANEL[1], 2 * PANEL[1], 60.0, shows_ego=True)
    for name, place in places(road_map).items():
        pose = _pose(place.lane, place.at)
        bodies, boxes, braking = _others(place, pose)
        scene.set_vehicles(bodies, EGO)
        scene.move_vehicles(boxes, braking, np.array([*pose[:2], pose.yaw, EGO.length, EGO.width]))
        scene.set_weather(PRESETS[place.weather])
        scene.set_route(_route(road_map, place))
        eye = _eye(pose)
        panels = [
            _titled(front.render(eye)[..., :3], f'front camera: {name}'),
            _titled(behind.render(chase(pose))[..., :3], 'chase view'),
            _titled(class_palette()[front.segmentation(eye)][..., ::-1], 'classes'),
            _titled(_coloured(front.depth(eye)), 'depth, 2 to 200 m'),
        ]
        left = np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])
        right = _titled(above.render(top_down(pose))[..., :3], 'from above, with the route')
        cv2.imwrite(
            str(folder / f'{name.replace(" ", "_")}.png'),
            np.hstack([left, right]),
            [cv2.IMWRITE_PNG_COMPRESSION, 9],
        )
    for camera in (front, behind, above):
        camera.close()


def places(road_map: RoadMap) -> Dict[str, Place]:
    """Choose five places by the shape of the lanes."""
    streets = [lane for lane in road_map.lanes if lane.kind == 'Driving' and not lane.is_junction]
    by_length = sorted(streets, key=lambda lane: lane.length, reverse=True)
    longest, second = by_length[0], by_length[2]
    curve = max(streets, key=lambda lane: float(np.abs(np.diff(np.unwrap(lane.yaw))).sum()))
    bend = np.abs(np.diff(np.unwrap(curve.yaw))) / np.maximum(np.diff(curve.distance), 0.1)
    fork = next(lane for lane in streets if len(lane.successors) == 2 and lane.length > 60.0)
    return {
        'straight': Place(longest, 0.45 * longest.length),
        'curve': Place(curve, float(curve.distance[int(np.argmax(bend > 0.02))]) - 6.0),
        'T junction': Place(fork, fork.length - 9.0),
        'traffic ahead': Place(second, 0.4 * second.length, others=TRAFFIC),
        'rain': Place(longest, 0.3 * longest.length, 'hard_rain_noon', TRAFFIC[2:]),
    }


def _pose(lane: Lane, at: float, left: float = 0.0) -> Pose:
    x, y = (float(np.interp(at, lane.distance, lane.centre[:, k])) for k in (0, 1))
    yaw = float(np.interp(at, lane.distance, np.unwrap(lane.yaw)))
    return Pose(x - left * math.sin(yaw), y + left * math.cos(yaw), 0.0, yaw)


def _eye(pose: Pose) -> Pose:
    return pose._replace(
        x=pose.x + CAMERA_AHEAD * math.cos(pose.yaw),
        y=pose.y + CAMERA_AHEAD * math.sin(pose.yaw),
        z=CAMERA_ABOVE,
    )


def _others(place: Place, pose: Pose) -> Tuple[List[Body], np.ndarray, np.ndarray]:
    bodies, boxes = [], []
    for number, (kind, ahead, lanes, _) in enumerate(place.others):
        body = KINDS[kind]._replace(colour=PAINTS[(3 * number + 3) % len(PAINTS)])
        there = _pose(place.lane, place.at + ahead, BESIDE * lanes)
        # The lane to the left comes the other way.
        yaw = there.yaw + (math.pi if lanes else 0.0)
        bodies.append(body)
        boxes.append((there.x, there.y, yaw, body.length, body.width))
    braking = np.array([brakes for *_, brakes in place.others], bool)
    return bodies, np.array(boxes).reshape(-1, 5), braking


def _route(road_map: RoadMap, place: Place) -> np.ndarray:
    """Return the way ahead along lanes, always by the first successor, (n, 2) m."""
    lanes = {lane.key: lane for lane in road_map.lanes}
    return np.array(list(_ahead(lanes, place.lane, place.at)))


def _ahead(lanes: Dict[tuple, Lane], lane: Lane, at: float) -> Iterator[Tuple[float, float]]:
    left = ROUTE_AHEAD
    while left > 0.0:
        for place in np.arange(at, lane.length, 1.0):
            pose = _pose(lane, float(place))
            yield pose.x, pose.y
        left -= lane.length - at
        if not lane.successors:
            return
        lane, at = lanes[lane.successors[0]], 0.0


def _coloured(depth: np.ndarray) -> np.ndarray:
    share = np.log(depth / NEAREST) / math.log(FURTHEST / NEAREST)
    return cv2.applyColorMap((255 * share.clip(0.0, 1.0)).astype(np.uint8), cv2.COLORMAP_TURBO)


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    image = np.ascontiguousarray(image)
    (width, height), _ = cv2.getTextSize(title, FONT, FONT_SCALE, 1)
    image[: height + 12, : width + 16] //= 3
    return cv2.putText(
        image, title, (8, height + 6), FONT, FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA
    )
