"""Vehicles for tests: moving ones, and ones that are driven for a while."""

from av_td3_ros.datatypes import Pose
from av_td3_ros.sim.vehicle import Vehicle, VehicleParams

DT = 0.05
CAR = VehicleParams()


def drive(vehicle, control, seconds):
    for _ in range(round(seconds / DT)):
        vehicle.step(control, DT)


def moving(speed, pose=Pose(0.0, 0.0)):
    vehicle = Vehicle()
    vehicle.place(pose)
    vehicle.set_velocity(speed, 0.0)
    return vehicle
