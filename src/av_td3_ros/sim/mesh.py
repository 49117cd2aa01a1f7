"""
Coloured triangles in arrays, cut into square tiles, and what Panda3D needs to draw them.

A rasteriser in software pays for vertices: about 40 ns each, seen or not, against 2 us for a node.
So everything is an array operation here, and a tile is one node.
"""

from typing import Iterator, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from panda3d.core import (
    Geom,
    GeomNode,
    GeomTriangles,
    GeomVertexArrayFormat,
    GeomVertexData,
    GeomVertexFormat,
)

from av_td3_ros.sim.palette import Colour

# Where the texture of walls is white: everything that has no texture samples it here.
WHITE_UV = (0.5, 0.984375)


class Faces(NamedTuple):
    """
    Triangles with shared vertices.

    ``vertices``: (n, 3) float32 m, map frame. ``normals``: (n, 3) float32, outwards.
    ``colours``: (n, 3) float32 in [0, 1], without light. ``uv``: (n, 2) float32, place in the
    texture. ``anchors``: (n, 2) float32 m; what has the same anchor stays in one tile.
    ``triangles``: (t, 3) int32, rows of the vertices. ``labels``: (t,) uint8, classes.
    """

    vertices: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    anchors: np.ndarray
    triangles: np.ndarray
    labels: np.ndarray


def polygons(
    corners: np.ndarray,
    colours: Union[Colour, np.ndarray],
    label: int,
    uv: Optional[np.ndarray] = None,
    anchors: Optional[np.ndarray] = None,
) -> Faces:
    """
    Return convex polygons of equally many corners.

    :param corners: (p, k, 3) m, counter-clockwise seen from outside.
    :param colours: one, or (p, 3). :param label: class.
    :param uv: (p, k, 2); untextured by default.
    :param anchors: (p, 2) m; the first corner by default.
    """
    count, size = corners.shape[:2]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    fan = np.array([[0, i, i + 1] for i in range(1, size - 1)])
    triangles = (size * np.arange(count))[:, None, None] + fan
    anchors = corners[:, 0, :2] if anchors is None else anchors
    return Faces(
        corners.reshape(-1, 3).astype(np.float32),
        normals.repeat(size, axis=0).astype(np.float32),
        np.broadcast_to(np.asarray(colours, np.float32), (count, 3)).repeat(size, axis=0),
        (
            np.full((count * size, 2), WHITE_UV, np.float32)
            if uv is None
            else uv.reshape(-1, 2).astype(np.float32)
        ),
        np.repeat(anchors, size, axis=0).astype(np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        np.full(len(fan) * count, label, np.uint8),
    )


def join(parts: Sequence[Faces]) -> Faces:
    """Return all of several, in order."""
    if not parts:
        return polygons(np.zeros((0, 3, 3)), (0.0, 0.0, 0.0), 0)
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    *columns, triangles, labels = zip(*parts)
    return Faces(
        *(np.concatenate(column) for column in columns),
        np.concatenate([rows + offset for rows, offset in zip(triangles, offsets)]),
        np.concatenate(labels),
    )


def tiled(faces: Faces, size: float) -> Tuple[Faces, np.ndarray, np.ndarray, np.ndarray]:
    """
    Sort triangles by the tile of their anchor; their order within a tile stays.

    :param faces: the triangles. :param size: of a tile, m.
    :returns: the sorted triangles; middles of the tiles, (k, 2) m; where each tile begins among
        the vertices and among the triangles, (k + 1,) each.
    """
    cells = np.floor(faces.anchors / size).astype(np.int64)
    # One number for each tile, in no need of decoding.
    _, first, number = np.unique(
        (cells[:, 0] << 32) + cells[:, 1], return_index=True, return_inverse=True
    )
    order = np.argsort(number, kind='stable')
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    of_triangle = number[faces.triangles[:, 0]]
    sorted_triangles = np.argsort(of_triangle, kind='stable')
    limits = np.arange(len(first) + 1)
    return (
        Faces(
            *(column[order] for column in faces[:5]),
            place[faces.triangles[sorted_triangles]],
            faces.labels[sorted_triangles],
        ),
        (cells[first] + 0.5) * size,
        np.searchsorted(number[order], limits),
        np.searchsorted(of_triangle[sorted_triangles], limits),
    )


def welded(faces: Faces, size: float) -> Faces:
    """
    Make equal vertices of one tile one: strips need half as many.

    :param faces: all with the same normal. :param size: of a tile, m.
    """
    anchors = ((np.floor(faces.anchors / size) + 0.5) * size).astype(np.float32)
    rows = np.ascontiguousarray(
        np.concatenate([faces.vertices, faces.colours, faces.uv, anchors], axis=1)
    )
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    # In the order of their first appearance, so that neighbours stay neighbours.
    order = np.argsort(first, kind='stable')
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    kept = first[order]
    columns = faces._replace(anchors=anchors)[:5]
    triangles = rank[place][faces.triangles]
    return Faces(*(column[kept] for column in columns), triangles, faces.labels)


def flat(faces: Faces) -> Faces:
    """Return the same triangles, each with three vertices of its own."""
    rows = faces.triangles.ravel()
    return Faces(
        *(column[rows] for column in faces[:5]),
        np.arange(len(rows), dtype=np.int32).reshape(-1, 3),
        faces.labels,
    )


def geom_node(name: str, faces: Faces, colours: np.ndarray) -> Tuple[GeomNode, GeomVertexData]:
    """
    Return a node of triangles and its vertices, which :func:`paint` paints anew.

    :param name: of the node. :param faces: its triangles. :param colours: (n, 4) uint8, RGBA.
    """
    data = GeomVertexData(name, _FORMAT, Geom.UHStatic)
    data.uncleanSetNumRows(len(faces.vertices))
    places = np.concatenate([faces.vertices, faces.uv], axis=1)
    data.modifyArrayHandle(0).copyDataFrom(np.ascontiguousarray(places, np.float32))
    paint(data, colours)
    wide = len(faces.vertices) > 0xFFFF
    triangles = GeomTriangles(Geom.UHStatic)
    triangles.setIndexType(Geom.NTUint32 if wide else Geom.NTUint16)
    rows = triangles.modifyVertices()
    rows.uncleanSetNumRows(faces.triangles.size)
    rows.modifyHandle().copyDataFrom(
        np.ascontiguousarray(faces.triangles, np.uint32 if wide else np.uint16)
    )
    geom = Geom(data)
    geom.addPrimitive(triangles)
    node = GeomNode(name)
    node.addGeom(geom)
    return node, data


def paint(data: GeomVertexData, colours: np.ndarray) -> None:
    """Give vertices other colours, (n, 4) uint8, RGBA."""
    data.modifyArrayHandle(1).copyDataFrom(np.ascontiguousarray(colours, np.uint8))


def slices(starts: np.ndarray) -> Iterator[slice]:
    """Yield what lies between neighbouring starts."""
    return (slice(int(a), int(b)) for a, b in zip(starts, starts[1:]))


def _format() -> GeomVertexFormat:
    places, colours = GeomVertexArrayFormat(), GeomVertexArrayFormat()
    places.addColumn('vertex', 3, Geom.NTFloat32, Geom.CPoint)
    places.addColumn('texcoord', 2, Geom.NTFloat32, Geom.CTexcoord)
    colours.addColumn('color', 4, Geom.NTUint8, Geom.CColor)
    both = GeomVertexFormat()
    both.addArray(places)
    both.addArray(colours)
    return GeomVertexFormat.registerFormat(both)


_FORMAT = _format()
