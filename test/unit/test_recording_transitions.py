"""What a recorded drive gives where single steps of it do not fit."""

import json
from pathlib import Path

from mcap_ros2.writer import Writer
import numpy as np
import pytest

from av_td3_ros.cli.main import main
from av_td3_ros.datatypes import ObsSpec, Outcome, SpecError
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.recording.transitions import load_transitions, TRANSITION
from av_td3_ros.td3.experience import MOST_REFUSED
from av_td3_ros.td3.replay import ReplayBuffer

SPEC = ObsSpec(3, 4, 4, ('index', 'sign'))
MESSAGES = Path(__file__).resolve().parents[2] / 'av_td3_msgs' / 'msg'
HEADER = f"""{"=" * 80}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{"=" * 80}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
LENGTH = 5
NAN = float('nan')


def record(path, episodes, changed):
    """
    Write a bag of episodes of ``LENGTH`` messages.

    :param changed: by (episode, step), fields that are otherwise.
    """
    with path.open('wb') as file:
        writer = Writer(file)
        schema = writer.register_msgdef(
            TRANSITION, (MESSAGES / 'Transition.msg').read_text() + HEADER
        )
        for number in range(episodes * LENGTH):
            episode, step = divmod(number, LENGTH)
            fields = {
                'header': {'stamp': {'sec': 0, 'nanosec': 0}, 'frame_id': ''},
                'publisher': 1,
                'sequence': number + 1,
                'episode_id': episode,
                'step_id': step,
                'policy_version': 1,
                'action': [0.0, 0.0],
                'reward': 0.5,
                'outcome': 0,
                'frame': [number + 1] * 16,
                'vector': [0.5, -1.0],
                'privileged': [],
                **changed.get((episode, step), {}),
            }
            writer.write_message('/av_td3/transition', schema, fields, log_time=number)
        writer.finish()
    return path


def replay():
    return ReplayBuffer(SPEC, ReplayConfig(capacity=100), 1, 0.9, 0)


def drive(into, step):
    """Store three episodes, the second of which breaks at a step, as the trainer does."""
    for number in range(3 * LENGTH):
        episode, at = divmod(number, LENGTH)
        frame, vector = np.full((4, 4), number + 1, np.uint8), np.array([0.5, -1.0], np.float32)
        if episode == 1 and at >= step:
            into.abort()
        elif at == 0:
            into.begin(frame, vector, np.zeros(0, np.float32))
        else:
            action = np.zeros(2, np.float32)
            into.add(action, 0.5, Outcome.CONTINUES, frame, vector, np.zeros(0, np.float32))
    into.abort()


@pytest.mark.parametrize(
    'step, fields',
    [
        (0, {'vector': [0.5, NAN]}),
        (2, {'vector': [0.5, NAN]}),
        (2, {'vector': [0.5, 1.5]}),
        (0, {'vector': [0.5]}),
        (2, {'vector': [0.5]}),
        (2, {'reward': NAN}),
        (2, {'outcome': 9}),
        (0, {'frame': [1] * 10}),
        (2, {'frame': [1] * 10}),
    ],
    ids=str,
)
def test_a_step_that_does_not_fit_costs_the_rest_of_its_episode_and_no_more(
    tmp_path, step, fields
):
    """As with the trainer of that drive."""
    whole, driven = replay(), replay()
    bag = record(tmp_path / 'drive.mcap', 3, {(1, step): fields})
    account = load_transitions(bag, SPEC, whole)
    assert account.received == 3 * LENGTH and account.stored == 2 * LENGTH + step
    assert (account.refused, account.unusable, account.lost) == (1, LENGTH - step, 0)
    assert account.episodes == (3 if step else 2)
    drive(driven, step)
    assert whole.count == driven.count == account.stored
    for name, column in whole._ring.columns.items():
        assert np.array_equal(column[: whole.count], driven._ring.columns[name][: whole.count])
    index = np.arange(whole.count)[None]
    assert np.array_equal(whole._ring.frames.get(index), driven._ring.frames.get(index))


def test_a_bag_of_other_observations_is_refused(tmp_path):
    small = {(episode, 0): {'frame': [1] * 10} for episode in range(1, 1 + MOST_REFUSED)}
    last = MOST_REFUSED
    bag = record(tmp_path / 'drive.mcap', 2 + MOST_REFUSED, small)
    with pytest.raises(SpecError, match=r'frame must be \(4, 4\)'):
        load_transitions(bag, SPEC, replay())
    del small[last, 0]
    bag = record(tmp_path / 'drive.mcap', 2 + MOST_REFUSED, small)
    account = load_transitions(bag, SPEC, replay())
    assert (account.refused, account.episodes) == (MOST_REFUSED - 1, 3)


def test_what_is_in_a_bag_is_told_whatever_is_wrong_with_its_steps(capsys, tmp_path):
    episodes = 2 + MOST_REFUSED
    wrong = {(episode, 1): {'vector': [NAN, 0.0]} for episode in range(episodes)}
    wrong.update({(episode, 0): {'reward': NAN} for episode in range(1, episodes)})
    bag = record(tmp_path / 'drive.mcap', episodes, wrong)
    assert main(['replay', str(bag), '--info']) == 0
    told = capsys.readouterr().out
    assert f'{episodes * LENGTH}  /av_td3/transition  {TRANSITION}' in told
    assert f'1 stored, 0 lost, 0 duplicated, {episodes * LENGTH - 1} unusable' in told
    assert f'{episodes} refused, 1 episodes' in told
    assert main(['replay', str(bag), '--info', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['transitions']['refused'] == episodes
