"""Each criterion passes a run that goes well and fails the one that it is for."""

import numpy as np
import pytest

from av_td3_ros import gates
from av_td3_ros.gate_evidence import Evidence
from av_td3_ros.options import ConfigError
from av_td3_ros.report import runs
from made_runs import evaluation, made


@pytest.fixture(scope='module')
def healthy(tmp_path_factory):
    """Return the evidence of a run of 50,000 steps that nothing is wrong with."""
    path = tmp_path_factory.mktemp('runs') / 'healthy'
    found = runs.read(made(path, 50_000)).evidence()
    return found._replace(evaluations=[evaluation(0.9), evaluation(0.9, env_step=50_000)])


def result(run, stage, criterion):
    """Return the finding of one criterion."""
    name = criterion.__doc__.split('.')[0]
    return next(f for f in gates.judge(run, stage).findings if f.criterion == name)


def with_metric(run, name, values):
    """Return the run with another last tenth of a metric."""
    column = run.metrics[name].copy()
    column[-len(column) // 10 :] = values
    return run._replace(metrics={**run.metrics, name: column})


def alert(name, step=1500):
    """Return a row of alerts.csv."""
    return {'env_step': str(step), 'name': name, 'action': 'warn', 'state': 'raised', 'text': ''}


@pytest.mark.parametrize('stage', gates.STAGES)
def test_a_run_that_goes_well_passes_every_stage(healthy, stage):
    of_then = evaluation(0.9, env_step=gates.steps(stage))
    judgement = gates.judge(healthy._replace(evaluations=[of_then]), stage)
    assert judgement.passed, [f for f in judgement.findings if not f.passed]
    assert judgement.verdict == 'GO'


def test_a_stage_holds_the_earlier_ones():
    counts = [len(criteria) for criteria in gates.STAGES.values()]
    empty = Evidence(60_000, {}, {}, None, [], {})
    found = [len(gates.judge(empty, stage).findings) - 1 for stage in gates.STAGES]
    assert found == list(np.cumsum(counts))


@pytest.mark.parametrize(
    'name, value, criterion',
    [
        ('q_policy_mean', 51.0, gates.q_policy_mean),
        ('q_policy_mean', -51.0, gates.q_policy_mean),
        ('q_policy_max', 101.0, gates.q_policy_max),
        ('q_policy_max', np.inf, gates.q_policy_max),
        ('gradient_norm_actor_total_clipped', 20.1, gates.actor_clipped),
        ('gradient_norm_critic_total_clipped', 20.1, gates.critic_clipped),
        ('feature_l2', 100.0, gates.feature_l2),
        ('critic_loss', 100.0, gates.critic_loss),
    ],
)
def test_one_value_beyond_its_limit_fails(healthy, name, value, criterion):
    finding = result(with_metric(healthy, name, value), '50k', criterion)
    assert finding.passed is False
    assert not gates.judge(with_metric(healthy, name, value), '50k').passed


def scaled(run, name, slope):
    """Return the run with a metric that goes with a power of Q."""
    size = run.metrics['q_replay_max']
    return run._replace(metrics={**run.metrics, name: 0.01 * size**slope})


def test_falling_is_measured_on_the_scale_of_q(healthy):
    assert result(scaled(healthy, 'td_error', 0.5), '5k', gates.td_error_falling).passed
    assert not result(scaled(healthy, 'td_error', 1.5), '5k', gates.td_error_falling).passed
    assert result(scaled(healthy, 'critic_loss', 1.5), '2k', gates.critic_loss_falling).passed
    assert not result(scaled(healthy, 'critic_loss', 2.5), '2k', gates.critic_loss_falling).passed


def test_a_third_is_a_median_that_an_outlier_does_not_move(healthy):
    errors = healthy.metrics['td_error'].copy()
    errors[-1] = 1000.0
    run = healthy._replace(metrics={**healthy.metrics, 'td_error': errors})
    assert result(run, '50k', gates.td_error).passed


def test_the_td_error_has_a_limit(healthy):
    run = healthy._replace(
        metrics={**healthy.metrics, 'td_error': 0 * healthy.metrics['td_error'] + 5}
    )
    assert result(run, '50k', gates.td_error).passed is False


def with_episodes(run, **columns):
    """Return the run with other columns of its episodes."""
    return run._replace(episodes={**run.episodes, **columns})


def test_returns_must_rise_and_lengths_not_fall(healthy):
    count = len(healthy.episodes['length'])
    falling = np.linspace(100.0, 70.0, count)
    flat = np.full(count, 3.0)
    assert not result(
        with_episodes(healthy, episode_return=flat), '50k', gates.return_rising
    ).passed
    assert not result(
        with_episodes(healthy, length=falling), '50k', gates.length_not_falling
    ).passed
    assert result(
        with_episodes(healthy, length=np.linspace(100.0, 95.0, count)),
        '50k',
        gates.length_not_falling,
    ).passed


def test_a_return_below_zero_can_rise(healthy):
    returns = np.linspace(-50.0, -10.0, len(healthy.episodes['length']))
    assert result(
        with_episodes(healthy, episode_return=returns), '50k', gates.return_rising
    ).passed


@pytest.mark.parametrize(
    'name, criterion',
    [
        ('gradient_explosion', gates.gradient_alerts),
        ('dead_actor', gates.gradient_alerts),
        ('non_finite', gates.gradient_alerts),
        ('q_gap', gates.q_bounded),
        ('q_unbounded', gates.q_bounded),
        ('saturation', gates.no_alert),
    ],
)
def test_an_alert_fails_its_criterion_until_the_stage_is_before_it(healthy, name, criterion):
    run = healthy._replace(alerts=[alert(name, 40_000)])
    finding = result(run, '50k', criterion)
    assert finding.passed is False and name in finding.figure
    assert gates.judge(run, '10k').passed


def test_an_alert_that_was_cleared_was_raised(healthy):
    """Though the row of it was lost, as on a full disk; a row that is there counts once."""
    cleared = {**alert('q_gap', 1600), 'state': 'cleared'}
    finding = result(healthy._replace(alerts=[cleared]), '10k', gates.q_bounded)
    assert finding.passed is False and finding.figure == '1: q_gap'
    both = [alert('q_gap'), cleared, {**cleared, 'env_step': '1700'}]
    assert result(healthy._replace(alerts=both[:2]), '10k', gates.q_bounded).value == 1
    assert result(healthy._replace(alerts=both), '10k', gates.q_bounded).value == 2


def test_few_episodes_say_nothing_of_collisions(healthy):
    few = {name: column[:19] for name, column in healthy.episodes.items()}
    run = healthy._replace(evaluations=[], episodes=few)
    finding = result(run, '50k', gates.collision_rate)
    assert finding.passed is None
    assert finding.figure == '19 episodes up to here; 20 are needed'
    enough = {name: column[:20] for name, column in healthy.episodes.items()}
    assert result(run._replace(episodes=enough), '50k', gates.collision_rate).passed


def test_alerts_that_are_ignored_do_not_pass(healthy):
    settings = {**healthy.settings, 'trainer.health.ignored': 'q_gap,saturation'}
    run = healthy._replace(settings=settings)
    assert result(run, '50k', gates.no_alert).passed is None
    assert result(run, '50k', gates.gradient_alerts).passed


def test_the_limit_after_the_clip_is_the_one_of_the_run(healthy):
    key = 'trainer.learner.optimiser.clip'
    none = healthy._replace(settings={**healthy.settings, key: 'none'})
    assert result(none, '5k', gates.critic_clipped).limit == '<= 10'
    assert result(none, '5k', gates.actor_clipped).limit == '<= 1'
    groups = healthy._replace(
        settings={**healthy.settings, key: 'group_norm'},
        metrics={
            **healthy.metrics,
            'gradient_norm_critic_clipped': healthy.metrics['feature_l2'] * 0 + 1.0,
            'gradient_norm_encoder_clipped': healthy.metrics['feature_l2'] * 0 + 21.0,
        },
    )
    assert result(groups, '5k', gates.critic_clipped).passed is False


def test_an_evaluation_must_be_better_than_random(healthy):
    assert result(healthy, '10k', gates.better_than_random).limit.endswith('warm-up')
    random = {'policy': 'random', 'metrics': {'route_completion': {'mean': 0.87}}}
    run = healthy._replace(evaluations=[evaluation(0.9, others=[random])])
    assert result(run, '10k', gates.better_than_random).passed is False  # 0.85 at least
    none = healthy._replace(evaluations=[])
    finding = result(none, '10k', gates.better_than_random)
    assert finding.passed is None and 'av-td3 evaluate' in finding.figure


@pytest.mark.parametrize(
    'other, text',
    [
        ({'camera': 'frozen'}, 'with the camera frozen'),
        ({'env_step': None}, 'does not tell its step'),
        ({'env_step': 50_000}, 'of step 50,000, not of 10,000'),
        ({'env_step': 8_333}, 'of step 8,333, not of 10,000'),
        ({'partial': True}, 'stopped before its end'),
        ({'episodes': 19}, 'is of 19 episodes; 20 are needed'),
    ],
)
def test_an_evaluation_of_something_else_judges_nothing(healthy, other, text):
    run = healthy._replace(evaluations=[evaluation(0.9, **other)])
    finding = result(run, '10k', gates.better_than_random)
    assert finding.passed is None and text in finding.figure
    busy = run._replace(settings={**run.settings, 'simulator.vehicles': 20})
    finding = result(busy, '10k', gates.collision_rate)
    assert finding.passed is None and text in finding.figure
    # On an empty road the episodes of the training tell of collisions, too.
    assert 'of the last 20' in result(run, '10k', gates.collision_rate).figure


@pytest.mark.parametrize('step', [8_334, 10_000, 20_001, 49_999])
def test_an_evaluation_counts_for_the_last_stage_that_its_step_has_reached(healthy, step):
    run = healthy._replace(evaluations=[evaluation(0.9, env_step=step)])
    finding = result(run, '10k', gates.better_than_random)
    assert finding.passed and finding.figure.endswith(f'step {step:,}')


def test_each_stage_takes_its_own_evaluation(healthy):
    bad = evaluation(0.01, env_step=10_000)
    run = healthy._replace(evaluations=[evaluation(0.9, env_step=50_000), bad])
    assert result(run, '50k', gates.better_than_random).passed is True
    assert result(run, '10k', gates.better_than_random).passed is False


def test_random_driving_of_a_short_route_counts_as_the_same_way_on_a_whole_one(healthy):
    """Cut to 40 m, a route is half as long as those that are measured are at least."""
    lengths = healthy.episodes['route_length']
    short = with_episodes(healthy, route_length=lengths * 0.0 + 40.0)
    whole, cut = (
        float(result(run, '10k', gates.better_than_random).limit[2:].split('%')[0])
        for run in (healthy, short)
    )
    assert cut == pytest.approx(whole / 2.0, abs=0.06)


def test_collisions_count_on_an_empty_road_only(healthy):
    reasons = healthy.episodes['reason'].copy()
    reasons[-100:] = 'collision'
    run = with_episodes(healthy._replace(evaluations=[]), reason=reasons)
    assert result(run, '50k', gates.collision_rate).passed is False
    busy = run._replace(settings={**run.settings, 'simulator.vehicles': 20})
    assert result(busy, '50k', gates.collision_rate).passed is None
    among = evaluation(0.9, env_step=50_000, vehicles=20)
    alone = evaluation(0.9, env_step=50_000)
    told = result(busy._replace(evaluations=[among, alone]), '50k', gates.collision_rate)
    assert told.passed and told.figure == '0% of the evaluation'
    assert result(busy._replace(evaluations=[among]), '50k', gates.collision_rate).passed is None


def test_two_encoders_must_learn_alike(healthy):
    settings = {**healthy.settings, 'trainer.learner.network.shared_encoder': False}
    encoder = healthy.metrics['gradient_norm_encoder']
    for factor, passed in ((9.0, True), (11.0, False)):
        metrics = {**healthy.metrics, 'gradient_norm_actor_encoder': factor * encoder}
        run = healthy._replace(settings=settings, metrics=metrics)
        assert result(run, '50k', gates.encoder_gradient_ratio).passed is passed


def test_what_is_not_there_is_not_judged(healthy):
    empty = Evidence(60_000, {}, {}, None, [], {})
    judgement = gates.judge(empty, '50k')
    assert judgement.verdict == 'NO-GO'
    assert {f.passed for f in judgement.findings} == {True, None}  # it has driven its steps
    assert all(f.figure for f in judgement.findings)


def test_a_shorter_run_is_no_go(healthy):
    judgement = gates.judge(healthy._replace(env_steps=49_999), '50k')
    assert judgement.findings[0].passed is None and not judgement.passed
    assert 'shorter' in judgement.findings[0].figure


def test_another_stage_is_refused(healthy):
    with pytest.raises(ConfigError, match='--stage must be one of 2k, 5k, 10k, 50k, got 3k'):
        gates.judge(healthy, '3k')


def test_stages_are_reached_in_order():
    assert gates.reached(1999) == []
    assert gates.reached(2000) == ['2k']
    assert gates.reached(60_000) == ['2k', '5k', '10k', '50k']
