"""Where an episode was driven: thinned, bounded, and kept through a kill."""

import csv
import math

from hypothesis import given, settings, strategies
import pytest

from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.trail import MOST, SPACING, Trail
from av_td3_ros.run_folder import RunFolder


def driven(steps, step):
    trail = Trail(Pose(0.0, 5.0))
    for number in range(1, steps + 1):
        trail.add(Pose(step * number, 5.0))
    return trail.points


def test_a_trail_has_both_ends_and_a_point_every_two_metres():
    points = driven(100, 0.5)
    assert points[0] == (0.0, 5.0) and points[-1] == (50.0, 5.0)
    assert [b[0] - a[0] for a, b in zip(points, points[1:])] == [SPACING] * 25


def test_the_end_is_where_it_is_now_even_between_two_points():
    assert driven(3, 0.5) == ((0.0, 5.0), (1.5, 5.0))


def test_who_never_moved_has_one_point():
    assert driven(50, 0.0) == ((0.0, 5.0),)


@settings(max_examples=30)
@given(strategies.integers(1, 20_000), strategies.floats(0.0, 3.0))
def test_a_trail_is_bounded_and_ends_where_the_vehicle_is(steps, step):
    points = driven(steps, step)
    assert len(points) <= MOST + 1
    assert points[0] == (0.0, 5.0) and points[-1] == (step * steps, 5.0)
    assert all(a[0] < b[0] for a, b in zip(points, points[1:]))


def episode(number, trail):
    return {'env_step': number, 'outcome': 'terminated', 'reason': 'goal', 'trail': trail}


def rows(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def test_a_run_writes_the_trail_beside_its_episodes(tmp_path):
    run = RunFolder(tmp_path)
    run.add_episode(episode(7, ((1.0, -2.04), (3.26, 4.0))))
    run.add_episode(episode(8, ()))
    assert [row['env_step'] for row in rows(tmp_path / 'episodes.csv')] == ['7', '8']
    assert 'trail' not in rows(tmp_path / 'episodes.csv')[0]
    (row,) = rows(tmp_path / 'trajectories.csv')
    assert (row['reason'], row['points']) == ('goal', '1.0 -2.0 3.3 4.0')
    run.close()


@pytest.mark.parametrize('name', ['episodes', 'trajectories'])
def test_a_run_that_goes_on_after_a_kill_within_a_row_loses_that_row_alone(tmp_path, name):
    for begin in (0, 10):
        run = RunFolder(tmp_path)
        for number in range(begin, begin + 3):
            run.add_episode(episode(number, ((0.0, 0.0), (1.0, 1.0))))
        run.close()
        if not begin:
            path = tmp_path / f'{name}.csv'
            path.write_bytes(path.read_bytes()[:-5])
    found = [row['env_step'] for row in rows(path) if None not in row.values()]
    assert [step for step in found if step != '2'] == ['0', '1', '10', '11', '12']


def test_every_step_of_an_episode_is_on_its_trail():
    trail, places = Trail(Pose(0.0, 0.0)), []
    for number in range(400):
        places.append((40.0 * math.cos(number / 30), 40.0 * math.sin(number / 30)))
        trail.add(Pose(*places[-1]))
    assert all(min(math.dist(at, point) for point in trail.points) < SPACING for at in places)
