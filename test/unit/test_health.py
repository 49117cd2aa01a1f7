"""Alerts: each fires on its symptom and is quiet in health; none flaps; each key has an effect."""

import math

import pytest

from av_td3_ros.learning_config import ALERTS, HealthConfig, LearnerConfig
from av_td3_ros.options import build, ConfigError, options
from av_td3_ros.td3.health import Monitor, TEXTS
from av_td3_ros.td3.health_checks import OF_EPISODES, OF_RECORDS

# A record and an episode of a healthy run of preset recommended; |reward| up to 1, discount 0.97.
RECORD = {
    'q_replay_mean': 8.0,
    'q_replay_min': -2.0,
    'q_replay_max': 19.0,
    'q_replay_std': 3.0,
    'q_policy_mean': 11.0,
    'q_policy_min': -1.0,
    'q_policy_max': 21.0,
    'td_error': 0.4,
    'feature_l2': 83.0,
    'feature_l2_seen': 11.0,
    'gradient_norm_critic_total': 2.0,
    'gradient_norm_actor': 0.3,
    'gradient_norm_actor_clipped': 0.3,
    'tanh_saturation': 0.4,
}
EPISODE = {
    'episode_return': 50.0,
    'mean_speed': 6.0,
    'route_completion': 0.8,
    'reward_progress': 55.0,
    'reward_lateral_deviation': -3.0,
    'reward_failure': 0.0,
}
# What each alert is about, as a change of that; then a second one that is bad in another way.
SICK_RECORDS = {
    'q_unbounded': [{'q_policy_max': 34.0}, {'q_replay_min': -34.0}],
    'q_gap': [{'q_policy_mean': 349.0}, {'q_policy_mean': -60.0}],
    'feature_explosion': [
        {'feature_l2_seen': 101.0},
        {'feature_l2': 1.4e8},
        {'actor_feature_l2_seen': 2165.0},
    ],
    'gradient_explosion': [
        {'gradient_norm_critic_total': 1.1e4},
        {'gradient_norm_actor_encoder': 35421.0},
    ],
    'saturation': [{'tanh_saturation': 1.0}],
    'dead_actor': [
        {'tanh_saturation': 1.0, 'gradient_norm_actor': 0.0},
        {'tanh_saturation': 1.0, 'gradient_norm_actor': 1e-4},
    ],
    'td_error_stuck': [{'td_error': 9.7}],
}
SICK_EPISODES = {
    'return_collapse': [{'episode_return': 6.0}, {'episode_return': -40.0}],
    'standing_still': [{'mean_speed': 0.1}],
    'reward_dominance': [{'route_completion': 0.1}],
}
# Near, but healthy.
WELL_RECORDS = {
    'q_unbounded': {'q_policy_max': 33.0},
    'q_gap': {'q_policy_mean': 30.0},
    'feature_explosion': {'feature_l2': 9.9e3, 'feature_l2_seen': 99.0},
    'gradient_explosion': {'gradient_norm_critic_total': 9.9e3},
    'saturation': {'tanh_saturation': 0.97},
    'dead_actor': {'tanh_saturation': 0.5, 'gradient_norm_actor': 0.0},
    'td_error_stuck': {'td_error': 5.0},
}
WELL_EPISODES = {
    'return_collapse': {'episode_return': 30.0},
    'standing_still': {'mean_speed': 0.6},
    'reward_dominance': {'route_completion': 0.6},
}


def monitor(**keys):
    made = Monitor(build(HealthConfig, keys, 'the test'), LearnerConfig())
    made.reward(-1.0)
    made.reward(0.5)
    return made


def feed(it, kind, changes, count):
    """Return the names of what was raised, or cleared with a minus, in order."""
    base, take = (RECORD, it.record) if kind == 'record' else (EPISODE, it.episode)
    seen = []
    for i in range(count):
        row = {**base, **changes}
        if 'episode_return' in row:  # returns vary
            row['episode_return'] += (-1) ** i
        seen += [('' if alert.state == 'raised' else '-') + alert.name for alert in take(row)]
    return seen


def cases(sick):
    return [(name, changes) for name, several in sick.items() for changes in several]


# -- each alert -----------------------------------------------------------------------------------


def test_every_alert_has_a_check_a_text_and_both_tests():
    assert set(ALERTS) == set(OF_RECORDS) | set(OF_EPISODES)
    assert set(TEXTS) == {'non_finite', *ALERTS}
    assert set(ALERTS) == set(SICK_RECORDS) | set(SICK_EPISODES)
    assert set(ALERTS) == set(WELL_RECORDS) | set(WELL_EPISODES)


@pytest.mark.parametrize('name, changes', cases(SICK_RECORDS))
def test_an_alert_of_records_fires_and_clears(name, changes):
    it = monitor()
    assert feed(it, 'record', {}, 50) == []
    raised = feed(it, 'record', changes, 50)
    assert name in raised and not set(raised) - {name, 'saturation', 'q_gap', 'q_unbounded'}
    assert len(raised) == len(set(raised)) and set(it.active) == set(raised)
    text = it.active[name].text
    assert text.startswith(f'{name}: ') and '; ' in text
    assert sorted(feed(it, 'record', {}, 50)) == sorted(f'-{alert}' for alert in raised)
    assert not it.active


@pytest.mark.parametrize('name, changes', cases(SICK_EPISODES))
def test_an_alert_of_episodes_fires_and_clears(name, changes):
    it = monitor()
    assert feed(it, 'episode', {}, 30) == []
    assert feed(it, 'episode', changes, 30) == [name]
    alert = it.active[name]
    assert alert.value > alert.limit and not alert.stops
    assert feed(it, 'episode', {}, 30) == [f'-{name}']


@pytest.mark.parametrize('name', WELL_RECORDS)
def test_an_alert_of_records_is_quiet_below_its_limit(name):
    assert feed(monitor(), 'record', WELL_RECORDS[name], 100) == []


def test_an_actor_that_comes_back_was_not_saturated():
    it = monitor()
    assert feed(it, 'record', {'tanh_saturation': 1.0}, 7) == []
    assert feed(it, 'record', {}, 1) == []
    assert feed(it, 'record', {'tanh_saturation': 1.0}, 7) == []
    assert feed(it, 'record', {'tanh_saturation': 1.0}, 1) == ['saturation']


@pytest.mark.parametrize('name', WELL_EPISODES)
def test_an_alert_of_episodes_is_quiet_below_its_limit(name):
    it = monitor()
    feed(it, 'episode', {}, 30)
    assert feed(it, 'episode', WELL_EPISODES[name], 60) == []


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_an_alert_at_once(bad):
    it = monitor()
    (alert,) = it.record({**RECORD, 'q_replay_std': bad})
    assert (alert.name, alert.action, alert.stops) == ('non_finite', 'halt', True)
    assert f'q_replay_std is {bad}' in alert.text
    (alert,) = monitor(on_halt='warn').failed('critic_loss is nan')
    assert alert.action == 'halt', 'there is nothing to go on with'


# -- when -----------------------------------------------------------------------------------------


def test_one_noisy_record_changes_nothing():
    it = monitor()
    sick, near = {'feature_l2_seen': 5e4}, {'feature_l2_seen': 90.0}
    for changes, expected in (
        (sick, []),
        (sick, []),
        ({}, []),
        (sick, []),
        (sick, []),
        (sick, ['feature_explosion']),
        ({}, []),
        ({}, []),
        (sick, []),
        ({}, []),
        ({}, []),
        (near, []),  # below the limit, but not well below
        ({}, []),
        ({}, []),
        ({}, ['-feature_explosion']),
    ):
        assert feed(it, 'record', changes, 1) == expected


def test_a_warning_becomes_a_halt_beyond_the_second_limit():
    it = monitor()
    feed(it, 'record', {'gradient_norm_critic_total': 2e4}, 5)
    alert = it.active['gradient_explosion']
    assert (alert.action, alert.limit, alert.stops) == ('warn', 1e4, False)
    assert not it.suspicious
    assert feed(it, 'record', {'gradient_norm_critic_total': 2e5}, 2) == [] and it.suspicious
    assert feed(it, 'record', {'gradient_norm_critic_total': 2e5}, 5) == ['gradient_explosion']
    alert = it.active['gradient_explosion']
    assert (alert.action, alert.value, alert.limit, alert.stops) == ('halt', 2e5, 1e5, True)


def test_actor_metrics_that_were_not_computed_are_not_judged():
    it = monitor()
    record = {name: x for name, x in RECORD.items() if 'policy' not in name and 'tanh' not in name}
    for _ in range(10):
        assert it.record(record) == []
    assert 'saturation' not in it.readings and 'feature_explosion' in it.readings


def test_a_return_that_never_rose_has_not_collapsed():
    it = monitor()
    for i in range(100):
        assert it.episode({**EPISODE, 'episode_return': 3.0 + 20.0 * (-1) ** i}) == []


def test_a_dominance_around_its_limits_does_not_flap():
    """Neither around half of the routes, nor around the limit of the share."""
    it = monitor(episodes=4)
    assert feed(it, 'episode', {'route_completion': 0.49}, 4) == ['reward_dominance']
    for i in range(20):
        assert feed(it, 'episode', {'route_completion': 0.45 + 0.1 * (i % 2)}, 1) == []
    for i in range(20):
        other = {'route_completion': 0.49, 'reward_failure': -4.0 * (i % 2)}  # 88 % to 95 %
        assert feed(it, 'episode', other, 1) == []
    assert feed(it, 'episode', {'route_completion': 0.64}, 4) == ['-reward_dominance']
    assert feed(it, 'episode', {'route_completion': 0.49}, 8) == ['reward_dominance']
    others = {'route_completion': 0.49, 'reward_failure': -30.0}
    assert feed(it, 'episode', others, 4) == ['-reward_dominance']


def fluctuating(it, mean, count):
    """Take episodes whose returns have a standard deviation of 5; return what they changed."""
    return [
        f'{alert.state} {alert.name}'
        for i in range(count)
        for alert in it.episode({**EPISODE, 'episode_return': mean + 5.0 * (-1) ** i})
    ]


def test_a_best_return_near_zero_is_no_measure_of_what_was_lost():
    it = monitor()
    assert fluctuating(it, 0.05, 30) == [] and fluctuating(it, -1.0, 40) == []
    assert it.readings['return_collapse'] < 0.5
    assert fluctuating(it, -20.0, 40) == ['raised return_collapse']
    assert 1.0 < it.readings['return_collapse'] < 10.0
    assert fluctuating(it, -1.0, 40) == ['cleared return_collapse']


def test_a_td_error_that_falls_is_not_stuck():
    it = monitor()
    for i in range(100):
        assert it.record({**RECORD, 'td_error': 100.0 * 0.98**i}) == []


def test_small_values_at_the_start_are_no_gap():
    it = monitor()
    start = {'q_replay_mean': 0.01, 'q_replay_std': 0.02, 'q_policy_mean': 0.4}
    assert feed(it, 'record', start, 20) == []


def test_the_bound_of_q_follows_the_discount_and_the_scale_of_rewards():
    learner = build(LearnerConfig, {'discount': 0.9, 'reward_scale': 20.0, 'n_step': 5}, 'x')
    it = Monitor(HealthConfig(), learner)
    it.reward(-1.5)
    assert it.history.q_bound == pytest.approx(1.5 * 20.0 / 0.1)


def test_after_a_roll_back_all_is_judged_anew():
    it = monitor(on_halt='rollback')
    feed(it, 'record', {'feature_l2_seen': 5e4}, 3)
    (cleared,) = it.forget()
    assert (cleared.name, cleared.state, cleared.action) == (
        'feature_explosion',
        'cleared',
        'rollback',
    )
    assert not it.active and not it.suspicious and it.history.largest_reward == 1.0


# -- keys -----------------------------------------------------------------------------------------


def outcome(keys, kind, changes, count):
    it = monitor(**keys)
    feed(it, kind, {}, 30)
    feed(it, kind, changes, count)
    return [(alert.name, alert.action, alert.limit) for alert in it.active.values()]


EFFECTS = {
    'halting': ('saturation', 'record', {'tanh_saturation': 1.0}, 10),
    'on_halt': ('warn', 'record', {'gradient_norm_actor': 1e7}, 5),
    'ignored': ('saturation', 'record', {'tanh_saturation': 1.0}, 10),
    'patience': (1, 'record', {'q_replay_max': 50.0}, 1),
    'episodes': (5, 'episode', {'mean_speed': 0.0}, 5),
    'records': (60, 'record', {'td_error': 9.7}, 25),
    'reward_bound': (2.0, 'record', {'q_replay_max': 50.0}, 5),
    'q_warn': (2.0, 'record', {'q_replay_max': 50.0}, 5),
    'q_halt': (1.2, 'record', {'q_replay_max': 50.0}, 5),
    'gap_warn': (1.0, 'record', {'q_policy_mean': 25.0}, 5),
    'gap_halt': (4.0, 'record', {'q_policy_mean': 70.0}, 5),
    'feature_warn': (10.0, 'record', {}, 5),
    'feature_halt': (1000.0, 'record', {'feature_l2_seen': 2165.0}, 5),
    'gradient_warn': (1.0, 'record', {}, 5),
    'gradient_halt': (2e4, 'record', {'gradient_norm_actor': 3e4}, 5),
    'saturation': (0.3, 'record', {}, 10),
    'saturation_patience': (1, 'record', {'tanh_saturation': 1.0}, 3),
    'dead_gradient': (1e-4, 'record', {'tanh_saturation': 1.0, 'gradient_norm_actor': 5e-4}, 5),
    'td_error': (0.01, 'record', {}, 20),
    'return_drop': (0.2, 'episode', {'episode_return': 35.0}, 30),
    'standing_speed': (7.0, 'episode', {}, 5),
    'standing_share': (0.1, 'episode', {'mean_speed': 0.0}, 5),
    'reward_share': (0.5, 'episode', {'route_completion': 0.3, 'reward_failure': -20.0}, 30),
}


def test_every_key_is_listed():
    # Roll-backs are the guard's: test_health_guard.py.
    assert {item.key for item in options(HealthConfig)} == {*EFFECTS, 'rollbacks'}


@pytest.mark.parametrize('key', EFFECTS)
def test_a_key_has_an_effect(key):
    value, *rest = EFFECTS[key]
    assert outcome({key: value}, *rest) != outcome({}, *rest)


@pytest.mark.parametrize(
    'keys, text',
    [
        ({'ignored': 'satuation'}, "ignored must name alerts, got 'satuation'; known: q_unb"),
        ({'halting': 'non_finite'}, "halting must name alerts, got 'non_finite'"),
        ({'q_halt': 0.5}, 'q_halt must be >= q_warn 1, got 0.5'),
        ({'on_halt': 'shout'}, 'on_halt must be one of halt, rollback, warn'),
    ],
)
def test_contradictions_are_refused(keys, text):
    with pytest.raises(ConfigError, match=text.replace('(', r'\(')):
        build(HealthConfig, keys, 'the test')
