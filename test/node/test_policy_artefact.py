"""The policy node with an exported policy: the same commands, no torch, no foreign weights."""

import array
import os
import subprocess
import sys

from av_td3_msgs.msg import Observation
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
import torch

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.export import export
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

CONFIG = build_run({}, 'the test')
SPEC = CONFIG.observation.spec()
VERSION = 12
# Steering may turn as fast as it likes: the policies of these tests see noise.
PARAMS = {'gate__max_steering_rate': 40.0, 'gate__observation_timeout': 10.0}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Return a checkpoint folder, and the file that was exported from it."""
    folder = tmp_path_factory.mktemp('run')
    agent = TD3(SPEC, CONFIG.trainer.learner, seed=3)
    last = agent.policy.actor.layers[-1].weight
    last.data *= 0.5 / last.data.abs().max()
    saved = checkpoint.save(folder, agent, SPEC, env_step=10, version=VERSION)
    path = folder / 'policy.avtd3'
    files.write(path, export(folder, CONFIG)[0])
    return saved, path


def observation(step):
    """Return a random observation as a message."""
    rng = np.random.default_rng(step)
    msg = Observation(
        episode_id=1,
        step_id=step,
        drive=True,
        explore=True,
        spec=SPEC.digest,
        image_shape=np.array(SPEC.image_shape, np.uint32),
        image=convert.to_bytes(rng.integers(0, 256, SPEC.image_shape, np.uint8)),
        vector=array.array('f', rng.uniform(-1.0, 1.0, SPEC.vector_size).astype(np.float32)),
    )
    msg.header.stamp.sec = step + 1
    return msg


def drive(ros, talker, **params):
    """Return the actions of a node on ten observations."""
    node = ros.start(PolicyNode, **PARAMS, **params)
    actions = talker.hear('action')
    for step in range(10):
        talker.say('observation', observation(step))
        ros.until(lambda: len(actions) > step, 60.0)
    assert node.version == VERSION and all(action.drive for action in actions)
    node.close()
    return [(action.steering, action.acceleration) for action in actions]


def test_it_commands_what_the_checkpoint_commands(ros, talker, exported):
    threads = torch.get_num_threads()
    expected = drive(ros, talker, checkpoint=str(exported[0]), accept_weights=False)
    assert np.ptp(expected, axis=0).min() > 1e-3
    for engine in ('onnx', 'torch'):
        got = drive(ros, talker, artefact=str(exported[1]), engine=engine)
        assert np.abs(np.subtract(got, expected)).max() < 1e-4
    torch.set_num_threads(threads)


def test_nobody_sends_it_weights(ros, exported):
    node = ros.start(PolicyNode, artefact=str(exported[1]))
    assert node.config.accept_weights
    assert node.count_subscribers('/av_td3/policy_weights') == 0


@pytest.mark.parametrize(
    'params',
    [
        {'artefact': 'no/such/file'},
        {'artefact': '{path}', 'checkpoint': '{checkpoint}'},
        {'artefact': '{path}', 'engine': 'tensorrt'},
        {'artefact': '{path}', 'observation__crop_top': 0.1},
        {'artefact': '{checkpoint}/policy.safetensors'},
    ],
)
def test_what_cannot_drive_is_refused_and_nothing_stays_behind(ros, exported, params):
    places = {'checkpoint': str(exported[0]), 'path': str(exported[1])}
    filled = {
        key: value.format(**places) if isinstance(value, str) else value
        for key, value in params.items()
    }
    node = ros.make(PolicyNode, **filled)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.count_publishers('/carla/ego_vehicle/vehicle_control_cmd') == 0


# Runs where nothing can be imported but what docs/deploying.md has a vehicle install.
VEHICLE = """
import sys
for name in ('torch', 'onnx', 'onnxscript', 'carla', 'scipy', 'matplotlib', 'PIL', 'gymnasium',
             'psutil', 'tensorboard', 'jinja2', 'panda3d', 'mcap', 'zstandard', 'cryptography'):
    sys.modules[name] = None
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from av_td3_ros.nodes.policy_node import PolicyNode
import av_td3_ros.nodes.perception_node
rclpy.init()
node = PolicyNode(parameter_overrides=[Parameter('artefact', value=sys.argv[1])])
assert node.trigger_configure().name == 'SUCCESS'
assert node.trigger_activate().name == 'SUCCESS'
import numpy as np
artefact = node._behaviour.artefact
action = node._behaviour.act(artefact.probe.image[5], artefact.probe.vector[5])
assert np.abs(np.subtract(action, artefact.probe.action[5])).max() < 1e-4
assert sys.modules['torch'] is None
assert not [name for name in sys.modules if name.startswith('torch.')]
node.close()
node.destroy_node()
rclpy.try_shutdown()
print('drove with version', node.version)
"""


def test_a_vehicle_needs_no_torch(exported, domain):
    done = subprocess.run(
        [sys.executable, '-c', VEHICLE, str(exported[1])],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'ROS_DOMAIN_ID': domain},
    )
    assert done.returncode == 0, done.stderr
    assert f'drove with version {VERSION}' in done.stdout


def test_an_action_that_is_no_number_brakes_and_ends_nothing(ros, talker, exported, monkeypatch):
    node = ros.start(PolicyNode, **PARAMS, artefact=str(exported[1]))
    actions, commands = talker.hear('action'), talker.hear('vehicle_control_cmd')
    broken = [True]
    run = node._behaviour._run

    def diverged(image, vector):
        action, pre_tanh = run(image, vector)
        return action, pre_tanh * (np.nan if broken else 1.0)

    monkeypatch.setattr(node._behaviour, '_run', diverged)
    talker.say('observation', observation(0))
    ros.until(lambda: actions and commands)
    assert commands[-1].brake == 1.0 and commands[-1].throttle == 0.0
    broken.clear()
    for step in range(1, 30):
        talker.say('observation', observation(step))
        ros.until(lambda: len(actions) > step, 60.0)
    assert actions[-1].drive
