"""
The trainer node: what arrives is stored once, the graph is paced, weights go out, nothing learned
is lost.
"""

import array
import errno
import json
import queue

from av_td3_msgs.msg import EpisodeResult, TrainingStatus, Transition
from av_td3_msgs.srv import SaveCheckpoint
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from av_td3_ros.config import ObservationConfig
from av_td3_ros.nodes.trainer_node import TrainerNode
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import claimed
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3 import checkpoint, experience, weights

SMALL = {
    'observation__height': 36,
    'observation__width': 36,
    'learner__batch_size': 8,
    'learner__network__hidden_1': 16,
    'learner__network__hidden_2': 16,
    'learner__network__feature_size': 16,
    'precision': 'fp32',
    'replay__capacity': 1000,
    'exploration__warmup_steps': 20,
    'publish_every': 5,
    'threads': 1,
    'steps': 60,
    'checkpoint_every': 1000,
    'update_after': 20,
    'update_every': 4,
    'updates_per_round': 2,
    'max_lead': 4,
}
# Every record is beyond the limit.
SICK = {
    'health__feature_warn': 1e-6,
    'health__feature_halt': 1e-6,
    'health__patience': 1,
    'log_every': 5,
}
SPEC = ObservationConfig(height=36, width=36).spec()


def transition(sequence, episode, step, **fields):
    values = dict(
        sequence=sequence,
        episode_id=episode,
        step_id=step,
        action=np.array([0.1, 0.2], np.float32),
        reward=0.5,
        frame=array.array('B', [step % 256] * (36 * 36)),
        vector=array.array('f', [0.1] * SPEC.vector_size),
        privileged=array.array('f', [0.1] * len(PRIVILEGED_NAMES)),
    )
    return Transition(**{**values, **fields})


class Sender:
    def __init__(self, talker):
        self.talker, self.sequence = talker, 0

    def episode(self, number, steps):
        for step in range(steps + 1):
            self.sequence += 1
            self.talker.say('transition', transition(self.sequence, number, step))


@pytest.fixture
def trainer(ros, tmp_path):
    return ros.start(TrainerNode, run_dir=str(tmp_path), **SMALL)


@pytest.fixture
def sender(talker, trainer):
    return Sender(talker)


def test_first_weights_come_at_once_latched_and_explore_at_random(ros, talker, trainer):
    heard = talker.hear('policy_weights')
    ros.until(lambda: heard)
    msg = heard[0]
    assert (
        msg.version == 1 and msg.random_actions and msg.random_acceleration == pytest.approx(0.35)
    )
    weights.unpack(bytes(msg.tensors), msg.sha256, msg.spec, SPEC)


def test_it_learns_at_the_ratio_publishes_and_finishes(ros, talker, trainer, sender, tmp_path):
    heard, statuses = talker.hear('policy_weights'), talker.hear('training_status')
    sender.episode(1, 60)
    talker.say(
        'episode_result',
        EpisodeResult(outcome='truncated', reason='time_limit', length=60, episode_return=30.0),
    )
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FINISHED, timeout=30.0)
    last = statuses[-1]
    assert (last.transitions_received, last.transitions_stored, last.env_steps) == (61, 61, 60)
    assert last.updates == 20  # (60 - 20) * 0.5
    assert last.return_mean == pytest.approx(30.0)
    # The newest alone is latched: a slow listener may miss those between.
    ros.until(lambda: heard and heard[-1].version >= 5 and not heard[-1].random_actions)
    versions = [m.version for m in heard]
    assert versions == sorted(set(versions))
    trainer.close()
    assert checkpoint.load_policy(tmp_path).env_step == 60
    assert (tmp_path / 'episodes.csv').read_text().count('\n') == 2


def test_warm_up_is_over_in_time_though_nothing_is_learned_yet(ros, talker, tmp_path):
    ros.start(TrainerNode, run_dir=str(tmp_path), **{**SMALL, 'update_after': 50})
    heard = talker.hear('policy_weights')
    Sender(talker).episode(1, 30)
    ros.until(lambda: heard and not heard[-1].random_actions)
    assert (heard[-1].version, heard[-1].update) == (2, 0)


def test_the_graph_may_run_ahead_only_so_far(ros, talker, trainer, sender):
    statuses = talker.hear('training_status')
    sender.episode(1, 10)
    ros.until(lambda: statuses and statuses[-1].env_steps == 10)
    assert statuses[-1].transition_limit == 11 + (
        20 + 4 + 4 - 10
    )  # warm-up, a round and the lead, from the last received on


def test_lost_and_doubled_transitions_are_counted(ros, talker, trainer):
    statuses = talker.hear('training_status')
    for sequence, step in ((1, 0), (2, 1), (2, 1), (5, 4), (6, 5)):
        talker.say('transition', transition(sequence, 1, step))
    ros.until(lambda: statuses and statuses[-1].transitions_received == 5)
    last = statuses[-1]
    assert (last.transitions_stored, last.transitions_lost, last.transitions_duplicated) == (
        2,
        2,
        1,
    )
    assert trainer.health()[1] == '2 transitions lost'


def test_what_a_full_queue_drops_is_lost_once(ros, talker, trainer, monkeypatch):
    statuses = talker.hear('training_status')
    put = trainer._queue.put_nowait

    def full(msg):
        if msg.sequence in (3, 4):
            raise queue.Full
        put(msg)

    monkeypatch.setattr(trainer._queue, 'put_nowait', full)
    for step in range(6):
        talker.say('transition', transition(step + 1, 1, step))
    ros.until(lambda: statuses and statuses[-1].transitions_received == 4)
    assert statuses[-1].transitions_lost == 2
    _, text, values = trainer.health()
    assert (text, values['lost'], values['dropped']) == ('2 transitions lost', 2, 2)


@pytest.mark.parametrize(
    'fields, text',
    [
        ({'frame': array.array('B', [1] * 10)}, 'frame must be (36, 36)'),
        ({'reward': float('nan')}, 'reward must lie within'),
        ({'vector': array.array('f', [0.0])}, 'vector must be (25,) float32, got (1,)'),
        ({'vector': array.array('f', [0.0] * 99)}, 'vector must be (25,) float32, got (0,)'),
        ({'privileged': array.array('f', [2.0])}, 'privileged must lie in'),
        ({'outcome': 9}, '9'),
    ],
)
def test_what_cannot_be_stored_ends_its_episode_is_named_and_learning_goes_on(
    ros, talker, trainer, sender, fields, text
):
    statuses = talker.hear('training_status')
    sender.episode(1, 5)
    ros.until(lambda: statuses and statuses[-1].env_steps == 5)
    talker.say('transition', transition(7, 1, 6, **fields))
    talker.say('transition', transition(8, 1, 7))  # of the broken episode
    ros.until(lambda: trainer.health()[0] == DiagnosticStatus.ERROR)
    assert text in trainer.health()[1]
    sender.sequence = 8
    sender.episode(2, 30)
    ros.until(lambda: statuses[-1].env_steps == 35)
    assert trainer.health()[2]['refused'] == 1 and trainer.health()[2]['unusable'] == 2
    assert trainer.health()[0] != DiagnosticStatus.ERROR and not trainer.wants_exit


def test_a_graph_that_does_not_fit_stops_the_learner_visibly_and_keeps_what_it_has(
    ros, talker, trainer, sender
):
    statuses = talker.hear('training_status')
    sender.episode(1, 30)
    ros.until(lambda: statuses and statuses[-1].env_steps == 30)
    for i in range(experience.MOST_REFUSED):
        small = array.array('B', [1] * 10)
        talker.say('transition', transition(sender.sequence + 1 + i, 2 + i, 0, frame=small))
    ros.until(lambda: statuses[-1].phase == TrainingStatus.FAILED)
    assert 'frame must be (36, 36)' in statuses[-1].message
    assert trainer.exit_code == 1 and trainer.wants_exit
    assert checkpoint.load_policy(trainer.config.run_dir).env_step == 30


@pytest.mark.parametrize(
    'fields, text',
    [
        ({'episode_return': float('nan')}, 'figures of a result must be finite'),
        ({'reason': 'x' * 100_000}, 'up to 1000 characters'),
        ({'route': 'a\nb'}, 'must be printable'),
        ({'reward_terms': ['speed']}, 'each with its value'),
        ({'reward_terms': ['a'] * 200, 'reward_sums': [0.0] * 200}, 'may have 100 reward terms'),
    ],
)
def test_an_account_of_no_episode_is_refused_and_named(ros, talker, trainer, fields, text):
    talker.say('episode_result', EpisodeResult(outcome='truncated', **fields))
    ros.until(lambda: trainer.health()[0] == DiagnosticStatus.ERROR)
    assert text in trainer.health()[1]
    talker.say('episode_result', EpisodeResult(outcome='truncated', reason='time_limit'))
    ros.until(lambda: trainer._trainer.episodes == 1)


def test_an_alert_that_warns_is_on_diagnostics(ros, talker, tmp_path):
    ros.start(TrainerNode, run_dir=str(tmp_path), **SMALL, **SICK, health__on_halt='warn')
    statuses, diagnostics = talker.hear('training_status'), talker.hear('diagnostics')
    Sender(talker).episode(1, 60)
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FINISHED, timeout=30.0)

    def newest():
        found = [array.status[0] for array in diagnostics if 'trainer' in array.status[0].name]
        return found[-1] if found else DiagnosticStatus()

    ros.until(lambda: newest().level == DiagnosticStatus.WARN, timeout=5.0)
    assert newest().message.startswith('feature_explosion: L2 norm of the features is ')
    values = {item.key: item.value for item in newest().values}
    assert values['alerts'] == 'feature_explosion' and values['rollbacks'] == '0'


def test_rows_that_cannot_be_written_are_on_diagnostics_and_learning_goes_on(
    ros, talker, trainer, sender, monkeypatch
):
    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('av_td3_ros.run_folder._open_table', full)
    statuses = talker.hear('training_status')
    talker.say('episode_result', EpisodeResult(outcome='truncated', reason='time_limit'))
    ros.until(lambda: trainer._trainer.episodes == 1)
    level, text, _ = trainer.health()
    assert level == DiagnosticStatus.WARN
    assert 'episodes.csv must be written, got No space left on device' in text
    sender.episode(1, 60)
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FINISHED, timeout=30.0)
    assert statuses[-1].updates == 20


def test_an_alert_that_halts_ends_the_node_and_says_why(ros, talker, tmp_path):
    trainer = ros.start(TrainerNode, run_dir=str(tmp_path), **SMALL, **SICK)
    statuses = talker.hear('training_status')
    Sender(talker).episode(1, 60)
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FAILED, timeout=30.0)
    assert statuses[-1].message.startswith('halted: feature_explosion: L2 norm of the features')
    ros.until(lambda: trainer.wants_exit)
    assert trainer.exit_code == 1
    assert trainer.health()[:2] == (DiagnosticStatus.ERROR, statuses[-1].message)
    trainer.close()
    updates = [
        json.loads((checkpoint.latest(folder) / checkpoint.INFO).read_text())['update']
        for folder in (tmp_path, tmp_path / 'halted')
    ]
    assert updates == [1, 5]  # the first one was still before the first record


def test_a_roll_back_publishes_the_old_learner_as_a_new_version(ros, talker, tmp_path):
    sick = {**SICK, 'health__rollbacks': 1}
    trainer = ros.start(
        TrainerNode, run_dir=str(tmp_path), **SMALL, **sick, health__on_halt='rollback'
    )
    # Who subscribes may hear the newest alone of several in a row.
    statuses, published, publish = talker.hear('training_status'), [], trainer._weights_pub.publish
    trainer._weights_pub.publish = lambda msg: (published.append(msg), publish(msg))
    sender = Sender(talker)
    sender.episode(1, 26)
    ros.until(lambda: trainer._trainer.updates == 2, timeout=20.0)
    trainer._save()
    saved = trainer._trainer.version
    kept = checkpoint.load_policy(tmp_path).policy.state_dict()
    sender.episode(2, 60)
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FAILED, timeout=30.0)
    assert trainer._trainer.rollbacks == 1 and '(after 1 roll-backs)' in statuses[-1].message

    def restored(msg):
        policy = weights.unpack(bytes(msg.tensors), msg.sha256, msg.spec, SPEC)
        return all((x == kept[name]).all() for name, x in policy.state_dict().items())

    assert any(restored(msg) for msg in published if msg.version > saved)


def test_save_on_demand(ros, talker, trainer, sender):
    sender.episode(1, 5)
    client = talker.node.create_client(SaveCheckpoint, '/av_td3/trainer/save_checkpoint')
    ros.until(client.service_is_ready)
    future = client.call_async(SaveCheckpoint.Request())
    ros.until(future.done)
    assert future.result().success and checkpoint.load_policy(future.result().path)


def test_a_last_checkpoint_that_cannot_be_written_is_a_fault(
    ros, talker, trainer, sender, monkeypatch
):
    def fails():
        raise checkpoint.CheckpointError('checkpoint must be written, got No space left on device')

    statuses = talker.hear('training_status')
    sender.episode(1, 5)
    ros.until(lambda: trainer._trainer.env_steps == 5)
    monkeypatch.setattr(trainer._trainer, 'save', fails)
    trainer.trigger_deactivate()
    assert trainer.exit_code == 1
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FAILED)
    assert 'No space left' in statuses[-1].message


def test_a_finished_run_that_cannot_be_saved_is_a_fault_under_a_launch_file_too(
    ros, talker, trainer, sender, monkeypatch
):
    def fails():
        raise checkpoint.CheckpointError('checkpoint must be written, got No space left on device')

    statuses = talker.hear('training_status')
    monkeypatch.setattr(trainer._trainer, 'save', fails)
    sender.episode(1, 60)
    ros.until(lambda: statuses and statuses[-1].phase == TrainingStatus.FINISHED, timeout=30.0)
    assert trainer.wants_exit and trainer.exit_code == 0
    trainer.trigger_deactivate()
    ros.until(lambda: statuses[-1].phase == TrainingStatus.FAILED)
    assert trainer.exit_code == 1


def test_who_asks_for_a_checkpoint_when_learning_has_ended_hears_why(ros, talker, tmp_path):
    trainer = ros.start(TrainerNode, run_dir=str(tmp_path), **SMALL, **SICK)
    Sender(talker).episode(1, 60)
    ros.until(lambda: not trainer._worker.is_alive(), timeout=30.0)
    reply = trainer.on_save(SaveCheckpoint.Request(), SaveCheckpoint.Response())
    assert not reply.success and 'learning has ended: halted: feature_explosion' in reply.message


def test_what_is_refused_hides_no_figure(ros, talker, trainer):
    heard = []
    talker.node.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
    talker.say('episode_result', EpisodeResult(outcome='truncated', episode_return=float('nan')))

    def told():
        found = [status for msg in heard for status in msg.status if 'trainer' in status.name]
        return [status for status in found if status.message.startswith('refused: ')]

    ros.until(told)
    assert {'alerts', 'env_steps', 'refused'} <= {value.key for value in told()[-1].values}


def test_a_trainer_of_a_launch_file_claims_its_folder(ros, trainer, tmp_path, capfd):
    with pytest.raises(ConfigError, match='one training at a time'):
        with claimed(tmp_path):
            pass
    trainer.close()
    with claimed(tmp_path):
        again = ros.make(TrainerNode, run_dir=str(tmp_path), resume=True, **SMALL)
        assert again.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'one training at a time' in capfd.readouterr().err


def test_resume_goes_on_and_a_used_folder_is_refused(ros, talker, trainer, sender, tmp_path):
    sender.episode(1, 40)
    ros.until(lambda: trainer._trainer.updates == 10, timeout=20.0)
    trainer.close()
    fresh = ros.make(TrainerNode, run_dir=str(tmp_path), **SMALL)
    assert fresh.trigger_configure() == TransitionCallbackReturn.FAILURE
    again = ros.start(TrainerNode, run_dir=str(tmp_path), resume=True, **SMALL)
    assert (again._trainer.env_steps, again._trainer.updates) == (40, 10)


@pytest.mark.parametrize(
    'params, text',
    [
        ({'run_dir': '/proc/no'}, 'run folder must be writable'),
        ({'run_dir': ''}, 'run_dir must name a folder'),
        ({'learner__batch_size': 0}, 'learner.batch_size must be 1 to 4096'),
        ({'resume': True}, 'a whole checkpoint must be in'),
    ],
)
def test_bad_parameters_are_refused(ros, tmp_path, params, text, capfd):
    node = ros.make(TrainerNode, **{'run_dir': str(tmp_path), **SMALL, **params})
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert text in capfd.readouterr().err
