"""Running into things: held at the first touch, sliding on, never through, never glued."""

import math

import numpy as np
import pytest

from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.sim.boxes import box_at, touches
from av_td3_ros.sim.collisions import Mover
from av_td3_ros.sim.hits import Obstacle, resolve
from av_td3_ros.sim.vehicle import Vehicle

DT = 0.05
# Its near side is y = 2.
WALL = np.array((50.0, 3.0, 0.0, 200.0, 2.0))


def track(*outlines):
    """Return what tells which of these obstacles a pose of the vehicle touches."""
    obstacles = [Obstacle(np.array(outline), Mover(), i) for i, outline in enumerate(outlines)]
    params = Vehicle().params

    def touched(pose):
        box = box_at(pose, params.length, params.width)
        return [o for o in obstacles if touches(box, o.outline)]

    return touched


def moving(pose, speed):
    vehicle = Vehicle()
    vehicle.place(pose)
    vehicle.set_velocity(speed, 0.0)
    return vehicle


def step(vehicle, touched, control=Control()):
    before = vehicle.state.pose
    vehicle.step(control, DT)
    return list(resolve(vehicle, before, touched))


@pytest.mark.parametrize('angle', [0.03, 0.1, 0.3, 0.6])
def test_a_glancing_hit_slides_on_along_the_wall(angle):
    vehicle, touched = moving(Pose(0.0, 0.6, 0.0, angle), 6.0), track(WALL)
    hits, glued = [], 0
    for _ in range(60):
        x = vehicle.state.pose.x
        hits += step(vehicle, touched, Control(throttle=0.4))
        moved = vehicle.state.pose.x - x
        glued += moved < 0.2 * DT * vehicle.state.speed
        assert not touched(vehicle.state.pose)
    assert hits and glued == 0
    assert vehicle.state.pose.x > 10.0


def test_the_impulse_takes_what_leads_into_the_wall_and_no_more():
    vehicle, touched = moving(Pose(0.0, 0.5, 0.0, 0.2), 8.0), track(WALL)
    while not (hits := step(vehicle, touched)):
        pass
    assert hits[0].impulse[0] == pytest.approx(0.0, abs=1e-6) and hits[0].impulse[1] < -500.0
    assert vehicle.state.speed == pytest.approx(8.0, rel=0.1)


def test_a_corner_of_two_walls_holds_whatever_is_done():
    ahead = (12.0, 0.0, math.pi / 2, 200.0, 2.0)
    vehicle, touched = moving(Pose(4.0, -0.3, 0.0, 0.3), 20.0), track(WALL, ahead)
    rng = np.random.default_rng(0)
    seen = set()
    for i in range(200):
        control = Control(throttle=1.0, steering=float(rng.uniform(-1, 1)), reverse=i % 80 > 60)
        seen |= {hit.obstacle.actor_id for hit in step(vehicle, touched, control)}
        assert not touched(vehicle.state.pose)
    assert seen == {0, 1}


@pytest.mark.parametrize('speed, tick', [(25.0, 0.1), (40.0, 0.1), (40.0, 0.05)])
def test_a_pole_is_not_jumped_over_by_a_car_that_slides_sideways(speed, tick):
    vehicle, touched = moving(Pose(0.0, 0.0, 0.0, math.pi / 2), 0.0), track((6.0, 0.5, 0.08))
    vehicle.push((speed * vehicle.params.mass, 0.0), vehicle.centre_of_gravity)
    hits = []
    for _ in range(20):
        before = vehicle.state.pose
        vehicle.step(Control(), tick)
        hits += resolve(vehicle, before, touched)
        assert not touched(vehicle.state.pose)
    assert hits


def test_who_begins_inside_something_is_put_beside_it():
    vehicle, touched = moving(Pose(0.0, 1.5, 0.0, 0.0), 0.0), track(WALL)
    assert touched(vehicle.state.pose)
    step(vehicle, touched)
    assert not touched(vehicle.state.pose) and vehicle.state.pose.y < 1.5


def test_a_free_way_changes_nothing():
    free, held = moving(Pose(0.0, -5.0), 10.0), moving(Pose(0.0, -5.0), 10.0)
    free.step(Control(throttle=0.5), DT)
    assert step(held, track(WALL), Control(throttle=0.5)) == []
    assert held.state == free.state
