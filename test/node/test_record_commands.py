"""``av-td3 record`` and ``av-td3 replay`` as programs, ended as people and scripts end them."""

import os
import select
import signal
import subprocess
import sys

import pytest
from rosgraph_msgs.msg import Clock

from sensor_msgs.msg import Image

from av_td3_ros.recording.bag_reader import BagReader

TIMEOUT = 60.0
# Until it is stopped: a publisher may be found late, and so long it must look for one.
FOR_DAYS = '--rate', '0.000001'


def start(ros, *arguments, ignoring=False):
    """Start a command on the domain of the test; in a script's background SIGINT is ignored."""
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros.context.get_domain_id())}
    return subprocess.Popen(
        [sys.executable, '-m', 'av_td3_ros.cli.main', *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,
    )


def ended(process, code=0):
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == code, output + errors
    return output, errors


def recorded(bag):
    """Return what is on the disk of a recording that goes on."""
    return list(BagReader(bag).messages())


def played(ros, bag):
    """
    Return the seconds that were heard of five clocks while a bag was played.

    Where the player finds who listens late, the first ones are missing, and nothing else.
    """
    ear, heard = ros.node('ear'), []
    subscription = ear.create_subscription(Clock, '/clock', heard.append, 10)
    player = start(ros, 'replay', bag, '--rate', '10')
    try:
        ros.until(lambda: player.poll() is not None, TIMEOUT)
        output, _ = ended(player)
    finally:
        player.kill()
    ros.spin(0.5)  # what has arrived
    ear.destroy_subscription(subscription)
    assert '5 messages played' in output
    seconds = [message.clock.sec for message in heard]
    assert seconds == list(range(5 - len(seconds), 5))
    return seconds


@pytest.mark.parametrize(
    'number, ignoring', [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)]
)
def test_a_recording_that_is_stopped_is_whole_and_plays(ros, tmp_path, number, ignoring):
    bag = tmp_path / 'drive'
    speaker = ros.node('clock')
    clock = speaker.create_publisher(Clock, '/clock', 10)
    process = start(ros, 'record', '--output', bag, '--topics', 'clock', ignoring=ignoring)
    try:
        ros.until(clock.get_subscription_count, TIMEOUT)
        for second in range(5):
            message = Clock()
            message.clock.sec = second
            clock.publish(message)
        ros.until(lambda: len(recorded(bag)) == 5, TIMEOUT)
        process.send_signal(number)
        output, _ = ended(process)
    finally:
        process.kill()
    assert 'recording 1 topics' in output and '5 messages on 1 topics' in output
    reader = BagReader(bag)
    assert [m.content.clock.sec for m in reader.messages()] == list(range(5))
    assert (bag / 'metadata.yaml').is_file() and not reader.cut_off
    if number is signal.SIGTERM:
        return
    _, errors = ended(start(ros, 'replay', bag, *FOR_DAYS), 2)  # the clock is live
    assert '/clock must have no other publisher' in errors
    speaker.destroy_publisher(clock)
    player = start(ros, 'replay', bag, *FOR_DAYS)
    try:
        ros.until(lambda: select.select([player.stdout], [], [], 0.0)[0], TIMEOUT)
        assert 'messages played' in player.stdout.readline()
        clock = speaker.create_publisher(Clock, '/clock', 10)
        _, errors = ended(player, 2)  # a graph begins meanwhile
    finally:
        player.kill()
    assert '/clock must have no other publisher' in errors
    speaker.destroy_publisher(clock)
    assert any(played(ros, bag) == list(range(5)) for _ in range(3))


@pytest.mark.parametrize('rules, missing', [(('image:=/front/image_raw',), ()), ((), ('image',))])
def test_a_stack_that_was_remapped_is_recorded_and_what_lacks_is_said(
    ros, tmp_path, rules, missing
):
    bag = tmp_path / 'drive'
    speaker = ros.node('camera')
    camera = speaker.create_publisher(Image, '/front/image_raw', 10)
    clock = speaker.create_publisher(Clock, '/clock', 10)
    remap = [part for rule in rules for part in ('--remap', rule)]
    process = start(
        ros, 'record', '--output', bag, *remap, '--topics', 'image', 'clock', 'cmd_vel'
    )
    try:
        ros.until(clock.get_subscription_count, TIMEOUT)
        if rules:
            ros.until(camera.get_subscription_count, TIMEOUT)
        for _ in range(3):
            camera.publish(Image(height=1, width=1, encoding='mono8', step=1, data=b'x'))
            clock.publish(Clock())
        wanted = {'/clock', *(['/front/image_raw'] if rules else [])}
        ros.until(lambda: {m.topic.name for m in recorded(bag)} == wanted, TIMEOUT)
        process.send_signal(signal.SIGINT)
        output, _ = ended(process)
    finally:
        process.kill()
    assert {m.topic.name for m in recorded(bag)} == wanted
    assert 'warning: no command was recorded: nothing came on /av_td3/cmd_vel; ' in output
    text = 'warning: no image was recorded: nothing came on /carla/ego_vehicle/rgb_front/image; '
    assert (text in output) == ('image' in missing)
