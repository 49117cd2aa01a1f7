"""From episodes to figures: what a policy is told by, each with its interval of confidence."""

from collections import Counter
from dataclasses import dataclass, field
import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from av_td3_ros.driving.measures import driving_score, PENALTIES
from av_td3_ros.driving.statistics import Estimate, mean, METHOD, NOTHING, rate, share

VERSION = 2
KILOMETRE = 1000.0
WORLD = (
    'This world has no pedestrians, traffic lights or stop signs; an episode ends at its first '
    'collision. Driving scores count collisions and the way beside the lanes, no minimum speed: '
    '1.0 and 2.0 are equal here.'
)
Row = Mapping[str, Any]


class Figure(NamedTuple):
    """
    One line of the table.

    ``unit``: of what is shown, which is ``scale`` times the figure in SI units. ``better``: 1
    where more is better, -1 where less is, 0 where neither.
    """

    title: str
    unit: str
    scale: float
    better: int
    estimate: Callable[[Sequence[Row]], Estimate]


def _ended(*reasons: str) -> Callable[[Sequence[Row]], Estimate]:
    return lambda rows: share(sum(row['reason'] in reasons for row in rows), len(rows))


def _mean(key: str) -> Callable[[Sequence[Row]], Estimate]:
    return lambda rows: mean([float(row[key]) for row in rows])


def _score(version: str) -> Callable[[Sequence[Row]], Estimate]:
    return lambda rows: mean([driving_score(row, version) for row in rows])


def _per_km(count: Callable[[Row], float]) -> Callable[[Sequence[Row]], Estimate]:
    return lambda rows: rate(
        [count(row) for row in rows], [float(row['distance']) / KILOMETRE for row in rows]
    )


def _counted(key: str) -> Callable[[Sequence[Row]], Estimate]:
    return _per_km(lambda row: float(row[key]))


def _completion_time(rows: Sequence[Row]) -> Estimate:
    return mean([float(row['duration']) for row in rows if row['reason'] == 'goal'])


def _left_the_road(row: Row) -> float:
    return float(row['reason'] in ('lane_exit', 'off_road'))


FIGURES: Dict[str, Figure] = {
    'success_rate': Figure('success', '%', 100.0, 1, _ended('goal')),
    'route_completion': Figure('route completion', '%', 100.0, 1, _mean('route_completion')),
    **{
        f'driving_score_{version}': Figure(
            f'driving score {version}', '%', 100.0, 1, _score(version)
        )
        for version in PENALTIES
    },
    'collision_rate': Figure('ended by collision', '%', 100.0, -1, _ended('collision')),
    'off_road_rate': Figure('ended off the road', '%', 100.0, -1, _ended('lane_exit', 'off_road')),
    'wrong_way_rate': Figure('ended on the wrong way', '%', 100.0, -1, _ended('wrong_way')),
    'standing_rate': Figure('ended standing still', '%', 100.0, -1, _ended('standing_still')),
    'time_limit_rate': Figure('ended by time', '%', 100.0, -1, _ended('time_limit')),
    'collisions_per_km': Figure('collisions', '1/km', 1.0, -1, _counted('collisions')),
    'vehicle_collisions_per_km': Figure(
        'with vehicles', '1/km', 1.0, -1, _counted('vehicle_collisions')
    ),
    'static_collisions_per_km': Figure(
        'with what stands', '1/km', 1.0, -1, _counted('static_collisions')
    ),
    'off_road_per_km': Figure('off the road', '1/km', 1.0, -1, _per_km(_left_the_road)),
    'lane_invasions_per_km': Figure('lane invasions', '1/km', 1.0, -1, _counted('lane_invasions')),
    'off_road_share': Figure('way beside the lanes', '%', 100.0, -1, _mean('off_road_share')),
    'min_time_to_collision': Figure(
        'least time to collision', 's', 1.0, 1, _mean('min_time_to_collision')
    ),
    'mean_speed': Figure('mean speed', 'km/h', 3.6, 0, _mean('mean_speed')),
    'completion_time': Figure('time to the goal', 's', 1.0, -1, _completion_time),
    'mean_jerk': Figure('jerk, mean', 'm/s3', 1.0, -1, _mean('mean_jerk')),
    'max_jerk': Figure('jerk, most', 'm/s3', 1.0, -1, _mean('max_jerk')),
    'mean_lateral_acceleration': Figure(
        'lateral acceleration, mean', 'm/s2', 1.0, -1, _mean('mean_lateral_acceleration')
    ),
    'max_lateral_acceleration': Figure(
        'lateral acceleration, most', 'm/s2', 1.0, -1, _mean('max_lateral_acceleration')
    ),
    'mean_lateral_deviation': Figure(
        'lateral error', 'm', 1.0, -1, _mean('mean_lateral_deviation')
    ),
    'mean_heading_error': Figure(
        'heading error', 'deg', math.degrees(1.0), -1, _mean('mean_heading_error')
    ),
    'longest_standing': Figure('longest stand', 's', 1.0, -1, _mean('longest_standing')),
    'episode_return': Figure('return', '', 1.0, 1, _mean('episode_return')),
}


@dataclass
class Result:
    """
    What one policy drove.

    ``policy``: its name. ``via``: graph or in-process. ``wanted``: episodes that were to be
    driven. ``facts``: what else belongs into the file, such as map and seed. ``rows``: one per
    episode; aborted ones are kept, but not counted. ``notes``: sentences for the reader.
    """

    policy: str
    via: str
    wanted: int
    facts: Dict[str, Any] = field(default_factory=dict)
    rows: List[Row] = field(default_factory=list)
    notes: Tuple[str, ...] = ()

    @property
    def driven(self) -> List[Row]:
        """Episodes that count."""
        return [row for row in self.rows if row['outcome'] != 'aborted']

    @property
    def is_partial(self) -> bool:
        """Whether fewer episodes were driven than wanted."""
        return len(self.driven) < self.wanted

    def metrics(self) -> Dict[str, Estimate]:
        """Return every figure by name; NaN where nothing was measured."""
        driven = self.driven
        return {
            name: figure.estimate(driven) if driven else NOTHING
            for name, figure in FIGURES.items()
        }

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON data; null stands where nothing was measured."""
        driven = self.driven
        return {
            'version': VERSION,
            'policy': self.policy,
            **self.facts,
            'via': self.via,
            'episodes': len(driven),
            'wanted': self.wanted,
            'partial': self.is_partial,
            'aborted': len(self.rows) - len(driven),
            'endings': dict(Counter(row['reason'] for row in driven).most_common()),
            'confidence': METHOD,
            'notes': [WORLD, *self.notes],
            'metrics': {
                name: {
                    key: value if math.isfinite(value) else None
                    for key, value in estimate._asdict().items()
                }
                for name, estimate in self.metrics().items()
            },
        }
