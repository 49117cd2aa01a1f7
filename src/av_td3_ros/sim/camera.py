"""
A pinhole camera rendered by Panda3D in software: no screen, no GPU.

Image x is to the right and y down; the camera looks along its x axis, as every frame here.
"""

import math

import numpy as np
from panda3d.core import (
    Camera as PandaCamera,
    FrameBufferProperties,
    GraphicsEngine,
    GraphicsOutput,
    GraphicsPipe,
    GraphicsPipeSelection,
    loadPrcFileData,
    NodePath,
    PerspectiveLens,
    Texture,
    WindowProperties,
)

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.scene import Scene, SKY

NEAR, FAR = 0.4, 160.0

loadPrcFileData(
    '',
    'load-display p3tinydisplay\nwindow-type offscreen\naudio-library-name null\n'
    'notify-level error',
)


class CameraError(RuntimeError):
    """Rendering is not possible here."""


class Camera:
    """Renders one scene from anywhere."""

    def __init__(self, scene: Scene, width: int, height: int, fov_deg: float) -> None:
        """
        Open a camera.

        :param scene: what it sees. :param width: columns. :param height: rows.
        :param fov_deg: horizontal field of view; fx = fy = width / (2 tan(fov / 2)).
        :raises CameraError: where Panda3D's software renderer does not start.
        """
        self._engine = GraphicsEngine()
        pipe = GraphicsPipeSelection.getGlobalPtr().makePipe(
            'TinyOffscreenGraphicsPipe', 'p3tinydisplay'
        )
        properties = FrameBufferProperties()
        properties.setRgbColor(True)
        properties.setDepthBits(16)
        self._buffer = pipe and self._engine.makeOutput(
            pipe,
            'camera',
            0,
            properties,
            WindowProperties.size(width, height),
            GraphicsPipe.BFRefuseWindow,
        )
        if not self._buffer:
            raise CameraError(
                'the software renderer p3tinydisplay must start, got none; reinstall panda3d'
            )
        self._texture = Texture()
        self._buffer.addRenderTexture(
            self._texture, GraphicsOutput.RTMCopyRam, GraphicsOutput.RTPColor
        )
        self._buffer.setClearColor((*SKY, 1.0))
        lens = PerspectiveLens()
        lens.setNearFar(NEAR, FAR)
        half = math.tan(math.radians(fov_deg) / 2)
        lens.setFov(fov_deg, math.degrees(2 * math.atan(half * height / width)))
        self._root = NodePath('world')
        scene.root.instanceTo(self._root)
        self._camera = self._root.attachNewNode(PandaCamera('camera', lens))
        self._buffer.makeDisplayRegion().setCamera(self._camera)
        self._shape = height, width

    def render(self, pose: Pose) -> np.ndarray:
        """
        Render one image.

        :param pose: of the camera in the map frame; positive pitch looks down.
        :returns: (height, width, 4) uint8, BGRA, a new array.
        """
        self._camera.setPos(pose.x, pose.y, pose.z)
        # Panda3D's camera looks along its y axis.
        self._camera.setHpr(
            math.degrees(pose.yaw) - 90.0, -math.degrees(pose.pitch), math.degrees(pose.roll)
        )
        self._engine.renderFrame()
        height, width = self._shape
        pixels = np.frombuffer(self._texture.getRamImageAs('BGRA'), np.uint8).reshape(
            height, width, 4
        )
        image = pixels[::-1].copy()
        image[..., 3] = 255
        return image

    def close(self) -> None:
        """Release the renderer."""
        self._engine.removeAllWindows()
        self._root.removeNode()
