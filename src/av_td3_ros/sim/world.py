"""
The simulated world: a map, what stands beside its roads, one vehicle, one camera.

Deterministic: the same seed and controls give the same states and images, bit for bit.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.datatypes import Control, Pose, VehicleState, wrap_angle
from av_td3_ros.driving.road_map import LanePosition, RoadMap
from av_td3_ros.sim.scenery import Scenery
from av_td3_ros.sim.vehicle import Vehicle

SCENERY_ID = 0


class Collision(NamedTuple):
    """
    A hit: CARLA's id of the other (0 is scenery) and the impulse on the vehicle, N s, in the map
    frame.
    """

    other_actor_id: int
    impulse: Tuple[float, float, float]


class World:
    """Ticks in fixed steps of ``fixed_delta_seconds``."""

    def __init__(self, config: SimulatorConfig) -> None:
        """
        Load the map and put the vehicle on a lane.

        :raises MapError: where the map cannot be read.
        """
        self._config = config
        self.road_map = RoadMap.load(config.map)
        self.scenery = Scenery(self.road_map, config.seed)
        self.vehicle = Vehicle()
        self._camera = None
        self.frame = 0
        self.collisions: List[Collision] = []
        self.lane_invasions: List[int] = []
        start = self.road_map.random_route(np.random.default_rng(config.seed), 20.0, 2000.0).start
        self.teleport(start)

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self.frame * self._config.fixed_delta_seconds

    @property
    def state(self) -> VehicleState:
        """Motion of the vehicle."""
        return self.vehicle.state

    @property
    def acceleration(self) -> float:
        """Forward acceleration over the last tick, m/s^2."""
        return self.vehicle.acceleration

    def tick(self, control: Control) -> None:
        """Advance one step with one control."""
        before = self.vehicle.state
        self.vehicle.step(control, self._config.fixed_delta_seconds)
        self.frame += 1
        self.collisions = self._collide(before)
        self.lane_invasions = self._invade()

    def teleport(self, pose: Pose) -> None:
        """Put the vehicle somewhere on the ground; it keeps its velocity, as in CARLA."""
        self.vehicle.place(Pose(pose.x, pose.y, 0.0, wrap_angle(pose.yaw)))
        self._beside = self._lanes_beside()

    def set_velocity(self, speed: float, yaw_rate: float) -> None:
        """Set forward speed (m/s) and yaw rate (rad/s)."""
        self.vehicle.set_velocity(speed, yaw_rate)

    def image(self) -> np.ndarray:
        """Return what the front camera sees now: (height, width, 4) uint8, BGRA."""
        if self._camera is None:
            from av_td3_ros.sim.camera import Camera
            from av_td3_ros.sim.scene import Scene

            config = self._config
            self._camera = Camera(
                Scene(self.road_map, self.scenery),
                config.image_width,
                config.image_height,
                config.fov_deg,
            )
        return self._camera.render(self.camera_pose())

    def camera_pose(self) -> Pose:
        """Return where the front camera is now."""
        pose, ahead = self.state.pose, self._config.camera_x
        return Pose(
            pose.x + ahead * math.cos(pose.yaw),
            pose.y + ahead * math.sin(pose.yaw),
            pose.z + self._config.camera_z,
            pose.yaw,
        )

    def close(self) -> None:
        """Release the renderer."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _collide(self, before: VehicleState) -> List[Collision]:
        """Stop the vehicle where it would drive into something."""
        vehicle, state = self.vehicle, self.vehicle.state
        if self.scenery.collides(state.pose, vehicle.params.length, vehicle.params.width) is None:
            return []
        if self.scenery.collides(before.pose, vehicle.params.length, vehicle.params.width) is None:
            vehicle.place(before.pose)
        vehicle.stop(-before.speed / self._config.fixed_delta_seconds)
        if state.speed == 0.0:
            return []
        lost, yaw = -vehicle.params.mass * state.speed, state.pose.yaw
        return [Collision(SCENERY_ID, (lost * math.cos(yaw), lost * math.sin(yaw), 0.0))]

    def _lanes_beside(self) -> Tuple[LanePosition, LanePosition]:
        """Return the lanes under the left and the right side of the vehicle."""
        pose, half = self.vehicle.state.pose, self.vehicle.params.width / 2
        dx, dy = -half * math.sin(pose.yaw), half * math.cos(pose.yaw)
        return (
            self.road_map.lane_at(pose.x + dx, pose.y + dy),
            self.road_map.lane_at(pose.x - dx, pose.y - dy),
        )

    def _invade(self) -> List[int]:
        """
        Return the markings that a side of the vehicle has crossed in this tick, CARLA's codes.
        """
        last, self._beside = self._beside, self._lanes_beside()
        crossings = (_crossed(before, after) for before, after in zip(last, self._beside))
        return [code for code in crossings if code is not None]


def _crossed(before: LanePosition, after: LanePosition) -> Optional[int]:
    """Return the marking between two places, CARLA's code, or None."""
    if before.is_junction or after.is_junction or before.key[:2] != after.key[:2]:
        return None
    if before.key != after.key:
        # Lane numbers grow to the left of the road; driving direction follows their sign.
        to_left = (after.key[2] > before.key[2]) == (before.key[2] < 0)
    elif before.is_off != after.is_off:
        to_left = (after if after.is_off else before).left > 0.0
    else:
        return None
    return before.left_marking if to_left else before.right_marking
