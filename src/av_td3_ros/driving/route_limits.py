"""
Where along its route a deployed policy must not drive.

In training the episode would have ended there: no policy has ever seen what comes then.
"""

import math

from av_td3_ros.config import PerceptionConfig
from av_td3_ros.driving.route import RoutePosition


def beyond(place: RoutePosition, config: PerceptionConfig) -> str:
    """
    Return why a vehicle must not follow its route from where it is, or ''.

    :param place: on the route.
    :param config: ``route_end`` and ``route_distance``, m.
    """
    if place.remaining <= config.route_end:
        return f'not driving: the route ends in {max(place.remaining, 0.0):.1f} m'
    away, most = place.away, config.route_distance
    if away > most:
        return f'not driving: {away:.1f} m from the route, {most:g} m at most'
    if abs(place.heading_error) > math.pi / 2.0:
        degrees = math.degrees(place.heading_error)
        return f'not driving: the vehicle points back along its route, at {degrees:.0f} deg'
    return ''
