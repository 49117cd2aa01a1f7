"""What one camera draws of a scene: the tiles and vehicles near it, lawn and sky around it."""

from typing import Optional, Tuple

from panda3d.core import PandaNode, TransformState

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.scene import COLOURS, LAWN_GRAIN, Scene

# Tiles are chosen anew when the camera leaves a cell of this size, m.
CELL = 8.0
# The focal length of usual resolution, in pixels.
REFERENCE_FOCAL = 128.0


class View:
    """One channel of a scene, as seen by one camera that it follows."""

    def __init__(self, scene: Scene, channel: str, focal: float, with_ego: bool) -> None:
        """
        Begin with nothing in view.

        :param channel: COLOURS or NUMBERS. :param focal: focal length in pixels: how far details
            are drawn. :param with_ego: whether the vehicle with the camera and its
            route are drawn.
        """
        self._scene, self._channel, self._with_ego = scene, channel, with_ego
        self._zoom = (focal / REFERENCE_FOCAL) ** (1 / 3)
        self.node = PandaNode('view')
        backdrop = scene.backdrop(channel)
        self._backdrop = [PandaNode('backdrop') for _ in backdrop]
        for holder, node in zip(self._backdrop, backdrop):
            holder.addChild(node)
            self.node.addChild(holder)
        self._tiles, self._vehicles = PandaNode('tiles'), PandaNode('vehicles')
        self.node.addChild(self._tiles)
        self.node.addChild(self._vehicles)
        self._here: Optional[Tuple[int, ...]] = None

    def move(self, pose: Pose) -> None:
        """Follow the camera."""
        for holder in self._backdrop[1:]:
            holder.setTransform(TransformState.makePos(pose[:3]))
        cell = round(pose.x / CELL), round(pose.y / CELL), round(pose.z / CELL)
        here = (*cell, self._scene.version)
        if here != self._here:
            self._here = here
            self._choose(*(CELL * value for value in cell))
        self._show_vehicles(pose)

    def _choose(self, x: float, y: float, z: float) -> None:
        self._tiles.removeAllChildren()
        for node in self._scene.tiles(self._channel, x, y, z, self._zoom, self._with_ego):
            self._tiles.addChild(node)
        lawn = (LAWN_GRAIN * round(value / LAWN_GRAIN) for value in (x, y))
        self._backdrop[0].setTransform(TransformState.makePos((*lawn, 0.0)))

    def _show_vehicles(self, pose: Pose) -> None:
        fleet, scene = self._scene.fleet, self._scene
        self._vehicles.removeAllChildren()
        for index, level in fleet.in_sight(pose, self._zoom, self._with_ego):
            if self._channel == COLOURS:
                model = fleet.model(index, level, scene.light)
            else:
                model = fleet.numbers(index, level, scene.surfaces)
            holder = PandaNode('vehicle')
            holder.setTransform(fleet.transform(index))
            holder.addChild(model)
            self._vehicles.addChild(holder)
