"""
Which route comes next: the same numbers give the same routes, in the graph and without it.

Where policies are trained and where they are measured is kept apart by roads: the training never
starts or ends a route on a road that is held out, though it may drive along one.

Turns are what is hard and what is rare: of a random drive through a town they are a tenth. Routes
of a training can therefore be cut to one turn; a policy is measured on whole ones.
"""

import hashlib
from typing import Iterable, Optional, Set

import numpy as np

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Command
from av_td3_ros.driving import leaderboard
from av_td3_ros.driving.commands import Crossing, crossings
from av_td3_ros.driving.leaderboard import NamedRoute
from av_td3_ros.driving.road_map import MapError, RoadMap
from av_td3_ros.driving.route import Route

# One road in so many is held out, rounded up; where there are fewer, none.
HELD_OUT = 5
# What is left of the way before and behind a turn, shortest and longest, m; less where the random
# route begins or ends sooner.
BEFORE_TURN = (10.0, 30.0)
BEHIND_TURN = (15.0, 40.0)
# Routes that are searched for a turn; on a map that hardly has any it takes no longer.
TRIES = 20
# Draws of a later route, where the first found none: a training is not to end by one bad draw.
DRAWS = 11
TURNS = (Command.LEFT, Command.RIGHT)


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

    def at(self, number: int, seed: int, training: bool) -> NamedRoute:
        """
        Return a route.

        :param number: from 0 on; a file begins anew after its last route.
        :param seed: of routes by chance.
        :param training: whether it may be cut to one turn, as ``turning_share`` says; those of a
            file never are.
        :raises MapError: where the map has none of the wanted length; a later one than the first
            is drawn again before.
        """
        if self._named:
            return self._named[number % len(self._named)]
        rng = np.random.default_rng((seed, number))
        for draw in range(1, DRAWS + 1):
            try:
                return NamedRoute(str(number), self._drawn(rng, training), {})
            except MapError:
                if not number or draw == DRAWS:
                    raise
                rng = np.random.default_rng((seed, number, draw))

    def _drawn(self, rng: np.random.Generator, training: bool) -> Route:
        share = self._config.turning_share if training else 0.0
        turn = self._turn(rng) if share and rng.random() < share else None
        return turn or self._random(rng)

    def _random(self, rng: np.random.Generator) -> Route:
        shortest, longest = self._config.route_length_min, self._config.route_length_max
        return self._map.random_route(rng, shortest, longest, self._roads)

    def _turn(self, rng: np.random.Generator) -> Optional[Route]:
        """Return one turn with a little way before and behind it; None where none is found."""
        for _ in range(TRIES):
            try:
                route = self._random(rng)
            except MapError:  # whoever draws a whole route next is told
                return None
            turns = [each for each in crossings(route, self._map) if each.command in TURNS]
            if turns:
                part = _cut(route, turns[int(rng.integers(len(turns)))], rng)
                if all(self._may_end(x, y) for x, y in part.points[[0, -1]].tolist()):
                    return part
        return None

    def _may_end(self, x: float, y: float) -> bool:
        lane = self._map.lane_at(x, y)
        return not lane.is_junction and (self._roads is None or lane.key[0] in self._roads)


def _cut(route: Route, turn: Crossing, rng: np.random.Generator) -> Route:
    begin, end = turn.begin - rng.uniform(*BEFORE_TURN), turn.end + rng.uniform(*BEHIND_TURN)
    first, last = np.searchsorted(route.distance, (begin, end)).tolist()
    return Route.from_points(route.points[first : last + 1])


def held_out_roads(roads: Iterable[int]) -> Set[int]:
    """
    Return the roads that training leaves out: one in five, by a hash of their ids.

    :param roads: ids. :returns: none of them where there are fewer than five.
    """
    ranked = sorted(roads, key=lambda road: hashlib.sha256(str(road).encode()).hexdigest())
    return set(ranked[: -(-len(ranked) // HELD_OUT)]) if len(ranked) >= HELD_OUT else set()
