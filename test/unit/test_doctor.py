"""``av-td3 doctor``: what is missing is named with what to do about it, and decides the exit."""

import json
import subprocess
import sys

import pytest

from av_td3_ros.cli import doctor
from av_td3_ros.cli.main import main

ADVICE = 'pip install torch==2.13.0 (the CPU build suffices)'
# What only some commands need: it must not be loaded with all of them.
LATE = ('PIL', 'networkx', 'scipy', 'jinja2', 'cv2', 'torch')


@pytest.fixture
def well(monkeypatch):
    """A machine that has everything; torch alone is looked for in earnest."""
    real = doctor._module

    def module(name, *rest, **more):
        if name == 'torch':
            return real(name, *rest, **more)
        return doctor.Finding(name, doctor.OK, '1.0')

    monkeypatch.setattr(doctor, '_module', module)
    monkeypatch.setattr(doctor, 'rmw_fault', lambda: '')


@pytest.fixture
def broken_torch(monkeypatch, tmp_path):
    """A torch that is installed and cannot be loaded, as where a library of CUDA is missing."""
    (tmp_path / 'torch.py').write_text("raise OSError('libcudart.so: cannot open')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'torch', raising=False)


def found(capsys):
    return {finding['name']: finding for finding in json.loads(capsys.readouterr().out)}


def test_without_torch_the_text_says_what_to_do(well, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert main(['doctor']) == 2
    lines = capsys.readouterr().out.splitlines()
    at = next(
        index for index, line in enumerate(lines) if line.split()[:2] == ['MISSING', 'torch']
    )
    assert lines[at + 1].strip() == f'-> {ADVICE}'
    assert lines[-1] == 'not ready: torch'


def test_without_torch_the_json_says_what_to_do(well, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert main(['doctor', '--json']) == 2
    findings = found(capsys)
    assert (findings['torch']['state'], findings['torch']['advice']) == ('MISSING', ADVICE)
    assert [name for name, each in findings.items() if each['state'] == 'MISSING'] == ['torch']


def test_a_torch_that_cannot_be_loaded_is_missing(well, broken_torch, capsys):
    assert main(['doctor', '--json']) == 2
    findings = found(capsys)
    assert findings['torch']['state'] == 'MISSING'
    assert findings['torch']['seen'] == 'OSError: libcudart.so: cannot open'
    assert 'GPU' not in findings['acceleration']['seen']


def test_a_middleware_that_does_not_start_is_missing(well, monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'rmw_fault', lambda: 'no rmw here')
    assert main(['doctor', '--json']) == 2
    assert found(capsys)['RMW']['seen'] == 'no rmw here'


def test_where_all_is_there_it_is_ready(well, capsys):
    pytest.importorskip('torch')
    assert main(['doctor']) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == 'ready: `av-td3 train` can run here' and 'MISSING' not in told


def test_it_looks_at_this_machine(capsys):
    torch = pytest.importorskip('torch')
    code, findings = main(['doctor', '--json']), found(capsys)
    assert findings['torch']['seen'] == torch.__version__
    assert findings['Python']['seen'].startswith(f'{sys.version_info[0]}.{sys.version_info[1]}.')
    assert code == (2 if 'MISSING' in {each['state'] for each in findings.values()} else 0)


@pytest.mark.parametrize(
    'prefix, distribution, text',
    [
        ('/checkout/.venv', 'jazzy', 'jazzy is sourced, whose Python is another one'),
        ('/checkout/.venv', '', '`make setup`'),
        (sys.base_prefix, 'jazzy', 'source your ROS 2'),
    ],
)
def test_a_sourced_ros_of_another_python_is_no_reason_to_source_it(
    monkeypatch, tmp_path, prefix, distribution, text
):
    (tmp_path / 'rclpy.py').write_text("raise ImportError('made for another Python')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'rclpy', raising=False)
    monkeypatch.setattr(sys, 'prefix', prefix)
    monkeypatch.setenv('ROS_DISTRO', distribution)
    finding = doctor._rclpy()
    assert finding.state == doctor.FAIL and text in finding.advice


def test_every_command_says_what_it_is_without_what_only_some_need():
    """Else neither doctor nor gate, whose exit code 1 is NO-GO, could say what is missing."""
    code = (
        'import sys\n'
        f'sys.modules.update(dict.fromkeys({LATE!r}))\n'  # none of them can be imported
        'from av_td3_ros.cli import main\n'
        'for command in main.COMMANDS:\n'
        '    try:\n'
        "        main.main([command.__name__.rpartition('.')[2], '--help'])\n"
        '    except SystemExit as end:\n'
        '        assert not end.code, command\n'
        "missing = {found.name for found in main.doctor.examine() if found.state != 'ok'}\n"
        f'assert set({LATE!r}) <= missing, missing\n'
        "sys.exit(main.main(['report', sys.argv[1]]))\n"
    )
    done = subprocess.run([sys.executable, '-c', code, '.'], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert 'is missing: ' in done.stderr and 'run `av-td3 doctor`' in done.stderr
