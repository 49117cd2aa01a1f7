"""Layers of tiles: the nodes that Panda3D draws, their states and which are near enough."""

from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from panda3d.core import (
    CullBinAttrib,
    CullBinManager,
    CullFaceAttrib,
    DepthTestAttrib,
    DepthWriteAttrib,
    GeomNode,
    GeomVertexData,
    RenderState,
    ShadeModelAttrib,
    Texture,
    TextureAttrib,
    TransparencyAttrib,
)

from av_td3_ros.sim.light import Light
from av_td3_ros.sim.mesh import Faces, flat, geom_node, paint, slices, tiled, welded
from av_td3_ros.sim.surfaces import number_colours, Surfaces

# Drawn in this order; all but the last lie on the ground and are drawn without depth.
BINS = ('sky', 'grass', 'beside', 'road', 'puddle', 'paint', 'shadow', 'standing')


class Style(NamedTuple):
    """
    How a layer is drawn.

    ``bin``: one of ``BINS``. ``tile``: size, m. ``nearest``, ``farthest``: m to the middles of the
    tiles that are drawn, for a camera of usual resolution. ``haze``, ``wet``: as ``Light.shade``
    has them. ``opacity``: [0, 1]. ``mirror``: it shows the sky instead of a colour of its own.
    """

    bin: str
    tile: float
    nearest: float
    farthest: float
    haze: float = 0.0
    wet: float = 0.0
    opacity: float = 1.0
    mirror: bool = False


class Layer:
    """Faces of one style, cut into tiles."""

    def __init__(self, faces: Faces, style: Style, texture: Optional[Texture] = None) -> None:
        """:param faces: in drawing order. :param texture: that they carry."""
        self.style = style
        if style.bin != 'standing':
            faces = welded(faces, style.tile)
        self._faces, self.middles, self._rows, self._triangles = tiled(faces, style.tile)
        self._texture = texture
        self.nodes: List[GeomNode] = []
        self._data: List[GeomVertexData] = []

    def light(self, light: Light) -> None:
        """Paint every tile."""
        own = light.sky if self.style.mirror else self._faces.colours
        colours = light.shade(own, self._faces.normals, self.style.haze, self.style.wet)
        colours[:, 3] = round(255 * self.style.opacity)
        if self._data:
            for data, rows in zip(self._data, slices(self._rows)):
                paint(data, colours[rows])
            return
        state = drawing_state(self.style.bin, self._texture, self.style.opacity < 1.0)
        for rows, triangles in zip(slices(self._rows), slices(self._triangles)):
            node, data = geom_node(self.style.bin, self._part(rows, triangles), colours[rows])
            node.setState(state)
            self.nodes.append(node)
            self._data.append(data)

    def numbered(self, surfaces: Surfaces) -> List[GeomNode]:
        """Return nodes that show the numbers of faces."""
        on_ground = self.style.bin != 'standing'
        if on_ground:
            numbers = self._faces.labels.astype(np.int64)
        else:
            numbers = surfaces.add(self._faces) + np.arange(len(self._faces.labels))
        state = number_state(self.style.bin)
        nodes = []
        for rows, triangles in zip(slices(self._rows), slices(self._triangles)):
            part = flat(self._part(rows, triangles))
            colours = number_colours(numbers[triangles].repeat(3))
            node, _ = geom_node(self.style.bin, part, colours)
            node.setState(state)
            nodes.append(node)
        return nodes

    def near(self, x: float, y: float, zoom: float, more: float) -> Tuple[np.ndarray, np.ndarray]:
        """
        Return the tiles to draw and how far away they are, m.

        :param x: of the camera, m. :param y: m. :param zoom: how much further it sees
            than usual. :param more: m to add to that.
        """
        away = np.hypot(*(self.middles - (x, y)).T)
        nearest = self.style.nearest * zoom + more if self.style.nearest > 0.0 else 0.0
        chosen = np.nonzero((away >= nearest) & (away < self.style.farthest * zoom + more))[0]
        return chosen, away[chosen]

    def _part(self, rows: slice, triangles: slice) -> Faces:
        return Faces(
            *(column[rows] for column in self._faces[:5]),
            self._faces.triangles[triangles] - rows.start,
            self._faces.labels[triangles],
        )


def number_state(name: str) -> RenderState:
    """Return how Panda3D draws the numbers of faces in a bin: as they are."""
    flat_colours = ShadeModelAttrib.make(ShadeModelAttrib.MFlat)
    return drawing_state(name, None, False).addAttrib(flat_colours)


def drawing_state(name: str, texture: Optional[Texture], translucent: bool) -> RenderState:
    """Return how Panda3D draws what is in a bin."""
    bins = CullBinManager.getGlobalPtr()
    for order, known in enumerate(BINS):
        if bins.findBin(f'street_{known}') == -1:
            bins.addBin(f'street_{known}', CullBinManager.BTUnsorted, order)
    attributes = [
        CullBinAttrib.make(f'street_{name}', 0),
    ]
    if name != 'standing':
        attributes += [
            CullFaceAttrib.make(CullFaceAttrib.MCullNone),
            DepthTestAttrib.make(DepthTestAttrib.MNone),
            DepthWriteAttrib.make(DepthWriteAttrib.MOff),
        ]
    if texture is not None:
        attributes.append(TextureAttrib.make(texture))
    if translucent:
        attributes.append(TransparencyAttrib.make(TransparencyAttrib.MAlpha))
    state = RenderState.makeEmpty()
    for attribute in attributes:
        state = state.addAttrib(attribute)
    return state
