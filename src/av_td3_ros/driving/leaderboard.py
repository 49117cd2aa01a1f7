"""
Route files of the CARLA leaderboard, read as they are.

Both layouts: ``<waypoint x= y= z= yaw=/>`` (1.0) and ``<waypoints><position x= y= z=/>`` (2.0,
without a direction). Their left-handed coordinates are turned into the map frame here, as
:mod:`road_map` does for maps.
"""

import math
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

import numpy as np

from av_td3_ros.driving.road_map import MapError, regular, RoadMap
from av_td3_ros.driving.route import Route

# What ``carla_msgs/CarlaWeatherParameters`` has; later CARLA versions have more.
WEATHER = (
    'cloudiness',
    'precipitation',
    'precipitation_deposits',
    'wind_intensity',
    'fog_density',
    'fog_distance',
    'wetness',
    'sun_azimuth_angle',
    'sun_altitude_angle',
)
# Farthest that a waypoint may be from its route, and nearest that two may follow each other.
REACH = 2.0


class Waypoint(NamedTuple):
    """A place to pass: m and rad in the map frame; ``yaw`` is None where the file has none."""

    x: float
    y: float
    yaw: Optional[float]


class RouteEntry(NamedTuple):
    """
    A route as the file has it.

    ``weather``: by the names of ``carla_msgs/CarlaWeatherParameters``; empty where there is none.
    """

    name: str
    town: str
    waypoints: Tuple[Waypoint, ...]
    weather: Dict[str, float]


class NamedRoute(NamedTuple):
    """A route of a file, planned on the lanes of a map."""

    name: str
    route: Route
    weather: Dict[str, float]


def routes(path: str, road_map: RoadMap, name: Optional[str] = None) -> List[NamedRoute]:
    """
    Plan the routes of a file on a map, in the order of the file.

    :param path: of the file. :param road_map: of their town; routes in other towns are left out.
    :param name: id of the only route wanted; None for all.
    :raises MapError: where there is no such file or route, the file is not one of the leaderboard,
        no route is in this town, or one does not lead along its lanes.
    """
    entries = read(path)
    if name is not None:
        known = ', '.join(entry.name for entry in entries)
        entries = [entry for entry in entries if entry.name == name]
        if not entries:
            raise MapError(f'route must be one of {known} in {path}, got {name}')
    town = _town(road_map.name)
    here = [entry for entry in entries if _town(entry.town) == town]
    if not here:
        towns = ', '.join(sorted({entry.town for entry in entries}))
        raise MapError(
            f'routes in {path} must be for {town}, got {towns}; load the map of that town with '
            '--map (simulator.map)'
        )
    return [NamedRoute(entry.name, plan(entry, road_map), dict(entry.weather)) for entry in here]


def plan(entry: RouteEntry, road_map: RoadMap) -> Route:
    """
    Return the shortest way along driving lanes through all waypoints.

    :raises MapError: where there is none, or a waypoint is not on a lane.
    """
    waypoints = [entry.waypoints[0]]
    for waypoint in entry.waypoints[1:]:
        if math.dist(waypoint[:2], waypoints[-1][:2]) > REACH:
            waypoints.append(waypoint)
    if len(waypoints) < 2:
        raise MapError(
            f'route {entry.name} must have at least 2 waypoints {REACH:g} m apart, got '
            f'{len(entry.waypoints)} waypoints in one place'
        )
    legs: List[np.ndarray] = []
    for begin, end in zip(waypoints, waypoints[1:]):
        yaw = begin.yaw
        if yaw is None:
            behind, ahead = legs[-1][-2:] if legs else (begin[:2], end[:2])
            yaw = math.atan2(ahead[1] - behind[1], ahead[0] - behind[0])
        legs.append(_leg(entry, road_map, begin, yaw, end))
    return Route.from_points(np.concatenate(legs))


def read(path: str) -> List[RouteEntry]:
    """
    Read a route file.

    :raises MapError: where there is no such file, or it is not one of the leaderboard.
    """
    try:
        data = regular(Path(path)).read_bytes()
    except (OSError, ValueError) as error:  # a ValueError: no file can have such a name
        raise MapError(
            f'routes must be in an XML file, got {path}: '
            f'{getattr(error, "strerror", None) or error}'
        ) from None
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter: its encoding
        raise MapError(
            f'routes must be a file of the CARLA leaderboard (XML), got {path}: {error}'
        ) from None
    entries = [_entry(element, path) for element in root.iter('route')]
    if root.tag != 'routes' or not entries:
        raise MapError(
            f'{path} must hold <routes> with at least one <route>, got <{root.tag}> with '
            f'{len(entries)}; give a file of the CARLA leaderboard'
        )
    return entries


def _leg(
    entry: RouteEntry, road_map: RoadMap, begin: Waypoint, yaw: float, end: Waypoint
) -> np.ndarray:
    """Plan between two waypoints; (n, 2) m."""
    try:
        points = road_map.plan(begin[:2], yaw, end[:2]).points
    except MapError as error:
        raise MapError(f'route {entry.name}: {error}') from None
    for waypoint in (begin, end):
        away = _distance(points, waypoint)
        if away > REACH:
            raise MapError(
                f'route {entry.name} must have its waypoints within {REACH:g} m of the lanes of '
                f'{road_map.name}, got ({waypoint.x:.1f}, {waypoint.y:.1f}), {away:.1f} m away'
            )
    return points


def _distance(points: np.ndarray, waypoint: Waypoint) -> float:
    """Return how far a waypoint is from a line through points, m."""
    begin, step = points[:-1], np.diff(points, axis=0)
    offset = np.array(waypoint[:2]) - begin
    share = np.clip((offset * step).sum(axis=1) / (step * step).sum(axis=1), 0.0, 1.0)
    return float(np.hypot(*(offset - share[:, None] * step).T).min())


def _entry(element: ElementTree.Element, path: str) -> RouteEntry:
    name, town = element.get('id'), element.get('town')
    if name is None or town is None:
        raise MapError(f'a route in {path} must have id and town, got {element.attrib}')
    places = [*element.iter('waypoint'), *element.iter('position')]
    if len(places) < 2:
        raise MapError(f'route {name} in {path} must have at least 2 waypoints, got {len(places)}')
    weather = element.find('.//weather')
    return RouteEntry(
        name,
        town,
        tuple(_waypoint(place, name, path) for place in places),
        {} if weather is None else _numbers(weather, WEATHER, name, path),
    )


def _waypoint(element: ElementTree.Element, name: str, path: str) -> Waypoint:
    values = _numbers(element, ('x', 'y', 'yaw'), name, path)
    if 'x' not in values or 'y' not in values:
        raise MapError(
            f'a waypoint of route {name} in {path} must have x and y, got {element.attrib}'
        )
    yaw = values.get('yaw')
    return Waypoint(values['x'], -values['y'], None if yaw is None else -math.radians(yaw))


def _numbers(
    element: ElementTree.Element, wanted: Tuple[str, ...], name: str, path: str
) -> Dict[str, float]:
    """Return those of the wanted attributes that are there."""
    values = {}
    for key in wanted:
        text = element.get(key)
        if text is not None:
            try:
                values[key] = float(text)
            except ValueError:
                values[key] = math.nan
            if not math.isfinite(values[key]):
                raise MapError(
                    f'{key} of a {element.tag} of route {name} in {path} must be a finite '
                    f"number, got '{text}'"
                )
    return values


def _town(name: str) -> str:
    """Return the plain name: CARLA calls one town Carla/Maps/Town01, Town01_Opt and Town01."""
    name = name.rpartition('/')[2]
    return name[: -len('_Opt')] if name.endswith('_Opt') else name
