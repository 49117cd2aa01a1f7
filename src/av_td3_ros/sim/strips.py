"""
Lanes as strips on the ground, and the floors of junctions between them; without a renderer.
"""

from collections import defaultdict
from typing import Dict, Iterator, List, Sequence

import cv2
import numpy as np

from av_td3_ros.driving.road_map import Lane

# What lies between cross-sections is off by no more than this, m.
CHORD_ERROR, LONGEST, WIDENING = 0.015, 25.0, 0.03
# Floors of junctions: one texel of their plan; gaps narrower than this between driving lanes are
# floor, and narrower gaps between lanes of any kind.
TEXEL, NARROW, NARROWER = 0.2, 7.0, 2.4


class Strip:
    """The cross-sections of a lane that a picture needs, as arrays."""

    def __init__(self, lane: Lane) -> None:
        """:param lane: any lane with two cross-sections or more."""
        self.lane = lane
        self.rows = _needed(lane.distance, lane.yaw, lane.width)
        self.left_edge, self.right_edge = lane.left_edge[self.rows], lane.right_edge[self.rows]

    @property
    def across(self) -> np.ndarray:
        """Unit vectors to the left, (n, 2)."""
        across = self.left_edge - self.right_edge
        return across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)

    def outline(self, margin: float = 0.0) -> np.ndarray:
        """Return the quadrilaterals between cross-sections, (n - 1, 4, 2) m."""
        more = self.across * margin
        return ribbon(self.left_edge + more, self.right_edge - more)


def ribbon(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return quadrilaterals between two lines, (n - 1, 4, 2), counter-clockwise."""
    return np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)


def _needed(along: np.ndarray, yaw: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the rows of the cross-sections that a strip cannot do without."""
    # An arc of length l that turns by a is off its chord by l a / 8.
    bent = np.sqrt(np.abs(_wrapped(np.diff(yaw))) * np.diff(along) / (8 * CHORD_ERROR))
    turned = np.concatenate([[0.0], np.cumsum(bent)])
    widened = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(width)))])
    parts = np.stack([turned, widened / WIDENING, along / LONGEST]).astype(int)
    new = np.concatenate([[True], (np.diff(parts, axis=1) != 0).any(axis=0)])
    new[-1] = True
    return np.nonzero(new)[0]


def _wrapped(angles: np.ndarray) -> np.ndarray:
    return (angles + np.pi) % (2 * np.pi) - np.pi


def floors(strips: Sequence[Strip]) -> List[np.ndarray]:
    """Return outlines, (n, 2) m each, of what the driving lanes of junctions leave open."""
    junctions: Dict[int, List[np.ndarray]] = defaultdict(list)
    for strip in strips:
        if strip.lane.is_junction and strip.lane.kind == 'Driving':
            junctions[strip.lane.junction].append(strip.outline())
    return [
        part
        for outlines in junctions.values()
        for part in _floor(np.concatenate(outlines), NARROW, False)
    ]


def gaps(strips: Sequence[Strip]) -> List[np.ndarray]:
    """Return outlines, (n, 2) m each, of narrow gaps between lanes at junctions."""
    quads = np.concatenate([strip.outline() for strip in strips])
    middles = quads.mean(axis=1)
    junctions: Dict[int, List[np.ndarray]] = defaultdict(list)
    for strip in strips:
        if strip.lane.is_junction:
            junctions[strip.lane.junction].append(strip.left_edge)
    found = []
    for edges in junctions.values():
        places = np.concatenate(edges)
        low, high = places.min(axis=0) - LONGEST, places.max(axis=0) + LONGEST
        near = ((middles > low) & (middles < high)).all(axis=1)
        found += list(_floor(quads[near], NARROWER, True))
    return found


def _floor(quads: np.ndarray, narrow: float, is_below: bool) -> Iterator[np.ndarray]:
    margin = narrow + 2 * TEXEL
    low = quads.min(axis=(0, 1)) - margin
    columns, rows = np.ceil((quads.max(axis=(0, 1)) + margin - low) / TEXEL).astype(int)
    plan = np.zeros((rows, columns), np.uint8)
    for quad in np.round((quads - low) / TEXEL - 0.5).astype(np.int32):
        cv2.fillConvexPoly(plan, quad, 255)
    size = int(narrow / TEXEL) | 1
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    closed = cv2.morphologyEx(plan, cv2.MORPH_CLOSE, brush)
    # A floor keeps off what lies beside the road; a gap's filling lies under it.
    change = cv2.MORPH_DILATE if is_below else cv2.MORPH_OPEN
    left = cv2.morphologyEx(closed & ~plan, change, np.ones((3, 3), np.uint8))
    for contour in cv2.findContours(left, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        outline = cv2.approxPolyDP(contour, 1.0, True)[:, 0]
        if len(outline) >= 3:
            yield low + (outline + 0.5) * TEXEL
