"""
Other vehicles: up to a hundred that follow lanes, keep their distance and give way at junctions.

Distance is kept by the intelligent driver model, IDM: Treiber, Hennecke and Helbing, Congested
traffic states in empirical observations and microscopic simulations, Phys. Rev. E 62 (2000), with
the parameters for city traffic of Treiber and Kesting, Traffic Flow Dynamics (2013), table 11.2.
Speed in curves and before stops is bounded beside it. ``right_of_way`` decides at junctions.

All vehicles are stepped at once, in NumPy; what happens seldom (a lane left, leave to go) is done
one by one. Deterministic: the same seed and the same ego give the same bits.
"""

import math
from typing import Sequence, Tuple

import numpy as np

from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.bodies import Body, random_bodies
from av_td3_ros.sim.right_of_way import RightOfWay
from av_td3_ros.sim.traffic_ego import Ego, EgoOnLanes
from av_td3_ros.sim.traffic_lanes import LaneNetwork
from av_td3_ros.sim.traffic_paths import FRONT, Paths, REAR
from av_td3_ros.sim.traffic_places import Places
from av_td3_ros.sim.traffic_strings import BRAKING

MOST = 100
FIRST_ID = 200
# IDM: time gap (s), gap at rest (m), acceleration and comfortable braking (m/s^2), exponent.
TIME_GAP, REST_GAP, ACCELERATION, COMFORT, EXPONENT = 1.0, 2.0, 1.0, 1.5, 4
SLOWEST, FASTEST = 6.0, 12.0
# However hard the model would brake, m/s^2; and the gap that is kept whatever happens, m.
HARDEST, LAST_GAP = 8.0, 0.3
SMALLEST_GAP = 0.1
# Stops are this far before where they must be, m.
STOP_SHORT = 0.3
# Brake lights: on from one deceleration, off below the other (m/s^2); on where it stands (m/s).
LIGHT_ON, LIGHT_OFF, LIGHT_STANDING = 0.6, 0.25, 0.1
# Free of vehicles around the ego at the start; free around whoever comes back; its distance, m.
KEEP_CLEAR, KEEP_APART, OUT_OF_SIGHT = 25.0, 30.0, 80.0
# Who comes to the end of a lane that leads nowhere leaves so far before it, m.
END = 5.0
# After a hit: braking (m/s^2) and how long it stands, s.
HIT_BRAKING, HIT_TIME = 5.0, 5.0


class Traffic:
    """
    Vehicles in traffic.

    ``boxes``: (n, 5) float64, x, y (m), yaw (rad), length, width (m). ``speed``: (n,) float64 m/s.
    ``braking``: (n,) bool, brake lights. ``bodies``: of each. ``ids``: CARLA's ids of actors.
    """

    def __init__(self, road_map: RoadMap, count: int, seed: int) -> None:
        """
        Prepare the lanes; ``reset`` puts the vehicles on them.

        :param count: of vehicles, 0 to 100. :param seed: of their sizes and colours.
        :raises ValueError: where there are to be more, no lane is wide enough, or the map has too
            little room for them somewhere.
        """
        if not 0 <= count <= MOST:
            raise ValueError(
                f'traffic must be 0 to {MOST} vehicles, got {count}; set simulator.vehicles'
            )
        self._map = road_map.name
        self.bodies: Tuple[Body, ...] = random_bodies(np.random.default_rng(seed), count)
        self.ids = range(FIRST_ID, FIRST_ID + count)
        self._length = np.array([body.length for body in self.bodies])
        self._mass = np.array([body.mass for body in self.bodies])
        self.boxes = np.zeros((count, 5))
        self.boxes[:, 3] = self._length
        self.boxes[:, 4] = [body.width for body in self.bodies]
        self.speed, self.braking = np.zeros(count), np.zeros(count, bool)
        if count:
            network = LaneNetwork(road_map)
            self._places = Places(network)
            self._check_room(count, self._places.room(KEEP_CLEAR, road_map.lanes))
            self._paths = Paths(network, self._length)
            self._ego = EgoOnLanes(network)
            self._right_of_way = RightOfWay(network, self._paths)

    def reset(self, seed: int, keep_clear: Sequence[float]) -> None:
        """
        Put every vehicle somewhere on a lane, in motion: in the town of the ego, where the map
        has several.

        :param seed: of places, speeds and ways. :param keep_clear: the ego: x, y (m), yaw (rad),
            length, width (m); nobody is put within 25 m of its middle.
        :raises ValueError: where the map is too small.
        """
        count = len(self.bodies)
        if not count:
            return
        self._rng = np.random.default_rng(seed)
        places = self._places.away_from(np.array([keep_clear[:2]]), KEEP_CLEAR)
        self._check_room(count, len(places))
        # Where the ego can meet them; all over the map where that part of it is too small.
        self._used = self._places.in_part_of(keep_clear[:2])
        if self._used[places].sum() < count:
            self._used[:] = True
        self._time = 0.0
        self._wanted = self._rng.uniform(SLOWEST, FASTEST, count)
        self._hit_until = np.full(count, -math.inf)
        self.speed[:], self.braking[:] = 0.0, False
        self._paths.reset(self._rng)
        self._right_of_way.reset()
        self._ego.reset()
        drawn = self._rng.choice(places[self._used[places]], count, replace=False).tolist()
        for vehicle, place in enumerate(drawn):
            self._put(vehicle, place)
        self._lane_limit = self._paths.poses(self.boxes)
        gap, _ = self._ahead()
        self.speed[:] = self._starting_speed(gap)

    def step(self, duration: float, ego: Ego) -> None:
        """
        Let time pass.

        :param duration: s. :param ego: x, y (m), yaw (rad), length, width (m), speed (m/s).
        """
        if not self.bodies:
            return
        self._time += duration
        paths, before = self._paths, self.speed
        self._ego.update(self._time, duration, ego)
        gap, leader = self._ahead()
        ego_gap = self._to_ego()
        self._ask(duration, gap, leader, ego_gap)
        hit = self._time < self._hit_until
        speed = before + duration * self._acceleration(gap, before[leader], ego_gap, hit)
        speed = np.minimum(np.maximum(speed, 0.0), self._limit())
        speed = np.maximum(speed, before - HARDEST * duration)
        # The last word: never into what is ahead, never over a stop.
        room = np.minimum(np.minimum(gap, ego_gap) - LAST_GAP, paths.stop - paths.front)
        way = np.minimum(0.5 * duration * (before + speed), np.maximum(room, 0.0))
        self.speed = np.minimum(speed, 2.0 / duration * way)
        self._light((before - self.speed) / duration, hit)
        paths.front += way
        self._right_of_way.leave(paths.advance())
        self._come_back(ego)
        self._lane_limit = paths.poses(self.boxes)

    def struck(self, index: int, impulse: Sequence[float]) -> None:
        """
        Push a vehicle along its lane; it then brakes, stands some seconds, and goes on.

        :param index: 0 to n - 1. :param impulse: (x, y) N s in the map frame; what is beyond is
            not used.
        """
        yaw = self.boxes[index, 2]
        along = impulse[0] * math.cos(yaw) + impulse[1] * math.sin(yaw)
        self.speed[index] = min(max(self.speed[index] + along / self._mass[index], 0.0), FASTEST)
        self._hit_until[index] = self._time + HIT_TIME
        self.braking[index] = True

    def _check_room(self, count: int, places: int) -> None:
        if count > places:
            raise ValueError(
                f'map {self._map} must have room for the traffic, got {count} vehicles for '
                f'{places} places; set simulator.vehicles to at most {places}'
            )

    # -- parts of a step --------------------------------------------------------------------------

    def _ahead(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return the gap to the next vehicle on each path, (n,) m, inf for none; and which."""
        paths = self._paths
        front, rear = paths.segment[FRONT], paths.segment[REAR]
        # Of each vehicle (row) on each path (column), first by its rear bumper.
        gaps = paths.reach[rear]
        gaps += (paths.front - self._length - paths.begin[REAR])[:, None]
        gaps -= paths.front
        gaps[gaps <= 0.0] = math.inf
        # Whose rear comes from elsewhere but whose front is on the path is ahead, too.
        between = np.flatnonzero(front != rear)
        merging = paths.reach[front[between]]
        merging += (paths.front - paths.begin[FRONT])[between, None]
        merging -= paths.front
        merging[merging <= 0.0] = math.inf
        merging -= self._length[between, None]
        gaps[between] = np.minimum(gaps[between], merging)
        np.fill_diagonal(gaps, math.inf)
        leader = gaps.argmin(axis=0)
        return gaps[leader, np.arange(len(gaps))], leader

    def _to_ego(self) -> np.ndarray:
        """Return the gap to the ego on each path, (n,) float64 m, inf where it is not on it."""
        ego = self._ego
        start = self._paths.reach[ego.segment] - self._paths.front
        ahead = start + ego.high[:, None] > 0.0
        gaps = np.where(ahead, np.maximum(start + ego.low[:, None], 0.0), math.inf)
        return gaps.min(axis=0, initial=math.inf)

    def _ask(
        self, duration: float, gap: np.ndarray, leader: np.ndarray, ego_gap: np.ndarray
    ) -> None:
        """Ask for leave to drive on, whoever is the first before a junction without it."""
        paths = self._paths
        to_stop = paths.stop - paths.front
        is_first = (gap + self._length[leader] >= to_stop) | paths.is_free()[leader]
        may_ask = is_first & (ego_gap >= to_stop) & (self._time >= self._hit_until)
        self._right_of_way.decide(self._time, duration, self.speed, may_ask, self._ego)

    def _acceleration(
        self, gap: np.ndarray, ahead: np.ndarray, ego_gap: np.ndarray, hit: np.ndarray
    ) -> np.ndarray:
        """Return IDM's acceleration, (n,) float64 m/s^2, behind what drives at ``ahead``, m/s."""
        ego_speed = self._ego.speed * np.cos(self.boxes[:, 2] - self._ego.yaw)
        pressure = np.maximum(
            self._pressure(gap, ahead), self._pressure(ego_gap, np.maximum(ego_speed, 0.0))
        )
        free = (self.speed / self._wanted) ** EXPONENT
        acceleration = ACCELERATION * (1.0 - free - pressure**2)
        return np.where(hit, np.minimum(acceleration, -HIT_BRAKING), acceleration)

    def _pressure(self, gap: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """Return the desired gap behind what drives at ``ahead``, m/s, over the gap there is."""
        closing = self.speed * (self.speed - ahead) / (2.0 * math.sqrt(ACCELERATION * COMFORT))
        desired = REST_GAP + np.maximum(TIME_GAP * self.speed + closing, 0.0)
        return desired / np.maximum(gap, SMALLEST_GAP)

    def _limit(self) -> np.ndarray:
        """Return the speed that curves and stops allow, (n,) float64 m/s."""
        paths = self._paths
        to_stop = np.maximum(paths.stop - paths.front - STOP_SHORT, 0.0)
        limit = np.minimum(self._lane_limit, 2.0 * BRAKING * to_stop)
        return np.sqrt(np.minimum(limit, paths.limit_ahead()))

    def _light(self, slowing: np.ndarray, hit: np.ndarray) -> None:
        """Switch brake lights. :param slowing: (n,) float64 m/s^2. :param hit: (n,) bool."""
        self.braking = (slowing > LIGHT_ON) | (self.braking & (slowing > LIGHT_OFF))
        self.braking |= hit | (self.speed < LIGHT_STANDING)

    # -- coming and going -------------------------------------------------------------------------

    def _put(self, vehicle: int, place: int) -> None:
        length = float(self._length[vehicle])
        self._paths.place(vehicle, *self._places.front(place, length, self._rng))

    def _starting_speed(self, gap: np.ndarray) -> np.ndarray:
        """Return a speed that nothing ahead forbids, (n,) float64 m/s."""
        free = np.maximum(gap - REST_GAP, 0.0)
        behind = np.minimum(free / TIME_GAP, np.sqrt(2.0 * COMFORT * free))
        return np.minimum(np.minimum(self._wanted, behind), self._limit())

    def _come_back(self, ego: Ego) -> None:
        """Whoever is at the end of a lane that leads nowhere comes back elsewhere, unseen."""
        paths = self._paths
        for vehicle in np.flatnonzero(paths.is_last & (paths.stop - paths.front < END)).tolist():
            here = self.boxes[vehicle, :2]
            if math.hypot(here[0] - ego[0], here[1] - ego[1]) < OUT_OF_SIGHT:
                continue
            free = np.intersect1d(
                self._places.away_from(self.boxes[:, :2], KEEP_APART),
                self._places.away_from(np.array([ego[:2]]), OUT_OF_SIGHT),
            )
            free = free[self._used[free]]
            if len(free):
                self._right_of_way.remove(vehicle)
                self._put(vehicle, int(self._rng.choice(free)))
                self._lane_limit = paths.poses(self.boxes)
                self.speed[vehicle] = min(SLOWEST, self._limit()[vehicle])
