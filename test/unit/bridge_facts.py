"""Facts of a bridge without a fault, made by hand: a car on a plane, ahead, left, right, stop."""

import math

from av_td3_ros.bridge_check.contract import (
    EVERY_FRAME,
    OPTIONAL,
    PUBLISHED,
    STAMPED,
    SUBSCRIBED,
)
from av_td3_ros.bridge_check.facts import (
    Actor,
    Crossing,
    Expected,
    Facts,
    Handshake,
    Hit,
    Inertial,
    Intrinsics,
    Motion,
    Offer,
    Override,
    Pause,
    Picture,
    Reset,
    Route,
    Silence,
    Status,
    Thrown,
    Tick,
    Topic,
    Vehicle,
)

TICK, STEP = 50_000_000, 0.05
LATCHED = ('world_info', 'vehicle_info', 'waypoints', 'manual_override')


def topic(key):
    latched = key in LATCHED
    offer = Offer('/bridge', f'some_msgs/msg/{key}', True, latched)
    return Topic(
        f'/carla/ego_vehicle/{key}',
        offer.type,
        True,
        latched,
        (offer,) if key in PUBLISHED else (),
        (offer,) if key in SUBSCRIBED else (),
    )


def drive(facts, x=20.0, y=30.0, yaw=0.7):
    """Add the drive and the run off the road, frame by frame."""
    v = 0.0
    plan = (
        ('ahead', 40, 3.0, 0.0),
        ('left', 16, 0.5, 0.4),
        ('right', 32, 0.5, -0.4),
        ('stop', 60, -8.0, 0.0),
        ('off_road', 40, 0.0, 0.0),
    )
    for name, frames, a, turn in plan:
        begin = len(facts.odometry) + (name == 'off_road')  # after it has been thrown
        for number in range(frames):
            if name == 'off_road':
                v = 8.0 if number < 20 else 1.0
                turned = 0.0
            else:
                v = max(0.0, v + a * STEP)
                turned = turn if v > 0.0 else 0.0
            middle = yaw + turned * STEP / 2
            x, y = x + v * math.cos(middle) * STEP, y + v * math.sin(middle) * STEP
            yaw += turned * STEP
            frame(facts, x, y, yaw, v, turned, a if v > 0.0 else 0.0)
            if name == 'off_road' and number == 20:
                stamp = facts.odometry[-1].stamp
                push = (-7000.0 * math.cos(yaw), 7000.0 * math.sin(yaw), 0.0)  # left-handed
                facts.collision.append(Hit(stamp, 'ego_vehicle/collision', 0, push, stamp))
        facts.spans[name] = max(0, begin - 1), len(facts.odometry)
        if name == 'ahead':
            facts.speeds['ahead'] = (v, v)
        if name == 'stop':
            facts.drive_ticks = len(facts.ticks)
            facts.counts = dict.fromkeys(EVERY_FRAME, len(facts.ticks))


def frame(facts, x, y, yaw, v, wz, a):
    number = len(facts.ticks) + 1
    stamp = number * TICK
    facts.ticks.append(Tick(number, STEP, True, True))
    facts.clock.append(stamp)
    facts.odometry.append(Motion(stamp, 'map', 'ego_vehicle', x, y, 0.0, yaw, 0.0, v, 0.0, wz))
    facts.vehicle_status.append(
        Status(stamp, 'map', v, a * math.cos(yaw), a * math.sin(yaw), 0.0, 0.5, 0.0, -0.3)
    )
    camera = 'ego_vehicle/rgb_front'
    facts.image.append(
        Picture(stamp, camera, 'bgra8', 256, 144, 1024, 1024 * 144, False, 200, 255, number)
    )
    f, cx, cy = 128.0, 128.0, 72.0
    facts.camera_info.append(
        Intrinsics(
            stamp,
            camera,
            256,
            144,
            'plumb_bob',
            (0.0,) * 5,
            (f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0),
            (f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
        )
    )
    facts.imu.append(Inertial(stamp, 9.81, wz))


def made():
    """Return facts in which every check can be made and passes."""
    facts = Facts(Expected(fov_deg=90.0))
    facts.topics = {key: topic(key) for key in (*PUBLISHED, *OPTIONAL, *SUBSCRIBED)}
    facts.roles = ['ego_vehicle']
    facts.tf_publishers = 1
    facts.actors = [Actor(1, 0, 'vehicle.tesla.model3', 'ego_vehicle')]
    facts.vehicle_info = Vehicle(1, 'ego_vehicle', 1.22, 35.0)
    facts.map_name, facts.opendrive = 'Carla/Maps/Town01', 1000
    facts.silence = Silence(2.5, 2, 1.0, 1.0)
    brakes = tuple(0.5 + 0.02 * number for number in range(20))
    facts.handshake = Handshake(20, 20, brakes, brakes)
    facts.override = Override(0, 1, 1)
    facts.pause = Pause(0, (1, 1), 1, (True, True))
    drive(facts)
    facts.speeds['steer'] = (-0.3, -0.3)
    facts.spans['braked'] = facts.spans['stop'][1] - 15, facts.spans['stop'][1]
    facts.drive_seconds = facts.drive_ticks / 20.0
    classes = facts.image[-1]._replace(frame_id='ego_vehicle/semantic_segmentation_front')
    facts.segmentation = [classes]
    last = facts.odometry[facts.spans['stop'][1] - 1].stamp
    facts.rest = dict.fromkeys(('odometry', *STAMPED), last)
    place = (20.0, 30.0, 0.7)
    facts.reset = Reset(place, (60.0, 60.0, 0.7), (20.1, 30.1, 0.7), 1, 3.1, 3.0, 0.0)
    facts.thrown = Thrown(5.0, ((4.9, 0.0), (4.8, 0.0)))
    facts.route = Route(40, 1.0, 0.5, 'map')
    stamp = facts.odometry[facts.spans['off_road'][0] + 5].stamp
    facts.lane_invasion = [Crossing(stamp, 'ego_vehicle/lane_invasion', (2,), stamp)]
    return facts
