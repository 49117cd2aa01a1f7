"""Settings of the last check before the vehicle bus, and of the vehicle behind it."""

from dataclasses import dataclass

from av_td3_ros.options import option


@dataclass(frozen=True)
class GateConfig:
    """The last check before the vehicle bus."""

    engaged: bool = option(
        True, 'begin engaged; false: somebody else drives until the engage service is called'
    )
    max_steering_rate: float = option(
        20.0, 'largest change of steering', unit='1/s', low=0.5, high=40.0
    )
    max_acceleration_rate: float = option(
        0.0,
        'largest increase of acceleration, 0 for none; a brake is never held up',
        unit='1/s',
        low=0.0,
        high=100.0,
    )
    observation_timeout: float = option(
        0.9, 'silence of the observation after which the car brakes', unit='s', low=0.1, high=10.0
    )
    max_age: float = option(
        0.5,
        'real time: age of an observation, by its stamp, beyond which it is not driven on; 0: its '
        'stamps come from another clock, do not compare',
        unit='s',
        low=0.0,
        high=10.0,
    )
    clock_jump: float = option(
        1.0,
        'step of the stamps, back or (real time: less the time that has passed) forward, that '
        'counts as a jump of the clock',
        unit='s',
        low=0.1,
        high=60.0,
    )
    rate_factor: float = option(
        3.0,
        'real time: how many times faster or slower than in training (20 Hz, or as the artefact '
        'says) observations may come; 0: any',
        low=0.0,
        high=100.0,
    )
    comfort_brake: float = option(
        0.4, 'real time: brake at first, as a share of the full one', low=0.05, high=1.0
    )
    comfort_time: float = option(
        1.5,
        'real time: how long that lasts before the brake is full',
        unit='s',
        high=10.0,
        low=0.0,
    )
    resume_after: int = option(
        1,
        'good observations in a row after which a braking car drives on; 0: not before the engage '
        'service is called',
        low=0,
        high=1000,
    )
    refusal_storm: int = option(
        10, 'refused weights, within the window, that make the car brake', low=2, high=1000
    )
    refusal_window: float = option(10.0, 'that window', unit='s', low=0.1, high=600.0)


@dataclass(frozen=True)
class VehicleConfig:
    """What turns actions into speeds and angles, for outputs that want these."""

    max_steering_angle: float = option(
        0.61, 'angle of the front wheels at steering 1', unit='rad', low=0.05, high=1.5
    )
    wheel_base: float = option(2.58, 'between the axles', unit='m', low=0.1, high=10.0)
    max_acceleration: float = option(3.0, 'at acceleration 1', unit='m/s^2', low=0.1, high=15.0)
    max_deceleration: float = option(8.0, 'at acceleration -1', unit='m/s^2', low=0.1, high=15.0)
    max_speed: float = option(15.0, 'largest speed asked for', unit='m/s', low=0.5, high=60.0)
    horizon: float = option(
        0.5,
        'the speed asked for is the one reached after this time at the acceleration wanted',
        unit='s',
        low=0.05,
        high=5.0,
    )
