"""The routes that a vehicle was given last: where it is on each, and what to do along it."""

from collections import OrderedDict
from typing import NamedTuple, Optional

from av_td3_ros.driving.commands import Commands
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route import Route, RouteTracker

ROUTES_KEPT = 8


class Guide(NamedTuple):
    """A route, where the vehicle is on it, and what to do along it where the map is known."""

    route: Route
    tracker: RouteTracker
    commands: Optional[Commands]


class Guides(OrderedDict):
    """By the stamp of the route, ns; the newest last."""

    def __init__(self) -> None:
        """Begin with neither routes nor a map."""
        super().__init__()
        self.road_map: Optional[RoadMap] = None

    def take(self, stamp: int, route: Route) -> None:
        """Take a route; sent again it is the newest again."""
        self.pop(stamp, None)
        self[stamp] = self._guide(route)
        while len(self) > ROUTES_KEPT:
            self.popitem(last=False)

    def take_map(self, name: str, opendrive: str) -> None:
        """
        Take the map, which tells the junctions of the routes.

        :raises MapError: where it cannot be read; one that was read before stays.
        """
        self.road_map = RoadMap(name, opendrive)
        self.update({at: self._guide(old.route) for at, old in self.items()})

    def newest(self) -> Optional[Guide]:
        """Return the newest, where there is one."""
        return next(reversed(self.values()), None)

    def _guide(self, route: Route) -> Guide:
        known = self.road_map is not None
        return Guide(route, route.tracker(), Commands(route, self.road_map) if known else None)
