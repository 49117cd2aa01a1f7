"""``av-td3 doctor``: what is installed, what is missing, and what to do about it."""

import argparse
import importlib
import json
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys
from typing import Any, Callable, List, NamedTuple, Tuple

OK, WARN, FAIL = 'ok', 'optional', 'MISSING'
SMALLEST_SHARED_MEMORY = 64 * 2**20
SUPPORTED = ((3, 10), (3, 12))


class Finding(NamedTuple):
    """
    One line: what was looked at, how it is, what was seen, and what to do where it is not well.
    """

    name: str
    state: str
    seen: str
    advice: str = ''


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'doctor',
        help='check this machine: ROS, messages, CARLA, torch, memory',
        description='Look at everything that av_td3_ros needs and say what is missing and what '
        'to do. Exit code '
        '0 where training can run here, else 2.',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    findings = examine()
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f'{finding.state:>8}  {finding.name:18} {finding.seen}')
            if finding.state != OK and finding.advice:
                print(f'{"":28} -> {finding.advice}')
    missing = [finding.name for finding in findings if finding.state == FAIL]
    if not options.json:
        print(
            f'\nnot ready: {", ".join(missing)}'
            if missing
            else '\nready: `av-td3 train` can run here'
        )
    return 2 if missing else 0


def examine() -> List[Finding]:
    """Return every finding."""
    checks: Tuple[Callable[[], Finding], ...] = (
        _python,
        _rclpy,
        _rmw,
        lambda: _module(
            'av_td3_msgs',
            'build the messages: `make setup`, or `colcon build` with the base paths of README.md',
            'av_td3_msgs.msg',
        ),
        lambda: _module(
            'carla_msgs',
            'build the messages: `make setup`, or install carla_msgs',
            'carla_msgs.msg',
        ),
        _torch,
        _acceleration,
        _threads,
        lambda: _module('cv2', 'pip install opencv-python-headless'),
        lambda: _module('safetensors', 'pip install safetensors'),
        lambda: _module('zstandard', 'pip install zstandard'),
        lambda: _module('networkx', 'pip install networkx'),
        lambda: _module('scipy', 'pip install scipy'),
        lambda: _module('PIL', 'pip install pillow; `av-td3 report` needs it', needed=False),
        lambda: _module('jinja2', 'pip install jinja2; `av-td3 report` needs it', needed=False),
        lambda: _module(
            'mcap_ros2',
            'pip install mcap mcap-ros2-support; `av-td3 record` needs them',
            needed=False,
        ),
        lambda: _module(
            'onnxruntime',
            'pip install onnxruntime; drives with exported policies',
            needed=False,
        ),
        lambda: _module(
            'onnxscript', 'pip install onnx onnxscript; `av-td3 export` needs them', needed=False
        ),
        _carla,
        lambda: _module('panda3d', 'pip install panda3d', 'panda3d.core', needed=False),
        lambda: _module('tensorboard', 'pip install tensorboard', needed=False),
        lambda: _module('matplotlib', 'pip install matplotlib', needed=False),
        lambda: _module(
            'stable_baselines3',
            'pip install stable-baselines3; only `av-td3 bench` compares with it',
            needed=False,
        ),
        lambda: _module(
            'launch_ros', 'comes with an apt ROS 2; `av-td3 train` does not need it', needed=False
        ),
        lambda: _module(
            'tf2_msgs', 'comes with an apt ROS 2; without it /tf is not published', needed=False
        ),
        _shared_memory,
        _domain,
    )
    return [check() for check in checks]


def _python() -> Finding:
    version = sys.version_info[:2]
    fits = SUPPORTED[0] <= version <= SUPPORTED[1]
    return Finding(
        'Python',
        OK if fits else WARN,
        platform.python_version(),
        'ROS 2 and CARLA wheels are tested with 3.10 to 3.12',
    )


def _module(name: str, advice: str, imported: str = '', needed: bool = True) -> Finding:
    try:
        module = importlib.import_module(imported or name)
    except Exception as error:
        return Finding(name, FAIL if needed else WARN, f'{type(error).__name__}: {error}', advice)
    return Finding(name, OK, str(getattr(module, '__version__', 'importable')))


def _rclpy() -> Finding:
    distribution = os.environ.get('ROS_DISTRO', '')
    in_venv = sys.prefix != sys.base_prefix
    advice = (
        f'{distribution} is sourced, whose Python is another one: use a shell where no ROS is '
        'sourced (README.md)'
        if distribution and in_venv
        else 'source your ROS 2 (`source /opt/ros/<distro>/setup.bash`) or run `make setup`'
    )
    finding = _module('rclpy', advice)
    return (
        finding._replace(seen=distribution or 'from PyPI wheels')
        if finding.state == OK
        else finding
    )


def _rmw() -> Finding:
    fault = rmw_fault()
    advice = (
        'unset RMW_IMPLEMENTATION, or pip install "ros-rclpy[fastrtps]", or install the one you '
        'want'
    )
    wanted = os.environ.get('RMW_IMPLEMENTATION', 'the default')
    return Finding('RMW', FAIL, fault, advice) if fault else Finding('RMW', OK, wanted)


def rmw_fault() -> str:
    """
    Return why the middleware does not start, or ''.

    In a process of its own: a wrong RMW_IMPLEMENTATION ends the process that loads it.
    """
    code = 'import rclpy; rclpy.init(); rclpy.create_node("doctor"); rclpy.shutdown()'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    if done.returncode == 0:
        return ''
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].rpartition(']: ')[2] if lines else f'exit code {done.returncode}'


def _torch() -> Finding:
    return _module('torch', 'pip install torch==2.13.0 (the CPU build suffices)')


def _acceleration() -> Finding:
    try:
        flags = Path('/proc/cpuinfo').read_text()
    except OSError:
        flags = ''
    found = [name for name in ('amx_bf16', 'avx512_bf16', 'avx512f', 'avx2') if name in flags]
    seen = ', '.join(found[:2]) or 'plain processor'
    if _torch().state == OK:
        import torch

        if torch.cuda.is_available():
            seen += (
                f', GPU {torch.cuda.get_device_name(0)} (use it with --set trainer.device=cuda)'
            )
        else:
            seen += ', no GPU'
    return Finding('acceleration', OK, seen)


def _threads() -> Finding:
    cores = os.cpu_count() or 1
    return Finding(
        'cores', OK if cores >= 2 else WARN, str(cores), 'two or more cores are advised'
    )


def _carla() -> Finding:
    return _module(
        'carla',
        'pip install carla==0.9.16 (x86-64, Python 3.10 to 3.12); the maps are read with it',
    )


def _shared_memory() -> Finding:
    folder = Path('/dev/shm')
    if not folder.exists():
        return Finding(
            'shared memory', WARN, 'no /dev/shm', 'images will travel over the loopback network'
        )
    free = shutil.disk_usage(folder).free
    return Finding(
        'shared memory',
        OK if free > SMALLEST_SHARED_MEMORY else WARN,
        f'{free / 2**20:.0f} MiB free',
        'in a container, start it with --shm-size=256m',
    )


def _domain() -> Finding:
    return Finding('ROS_DOMAIN_ID', OK, os.environ.get('ROS_DOMAIN_ID', '0 (default)'))
