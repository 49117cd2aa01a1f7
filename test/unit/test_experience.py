"""What comes from the graph is judged before it reaches the replay."""

from types import SimpleNamespace

import numpy as np
import pytest

from av_td3_ros.datatypes import Outcome, SpecError
from av_td3_ros.td3.experience import LARGEST_REWARD, take
from av_td3_ros.td3.intake import Intake

SHAPE = (4, 4)


class Store:
    """Remembers what it was given."""

    def __init__(self):
        self.rewards, self.begun, self.told = [], 0, []

    def begin(self, frame, vector, privileged):
        self.begun += 1
        self.told.append(privileged.tolist())

    def add(self, action, reward, outcome, frame, vector, privileged):
        self.rewards.append(reward)
        self.told.append(privileged.tolist())

    def abort(self):
        raise AssertionError('nothing is broken here')


def step(number, **changed):
    fields = {
        'publisher': 1,
        'sequence': number + 1,
        'episode_id': 1,
        'step_id': number,
        'action': [0.0, 0.0],
        'reward': 0.5,
        'outcome': Outcome.CONTINUES,
        'frame': bytes(16),
        'vector': [0.5, -1.0],
        'privileged': [0.5 + number / 8],
    }
    return SimpleNamespace(**{**fields, **changed})


def test_what_an_episode_can_be_is_stored():
    intake, store = Intake(), Store()
    rewards = [0.0, 0.5, -LARGEST_REWARD, LARGEST_REWARD]
    for number, reward in enumerate(rewards):
        take(step(number, reward=reward), intake, store, SHAPE)
    assert store.begun == 1 and store.rewards == rewards[1:]
    assert store.told == [[0.5], [0.625], [0.75], [0.875]]


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('value', [1.01, -8.0, 3e38, np.inf, np.nan])
def test_a_vector_that_no_observation_has_is_refused(number, value):
    intake, store = Intake(), Store()
    if number:
        take(step(0), intake, store, SHAPE)
    with pytest.raises(SpecError, match=r'vector must lie in \[-1, 1\], got'):
        take(step(number, vector=[0.0, value]), intake, store, SHAPE)
    assert not store.rewards


@pytest.mark.parametrize('reward', [1001.0, -5e9, 1e38, np.inf, np.nan])
def test_a_reward_that_no_terms_give_is_refused(reward):
    intake, store = Intake(), Store()
    take(step(0), intake, store, SHAPE)
    with pytest.raises(SpecError, match='reward must lie within 1000 of nought, got'):
        take(step(1, reward=reward), intake, store, SHAPE)
    assert not store.rewards
