"""What the policy does not see: critics learn by it, features learn to predict it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from av_td3_ros.config import EpisodeConfig, ObservationConfig
from av_td3_ros.datatypes import Outcome, Pose, SpecError, VehicleState
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.route import Route
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.options import build
from av_td3_ros.task_config import OBSERVATIONS, PRIVILEGED_NAMES, unseen
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.replay import ReplayBuffer
from learners import EXACT, make_batch, PRIVILEGED, SEEING, small, SPEC

SIZE = PRIVILEGED
ON = {**SEEING, 'policy_delay': 1}
CAMERA = OBSERVATIONS['camera'].values


def batch_with(seed=0, **fields):
    return make_batch(seed=seed, privileged=SIZE, **fields)


def other_privileged(batch):
    vectors = [np.hstack([x[:, :2], -x[:, 2:]]) for x in (batch.vector, batch.next_vector)]
    return batch._replace(vector=vectors[0], next_vector=vectors[1])


def test_the_policy_has_no_input_for_it_and_the_critics_have():
    agent = TD3(SPEC, small(**ON))
    features = agent.policy.encoder.feature_size
    assert agent.policy.actor.layers[0].in_features == features + SPEC.vector_size
    assert agent.critic.q[0][0].in_features == features + SPEC.vector_size + SIZE + 2


@pytest.mark.parametrize('sees', [True, False])
def test_values_depend_on_it_where_the_critics_see_it(sees):
    config = small(**{**ON, 'privileged_critics': sees}, **EXACT)
    one = TD3(SPEC, config).update(batch_with())
    two = TD3(SPEC, config).update(other_privileged(batch_with()))
    for name in ('q_target_mean', 'q_replay_mean', 'q_policy_mean'):
        assert (one[name] != two[name]) == sees
    assert one['action_std'] == two['action_std']  # before the first step: of the same actions
    assert one['prediction_error'] != two['prediction_error']


def test_the_error_is_that_of_one_linear_layer_by_hand():
    agent, batch = TD3(SPEC, small(**ON, **EXACT)), batch_with()
    with torch.no_grad():
        features = agent.policy.encoder(torch.from_numpy(batch.image)).numpy()
    weight, bias = (p.detach().numpy() for p in agent.predictor.parameters())
    predicted = np.hstack([features, batch.vector[:, :2]]) @ weight.T + bias
    wanted = np.sqrt(np.square(predicted - batch.vector[:, 2:]).mean())
    assert agent.update(batch)['prediction_error'] == pytest.approx(wanted, abs=1e-5)


def test_features_learn_to_predict_what_is_in_the_image():
    """Where something bright is tells it; the predictor alone does not find it."""
    rng = np.random.default_rng(0)
    column = rng.integers(2, 34, 16)
    image = np.zeros((16, *SPEC.image_shape), np.uint8)
    for each, at in zip(image, column):
        each[:, 10:26, at - 2 : at + 2] = 255
    batch = batch_with(image=image)
    batch.vector[:, 2:] = (column[:, None] - 18.0) / 16.0
    errors = []
    for encoder_lr in (0.0, 1e-3):
        rates = {'optimiser__critic_lr': 3e-3, 'optimiser__encoder_lr': encoder_lr}
        agent = TD3(SPEC, small(**ON, **EXACT, **rates, network__feature_size=8))
        for _ in range(150):
            error = agent.update(batch)['prediction_error']
        errors.append(error)
    assert errors[1] < 0.5 * errors[0], errors


def test_the_loss_moves_the_encoder_by_its_weight_and_without_it_nothing_else_changes():
    plain = {**EXACT, 'policy_delay': 1}
    whole = batch_with()
    cut = whole._replace(vector=whole.vector[:, :2], next_vector=whole.next_vector[:, :2])
    encoders = {}
    for weight in (0.0, 1.0, 3.0):
        agent = TD3(SPEC, small(**plain, privileged_loss=weight))
        metrics = agent.update(whole if agent.privileged else cut)
        assert ('prediction_error' in metrics) == bool(weight)
        encoders[weight] = metrics['gradient_norm_encoder']
    assert encoders[0.0] == TD3(SPEC, small(**plain)).update(cut)['gradient_norm_encoder']
    assert len({round(norm, 6) for norm in encoders.values()}) == 3


def test_a_learner_goes_on_with_its_predictor():
    agent = TD3(SPEC, small(**ON), seed=1)
    agent.update(batch_with())
    other = TD3(SPEC, small(**ON), seed=2)
    other.load_state_dict(agent.state_dict())
    assert agent.update(batch_with(1)) == other.update(batch_with(1))


def test_the_policy_that_travels_holds_nothing_of_it():
    plain, seeing = TD3(SPEC, small()), TD3(SPEC, small(**ON))
    shapes = [
        {name: tensor.shape for name, tensor in agent.policy.state_dict().items()}
        for agent in (plain, seeing)
    ]
    assert shapes[0] == shapes[1]


# -- the replay -----------------------------------------------------------------------------------


def replay(names=PRIVILEGED_NAMES):
    return ReplayBuffer(SPEC, ReplayConfig(capacity=50), 1, 0.9, privileged=names)


def frame():
    return np.zeros(SPEC.frame_shape, np.uint8)


def test_it_is_drawn_behind_the_vector():
    buffer, vector = replay(), np.array([0.1, 0.2], np.float32)
    given = [np.full(SIZE, value, np.float32) for value in (0.3, 0.4)]
    buffer.begin(frame(), vector, given[0])
    buffer.add(np.zeros(2), 0.0, Outcome.TERMINATED, frame(), vector, given[1])
    batch = buffer.sample(4)
    assert np.array_equal(batch.vector, np.tile([*vector, *given[0]], (4, 1)).astype(np.float32))
    assert np.array_equal(batch.next_vector[:, 2:], np.tile(given[1], (4, 1)))


def test_a_replay_without_it_drops_it():
    buffer, vector = replay(()), np.zeros(2, np.float32)
    buffer.begin(frame(), vector, np.ones(SIZE, np.float32))
    buffer.add(np.zeros(2), 0.0, Outcome.TERMINATED, frame(), vector, np.ones(SIZE, np.float32))
    assert buffer.sample(4).vector.shape == (4, 2)


@pytest.mark.parametrize('wrong', [np.zeros(0, np.float32), np.zeros(SIZE + 1, np.float32)])
def test_another_number_of_entries_is_refused(wrong):
    expected = rf'privileged must be \({SIZE},\) float32, got \({len(wrong)},\) float32'
    buffer = replay()
    with pytest.raises(SpecError, match=expected):
        buffer.begin(frame(), np.zeros(2, np.float32), wrong)
    assert not buffer.count


def test_a_vector_that_does_not_fit_is_named_for_itself():
    with pytest.raises(SpecError, match=r'vector must be \(2,\) float32, got \(1,\)'):
        replay().begin(frame(), np.zeros(1, np.float32), np.zeros(SIZE, np.float32))


def test_no_number_is_refused():
    with pytest.raises(SpecError, match='privileged must be finite'):
        replay().begin(frame(), np.zeros(2, np.float32), np.full(SIZE, np.nan, np.float32))


def test_a_batch_without_it_is_refused_by_a_learner_that_wants_it():
    with pytest.raises(LearnerError, match=r'must have 25 entries of the vector, .* got 2'):
        TD3(SPEC, small(**ON)).update(make_batch())


def test_n_steps_later_it_is_that_of_the_last_step():
    """Across a truncation and the seam of the ring."""
    buffer = ReplayBuffer(SPEC, ReplayConfig(capacity=9), 3, 0.9, privileged=PRIVILEGED_NAMES)
    clock = 0
    for length in (5, 4, 3):
        for step in range(length + 1):
            clock += 1
            seen = np.zeros(2, np.float32), np.full(SIZE, clock / 100, np.float32)
            if step == 0:
                buffer.begin(frame(), *seen)
            else:
                outcome = Outcome.TRUNCATED if step == length else Outcome.CONTINUES
                buffer.add(np.zeros(2), 0.0, outcome, frame(), *seen)
    ends = {7: 10, 8: 11, 9: 11, 10: 11, 12: 15, 13: 15, 14: 15}  # by the clock, in hundredths
    batch = buffer.sample(200)
    begun, ended = (np.rint(100 * x[:, -1]).astype(int) for x in (batch.vector, batch.next_vector))
    assert set(begun) == set(ends)
    assert all(ends[one] == two for one, two in zip(begun, ended))


# -- what of it a policy does not see -------------------------------------------------------------


def test_the_learner_is_told_only_what_the_policy_does_not_see():
    seen = ObservationConfig()
    assert unseen(seen.spec()) == ()
    assert unseen(build(ObservationConfig, CAMERA, 'test').spec()) == PRIVILEGED_NAMES
    assert unseen(replace(seen, yaw_rate=False).spec()) == ('yaw_rate',)
    assert unseen(replace(seen, waypoints=9).spec()) == ('waypoint_9_x', 'waypoint_9_y')
    other = unseen(replace(seen, waypoint_spacing=3.0).spec())
    assert len(other) == 20 and all(name.startswith('waypoint_') for name in other)


def test_of_a_part_that_part_is_kept():
    spec = replace(ObservationConfig(height=36, width=36, stack=2), yaw_rate=False).spec()
    config = small(**ON)
    agent = TD3(spec, config)
    assert agent.privileged == ('yaw_rate',) and agent.predictor.layer.out_features == 1
    buffer = ReplayBuffer(spec, ReplayConfig(capacity=50), 1, 0.9, privileged=agent.privileged)
    given = np.linspace(0.1, 0.9, SIZE).astype(np.float32)
    buffer.begin(frame(), np.zeros(spec.vector_size, np.float32), given)
    vector = np.zeros(spec.vector_size, np.float32)
    buffer.add(np.zeros(2), 0.0, Outcome.TERMINATED, frame(), vector, given)
    batch = buffer.sample(16)
    assert (batch.vector[:, -1] == given[PRIVILEGED_NAMES.index('yaw_rate')]).all()
    agent.update(batch)


def test_where_the_policy_sees_it_all_nothing_is_learned_twice():
    spec = ObservationConfig(height=36, width=36, stack=2).spec()
    seeing, plain = (TD3(spec, small(**on)) for on in (ON, {'policy_delay': 1}))
    batch = make_batch(spec=spec)
    assert seeing.predictor is None
    assert seeing.update(batch) == plain.update(batch)


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize('storage', ['memory', 'mapped'])
def test_a_replay_with_it_is_not_taken_for_one_without(tmp_path, storage):
    def buffer(names):
        config = ReplayConfig(capacity=50, storage=storage)
        return ReplayBuffer(SPEC, config, 1, 0.9, folder=tmp_path, privileged=names)

    one = buffer(PRIVILEGED_NAMES)
    one.begin(frame(), np.zeros(2, np.float32), np.zeros(SIZE, np.float32))
    one.save(tmp_path)
    with pytest.raises(SpecError, match='privileged'):
        buffer(()).load(tmp_path)


@pytest.mark.parametrize('key, value', [('privileged_critics', False), ('privileged_loss', 0.0)])
def test_a_learner_of_the_other_setting_is_refused_with_the_reason(key, value):
    state = TD3(SPEC, small(**ON)).state_dict()
    with pytest.raises(LearnerError, match=r'settings of learner .*privileged_\*'):
        TD3(SPEC, small(**{**ON, key: value})).load_state_dict(state)


# -- where it comes from --------------------------------------------------------------------------


def test_it_is_what_the_waypoints_observation_says_of_the_route():
    s = np.arange(0.0, 100.0)
    route = Route.from_points(np.stack([s, 8 * np.sin(s / 25)], axis=1))
    start = VehicleState(Pose(0.0, 0.5, yaw=0.1))
    episode = Episode(EpisodeConfig(), route, start, 0.05)
    for state in (start, VehicleState(Pose(3.0, 0.2, yaw=0.3), 5.0, 0.4)):
        if state is not start:
            episode.step(state, 0.1, True, False)
        config = ObservationConfig()
        seen, _ = preprocess.state_vector(config, state, 0.1, route.tracker())
        wanted = [x for name, x in zip(config.spec().vector, seen) if name in PRIVILEGED_NAMES]
        assert episode.privileged().dtype == np.float32
        assert np.allclose(episode.privileged(), wanted, atol=1e-6)
        assert set(PRIVILEGED_NAMES) == set(config.spec().vector) - {'speed', 'last_steering'}
