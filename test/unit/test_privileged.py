"""What only the critics see: they learn by it, features learn to predict it, no policy sees it."""

import numpy as np
import pytest
import torch

from av_td3_ros.config import EpisodeConfig, ObservationConfig
from av_td3_ros.datatypes import Outcome, Pose, SpecError, VehicleState
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.route import Route
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.replay import ReplayBuffer
from learners import changed, EXACT, make_batch, small, snapshot, SPEC

SIZE = len(PRIVILEGED_NAMES)
ON = {'privileged_critics': True, 'privileged_loss': 1.0, 'policy_delay': 1}


def batch_with(seed=0, **fields):
    """Return random transitions with privileged entries behind the vector."""
    rng, batch = np.random.default_rng(seed), make_batch(seed=seed, **fields)
    more = [rng.uniform(-1, 1, (16, SIZE)).astype(np.float32) for _ in range(2)]
    return batch._replace(
        vector=np.hstack([batch.vector, more[0]]),
        next_vector=np.hstack([batch.next_vector, more[1]]),
    )


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
    """Brightness tells it: the encoder finds that with critics that learn nothing."""
    rng = np.random.default_rng(0)
    light = rng.uniform(-1, 1, 16).astype(np.float32)
    image = np.clip(127.5 * (1 + light), 0, 255).astype(np.uint8)
    image = np.broadcast_to(image[:, None, None, None], (16, *SPEC.image_shape)).copy()
    batch = batch_with(image=image)
    batch.vector[:, 2:] = light[:, None]
    lr = {'optimiser__critic_lr': 3e-3, 'optimiser__encoder_lr': 3e-3}
    agent = TD3(SPEC, small(**ON, **EXACT, **lr))
    first = agent.update(batch)['prediction_error']
    for _ in range(100):
        last = agent.update(batch)['prediction_error']
    assert last < 0.3 * first


def test_without_the_loss_the_encoder_moves_by_the_critics_alone():
    still = {**ON, **EXACT, 'privileged_critics': False}
    encoders = []
    for weight in (0.0, 1.0):
        agent = TD3(SPEC, small(**{**still, 'privileged_loss': weight}))
        before = snapshot(agent.policy.encoder)
        metrics = agent.update(batch_with())
        assert changed(before, agent.policy.encoder)
        assert ('prediction_error' in metrics) == bool(weight)
        encoders.append(snapshot(agent.policy.encoder))
    assert any((encoders[0][name] != encoders[1][name]).any() for name in encoders[0])


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
    with pytest.raises(SpecError, match=expected):
        replay().begin(frame(), np.zeros(2, np.float32), wrong)
    assert not replay().count


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
        assert episode.privileged.dtype == np.float32
        assert np.allclose(episode.privileged, wanted, atol=1e-6)
        assert set(PRIVILEGED_NAMES) == set(config.spec().vector) - {'speed', 'last_steering'}
