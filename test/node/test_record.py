"""The real graph drives, a recorder listens, and what is read back is what the trainer stored."""

from importlib.util import find_spec
import sys
from types import ModuleType

from av_td3_msgs.msg import Transition
from geometry_msgs.msg import TwistStamped
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from av_td3_ros.bridge.qos_text import to_text
from av_td3_ros.bridge.topics import topic_qos, TOPICS
from av_td3_ros.bridge.watching import choose, is_obeyed, SHOWN, watched
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.nodes.recorder import RecorderNode, share
from av_td3_ros.nodes.recorder_player import PlayerNode
from av_td3_ros.nodes.simulator_node import SimulatorNode
from av_td3_ros.nodes.trainer_node import TrainerNode
from av_td3_ros.recording.bag_reader import BagReader
from av_td3_ros.recording.bag_writer import BagError, BagWriter
from av_td3_ros.recording.definitions import definition
from av_td3_ros.recording.metadata import BagTopic
from av_td3_ros.recording.recording import Recording
from av_td3_ros.recording.transitions import load_transitions, spec_of
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.replay import ReplayBuffer

EYES = {'observation__height': 36, 'observation__width': 36}
LEARNER = {
    'learner__batch_size': 8,
    'learner__network__hidden_1': 16,
    'learner__network__hidden_2': 16,
    'learner__network__feature_size': 16,
    'precision': 'fp32',
    'replay__capacity': 1000,
    'exploration__warmup_steps': 20,
    'publish_every': 5,
    'threads': 1,
    'update_after': 20,
    'steps': 100_000,
}
STEPS = 60
TIMEOUT = 120.0
EVERY_FRAME = ('clock', 'status', 'image', 'camera_info', 'odometry', 'speedometer', 'actor_list')


class Drive:
    """A graph in this process, and its recorder."""

    def __init__(self, ros, folder):
        self.ros, self.bag = ros, folder / 'drive'
        self.writer = BagWriter(self.bag, room=2**20)
        self.recording = Recording(self.writer)
        self.recorder = ros._add(
            RecorderNode(
                list(watched('ego_vehicle').values()),
                self.writer,
                self.recording,
                context=ros.context,
            )
        )
        self.trainer = ros.start(TrainerNode, run_dir=str(folder / 'run'), **EYES, **LEARNER)
        self.policy = ros.start(PolicyNode, **EYES)
        self.perception = ros.start(PerceptionNode, **EYES)
        self.manager = ros.start(EpisodeManagerNode, termination__max_steps=20)
        self.simulator = ros.start(SimulatorNode, image_width=96, image_height=54, vehicles=3)

    def count(self, key):
        return self.recorder.counts[watched('ego_vehicle')[key].name]

    def drive(self, steps=STEPS):
        """Drive, then let everything that was sent arrive everywhere."""
        replay = self.trainer._trainer.replay
        self.ros.until(lambda: self.manager.sent >= steps and len(replay) > 20, TIMEOUT)
        self.simulator.trigger_deactivate()
        manager = self.manager
        self.ros.until(lambda: self.trainer._intake.received == manager.sent, TIMEOUT)
        self.ros.until(lambda: self.count('transition') == manager.sent, TIMEOUT)
        self.ros.until(lambda: self.count('image') == self.simulator.frames, TIMEOUT)
        self.trainer.trigger_deactivate()
        self.recording.stop()
        return replay


@pytest.fixture
def drive(ros, tmp_path):
    made = Drive(ros, tmp_path)
    yield made
    made.recording.stop()


def assert_same(one, two):
    """Everything that the buffers hold, bit for bit."""
    assert one.count == two.count > 0
    held = slice(0, one.count)
    for name, column in one._ring.columns.items():
        assert column[held].tobytes() == two._ring.columns[name][held].tobytes(), name
    index = np.arange(one.count)[None]
    ours, theirs = (np.asarray(each._ring.frames.get(index)) for each in (one, two))
    assert np.array_equal(ours, theirs) and ours.any()


def test_a_drive_read_back_is_what_the_trainer_stored(drive):
    stored = drive.drive()
    assert drive.trainer._intake.lost == 0 and not drive.recording.dropped
    spec = spec_of(drive.bag)
    assert spec == drive.trainer._trainer.spec
    learner = drive.trainer.config.learner
    config = ReplayConfig(capacity=1000)
    back = ReplayBuffer(spec, config, learner.n_step, learner.discount)
    account = load_transitions(drive.bag, spec, back)
    assert account.stored == account.received == drive.manager.sent
    assert account.lost == account.duplicated == account.unusable == 0 and account.episodes >= 3
    assert_same(stored, back)
    assert len(stored) == len(back)
    # The same again where it was kept otherwise, and by the learner's own door.
    squeezed = ReplayBuffer(
        spec, ReplayConfig(capacity=1000, storage='compressed'), learner.n_step, learner.discount
    )
    load_transitions(drive.bag, spec, squeezed)
    assert_same(back, squeezed)
    one, two = back.sample(64), squeezed.sample(64)
    for name in ('image', 'vector', 'action', 'reward', 'discount', 'next_image', 'next_vector'):
        assert np.array_equal(np.asarray(getattr(one, name)), np.asarray(getattr(two, name))), name


def test_another_library_reads_the_same_drive(drive):
    """Every message of every topic; those of the replay value by value."""
    rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
    from rosbags.typesys import get_types_from_msg, get_typestore, Stores

    stored = drive.drive()
    types = get_typestore(Stores.ROS2_HUMBLE)
    seen, steps = {}, []
    with rosbag2.Reader(drive.bag) as reader:
        for connection in reader.connections:
            text = connection.msgdef.data
            types.register(
                {
                    name: definition
                    for name, definition in get_types_from_msg(text, connection.msgtype).items()
                    if name not in types.fielddefs
                }
            )
        for connection, _, data in reader.messages():
            message = types.deserialize_cdr(data, connection.msgtype)
            seen[connection.topic] = seen.get(connection.topic, 0) + 1
            if connection.msgtype == 'av_td3_msgs/msg/Transition':
                steps.append(message)
    assert seen == {name: count for name, count in drive.writer.counts.items() if count}
    for key in EVERY_FRAME:
        assert seen[watched('ego_vehicle')[key].name] == drive.simulator.frames, key
    columns = stored._ring.columns
    names = drive.trainer._trainer.spec.vector
    same = [names.index(name) for name in PRIVILEGED_NAMES]
    for index, step in enumerate(steps):
        assert step.sequence == index + 1
        assert step.vector.tobytes() == columns['vector'][index].tobytes()
        # This policy sees all that its learner is told: of the same frame, then.
        assert np.array_equal(step.vector[same], step.privileged)
        assert (step.outcome == Transition.TERMINATED) == columns['terminated'][index]
        if step.step_id:
            assert step.action.tobytes() == columns['action'][index].tobytes()
            assert np.float32(step.reward) == columns['reward'][index]
        frame = np.asarray(stored._ring.frames.get(np.array([[index]]))).reshape(-1)
        assert np.array_equal(step.frame, frame)


def small_bag(folder, ros, talker):
    """A bag of the goal, which is obeyed, of the latched route, and of the clock."""
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Path as Route
    from rosgraph_msgs.msg import Clock

    writer = BagWriter(folder, room=2**20)
    recording = Recording(writer)
    known = watched('ego_vehicle')
    recorder = ros._add(
        RecorderNode(
            [known[key] for key in ('goal', 'waypoints', 'clock')],
            writer,
            recording,
            context=ros.context,
        )
    )
    route = Route()
    route.header.frame_id = 'map'
    talker.say('waypoints', route)
    talker.say('goal', PoseStamped())
    for second in range(3):
        message = Clock()
        message.clock.sec = second + 1
        talker.say('clock', message)
    ros.until(lambda: sum(recorder.counts.values()) == 5)
    recording.stop()
    ros.executor.remove_node(recorder)
    recorder.destroy_subscription(recorder._subscriptions_by_name[known['clock'].name])
    return folder


def test_playing_repeats_all_but_what_is_obeyed(ros, talker, tmp_path):
    bag = small_bag(tmp_path / 'drive', ros, talker)
    for key in list(talker._pubs):
        talker.node.destroy_publisher(talker._pubs.pop(key))
    heard = {key: talker.hear(key) for key in ('goal', 'waypoints', 'clock')}
    player = ros._add(PlayerNode(BagReader(bag), (), commands=False, context=ros.context))
    goal = watched('ego_vehicle')['goal'].name
    assert player.left_out == {goal: 'somebody may obey it'}
    ros.until(lambda: all(pub.get_subscription_count() for pub in player._pubs.values()))
    ros.until(lambda: not player.twins())
    player.play(100.0, lambda seconds: ros.executor.spin_once(timeout_sec=min(seconds, 0.05)))
    ros.until(lambda: len(heard['clock']) == 3 and len(heard['waypoints']) == 1)
    assert [message.clock.sec for message in heard['clock']] == [1, 2, 3]
    late = talker.hear('waypoints')  # latched, as it was
    ros.until(lambda: late)
    assert not heard['goal'] and player.played == 4
    asked = ros._add(PlayerNode(BagReader(bag), [goal], commands=False, context=ros.context))
    assert list(asked._pubs) == [goal]
    with pytest.raises(BagError, match='--topics must be in .*, got /nowhere'):
        PlayerNode(BagReader(bag), ['/nowhere'], commands=False, context=ros.context)


def test_a_topic_that_is_live_is_seen(ros, talker, tmp_path):
    bag = small_bag(tmp_path / 'drive', ros, talker)
    player = ros._add(PlayerNode(BagReader(bag), (), commands=False, context=ros.context))
    ros.until(lambda: '/clock' in player.twins())


def test_commands_are_told_from_what_is_shown():
    assert set(SHOWN) >= {'image', 'clock', 'odometry', 'waypoints', 'diagnostics'}
    for name in (
        '/carla/hero/vehicle_control_cmd',
        '/carla/ego_vehicle/control/set_transform',
        '/carla/control',
        '/av_td3/policy_weights',
        '/mine/transition',
        '/mine/observation',
        '/mine/action',
        # Of nobody's table: whoever replays cannot know who listens.
        '/vehicle/command',
        '/av_td3/control_cmd',
        '/av_td3/ackermann_cmd',
        '/carla/ego_vehicle/twist',
        '/carla/ego_vehicle/enable_autopilot',
    ):
        assert is_obeyed(name), name
    for key in SHOWN:
        assert not is_obeyed(watched('hero', 'mine')[key].name), key
    assert {key for key in TOPICS if '~' in TOPICS[key].name} <= set(watched('hero'))
    assert not is_obeyed('/tf') and not is_obeyed('/tf_static')


@pytest.fixture
def ackermann(monkeypatch):
    """A package of messages for another stack; it has no wheel, so another message stands in."""
    package = ModuleType('ackermann_msgs.msg')
    package.AckermannDriveStamped = TwistStamped
    monkeypatch.setitem(sys.modules, 'ackermann_msgs', ModuleType('ackermann_msgs'))
    monkeypatch.setitem(sys.modules, 'ackermann_msgs.msg', package)


def test_commands_for_another_stack_are_recorded(ros, ackermann, tmp_path):
    topic = watched('hero', 'mine')['ackermann_cmd']
    assert topic.name == '/mine/ackermann_cmd' and is_obeyed(topic.name)
    writer = BagWriter(tmp_path / 'drive', room=2**20)
    recording = Recording(writer)
    recorder = ros._add(RecorderNode([topic], writer, recording, context=ros.context))
    policy = ros.node().create_publisher(TwistStamped, topic.name, topic.qos)
    ros.until(policy.get_subscription_count)
    policy.publish(TwistStamped())
    ros.until(lambda: recorder.counts[topic.name])
    recording.stop()
    (message,) = BagReader(tmp_path / 'drive').messages()
    assert message.topic.name == topic.name


def test_messages_that_are_not_installed_are_not_looked_for():
    installed = {key for key in ('ackermann_cmd', 'control_cmd') if key in watched('hero')}
    wanted = {'ackermann_cmd': 'ackermann_msgs', 'control_cmd': 'autoware_control_msgs'}
    assert installed == {key for key, package in wanted.items() if find_spec(package)}


def test_topics_have_the_names_that_the_graph_gave_them():
    rules = (
        '/carla/hero/rgb_front/image:=/front/image_raw',
        'odometry:=localization/odometry',
        'cmd_vel:=/vehicle/cmd_vel',
        '/mine/perception/debug/stack:=/seen',
    )
    found = watched('hero', 'mine', rules)
    assert found['image'].name == '/front/image_raw'
    assert found['odometry'].name == '/mine/localization/odometry'
    assert found['cmd_vel'].name == '/vehicle/cmd_vel' and found['debug_stack'].name == '/seen'
    # They follow the image, as in perception, unless they are remapped too.
    assert found['image_compressed'].name == '/front/image_raw/compressed'
    assert found['camera_info'].name == '/front/camera_info'
    moved = {'image', 'odometry', 'cmd_vel', 'debug_stack', 'image_compressed', 'camera_info'}
    plain = watched('hero', 'mine')
    assert {key for key in plain if plain[key].name != found[key].name} == moved
    named = watched('hero', 'mine', (*rules, 'camera_info:=/front/intrinsics'))
    assert named['camera_info'].name == '/front/intrinsics'


def test_a_topic_that_is_asked_for_by_key_and_by_name_is_heard_once():
    known = watched('hero')
    asked = ('odometry', 'image', '/carla/hero/odometry', 'image')
    assert choose(known, asked) == [known['odometry'], known['image']]


def test_commands_of_a_foreign_stack_are_played_when_asked_for_alone(ros, tmp_path):
    text = 'std_msgs/msg/String'
    writer = BagWriter(tmp_path / 'drive', room=2**20)
    for name in ('/vehicle/command', '/av_td3/control_cmd', '/clock'):
        writer.add_topic(
            BagTopic(name, text, definition(text, share), to_text(topic_qos('clock')))
        )
        writer.write(name, 1, serialize_message(String(data='go')))
    writer.close()

    def player(chosen, commands):
        reader = BagReader(tmp_path / 'drive')
        return ros._add(PlayerNode(reader, chosen, commands, context=ros.context))

    careful = player((), False)
    assert list(careful._pubs) == ['/clock']
    assert careful.left_out == dict.fromkeys(
        ('/vehicle/command', '/av_td3/control_cmd'), 'somebody may obey it'
    )
    assert list(player(['/vehicle/command'], False)._pubs) == ['/vehicle/command']
    assert len(player((), True)._pubs) == 3
