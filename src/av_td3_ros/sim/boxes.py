"""
Oriented boxes on the ground: do they touch, exactly, many at once.

A box is x, y (its middle, m), yaw (rad), length, width (m): five float64, in the map frame. Two
convex shapes are apart if and only if a line separates them; for boxes, one along a side of either
(Gottschalk, Lin & Manocha, OBBTree, SIGGRAPH 1996).
"""

import numpy as np

from av_td3_ros.datatypes import Pose

# Front left, rear left, rear right, front right: counter-clockwise.
AHEAD = np.array([0.5, -0.5, -0.5, 0.5])
LEFT = np.array([0.5, 0.5, -0.5, -0.5])


def box_at(pose: Pose, length: float, width: float) -> np.ndarray:
    """Return the box whose middle is at a pose: (5,) float64."""
    return np.array((pose.x, pose.y, pose.yaw, length, width))


def touches(box: np.ndarray, outline: np.ndarray) -> bool:
    """
    Return whether a box overlaps or touches one outline.

    :param box: (5,) float64. :param outline: (5,) box or (3,) circle.
    """
    test = touching_circles if len(outline) == 3 else touching
    return bool(test(box, outline))


def touching(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """
    Return which boxes overlap a box, or touch it.

    Leading axes broadcast: (n, 1, 5) with (n, 5) is every pair.

    :param box: (..., 5) float64, x, y, yaw, length, width. :param boxes: (n, 5) float64, likewise.
    :returns: (n,) bool, or the shape that the leading axes broadcast to.
    """
    dx, dy = boxes[..., 0] - box[..., 0], boxes[..., 1] - box[..., 1]
    turn = boxes[..., 2] - box[..., 2]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    length, width = box[..., 3], box[..., 4]
    other_length, other_width = boxes[..., 3], boxes[..., 4]
    # On each of the four axes, twice the distance of the middles against both extents.
    cos, sin = np.cos(box[..., 2]), np.sin(box[..., 2])
    touch = 2.0 * np.abs(dx * cos + dy * sin) <= length + other_length * c + other_width * s
    touch &= 2.0 * np.abs(dy * cos - dx * sin) <= width + other_length * s + other_width * c
    cos, sin = np.cos(boxes[..., 2]), np.sin(boxes[..., 2])
    touch &= 2.0 * np.abs(dx * cos + dy * sin) <= other_length + length * c + width * s
    touch &= 2.0 * np.abs(dy * cos - dx * sin) <= other_width + length * s + width * c
    return touch


def touching_circles(box: np.ndarray, circles: np.ndarray) -> np.ndarray:
    """
    Return which circles overlap a box, or touch it; leading axes broadcast.

    :param box: (..., 5) float64, x, y, yaw, length, width. :param circles: (n, 3) float64, x, y,
        radius, m.
    :returns: (n,) bool.
    """
    dx, dy = circles[..., 0] - box[..., 0], circles[..., 1] - box[..., 1]
    cos, sin = np.cos(box[..., 2]), np.sin(box[..., 2])
    ahead = np.maximum(np.abs(dx * cos + dy * sin) - 0.5 * box[..., 3], 0.0)
    left = np.maximum(np.abs(dy * cos - dx * sin) - 0.5 * box[..., 4], 0.0)
    return ahead * ahead + left * left <= circles[..., 2] ** 2


def corners(boxes: np.ndarray) -> np.ndarray:
    """
    Return the corners of boxes: front left, rear left, rear right, front right.

    :param boxes: (..., 5) float64, x, y, yaw, length, width.
    :returns: (..., 4, 2) float64 m, counter-clockwise.
    """
    cos, sin = np.cos(boxes[..., 2, None]), np.sin(boxes[..., 2, None])
    ahead, left = AHEAD * boxes[..., 3, None], LEFT * boxes[..., 4, None]
    return np.stack(
        [
            boxes[..., 0, None] + ahead * cos - left * sin,
            boxes[..., 1, None] + ahead * sin + left * cos,
        ],
        axis=-1,
    )
