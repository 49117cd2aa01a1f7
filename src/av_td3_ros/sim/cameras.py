"""
The cameras of a world: the front camera with its channels, and views for people.

They share one scene; each is opened when it is first asked for, and the few last used stay open.
"""

import math
from typing import Dict, Tuple

import cv2
import numpy as np

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim import views
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
CHASE_FOV, TOP_FOV = 80.0, 70.0
NO_ROUTE = np.zeros((0, 2))
# Cameras that stay open.
MOST_OPEN = 8
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
        self._route = NO_ROUTE
        self._lens = Lens()
        # The last used is the last.
        self._open: Dict[Tuple[int, int, float, bool], Camera] = {}
        self._palette = np.full((256, 4), 255, np.uint8)
        self._palette[:, :3] = class_palette()[:, ::-1]

    def set_weather(self, weather: Weather, lens: Lens) -> None:
        """Change sky, air and road, and the sensor of the front camera at every size."""
        self._scene.set_weather(weather)
        self._lens = lens
        for (*_, shows_ego), camera in self._open.items():
            if not shows_ego:
                camera.set_lens(lens)

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

    def view(
        self, kind: str, width: int, height: int, frame: int, route: np.ndarray
    ) -> np.ndarray:
        """
        Return a picture for people: (height, width, 3) uint8, RGB.

        :param kind: one of ``VIEWS``; chase from behind, top from above with the vehicle's front
            up, both with the route; the others as the front camera sees.
        :param route: (n, 2) m; fewer than two points are none.
        :raises ValueError: for another kind.
        """
        if kind not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got '{kind}'")
        self._move()
        if kind in FRONT_VIEWS:
            return self._front_view(kind, self._camera(width, height, self._config.fov_deg), frame)
        if route is not self._route:
            self._route = route
            self._scene.set_route(route)
        ego = self._vehicle.state.pose
        pose, fov = (
            (views.chase(ego), CHASE_FOV) if kind == 'chase' else (views.top_down(ego), TOP_FOV)
        )
        return _rgb(self._camera(width, height, fov, with_ego=True).render(pose, frame))

    def close(self) -> None:
        """Release the renderer."""
        for camera in self._open.values():
            camera.close()
        self._open.clear()

    def _front_view(self, kind: str, camera: Camera, frame: int) -> np.ndarray:
        pose = self._mounted()
        if kind == 'segmentation':
            return _rgb(self._palette[camera.segmentation(pose)])
        if kind == 'depth':
            return _coloured(camera.depth(pose))
        return _rgb(camera.render(pose, frame))

    @property
    def _front(self) -> Camera:
        config = self._config
        return self._camera(config.image_width, config.image_height, config.fov_deg)

    def _camera(self, width: int, height: int, fov_deg: float, with_ego: bool = False) -> Camera:
        key = width, height, fov_deg, with_ego
        camera = self._open.pop(key, None)
        if camera is None:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            camera = Camera(self._scene, *key, renderer=self._config.renderer)
            if not with_ego:
                camera.set_lens(self._lens)
        self._open[key] = camera
        return camera

    def _move(self) -> None:
        traffic, vehicle = self._traffic, self._vehicle
        self._scene.move_vehicles(traffic.boxes, traffic.braking, vehicle.box, vehicle.is_braking)

    def _mounted(self) -> Pose:
        pose, ahead = self._vehicle.state.pose, self._config.camera_x
        x, y = pose.x + ahead * math.cos(pose.yaw), pose.y + ahead * math.sin(pose.yaw)
        return Pose(x, y, pose.z + self._config.camera_z, pose.yaw)


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., 2::-1])


def _coloured(depth: np.ndarray) -> np.ndarray:
    """Return near things bright and far ones dark, RGB."""
    share = np.log1p(depth) / math.log1p(DEPTH_SHOWN)
    levels = (255.0 * (1.0 - np.clip(share, 0.0, 1.0))).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
