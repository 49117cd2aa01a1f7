"""Replay: by hand at every end, against a naive buffer everywhere, on disk."""

import json
from types import SimpleNamespace

from hypothesis import given, settings, strategies
import numpy as np
import pytest

from av_td3_ros.datatypes import ObsSpec, Outcome, SpecError
from av_td3_ros.td3 import replay as replay_module
from av_td3_ros.td3.replay import ReplayBuffer

CONTINUES, TERMINATED, TRUNCATED = Outcome
GAMMA = 0.5
SPEC = ObsSpec(3, 1, 2, ('index', 'sign'))


def frame_of(index):
    """Write the number of an observation into its two pixels."""
    return np.array([[index // 256, index % 256]], np.uint8)


def index_of(frames):
    return frames[..., 0, 0].astype(int) * 256 + frames[..., 0, 1]


class Naive:
    """Stores every stack whole, in a list that only grows; forgets by the frames it used."""

    def __init__(self, stack, capacity, n_step):
        self.stack, self.capacity, self.n_step = stack, capacity, n_step
        self.observations = []
        self.open = False

    def begin(self):
        frames = [len(self.observations)] * self.stack
        self.observations.append(SimpleNamespace(frames=frames, step=None, next=None))
        self.open = True

    def add(self, action, reward, outcome):
        index, last = len(self.observations), self.observations[-1]
        last.next = index
        step = SimpleNamespace(action=action, reward=reward, outcome=outcome)
        frames = last.frames[1:] + [index]
        self.observations.append(SimpleNamespace(frames=frames, step=step, next=None))
        self.open = outcome == CONTINUES

    def abort(self):
        self.open = False

    def transitions(self):
        """Return what can be sampled, by the index of its first observation."""
        oldest = len(self.observations) - self.capacity
        found = {}
        for index, obs in enumerate(self.observations):
            if obs.next is None or min(obs.frames) < oldest:
                continue
            reward, at, steps = 0.0, obs, 0
            while at.next is not None and steps < self.n_step:
                at = self.observations[at.next]
                reward += GAMMA ** steps * at.step.reward
                steps += 1
            discount = 0.0 if at.step.outcome == TERMINATED else GAMMA ** steps
            action = self.observations[obs.next].step.action
            found[index] = (obs.frames, action, reward, discount, at.frames)
        return found


class Pair:
    """A replay and a naive buffer that are told the same."""

    def __init__(self, stack=3, capacity=1000, n_step=3):
        self.spec = ObsSpec(stack, 1, 2, SPEC.vector)
        self.replay = ReplayBuffer(self.spec, capacity, n_step, GAMMA, seed=0)
        self.naive = Naive(stack, capacity, n_step)

    def observation(self):
        index = len(self.naive.observations)
        return frame_of(index), np.array([index, -index], np.float32)

    def begin(self):
        self.replay.begin(*self.observation())
        self.naive.begin()

    def add(self, outcome=CONTINUES, reward=None):
        index = len(self.naive.observations)
        reward = (index % 7 - 3.0) if reward is None else reward
        action = np.array([np.sin(index), np.cos(index)], np.float32)
        self.replay.add(action, reward, outcome, *self.observation())
        self.naive.add(action, reward, outcome)

    def abort(self):
        self.replay.abort()
        self.naive.abort()

    def episode(self, steps, outcome):
        self.begin()
        for step in range(steps):
            self.add(outcome if step == steps - 1 else CONTINUES)

    def check(self):
        expected = self.naive.transitions()
        assert len(self.replay) == len(expected)
        if not expected:
            with pytest.raises(SpecError, match='at least 1 transition'):
                self.replay.sample(1)
            return
        # Each of k transitions is missed by 40 k draws once in e^40 times.
        batch = self.replay.sample(40 * len(expected))
        frames, next_frames = index_of(batch.image), index_of(batch.next_image)
        starts = frames[:, -1]
        assert set(starts.tolist()) == set(expected)
        _, rows = np.unique(starts, return_index=True)
        for row in rows.tolist():
            want_frames, action, reward, discount, want_next = expected[starts[row]]
            assert frames[row].tolist() == want_frames
            assert next_frames[row].tolist() == want_next
            assert batch.vector[row].tolist() == [want_frames[-1], -want_frames[-1]]
            assert batch.next_vector[row].tolist() == [want_next[-1], -want_next[-1]]
            np.testing.assert_array_equal(batch.action[row], action)
            assert batch.reward[row] == pytest.approx(reward)
            assert batch.discount[row] == pytest.approx(discount)


OUTCOMES = strategies.sampled_from([CONTINUES, CONTINUES, CONTINUES, TERMINATED, TRUNCATED])
OPERATIONS = strategies.lists(strategies.one_of(
    strategies.just('begin'), strategies.just('abort'), OUTCOMES), max_size=60)


@settings(max_examples=300, deadline=None)
@given(OPERATIONS, strategies.integers(1, 4), strategies.integers(5, 20),
       strategies.integers(1, 5))
def test_equals_a_naive_buffer_of_whole_stacks(operations, stack, capacity, n_step):
    pair = Pair(stack, capacity, n_step)
    for operation in operations:
        if operation == 'begin':
            pair.begin()
        elif operation == 'abort':
            pair.abort()
        elif pair.naive.open:
            pair.add(operation)
        else:
            pair.begin()
    pair.check()


@pytest.mark.parametrize('steps', range(30, 60))
def test_wrap_around_inside_a_long_episode(steps):
    pair = Pair(capacity=20)
    pair.episode(10, TERMINATED)
    pair.episode(steps, TRUNCATED)
    pair.episode(2, TERMINATED)
    pair.check()


def by_start(replay):
    """Return {first observation: (reward, discount, last observation)}."""
    batch = replay.sample(500)
    start, end = index_of(batch.image)[:, -1], index_of(batch.next_image)[:, -1]
    return {int(s): (float(r), float(d), int(e))
            for s, r, d, e in zip(start, batch.reward, batch.discount, end)}


@pytest.mark.parametrize('outcome, bootstrap', [(TERMINATED, 0), (TRUNCATED, 1)])
def test_targets_by_hand(outcome, bootstrap):
    pair = Pair()
    pair.begin()
    for reward, how in ((1.0, CONTINUES), (2.0, CONTINUES), (4.0, CONTINUES), (8.0, outcome)):
        pair.add(how, reward)
    pair.episode(5, TRUNCATED)  # what follows must not leak in
    found = by_start(pair.replay)
    assert found[0] == (1 + 2 / 2 + 4 / 4, 1 / 8, 3)
    assert found[1] == (2 + 4 / 2 + 8 / 4, bootstrap / 8, 4)
    assert found[2] == (4 + 8 / 2, bootstrap / 4, 4)
    assert found[3] == (8.0, bootstrap / 2, 4)
    assert 4 not in found


def test_aborted_and_running_episodes_bootstrap_from_the_last_good_observation():
    pair = Pair()
    pair.begin()
    pair.add(reward=1.0)
    pair.add(reward=2.0)
    pair.abort()
    pair.begin()
    pair.add(reward=4.0)
    found = by_start(pair.replay)
    assert found == {0: (2.0, 1 / 4, 2), 1: (2.0, 1 / 2, 2), 3: (4.0, 1 / 2, 4)}


def test_one_step_episodes():
    pair = Pair(capacity=11)
    for outcome in (TERMINATED, TRUNCATED) * 8:
        pair.episode(1, outcome)
    pair.check()
    assert len(pair.replay) == 5
    for reward, discount, _ in by_start(pair.replay).values():
        assert discount in (0.0, 0.5)


def test_begin_on_an_unfinished_episode_aborts_it():
    one, two = Pair(), Pair()
    for pair, explicit in ((one, False), (two, True)):
        pair.begin()
        pair.add()
        if explicit:
            pair.abort()
        pair.begin()
        pair.add()
        pair.check()
    assert by_start(one.replay) == by_start(two.replay)


def test_sampling_is_uniform_and_seeded():
    pair = Pair()
    pair.episode(10, TERMINATED)
    other = Pair()
    other.episode(10, TERMINATED)
    starts = index_of(pair.replay.sample(20_000).image)[:, -1]
    np.testing.assert_array_equal(starts, index_of(other.replay.sample(20_000).image)[:, -1])
    assert np.bincount(starts, minlength=10) == pytest.approx(2000, rel=0.12)


def test_batch_is_a_copy():
    pair = Pair(capacity=5)
    pair.episode(1, TERMINATED)
    batch = pair.replay.sample(4)
    before = [array.copy() for array in batch]
    for _ in range(10):
        pair.episode(1, TERMINATED)
    for array, copy in zip(batch, before):
        np.testing.assert_array_equal(array, copy)


VECTOR = np.zeros(2, np.float32)


@pytest.mark.parametrize('frame, vector, text', [
    (np.zeros((2, 1), np.uint8), VECTOR, r'frame must be \(1, 2\) uint8, got \(2, 1\) uint8'),
    (np.zeros((1, 2), np.float32), VECTOR, r'frame must be .* got \(1, 2\) float32'),
    (frame_of(0), np.zeros(3, np.float32), r'vector must be \(2,\) float32, got \(3,\)'),
    (frame_of(0), np.zeros(2), 'vector must be .* got .* float64'),
    (frame_of(0), np.array([0, np.nan], np.float32), 'vector must be finite'),
    (None, VECTOR, 'frame must be'),
])
def test_refuses_observations_that_do_not_fit(frame, vector, text):
    pair = Pair()
    pair.episode(3, CONTINUES)
    with pytest.raises(SpecError, match=text):
        pair.replay.begin(frame, vector)
    with pytest.raises(SpecError, match=text):
        pair.replay.add(np.zeros(2), 0.0, CONTINUES, frame, vector)
    pair.add()  # the episode is still open: nothing was stored of what was refused
    pair.check()


@pytest.mark.parametrize('action, reward, outcome, text', [
    ([0.0, 1.1], 0.0, CONTINUES, r'action must be 2 numbers in \[-1, 1\]'),
    ([np.nan, 0.0], 0.0, CONTINUES, 'action must be'),
    ([0.0], 0.0, CONTINUES, 'action must be'),
    ([0.0, 0.0], np.nan, CONTINUES, 'reward must be a finite'),
    ([0.0, 0.0], 1e300, CONTINUES, 'reward must be a finite'),
    ([0.0, 0.0], 0.0, 7, 'outcome must be one of'),
])
def test_refuses_steps_that_do_not_fit(action, reward, outcome, text):
    pair = Pair()
    pair.episode(3, CONTINUES)
    with pytest.raises(SpecError, match=text):
        pair.replay.add(np.array(action), reward, outcome, frame_of(0), VECTOR)
    pair.add()
    pair.check()


@pytest.mark.parametrize('outcome', [TERMINATED, TRUNCATED])
def test_refuses_a_step_of_no_episode(outcome):
    pair = Pair()
    with pytest.raises(SpecError, match='must follow begin'):
        pair.add()
    pair.episode(2, outcome)
    with pytest.raises(SpecError, match='must follow begin'):
        pair.replay.add(np.zeros(2), 0.0, CONTINUES, frame_of(0), VECTOR)


def test_refuses_a_capacity_that_no_stack_fits():
    with pytest.raises(SpecError, match='capacity must be above the stack of 3 frames, got 3'):
        ReplayBuffer(SPEC, 3, 1, GAMMA)


# -- files ----------------------------------------------------------------------------------------


def assert_same(one, two, draws=64):
    assert len(one) == len(two)
    for a, b in zip(one.sample(draws), two.sample(draws)):
        np.testing.assert_array_equal(a, b)


def reloaded(pair, folder, state=None, capacity=None):
    capacity = capacity or pair.replay.capacity
    fresh = ReplayBuffer(pair.spec, capacity, pair.naive.n_step, GAMMA, seed=99)
    fresh.load(folder, state)
    return fresh


@pytest.mark.parametrize('segment', [4, 4096])
def test_save_and_load_go_on_bit_for_bit_over_wrap_around(tmp_path, monkeypatch, segment):
    monkeypatch.setattr(replay_module, 'SEGMENT_SLOTS', segment)
    pair = Pair(capacity=20)
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


def test_an_open_episode_goes_on_after_loading(tmp_path):
    pair = Pair()
    pair.episode(3, CONTINUES)
    pair.replay.save(tmp_path)
    pair.replay = reloaded(pair, tmp_path)
    pair.add()
    pair.check()


def test_saving_writes_only_what_is_new_and_the_folder_stays_bounded(tmp_path):
    pair = Pair(capacity=20)
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


def test_an_earlier_state_leaves_out_later_frames(tmp_path):
    pair = Pair()
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
    path.write_bytes(data[:len(data) // 2])


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xff
    path.write_bytes(bytes(data))


def three_segments(folder):
    pair = Pair()
    for _ in range(3):
        pair.episode(4, TERMINATED)
        pair.replay.save(folder)
    return pair, sorted(folder.glob('*.npz'))


@pytest.mark.parametrize('harm', [torn, damaged, lambda path: path.unlink()])
@pytest.mark.parametrize('which, left', [(2, range(0, 9)), (1, range(10, 14)), (0, range(5, 14))])
def test_a_broken_file_costs_no_more_than_it_must(tmp_path, harm, which, left):
    pair, files = three_segments(tmp_path)
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


def test_all_files_lost_leaves_an_empty_buffer_that_works(tmp_path):
    pair, files = three_segments(tmp_path)
    for path in files:
        path.unlink()
    loaded = reloaded(pair, tmp_path)
    assert len(loaded) == 0
    loaded.begin(frame_of(1), VECTOR)
    loaded.add(np.zeros(2), 1.0, TERMINATED, frame_of(2), VECTOR)
    assert len(loaded) == 1


@pytest.mark.parametrize('capacity, starts', [(8, range(9, 14)), (100, range(14))])
def test_loads_into_another_capacity(tmp_path, capacity, starts):
    pair, _ = three_segments(tmp_path)
    loaded = reloaded(pair, tmp_path, capacity=capacity)
    assert set(by_start(loaded)) == {index for index in starts if index % 5 != 4}


def test_refuses_files_of_another_observation(tmp_path):
    pair, _ = three_segments(tmp_path)
    other = ReplayBuffer(ObsSpec(3, 1, 2, ('index',)), 100, 3, GAMMA)
    with pytest.raises(SpecError, match='must be of format 1 and observation'):
        other.load(tmp_path)
    with pytest.raises(SpecError, match='unreadable'):
        other.load(tmp_path / 'nothing')
    (tmp_path / 'replay.json').write_text('{')
    with pytest.raises(SpecError, match='unreadable'):
        reloaded(pair, tmp_path)


def test_a_failed_save_keeps_what_was_saved(tmp_path, monkeypatch):
    pair, _ = three_segments(tmp_path)
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
