"""A replay beside a naive buffer of whole stacks, for the tests of the replay."""

from types import SimpleNamespace

import numpy as np
import pytest

from av_td3_ros.datatypes import ObsSpec, Outcome, SpecError
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.td3.frames import DeviceFrames
from av_td3_ros.td3.replay import ReplayBuffer

CONTINUES, TERMINATED, TRUNCATED = Outcome
GAMMA = 0.5
SPEC = ObsSpec(3, 1, 2, ('index', 'sign'))
VECTOR = np.zeros(2, np.float32)
STORAGES = ('memory', 'compressed', 'mapped', 'device')


def frame_of(index):
    """Write the number of an observation into its two pixels."""
    return np.array([[index // 256, index % 256]], np.uint8)


def index_of(frames):
    frames = np.asarray(frames)
    return frames[..., 0, 0].astype(int) * 256 + frames[..., 0, 1]


def make(spec=SPEC, capacity=1000, n_step=3, storage='memory', folder=None, seed=0, **config):
    """Return a replay; storage 'device' is that of a GPU, on the processor."""
    device = storage == 'device'
    config = ReplayConfig(capacity=capacity, storage='memory' if device else storage, **config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceFrames, 'fits', staticmethod(lambda *args: device))
        return ReplayBuffer(spec, config, n_step, GAMMA, seed, folder=folder)


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
                reward += GAMMA**steps * at.step.reward
                steps += 1
            discount = 0.0 if at.step.outcome == TERMINATED else GAMMA**steps
            action = self.observations[obs.next].step.action
            found[index] = (obs.frames, action, reward, discount, at.frames)
        return found


class Pair:
    """A replay and a naive buffer that are told the same."""

    def __init__(self, stack=3, capacity=1000, n_step=3, **how):
        self.spec = ObsSpec(stack, 1, 2, SPEC.vector)
        self.how = how
        self.replay = make(self.spec, capacity, n_step, **how)
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

    def follow(self, operations):
        """Do what a list says: 'begin', 'abort' or the outcome of a step."""
        for operation in operations:
            if operation == 'begin':
                self.begin()
            elif operation == 'abort':
                self.abort()
            elif self.naive.open:
                self.add(operation)
            else:
                self.begin()

    def fresh(self, capacity=None, **how):
        """Return an empty replay of the same kind."""
        return make(
            self.spec,
            capacity or self.replay.capacity,
            self.naive.n_step,
            **{**self.how, 'seed': 99, **how},
        )

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
        np.testing.assert_array_equal(starts, batch.index)
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
            assert batch.weight[row] == 1.0


def assert_same_batch(one, two):
    for a, b in zip(one, two):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def assert_same(one, two, draws=64):
    assert len(one) == len(two)
    assert_same_batch(one.sample(draws), two.sample(draws))


def by_start(replay):
    """Return {first observation: (reward, discount, last observation)}."""
    batch = replay.sample(500)
    start, end = index_of(batch.image)[:, -1], index_of(batch.next_image)[:, -1]
    return {
        int(s): (float(r), float(d), int(e))
        for s, r, d, e in zip(start, batch.reward, batch.discount, end)
    }
