"""What people watch: where a command leads, how the learner is. For rviz, rqt and the viewer."""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

# How far ahead a command is drawn, s, and at least, m.
HORIZON, SHORTEST = 2.0, 4.0
POINTS = 17
# Of the embedded simulator's car, until the vehicle has told its own.
MAX_STEER, WHEELBASE = 0.61, 2.58
# What of the trainer's health is drawn, under which name.
VITALS = {
    'q_policy': 'q_policy_mean',
    'q_replay': 'q_replay_mean',
    'feature_norm': 'feature_l2_seen',
}


class Geometry(NamedTuple):
    """What of a vehicle its turning circle needs: steering at the stop, rad, and wheelbase, m."""

    max_steer: float = MAX_STEER
    wheelbase: float = WHEELBASE


def planned_path(steering: float, speed: float, car: Geometry = Geometry()) -> np.ndarray:
    """
    Return where a steering command leads if it is kept, without slip.

    :param steering: [-1, 1], positive to the left; beyond that it is clipped.
    :param speed: m/s.
    :returns: (17, 2) m in the frame of the vehicle, from it on.
    """
    steering = min(max(steering, -1.0), 1.0) if math.isfinite(steering) else 0.0
    speed = abs(speed) if math.isfinite(speed) else 0.0
    way = np.linspace(0.0, max(speed * HORIZON, SHORTEST), POINTS)
    curvature = math.tan(steering * car.max_steer) / car.wheelbase
    if abs(curvature) < 1e-6:
        return np.column_stack([way, np.zeros_like(way)])
    angle = way * curvature
    return np.column_stack([np.sin(angle), 1.0 - np.cos(angle)]) / curvature


def geometry(wheels: Sequence[Tuple[float, float]]) -> Geometry:
    """
    Return the geometry of a vehicle.

    :param wheels: (largest steering angle in rad, position along the vehicle in m) of each; what
        makes no sense is replaced by the car of the embedded simulator.
    """
    angles = [angle for angle, _ in wheels]
    places = [place for _, place in wheels]
    steer = max(angles, default=0.0)
    base = max(places, default=0.0) - min(places, default=0.0)
    return Geometry(
        steer if 0.05 < steer < 1.4 else MAX_STEER, base if 1.0 < base < 10.0 else WHEELBASE
    )


def vitals(values: Mapping[str, str]) -> Dict[str, float]:
    """
    Return how the learner is.

    :param values: of its diagnostics.
    :returns: by the names of ``VITALS``; without those that are not told yet, or are no numbers.
    """
    found = {}
    for name, key in VITALS.items():
        try:
            number = float(values.get(key, ''))
        except ValueError:
            continue
        if math.isfinite(number):
            found[name] = number
    return found


def told(vital: Mapping[str, float], state: Any = None) -> List[str]:
    """
    Return lines of text for people.

    :param vital: of :func:`vitals`.
    :param state: with the fields of ``av_td3_msgs/EpisodeState``.
    """
    lines = []
    if state is not None:
        lines.append(f'episode {state.episode_id} step {state.step_id}')
        lines.append(f'{state.speed * 3.6:.0f} km/h  reward {state.reward:+.2f}')
    if 'q_policy' in vital:
        replayed = f' (replayed {vital["q_replay"]:.1f})' if 'q_replay' in vital else ''
        lines.append(f'Q {vital["q_policy"]:.1f}{replayed}')
    if 'feature_norm' in vital:
        lines.append(f'features {vital["feature_norm"]:.1f}')
    return lines
