"""Sizes that are announced, texts that are traps, names that are paths: refused, and no memory."""

import array
import math
from pathlib import Path
import struct

from av_td3_msgs.msg import Observation
from carla_msgs.msg import CarlaControl, CarlaWorldInfo
import domains
from fuzz_subjects import (
    EpisodeManager,
    Perception,
    PerceptionOfCommands,
    Policy,
    Simulator,
    Trainer,
)
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path as Route
import numpy as np
import pytest
import rclpy

from av_td3_ros.bridge import bounds, convert
from av_td3_ros.datatypes import SpecError
from av_td3_ros.td3 import weights

LITTLE = 250 * 2**20


@pytest.fixture
def make(tmp_path):
    """Make subjects that are released at the end."""
    context, made = rclpy.Context(), []
    rclpy.init(context=context, domain_id=domains.of_fuzzing())

    def subject(cls):
        made.append(cls(context, tmp_path / 'run'))
        made[-1].probe()
        return made[-1]

    yield subject
    for each in made:
        each.close()
    context.try_shutdown()


@pytest.fixture
def little_memory():
    """Fail where a test takes more than a little memory."""
    # The peak begins anew: one of an earlier test would hide that of this.
    Path('/proc/self/clear_refs').write_text('5')
    before = peak()
    yield
    assert peak() - before < LITTLE


def peak():
    """Return the most memory that this process has held since the peak was begun anew, bytes."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) * 1024
    raise AssertionError('no VmHWM in /proc/self/status')


@pytest.mark.parametrize(
    'height, width, step', [(2**32 - 1, 2**32 - 1, 2**32 - 1), (60_000, 1, 4)]
)
def test_an_image_of_announced_size_is_refused(make, little_memory, height, width, step):
    subject = make(Perception)
    image = subject.good('image')
    image.height, image.width, image.step = height, width, step
    subject.say('image', image)
    assert subject.node.health()[0] == b'\x02'
    subject.probe()


def test_an_observation_of_announced_size_is_refused(make, little_memory):
    policy, manager = make(Policy), make(EpisodeManager)
    msg = policy.good('observation')
    msg.image_shape = np.array([2**32 - 1] * 3, np.uint32)
    msg.image = array.array('B')
    for subject in (policy, manager):
        subject.say('observation', msg)
        subject.probe()


def test_weights_of_announced_size_are_refused(make, little_memory):
    subject = make(Policy)
    for header in (struct.pack('<Q', 2**60), struct.pack('<Q', 50) + b'{"a":{"dtype":"F32"' * 3):
        msg = subject.good('policy_weights')
        msg.version = subject.node.version + 1
        msg.tensors = array.array('B', header)
        msg.sha256 = weights.sha256(header)
        refused = subject.node.refused
        subject.say('policy_weights', msg)
        assert subject.node.refused == refused + 1
    subject.probe()


def test_weights_of_an_older_version_are_refused_and_the_same_again_are_nothing(make):
    subject = make(Policy)
    subject.probe()
    driving, refused = subject.node.version, subject.node.refused
    subject.version = driving
    subject.say('policy_weights', subject.good('policy_weights'))
    assert (subject.node.version, subject.node.refused) == (driving, refused)
    other = subject.good('policy_weights')
    other.sha256 = '0' * 64
    subject.say('policy_weights', other)
    assert subject.node.refused == refused + 1
    assert f'version must rise, by 1000000 at most, got {driving}' in subject.node.last_refusal
    assert subject.node.version == driving


def test_a_route_is_measured_before_it_is_read(little_memory):
    msg = Route(poses=[PoseStamped()] * (bounds.MOST_POINTS + 1))
    with pytest.raises(SpecError, match='may have 20000 points, got 20001'):
        convert.from_path(msg)


@pytest.mark.parametrize('place', [1e9, -1e300, float('nan'), float('inf')])
def test_a_place_that_is_nowhere_is_no_place(make, place):
    subject = make(Perception)
    odometry = subject.good('odometry')
    odometry.pose.pose.position.y = place
    with pytest.raises(SpecError, match='odometry must be finite, within 1e\\+08 m'):
        convert.from_odometry(odometry)
    route = subject.good('waypoints')
    route.poses[1].pose.position.x = place
    with pytest.raises(SpecError, match='finite points within'):
        convert.from_path(route)


@pytest.mark.parametrize('length', [0.0, 0.98, 1.02, 1e200, float('nan')])
def test_an_orientation_that_is_none_is_not_taken_for_east(make, length):
    odometry = make(Perception).good('odometry')
    odometry.pose.pose.orientation.w = length
    with pytest.raises(SpecError, match='odometry must be|orientation of odometry must have'):
        convert.from_odometry(odometry)


def test_an_orientation_of_rounded_figures_is_believed(make):
    odometry = make(Perception).good('odometry')
    turn = odometry.pose.pose.orientation
    turn.w, turn.z = 0.71, 0.71
    assert convert.from_odometry(odometry).pose.yaw == pytest.approx(math.pi / 2.0, abs=0.01)


def test_a_step_too_large_is_not_kept_in_the_queue(make):
    subject = make(Trainer)
    msg = subject.step(0)
    msg.frame = array.array('B', bytes(10 * 2**20))
    msg.vector = array.array('f', [0.0]) * 1_000_000
    subject.node.on_transition(msg)
    assert len(msg.frame) == len(msg.vector) == 0
    subject.probe()


BOMB = '<!DOCTYPE a [<!ENTITY b0 "ha">{}]><OpenDRIVE>&b40;</OpenDRIVE>'.format(
    ''.join(f'<!ENTITY b{i} "&b{i - 1};&b{i - 1};">' for i in range(1, 41))
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file://{}">]><OpenDRIVE>&b;</OpenDRIVE>'


@pytest.mark.parametrize('subject_class', [PerceptionOfCommands, EpisodeManager])
def test_a_map_that_is_a_bomb_or_looks_outside_is_refused(
    make, little_memory, tmp_path, subject_class
):
    secret = tmp_path / 'secret'
    secret.write_text('<road id="1"/>')
    subject = make(subject_class)
    for text in (BOMB, OUTSIDE.format(secret), '<a>' * 100_000):
        subject.say('world_info', CarlaWorldInfo(map_name='m', opendrive=text))
        assert 'map m must be OpenDRIVE' in subject.node._fault
    # The good map came before, and comes only once: work goes on with it.
    subject.frame += 1
    subject.published.clear()
    subject.say('waypoints', subject.good('waypoints'))
    for key in ('odometry', 'episode_state', 'image'):
        subject.say(key, subject.good(key))
    subject.tick()
    said = 'observation' if subject_class is PerceptionOfCommands else 'episode_state'
    assert len(subject.heard(said)) == 1


@pytest.mark.parametrize('name', ['../../../evil', '/tmp/evil', 'a\0b', '..', 'x' * 100_000])
def test_names_in_messages_are_no_paths(make, tmp_path, monkeypatch, name):
    place = tmp_path / 'here' / 'deep'
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv('AV_TD3_CACHE', str(tmp_path / 'cache'))
    manager, trainer = make(EpisodeManager), make(Trainer)
    before = {path for path in tmp_path.rglob('*')}
    info = manager.good('world_info')
    info.map_name = name
    manager.say('world_info', info)
    result = manager.node._result_pub.msg_type(
        outcome='truncated', reason=name[:900], route=name[:900], reward_terms=[name[:900]]
    )
    result.reward_sums = array.array('f', [1.0])
    trainer.say('episode_result', result)
    observation = Observation(spec=name)
    manager.say('observation', observation)
    trainer.probe()
    manager.probe()
    new = {path for path in tmp_path.rglob('*')} - before
    assert all(path.parent == tmp_path / 'run' for path in new), new
    assert not (tmp_path.parent / 'evil').exists() and not Path('/tmp/evil').exists()


@pytest.mark.parametrize('command', [3, -1, 127])
def test_an_unknown_command_to_the_world_does_not_pause_it(make, command):
    subject = make(Simulator)
    subject.say('world_control', CarlaControl(command=command))
    frames = subject.node.frames
    subject.say('vehicle_control_cmd', subject.good('vehicle_control_cmd'))
    assert subject.node.frames == frames + 1
