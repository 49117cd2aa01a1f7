"""Another camera's picture, re-projected, is the picture that the training camera takes."""

from dataclasses import replace
import math
import re

import cv2
import numpy as np
import pytest

from av_td3_ros.config import CameraConfig, ObservationConfig, SimulatorConfig
from av_td3_ros.datatypes import Pose, SpecError
from av_td3_ros.driving.camera_model import ideal, Intrinsics, project, View
from av_td3_ros.driving.preprocess import grey_frame
from av_td3_ros.sim.world import World

OBSERVATION, TRAINING = ObservationConfig(), CameraConfig(fov_deg=90.0)
BARREL = Intrinsics(
    1280, 720, 560.0, 562.0, 645.3, 355.2, 'plumb_bob', (-0.28, 0.07, 1e-3, -5e-4, -0.006)
)
RATIONAL = BARREL._replace(
    model='rational_polynomial', d=(0.3, -0.05, 4e-4, 2e-4, 0.01, 0.6, 0.02, 0.01)
)
FISHEYE = Intrinsics(
    1280, 800, 520.0, 520.0, 640.3, 401.2, 'equidistant', (-0.02, 0.004, -0.003, 0.0005)
)
LENSES = pytest.mark.parametrize('camera', [BARREL, RATIONAL, FISHEYE], ids=lambda c: c.model)


def matrix(camera):
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])


def rays_by_opencv(camera):
    """The ray (x, y, 1) of every pixel, by OpenCV's own inverse of the lens."""
    u, v = np.meshgrid(np.arange(camera.width * 1.0), np.arange(camera.height * 1.0))
    points = np.stack([u, v], -1).reshape(-1, 1, 2)
    if camera.model == 'equidistant':
        rays = cv2.fisheye.undistortPoints(points, matrix(camera), np.array(camera.d))
    else:
        rays = cv2.undistortPoints(points, matrix(camera), np.array(camera.d))
    return rays.reshape(camera.height, camera.width, 2)


def landscape(x, y):
    """Brightness of the direction (x, y, 1): smooth, of two scales, without symmetry."""
    return 128 + 60 * np.sin(5 * x + 2 * y) + 50 * np.cos(11 * y - 3 * x + 1)


def picture(camera):
    """What a camera sees of the landscape, (rows, columns) uint8."""
    rays = rays_by_opencv(camera)
    return np.round(landscape(rays[..., 0], rays[..., 1])).astype(np.uint8)


EXPECTED = grey_frame(picture(ideal(256, 144, 90.0)), OBSERVATION)


def difference(frame):
    return float(np.abs(frame.astype(int) - EXPECTED).mean())


@LENSES
def test_lenses_are_opencv_s(camera):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.9, 0.9, 500), rng.uniform(-0.6, 0.6, 500)
    rays = np.stack([x, y, np.ones(500)], -1)
    if camera.model == 'equidistant':
        args = np.zeros(3), np.zeros(3), matrix(camera), np.array(camera.d)
        expected, _ = cv2.fisheye.projectPoints(rays[:, None], *args)
    else:
        args = np.zeros(3), np.zeros(3), matrix(camera), np.array(camera.d)
        expected, _ = cv2.projectPoints(rays, *args)
    column, row, seen = project(camera, x, y)
    assert np.abs(np.stack([column, row], -1) - expected.reshape(-1, 2)).max() < 1e-6
    assert seen.all()


@pytest.mark.parametrize('d', [(), (0.0,) * 4, FISHEYE.d])
def test_a_fisheye_tells_its_view_whatever_its_coefficients(d):
    assert str(FISHEYE._replace(d=d)) == '1280x800, 141.0 x 88.1 deg (equidistant)'
    if not any(d):  # 70 deg to the right are in the image, by the same law as is told
        column, _, _ = project(FISHEYE._replace(d=d), np.tan(np.radians([70.0])), np.zeros(1))
        assert 1270.0 < column[0] < FISHEYE.width


def test_rays_beyond_the_fold_of_a_polynomial_are_not_seen():
    """r - 0.5 r^3 turns back at r = sqrt(2/3): what is beyond would land inside the image."""
    camera = ideal(640, 480, 90.0)._replace(d=(-0.5, 0.0, 0.0, 0.0, 0.0))
    x = np.array([0.0, 0.5, 0.81, 0.83, 1.3])
    column, _, seen = project(camera, x, np.zeros(5))
    assert seen.tolist() == [True, True, True, False, False]
    assert np.all(np.diff(column) >= 0)


@pytest.mark.parametrize(
    'camera',
    [
        ideal(800, 600, 90.0),
        ideal(640, 480, 110.0),
        ideal(1920, 1080, 100.0),
        ideal(256, 256, 95.0),
        BARREL,
        FISHEYE,
        # Axis off the middle, pixels that are not square.
        Intrinsics(1000, 500, 420.0, 350.0, 480.0, 260.0),
    ],
    ids=str,
)
def test_the_view_is_that_of_the_training_camera(camera):
    view = View(camera, TRAINING, OBSERVATION)
    assert not view.is_plain and view.uncovered == 0.0
    image = picture(camera)
    assert difference(view.frame(image)) < 0.7  # rounding alone makes a quarter
    assert difference(grey_frame(image, OBSERVATION)) > 4.0  # without


@pytest.mark.parametrize('width', [256, 512])
def test_the_training_camera_at_any_size_is_taken_as_it_always_was(width):
    camera = ideal(width, width * 9 // 16, 90.0)
    view, image = View(camera, TRAINING, OBSERVATION), picture(camera)
    assert view.is_plain and 'as in training' in str(view)
    assert np.array_equal(view.frame(image), grey_frame(image, OBSERVATION))


def test_fine_stripes_come_out_grey_and_not_as_other_stripes():
    """Stripes of 2 pixels are far finer than a pixel of the frame, which is 16 wide here."""
    camera = ideal(1600, 1200, 100.0)
    image = np.zeros((1200, 1600), np.uint8)
    image[:, ::4] = image[:, 1::4] = 255
    frame = View(camera, TRAINING, OBSERVATION).frame(image)
    assert np.ptp(frame) < 20 and frame.mean() == pytest.approx(127.5, abs=2)


def test_too_narrow_a_view_is_refused_with_its_numbers_and_a_limit_that_can_be_set():
    narrow = ideal(640, 480, 60.0)
    with pytest.raises(SpecError) as refused:
        View(narrow, TRAINING, OBSERVATION)
    text = str(refused.value)
    # Seen are tan(30 deg) / tan(45 deg) of the columns, and of the rows those above 23.4 deg.
    low, upper = 240 / narrow.fy * 128, 72 - 50
    share = math.tan(math.pi / 6) * (low + upper) / (144 - 50)
    got = float(re.search(r'at least 98.0% of the training view, got ([0-9.]+)%', text).group(1))
    assert got == pytest.approx(100 * share, abs=1.0)
    assert '640x480, 60.0 x 46.8 deg' in text and '256x144, 90.0 x 58.7 deg' in text
    assert 'camera.max_uncovered' in text
    view = View(ideal(640, 480, 88.0), replace(TRAINING, max_uncovered=0.05), OBSERVATION)
    assert 0.02 < view.uncovered < 0.05
    assert f'{view.uncovered:.1%} of its view not seen' in str(view)
    assert difference(view.frame(picture(view.camera))) < 2.0


@pytest.mark.parametrize(
    'change, text',
    [
        ({'fx': 0.0}, 'focal lengths > 0, got 800x600, fx 0, fy 400'),
        ({'fy': -400.0}, 'the right way up'),
        ({'fx': math.nan}, 'must be finite'),
        ({'d': (math.inf,)}, 'must be finite'),
        ({'width': 0}, 'must have a size'),
        ({'cx': 900.0}, 'principal point must be in the image of 800x600, got (900,'),
        ({'model': 'kannala_x', 'd': (0.1,)}, "distortion_model must be one of plumb_bob, "),
        ({'d': (0.1,) * 6}, 'plumb_bob must have 5 coefficients here, got 6'),
    ],
)
def test_what_makes_no_camera_is_refused(change, text):
    with pytest.raises(SpecError) as refused:
        View(ideal(800, 600, 90.0)._replace(**change), TRAINING, OBSERVATION)
    assert text in str(refused.value)


@pytest.mark.parametrize('camera', [ideal(64, 48, 110.0), ideal(800, 600, 90.0)._replace(fx=1e-9)])
def test_a_camera_too_coarse_to_show_anything_is_refused(camera):
    with pytest.raises(SpecError, match="0.4 pixels for each of the network's frame, got"):
        View(camera, TRAINING, OBSERVATION)


def test_noughts_behind_the_coefficients_and_no_distortion_at_all_are_fine():
    ideal(800, 600, 90.0)._replace(model='', d=()).check()
    ideal(800, 600, 90.0)._replace(model='unknown', d=(0.0,) * 5).check()
    RATIONAL._replace(d=RATIONAL.d + (0.0,) * 6).check()


def test_an_image_of_another_size_than_its_camera_is_refused():
    view = View(ideal(800, 600, 90.0), TRAINING, OBSERVATION)
    with pytest.raises(SpecError, match='image of 640x480 must have the size.*800x600'):
        view.frame(np.zeros((480, 640), np.uint8))


# -- the simulator's own pictures -----------------------------------------------------------------


def street(width, height, fov, count=3):
    """The same places seen by a camera, (rows, columns) uint8 each."""
    world = World(SimulatorConfig(image_width=width, image_height=height, fov_deg=fov, seed=3))
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        route = world.road_map.random_route(rng, 80.0, 200.0)
        world.teleport(Pose(*route.points[10], 0.0, route.yaw[10]))
        images.append(cv2.cvtColor(world.image(), cv2.COLOR_BGRA2GRAY))
    world.close()
    return images


@pytest.fixture(scope='module')
def streets():
    """What the training camera sees, and what it sees when rendered at twice the size."""
    frames = [grey_frame(image, OBSERVATION) for image in street(256, 144, 90.0)]
    twice = [grey_frame(image, OBSERVATION) for image in street(512, 288, 90.0)]
    return frames, apart(frames, twice)


def apart(frames, others):
    """Mean difference in levels of 255."""
    return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(frames, others)]))


def distorted(camera):
    """The pictures of a camera with a lens, made from those of a wide pinhole."""
    wide = ideal(1920, 1080, 125.0)
    rays = rays_by_opencv(camera).astype(np.float32)
    column, row = rays[..., 0] * wide.fx + wide.cx, rays[..., 1] * wide.fy + wide.cy
    maps = column.astype(np.float32), row.astype(np.float32)
    return [cv2.remap(image, *maps, cv2.INTER_LINEAR) for image in street(1920, 1080, 125.0)]


@pytest.mark.parametrize(
    'camera',
    [ideal(800, 600, 90.0), ideal(640, 480, 110.0), ideal(1280, 720, 100.0), BARREL, FISHEYE],
    ids=str,
)
def test_the_simulator_s_street_looks_as_in_training(streets, camera):
    """
    The renderer itself draws another picture at another size: edges cover every pixel they touch.

    That difference is the measure; re-projection may add half of it.
    """
    frames, rendering = streets
    if any(camera.d):
        images = distorted(camera)
    else:
        fov = math.degrees(2 * math.atan(camera.width / 2 / camera.fx))
        images = street(camera.width, camera.height, fov)
    view = View(camera, TRAINING, OBSERVATION)
    looked = apart(frames, [view.frame(image) for image in images])
    plain = apart(frames, [grey_frame(image, OBSERVATION) for image in images])
    print(f'{camera}: {looked:.2f} re-projected, {plain:.2f} without, {rendering:.2f} twice size')
    assert looked < 1.6 * rendering and looked < plain / 3.0
