"""
The plan of a random town: a grid, bent out of shape, some of its streets left out.

Where two streets are left at a crossing they are one street with a bend; nowhere is a dead end.
"""

import cmath
import math
from typing import Dict, Iterator, List, NamedTuple, Tuple

import networkx as nx
import numpy as np

from av_td3_ros.driving.towns_opendrive import Mark

COLUMNS, ROWS = (4, 5), (3, 4)
BLOCK = (112.0, 150.0)
JITTER = 0.25
LEFT_OUT = (0.1, 0.25)
MOST_BENDS = 3
LANE_WIDTH, SHOULDER, SIDEWALK = (3.0, 4.0), (0.5, 1.5), (1.5, 2.5)
# Share of the lines of the grid with two lanes per direction, with shoulders, without sidewalks.
AVENUES, SHOULDERS, NO_SIDEWALK = 0.2, 0.4, 0.15
NARROW_CENTRE = (
    Mark('broken', 'yellow'),
    Mark('broken', 'white'),
    Mark('solid', 'yellow'),
    Mark('solid solid', 'yellow'),
)
WIDE_CENTRE = (
    Mark('solid solid', 'yellow'),
    Mark('solid solid', 'white'),
    Mark('solid', 'yellow'),
)

Node = Tuple[int, int]


class Profile(NamedTuple):
    """
    Cross-section of a street, the same on both sides.

    ``lanes``: per direction. ``width``: of each, m. ``shoulder``, ``sidewalk``: widths, m, 0 where
    there is none. ``centre``: marking between the directions.
    """

    lanes: int
    width: float
    shoulder: float
    sidewalk: float
    centre: Mark


class Street(NamedTuple):
    """A street: the junction it begins at, bends, the junction it ends at; and what it is like."""

    nodes: Tuple[Node, ...]
    profile: Profile


class Plan(NamedTuple):
    """``places``: of junctions and bends, m. ``streets``: between junctions."""

    places: Dict[Node, complex]
    streets: List[Street]


def draw(rng: np.random.Generator, irregularity: float) -> Plan:
    """
    Draw a plan.

    :param rng: where the draws come from. :param irregularity: 0 for rectangles, up to 1.
    """
    columns, rows = (int(rng.integers(least, most + 1)) for least, most in (COLUMNS, ROWS))
    graph = nx.grid_2d_graph(columns, rows)
    places = _places(rng, columns, rows, irregularity)
    _leave_out(rng, graph)
    lines = {(axis, i): _profile(rng) for axis in (0, 1) for i in range((columns, rows)[axis])}
    return Plan(places, [Street(nodes, _on(lines, nodes)) for nodes in _chains(graph)])


def _places(
    rng: np.random.Generator, columns: int, rows: int, irregularity: float
) -> Dict[Node, complex]:
    x, y = (np.cumsum(rng.uniform(*BLOCK, size=size)) for size in (columns, rows))
    away = irregularity * JITTER * BLOCK[0] * rng.uniform(-1.0, 1.0, size=(columns, rows, 2))
    turned = cmath.rect(1.0, rng.uniform(-math.pi, math.pi))
    middle = complex(x.mean(), y.mean())
    return {
        (i, j): (complex(x[i] + away[i, j, 0], y[j] + away[i, j, 1]) - middle) * turned
        for i in range(columns)
        for j in range(rows)
    }


def _leave_out(rng: np.random.Generator, graph: nx.Graph) -> None:
    """Take streets away while all places stay connected, each by two streets at least."""
    edges = list(graph.edges)
    left = round(rng.uniform(*LEFT_OUT) * len(edges))
    for number in rng.permutation(len(edges)):
        a, b = edges[int(number)]
        if left and graph.degree[a] > 2 and graph.degree[b] > 2:
            graph.remove_edge(a, b)
            if nx.is_connected(graph) and all(_is_street(chain) for chain in _chains(graph)):
                left -= 1
            else:
                graph.add_edge(a, b)


def _is_street(chain: Tuple[Node, ...]) -> bool:
    # CARLA cannot tell the two ends of a road apart that begins and ends at one junction.
    return chain[0] != chain[-1] and len(chain) <= MOST_BENDS + 2


def _chains(graph: nx.Graph) -> Iterator[Tuple[Node, ...]]:
    """Yield the ways from junction to junction, once each."""
    seen = set()
    for node in graph:
        for neighbour in graph[node]:
            if graph.degree[node] == 2 or (node, neighbour) in seen:
                continue
            chain = [node, neighbour]
            while graph.degree[chain[-1]] == 2:
                chain += [other for other in graph[chain[-1]] if other != chain[-2]]
            seen.add((chain[-1], chain[-2]))
            yield tuple(chain)


def _profile(rng: np.random.Generator) -> Profile:
    lanes = 2 if rng.random() < AVENUES else 1
    centres = NARROW_CENTRE if lanes == 1 else WIDE_CENTRE
    return Profile(
        lanes,
        round(float(rng.uniform(*LANE_WIDTH)), 2),
        round(float(rng.uniform(*SHOULDER)), 2) if rng.random() < SHOULDERS else 0.0,
        round(float(rng.uniform(*SIDEWALK)), 2) if rng.random() > NO_SIDEWALK else 0.0,
        centres[int(rng.integers(len(centres)))],
    )


def _on(lines: Dict[Tuple[int, int], Profile], nodes: Tuple[Node, ...]) -> Profile:
    """Return the profile of the line of the grid that a street begins on."""
    (i, j), (k, _) = nodes[:2]
    return lines[(0, i) if i == k else (1, j)]
