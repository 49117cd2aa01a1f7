"""
A pinhole camera rendered by Panda3D: no screen, and no GPU unless one is asked for.

Image x is to the right and y down; the camera looks along its x axis, as every frame here. The
centre of pixel (row, column) is at (column + 0.5, row + 0.5), the principal point in the middle.
"""

import math
from typing import Dict, Optional, Tuple

import numpy as np
from panda3d.core import (
    Camera as PandaCamera,
    GraphicsEngine,
    GraphicsOutput,
    NodePath,
    PerspectiveLens,
    Texture,
)

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.lens_effects import Lens, LensEffects
from av_td3_ros.sim.renderers import CameraError, open_buffer, SOFTWARE
from av_td3_ros.sim.scene import COLOURS, NUMBERS, Scene
from av_td3_ros.sim.view import View
from av_td3_ros.sim.weather import Weather

__all__ = ['Camera', 'CameraError', 'Lens']

NEAR, FAR = 0.4, 420.0
# p3tinydisplay spreads the film over the width less half a pixel, and the height likewise.
SOFTWARE_FILM = 0.5
OPAQUE = np.uint32(0xFF000000)


class Camera:
    """Renders one scene from anywhere."""

    def __init__(
        self,
        scene: Scene,
        width: int,
        height: int,
        fov_deg: float,
        shows_ego: bool = False,
        renderer: str = SOFTWARE,
    ) -> None:
        """
        Open a camera.

        :param scene: what it sees. :param width: columns. :param height: rows.
        :param fov_deg: horizontal field of view; fx = fy = width / (2 tan(fov / 2)).
        :param shows_ego: whether the vehicle with the front camera is in the picture.
        :param renderer: one of ``renderers.RENDERERS``.
        :raises CameraError: where the renderer does not start.
        """
        self._scene, self._shows_ego = scene, shows_ego
        self._shape = height, width
        self._focal = focal = width / (2 * math.tan(math.radians(fov_deg) / 2))
        self._rays = (
            (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal,
            (np.arange(height, dtype=np.float32)[:, None] + 0.5 - height / 2) / focal,
        )
        self._engine = GraphicsEngine()
        self._buffer, is_software = open_buffer(self._engine, renderer, width, height)
        film = SOFTWARE_FILM if is_software else 0.0
        self._texture = Texture()
        self._buffer.addRenderTexture(
            self._texture, GraphicsOutput.RTMCopyRam, GraphicsOutput.RTPColor
        )
        self._buffer.setClearColor((0.0, 0.0, 0.0, 0.0))
        self._projection = PerspectiveLens()
        self._projection.setNearFar(NEAR, FAR)
        self._projection.setFilmSize(width - film, height - film)
        self._projection.setFocalLength(focal)
        self._projection.setFilmOffset(-film / 2, film / 2)
        self._region = self._buffer.makeDisplayRegion()
        self._channels: Dict[str, Tuple[View, NodePath]] = {}
        self.set_lens(Lens())

    def set_lens(self, lens: Lens) -> None:
        """Change exposure and noise."""
        self._lens = lens
        self._weather: Optional[Weather] = None

    def render(self, pose: Pose, frame: int = 0) -> np.ndarray:
        """
        Render one image.

        :param pose: of the camera in the map frame; positive pitch looks down.
        :param frame: number of the frame, which rain and noise depend on.
        :returns: (height, width, 4) uint8, BGRA, a new array.
        """
        image = (self._draw(COLOURS, pose) | OPAQUE).view(np.uint8).reshape(*self._shape, 4)
        effects = self._effects_now()
        if effects is None:
            return image
        return effects.apply(image, self.depth(pose) if effects.needs_depth else None, frame)

    def segmentation(self, pose: Pose) -> np.ndarray:
        """
        Render what is seen.

        :param pose: as for :meth:`render`.
        :returns: (height, width) uint8, classes of ``palette.Label``.
        """
        return self._scene.surfaces.labels[self._numbers(pose)]

    def depth(self, pose: Pose) -> np.ndarray:
        """
        Render how far it is.

        :param pose: as for :meth:`render`.
        :returns: (height, width) float32 m along the optical axis, at the middle of each pixel;
            ``surfaces.SKY_DEPTH`` where nothing is.
        """
        return self._scene.surfaces.depth(
            self._numbers(pose), np.array(pose[:3]), _axes(pose), self._rays
        )

    def close(self) -> None:
        """Release the renderer."""
        self._engine.removeAllWindows()
        self._channels.clear()

    def _effects_now(self) -> Optional[LensEffects]:
        scene = self._scene
        if scene.weather is not self._weather:
            self._weather = scene.weather
            effects = LensEffects(self._shape, scene.weather, scene.light, self._lens)
            self._effects = effects if effects.is_active else None
        return self._effects

    def _numbers(self, pose: Pose) -> np.ndarray:
        return (self._draw(NUMBERS, pose) & ~OPAQUE).astype(np.intp)

    def _draw(self, channel: str, pose: Pose) -> np.ndarray:
        """Return the pixels, (height, width) uint32, blue in the lowest byte."""
        if channel not in self._channels:
            view = View(self._scene, channel, self._focal, self._shows_ego)
            root = NodePath(view.node)
            self._channels[channel] = view, root.attachNewNode(
                PandaCamera(channel, self._projection)
            )
        view, camera = self._channels[channel]
        self._region.setCamera(camera)
        view.move(pose)
        # Panda3D's camera looks along its y axis.
        camera.setPosHpr(
            pose.x,
            pose.y,
            pose.z,
            math.degrees(pose.yaw) - 90.0,
            -math.degrees(pose.pitch),
            math.degrees(pose.roll),
        )
        self._engine.renderFrame()
        pixels = np.frombuffer(self._texture.getRamImageAs('BGRA'), '<u4')
        return pixels.reshape(self._shape)[::-1]


def _axes(pose: Pose) -> np.ndarray:
    """Return ahead, right and down of a camera in the map frame, (3, 3)."""
    cy, sy = math.cos(pose.yaw), math.sin(pose.yaw)
    cp, sp = math.cos(pose.pitch), math.sin(pose.pitch)
    cr, sr = math.cos(pose.roll), math.sin(pose.roll)
    ahead = np.array([cy * cp, sy * cp, -sp])
    left, up = np.array([-sy, cy, 0.0]), np.array([cy * sp, sy * sp, cp])
    return np.stack([ahead, -(cr * left + sr * up), -(cr * up - sr * left)])
