"""Perception in a foreign stack: any encoding, any camera, any rate, or one clear word."""

import array
import time

from carla_msgs.msg import CarlaStatus
import cv2
from foreign_stack import (
    configured,
    ERROR,
    grey_image,
    header,
    IMAGE,
    INFO,
    info,
    newest_frame,
    odometry,
    OK,
    scene,
    SPEC,
    started,
    started_topics,
    TICK,
)
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage

from av_td3_ros.bridge import convert, qos
from av_td3_ros.config import CameraConfig, ObservationConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.driving.camera_model import ideal, View
from av_td3_ros.driving.preprocess import grey_frame
from av_td3_ros.nodes.perception_node import PerceptionNode

# -- encodings ------------------------------------------------------------------------------------


def as_rgb(pixels):
    return 'rgb8', np.repeat(pixels[..., None], 3, -1)


def as_uyvy(pixels):
    luma = np.round(16 + pixels * (219 / 255)).astype(np.uint8)
    return 'yuv422', np.stack([np.full_like(luma, 128), luma], -1)


def as_mono16(pixels):
    return 'mono16', pixels.astype(np.uint16) * 257


@pytest.mark.parametrize('encode', [as_rgb, as_uyvy, as_mono16])
def test_encodings_give_the_same_observation(ros, stack, encode):
    started(ros)
    pixels = scene(256, 144)
    encoding, data = encode(pixels)
    msg = convert.to_image(data, encoding, header(1.0))
    stack.drive([msg], IMAGE)
    expected = grey_frame(pixels, ObservationConfig()).astype(int)
    assert np.abs(newest_frame(stack.heard[0]) - expected).max() <= 1
    assert stack.heard[0].header.frame_id == 'front_optical'


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_compressed_images(ros, stack, suffix):
    node = started(ros, camera__transport='compressed')
    pixels = scene(256, 144)
    data = array.array('B', cv2.imencode(suffix, pixels)[1].tobytes())
    msg = CompressedImage(header=header(1.0), format=suffix[1:], data=data)
    stack.drive([msg], f'{IMAGE}/compressed')
    expected = grey_frame(pixels, ObservationConfig()).astype(int)
    assert np.abs(newest_frame(stack.heard[0]) - expected).mean() <= 2
    msg.header, msg.data = header(1.0 + TICK), data[: len(data) // 2]
    stack.say(f'{IMAGE}/compressed', msg)
    ros.until(lambda: 'must be a whole jpeg or png' in node.health()[1], 60.0)


def test_an_unknown_encoding_is_an_error_on_diagnostics_and_nothing_drives(ros, stack):
    started(ros)
    msg = grey_image(scene(256, 144), 1.0)
    msg.encoding = 'h264'
    stack.say(IMAGE, msg)
    stack.say('/carla/ego_vehicle/odometry', odometry(1.0))
    ros.until(lambda: stack.said("got 'h264'; check the camera"), 60.0)
    assert not stack.heard


# -- cameras --------------------------------------------------------------------------------------


def test_another_camera_is_re_projected(ros, stack):
    node = started(ros)
    camera = ideal(800, 600, 100.0)
    stack.say(INFO, info(camera))
    ros.until(lambda: node._camera._view is not None, 60.0)
    pixels = scene(800, 600)
    stack.drive([grey_image(pixels, 1.0)], IMAGE)
    expected = View(camera, CameraConfig(fov_deg=90.0), ObservationConfig()).frame(pixels)
    assert np.array_equal(newest_frame(stack.heard[0]), expected)
    assert not np.array_equal(expected, grey_frame(pixels, ObservationConfig()))
    assert 're-projected to the training camera 256x144' in node.health()[2]['camera']


def test_a_narrow_camera_is_refused_with_its_numbers_until_a_fitting_one_comes(ros, stack):
    node = started(ros)
    stack.say(INFO, info(ideal(640, 480, 60.0)))
    ros.until(lambda: stack.said('at least 98.0% of the training view, got 4'), 60.0)
    stack.say(IMAGE, grey_image(scene(640, 480), 1.0))
    stack.say('/carla/ego_vehicle/odometry', odometry(1.0))
    ros.spin(0.3)
    assert not stack.heard and node.health()[0] == ERROR
    stack.say(INFO, info(ideal(640, 480, 95.0)))
    ros.until(lambda: node._camera._view is not None, 60.0)
    stack.drive([grey_image(scene(640, 480), 1.0 + TICK * k) for k in (1, 2)], IMAGE)
    assert [msg.drive for msg in stack.heard] == [False, True] and node.health()[0] == OK


def test_images_wait_for_the_camera_info_that_somebody_publishes(ros, stack):
    node = started(ros)
    published = stack.node.create_publisher(CameraInfo, INFO, qos.PROFILES['bridge'])
    ros.until(lambda: published.get_subscription_count() > 0, 60.0)
    ros.until(lambda: node.count_publishers(INFO) > 0, 60.0)
    stack.say(IMAGE, grey_image(scene(800, 600), 1.0))
    ros.until(lambda: node.health()[1] == f'waiting for CameraInfo on {INFO}', 60.0)
    published.publish(info(ideal(800, 600, 90.0)))
    ros.until(lambda: node._camera._view is not None, 60.0)
    stack.drive([grey_image(scene(800, 600), 1.0 + TICK)], IMAGE)
    assert not node._camera.awaited.told()[1]


def test_an_image_of_another_size_than_its_camera_info_is_refused(ros, stack):
    node = started(ros)
    stack.say(INFO, info(ideal(800, 600, 90.0)))
    ros.until(lambda: node._camera._view is not None, 60.0)
    stack.say(IMAGE, grey_image(scene(640, 480), 1.0))
    ros.until(lambda: 'image of 640x480 must have the size in CameraInfo' in node.health()[1], 60)


def test_camera_info_that_was_said_once_and_latched_is_heard(ros, stack):
    say = stack.node.create_publisher(CameraInfo, INFO, qos.PROFILES['latched'])
    say.publish(info(ideal(800, 600, 90.0)))
    node = started(ros)
    ros.until(lambda: node._camera._view is not None, 60.0)


def test_camera_info_that_came_while_the_node_was_inactive_counts(ros, stack):
    node = configured(ros)
    pixels = scene(800, 600)
    say = stack.node.create_publisher(CameraInfo, INFO, qos.PROFILES['latched'])
    for number, camera in enumerate((ideal(800, 600, 90.0), ideal(800, 600, 100.0)), 1):
        say.publish(info(camera))
        view = View(camera, CameraConfig(fov_deg=90.0), ObservationConfig())
        ros.until(lambda view=view: node._camera.values()['camera'] == str(view), 60.0)
        node.trigger_activate()
        stack.heard.clear()
        stack.drive([grey_image(pixels, float(number))], IMAGE)
        assert np.array_equal(newest_frame(stack.heard[0]), view.frame(pixels))
        node.trigger_deactivate()


def test_camera_info_can_be_required_or_ignored(ros, stack):
    node = started(ros, camera__info='required')
    stack.say(IMAGE, grey_image(scene(256, 144), 1.0))
    ros.until(lambda: 'waiting for CameraInfo' in node.health()[1], 60.0)
    assert 'camera_info' not in started_topics(started(ros, camera__info='ignored'))


# -- rates ----------------------------------------------------------------------------------------


def stream(rate, count):
    pixels = scene(96, 54)
    return [grey_image(pixels, 5.0 + k / rate) for k in range(count)]


def test_three_images_a_second_do_not_drive_and_say_so(ros, stack, capfd):
    started(ros)
    stack.drive(stream(3.0, 5), IMAGE)
    assert not any(msg.drive for msg in stack.heard)
    ros.until(lambda: stack.said('not driving at 3.0 Hz: at least 10 Hz needed'), 60.0)
    assert stack.said('images 3.0 Hz')
    told = []

    def on_the_log():
        told.append(capfd.readouterr().err)
        return 'not driving at 3.0 Hz: at least 10 Hz needed' in ''.join(told)

    ros.until(on_the_log, 60.0)


def hear_of_a_simulation(ros, stack, node, tick):
    """Let it hear the word of a simulation, and another's that shows that the first was heard."""
    for step in (0.001, tick):
        stack.say('/carla/status', CarlaStatus(synchronous_mode=True, fixed_delta_seconds=step))
        ros.until(lambda: ('ticks at 1000 Hz' in node._tick) == (step == 0.001), 60.0)


def test_a_simulation_that_ticks_too_fast_for_the_policy_is_named(ros, stack):
    node = started(ros)
    for tick, says in ((0.025, True), (0.05, False)):
        hear_of_a_simulation(ros, stack, node, tick)
        assert ('ticks at 40 Hz and the policy was trained at 20 Hz' in node.health()[1]) == says


def test_a_simulation_elsewhere_does_not_change_which_frames_are_seen(ros, stack):
    node = started(ros)
    hear_of_a_simulation(ros, stack, node, 0.15)
    stack.drive(stream(20.0, 8), IMAGE)
    stamps = [convert.to_ns(msg.header.stamp) / 1e9 for msg in stack.heard]
    assert np.diff(stamps) == pytest.approx(TICK)


@pytest.mark.parametrize('rate, says', [(90.0, True), (30.0, False)])
def test_images_that_come_too_fast_are_driven_by_with_a_warning(ros, stack, capfd, rate, says):
    node = started(ros)
    for msg in stream(rate, 60):
        node._camera._on_image(msg)
    text = f'images come at {rate:.0f} Hz and the policy was trained at 20 Hz'
    assert (node.health()[0] == b'\x01' and text in node.health()[1]) == says
    for _ in range(3):
        node._camera._watch()
    assert capfd.readouterr().err.count(text) == says


@pytest.mark.parametrize('tick', [0.0, 0.01], ids=['a camera', 'a simulation at 100 Hz'])
def test_a_hundred_images_a_second_are_thinned_to_the_rate_of_training(ros, stack, tick):
    node = started(ros)
    hear_of_a_simulation(ros, stack, node, tick)
    for number, msg in enumerate(stream(100.0, 30)):
        stack.say(IMAGE, msg)
        stack.say('/carla/ego_vehicle/odometry', Odometry(header=msg.header))
        ros.until(lambda: node._camera._stamp == convert.to_ns(msg.header.stamp), 60.0)
    ros.until(lambda: len(stack.heard) == 6, 60.0)
    stamps = [convert.to_ns(msg.header.stamp) / 1e9 for msg in stack.heard]
    assert np.diff(stamps) == pytest.approx(TICK)
    assert all(msg.drive for msg in stack.heard[1:])
    assert node.health()[2]['thinned_images'] == 24


TOO_FAST = (
    'images must come at 100 Hz at most, 5 times the 20 Hz of the training, got 200 Hz on '
    f'{IMAGE}; set the camera to 20 Hz, or remap the image to what `ros2 run topic_tools throttle '
    f'messages {IMAGE} 20` publishes'
)


def test_two_hundred_images_a_second_are_refused_in_one_line_until_they_come_as_in_training(
    ros, stack, capfd
):
    node = started(ros)
    stack.say('/carla/ego_vehicle/odometry', odometry(4.0))

    def see(rate, begin, count=60):
        for k in range(count):
            at = begin + k / rate
            node.on_odometry(odometry(at))
            node._camera._on_image(grey_image(scene(96, 54), at))
            node._camera._watch()
            node._watch()

    see(200.0, 5.0)
    assert node.health()[:2] == (ERROR, TOO_FAST)
    ros.until(lambda: stack.said(TOO_FAST), 60.0)
    assert [msg.drive for msg in stack.heard] == [False]  # before it was known
    see(20.0, 5.35)
    assert node.health()[0] == OK and node.observations > 50
    assert capfd.readouterr().err.count(TOO_FAST) == 1
    see(200.0, 20.0)
    assert node.health()[:2] == (ERROR, TOO_FAST) and capfd.readouterr().err.count(TOO_FAST) == 1


def test_after_a_gap_the_stack_begins_anew_and_waits_for_the_rate(ros, stack):
    started(ros)
    images = [
        grey_image(np.full((54, 96), value, np.uint8), at)
        for value, at in ((10, 1.0), (20, 1.05), (30, 9.0), (40, 9.05))
    ]
    stack.drive(images, IMAGE)
    assert [msg.drive for msg in stack.heard] == [False, True, False, True]
    after, _ = convert.to_image_stack(stack.heard[2], SPEC)
    assert set(after.ravel().tolist()) == {30}


def test_a_camera_without_stamps_is_named(ros, stack):
    node = started(ros)
    for _ in range(2):
        stack.say(IMAGE, grey_image(scene(96, 54), 0.0))
    ros.until(lambda: 'images must be stamped, got 0 twice' in node.health()[1], 60.0)


def test_stamps_of_two_clocks_are_named(ros, stack):
    node = started(ros, image_timeout=1.0)

    def says():
        stack.say(IMAGE, grey_image(scene(96, 54), node_time()))
        stack.say('/carla/ego_vehicle/odometry', odometry(node_time() + 1000.0))
        return 'their stamps must be of one clock' in node.health()[1]

    ticks = iter(range(100_000))

    def node_time():
        return 1.0 + next(ticks) * TICK

    ros.until(says, 60.0)
    assert not stack.heard


def test_waiting_for_a_route_is_not_taken_for_clocks_that_differ(ros, stack, capfd):
    node = started(ros, observation__waypoints=10, image_timeout=0.3)
    times = iter(np.arange(1.0, 10_000.0, TICK))
    begun = time.monotonic()

    def says():
        at = next(times)
        stack.say(IMAGE, grey_image(scene(96, 54), at))
        stack.say('/carla/ego_vehicle/odometry', odometry(at))
        return time.monotonic() - begun > 1.5 and node.health()[1] == 'waiting for a route'

    ros.until(says, 60.0)
    assert 'of one clock' not in capfd.readouterr().err


def test_without_camera_info_and_in_training_nothing_has_changed(ros, stack):
    """The first rows of code that ever drove: crop, grey, scale by area."""
    node = ros.start(PerceptionNode)
    assert 'camera_info' not in started_topics(node)
    assert node.health()[2]['camera'] == 'not compared'


def test_an_image_that_would_be_squashed_is_refused_where_nobody_tells_its_camera(ros, stack):
    started(ros)
    stack.say(IMAGE, grey_image(scene(80, 60), 5.0))
    ros.until(lambda: stack.said('the shape of training, 256x144, got 80x60'), 60.0)
    assert not stack.heard


def test_a_thumbnail_is_refused_where_nobody_tells_its_camera_unless_training_saw_no_more(
    ros, stack
):
    node = started(ros)
    for columns, rows, fits in ((80, 45, False), (96, 54, True)):
        camera = ideal(columns, rows, 90.0)
        told = is_refused(View, camera, CameraConfig(fov_deg=90.0), ObservationConfig())
        untold = is_refused(node._camera._check_shape, rows, columns)
        assert told is untold is not fits
    stack.say(IMAGE, grey_image(scene(16, 9), 5.0))
    ros.until(lambda: stack.said("for each of the network's frame, got 0.07: 16x9 on"), 60.0)
    assert not stack.heard
    small = started(ros, camera__width=64, camera__height=36)
    assert not is_refused(small._camera._check_shape, 36, 64)


def is_refused(check, *arguments):
    try:
        check(*arguments)
    except SpecError as error:
        assert 'pixels for each of' in str(error)
        return True
    return False
