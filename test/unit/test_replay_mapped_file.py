"""The file of the mapped replay: what does not fit is refused, a full disk is one error."""

import errno
import json
import os
import resource

import pytest
from replays import make, Pair, SPEC, TERMINATED

from av_td3_ros.datatypes import ObsSpec, SpecError

PICTURES = ObsSpec(3, 12, 12, ('index', 'sign'))


def mapped(folder, **how):
    return Pair(capacity=20, storage='mapped', folder=folder, **how)


def described(folder):
    make(capacity=20, storage='mapped', folder=folder)
    return folder / 'replay.mapped'


def cut(path):
    os.truncate(path, 5000)


def scribbled(path):
    with path.open('r+b') as file:
        file.write(b'\xff\x00' * 100)


def emptied(path):
    os.truncate(path, 0)


@pytest.mark.parametrize(
    'harm, text',
    [
        (cut, 'must have .* bytes, got 5000'),
        (scribbled, 'must be format 2, .* got a file without its description'),
        (emptied, 'must be format 2, .* got a file without its description'),
    ],
)
def test_refuses_a_file_that_is_damaged(tmp_path, harm, text):
    path = described(tmp_path)
    harm(path)
    before = path.read_bytes()
    with pytest.raises(SpecError, match=text):
        make(capacity=20, storage='mapped', folder=tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    'change, text',
    [
        ({'capacity': 30}, 'capacity 30, got .* capacity 20'),
        ({'spec': ObsSpec(3, 1, 2, ('index',))}, 'observation .* got .* observation'),
        ({'spec': ObsSpec(4, 1, 2, SPEC.vector)}, 'observation .* got .* observation'),
    ],
)
def test_refuses_a_file_of_another_specification(tmp_path, change, text):
    pair = mapped(tmp_path)
    pair.episode(5, TERMINATED)
    path = tmp_path / 'replay.mapped'
    before = path.read_bytes()
    with pytest.raises(SpecError, match=text):
        make(**{'capacity': 20, 'storage': 'mapped', 'folder': tmp_path, **change})
    assert path.read_bytes() == before
    pair.check()


def test_refuses_another_format(tmp_path):
    path = described(tmp_path)
    text = path.read_bytes().split(b'\n')[0]
    changed = json.dumps({**json.loads(text), 'format': 9}).encode()
    with path.open('r+b') as file:
        file.write(changed + b'\n')
    with pytest.raises(SpecError, match='format 2, .* got format 9'):
        make(capacity=20, storage='mapped', folder=tmp_path)


def test_refuses_another_folder_and_another_storage(tmp_path):
    pair = mapped(tmp_path)
    for call in (pair.replay.save, pair.replay.load):
        with pytest.raises(SpecError, match='must stay in its folder'):
            call(tmp_path / 'other')
    with pytest.raises(SpecError, match='mapped must have a folder, got none'):
        make(storage='mapped')
    with pytest.raises(SpecError, match='must have storage mapped, got memory'):
        make().reopen()


# -- a full disk ----------------------------------------------------------------------------------


def test_a_full_disk_is_one_error_before_anything_is_written(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(OSError, match='must find 0.00 GB for .* No space left .* free space'):
        make(capacity=20, storage='mapped', folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_the_same_error_and_others_stay_readable(tmp_path):
    pair = mapped(tmp_path / 'old')
    pair.episode(5, TERMINATED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match='must find 0.01 GB'):
            make(PICTURES, 50_000, storage='mapped', folder=tmp_path / 'new')
        assert not list((tmp_path / 'new').iterdir())
        again = pair.fresh()
        again.reopen()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    pair.replay = again
    pair.check()


def test_all_blocks_are_reserved_at_once(tmp_path):
    make(PICTURES, 5000, storage='mapped', folder=tmp_path)
    about = os.stat(tmp_path / 'replay.mapped')
    assert about.st_blocks * 512 >= about.st_size > 5000 * 144
