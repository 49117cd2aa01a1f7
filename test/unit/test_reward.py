"""Each reward term by hand, bounded, and weighted by the configured weight and no other."""

from dataclasses import fields, replace
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from av_td3_ros.config import RewardConfig
from av_td3_ros.driving import reward
from av_td3_ros.driving.reward import StepFacts

CALM = StepFacts(
    advance=0.0,
    lateral_deviation=0.0,
    heading_error=0.0,
    speed=0.0,
    steering=0.0,
    last_steering=0.0,
    duration=0.05,
    reason='',
)
CONFIG = RewardConfig()


@pytest.mark.parametrize(
    'name, facts, value',
    [
        ('progress', CALM._replace(advance=8.33 * 0.05), 1.0),
        ('progress', CALM._replace(advance=8.33 * 0.025), 0.5),
        ('progress', CALM._replace(advance=-100.0), -1.0),
        ('lateral_deviation', CALM._replace(lateral_deviation=-1.0), -0.5),
        ('lateral_deviation', CALM._replace(lateral_deviation=9.0), -1.0),
        ('heading_error', CALM._replace(heading_error=math.pi / 4), -0.5),
        ('steering_change', CALM._replace(steering=0.5, last_steering=-0.5), -0.5),
        ('overspeed', CALM._replace(speed=8.33 * 1.25), -0.25),
        ('overspeed', CALM._replace(speed=8.0), 0.0),
        ('failure', CALM._replace(reason='collision'), -1.0),
        ('failure', CALM._replace(reason='goal'), 0.0),
        ('failure', CALM._replace(reason='time_limit'), 0.0),
        ('goal', CALM._replace(reason='goal'), 1.0),
        ('goal', CALM._replace(reason='lane_exit'), 0.0),
    ],
)
def test_terms_by_hand(name, facts, value):
    assert reward.TERMS[name](facts, CONFIG) == pytest.approx(value)
    weight = getattr(CONFIG, name)
    assert reward.score(facts, CONFIG)[name] == pytest.approx(weight * value)


@pytest.mark.parametrize('name', sorted(reward.TERMS))
def test_a_configured_weight_is_the_one_that_is_applied(name):
    facts = StepFacts(
        0.2, 1.0, 0.5, 12.0, 0.5, -0.5, 0.05, 'goal' if name == 'goal' else 'collision'
    )
    once = reward.score(facts, replace(CONFIG, **{name: 1.0}))[name]
    assert once != 0.0
    assert reward.score(facts, replace(CONFIG, **{name: 3.0}))[name] == pytest.approx(3.0 * once)


def test_every_term_has_a_weight_of_its_name():
    assert {item.name for item in fields(RewardConfig)} == set(reward.TERMS) | {'target_speed'}


finite = st.floats(-1e6, 1e6)


@given(
    finite,
    finite,
    st.floats(-4, 4),
    st.floats(-100, 100),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.sampled_from(['', 'goal', 'time_limit', *sorted(reward.FAILURES)]),
)
def test_every_term_is_bounded(advance, lateral, heading, speed, steering, last, reason):
    facts = StepFacts(advance, lateral, heading, speed, steering, last, 0.05, reason)
    for name, term in reward.TERMS.items():
        assert -1.0 <= term(facts, CONFIG) <= 1.0, name
