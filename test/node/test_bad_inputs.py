"""
What a deployment must not drive by, each for itself, with a policy that is engaged and would go.

One ERROR on the log, the same on /diagnostics, and no command but the brake.
"""

import json
import os
import shutil
import subprocess
import sys

from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact
from av_td3_ros.deployment.artefact import Probe
from av_td3_ros.deployment.description import describe, TrainingCamera
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

ERROR, PATIENCE = b'\x02', 60.0
OBSERVATION = {
    'observation.lateral_deviation': False,
    'observation.heading_error': False,
    'observation.waypoints': 0,
}
CONFIG = build_run(OBSERVATION, 'here')
SPEC = CONFIG.observation.spec()
SEEN = {key.replace('.', '__'): value for key, value in OBSERVATION.items()}
# Engaged from the start, as no deployment is; its stamps come from another clock.
ENGAGED = {'accept_weights': False, 'lock_step': False, 'gate__max_age': 0.0, **SEEN}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Return a run whose checkpoint goes straight on in full."""
    folder = tmp_path_factory.mktemp('run')
    RunFolder(folder).write_config(CONFIG)
    agent = TD3(SPEC, CONFIG.trainer.learner, seed=3)
    last = agent.policy.actor.layers[-1]
    last.weight.data.zero_()
    last.bias.data[:] = last.bias.data.new_tensor([0.0, 2.0])
    checkpoint.save(folder, agent, SPEC, env_step=10, version=1)
    return folder


class Vehicle:
    """Who has the camera and receives the commands; it hears the log and /diagnostics."""

    def __init__(self, ros, talker, capfd):
        self.ros, self._talker, self._capfd = ros, talker, capfd
        self.commands = talker.hear('vehicle_control_cmd')
        self._health = talker.hear('diagnostics')
        self._told, self._time = [], 5.0

    def deploy(self, run, **perception):
        """Start both nodes."""
        policy = self.ros.start(PolicyNode, checkpoint=str(run), **ENGAGED)
        params = {'image_timeout': 10.0, 'checkpoint': str(run), **SEEN, **perception}
        self._node = self.ros.start(PerceptionNode, episodes=False, **params)
        self.ros.until(lambda: self._node.count_subscribers('/av_td3/observation'), PATIENCE)
        self.hears(policy)
        self.hears(self._node)

    def hears(self, node):
        """Wait until it hears what a node says of itself."""
        self.ros.until(node._diagnostics.get_subscription_count, PATIENCE)

    def see(self, rate=20.0, encoding='mono8', image=True, odometry=True):
        """Show one image, which is so much later than the last by its stamp."""
        self._time += 1.0 / rate
        header = Header(stamp=convert.from_ns(round(self._time * 1e9)))
        if odometry:
            self._talker.say('odometry', Odometry(header=header))
        if image:
            pixels = np.random.default_rng(0).integers(0, 256, (144, 256), np.uint8)
            msg = convert.to_image(pixels, 'mono8', header)
            msg.encoding = encoding
            self._talker.say('image', msg)
            stamp = convert.to_ns(header.stamp)
            self.ros.until(lambda: self._node._camera._stamp == stamp, PATIENCE)

    def mounts(self, width, height, fov_deg):
        """Say which camera it is."""
        self._talker.say('camera_info', convert.to_camera_info(width, height, fov_deg, Header()))

    def errors(self, log=''):
        """Return the ERRORs on the log, so far, and those that were new on /diagnostics."""
        self._told.append(self._capfd.readouterr().err)
        lines = (''.join(self._told) + log).splitlines()
        shown = [s.message for msg in self._health for s in msg.status if s.level == ERROR]
        return [line for line in lines if '[ERROR]' in line or '[FATAL]' in line], shown

    def is_told(self, text):
        """Whether both have said it."""
        log, shown = self.errors()
        return any(text in line for line in log) and any(text in line for line in shown)

    def is_still(self):
        """Whether every command was to stand."""
        return all(each.throttle == 0.0 and each.brake > 0.0 for each in self.commands)


@pytest.fixture
def vehicle(ros, talker, capfd):
    return Vehicle(ros, talker, capfd)


def test_it_drives_where_nothing_is_wrong_and_brakes_for_a_camera_that_becomes_far_too_fast(
    vehicle, run
):
    vehicle.deploy(run)
    vehicle.ros.until(lambda: vehicle.see() or any(c.throttle > 0.0 for c in vehicle.commands))
    assert vehicle.errors() == ([], [])
    for _ in range(20):
        vehicle.see(rate=200.0)
    vehicle.ros.until(lambda: vehicle.commands[-1].brake > 0.0, PATIENCE)
    vehicle.ros.until(lambda: vehicle.is_told('5 times the 20 Hz of the training, got '), PATIENCE)


@pytest.mark.parametrize(
    'stream, params, text',
    [
        ({'rate': 3.0}, {}, 'not driving at 3.0 Hz: at least 10 Hz needed, got images 3.0 Hz'),
        (
            {'rate': 200.0},
            {},
            'images must come at 100 Hz at most, 5 times the 20 Hz of the training, got 200 Hz on '
            '/carla/ego_vehicle/rgb_front/image; set the camera to 20 Hz, or remap',
        ),
        ({'encoding': 'h264'}, {}, "got 'h264'; check the camera"),
        (
            {'image': False},
            {'image_timeout': 0.5},
            'on /carla/ego_vehicle/rgb_front/image: nobody publishes it, nor any other image; '
            'remap /carla/ego_vehicle/rgb_front/image',
        ),
        (
            {'odometry': False},
            {'image_timeout': 0.5},
            'on /carla/ego_vehicle/odometry: nobody publishes it, nor any other odometry; '
            'remap /carla/ego_vehicle/odometry',
        ),
    ],
    ids=['3 Hz', '200 Hz', 'an unknown encoding', 'no image', 'no odometry'],
)
def test_a_stream_that_cannot_be_driven_by_is_one_error_and_no_drive(
    vehicle, run, stream, params, text
):
    vehicle.deploy(run, **params)
    vehicle.ros.until(lambda: vehicle.see(**stream) or vehicle.is_told(text), PATIENCE)
    for _ in range(12):  # and it goes on
        vehicle.see(**stream)
    by_perception = [line for line in vehicle.errors()[0] if 'perception' in line]
    assert len(by_perception) == 1 and text in by_perception[0]
    assert vehicle.is_still()


def test_a_checkpoint_of_another_camera_is_one_error_and_no_drive(vehicle, run):
    vehicle.deploy(run)
    vehicle.mounts(640, 480, 60.0)
    text = 'camera refused: the camera must see at least 98.0% of the training view, got '
    vehicle.ros.until(lambda: vehicle.is_told(text), PATIENCE)
    for _ in range(12):
        vehicle.see()
    assert sum('perception' in line for line in vehicle.errors()[0]) == 1
    assert vehicle.is_still() and not vehicle.commands


def changed_checkpoint(change):
    """Return what copies a run with another description of its checkpoint; where it is."""

    def make(run, folder):
        shutil.copytree(run, folder / 'run')
        path = next((folder / 'run').rglob('checkpoint.json'))
        info = json.loads(path.read_text())
        change(info)
        path.write_text(json.dumps(info))
        return {'checkpoint': str(folder / 'run')}

    return make


def changed_artefact(change):
    """Return what writes a file with another description; where it is."""

    def make(run, folder):
        raw = describe(3, CONFIG.observation, TrainingCamera(), CONFIG.trainer.learner.network, {})
        change(raw)
        probe = Probe(
            np.zeros((1, *SPEC.image_shape), np.uint8),
            np.zeros((1, SPEC.vector_size), np.float32),
            np.zeros((1, 2), np.float32),
        )
        data = artefact.pack(raw, {'w': np.zeros(1, np.float32)}, b'graph', probe)
        artefact.write(folder / 'policy.avtd3', data)
        return {'artefact': str(folder / 'policy.avtd3')}

    return make


def other_crop(raw):
    raw['observation']['settings']['crop_top'] = 0.5


@pytest.mark.parametrize(
    'make, text',
    [
        (
            changed_checkpoint(lambda info: info['spec']['action'].reverse()),
            "action must be ['steering', 'acceleration'], got ['acceleration', 'steering']",
        ),
        (
            changed_artefact(lambda raw: raw['action'].reverse()),
            "action of the artefact must be ['steering', 'acceleration'], got ",
        ),
        (changed_checkpoint(lambda info: info.update(format=99)), 'must be of format 3, got 99'),
        (changed_artefact(lambda raw: raw.update(format=99)), 'must be of format 1, got 99'),
        (changed_artefact(other_crop), 'must be shown observation.crop_top 0.5, got 0.35'),
    ],
    ids=[
        'action of a checkpoint',
        'action of a file',
        'version of a checkpoint',
        'version of a file',
        'picture of a file',
    ],
)
def test_a_policy_of_something_else_is_one_error_and_never_engaged(
    vehicle, run, tmp_path, make, text
):
    node = vehicle.ros.make(PolicyNode, **ENGAGED, **make(run, tmp_path))
    vehicle.hears(node)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    vehicle.ros.until(lambda: vehicle.is_told(text), PATIENCE)
    log, shown = vehicle.errors()
    assert len(log) == 1 and set(shown) == {shown[0]} and shown[0] in log[0]
    assert not vehicle.commands
    assert node.count_publishers('/carla/ego_vehicle/vehicle_control_cmd') == 0


def test_a_read_only_log_folder_is_one_error_and_never_engaged(vehicle, run, domain):
    params = {'autostart': 'true', 'checkpoint': str(run), 'accept_weights': 'false'}
    arguments = [part for one in params.items() for part in ('-p', ':='.join(one))]
    process = subprocess.Popen(
        [sys.executable, '-m', 'av_td3_ros.nodes.policy_node', '--ros-args', *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': domain, 'ROS_LOG_DIR': '/proc/none'},  # nor can root
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        vehicle.ros.until(lambda: process.poll() is not None, PATIENCE)
    finally:
        process.kill()
        told = process.communicate()[1]
    assert process.returncode == 2
    text = 'the folder of log files must be writable, got /proc/none: No such file or directory; '
    vehicle.ros.until(lambda: vehicle.errors()[1], PATIENCE)
    log, shown = vehicle.errors(told)
    assert len(log) == len(shown) == 1 and shown[0] in log[0]
    assert shown[0].startswith(text) and 'set ROS_LOG_DIR' in shown[0]
    assert not vehicle.commands
