"""
A file that takes whole pieces or nothing, and keeps room back for its end.

A recording runs until the disk is full more often than any other program. What is on the disk then
must still be closed: an index is missing otherwise, and most readers refuse the file. The room is
a file without a name beside it, which the system frees in any case when the process ends.
"""

import os
from pathlib import Path
import tempfile
from typing import Any, Optional


class RoomyFile:
    """``size``: bytes that are in the file, all of them whole pieces."""

    def __init__(self, path: Path, room: int) -> None:
        """
        Make a new file.

        :param path: must not exist.
        :param room: bytes to keep back.
        :raises OSError: where it cannot be made, or there is less room than that.
        """
        self.size = 0
        self._room: Optional[Any] = None
        self._file = path.open('xb', buffering=0)
        try:
            self._room = tempfile.TemporaryFile(dir=path.parent)
            os.posix_fallocate(self._room.fileno(), 0, room)
        except OSError:
            self.close()
            path.unlink()
            raise

    def write(self, data: bytes) -> None:
        """
        Append a piece whole.

        :raises OSError: where it cannot be written; the file is as before then.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(self.size)
            self._file.seek(self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """
        Wait until the pieces are on the disk itself, where a loss of power leaves them.

        :raises OSError: where the disk failed.
        """
        os.fdatasync(self._file.fileno())

    def give_room(self) -> None:
        """Let the file have the room that was kept back."""
        if self._room is not None:
            self._room.close()
            self._room = None

    def close(self) -> None:
        """Close the file and give the room back; safe to call twice."""
        self.give_room()
        self._file.close()
