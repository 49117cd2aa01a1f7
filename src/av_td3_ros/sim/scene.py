"""
The street as tiles of triangles: what a camera gets to draw from where it stands.

What lies on the ground is drawn in a fixed order without depth: exact on a flat world, and nothing
flickers. What stands on it is depth-tested, in detail where it is near and plain where it is far.
There are two channels: colours, lit by the weather; and numbers of faces, made once they are asked
for, from which segmentation and depth are read (``surfaces``).
"""

import functools
import math
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from panda3d.core import GeomNode, Texture

from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.bodies import Body
from av_td3_ros.sim.buildings import facades, texture
from av_td3_ros.sim.fleet import Fleet
from av_td3_ros.sim.layers import drawing_state, Layer, number_state, Style
from av_td3_ros.sim.light import Light
from av_td3_ros.sim.mesh import Faces, geom_node, paint, polygons
from av_td3_ros.sim.models import DISTANT, FAR, NEAR
from av_td3_ros.sim.palette import GRASS, Label
from av_td3_ros.sim.scenery import ITEM, Scenery
from av_td3_ros.sim.sky import dome, picture
from av_td3_ros.sim.standing import shadows, standing
from av_td3_ros.sim.streets import flat_polygons, ground, puddles
from av_td3_ros.sim.strips import ribbon
from av_td3_ros.sim.surfaces import number_colours, Surfaces
from av_td3_ros.sim.weather import PRESETS, Weather

COLOURS, NUMBERS = 'colours', 'numbers'
# Of a camera of usual resolution, m; others see further, or less far.
NEAR_REACH, MIDDLE_REACH, FAR_REACH = 40.0, 74.0, 128.0
STYLES: Dict[str, Style] = {
    'beside': Style('beside', 60.0, 0.0, 150.0, wet=0.7),
    'road': Style('road', 60.0, 0.0, 190.0, wet=1.0),
    'paint': Style('paint', 60.0, 0.0, 130.0, wet=0.5),
    'near': Style('standing', 30.0, 0.0, NEAR_REACH, wet=0.25),
    'far': Style('standing', 30.0, NEAR_REACH, MIDDLE_REACH, haze=0.08, wet=0.25),
    'distant': Style('standing', 30.0, MIDDLE_REACH, FAR_REACH, haze=0.22, wet=0.25),
}
SHADOW = Style('shadow', 30.0, 0.0, 75.0, opacity=0.42)
WATER = Style('puddle', 30.0, 0.0, 70.0, opacity=0.55, mirror=True)
ROUTE = Style('paint', 60.0, 0.0, 400.0)
ROUTE_WIDTH, ROUTE_COLOUR = 0.7, (0.0, 0.75, 1.0)
# Deposits of rain, in percent, from which on puddles stand.
PUDDLES_FROM = 20.0
# Fog of this optical depth hides everything; half the diagonal of the largest tile, m.
OPAQUE, TILE_RADIUS = 4.0, 43.0
# Below this height the sun casts no shadow.
LOWEST_SUN = 0.08
# Radius of the lawn, m; metres to a repetition of its texture; it moves by whole ones.
LAWN, LAWN_GRAIN = 900.0, 16.0


class Scene:
    """Everything that cameras can see."""

    def __init__(self, road_map: RoadMap, scenery: Scenery) -> None:
        """Build the street in clear weather."""
        items = scenery.records()
        levels = {'near': NEAR, 'far': FAR, 'distant': DISTANT}
        upright = {name: standing(items, level) for name, level in levels.items()}
        self._build({**ground(road_map), **upright}, items, Layer(puddles(road_map), WATER))

    @classmethod
    def of(cls, parts: Dict[str, Faces]) -> 'Scene':
        """Return a scene of given faces, by the names of ``STYLES``."""
        scene = cls.__new__(cls)
        scene._build(parts, np.zeros(0, ITEM), None)
        return scene

    def _build(self, parts: Dict[str, Faces], items: np.ndarray, water: Optional[Layer]) -> None:
        walls, grain = facades(), _grain()
        self._items, self._water = items, water
        self._layers = [
            Layer(parts[name], style, walls if style.bin == 'standing' else grain)
            for name, style in STYLES.items()
            if name in parts
        ]
        self._sky_texture = Texture('sky')
        self._sky = geom_node('sky', dome(), np.full((len(dome().vertices), 4), 255, np.uint8))[0]
        self._sky.setState(drawing_state('sky', self._sky_texture, False))
        self._lawn, self._lawn_data = geom_node('lawn', _LAWN, _plain(Label.TERRAIN))
        self._lawn.setState(drawing_state('grass', grain, False))
        self.fleet = Fleet((), None)
        self._route: List[Layer] = []
        self.version = 0
        self.set_weather(PRESETS['clear_noon'])

    # -- weather ----------------------------------------------------------------------------------

    def set_weather(self, weather: Weather) -> None:
        """
        Light everything anew, once it is seen.

        :raises ValueError: where a value of the weather is out of range.
        """
        self.weather = weather.check()
        self.light = Light.of(weather)
        self.version += 1
        self._is_lit = False

    def _relight(self) -> None:
        self._is_lit = True
        for layer in (*self._layers, *self._route):
            layer.light(self.light)
        paint(self._lawn_data, self.light.shade(_LAWN.colours, _LAWN.normals, 0.0, 0.3))
        texture('sky', picture(self.light, self.weather.cloudiness), self._sky_texture)
        self._extras = [layer for layer in (self._cast(), self._flood()) if layer is not None]

    def _cast(self) -> Optional[Layer]:
        strength = float(self.light.sun_colour.max())
        if not len(self._items) or self.light.sun[2] < LOWEST_SUN or strength < 0.1:
            return None
        style = SHADOW._replace(opacity=SHADOW.opacity * strength)
        layer = Layer(shadows(self._items, self.light.sun), style)
        layer.light(self.light)
        return layer

    def _flood(self) -> Optional[Layer]:
        if self._water is None or self.weather.precipitation_deposits < PUDDLES_FROM:
            return None
        self._water.light(self.light)
        return self._water

    def set_route(self, points: np.ndarray) -> None:
        """Draw a route for cameras with ``shows_ego``: (n, 2) m; fewer than two points: none."""
        self._route = [_route(points)] if len(points) > 1 else []
        self._is_lit = False
        self.version += 1

    # -- vehicles ---------------------------------------------------------------------------------

    def set_vehicles(self, bodies: Sequence[Body], ego: Optional[Body] = None) -> None:
        """
        Say which vehicles there are; :meth:`move_vehicles` says where.

        :param bodies: of the others. :param ego: of the vehicle with the camera, which only
            cameras with ``shows_ego`` see.
        """
        self.fleet = Fleet(bodies, ego)
        self.version += 1
        if '_numbered' in self.__dict__:
            self.fleet.number(self.surfaces.finish(self.fleet.classes()))

    def move_vehicles(
        self,
        boxes: np.ndarray,
        braking: np.ndarray,
        ego: Optional[np.ndarray] = None,
        ego_braking: bool = False,
    ) -> None:
        """Put every vehicle somewhere; as :meth:`Fleet.move`, which says what is refused."""
        self.fleet.move(boxes, braking, ego, ego_braking)

    # -- what a camera draws ----------------------------------------------------------------------

    @functools.cached_property
    def _numbered(self) -> Tuple[Surfaces, List[List[GeomNode]], GeomNode]:
        surfaces = Surfaces()
        nodes = [layer.numbered(surfaces) for layer in self._layers]
        self.fleet.number(surfaces.finish(self.fleet.classes()))
        lawn, _ = geom_node('lawn', _LAWN, _plain(Label.TERRAIN))
        lawn.setState(number_state('grass'))
        return surfaces, nodes, lawn

    @property
    def surfaces(self) -> Surfaces:
        """Classes and planes of the numbers that the second channel shows."""
        return self._numbered[0]

    def tiles(
        self, channel: str, x: float, y: float, z: float, zoom: float, with_route: bool = False
    ) -> List[GeomNode]:
        """
        Return the tiles to draw, near ones first.

        :param channel: COLOURS or NUMBERS. :param x: of the camera, m. :param y: m. :param z: m;
            from high above more is seen. :param zoom: how much further it sees than usual.
        :param with_route: whether the route is among them.
        """
        more = max(z - 10.0, 0.0)
        if channel == NUMBERS:
            layers, nodes = self._layers, self._numbered[1]
        else:
            if not self._is_lit:
                self._relight()
            layers = self._layers + self._extras + (self._route if with_route else [])
            nodes = [layer.nodes for layer in layers]
        farthest = self._visibility()
        found: List[Tuple[float, int, GeomNode]] = []
        for number, layer in enumerate(layers):
            chosen, away = layer.near(x, y, zoom, more)
            found += [(a, number, nodes[number][k]) for k, a in zip(chosen, away) if a < farthest]
        return [node for _, _, node in sorted(found, key=lambda entry: entry[:2])]

    def _visibility(self) -> float:
        """How far away the middle of a tile may be that fog leaves anything of, m."""
        if self.weather.extinction == 0.0:
            return math.inf
        return self.weather.fog_distance + OPAQUE / self.weather.extinction + TILE_RADIUS

    def backdrop(self, channel: str) -> List[GeomNode]:
        """Return lawn and sky, which follow the camera."""
        if channel == NUMBERS:
            return [self._numbered[2]]
        return [self._lawn, self._sky]


def _route(points: np.ndarray) -> Layer:
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    half = np.stack([-along[:, 1], along[:, 0]], axis=1) * ROUTE_WIDTH / 2
    return Layer(flat_polygons(ribbon(points + half, points - half), ROUTE_COLOUR), ROUTE)


def _grain() -> Texture:
    """Return the grain of grass, asphalt and stone: noise, fine and coarse."""
    rng = np.random.default_rng(1)
    fine = rng.random((64, 64))
    coarse = rng.random((8, 8)).repeat(8, axis=0).repeat(8, axis=1)
    for axis in (0, 1):
        coarse = sum(np.roll(coarse, k, axis) for k in range(-4, 5)) / 9.0
    grey = 235.0 + 20.0 * fine + 60.0 * (coarse - 0.5)
    return texture('grain', np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2))


def _plain(label: int) -> np.ndarray:
    return number_colours(np.full(len(_LAWN.vertices), label))


def _lawn() -> Faces:
    # Turned, so that no edge lies in a side of the pyramid of sight: p3tinydisplay loses those.
    turn = 0.2345 + np.arange(5) * 2 * np.pi / 5
    corners = LAWN * np.stack([np.cos(turn), np.sin(turn), 0.0 * turn], axis=1)[None]
    return polygons(corners, GRASS, Label.TERRAIN, corners[..., :2] / LAWN_GRAIN)


_LAWN = _lawn()
