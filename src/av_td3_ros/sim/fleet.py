"""
Vehicles that move through a scene.

Every kind of body in a paint is one model, placed by a transform; its light is that of one of a
few headings. What is far from a camera is plain, what is further is not drawn at all: the cost is
that of the vehicles in sight, whatever their number.
"""

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from panda3d.core import GeomNode, PandaNode, TransformState

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.bodies import Body
from av_td3_ros.sim.layers import drawing_state, number_state
from av_td3_ros.sim.light import Light
from av_td3_ros.sim.mesh import Faces, flat, geom_node
from av_td3_ros.sim.models import copies, FAR, NEAR, vehicle
from av_td3_ros.sim.palette import BRAKELIGHT
from av_td3_ros.sim.scenery import ITEM, KIND_NAMES
from av_td3_ros.sim.standing import shadows
from av_td3_ros.sim.surfaces import number_colours, planes, Surfaces

# For a camera of usual resolution, m.
NEAR_REACH, FAR_REACH = 34.0, 110.0
HEADINGS = 16
WET = 0.3
OPACITY = 0.5
# A body's middle may lie this far behind a camera that still sees it, m.
BEHIND = 6.0


class Numbered(NamedTuple):
    """
    A vehicle that shows numbers.

    ``node``: of it. ``first``: of its numbers. ``faces``, ``planes``: in its own
    frame.
    """

    node: GeomNode
    first: int
    faces: Faces
    planes: np.ndarray


class Fleet:
    """Some bodies and where they are; the last may be the one that the front camera rides on."""

    def __init__(self, bodies: Sequence[Body], ego: Optional[Body]) -> None:
        """:param bodies: of the others. :param ego: of the vehicle with the camera."""
        self.bodies: List[Body] = [*bodies, *([ego] if ego else [])]
        self._others = len(bodies)
        self._places = np.zeros((len(self.bodies), 3))
        self._braking = np.zeros(len(self.bodies), bool)
        self._models: Dict[Tuple[Body, int, bool, int], PandaNode] = {}
        self._numbered: Dict[Tuple[int, int], Numbered] = {}
        self._light: Optional[Light] = None

    def move(
        self,
        boxes: np.ndarray,
        braking: np.ndarray,
        ego: Optional[np.ndarray] = None,
        ego_braking: bool = False,
    ) -> None:
        """
        Put every vehicle somewhere.

        :param boxes: (n, 5) of the others: x, y (m), yaw (rad), length, width.
        :param braking: (n,) bool. :param ego: (5,). :param ego_braking: whether it does.
        :raises ValueError: where there are not as many as bodies.
        """
        if len(boxes) != self._others or len(braking) != self._others:
            raise ValueError(
                f'there must be one box and one brake for each of {self._others} vehicles, got '
                f'{len(boxes)} and {len(braking)}; call set_vehicles first'
            )
        self._places[: self._others] = boxes[:, :3]
        self._braking[: self._others] = braking
        if ego is not None:
            self._places[self._others :] = ego[:3]
            self._braking[self._others :] = ego_braking

    def classes(self) -> np.ndarray:
        """Return the class of every face that has a number, (m,) uint8."""
        parts = [
            vehicle(body.kind, level).faces.labels for body in self.bodies for level in (NEAR, FAR)
        ]
        return np.concatenate([np.zeros(0, np.uint8), *parts])

    def number(self, first: int) -> None:
        """Number every face from ``first`` on, in the order of :meth:`classes`."""
        self._numbered.clear()
        state = number_state('standing')
        for index, body in enumerate(self.bodies):
            for level in (NEAR, FAR):
                faces = _model(body, level)[0]
                count = len(faces.labels)
                colours = number_colours((first + np.arange(count)).repeat(3))
                node, _ = geom_node('vehicle', flat(faces), colours)
                node.setState(state)
                self._numbered[index, level] = Numbered(node, first, faces, planes(faces))
                first += count

    def in_sight(self, pose: Pose, zoom: float, with_ego: bool) -> List[Tuple[int, int]]:
        """Return which vehicles a camera may see, and on which level, nearest first."""
        count = len(self.bodies) if with_ego else self._others
        if not count:
            return []
        away = self._places[:count, :2] - (pose.x, pose.y)
        more = max(pose.z - 10.0, 0.0)
        distance = np.hypot(away[:, 0], away[:, 1])
        seen = distance < FAR_REACH * zoom + more
        if abs(pose.pitch) < 0.5:
            seen &= away @ (math.cos(pose.yaw), math.sin(pose.yaw)) > -BEHIND
        chosen = np.flatnonzero(seen)
        chosen = chosen[np.argsort(distance[chosen], kind='stable')]
        near = distance < NEAR_REACH * zoom + more
        return [(k, NEAR if near[k] else FAR) for k in chosen.tolist()]

    def transform(self, index: int) -> TransformState:
        """Return where a vehicle is, for Panda3D."""
        x, y, yaw = self._places[index].tolist()
        return TransformState.makePosHpr((x, y, 0.0), (math.degrees(yaw), 0.0, 0.0))

    def model(self, index: int, level: int, light: Light) -> PandaNode:
        """Return how a vehicle looks."""
        if light is not self._light:
            self._models.clear()
            self._light = light
        heading = round(self._places[index, 2] * HEADINGS / (2 * math.pi)) % HEADINGS
        key = self.bodies[index], level, bool(self._braking[index]), heading
        if key not in self._models:
            self._models[key] = _lit(*key, light)
        return self._models[key]

    def numbers(self, index: int, level: int, surfaces: Surfaces) -> PandaNode:
        """Return a vehicle that shows the numbers of its faces, and tell where those are."""
        node, first, faces, own = self._numbered[index, level]
        x, y, yaw = self._places[index].tolist()
        cos, sin = math.cos(yaw), math.sin(yaw)
        turned = surfaces.planes[first : first + len(own)]
        turned[:, 0] = own[:, 0] * cos - own[:, 1] * sin
        turned[:, 1] = own[:, 0] * sin + own[:, 1] * cos
        turned[:, 2] = own[:, 2]
        turned[:, 3] = own[:, 3] + turned[:, 0] * x + turned[:, 1] * y
        corners = surfaces.corners[first : first + len(own)]
        still = faces.vertices[faces.triangles]
        corners[..., 0] = x + still[..., 0] * cos - still[..., 1] * sin
        corners[..., 1] = y + still[..., 0] * sin + still[..., 1] * cos
        corners[..., 2] = still[..., 2]
        return node


def _model(body: Body, level: int) -> Tuple[Faces, np.ndarray]:
    """Return a body's faces in its own frame, and which vertices are tail lights."""
    model = vehicle(body.kind, level)
    size = np.array([[body.length, body.width, body.height]])
    nowhere = np.zeros((1, 2)), np.zeros(1)
    return copies(model, *nowhere, size, np.array([body.colour])), model.lights


def _lit(body: Body, level: int, braking: bool, heading: int, light: Light) -> PandaNode:
    """Return a body as it looks in one light, with its shadow."""
    turn = heading * 2 * math.pi / HEADINGS
    cos, sin = math.cos(turn), math.sin(turn)
    x, y, z = light.sun
    light = light._replace(sun=np.array([x * cos + y * sin, y * cos - x * sin, z]))
    faces, lights = _model(body, level)
    colours = light.shade(faces.colours, faces.normals, 0.0, WET)
    if braking:
        colours[lights, :3] = np.round(255 * np.array(BRAKELIGHT))
    node, _ = geom_node(body.kind, faces, colours)
    node.setState(drawing_state('standing', None, False))
    both = PandaNode(body.kind)
    both.addChild(node)
    both.addChild(_shadow(body, light))
    return both


def _shadow(body: Body, light: Light) -> GeomNode:
    kind = KIND_NAMES.index('car')
    size = body.length, body.width, 0.7 * body.height
    item = np.array([(kind, 0, 0.0, 0.0, 0.0, *size, 0.0)], ITEM)
    # Without sun, what remains is the dark under the body.
    shining = light.sun_colour.max() > 0.1 and light.sun[2] > 0.08
    faces = shadows(item, light.sun if shining else np.array([0.0, 0.0, 1.0]))
    colours = np.zeros((len(faces.vertices), 4), np.uint8)
    colours[:, 3] = round(255 * OPACITY)
    node, _ = geom_node('shadow', faces, colours)
    node.setState(drawing_state('shadow', None, True))
    return node
