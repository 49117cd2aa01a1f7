"""Parts of a map that lie far apart, such as several towns: nothing in one concerns another."""

from typing import Sequence

import networkx as nx
import numpy as np

# Parts are further from each other than this, m: than anything beside a road is from it, and than
# other vehicles count.
APART = 100.0


def parts(lines: Sequence[np.ndarray]) -> np.ndarray:
    """
    Return the number of the part that each line is in, (n,) int64; the first line is in part 0.

    :param lines: (k, 2) m each, with steps of less than ``APART``.
    """
    cells = [np.unique(np.floor(line / APART).astype(np.int64), axis=0) for line in lines]
    places = [list(map(tuple, own.tolist())) for own in cells]
    near = nx.Graph()
    near.add_nodes_from(place for own in places for place in own)
    for x, y in list(near):
        around = [(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        near.add_edges_from(((x, y), place) for place in around if place in near)
    number = {place: k for k, part in enumerate(nx.connected_components(near)) for place in part}
    return np.array([number[own[0]] for own in places], np.int64)
