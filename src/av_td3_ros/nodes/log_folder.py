"""
The folder of ROS's log files. Where it cannot be written, rclpy does not begin with log files.

A node that has to begin to say so begins without them, as ``NO_FILES`` asks for: the console and
/rosout remain. Who set that himself wants no files.
"""

from pathlib import Path
import tempfile
from typing import List, Sequence, Tuple

from rclpy.logging import get_logging_directory

NO_FILES = '--disable-external-lib-logs'


def arguments(given: Sequence[str]) -> Tuple[List[str], str]:
    """
    Return the arguments that ROS begins with, and why they are without log files, or ''.

    :param given: those of the command line.
    """
    fault = '' if NO_FILES in given else _fault()
    return [*given, *(('--ros-args', NO_FILES) if fault else ())], fault


def _fault() -> str:
    folder = Path()
    try:
        folder = get_logging_directory()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ''
    except (OSError, RuntimeError) as error:  # RCLError: there is no home folder
        reason = getattr(error, 'strerror', None) or error
        return (
            f'the folder of log files must be writable, got {folder}: {reason}; set ROS_LOG_DIR '
            f'to one that is, or do without such files by --ros-args {NO_FILES}'
        )
