"""
The simulated world: a map, what stands beside its roads, a vehicle among others, its cameras.

Deterministic: the same seed and controls give the same states and images, bit for bit.
"""

import functools
import math
from typing import Any, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import Control, Pose, VehicleState, wrap_angle
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.boxes import box_at, touching
from av_td3_ros.sim.collisions import Mover
from av_td3_ros.sim.hits import Obstacle, resolve
from av_td3_ros.sim.lane_watch import LaneWatch
from av_td3_ros.sim.lens_effects import Lens, random_lens
from av_td3_ros.sim.scenery import Scenery
from av_td3_ros.sim.traffic import FIRST_ID, Traffic
from av_td3_ros.sim.vehicle import Vehicle
from av_td3_ros.sim.weather import PRESETS, random_weather, Weather

SCENERY_ID = 0
RANDOM = 'random'
# Grip of a soaked road over that of a dry one; peak values of asphalt are 0.5 to 0.7 and 0.8 to
# 0.9 in Wong, Theory of Ground Vehicles (2008), section 1.3.
SOAKED = 0.7
# Beyond these a pose (m) or a velocity (m/s, rad/s) is a mistake; the numbers stay exact.
FARTHEST, FASTEST, QUICKEST = 1e5, 100.0, 10.0
# What touches slower than this, m/s, leans and does not hit.
SOFT = 0.02


class Collision(NamedTuple):
    """
    A hit: CARLA's id of the other (0 is scenery) and the impulse on the vehicle, N s, in the map
    frame.
    """

    other_actor_id: int
    impulse: Tuple[float, float, float]


class World:
    """
    Ticks in fixed steps of ``fixed_delta_seconds``.

    ``shown_route``: (n, 2) m, what the chase and top views show of where to go.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        """
        Load the map, put the traffic on it and the vehicle on a lane.

        :raises MapError: where the map cannot be read.
        :raises ValueError: where it has no room for the traffic.
        """
        self._config = config
        self.road_map = RoadMap.load(config.map)
        self.scenery = Scenery(self.road_map, config.seed)
        self.vehicle = Vehicle()
        self.traffic = Traffic(self.road_map, config.vehicles, config.seed)
        self._lanes = LaneWatch(self.road_map.lanes)
        self.frame = self._begun = 0
        self.collisions: List[Collision] = []
        self.lane_invasions: List[int] = []
        self.shown_route = np.zeros((0, 2))
        self._lens = Lens()
        self.set_weather(PRESETS['clear_noon' if config.weather == RANDOM else config.weather])
        self.go_on(0)
        self.teleport(self.road_map.random_route(self._rng, 20.0, 2000.0).start)

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self.frame * self._config.fixed_delta_seconds

    @property
    def state(self) -> VehicleState:
        """Motion of the vehicle."""
        return self.vehicle.state

    @property
    def box(self) -> np.ndarray:
        """Where the vehicle is: (5,) float64, x, y, yaw, length, width."""
        return self.vehicle.box

    @property
    def others(self) -> np.ndarray:
        """The traffic: (n, 6) float64, x, y, yaw, length, width, speed."""
        return np.column_stack([self.traffic.boxes, self.traffic.speed])

    def go_on(self, episodes: int) -> None:
        """
        Draw other traffic and weather than before.

        :param episodes: driven since ``simulator.first_episode``; 0 with none before is the start.
        """
        before = self._config.first_episode + episodes
        self.reseed((self._config.seed, before) if before else self._config.seed)

    def reseed(self, seed: Union[int, Sequence[int]]) -> None:
        """Begin anew as far as chance goes; the next teleport draws from it."""
        self._rng = np.random.default_rng(seed)

    def tick(self, control: Control) -> None:
        """Advance one step with one control."""
        before, duration = self.state.pose, self._config.fixed_delta_seconds
        self.vehicle.step(control, duration)
        if self.traffic.bodies:
            self.traffic.step(duration, (*self.box.tolist(), self.state.speed))
        self.frame += 1
        self.collisions = self._collide(before)
        self.lane_invasions = self._lanes.update(self.box)

    def teleport(self, pose: Pose) -> None:
        """
        Put the vehicle somewhere on the ground; it keeps its velocity, as in CARLA.

        The traffic begins anew around it, so that no other vehicle is in its place.

        :raises ValueError: for a pose that is no place in reach, where something that stands fast
            is in its place, or where the map has no room left for the traffic; nothing moves then.
        """
        if not all(abs(value) <= FARTHEST for value in pose):
            raise ValueError(
                f'a pose must be finite and within {FARTHEST:g} m of the origin, got '
                f'{tuple(pose)}; choose one on a lane'
            )
        placed = Pose(pose.x, pose.y, 0.0, wrap_angle(pose.yaw))
        length, width = self.vehicle.params.length, self.vehicle.params.width
        index = self.scenery.collides(placed, length, width)
        if index is not None:
            raise ValueError(
                f'the vehicle must be put on a free place, got ({pose.x:.1f}, {pose.y:.1f}), '
                f'where a {self.scenery.items[index].kind} stands; choose one on a lane'
            )
        keep_clear = placed.x, placed.y, placed.yaw, length, width
        self.traffic.reset(int(self._rng.integers(2**31)), keep_clear)
        self.vehicle.place(placed)
        self._lanes.reset(self.box)
        self._begun = self.frame
        if self._config.weather == RANDOM:
            self._lens = random_lens(self._rng)
            self.set_weather(random_weather(self._rng))

    def set_velocity(self, speed: float, yaw_rate: float) -> None:
        """
        Set forward speed (m/s) and yaw rate (rad/s).

        :raises ValueError: for what no road vehicle does.
        """
        if not (abs(speed) <= FASTEST and abs(yaw_rate) <= QUICKEST):
            raise ValueError(
                f'speed must lie within {FASTEST:g} m/s and yaw rate within {QUICKEST:g} rad/s, '
                f'got {speed:g} and {yaw_rate:g}'
            )
        self.vehicle.set_velocity(speed, yaw_rate)

    def set_weather(self, weather: Weather) -> None:
        """Change sky, air and road."""
        self.weather = weather
        water = max(weather.wetness, weather.precipitation_deposits) / 100.0
        self.vehicle.grip = 1.0 - (1.0 - SOAKED) * water
        if '_cameras' in self.__dict__:
            self._cameras.set_weather(weather, self._lens)

    def image(self) -> np.ndarray:
        """Return what the front camera sees now: (height, width, 4) uint8, BGRA."""
        return self._cameras.image(self.frame - self._begun)

    def segmentation(self) -> np.ndarray:
        """
        Return the front camera's classes in CARLA's colours: (height, width, 4) uint8, BGRA.
        """
        return self._cameras.segmentation()

    def depth(self) -> np.ndarray:
        """Return the front camera's depth: (height, width) float32 m along the optical axis."""
        return self._cameras.depth()

    def view(self, kind: str, width: int, height: int) -> np.ndarray:
        """
        Return a picture for people: (height, width, 3) uint8, RGB.

        :param kind: front, chase, top, segmentation or depth.
        :raises ValueError: for another kind.
        """
        frame = self.frame - self._begun
        return self._cameras.view(kind, width, height, frame, self.shown_route)

    def close(self) -> None:
        """Release the renderer."""
        if '_cameras' in self.__dict__:
            self._cameras.close()
            del self._cameras

    @functools.cached_property
    def _cameras(self) -> Any:
        # Whoever needs no picture needs no renderer.
        from av_td3_ros.sim.cameras import Cameras

        made = Cameras(self.road_map, self.scenery, self.traffic, self.vehicle, self._config)
        made.set_weather(self.weather, self._lens)
        return made

    # -- hits -------------------------------------------------------------------------------------

    def _collide(self, before: Pose) -> List[Collision]:
        """Hold the vehicle where it touches something, and let the impulses act on both."""
        found = []
        for hit in resolve(self.vehicle, before, self._touched):
            actor_id, (x, y) = hit.obstacle.actor_id, hit.impulse
            if actor_id != SCENERY_ID:
                self.traffic.struck(actor_id - FIRST_ID, (-x, -y))
            if math.hypot(x, y) > SOFT * self.vehicle.params.mass:
                found.append(Collision(actor_id, (x, y, 0.0)))
        return found

    def _touched(self, pose: Pose) -> List[Obstacle]:
        length, width = self.vehicle.params.length, self.vehicle.params.width
        items = (self.scenery.items[i] for i in self.scenery.touched(pose, length, width))
        found = [Obstacle(item.outline, Mover(), SCENERY_ID) for item in items]
        if self.traffic.bodies:
            met = touching(box_at(pose, length, width), self.traffic.boxes)
            for index in np.flatnonzero(met).tolist():
                outline = self.traffic.boxes[index].copy()
                found.append(Obstacle(outline, self._mover(index), self.traffic.ids[index]))
        return found

    def _mover(self, index: int) -> Mover:
        x, y, yaw = self.traffic.boxes[index, :3].tolist()
        speed = float(self.traffic.speed[index])
        velocity = speed * math.cos(yaw), speed * math.sin(yaw)
        # It stays on its lane: it does not turn.
        return Mover((x, y), velocity, 0.0, self.traffic.bodies[index].mass)
