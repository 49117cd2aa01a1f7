"""What a checkpoint's run says of the camera and rate that it was trained with."""

import pytest
import yaml

from av_td3_ros.config import build_run
from av_td3_ros.deployment.trained import of_run, trained_with
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import RunFolder

TRAINED = {
    'simulator.image_width': 800,
    'simulator.image_height': 600,
    'simulator.fov_deg': 100.0,
    'simulator.fixed_delta_seconds': 0.1,
    'observation.crop_top': 0.5,
}


@pytest.fixture
def checkpoint(tmp_path):
    """Return a checkpoint folder below its run."""
    folder = tmp_path / 'run' / 'checkpoints' / 'step_000000010'
    folder.mkdir(parents=True)
    RunFolder(tmp_path / 'run').write_config(build_run(TRAINED, 'the test'))
    return folder


def test_camera_rate_and_preprocessing_are_those_of_the_run(checkpoint):
    for folder in (checkpoint, checkpoint.parents[1]):
        trained = of_run(folder)
        camera = trained.camera
        assert (camera.width, camera.height, camera.fov_deg, camera.period) == (
            800,
            600,
            100.0,
            0.1,
        )
        assert trained.observation['crop_top'] == 0.5
    assert trained_with('', '') is None


def test_where_no_run_says_so_nothing_is_made_up(tmp_path, checkpoint):
    alone = tmp_path / 'alone'
    alone.mkdir()
    assert of_run(alone) is None
    (tmp_path / 'config.yaml').write_text('somebody: else\n')
    assert of_run(alone) is None and of_run(checkpoint) is not None


def test_settings_of_another_version_are_left_aside_and_those_that_are_wrong_refused(checkpoint):
    path = checkpoint.parents[1] / 'config.yaml'
    sections = yaml.safe_load(path.read_text())
    sections['simulator']['renamed_since'] = 1
    del sections['observation']['yaw_rate']
    path.write_text(yaml.safe_dump(sections))
    trained = of_run(checkpoint)
    assert trained.camera.width == 800 and 'yaw_rate' not in trained.observation
    sections['simulator']['fov_deg'] = 'wide'
    path.write_text(yaml.safe_dump(sections))
    with pytest.raises(ConfigError, match=f'fov_deg must be float, got .wide.*{path}'):
        of_run(checkpoint)
    path.write_text('{')
    with pytest.raises(ConfigError, match='config of the run must be YAML'):
        of_run(checkpoint)
