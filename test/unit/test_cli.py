"""
Every bad input gets one line that says what, got, expected, and exit code 2; nothing is
overwritten.
"""

import sys

import pytest

from av_td3_ros.cli.main import main
from av_td3_ros.run_folder import claimed, LOCK


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--map', 'no/such.xodr'], 'No such file or directory; set it with --map'),
        (['--map', ''], 'map must be'),
        (['--config', ''], 'config file must be readable'),
        (['--preset', ''], 'preset'),
        (['--set', 'trainer.stepz=5'], "unknown key 'trainer.stepz'"),
        (['--set', 'trainer.steps=1'], 'trainer.steps must be 10 to 1e+09, got 1'),
        (['--set', 'trainer.steps'], '--set must be KEY=VALUE'),
        (['--steps', '3'], 'trainer.steps must be 10 to 1e+09, got 3'),
        (['--config', 'no/such.yaml'], 'config file must be readable'),
        (['--resume', 'no/such/run'], 'got no/such/run: there is no such folder'),
        (
            [
                '--set',
                'episode_manager.route_length_min=4000',
                '--set',
                'episode_manager.route_length_max=4100',
            ],
            'must have routes of 4000 to 4100 m',
        ),
        (['--resume', 'a', '--run-dir', 'b'], '--run-dir must be the folder of --resume, got b'),
        (['--resume', 'a', '--run-dir', './a'], 'got a: there is no such folder'),
        (['--set', 'policy.artefact=some.avtd3'], 'a policy that is trained must adopt weights'),
        (['--set', 'policy.accept_weights=false'], 'a policy that is trained must adopt weights'),
    ],
)
def test_train_refuses(refused, tmp_path, arguments, text):
    pytest.importorskip('carla')
    folder = [] if '--resume' in arguments else ['--run-dir', str(tmp_path / 'run')]
    assert text in refused('train', *folder, *arguments)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'content, text',
    [
        ('', 'must be OpenDRIVE'),
        ('<a/>', 'must be OpenDRIVE'),
        ('<OpenDRIVE>', 'broken XML'),
        ('<OpenDRIVE></OpenDRIVE>', 'map'),
    ],
)
def test_a_broken_map_is_refused(refused, tmp_path, content, text):
    pytest.importorskip('carla')
    path = tmp_path / 'broken.xodr'
    path.write_text(content)
    told = refused('train', '--run-dir', str(tmp_path / 'run'), '--map', str(path))
    assert text in told and f'map {path} must ' in told


@pytest.mark.parametrize('how', [[], ['--in-process']])
def test_a_device_that_torch_cannot_use_is_refused(refused, tmp_path, monkeypatch, how):
    cuda = pytest.importorskip('torch').cuda

    def fail():
        raise RuntimeError('Found no NVIDIA driver.\nGet one')

    monkeypatch.setattr(cuda, 'init', fail)
    told = refused('train', *how, '--set=trainer.device=cuda', '--run-dir', tmp_path / 'run')
    assert "trainer.device must be one that torch can use here, got 'cuda': Found no" in told
    assert 'set it to cpu' in told and not (tmp_path / 'run').exists()


def test_a_run_folder_in_which_another_trains_is_refused(refused, tmp_path):
    pytest.importorskip('carla')
    with claimed(tmp_path):
        told = refused('train', '--in-process', '--run-dir', tmp_path)
    assert f'run folder must have one training at a time, got {tmp_path}, where another' in told
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_used_run_folder_is_not_touched(refused, tmp_path):
    (tmp_path / 'checkpoints' / 'step_00000100').mkdir(parents=True)
    (tmp_path / 'config.yaml').write_text('kept')
    assert 'run folder must be new' in refused('train', '--run-dir', str(tmp_path))
    assert (tmp_path / 'config.yaml').read_text() == 'kept'


@pytest.mark.parametrize(
    'content, text',
    [
        ('[1, 2]', 'must hold a mapping'),
        ('a: [', 'must be YAML'),
        ('trainer: {steps: many}', 'trainer.steps must be int'),
    ],
)
def test_a_bad_config_file_is_refused(refused, tmp_path, content, text):
    path = tmp_path / 'c.yaml'
    path.write_text(content)
    assert text in refused('train', '--run-dir', str(tmp_path / 'run'), '--config', str(path))


def test_an_unwritable_run_folder_is_refused(refused):
    pytest.importorskip('carla')
    assert 'run folder must be writable, got /proc/no' in refused('train', '--run-dir', '/proc/no')


def test_shared_settings_of_a_written_config_can_be_overridden(tmp_path):
    import yaml
    from dataclasses import asdict
    from av_td3_ros.cli.common import load_config
    from av_td3_ros.cli.main import parser
    from av_td3_ros.config import RunConfig

    path = tmp_path / 'config.yaml'
    path.write_text(yaml.safe_dump(asdict(RunConfig())))
    options = parser().parse_args(['train', '--config', str(path), '--set', 'role_name=hero'])
    config = load_config(options)
    assert config.policy.role_name == config.simulator.role_name == 'hero'


def test_a_named_observation_reaches_every_node_and_single_entries_go_before_it(tmp_path, refused):
    from av_td3_ros.cli.common import load_config
    from av_td3_ros.cli.main import parser

    def seen(*arguments):
        config = load_config(parser().parse_args(['train', *arguments]))
        assert config.trainer.observation == config.policy.observation == config.observation
        return config.perception.observation

    assert seen('--observation', 'waypoints') == seen()
    camera = seen('--observation', 'camera')
    assert (camera.command, camera.waypoints, camera.heading_error) == (True, 0, False)
    assert seen('--observation', 'camera', '--set', 'observation.waypoints=3').waypoints == 3
    path = tmp_path / 'config.yaml'
    path.write_text('observation: {waypoints: 4, height: 64}')
    assert seen('--config', str(path), '--observation', 'camera').waypoints == 0
    assert seen('--config', str(path), '--observation', 'camera').height == 64
    assert 'observation must be one of waypoints, camera, got \'blind\'' in refused(
        'train', '--observation', 'blind'
    )


def test_evaluate_refuses_what_is_no_checkpoint(refused, tmp_path):
    assert 'a checkpoint or run folder must be given' in refused('evaluate', str(tmp_path))


def test_bench_refuses_nonsense(refused):
    assert '--camera must be WIDTHxHEIGHT' in refused('bench', 'graph', '--camera', 'big')
    assert '--seconds must be >= 3' in refused('bench', 'graph', '--seconds', '0')


@pytest.mark.parametrize('command', ['train', 'evaluate', 'export', 'presets', 'bench', 'doctor'])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, '--help'])
    assert exit_info.value.code == 0
    assert 'usage: av-td3' in capsys.readouterr().out


def test_a_middleware_that_is_not_there_is_refused(refused, tmp_path, monkeypatch):
    pytest.importorskip('rclpy')
    pytest.importorskip('carla')
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_nope')
    assert 'RMW_IMPLEMENTATION must name an installed middleware, got rmw_nope' in refused(
        'train', '--run-dir', str(tmp_path / 'run')
    )
    assert not (tmp_path / 'run').exists()


def test_messages_that_are_not_built_are_named(refused, tmp_path, monkeypatch):
    pytest.importorskip('carla')
    monkeypatch.setitem(sys.modules, 'av_td3_msgs', None)
    monkeypatch.delitem(sys.modules, 'av_td3_msgs.msg', raising=False)
    message = refused('train', '--run-dir', str(tmp_path / 'run'))
    assert 'av_td3_msgs' in message and 'av-td3 doctor' in message
    assert not (tmp_path / 'run').exists()
