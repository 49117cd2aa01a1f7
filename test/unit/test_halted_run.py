"""Whoever drives or exports the policy of a run that was halted is told so."""

from types import SimpleNamespace

import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.cli import evaluate_drive, export  # noqa: E402
from av_td3_ros.cli.main import parser  # noqa: E402
from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from av_td3_ros.td3 import checkpoint  # noqa: E402
from av_td3_ros.td3.agent import TD3  # noqa: E402
from small_runs import SMALL  # noqa: E402

NOTE = 'this run was halted: dead_actor'


@pytest.fixture
def make(tmp_path):
    """Return a run of a network that has learned nothing, halted or not."""

    def run(halted):
        config = build_run(SMALL, 'the test')
        folder = RunFolder(tmp_path / ('halted' if halted else 'well'))
        folder.write_config(config)
        folder.write_summary({'halted': 'dead_actor: outputs lie there' if halted else ''})
        spec = config.observation.spec()
        agent = TD3(spec, config.trainer.learner)
        checkpoint.save(folder.path, agent, spec, env_step=10, version=1)
        return folder.path, config

    return run


@pytest.mark.parametrize('halted', [False, True])
def test_an_evaluation_notes_it(make, halted):
    folder, config = make(halted)
    plan = SimpleNamespace(routes='random', via='in-process')
    notes = evaluate_drive._notes(plan, 'mine', folder, config)
    assert notes == ((f'mine: {NOTE}',) if halted else ())
    file = folder / 'config.yaml'  # as little of a run as an exported one
    assert evaluate_drive._notes(plan, 'file', file, config) == ()


@pytest.mark.parametrize('halted', [False, True])
def test_an_export_notes_it(make, halted, capsys):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    folder, _ = make(halted)
    assert export.run(parser().parse_args(['export', str(folder)])) == 0
    assert (f'note: {NOTE}\n' in capsys.readouterr().out) is halted
