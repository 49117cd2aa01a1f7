"""
The replay as one file that is mapped into memory: a killed process loses nothing it had stored.

The file is a page of description and counts, then one column after the other. Of a new step the
columns are written first and the count last; a slot that is used again is given up in the header
before. So whatever instruction a SIGKILL meets, what the header counts is whole. That holds while
the machine lives: after a loss of power the file is as good as the last :meth:`flush`.
"""

import errno
import json
import mmap
import os
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.td3.storage import sync_folder

NAME = 'replay.mapped'
FORMAT = 2
PAGE = 4096
COUNTS_AT = 2048
Columns = Dict[str, Tuple[Tuple[int, ...], type]]


class MappedFile:
    """Columns in a file of a folder, and how much of them holds."""

    def __init__(
        self,
        folder: Path,
        spec: ObsSpec,
        capacity: int,
        columns: Columns,
        privileged: Tuple[str, ...] = (),
    ) -> None:
        """
        Open the file, or make it and reserve all its blocks.

        :param folder: made where it is not there.
        :param spec: what an observation is.
        :param capacity: rows of each column.
        :param columns: shape of a row and dtype by name, in the order of the file.
        :param privileged: names of what is kept beside the observation.
        :raises SpecError: where the file is of another observation, capacity or format; it stays
            as it is then.
        :raises OSError: where there is no room for it; nothing is left behind then.
        """
        self.path = folder / NAME
        about = {
            'format': FORMAT,
            'observation': spec.digest,
            'privileged': ' '.join(privileged) or 'none',
            'capacity': capacity,
        }
        places, size = {}, PAGE
        for name, (shape, dtype) in columns.items():
            places[name] = size
            length = capacity * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            size += -(-length // PAGE) * PAGE
        folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            _create(self.path, about, size)
        self._map = _open(self.path, about, size)
        self.columns = {
            name: np.ndarray((capacity, *shape), dtype, self._map, places[name])
            for name, (shape, dtype) in columns.items()
        }
        # Aligned words of eight bytes: each is stored by one instruction, old or new.
        self._counts = np.ndarray(2, np.int64, self._map, COUNTS_AT)

    @property
    def count(self) -> int:
        """Observations ever stored, those up to which all columns are whole."""
        return int(self._counts[0])

    @count.setter
    def count(self, value: int) -> None:
        self._counts[0] = value

    @property
    def oldest(self) -> int:
        """Index of the oldest observation that is whole."""
        return int(self._counts[1])

    @oldest.setter
    def oldest(self, value: int) -> None:
        self._counts[1] = value

    def discard(self) -> None:
        """Hold nothing."""
        self.count = 0  # first: nothing is held as long as the oldest is above it
        self.oldest = 0

    def flush(self) -> None:
        """Wait until the disk has it all, so that it outlives the machine, too."""
        self._map.flush()


def _create(path: Path, about: Dict[str, object], size: int) -> None:
    part = path.with_name(path.name + '.part')
    try:
        with part.open('wb') as file:
            # A file with holes would end the process (SIGBUS) on the first page that finds the
            # disk full.
            os.posix_fallocate(file.fileno(), 0, size)
            file.write(json.dumps(about).encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f'mapped replay must find {size / 1e9:.2f} GB for {path}, got: '
            f'{os.strerror(error.errno)}; free space, lower replay.capacity or choose another '
            'run_dir',
        ) from None
    sync_folder(path.parent)


def _open(path: Path, about: Dict[str, object], size: int) -> mmap.mmap:
    with path.open('r+b') as file:
        try:
            found = json.loads(file.read(COUNTS_AT).split(b'\n')[0])
        except ValueError:
            found = None
        if found != about:
            raise SpecError(
                f'mapped replay {path} must be {_text(about)}, got {_text(found)}; keep the '
                'settings of the run or remove the file'
            )
        actual = os.fstat(file.fileno()).st_size
        if actual != size:
            raise SpecError(
                f'mapped replay {path} must have {size} bytes, got {actual}; it was cut: remove it'
            )
        return mmap.mmap(file.fileno(), size)


def _text(about: object) -> str:
    if not isinstance(about, dict):
        return 'a file without its description'
    return ', '.join(f'{key} {value}' for key, value in about.items())
