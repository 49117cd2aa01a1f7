"""
The cameras of a world: the front camera with its channels, and views for people.

They share one scene; each is opened when it is first asked for.
"""

import math
from typing import Dict, Tuple

import cv2
import numpy as np

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.bodies import KINDS, PAINTS
from av_td3_ros.sim.camera import Camera
from av_td3_ros.sim.lens_effects import Lens
from av_td3_ros.sim.palette import class_palette
from av_td3_ros.sim.scene import Scene
from av_td3_ros.sim.scenery import Scenery
from av_td3_ros.sim.traffic import Traffic
from av_td3_ros.sim.vehicle import Vehicle
from av_td3_ros.sim.weather import Weather

VIEWS = ('front', 'chase', 'top', 'segmentation', 'depth')
FRONT_VIEWS = ('front', 'segmentation', 'depth')
CHASE_BACK, CHASE_HEIGHT, CHASE_PITCH, CHASE_FOV = 7.5, 3.2, math.radians(11.0), 80.0
TOP_HEIGHT, TOP_FOV = 45.0, 70.0
# Full scale of the colours of depth for people, m.
DEPTH_SHOWN = 60.0


class Cameras:
    """What a world lets one see."""

    def __init__(
        self,
        road_map: RoadMap,
        scenery: Scenery,
        traffic: Traffic,
        vehicle: Vehicle,
        config: SimulatorConfig,
    ) -> None:
        """Build the scene."""
        self._config, self._traffic, self._vehicle = config, traffic, vehicle
        self._scene = Scene(road_map, scenery)
        params = vehicle.params
        ego = KINDS['sedan']._replace(
            length=params.length, width=params.width, height=params.height, colour=PAINTS[3]
        )
        self._scene.set_vehicles(traffic.bodies, ego)
        self._open: Dict[Tuple[int, int, float, bool], Camera] = {}
        self._palette = np.full((256, 4), 255, np.uint8)
        self._palette[:, :3] = class_palette()[:, ::-1]

    def set_weather(self, weather: Weather, lens: Lens) -> None:
        """Change sky, air and road, and the sensor of the front camera."""
        self._scene.set_weather(weather)
        self._front.set_lens(lens)

    def image(self, frame: int) -> np.ndarray:
        """Return what the front camera sees: (height, width, 4) uint8, BGRA."""
        self._move()
        return self._front.render(self._mounted(), frame)

    def segmentation(self) -> np.ndarray:
        """Return the front camera's classes in CARLA's colours: (height, width, 4) uint8, BGRA."""
        self._move()
        return self._palette[self._front.segmentation(self._mounted())]

    def depth(self) -> np.ndarray:
        """Return the front camera's depth: (height, width) float32 m along its axis."""
        self._move()
        return self._front.depth(self._mounted())

    def view(self, kind: str, width: int, height: int, frame: int) -> np.ndarray:
        """
        Return a picture for people: (height, width, 3) uint8, RGB.

        :param kind: one of ``VIEWS``; chase from behind, top from above with the vehicle's front
            up, the others as the front camera sees.
        :raises ValueError: for another kind.
        """
        if kind not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got '{kind}'")
        self._move()
        if kind in FRONT_VIEWS:
            camera, pose = self._camera(width, height, self._config.fov_deg), self._mounted()
            if kind == 'segmentation':
                return np.ascontiguousarray(self._palette[camera.segmentation(pose)][..., 2::-1])
            if kind == 'depth':
                return _coloured(camera.depth(pose))
        elif kind == 'chase':
            camera = self._camera(width, height, CHASE_FOV, with_ego=True)
            pose = self._placed(-CHASE_BACK, CHASE_HEIGHT, CHASE_PITCH)
        else:
            camera = self._camera(width, height, TOP_FOV, with_ego=True)
            pose = self._placed(0.0, TOP_HEIGHT, math.pi / 2)
        return np.ascontiguousarray(camera.render(pose, frame)[..., 2::-1])

    def close(self) -> None:
        """Release the renderer."""
        for camera in self._open.values():
            camera.close()
        self._open.clear()

    @property
    def _front(self) -> Camera:
        config = self._config
        return self._camera(config.image_width, config.image_height, config.fov_deg)

    def _camera(self, width: int, height: int, fov_deg: float, with_ego: bool = False) -> Camera:
        key = width, height, fov_deg, with_ego
        if key not in self._open:
            self._open[key] = Camera(self._scene, *key, renderer=self._config.renderer)
        return self._open[key]

    def _move(self) -> None:
        traffic, vehicle = self._traffic, self._vehicle
        pose = vehicle.state.pose
        box = np.array((*pose[:2], pose.yaw, vehicle.params.length, vehicle.params.width))
        self._scene.move_vehicles(traffic.boxes, traffic.braking, box, vehicle.is_braking)

    def _mounted(self) -> Pose:
        return self._placed(self._config.camera_x, self._config.camera_z, 0.0)

    def _placed(self, ahead: float, height: float, pitch: float) -> Pose:
        pose = self._vehicle.state.pose
        x, y = pose.x + ahead * math.cos(pose.yaw), pose.y + ahead * math.sin(pose.yaw)
        return Pose(x, y, pose.z + height, pose.yaw, pitch)


def _coloured(depth: np.ndarray) -> np.ndarray:
    """Return near things bright and far ones dark, RGB."""
    share = np.log1p(depth) / math.log1p(DEPTH_SHOWN)
    levels = (255.0 * (1.0 - np.clip(share, 0.0, 1.0))).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
