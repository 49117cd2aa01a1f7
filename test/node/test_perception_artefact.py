"""Perception beside an exported policy: its camera and its preprocessing hold, or it refuses."""

import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.config import ObservationConfig
from av_td3_ros.deployment import artefact
from av_td3_ros.deployment.artefact import Probe
from av_td3_ros.deployment.description import describe, TrainingCamera
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.nodes.perception_node import PerceptionNode


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


def test_its_camera_and_rate_are_those_of_training(ros, talker, exported):
    node = ros.start(
        PerceptionNode, episodes=False, artefact=str(exported), observation__crop_top=0.5
    )
    talker.say('camera_info', convert.to_camera_info(800, 600, 100.0, Header()))
    ros.until(lambda: 'as in training' in node.health()[2]['camera'], 60.0)
    talker.say('camera_info', convert.to_camera_info(256, 144, 90.0, Header()))
    text = 'training camera 800x600, 100.0 x 83.6 deg (no distortion) below its upper 50%'
    ros.until(lambda: text in node.health()[1], 60.0)
    # 20 Hz are twice as many images as in training.
    assert [node._camera._thinning.keeps(k * 50_000_000) for k in range(5)] == [1, 0, 1, 0, 1]
    assert node._camera.min_rate == 10.0


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
