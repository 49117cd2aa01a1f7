"""
Segmentation and depth, exact: every face is drawn in a colour that is its number.

A number leads to the class of the face and to its plane; depth is where the ray of the pixel
meets that plane. So depth has no steps of a depth buffer, and both agree with the picture pixel by
pixel.
All that lies on the ground has the number of its class and one plane.
"""

from typing import List

import numpy as np

from av_td3_ros.sim.mesh import Faces
from av_td3_ros.sim.palette import Label

SKY_DEPTH = 1000.0
SHORTEST_DEPTH = 0.1
FIRST_NUMBER = 256


class Surfaces:
    """Classes and planes by number; numbers 1 to 255 are classes on the ground, 0 is the sky."""

    def __init__(self) -> None:
        """Begin with the ground."""
        labels = np.arange(FIRST_NUMBER, dtype=np.uint8)
        labels[0] = Label.SKY
        planes = np.zeros((FIRST_NUMBER, 4))
        planes[:, 2] = 1.0
        self._labels, self._planes = [labels], [planes]
        self._corners = [np.zeros((FIRST_NUMBER, 3, 3), np.float32)]
        self._count = FIRST_NUMBER

    def add(self, faces: Faces) -> int:
        """Give every triangle a number and return the first."""
        first = self._count
        self._labels.append(faces.labels)
        self._planes.append(planes(faces))
        self._corners.append(faces.vertices[faces.triangles])
        self._count += len(faces.labels)
        return first

    def finish(self, moving: np.ndarray) -> int:
        """
        Make the tables.

        :param moving: (m,) uint8, classes of faces that move; their planes and corners are set by
            who moves them.
        :returns: the number of the first of those.
        """
        self.labels = np.concatenate([*self._labels, moving])
        self.planes = np.concatenate([*self._planes, np.zeros((len(moving), 4))])
        corners = np.zeros((len(moving), 3, 3), np.float32)
        self.corners = np.concatenate([*self._corners, corners])
        self._table = np.zeros((5, len(self.labels)), np.float32)
        return self._count

    def depth(self, numbers: np.ndarray, eye: np.ndarray, axes: np.ndarray, rays) -> np.ndarray:
        """
        Return depth along the optical axis, (height, width) float32 m; the sky's is SKY_DEPTH.

        :param numbers: (height, width) of faces. :param eye: (3,) m.
        :param axes: (3, 3), rows ahead, right and down of the camera in the map frame.
        :param rays: across and down of every pixel for one metre ahead, ((width,), (height, 1)).
        """
        seen = np.zeros(len(self.labels), bool)
        seen[numbers.ravel()] = True
        seen[0] = False
        rows = np.nonzero(seen)[0]
        chosen = self.planes[rows]
        # 1 / depth is linear in the pixel's coordinates.
        away = chosen[:, 3] - chosen[:, :3] @ eye
        away = np.where(np.abs(away) < 1e-9, 1e-9, away)
        ahead, right, down, nearest, furthest = self._table
        ahead[rows], right[rows], down[rows] = (axes @ chosen[:, :3].T) / away
        inverse = ahead[numbers] + right[numbers] * rays[0] + down[numbers] * rays[1]
        # The rasteriser draws every pixel that a face touches: the ray through the middle of one
        # may miss it, by far where the face is seen on edge. It is not further than its corners.
        standing = rows[rows >= FIRST_NUMBER]
        corners = (self.corners[standing] - eye.astype(np.float32)) @ axes[0].astype(np.float32)
        nearest[standing], furthest[standing] = corners.min(axis=1), corners.max(axis=1)
        furthest[:FIRST_NUMBER] = SKY_DEPTH
        # The inverse of the sky is 0.
        depth = np.minimum(1.0 / np.clip(inverse, 1e-6, 1.0 / SHORTEST_DEPTH), SKY_DEPTH)
        return np.minimum(np.maximum(depth, nearest[numbers]), furthest[numbers])


def planes(faces: Faces) -> np.ndarray:
    """Return the planes of triangles, (t, 4): unit normal, and its product with any point."""
    a, b, c = (faces.vertices[faces.triangles[:, k]].astype(np.float64) for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return np.concatenate([normals, (normals * a).sum(axis=1, keepdims=True)], axis=1)


def number_colours(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as colours, (n, 4) uint8, RGBA."""
    parts: List[np.ndarray] = [numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255]
    return np.stack([*parts, np.full(len(numbers), 255)], axis=1).astype(np.uint8)
