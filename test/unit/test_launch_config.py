"""What a launch file tells its nodes, as the config of the run."""

import json

import pytest

from av_td3_ros import graph
from av_td3_ros.config import RunConfig
from av_td3_ros.launch_config import bridge_camera, parameters, run_config
from av_td3_ros.options import ConfigError, to_flat
from av_td3_ros.resources import share

OBJECTS = share('config', 'carla_objects.json')


def test_the_shipped_files_are_the_defaults():
    assert to_flat(run_config({})) == to_flat(RunConfig())


def test_what_is_laid_over_goes_before_the_file():
    told = {'trainer': {'learner.batch_size': 64}, 'simulator': {'vehicles': 3}}
    config = run_config(told)
    assert config.trainer.learner.batch_size == 64 and config.simulator.vehicles == 3


def test_what_is_shared_reaches_every_node():
    told = {spec.name: {'role_name': 'hero'} for spec in graph.nodes('training')}
    config = run_config({**told, 'trainer': {}})
    assert config.role_name == config.perception.role_name == config.simulator.role_name == 'hero'


@pytest.mark.parametrize(
    'told, text',
    [
        ({'trainer': {'observation.stack': 3}}, r'observation.stack must be the same .* 3 .* 4'),
        ({'trainer': {'learner.batch_sise': 3}}, "did you mean 'trainer.learner.batch_size'"),
        ({'simulator': {'vehicles': 1000}}, r'simulator.vehicles must be .*100.* got 1000'),
    ],
)
def test_what_no_node_would_take_is_refused(told, text):
    with pytest.raises(ConfigError, match=text):
        run_config(told)


@pytest.mark.parametrize('text', ['{}', '/**: 3', '/**:\n  ros__parameters:\n', '[1]', 'a: b: c'])
def test_a_file_without_parameters_is_refused(tmp_path, text):
    path = tmp_path / 'node.param.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match='node.param.yaml'):
        parameters(path)


def test_the_camera_of_the_bridge_is_that_of_the_training():
    """As shipped; where somebody has another one, his is told."""
    simulator = RunConfig().simulator
    shipped = bridge_camera(OBJECTS)
    assert {key: getattr(simulator, key) for key in shipped} == shipped


def test_another_camera_is_told_and_a_broken_file_refused(tmp_path):
    objects = json.loads(OBJECTS.read_text())
    camera = objects['objects'][-1]['sensors'][0]
    camera.update(image_size_x=800, fov=90.0)
    path = tmp_path / 'objects.json'
    path.write_text(json.dumps(objects))
    assert bridge_camera(path)['image_width'] == 800 and bridge_camera(path)['fov_deg'] == 90.0
    del camera['fov']
    for text in (json.dumps(objects), '{"objects": []}', '[]', 'no json'):
        path.write_text(text)
        with pytest.raises(ConfigError, match='objects definition must hold a vehicle with'):
            bridge_camera(path)
