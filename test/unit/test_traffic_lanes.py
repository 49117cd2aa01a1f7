"""The lanes that traffic drives on: cut where they conflict, by what a long vehicle sweeps."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('carla')
shapely = pytest.importorskip('shapely')

from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.sim.boxes import corners  # noqa: E402
from av_td3_ros.sim.traffic_conflicts import WHEELBASE  # noqa: E402
from av_td3_ros.sim.traffic_lanes import LaneNetwork, SHORTEST_OPEN  # noqa: E402
from av_td3_ros.sim.traffic_strings import LENGTH, WIDTH  # noqa: E402

MAPS = Path(__file__).resolve().parents[3] / 'shared' / 'maps'


@pytest.fixture(scope='module', params=['town', 'Town01', 'fabriksgatan'])
def network(request):
    path = MAPS / f'{request.param}.xodr'
    if request.param != 'town' and not path.exists():
        pytest.skip(f'{path} is not there')
    return LaneNetwork(RoadMap.load('town' if request.param == 'town' else str(path)))


def course(network, segment):
    first = network.first[segment]
    count = round(network.length[segment] / network.step[segment]) + 1
    return network.course[first : first + count, :2]


def test_segments_join(network):
    for segment, following in enumerate(network.successors):
        for other in following:
            gap = course(network, segment)[-1] - course(network, other)[0]
            assert np.hypot(*gap) < 0.05


def test_there_is_room_on_open_segments(network):
    assert (network.length[~network.closed] >= SHORTEST_OPEN).all()
    assert np.isfinite(network.hops).all()


def test_open_segments_are_in_no_conflict(network):
    for segment, others in enumerate(network.conflicts):
        assert not others or network.closed[segment]
        for other, clear in others:
            assert network.closed[other] and 0.0 < clear <= network.length[other]
            assert segment in dict(network.conflicts[other])


def test_speed_falls_before_curves(network):
    for segment in range(len(network.length)):
        first, count = network.first[segment], len(course(network, segment))
        limit = network.course[first : first + count, 2]
        assert (limit[:-1] - limit[1:] <= 2.0 * 2.0 * network.step[segment] + 1e-6).all()
        assert 1.0 < limit.min() and limit.max() <= 12.0**2 + 1e-9


def swept(network, segment):
    """Return what the longest vehicle sweeps on a closed segment, each pose exact."""
    before = [k for k, after in enumerate(network.successors) if segment in after][0]
    parts = [course(network, k) for k in (before, segment, network.successors[segment][0])]
    lead = np.hypot(*np.diff(parts[0], axis=0).T).sum()
    line = np.concatenate([parts[0], parts[1][1:], parts[2][1:]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    half = 0.5 * WHEELBASE * LENGTH
    shapes = []
    for middle in np.arange(lead, lead + network.length[segment], 0.5):
        front, rear = (
            np.array([np.interp(middle + h, along, line[:, k]) for k in (0, 1)])
            for h in (half, -half)
        )
        yaw = np.arctan2(*(front - rear)[::-1])
        box = np.array([*(0.5 * (front + rear)), yaw, LENGTH, WIDTH])
        shapes.append(shapely.Polygon(corners(box)))
    return shapely.union_all(shapes)


def test_who_sweeps_the_same_ground_is_in_conflict(network):
    ends = {
        segment: (
            tuple(k for k, after in enumerate(network.successors) if segment in after),
            network.successors[segment],
        )
        for segment in np.flatnonzero(network.closed).tolist()
    }
    shapes = {segment: swept(network, segment) for segment in ends}
    found = 0
    for a, (from_a, to_a) in ends.items():
        for b, (from_b, to_b) in ends.items():
            if a < b and a not in (*from_b, *to_b) and shapes[a].intersects(shapes[b]):
                found += 1
                assert b in dict(network.conflicts[a]), (a, b)
    # Not everything: who turns right waits for fewer than half of the others.
    closed = int(network.closed.sum())
    assert closed < found < closed * closed / 4


def test_a_crossing_lets_those_pass_who_do_not_meet():
    network = LaneNetwork(RoadMap.load('town'))
    junction = [k for k in np.flatnonzero(network.closed) if len(network.conflicts[k]) > 0]
    turns = {}
    for segment in junction:
        line = course(network, segment)
        a, b = line[1] - line[0], line[-1] - line[-2]
        turns[segment] = np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
    right = [k for k, turn in turns.items() if turn < -60.0]
    left = [k for k, turn in turns.items() if turn > 60.0]
    assert right and left
    for k in right:
        assert not set(dict(network.conflicts[k])) & set(right)
    fewer = np.mean([len(network.conflicts[k]) for k in right])
    assert fewer < np.mean([len(network.conflicts[k]) for k in left])
