"""The cache of maps: it is found again, notices changes, and is never needed."""

import errno
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from av_td3_ros.driving import map_cache
from av_td3_ros.driving.map_cache import cached, digest, folder, KEPT

ARRAYS = {
    'places': np.linspace(0.0, 1.0, 1000).reshape(-1, 2),
    'kinds': np.array(['house', 'tree']),
    'nothing': np.empty((0, 3), np.float32),
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv('AV_TD3_CACHE', str(tmp_path / 'cache'))
    map_cache._warn.cache_clear()
    return tmp_path / 'cache'


def built(times, arrays=ARRAYS):
    """Return what builds arrays and counts how often."""

    def build():
        times.append(1)
        return arrays

    return build


def same(a, b):
    return a.keys() == b.keys() and all(
        np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a
    )


def test_what_is_built_once_is_found_again(place):
    times = []
    first = cached('town lanes', digest('text'), built(times))
    again = cached('town lanes', digest('text'), built(times))
    assert len(times) == 1 and same(first, ARRAYS) and same(again, ARRAYS)
    assert [path.name[:11] for path in place.iterdir()] == ['town_lanes-']


def test_a_changed_map_seed_format_or_library_is_noticed(monkeypatch):
    seen = {digest('text', '1'), digest('text!', '1'), digest('text', '2'), digest('text1')}
    monkeypatch.setattr(map_cache, 'FORMAT', 2)
    seen.add(digest('text', '1'))
    monkeypatch.setattr(map_cache, 'LIBRARY', 'numpy')
    seen.add(digest('text', '1'))
    monkeypatch.setattr(map_cache, 'LIBRARY', 'no-such-library')
    seen.add(digest('text', '1'))
    assert len(seen) == 7


def test_a_digest_is_the_same_in_another_process():
    code = 'from av_td3_ros.driving.map_cache import digest; print(digest("text", "7"))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest('text', '7')


@pytest.mark.parametrize(
    'spoil',
    [
        lambda data: b'',
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: b'PK\x03\x04' + bytes(500),
        lambda data: b'no zip at all',
    ],
    ids=['empty', 'truncated', 'one bit', 'zeros', 'text'],
)
def test_a_broken_entry_is_built_again_and_repaired(place, caplog, spoil):
    times = []
    cached('town', digest('text'), built(times))
    (entry,) = place.iterdir()
    entry.write_bytes(spoil(entry.read_bytes()))
    assert same(cached('town', digest('text'), built(times)), ARRAYS) and len(times) == 2
    assert 'cannot be read and is built again' in caplog.text
    assert same(cached('town', digest('text'), built(times)), ARRAYS) and len(times) == 2


def test_a_pickle_is_not_loaded(place):
    times = []
    cached('town', digest('text'), built(times))
    (entry,) = place.iterdir()
    with entry.open('wb') as file:
        np.savez(file, places=np.array([{'a': 1}], object))
    assert same(cached('town', digest('text'), built(times)), ARRAYS) and len(times) == 2


def test_objects_are_refused(place):
    with pytest.raises(TypeError, match=r"numbers or text, got objects in \['odd'\]"):
        cached('town', digest('text'), lambda: {'odd': np.array([None])})


def test_a_place_that_cannot_be_written_is_no_error(place, caplog):
    place.write_text('a file where the folder should be')
    times = []
    for _ in range(3):
        assert same(cached('town', digest('text'), built(times)), ARRAYS)
    assert len(times) == 3
    assert len([r for r in caplog.records if 'cannot be written' in r.message]) == 1


def test_only_the_newest_entries_are_kept(place):
    place.mkdir()
    left = place / f'{map_cache.TEMPORARY}a1_b2c3d.npz'
    left.write_bytes(b'of a process that was killed')
    os.utime(left, (1.0, 1.0))
    for i in range(KEPT + 5):
        cached('town', digest(str(i)), built([]))
        for k, path in enumerate(place.glob(f'town-{digest(str(i))[:32]}.npz')):
            os.utime(path, (1000.0 + i, 1000.0 + i))
    assert len(list(place.iterdir())) == KEPT
    times = []
    cached('town', digest(str(KEPT + 4)), built(times))
    assert times == [] and not left.exists()
    cached('town', digest('0'), built(times))
    assert times == [1]


@pytest.mark.parametrize(
    'name', ['results.npz', 'tmpleft.npz', 'run-7.npz', f'{"0" * 32}.npz', f'a-{"0" * 33}.npz']
)
def test_files_that_the_cache_did_not_make_stay(place, name):
    place.mkdir()
    (place / name).write_bytes(b'years of work')
    os.utime(place / name, (1.0, 1.0))
    for i in range(KEPT + 1):
        cached('town', digest(str(i)), built([]))
    assert (place / name).read_bytes() == b'years of work'
    assert len(list(place.iterdir())) == KEPT + 1


def test_a_file_that_is_not_finished_has_a_name_that_is_pruned(place, monkeypatch):
    seen = []
    monkeypatch.setattr(
        map_cache.np, 'savez', lambda file, **arrays: seen.append(Path(file.name).name)
    )
    cached('town', digest('text'), built([]))
    assert map_cache.OWN.fullmatch(seen[0]) and seen[0].startswith(map_cache.TEMPORARY)


def test_an_entry_that_is_used_stays(place):
    for i in range(KEPT):
        cached('town', digest(str(i)), built([]))
    for path in place.iterdir():
        os.utime(path, (1000.0, 1000.0))
    cached('town', digest('3'), built([]))  # used now, the others long ago
    for i in range(KEPT, 2 * KEPT - 1):
        cached('town', digest(str(i)), built([]))
    times = []
    cached('town', digest('3'), built(times))
    assert times == []


def test_a_cache_that_may_only_be_read_is_used(monkeypatch, caplog):
    times = []
    cached('town', digest('text'), built(times))

    def refuse(path):
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(os, 'utime', refuse)
    assert same(cached('town', digest('text'), built(times)), ARRAYS) and len(times) == 1
    assert caplog.text == ''


def test_where_it_lies(monkeypatch, tmp_path):
    assert folder() == tmp_path / 'cache'
    monkeypatch.setenv('AV_TD3_CACHE', '')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert folder() == tmp_path / 'av_td3_ros'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert folder() == Path(tmp_path, '.cache', 'av_td3_ros')


def test_odd_names_become_file_names(place):
    cached('Carla/Maps/../Town01 \u00e9', digest('text'), built([]))
    (entry,) = place.iterdir()
    assert entry.name.startswith('Carla_Maps_.._Town01__-')
