"""The replay on disk: bit for bit, only what is new, and what a broken file costs."""

import json

import numpy as np
import pytest
from replays import (
    assert_same,
    by_start,
    CONTINUES,
    frame_of,
    make,
    Pair,
    TERMINATED,
    VECTOR,
)

from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.td3 import replay_files

FILES = pytest.mark.parametrize('storage', ('memory', 'compressed', 'device'))


def reloaded(pair, folder, state=None, capacity=None):
    fresh = pair.fresh(capacity)
    fresh.load(folder, state)
    return fresh


@pytest.mark.parametrize('segment', [4, 4096])
@FILES
def test_save_and_load_go_on_bit_for_bit_over_wrap_around(tmp_path, storage, monkeypatch, segment):
    monkeypatch.setattr(replay_files, 'SEGMENT_SLOTS', segment)
    pair = Pair(capacity=20, storage=storage)
    for steps in (3, 9, 1, 30, 2, 7):
        pair.episode(steps, TERMINATED if steps % 2 else CONTINUES)
        pair.replay.save(tmp_path)
        pair.replay = reloaded(pair, tmp_path)
        pair.check()
    pair.replay.save(tmp_path)
    copy = reloaded(pair, tmp_path)
    assert_same(pair.replay, copy)
    for replay in (pair.replay, copy):
        replay.begin(frame_of(500), VECTOR)
        replay.add(np.zeros(2), 1.0, TERMINATED, frame_of(501), VECTOR)
    assert_same(pair.replay, copy)


@FILES
def test_an_open_episode_goes_on_after_loading(tmp_path, storage):
    pair = Pair(storage=storage)
    pair.episode(3, CONTINUES)
    pair.replay.save(tmp_path)
    pair.replay = reloaded(pair, tmp_path)
    pair.add()
    pair.check()


@FILES
def test_saving_writes_only_what_is_new_and_the_folder_stays_bounded(tmp_path, storage):
    pair = Pair(capacity=20, storage=storage)
    seen = {}
    for _ in range(12):
        pair.episode(6, TERMINATED)
        pair.replay.save(tmp_path)
        now = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob('*.npz')}
        assert all(seen[name] == now[name] for name in seen.keys() & now.keys()), 'written twice'
        assert len(now.keys() - seen.keys()) == 1
        seen = now
    assert len(seen) <= 4
    pair.replay = reloaded(pair, tmp_path)
    pair.check()


@FILES
def test_an_earlier_state_leaves_out_later_frames(tmp_path, storage):
    pair = Pair(storage=storage)
    pair.episode(4, TERMINATED)
    pair.replay.save(tmp_path)
    state = json.loads(json.dumps(pair.replay.state()))
    expected = reloaded(pair, tmp_path)
    pair.episode(4, TERMINATED)
    pair.replay.save(tmp_path)
    older = reloaded(pair, tmp_path, state)
    assert_same(expected, older)
    # The run that goes on from there must not find the other one's future again.
    older.begin(frame_of(700), VECTOR)
    older.add(np.zeros(2), 1.0, TERMINATED, frame_of(701), VECTOR)
    older.save(tmp_path)
    assert_same(older, reloaded(pair, tmp_path))


def torn(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(bytes(data))


def three_segments(folder, storage='memory'):
    pair = Pair(storage=storage)
    for _ in range(3):
        pair.episode(4, TERMINATED)
        pair.replay.save(folder)
    return pair, sorted(folder.glob('*.npz'))


@pytest.mark.parametrize('harm', [torn, damaged, lambda path: path.unlink()])
@pytest.mark.parametrize('which, left', [(2, range(0, 9)), (1, range(10, 14)), (0, range(5, 14))])
@FILES
def test_a_broken_file_costs_no_more_than_it_must(tmp_path, storage, harm, which, left):
    pair, files = three_segments(tmp_path, storage)
    harm(files[which])
    loaded = reloaded(pair, tmp_path)
    starts = set(by_start(loaded))
    assert starts == {index for index in left if index % 5 != 4}
    expected = pair.naive.transitions()
    for start, (reward, discount, _) in by_start(loaded).items():
        assert (reward, discount) == pytest.approx(expected[start][2:4])
    loaded.begin(frame_of(900), VECTOR)
    loaded.add(np.zeros(2), 1.0, TERMINATED, frame_of(901), VECTOR)
    loaded.save(tmp_path)
    assert_same(loaded, reloaded(pair, tmp_path))


@FILES
def test_all_files_lost_leaves_an_empty_buffer_that_works(tmp_path, storage):
    pair, files = three_segments(tmp_path, storage)
    for path in files:
        path.unlink()
    loaded = reloaded(pair, tmp_path)
    assert len(loaded) == 0
    loaded.begin(frame_of(1), VECTOR)
    loaded.add(np.zeros(2), 1.0, TERMINATED, frame_of(2), VECTOR)
    assert len(loaded) == 1


@pytest.mark.parametrize('capacity, starts', [(8, range(9, 14)), (100, range(14))])
@FILES
def test_loads_into_another_capacity(tmp_path, storage, capacity, starts):
    pair, _ = three_segments(tmp_path, storage)
    loaded = reloaded(pair, tmp_path, capacity=capacity)
    assert set(by_start(loaded)) == {index for index in starts if index % 5 != 4}


@FILES
def test_refuses_files_of_another_observation(tmp_path, storage):
    pair, _ = three_segments(tmp_path, storage)
    other = make(ObsSpec(3, 1, 2, ('index',)))
    with pytest.raises(SpecError, match='must be of format 4, observation'):
        other.load(tmp_path)
    with pytest.raises(SpecError, match='unreadable'):
        other.load(tmp_path / 'nothing')
    (tmp_path / 'replay.json').write_text('{')
    with pytest.raises(SpecError, match='unreadable'):
        reloaded(pair, tmp_path)


@FILES
def test_a_failed_save_keeps_what_was_saved(tmp_path, storage, monkeypatch):
    pair, _ = three_segments(tmp_path, storage)
    saved = reloaded(pair, tmp_path)
    pair.episode(4, TERMINATED)

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        pair.replay.save(tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.glob('*.part'))
    assert_same(saved, reloaded(pair, tmp_path))
    pair.replay.save(tmp_path)
    assert_same(pair.replay, reloaded(pair, tmp_path))


def primed(storage):
    """Return a replay whose transitions differ in priority."""
    pair = Pair(capacity=40, storage=storage, prioritised=True, priority_exponent=1.0)
    for _ in range(7):
        pair.episode(8, TERMINATED)
        batch = pair.replay.sample(16)
        pair.replay.update_priorities(batch.index, 1.0 + batch.index % 5)
    return pair


@FILES
def test_priorities_go_on_bit_for_bit(tmp_path, storage):
    pair = primed(storage)
    pair.replay.save(tmp_path)
    copy = reloaded(pair, tmp_path)
    for number in range(3):
        assert_same(pair.replay, copy)  # the same draws: weights and indices, too
        for replay in (pair.replay, copy):
            replay.begin(frame_of(500), VECTOR)
            replay.add(np.zeros(2), 1.0, TERMINATED, frame_of(501), VECTOR)
            index = replay.state()['count'] - 2
            replay.update_priorities(np.array([index]), np.array([number + 0.5]))


@pytest.mark.parametrize('harm', [torn, lambda path: path.unlink()])
def test_lost_priorities_begin_anew(tmp_path, harm):
    pair = primed('memory')
    pair.replay.save(tmp_path)
    harm(tmp_path / 'priorities.npz')
    copy = reloaded(pair, tmp_path)
    np.testing.assert_array_equal(copy.sample(100).weight, np.ones(100))


def test_refuses_files_of_another_storage(tmp_path):
    pair, _ = three_segments(tmp_path)
    with pytest.raises(SpecError, match='storage compressed, got 4, .* and memory'):
        pair.fresh(storage='compressed').load(tmp_path)


def test_refusing_changes_nothing(tmp_path):
    pair, _ = three_segments(tmp_path)
    state = pair.replay.state()
    for key, value in (
        ('rng', {}),
        ('ahead', {'index': [0]}),
        ('count', 'many'),
        ('largest_priority', 0.0),
        ('oldest', -1),
        ('format', 1),
        ('storage', 'mapped'),
    ):
        with pytest.raises(SpecError, match='unreadable|must be of format'):
            pair.replay.load(tmp_path, {**state, key: value})
        assert pair.replay.state() == state


def test_compressed_files_hold_what_memory_holds(tmp_path):
    """Saving compressed frames neither decodes them nor writes them at full size."""
    spec = ObsSpec(3, 32, 32, ('index', 'sign'))
    sizes = {}
    for storage in ('memory', 'compressed'):
        replay = make(spec, 200, storage=storage)
        replay.begin(np.zeros((32, 32), np.uint8), VECTOR)
        for step in range(100):
            frame = np.full((32, 32), step, np.uint8)
            replay.add(np.zeros(2), 0.0, CONTINUES, frame, VECTOR)
        replay.save(tmp_path / storage)
        sizes[storage] = sum(path.stat().st_size for path in (tmp_path / storage).glob('*.npz'))
    assert sizes['memory'] > 100 * 1024
    assert sizes['compressed'] < sizes['memory'] / 10
