"""
Which route comes next: the same numbers give the same routes, in the graph and without it.

Where policies are trained and where they are measured is kept apart by roads: the training never
starts or ends a route on a road that is held out, though it may drive along one.
"""

import hashlib
from typing import Iterable, Optional, Set

import numpy as np

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.driving import leaderboard
from av_td3_ros.driving.leaderboard import NamedRoute
from av_td3_ros.driving.road_map import MapError, RoadMap

# One road in so many is held out, rounded up; where there are fewer, none.
HELD_OUT = 5


class RouteSet:
    """The routes of a config on a map, by number."""

    def __init__(self, config: EpisodeConfig, road_map: RoadMap) -> None:
        """
        Choose the roads, or read the file.

        :raises MapError: where the file does not fit, or the map has no road to hold out.
        """
        self._config, self._map = config, road_map
        self._named = leaderboard.routes(config.route_file, road_map) if config.route_file else []
        self._roads: Optional[Set[int]] = None
        if config.routes != 'all' and not self._named:
            roads = road_map.roads
            held_out = held_out_roads(roads)
            self._roads = held_out if config.routes == 'held_out' else roads - held_out
            if not self._roads:
                raise MapError(
                    f'map {road_map.name} must have {HELD_OUT} roads for one to be held out, got '
                    f'{len(roads)}; use routes of all roads: --routes random '
                    '(episode_manager.routes: all)'
                )

    def __len__(self) -> int:
        """Routes of the file; 0 where there is none and their number has no end."""
        return len(self._named)

    def at(self, number: int, seed: int) -> NamedRoute:
        """
        Return a route.

        :param number: from 0 on; a file begins anew after its last route.
        :param seed: of routes by chance.
        :raises MapError: where the map has none of the wanted length.
        """
        if self._named:
            return self._named[number % len(self._named)]
        limits = self._config
        route = self._map.random_route(
            np.random.default_rng((seed, number)),
            limits.route_length_min,
            limits.route_length_max,
            self._roads,
        )
        return NamedRoute(str(number), route, {})


def held_out_roads(roads: Iterable[int]) -> Set[int]:
    """
    Return the roads that training leaves out: one in five, by a hash of their ids.

    :param roads: ids. :returns: none of them where there are fewer than five.
    """
    ranked = sorted(roads, key=lambda road: hashlib.sha256(str(road).encode()).hexdigest())
    return set(ranked[: -(-len(ranked) // HELD_OUT)]) if len(ranked) >= HELD_OUT else set()
