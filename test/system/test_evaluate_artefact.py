"""An exported policy drives over the graph as it does in one process."""

import csv
import subprocess
import sys

import pytest
from small_graph import PATIENT

from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.export import export
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

STEPS = 30
SETTINGS = {
    'episode_manager.termination.max_steps': STEPS,
    **PATIENT,
}
FIGURES = ('length', 'distance', 'route_completion', 'mean_speed')


@pytest.fixture
def exported(tmp_path):
    """Return the file of a policy that drives off."""
    config = build_run({'simulator.image_width': 128, 'simulator.image_height': 72}, 'the test')
    spec = config.observation.spec()
    agent = TD3(spec, config.trainer.learner, seed=2)
    agent.policy.actor.layers[-1].bias.data[1] = 0.8
    checkpoint.save(tmp_path / 'run', agent, spec, env_step=10, version=3)
    files.write(tmp_path / 'policy.avtd3', export(tmp_path / 'run', config)[0])
    return tmp_path / 'policy.avtd3'


def drive(exported, via):
    """Return the rows of an evaluation."""
    out = exported.parent / via
    done = subprocess.run(
        [sys.executable, '-m', 'av_td3_ros.cli.main', 'evaluate', str(exported), '--via', via]
        + ['--episodes', '2', '--output', str(out)]
        + [f'--set={key}={value}' for key, value in SETTINGS.items()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with (out / 'evaluation.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def test_the_graph_drives_it_as_one_process_does(exported, nothing_left):
    here, graph = drive(exported, 'in-process'), drive(exported, 'graph')
    assert len(here) == len(graph) == 2
    for mine, other in zip(graph, here):
        assert float(other['distance']) > 0.5
        for name in FIGURES:
            assert float(mine[name]) == pytest.approx(float(other[name]), rel=1e-3), name
