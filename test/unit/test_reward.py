"""Each reward term by hand, bounded, and weighted by the configured weight and no other."""

from dataclasses import fields, replace
import math
from pathlib import Path
import sys

from hypothesis import given
from hypothesis import strategies as st
import pytest

from av_td3_ros.config import build_run, EpisodeConfig, RewardConfig
from av_td3_ros.datatypes import Pose, VehicleState
from av_td3_ros.driving import reward
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.reward import Reward, StepFacts, TERMS
from av_td3_ros.driving.route import Route
from av_td3_ros.options import ConfigError, options

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import write_tables  # noqa: E402

CALM = StepFacts(
    advance=0.0,
    lateral_deviation=0.0,
    heading_error=0.0,
    speed=0.0,
    steering=0.0,
    last_steering=0.0,
    duration=0.05,
    reason='',
    terminated=False,
    remaining=100.0,
    last_remaining=100.0,
    furthest=50.1,
    last_furthest=50.1,
    route_length=200.0,
    jerk=0.0,
    lateral_acceleration=0.0,
)
CONFIG = RewardConfig()
OFF = replace(CONFIG, **{name: 0.0 for name in TERMS})
NO_WEIGHT = {
    'target_speed',
    'jerk_limit',
    'lateral_acceleration_limit',
    'shaping_discount',
}


@pytest.mark.parametrize(
    'name, facts, value',
    [
        ('progress', dict(advance=8.33 * 0.05), 1.0),
        ('progress', dict(advance=8.33 * 0.025), 0.5),
        ('progress', dict(advance=-100.0), -1.0),
        ('lateral_deviation', dict(lateral_deviation=-1.0), -0.5),
        ('lateral_deviation', dict(lateral_deviation=9.0), -1.0),
        ('heading_error', dict(heading_error=math.pi / 4), -0.5),
        ('steering_change', dict(steering=0.5, last_steering=-0.5), -0.5),
        ('overspeed', dict(speed=8.33 * 1.25), -0.25),
        ('overspeed', dict(speed=8.0), 0.0),
        ('collision', dict(reason='collision'), -1.0),
        ('collision', dict(reason='off_road'), 0.0),
        ('lane_exit', dict(reason='lane_exit'), -1.0),
        ('off_road', dict(reason='off_road'), -1.0),
        ('wrong_way', dict(reason='wrong_way'), -1.0),
        ('standing_still', dict(reason='standing_still'), -1.0),
        ('standing_still', dict(reason='time_limit'), 0.0),
        ('goal', dict(reason='goal'), 1.0),
        ('goal', dict(reason='lane_exit'), 0.0),
        ('waypoint', dict(last_furthest=51.9, furthest=52.1), 1.0),
        ('waypoint', dict(last_furthest=52.1, furthest=52.5), 0.0),
        ('goal_distance', dict(remaining=99.0), 0.5 - 0.97 * 99.0 / 200.0),
        ('goal_distance', dict(remaining=99.0, terminated=True), 0.5),
        ('efficiency', dict(speed=8.33), 1.0),
        ('efficiency', dict(speed=8.33 * 1.25), 0.75),
        ('efficiency', dict(speed=-3.0), 0.0),
        ('jerk', dict(jerk=-2.5), -0.5),
        ('jerk', dict(jerk=50.0), -1.0),
        ('lateral_acceleration', dict(lateral_acceleration=-1.5), -0.5),
        ('perot', dict(speed=8.33 / 2), 0.5),
        ('perot', dict(speed=8.33, heading_error=math.pi / 3, lateral_deviation=-1.0), -0.5),
        ('potential_field', dict(lateral_deviation=0.9), 0.0),
        ('potential_field', dict(lateral_deviation=-1.2), -0.0625),
        ('potential_field', dict(lateral_deviation=1.5), -1.0),
        ('potential_field', dict(lateral_deviation=5.0), -1.0),
        ('roach', dict(speed=8.33), 1.0),
        ('roach', dict(speed=8.33, lateral_deviation=0.5, heading_error=-0.25), 0.5),
        ('roach', dict(speed=8.33, steering=0.02), 0.9),
    ],
)
def test_terms_by_hand(name, facts, value):
    facts = CALM._replace(**facts)
    assert TERMS[name](facts, CONFIG) == pytest.approx(value)
    scored = Reward(replace(OFF, **{name: 2.5})).score(facts)
    assert scored == {name: pytest.approx(2.5 * value)}


EVENTFUL = CALM._replace(
    advance=0.2,
    lateral_deviation=1.2,
    heading_error=0.5,
    speed=12.0,
    steering=0.5,
    last_steering=-0.5,
    remaining=99.8,
    furthest=52.3,
    last_furthest=51.9,
    jerk=3.0,
    lateral_acceleration=2.0,
)


@pytest.mark.parametrize('name', TERMS)
def test_a_configured_weight_is_the_one_that_is_applied(name):
    """Each weight changes the term of its name by just that, and no other."""
    facts = EVENTFUL._replace(reason=name if name in reward.FAILURES | {'goal'} else '')
    given = replace(CONFIG, **{other: 1.0 for other in TERMS})
    before = Reward(given).score(facts)
    after = Reward(replace(given, **{name: 3.5})).score(facts)
    assert before[name] != 0.0
    assert after == {**before, name: pytest.approx(3.5 * before[name])}


@pytest.mark.parametrize(
    'key, term, value',
    [
        ('target_speed', 'progress', 0.2 / (4.0 * 0.05)),
        ('jerk_limit', 'jerk', -3.0 / 4.0),
        ('lateral_acceleration_limit', 'lateral_acceleration', -2.0 / 4.0),
        ('shaping_discount', 'goal_distance', 0.5 - 0.5 * 99.8 / 200.0),
    ],
)
def test_limits_are_those_that_are_configured(key, term, value):
    config = replace(OFF, **{term: 1.0, key: 0.5 if key == 'shaping_discount' else 4.0})
    assert Reward(config).score(EVENTFUL) == {term: pytest.approx(value)}


def test_every_term_has_a_weight_of_its_name():
    assert {item.name for item in fields(RewardConfig)} == set(TERMS) | NO_WEIGHT
    assert all(item.low == 0.0 for item in options(RewardConfig) if item.key in TERMS)


def test_a_term_without_weight_is_not_computed(monkeypatch):
    def computed(step, config):
        raise AssertionError('a term of weight 0 was computed')

    for name in TERMS:
        monkeypatch.setitem(TERMS, name, computed)
    assert Reward(OFF).score(CALM) == {} and Reward(OFF).names == ()


finite = st.floats(-1e6, 1e6)
FACTS = st.builds(
    StepFacts,
    advance=finite,
    lateral_deviation=finite,
    heading_error=st.floats(-4, 4),
    speed=st.floats(-100, 100),
    steering=st.floats(-1, 1),
    last_steering=st.floats(-1, 1),
    duration=st.just(0.05),
    reason=st.sampled_from(['', 'goal', 'time_limit', *sorted(reward.FAILURES)]),
    terminated=st.booleans(),
    remaining=st.floats(0, 1000),
    last_remaining=st.floats(0, 1000),
    furthest=st.floats(0, 1000),
    last_furthest=st.floats(0, 1000),
    route_length=st.floats(20, 5000),
    jerk=finite,
    lateral_acceleration=finite,
)


@given(FACTS)
def test_every_term_keeps_the_bounds_that_it_states(facts):
    for name, term in TERMS.items():
        low, high = write_tables.term_bounds(name)
        assert low <= term(facts, CONFIG) <= high, name


def today(step):
    """Return the reward as it was before single endings had weights and others were on offer."""

    def bounded(value):
        return max(-1.0, min(1.0, value))

    return sum(
        (
            0.6 * bounded(step.advance / (8.33 * step.duration)),
            0.25 * -min(abs(step.lateral_deviation) / 2.0, 1.0),
            0.15 * -min(abs(step.heading_error) / (math.pi / 2.0), 1.0),
            0.05 * -min(abs(step.steering - step.last_steering) / 2.0, 1.0),
            1.0 * -min(max(step.speed / 8.33 - 1.0, 0.0), 1.0),
            1.0 * (-1.0 if step.reason in reward.FAILURES else 0.0),
            1.0 * (1.0 if step.reason == 'goal' else 0.0),
        )
    )


@given(FACTS)
def test_the_default_is_bit_for_bit_what_results_were_measured_with(facts):
    assert sum(Reward(CONFIG).score(facts).values()) == today(facts)


def test_an_episode_supplies_the_facts(monkeypatch):
    seen = []
    monkeypatch.setattr(Reward, 'score', lambda self, step: seen.append(step) or {})
    route = Route.from_points(np_line(100))
    episode = Episode(EpisodeConfig(), route, VehicleState(Pose(10.0, 0.0)), 0.05)
    for x, speed, steering in ((11.0, 1.0, 0.5), (13.0, 3.0, 0.25), (12.0, 4.0, 0.0)):
        episode.step(VehicleState(Pose(x, 0.5), speed, yaw_rate=0.5), steering, True, False)
    first, second, third = seen
    assert (first.jerk, second.jerk, third.jerk) == pytest.approx((0.0, 400.0, -400.0))
    assert [step.advance for step in seen] == pytest.approx([1.0, 2.0, -1.0])
    assert [step.remaining for step in seen] == pytest.approx([88.0, 86.0, 87.0])
    assert [step.last_remaining for step in seen] == pytest.approx([89.0, 88.0, 86.0])
    assert [step.furthest for step in seen] == pytest.approx([11.0, 13.0, 13.0])
    assert [step.last_furthest for step in seen] == pytest.approx([10.0, 11.0, 13.0])
    assert second.lateral_acceleration == pytest.approx(1.5)
    assert (second.steering, second.last_steering) == (0.25, 0.5)
    assert first.route_length == pytest.approx(99.0) and not third.terminated


def test_shaping_telescopes_to_what_does_not_depend_on_the_way():
    """Ng et al. 1999: the discounted sum is the potential of the start alone, whatever is done."""
    route, gamma = Route.from_points(np_line(60)), 0.9
    config = EpisodeConfig(reward=replace(OFF, goal_distance=1.0, shaping_discount=gamma))
    for way in ([5.0, 9.0, 40.0, 57.0], [3.0, 2.0, 3.0, 1.0, 20.0, 50.0, 58.0]):
        episode = Episode(config, route, VehicleState(Pose(0.0, 0.0)), 0.05)
        steps = [
            episode.step(VehicleState(Pose(x, 0.0), 5.0), 0.0, True, False).reward for x in way
        ]
        assert sum(gamma**i * value for i, value in enumerate(steps)) == pytest.approx(1.0)


def test_shaping_needs_the_discount_of_the_learner():
    key = 'episode_manager.reward.goal_distance'
    build_run({key: 1.0}, 'x')
    with pytest.raises(ConfigError, match='shaping_discount must be trainer.learner.discount'):
        build_run({key: 1.0, 'trainer.learner.discount': 0.99}, 'x')


def np_line(count):
    return [(float(x), 0.0) for x in range(count)]
