"""``av-td3 export``: from a run to one file that drives the same wherever it is taken."""

import csv
import hashlib
import json
from pathlib import Path
import re
import shutil
import subprocess
import sys

import onnx
import onnxruntime
import pytest
import yaml

from av_td3_ros.cli.main import main
from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact as files
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3
from small_runs import SMALL

pytest.importorskip('carla')

STEPS = 40
FAST = ['--via', 'in-process', '--set', 'episode_manager.termination.max_steps=25']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Return the folder of a run of twenty steps and its exported policy."""
    folder = tmp_path_factory.mktemp('runs') / 'one'
    values = {**SMALL, 'simulator.fov_deg': 100.0, 'trainer.update_after': 10}
    settings = [f'--set={key}={value}' for key, value in values.items()]
    command = ['train', '--in-process', '--steps', '20', '--seed', '4']
    assert main([*command, '--run-dir', str(folder), *settings]) == 0
    # Twenty steps teach nothing: a second checkpoint, which drives off and looks where it goes.
    config = build_run(values, 'the test')
    spec = config.observation.spec()
    agent = TD3(spec, config.trainer.learner)
    last = agent.policy.actor.layers[-1]
    last.weight.data *= 0.3 / last.weight.data.abs().max()
    last.bias.data[1] = 1.0
    checkpoint.save(folder, agent, spec, env_step=STEPS, version=5)
    assert main(['export', str(folder)]) == 0
    return folder, folder / 'policy.avtd3'


def rows(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def test_the_file_tells_where_it_comes_from(trained):
    folder, path = trained
    raw = files.read(path).description.raw
    training = raw['training']
    assert (training['run'], training['env_steps'], training['seed']) == ('one', STEPS, 4)
    assert training['checkpoint'] == f'step_{STEPS:08d}'
    assert training['updates'] == 0 and training['map'] == 'town'
    assert set(training['versions']) >= {'av_td3_ros', 'torch', 'onnx', 'onnxruntime', 'numpy'}
    assert raw['camera']['fov_deg'] == 100.0
    assert (raw['camera']['width'], raw['camera']['height']) == (64, 48)
    newest = folder / 'checkpoints' / f'step_{STEPS:08d}'
    weights = (newest / 'policy.safetensors').read_bytes()
    assert training['checkpoint_sha256'] == hashlib.sha256(weights).hexdigest()
    text = json.dumps(training['config'], sort_keys=True)
    assert training['config_sha256'] == hashlib.sha256(text.encode()).hexdigest()
    written = yaml.safe_load((folder / 'config.yaml').read_text())
    assert training['config']['trainer']['learner'] == written['trainer']['learner']


def test_the_file_knows_nothing_of_the_machine(trained):
    folder, path = trained
    data = path.read_bytes()
    for place in (folder.parent, files.__file__.rpartition('/av_td3_ros/')[0], sys.prefix):
        assert str(place).encode() not in data


def test_the_same_run_makes_the_same_file_in_another_process(trained, tmp_path):
    folder, path = trained
    again = tmp_path / 'again.avtd3'
    code = 'import sys; from av_td3_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    command = [sys.executable, '-c', code, 'export', str(folder), '-o', str(again)]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert again.read_bytes() == path.read_bytes()


def test_a_checkpoint_is_exported_beside_the_others(trained, capsys):
    folder, path = trained
    name = f'step_{STEPS:08d}'
    assert main(['export', str(folder / 'checkpoints' / name)]) == 0
    made = folder / f'policy_{name}.avtd3'
    out = capsys.readouterr().out
    assert f'{made}: version ' in out
    within = re.search(r'ONNX Runtime and torch act as the policy does, within (\S+)', out)[1]
    assert 0.0 <= float(within) <= 1e-4
    found = files.read(made)
    assert found.sha256 in out and made.read_bytes() == path.read_bytes()
    made.unlink()


def test_a_file_is_described(trained, capsys):
    assert main(['export', str(trained[1])]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == files.read(trained[1]).description.raw


def test_the_graph_alone_is_valid_and_describes_itself(trained, tmp_path):
    path = tmp_path / 'policy.onnx'
    assert main(['export', str(trained[1]), '--onnx', str(path)]) == 0
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    described = json.loads(session.get_modelmeta().custom_metadata_map['av_td3'])
    raw = files.read(trained[1]).description.raw
    assert described == {key: value for key, value in raw.items() if key != 'sha256'}
    assert [item.type for item in session.get_inputs()] == ['tensor(uint8)', 'tensor(float)']
    for part in (model.graph.node, model.graph.value_info, model.graph.initializer):
        assert not any(item.doc_string or list(item.metadata_props) for item in part)


@pytest.mark.parametrize('engine', ['onnx', 'torch'])
def test_it_drives_as_the_run_does_wherever_it_is(trained, tmp_path, engine, capsys):
    folder, path = trained
    moved = shutil.copy(path, tmp_path / 'moved.avtd3')
    both = ['--episodes', '2', *FAST, '--set', f'policy.engine={engine}']
    assert main(['evaluate', str(folder), *both, '--output', str(tmp_path / 'run')]) == 0
    assert main(['evaluate', str(moved), *both]) == 0
    ours, its = rows(tmp_path / 'moved_evaluation_other_settings' / 'evaluation.csv'), rows(
        tmp_path / 'run' / 'evaluation.csv'
    )
    assert len(ours) == len(its) == 2
    for mine, other in zip(ours, its):
        numbers = [key for key, value in other.items() if value.replace('.', '').isdigit()]
        assert len(numbers) > 10 and float(other['distance']) > 0.0
        for key in numbers:
            assert float(mine[key]) == pytest.approx(float(other[key]), rel=1e-3, abs=1e-3), key
    # It was trained off the held-out roads, and still knows it.
    assert 'was trained on routes of all roads' not in capsys.readouterr().out


def test_a_run_and_its_file_stand_side_by_side(trained, tmp_path, capsys):
    command = ['evaluate', *map(str, trained), '--episodes', '1', *FAST]
    assert main([*command, '--output', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert 'one' in out and 'policy.avtd3' in out


def test_what_cannot_be_exported_is_refused(trained, refused, tmp_path):
    folder, path = trained
    assert 'a checkpoint or run folder must be given' in refused('export', str(tmp_path))
    (tmp_path / 'checkpoints').symlink_to(folder / 'checkpoints')
    assert 'must hold config.yaml' in refused('export', str(tmp_path))
    config = ['--config', str(folder / 'config.yaml')]
    target = tmp_path / 'no' / 'file'
    command = ['export', str(tmp_path), *config]
    assert f'folder that is there, got {target}' in refused(*command, '-o', str(target))
    assert 'to a file in a folder that is there' in refused(*command, '-o', str(tmp_path))
    assert 'observation must be stack 3, got 4' in refused(*command, '--set=observation.stack=3')
    assert "unknown key 'camera.fov'" in refused(*command, '--set=camera.fov=90')
    assert 'leave -o, --config and --set out' in refused('export', str(path), '-o', 'x')
    assert not (tmp_path / 'policy.avtd3').exists()
    assert main(command) == 0 and (tmp_path / 'policy.avtd3').exists()


def test_a_damaged_or_unfitting_file_does_not_drive(trained, refused, tmp_path):
    data = trained[1].read_bytes()
    (tmp_path / 'short').write_bytes(data[:-1])
    assert 'it was cut short' in refused('evaluate', str(tmp_path / 'short'), *FAST)
    (tmp_path / 'other').write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert 'was damaged or changed' in refused('evaluate', str(tmp_path / 'other'), *FAST)
    cropped = ['--set', 'observation.crop_top=0.1']
    text = refused('evaluate', str(trained[1]), *FAST, *cropped)
    assert 'the artefact must be shown observation.crop_top 0.35, got 0.1' in text


def test_the_program_of_the_docs_drives_it(trained):
    text = (Path(__file__).parents[2] / 'docs' / 'design' / 'deployment.md').read_text()
    program = text.split('```python\n')[1].split('```')[0]
    done = subprocess.run(
        [sys.executable, '-c', program, str(trained[1])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    action = files.read(trained[1]).probe.action[0]
    assert done.stdout == 'steering %.4f, acceleration %.4f\n' % tuple(action)
