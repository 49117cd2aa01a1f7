"""Shared-memory segments of Fast DDS: a process that is killed leaves its own behind."""

import fcntl
import os
from pathlib import Path
import re
from typing import FrozenSet, Optional, Set

FOLDER = Path('/dev/shm')
PATTERNS = ('fastrtps_*', 'fastdds_*', 'fast_datasharing*', 'sem.fastrtps_*', 'sem.fastdds_*')
# A segment, beside ports and the like; who made it holds its lock as long as he lives.
MADE, LOCK = re.compile('fast(rtps|dds)_[0-9a-f]+'), '_el'
# Who reads from a port holds one of its locks: that of one reader or that of several.
LOCKS, AROUND = (LOCK, '_sl'), re.compile('^sem[.]|_(el|sl|mutex)$')


def snapshot() -> FrozenSet[str]:
    """Return the names of the segments that exist now."""
    return frozenset(path.name for pattern in PATTERNS for path in FOLDER.glob(pattern))


def orphans(before: FrozenSet[str], ending: Optional[int] = None) -> Set[str]:
    """
    Return the segments that came after a snapshot and that no living process uses or has locked.

    :param before: the snapshot.
    :param ending: a process whose use does not count, because it is about to end.
    """
    candidates = snapshot() - before
    # Who has mapped a segment or a port removes it with its locks, so that they go together.
    used = {AROUND.sub('', name) for name in _in_use(ending)} if candidates else set()
    unused = {name for name in candidates if AROUND.sub('', name) not in used}
    ours = held(ending) if unused and ending else set()
    # Some may be gone by now: who had them has ended in order.
    return {name for name in unused & snapshot() if not _is_locked(name, ours)}


def remove_orphans(before: FrozenSet[str], ending: Optional[int] = None) -> Set[str]:
    """
    Remove what ``orphans`` returns, and return it.
    """
    found = orphans(before, ending)
    for name in found:
        try:
            (FOLDER / name).unlink()
        except OSError:
            pass  # gone already, or another user's
    return found


def segments(pid: int) -> Set[str]:
    """Return the segments and ports that a process holds, each one name with all its locks."""
    # What was removed is held until its holder lets go: /proc says " (deleted)" after its name.
    return {AROUND.sub('', name.split(' ')[0]) for name in held(pid)}


def held(pid: int) -> Set[str]:
    """Return the names that a process has mapped or open; none of another user's."""
    process = Path('/proc', str(pid))
    names: Set[str] = set()
    try:
        for line in (process / 'maps').read_text().splitlines():
            if str(FOLDER) in line:
                names.add(line.split(f'{FOLDER}/', 1)[1].split(' ')[0])
        for handle in (process / 'fd').iterdir():
            target = str(handle.resolve())
            if target.startswith(str(FOLDER)):
                names.add(Path(target).name)
    except OSError:
        pass  # ended meanwhile
    return names


def _is_locked(name: str, ours: Set[str]) -> bool:
    """Whether somebody lives to whom a name belongs: /proc does not show all who share memory."""
    base = AROUND.sub('', name)
    for lock in {base + end for end in LOCKS} - ours:
        try:
            with (FOLDER / lock).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except OSError:
            return True  # or another user's
    return False


def _in_use(ending: Optional[int]) -> Set[str]:
    used: Set[str] = set()
    for process in Path('/proc').glob('[0-9]*'):
        if process.name == str(ending):
            continue
        names = held(int(process.name))
        if process.name == str(os.getpid()):
            # What a killed process made stays mapped here for a while after all was shut down.
            names = {name for name in names if name + LOCK in names or not MADE.fullmatch(name)}
        used |= names
    return used
