import math
from dataclasses import dataclass
from av_td3_ros.datatypes import VehicleState, Pose
@dataclass(frozen=True)
class VehicleParams:
    wheelbase: float = 2.9
    max_steer: float = 0.61
class Vehicle:
    def __init__(self):
        self.params = VehicleParams(); self.state = VehicleState(Pose(0, 0)); self.acceleration = 0.0; self.delta = 0.0
    def step(self, c, dt):
        s = self.state; p = s.pose; v = s.speed
        self.delta += (c.steering * self.params.max_steer - self.delta) * min(dt / 0.1, 1)
        a = c.throttle * 3.5 - c.brake * 8.0 - 0.1 - 0.003 * v * v
        nv = max(v + a * dt, 0.0)
        self.acceleration = (nv - v) / dt
        beta = math.atan(0.5 * math.tan(self.delta)); r = nv * math.sin(beta) / (self.params.wheelbase / 2)
        yaw = p.yaw + r * dt
        self.state = VehicleState(Pose(p.x + nv * math.cos(p.yaw + beta) * dt, p.y + nv * math.sin(p.yaw + beta) * dt, 0.0, (yaw + math.pi) % (2 * math.pi) - math.pi), nv, r)
