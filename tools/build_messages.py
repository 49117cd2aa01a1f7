"""
Build our message packages into a virtual environment that has ROS 2 from PyPI wheels.

They become part of the environment's own prefix: nothing has to be sourced to use them.
"""

import os
from pathlib import Path
import subprocess
import sys
import sysconfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('av_td3_msgs', 'carla_msgs')
# Where the wheels were built; their exported CMake targets name it as if it were on every machine.
FOREIGN_PREFIX = '/opt/python/cp{0}{1}-cp{0}{1}'
# Libraries find each other from lib/ and from lib/python3.x/site-packages/<package>/.
RPATH = '$ORIGIN;$ORIGIN/../../..'


def correct_exports(prefix: Path) -> None:
    """Let the wheels' CMake files name the include folders that exist here."""
    major, minor = sys.version_info[:2]
    foreign = FOREIGN_PREFIX.format(major, minor)
    headers = f'{foreign}/include/python{major}.{minor}'
    for file in prefix.glob('share/*/cmake/*Export.cmake'):
        text = file.read_text()
        if foreign in text:
            text = text.replace(
                headers, sysconfig.get_path('include', vars={'base': sys.base_prefix})
            )
            file.write_text(text.replace(foreign, str(prefix)))


def build(prefix: Path) -> int:
    """Build with colcon; show its output only where it fails."""
    environment = {
        **os.environ,
        'AMENT_PREFIX_PATH': str(prefix),
        'CMAKE_PREFIX_PATH': str(prefix),
        'PATH': f'{prefix / "bin"}{os.pathsep}{os.environ["PATH"]}',
        'VIRTUAL_ENV': str(prefix),
        'AV_TD3_MSGS_PREFIX': str(prefix),
    }
    done = subprocess.run(
        [
            str(prefix / 'bin' / 'colcon'),
            '--log-base',
            str(prefix / 'log' / 'colcon'),
            'build',
            '--base-paths',
            *(str(ROOT / package) for package in PACKAGES),
            '--merge-install',
            '--install-base',
            str(prefix),
            '--build-base',
            str(prefix / 'build'),
            '--cmake-args',
            '-DBUILD_TESTING=OFF',
            '-DCMAKE_BUILD_TYPE=Release',
            f'-DCMAKE_INSTALL_RPATH={RPATH}',
            f'-DPython3_EXECUTABLE={prefix / "bin" / "python"}',
            '--no-warn-unused-cli',
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
        print('setup: the messages could not be built; the reason stands above', file=sys.stderr)
    return done.returncode


def main() -> int:
    """Build into the prefix that is named on the command line."""
    prefix = Path(sys.argv[1]).resolve()
    correct_exports(prefix)
    return build(prefix)


if __name__ == '__main__':
    sys.exit(main())
