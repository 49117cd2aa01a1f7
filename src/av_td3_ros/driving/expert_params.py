"""What the expert knows of its car, and how it drives; docs/design/expert.md has the why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExpertParams:
    """
    What the expert knows of its car, and how it drives. SI units.

    The car: ``length``, ``width``: of its box. ``wheelbase``. ``rear_axle``: from the rear axle to
    the pose. ``max_steer``: angle of the front wheels at steering 1, rad. ``max_acceleration``,
    ``max_deceleration``: about what full throttle and full brake do. ``coasting``: deceleration
    without pedals. They need not be exact: the integral part of the PID makes up for it.

    Steering: ``preview``: s, the car is taken to be where it will be then, which makes up for the
    delay of its steering. ``lookahead_time``, ``lookahead``: the point that is pursued is as far
    along the route as is driven in that time, plus that distance (Coulter tunes one distance).

    Speed: ``target_speed``. ``lateral_acceleration``: in curves. ``acceleration``,
    ``deceleration``, ``time_gap``, ``standing_gap``: a, b, T, s0 of the IDM, whose paper has 0.73,
    1.67, 1.6 and 2 for motorways. ``jerk``: largest change of acceleration, m/s^3, but for braking
    harder than b. ``speed_time``: s in which the speed wanted there is reached. ``p``, ``i``,
    ``d``: of the PID, 1/s, 1/s^2 and 1.

    Crossing traffic: ``horizon``: s that others are predicted for. ``margin``: s between two cars
    at one place. ``wait_before``: m free of where others will cross. ``stop_time``: s, as
    ``speed_time``, before a place to wait at. ``patience``: s of standing after which those below
    ``patient_speed`` have to wait and the others get no margin. ``side``: m of room beside others.
    """

    length: float = 4.51
    width: float = 1.61
    wheelbase: float = 2.58
    rear_axle: float = 1.29
    max_steer: float = 0.61
    max_acceleration: float = 3.0
    max_deceleration: float = 10.0
    coasting: float = 0.13
    preview: float = 0.1
    lookahead_time: float = 0.5
    lookahead: float = 1.0
    target_speed: float = 8.33
    lateral_acceleration: float = 1.8
    acceleration: float = 1.5
    deceleration: float = 1.67
    time_gap: float = 1.2
    standing_gap: float = 2.0
    jerk: float = 4.0
    speed_time: float = 0.8
    p: float = 0.8
    i: float = 0.3
    d: float = 0.05
    horizon: float = 4.0
    margin: float = 1.0
    wait_before: float = 4.0
    stop_time: float = 0.5
    patience: float = 2.0
    patient_speed: float = 2.0
    side: float = 0.3
