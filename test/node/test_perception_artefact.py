"""Perception beside a policy: its camera and its preprocessing hold, or it refuses."""

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run, ObservationConfig
from av_td3_ros.deployment import artefact
from av_td3_ros.deployment.artefact import Probe
from av_td3_ros.deployment.description import describe, TrainingCamera
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.run_folder import RunFolder


@pytest.fixture
def exported(tmp_path):
    """Return a file that says: trained at 10 Hz with 800x600, 100 degrees, half of it cut off."""
    observation = ObservationConfig(crop_top=0.5)
    spec = observation.spec()
    camera = TrainingCamera(width=800, height=600, fov_deg=100.0, period=0.1)
    probe = Probe(
        np.zeros((1, *spec.image_shape), np.uint8),
        np.zeros((1, spec.vector_size), np.float32),
        np.zeros((1, 2), np.float32),
    )
    raw = describe(3, observation, camera, NetworkConfig(), {})
    path = tmp_path / 'policy.avtd3'
    artefact.write(path, artefact.pack(raw, {'w': np.zeros(1, np.float32)}, b'graph', probe))
    return path


def has_the_camera_of_training(ros, talker, node):
    """Assert that perception compares with 800x600, 100 deg, cropped by half, at 10 Hz."""
    talker.say('camera_info', convert.to_camera_info(800, 600, 100.0, Header()))
    ros.until(lambda: 'as in training' in node.health()[2]['camera'], 60.0)
    talker.say('camera_info', convert.to_camera_info(256, 144, 90.0, Header()))
    text = 'training camera 800x600, 100.0 x 83.6 deg (no distortion) below its upper 50%'
    ros.until(lambda: text in node.health()[1], 60.0)
    # 20 Hz are twice as many images as in training.
    assert [node._camera._thinning.keeps(k * 50_000_000) for k in range(5)] == [1, 0, 1, 0, 1]
    assert node._camera.min_rate == 10.0


def test_its_camera_and_rate_are_those_of_training(ros, talker, exported):
    node = ros.start(
        PerceptionNode, episodes=False, artefact=str(exported), observation__crop_top=0.5
    )
    has_the_camera_of_training(ros, talker, node)


@pytest.mark.parametrize(
    'crop, damage, text',
    [
        (0.35, b'', 'observation.crop_top 0.5, got 0.35'),
        (0.5, b'more', 'the file was damaged or changed'),
    ],
)
def test_another_preprocessing_and_a_damaged_file_are_refused(
    ros, exported, capfd, crop, damage, text
):
    exported.write_bytes(exported.read_bytes() + damage)
    node = ros.make(
        PerceptionNode, episodes=False, artefact=str(exported), observation__crop_top=crop
    )
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert text in capfd.readouterr().err
    assert not [made for made in node.subscriptions if 'image' in made.topic_name]


@pytest.fixture
def checkpoint(tmp_path):
    """Return a checkpoint folder, empty, of a run with the same camera, rate and crop."""
    config = {
        'observation.crop_top': 0.5,
        'simulator.image_width': 800,
        'simulator.image_height': 600,
        'simulator.fov_deg': 100.0,
        'simulator.fixed_delta_seconds': 0.1,
    }
    RunFolder(tmp_path / 'run').write_config(build_run(config, 'the test'))
    folder = tmp_path / 'run' / 'checkpoints' / 'step_000000010'
    folder.mkdir(parents=True)
    return folder


def test_a_checkpoint_has_the_camera_and_rate_of_its_run(ros, talker, checkpoint):
    node = ros.start(
        PerceptionNode, episodes=False, checkpoint=str(checkpoint), observation__crop_top=0.5
    )
    has_the_camera_of_training(ros, talker, node)
    assert node._period == 0.1


def test_another_preprocessing_than_that_of_the_checkpoint_is_refused(ros, checkpoint, capfd):
    node = ros.make(PerceptionNode, episodes=False, checkpoint=str(checkpoint))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    text = 'the checkpoint must be shown observation.crop_top 0.5, got 0.35'
    assert text in capfd.readouterr().err


def test_a_checkpoint_without_its_run_has_an_unknown_camera_and_that_is_said(ros, tmp_path, capfd):
    node = ros.start(PerceptionNode, episodes=False, checkpoint=str(tmp_path))
    text = f'the camera of the training is unknown: no config.yaml beside {tmp_path}'
    assert capfd.readouterr().err.count(text) == 1
    level, said, _ = node.health()
    assert (level, text in said) == (b'\x01', True) and '256x144, 120 deg, 20 Hz' in said
