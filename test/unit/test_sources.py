"""A checkpoint that was taken out of its run still says what it sees."""

from dataclasses import replace
import shutil

import pytest

from av_td3_ros import presets
from av_td3_ros.cli import sources
from av_td3_ros.config import build_run, ObservationConfig
from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.options import flatten
from av_td3_ros.task_config import OBSERVATIONS
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

SMALL = {'height': 36, 'width': 36, 'stack': 2}
SEEN = [
    ObservationConfig(),
    ObservationConfig(**OBSERVATIONS['camera'].values),
    ObservationConfig(**SMALL, crop_top=0.5, waypoints=3, waypoint_spacing=4.0),
    ObservationConfig(**SMALL, crop_top=0.0, speed=False, waypoints=0, command=True),
]


@pytest.mark.parametrize('seen', SEEN)
def test_a_specification_is_settings_and_back(seen):
    same = replace(seen, waypoint_spacing=seen.waypoint_spacing if seen.waypoints else 2.0)
    assert ObservationConfig.of(seen.spec()) == same
    assert ObsSpec.from_dict(seen.spec().to_dict()) == seen.spec()


@pytest.mark.parametrize('vector', [('altitude',), ('yaw_rate', 'speed'), ('waypoint_0_x',)])
def test_a_specification_that_no_settings_make_is_refused(vector):
    with pytest.raises(SpecError, match='must be one that settings can make'):
        ObservationConfig.of(ObsSpec(4, 84, 84, vector))


@pytest.mark.parametrize('change', [{'crop_top': 0.4}, {'waypoint_spacing': 3.0}])
def test_what_is_cut_off_and_how_far_points_are_apart_is_part_of_an_observation(change):
    base = ObservationConfig()
    assert replace(base, **change).spec().digest != base.spec().digest


def test_how_far_points_are_apart_is_nothing_where_there_are_none():
    base = ObservationConfig(waypoints=0)
    assert replace(base, waypoint_spacing=3.0).spec() == base.spec()


@pytest.fixture
def alone(tmp_path):
    """A checkpoint of something that sees otherwise than the defaults, without its run."""
    values = {f'observation.{key}': value for key, value in vars(SEEN[2]).items()}
    run = build_run(values, 'the test')
    spec = run.observation.spec()
    agent = TD3(spec, run.trainer.learner, seed=0)
    path = checkpoint.save(tmp_path / 'run', agent, spec, env_step=10, version=1)
    return shutil.copytree(path, tmp_path / 'elsewhere' / 'mine')


def test_a_checkpoint_alone_brings_what_it_sees(alone):
    with sources.settings_file(alone) as written:
        seen = flatten(presets.read_yaml(sources.Path(written)))
    assert build_run(seen, 'the test').observation == SEEN[2]
    sources.load(alone, SEEN[2])


def test_it_does_not_drive_where_another_part_of_the_image_is_cut_off(alone):
    other = replace(SEEN[2], crop_top=0.35)
    with pytest.raises(checkpoint.CheckpointError, match='with crop_top 0.5, asked for 0.35'):
        sources.load(alone, other)
    with pytest.raises(checkpoint.CheckpointError, match='waypoint_spacing 4.0, asked for 2.0'):
        sources.load(alone, replace(SEEN[2], waypoint_spacing=2.0))


def test_a_folder_without_a_policy_is_named(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match='there is no such folder'):
        with sources.settings_file(tmp_path / 'nothing'):
            pass
