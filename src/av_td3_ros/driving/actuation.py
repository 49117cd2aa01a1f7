"""The one place where actions in [-1, 1] become vehicle controls."""

from typing import Sequence

from av_td3_ros.datatypes import Control


def to_control(action: Sequence[float]) -> Control:
    """
    Turn an action into a control.

    :param action: [steering, acceleration], each in [-1, 1]; steering is positive to the left,
        acceleration is throttle where positive and brake where negative.
    """
    steering, acceleration = float(action[0]), float(action[1])
    return Control(
        throttle=max(acceleration, 0.0), brake=max(-acceleration, 0.0), steering=steering
    )
