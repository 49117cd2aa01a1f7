"""What nodes say of themselves before they work: how they are run, and what they lack."""

import importlib
import sys

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from test_perception_node import Frame
import torch

from av_td3_ros.nodes.base import SUPERVISED
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.trainer_node import TrainerNode

NODES = ('simulator', 'perception', 'policy', 'episode_manager', 'trainer', 'watch')


def fail(*arguments, **options):
    raise RuntimeError('no')


@pytest.mark.parametrize('name', NODES)
@pytest.mark.parametrize('word', ['-h', '--help'])
def test_help_is_one_line_and_starts_no_node(monkeypatch, capsys, name, word):
    program = importlib.import_module(f'av_td3_ros.nodes.{name}_node')
    monkeypatch.setattr(sys, 'argv', [f'{name}_node', word])
    monkeypatch.setattr(rclpy, 'init', fail)
    with pytest.raises(SystemExit) as exit_info:
        program.main()
    told = capsys.readouterr().out
    assert exit_info.value.code == 0 and told.count('\n') == 1
    assert told.startswith(f'usage: ros2 run av_td3_ros {name}_node --ros-args -p ')


def test_a_trainer_whose_device_is_not_there_makes_no_folder(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'init', fail)
    node = ros.make(TrainerNode, run_dir=str(tmp_path / 'run'), device='cuda')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "torch can use here, got 'cuda': no; set it to cpu (device in" in node._refusal
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('supervised', [False, True])
def test_silence_before_the_first_image_of_a_supervised_graph_is_no_error(
    ros, talker, monkeypatch, supervised
):
    monkeypatch.delenv(SUPERVISED, raising=False)
    if supervised:
        monkeypatch.setenv(SUPERVISED, '1')
    node = ros.make(PerceptionNode, image_timeout=0.7)
    said = {'info': [], 'error': []}
    for level, texts in said.items():
        monkeypatch.setattr(node.get_logger(), level, lambda text, to=texts, **_: to.append(text))
    node.trigger_configure()
    node.trigger_activate()
    silence = said['info' if supervised else 'error']
    ros.until(lambda: any('no image for' in text for text in silence))
    assert node.health()[0] == b'\x02' and bool(said['error']) is not supervised
    said['error'].clear()
    Frame(talker, 1).image()
    ros.until(lambda: any('no image for' in text for text in said['error']))
