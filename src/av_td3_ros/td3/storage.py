"""Files that are either whole or not there: written beside, flushed to the disk, renamed."""

import os
from pathlib import Path


def replace_bytes(path: Path, data: bytes) -> None:
    """
    Write a file so that a reader, even after a crash, finds the old or the new one, whole.

    :raises OSError: where it cannot be written; what was there stays.
    """
    part = path.with_name(path.name + '.part')
    try:
        write_bytes(part, data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open('wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
