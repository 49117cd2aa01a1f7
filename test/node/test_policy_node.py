"""The policy node: one command per frame, weights that must not drive do not, silence brakes."""

import array
import hashlib
import math

from av_td3_msgs.msg import Observation, PolicyWeights
from carla_msgs.msg import CarlaStatus
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rosgraph_msgs.msg import Clock
import safetensors.torch
import torch

from av_td3_ros.bridge import convert
from av_td3_ros.config import ObservationConfig
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.nodes import policy_node
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.td3 import weights
from av_td3_ros.td3.agent import TD3

SPEC = ObservationConfig().spec()
LEARNER = LearnerConfig()
TICK = 50_000_000


def observation(step=0, **fields):
    values = dict(
        episode_id=1,
        step_id=step,
        drive=True,
        explore=False,
        spec=SPEC.digest,
        image_shape=np.array(SPEC.image_shape, np.uint32),
        image=convert.to_bytes(np.full(SPEC.image_shape, 120, np.uint8)),
        vector=array.array('f', [0.1] * SPEC.vector_size),
    )
    msg = Observation(**{**values, **fields})
    msg.header.stamp.sec = step
    return msg


def packed(version=1, seed=0, spec=SPEC, change=None, damage=None):
    policy = TD3(spec, LEARNER, seed=seed).policy
    if change:
        with torch.no_grad():
            change(policy)
    made = weights.pack(policy, spec, LEARNER.network, version)
    tensors = made.tensors if damage is None else damage(made.tensors)
    return PolicyWeights(
        version=version,
        sha256=made.sha256,
        spec=made.spec,
        tensors=convert.to_bytes(np.frombuffer(tensors, np.uint8)),
    )


def _exploring(**fields):
    msg = packed(2)
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.fixture
def policy(ros):
    return ros.start(PolicyNode, gate__observation_timeout=10.0)


@pytest.fixture
def commands(talker, policy):
    return talker.hear('vehicle_control_cmd')


def test_without_weights_it_brakes_and_says_so(ros, talker, policy, commands):
    actions = talker.hear('action')
    talker.say('observation', observation())
    ros.until(lambda: commands and actions)
    assert commands[0].brake == 1.0 and commands[0].throttle == 0.0
    assert not actions[0].drive
    assert 'waiting for weights' in policy.health()[1]


def test_one_command_and_one_action_per_observation(ros, talker, policy, commands):
    actions = talker.hear('action')
    talker.say('policy_weights', packed(version=3))
    ros.until(lambda: policy.version == 3)
    for step in range(20):
        talker.say('observation', observation(step))
        ros.until(lambda: len(commands) > step and len(actions) > step)
    ros.spin(0.1)
    assert len(commands) == len(actions) == 20
    assert [(a.episode_id, a.step_id, a.policy_version) for a in actions] == [
        (1, i, 3) for i in range(20)
    ]
    assert all(a.header.stamp.sec == a.step_id for a in actions)


def test_an_answer_does_not_wait_for_weights_to_be_checked(ros, policy, monkeypatch):
    policy.on_weights(packed(version=1))
    ros.until(lambda: policy.version == 1)
    monkeypatch.setattr(policy_node, 'IDLE', math.inf)
    policy.on_observation(observation(0))
    policy.on_weights(packed(version=2))
    policy.on_observation(observation(1))
    assert (policy.commands, policy.version) == (2, 1)
    ros.until(lambda: policy.version == 2)
    assert policy.commands == 2


def test_the_noise_of_a_run_that_goes_on_is_not_that_of_its_begin(ros, talker, policy):
    wanted = np.random.default_rng((policy.config.seed, 500)).bit_generator.state
    for version, env_step in ((1, 500), (2, 600)):
        msg = packed(version)
        msg.env_step = env_step
        talker.say('policy_weights', msg)
        ros.until(lambda: policy.version == version)
        assert policy._behaviour._rng.bit_generator.state == wanted


def test_the_command_is_the_policy_s_action_and_right_is_positive_on_the_bus(
    ros, talker, policy, commands
):
    actions = talker.hear('action')

    def steer_left(net):
        net.actor.layers[-1].bias.copy_(torch.tensor([0.3, 0.2]))
        net.actor.layers[-1].weight.zero_()

    talker.say('policy_weights', packed(change=steer_left))
    ros.until(lambda: policy.version == 1)
    talker.say('observation', observation())
    ros.until(lambda: commands and actions)
    assert actions[0].steering == pytest.approx(np.tanh(0.3), abs=1e-5)
    assert commands[0].steer == pytest.approx(-np.tanh(0.3), abs=1e-5)
    assert commands[0].throttle == pytest.approx(np.tanh(0.2), abs=1e-5)


@pytest.mark.parametrize(
    'bad, text',
    [
        (
            lambda: packed(
                2, change=lambda net: net.actor.layers[0].weight.view(-1)[5].fill_(float('nan'))
            ),
            'must be finite, got NaN or infinity',
        ),
        (lambda: packed(2, damage=lambda data: data[:-1] + bytes([data[-1] ^ 1])), 'hash must be'),
        (lambda: _reshaped(), 'must be (2,) torch.float32, got (3,)'),
        (
            lambda: packed(2, spec=ObservationConfig(waypoints=0).spec()),
            'observation must be vector',
        ),
        (
            lambda: PolicyWeights(version=2, spec='{}', sha256=hashlib.sha256(b'').hexdigest()),
            'specification is unreadable',
        ),
        (lambda: _exploring(noise_correlation=1.5), 'correlation must be 0 to 0.99, got 1.5'),
        (lambda: _exploring(exploration_std=float('nan')), 'std_start must be 0 to 2, got nan'),
    ],
    ids=['nan', 'hash', 'shape', 'specification', 'empty', 'correlation', 'std'],
)
def test_bad_weights_are_refused_named_and_the_old_drive_on(
    ros, talker, policy, commands, bad, text
):
    statuses, diagnostics = talker.hear('policy_status'), talker.hear('diagnostics')
    actions = talker.hear('action')
    talker.say('policy_weights', packed(version=1))
    ros.until(lambda: policy.version == 1)
    talker.say('observation', observation(0))
    ros.until(lambda: len(actions) == 1)
    talker.say('policy_weights', bad())
    ros.until(lambda: any(s.refused == 1 for s in statuses))
    assert text in statuses[-1].last_refusal and 'version 2' in statuses[-1].last_refusal
    ros.until(lambda: any(text in d.status[0].message for d in diagnostics))
    talker.say('observation', observation(0))
    ros.until(lambda: len(actions) == 2)
    assert actions[1].policy_version == 1
    assert actions[1].steering == actions[0].steering and actions[1].drive
    talker.say('policy_weights', packed(version=4, seed=1))
    ros.until(lambda: policy.version == 4)
    assert policy.health()[0] == b'\x00'


def _reshaped():
    made = weights.pack(TD3(SPEC, LEARNER, seed=0).policy, SPEC, LEARNER.network, 2)
    tensors = safetensors.torch.load(made.tensors)
    tensors['actor.layers.4.bias'] = torch.zeros(3)
    data = safetensors.torch.save(tensors)
    return PolicyWeights(
        version=2,
        sha256=hashlib.sha256(data).hexdigest(),
        spec=made.spec,
        tensors=convert.to_bytes(np.frombuffer(data, np.uint8)),
    )


@pytest.mark.parametrize(
    'fields, text',
    [
        ({'spec': 'other'}, 'must follow specification'),
        ({'image': array.array('B', [0] * 10)}, '10 pixels'),
        ({'vector': array.array('f', [float('nan')] * SPEC.vector_size)}, 'must be finite'),
    ],
)
def test_an_observation_that_does_not_fit_brakes(ros, talker, policy, commands, fields, text):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    actions = talker.hear('action')
    talker.say('observation', observation(**fields))
    ros.until(lambda: commands and actions)
    assert commands[0].brake == 1.0 and not actions[0].drive
    assert text in policy.health()[1]
    talker.say('observation', observation())
    ros.until(lambda: len(actions) == 2)
    assert actions[1].drive and policy.health()[0] == b'\x00'


def clock(talker, frame):
    talker.say('clock', Clock(clock=convert.from_ns(frame * TICK)))


def at(frame, **fields):
    msg = observation(frame, **fields)
    msg.header.stamp = convert.from_ns(frame * TICK)
    return msg


def test_silence_brakes_once_per_frame_in_lock_step_and_data_brings_it_back(ros, talker):
    policy = ros.start(PolicyNode, gate__observation_timeout=1.0)
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    clock(talker, 1)
    ros.until(lambda: policy.commands == 1)
    ros.spin(1.3)
    assert policy.commands == 1  # the frame has had its command
    assert 'no observation' in policy.health()[1] and policy.health()[0] == b'\x02'
    clock(talker, 2)
    ros.until(lambda: policy.commands == 2)
    talker.say('observation', at(2))  # of a frame that the watchdog has braked for
    ros.until(lambda: 'no observation' not in policy.health()[1])
    assert (policy.commands, policy.observations) == (2, 0)
    clock(talker, 3)
    ros.until(lambda: policy.frames.newest == 3 * TICK)
    talker.say('observation', at(3))
    ros.until(lambda: policy.observations == 1)
    assert policy.commands == 3 and policy.health()[0] == b'\x00'


def test_told_to_wait_in_lock_step_it_says_so_and_that_is_no_fault(ros, talker, policy):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    waits, drives = 'told to wait: braking; perception says why', 'driving with version 1'
    for step, says in enumerate((drives, waits, drives), 1):
        talker.say('observation', observation(step, drive=says == drives))
        ros.until(lambda: policy.observations == step)
        assert policy.health()[:2] == (b'\x00', says)


def test_an_observation_ahead_of_the_clock_is_answered_once(ros, talker, policy, commands):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    clock(talker, 1)
    ros.until(lambda: policy.frames.newest == TICK)
    talker.say('observation', at(2))  # topics have no common order
    ros.until(lambda: policy.observations == 1)
    clock(talker, 2)
    talker.say('observation', at(2))
    ros.spin(0.2)
    assert len(commands) == policy.observations == 1


def test_a_frame_that_the_simulation_went_on_from_is_not_answered(ros, talker, policy, commands):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    clock(talker, 5)
    ros.until(lambda: policy.frames.newest == 5 * TICK)
    talker.say('observation', at(4))
    talker.say('observation', at(5))
    ros.until(lambda: policy.observations == 1)
    ros.spin(0.1)
    assert [c.header.stamp for c in commands] == [convert.from_ns(5 * TICK)]


def test_without_lock_step_late_observations_are_answered_and_silence_brakes_again_and_again(
    ros, talker
):
    policy = ros.start(PolicyNode, gate__observation_timeout=0.2, lock_step=False)
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    ros.spin(0.4)
    assert policy.commands == 0  # never driven: nothing to brake
    talker.say('observation', at(4))
    ros.until(lambda: policy.observations == 1)
    ros.until(lambda: policy.commands >= 4)
    assert 'no observation' in policy.health()[1]


def test_in_lock_step_the_last_word_is_said_though_the_frame_has_had_its_command(
    ros, talker, policy, commands
):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    clock(talker, 1)
    ros.until(lambda: policy.frames.newest == TICK)
    talker.say('observation', at(1))
    ros.until(lambda: len(commands) == 1)
    policy.trigger_deactivate()
    ros.until(lambda: len(commands) == 2)
    assert (commands[1].throttle, commands[1].brake) == (0.0, 1.0)
    policy.trigger_activate()
    clock(talker, 2)  # that was its command
    ros.until(lambda: policy.frames.newest == 2 * TICK)
    talker.say('observation', at(2))
    clock(talker, 3)
    ros.until(lambda: policy.frames.newest == 3 * TICK)
    talker.say('observation', at(3))
    ros.until(lambda: len(commands) == 3)
    assert commands[2].header.stamp == convert.from_ns(3 * TICK)


def test_a_restarted_simulation_is_followed(ros, talker, policy, commands):
    talker.say('policy_weights', packed())
    ros.until(lambda: policy.version == 1)
    for frame in (1000, 1):
        clock(talker, frame)
        ros.until(lambda: policy.frames.newest == frame * TICK)
        talker.say('observation', at(frame))
        ros.until(lambda: commands and commands[-1].header.stamp == convert.from_ns(frame * TICK))


def test_the_steering_of_an_episode_does_not_reach_the_next(ros, talker):
    policy = ros.start(PolicyNode, gate__observation_timeout=10.0, gate__max_steering_rate=0.5)
    actions = talker.hear('action')

    def steer_left(net):
        net.actor.layers[-1].bias.copy_(torch.tensor([1.0, 0.2]))
        net.actor.layers[-1].weight.zero_()

    policy.on_weights(packed(change=steer_left))
    ros.until(lambda: policy.version == 1)
    steps = [dict(step_id=k) for k in range(10)] + [dict(episode_id=2, drive=False)]
    steps += [dict(step_id=k, episode_id=2) for k in range(2)]
    for frame, fields in enumerate(steps, 1):
        talker.say('observation', at(frame, **fields))
        ros.until(lambda: len(actions) == frame)
    assert [actions[k].steering for k in (9, 11, 12)] == pytest.approx([0.25, 0.025, 0.05])


def test_a_paused_world_is_no_silence(ros, talker):
    policy = ros.start(PolicyNode, gate__observation_timeout=0.2)
    talker.say(
        'status', CarlaStatus(frame=1, synchronous_mode=True, synchronous_mode_running=False)
    )
    ros.until(lambda: not policy.frames.running)
    ros.spin(0.5)
    assert policy.commands == 0


@pytest.mark.parametrize(
    'params',
    [
        {'gate__max_steering_rate': -1.0},
        {'no_such_key': 1},
        {'seed': 'x'},
        {'checkpoint': 'no/such/folder'},
    ],
)
def test_bad_parameters_are_refused_and_nothing_stays_behind(ros, params):
    node = ros.make(PolicyNode, **params)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.count_publishers('/carla/ego_vehicle/vehicle_control_cmd') == 0


def test_it_can_be_cleaned_up_and_configured_again(ros, talker):
    node = ros.start(PolicyNode)
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
