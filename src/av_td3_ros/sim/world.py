import numpy as np
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.vehicle import Vehicle
from av_td3_ros.datatypes import VehicleState
class World:
    def __init__(self, config):
        self.config = config; self.road_map = RoadMap.load(config.map); self.vehicle = Vehicle(); self.frame = 0
        self.collisions = []; self.lane_invasions = []; self._cam = None
        r = self.road_map.random_route(np.random.default_rng(config.seed), 50, 500)
        self.vehicle.state = VehicleState(r.start)
    time = property(lambda s: s.frame * s.config.fixed_delta_seconds)
    state = property(lambda s: s.vehicle.state)
    acceleration = property(lambda s: s.vehicle.acceleration)
    def tick(self, c): self.vehicle.step(c, self.config.fixed_delta_seconds); self.frame += 1
    def teleport(self, pose): self.vehicle.state = VehicleState(pose._replace(z=0.0), self.state.speed, self.state.yaw_rate)
    def set_velocity(self, v, r): self.vehicle.state = VehicleState(self.state.pose, v, r)
    def image(self):
        if self._cam is None: self._cam = np.random.default_rng(0).integers(0, 255, (self.config.image_height, self.config.image_width, 4)).astype(np.uint8)
        return self._cam
    def close(self): pass
