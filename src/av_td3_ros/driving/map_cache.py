"""
What is slow to build from a map, kept on disk as arrays.

An entry is found by the hash of all that it was built from, so a changed file, format or library
makes a new one. A cache is never needed: what cannot be read is built again, what cannot be
written is not kept, and either is logged once.

It lies in ``$AV_TD3_CACHE``, else ``$XDG_CACHE_HOME/av_td3_ros``, else ``~/.cache/av_td3_ros``.
"""

import contextlib
import functools
import hashlib
from importlib import metadata
import logging
import os
from pathlib import Path
import re
import tempfile
from typing import Callable, Dict, Optional
import zipfile
import zlib

import numpy as np

LOG = logging.getLogger(__name__)
# Grows with every change of what any entry holds.
FORMAT = 1
KEPT = 20
# The names that are made here; what else lies in the folder is somebody else's.
TEMPORARY = '.av_td3-'
OWN = re.compile(rf'(.*-[0-9a-f]{{32}}|{re.escape(TEMPORARY)}\w+)\.npz')
LIBRARY = 'carla'

Arrays = Dict[str, np.ndarray]


def digest(*parts: str) -> str:
    """
    Return what names an entry: a hash of this format, CARLA's version and more.

    :param parts: all that the entry is built from, such as the text of the map and a seed.
    """
    try:
        version = metadata.version(LIBRARY)
    except metadata.PackageNotFoundError:
        version = 'none'
    found = hashlib.sha256()
    for part in (str(FORMAT), version, *parts):
        found.update(f'{len(part)}:{part}'.encode())
    return found.hexdigest()


def cached(name: str, digest: str, build: Callable[[], Arrays]) -> Arrays:
    """
    Return arrays from the cache, or else build and keep them.

    :param name: what it is, such as ``town scenery``, for people. :param digest: as ``digest``
        gives it. :param build: makes the arrays; none may hold Python objects.
    :raises TypeError: where one does.
    """
    path = folder() / f'{re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]}-{digest[:32]}.npz'
    found = _read(path)
    if found is None:
        found = {key: np.asarray(value) for key, value in build().items()}
        objects = [key for key, value in found.items() if value.dtype.hasobject]
        if objects:
            raise TypeError(f'cached arrays must be of numbers or text, got objects in {objects}')
        _write(path, found)
    return found


def folder() -> Path:
    """Return where the cache lies."""
    own = os.environ.get('AV_TD3_CACHE')
    if own:
        return Path(own)
    base = os.environ.get('XDG_CACHE_HOME')
    return (Path(base) if base else Path(os.path.expanduser('~'), '.cache')) / 'av_td3_ros'


def _read(path: Path) -> Optional[Arrays]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        _warn(f'cache entry {path} cannot be read and is built again: {error}')
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read is one
        os.utime(path)  # the newest are those that were used last
    return found


def _write(path: Path, arrays: Arrays) -> None:
    """Write beside the entry and rename, so that nobody reads half of one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=TEMPORARY, suffix='.npz', delete=False
        ) as file:
            try:
                np.savez(file, **arrays)
            except OSError:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)
        _prune(path.parent)
    except OSError as error:
        _warn(f'cache {path.parent} cannot be written and is not used: {error}')


def _prune(where: Path) -> None:
    """Remove all but the newest entries, left-overs of ended processes included."""
    own = (path for path in where.iterdir() if OWN.fullmatch(path.name))
    entries = sorted(own, key=lambda path: (_modified(path), path.name))
    for path in entries[:-KEPT]:
        path.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@functools.lru_cache(maxsize=64)
def _warn(message: str) -> None:
    LOG.warning(message)
