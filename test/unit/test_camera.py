"""The camera: where things appear, how far they are, and that cameras can be opened again."""

import math
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('panda3d')
pytest.importorskip('carla')

from av_td3_ros.datatypes import Pose  # noqa: E402
from av_td3_ros.driving.road_map import RoadMap  # noqa: E402
from av_td3_ros.sim.camera import Camera  # noqa: E402
from av_td3_ros.sim.mesh import join, polygons  # noqa: E402
from av_td3_ros.sim.palette import class_palette, Label  # noqa: E402
from av_td3_ros.sim.scene import Scene  # noqa: E402
from av_td3_ros.sim.scenery import Scenery  # noqa: E402
from av_td3_ros.sim.surfaces import SKY_DEPTH  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / 'src'
EYE = Pose(0.0, 0.0, 1.5, 0.0)
HERE = Pose(42.0, -1.75, 1.5, 0.0)
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
ONE, OTHER = Label.CAR, Label.TRUCK


@pytest.fixture(scope='module')
def street():
    road_map = RoadMap.load('town')
    return Scene(road_map, Scenery(road_map, 1))


def scene_of(*boards):
    """Return a scene of coloured polygons on a lawn."""
    return Scene.of({'near': join([polygons(np.array([points]), *of) for points, *of in boards])})


def board(x, y, half=0.1, low=0.0, high=1.5, colour=RED, label=ONE):
    """Return a board that faces the camera."""
    corners = [(x, y + half, low), (x, y - half, low), (x, y - half, high), (x, y + half, high)]
    return corners, colour, label


def seen(scene, what, pose=EYE, width=256, height=144, fov_deg=90.0):
    camera = Camera(scene, width, height, fov_deg)
    image = getattr(camera, what)(pose)
    camera.close()
    return image


def where(classes, label=ONE):
    """Return the middle of what has a class: row and column, in pixels from the upper left."""
    rows, columns = np.nonzero(classes == label)
    assert len(rows)
    return (rows.min() + rows.max() + 1) / 2, (columns.min() + columns.max() + 1) / 2


# -- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('x', [5.0, 20.0])
@pytest.mark.parametrize('y', [-3.0, 0.0, 2.0])
@pytest.mark.parametrize('size', [(256, 144), (84, 84), (800, 600)])
def test_boards_are_where_the_intrinsics_say(x, y, size):
    width, height = size
    focal = width / 2  # 90 degrees
    scene = scene_of(board(x, y, half=0.5, low=1.0, high=2.0))
    row, column = where(seen(scene, 'segmentation', width=width, height=height))
    assert column == pytest.approx(width / 2 - focal * y / x, abs=0.51)
    assert row == pytest.approx(height / 2, abs=0.51)


@pytest.mark.parametrize('fov', [60.0, 90.0, 110.0])
def test_the_edges_of_a_board_are_within_a_pixel(fov):
    focal = 128 / math.tan(math.radians(fov) / 2)
    classes = seen(scene_of(board(6.0, 0.5, half=2.0, high=4.0)), 'segmentation', fov_deg=fov)
    rows, columns = np.nonzero(classes == ONE)
    assert columns.min() == pytest.approx(128 - focal * 2.5 / 6.0, abs=1.0)
    assert columns.max() + 1 == pytest.approx(128 + focal * 1.5 / 6.0, abs=1.0)
    assert rows.min() == pytest.approx(max(72 - focal * 2.5 / 6.0, 0.0), abs=1.0)
    assert rows.max() + 1 == pytest.approx(min(72 + focal * 1.5 / 6.0, 144.0), abs=1.0)


def test_yaw_turns_left_and_pitch_looks_down():
    wide = [(-0.2, 8.0, 0.5), (0.2, 8.0, 0.5), (0.2, 8.0, 2.5), (-0.2, 8.0, 2.5)], RED, ONE
    scene = scene_of(wide)
    _, column = where(seen(scene, 'segmentation', EYE._replace(yaw=math.pi / 2)))
    assert column == pytest.approx(128, abs=0.6)
    _, column = where(seen(scene, 'segmentation', EYE._replace(yaw=math.pi / 2 - 0.3)))
    assert column == pytest.approx(128 - 128 * math.tan(0.3), abs=1.0)
    row, _ = where(seen(scene, 'segmentation', EYE._replace(yaw=math.pi / 2, pitch=0.2)))
    assert row == pytest.approx(72 - 128 * math.tan(0.2), abs=1.0)


@pytest.mark.parametrize('what', ['render', 'segmentation'])
def test_what_is_nearer_hides_what_is_behind(what):
    far = board(20.0, 0.0, half=2.0, colour=RED, label=ONE)
    near = board(10.0, 0.0, half=2.0, colour=BLUE, label=OTHER)
    first, second = (seen(scene_of(*pair), what) for pair in ((far, near), (near, far)))
    assert np.array_equal(first, second)
    if what == 'segmentation':
        assert first[80, 128] == OTHER and not (first == ONE).any()
    else:
        assert first[80, 128, 0] > 100 > first[80, 128, 2]


def test_the_ground_reaches_the_horizon():
    classes = seen(scene_of(board(5.0, 40.0)), 'segmentation')
    assert (classes[:71] == Label.SKY).all() and (classes[73:] == Label.TERRAIN).all()


# -- how far --------------------------------------------------------------------------------------


def rays(pose, width, height, fov_deg=90.0):
    """Return for each pixel the direction of its ray, of length 1 along the axis, by rotations."""
    focal = width / (2 * math.tan(math.radians(fov_deg) / 2))
    v, u = np.mgrid[:height, :width] + 0.5
    across, down = (u - width / 2) / focal, (v - height / 2) / focal
    local = np.stack([np.ones_like(across), -across, -down], axis=-1)
    cy, sy, cp, sp = (f(a) for a in (pose.yaw, pose.pitch) for f in (math.cos, math.sin))
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    cr, sr = math.cos(pose.roll), math.sin(pose.roll)
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return local @ (yaw @ pitch @ roll).T


POSES = [
    EYE,
    Pose(0.0, 0.0, 1.5, 0.3, 0.1),
    Pose(2.0, -1.0, 2.5, 0.4, 0.25, 0.15),
    Pose(200.0, -300.0, 60.0, 1.0, math.pi / 2),
]


@pytest.mark.parametrize('pose', POSES)
@pytest.mark.parametrize('size', [(84, 84), (256, 144)])
def test_the_depth_of_the_ground_is_that_of_the_plane(pose, size):
    scene = scene_of(board(5.0, 4000.0))
    camera = Camera(scene, *size, 90.0)
    depth, classes = camera.depth(pose), camera.segmentation(pose)
    camera.close()
    exact = -pose.z / rays(pose, *size)[..., 2]
    ground = (classes == Label.TERRAIN) & (exact > 0) & (exact < 500)
    assert ground.mean() > 0.3
    np.testing.assert_allclose(depth[ground], exact[ground], rtol=1e-5)


@pytest.mark.parametrize('pose', POSES[:3])
def test_the_depth_of_boxes_is_that_of_their_faces(pose):
    front = board(8.0, 1.0, half=1.0, high=2.0)
    side = [(4.0, 2.0, 0.0), (8.0, 2.0, 0.0), (8.0, 2.0, 2.0), (4.0, 2.0, 2.0)], BLUE, OTHER
    camera = Camera(scene_of(front, side), 256, 144, 90.0)
    depth, classes = camera.depth(pose), camera.segmentation(pose)
    camera.close()
    ray = rays(pose, 256, 144)
    in_front, beside = classes == ONE, classes == OTHER
    assert in_front.sum() > 300 and beside.sum() > 20
    for label, (corners, *_), exact in (
        (in_front, front, (8.0 - pose.x) / ray[..., 0]),
        (beside, side, (2.0 - pose.y) / ray[..., 1]),
    ):
        # Pixels that a face touches, but not with their middle, are not further than its corners.
        ahead = rays(pose, 2, 2).mean(axis=(0, 1))
        corners = (np.array(corners) - pose[:3]) @ ahead
        exact = exact[label].clip(corners.min(), corners.max())
        np.testing.assert_allclose(depth[label], exact, rtol=1e-5)


def test_the_sky_is_as_far_as_stated_and_depth_is_float32():
    depth = seen(scene_of(board(5.0, 0.0)), 'depth')
    assert depth.dtype == np.float32 and depth.shape == (144, 256)
    assert (depth[:40, 20] == SKY_DEPTH).all() and depth.max() == SKY_DEPTH


# -- together -------------------------------------------------------------------------------------


def test_colours_classes_and_depth_have_the_same_edges():
    scene = scene_of(
        board(7.0, 1.0, half=1.5, high=3.0, colour=RED),
        board(11.0, -2.0, half=2.0, high=4.0, colour=RED),
    )
    camera = Camera(scene, 256, 144, 90.0)
    colours, classes, depth = (f(EYE) for f in (camera.render, camera.segmentation, camera.depth))
    camera.close()
    red = colours[..., 2].astype(int) > colours[..., 1].astype(int) + 60
    assert np.array_equal(red, classes == ONE)
    assert np.array_equal(red, np.isin(np.round(depth, 3), (7.0, 11.0)))


def test_a_street_has_every_class_it_should(street):
    camera = Camera(street, 256, 144, 90.0)
    found = np.zeros(256, bool)
    for yaw in np.arange(8) * math.pi / 4:
        classes = camera.segmentation(Pose(42.0, -1.75, 1.5, yaw))
        assert classes.shape == (144, 256) and classes.dtype == np.uint8
        found[np.unique(classes)] = True
    camera.close()
    expected = {Label.ROADS, Label.SIDEWALKS, Label.BUILDINGS, Label.VEGETATION, Label.SKY}
    assert expected | {Label.ROAD_LINES, Label.TERRAIN} <= set(np.nonzero(found)[0])
    assert set(np.nonzero(found)[0]) <= set(Label)


def test_classes_are_those_of_the_installed_carla():
    carla = pytest.importorskip('carla')
    names = {
        name.replace('_', '').lower(): int(value)
        for name, value in carla.CityObjectLabel.names.items()
    }
    for label in Label:
        assert names[label.name.replace('_', '').lower()] == label
    palette = class_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert len(np.unique(palette[[int(label) for label in Label]], axis=0)) == len(Label)


# -- pictures -------------------------------------------------------------------------------------


def test_an_image_is_a_fresh_opaque_bgra_array(street):
    camera = Camera(street, 256, 144, 90.0)
    first = camera.render(HERE)
    kept = first.copy()
    second = camera.render(EYE)
    camera.close()
    assert first.shape == (144, 256, 4) and first.dtype == np.uint8 and first.flags.c_contiguous
    assert (first[..., 3] == 255).all()
    assert np.array_equal(first, kept) and not np.array_equal(first, second)


def test_a_street_has_sky_above_and_a_grey_lane_below(street):
    image = seen(street, 'render', HERE).astype(int)
    sky, road = (part.reshape(-1, 4).mean(axis=0) for part in (image[:12], image[125:, 100:156]))
    assert sky[0] > sky[2] + 20  # blue
    assert np.ptp(road[:3]) < 25 and road[:3].max() < 130


def test_the_middle_of_the_road_is_left_and_the_sidewalk_right(street):
    image = seen(street, 'render', HERE, 800, 600).astype(int)
    yellow = (image[..., 2] > 150) & (image[..., 0] < 0.5 * image[..., 2])
    _, columns = np.nonzero(yellow[330:])
    assert len(columns) > 100 and np.median(columns) <= 400
    classes = seen(street, 'segmentation', HERE, 800, 600)
    assert np.median(np.nonzero(classes[420:] == Label.SIDEWALKS)[1]) > 500


def test_two_cameras_see_the_same_from_the_same_place(street):
    front, above = Camera(street, 128, 96, 90.0), Camera(street, 200, 200, 60.0)
    before = front.render(HERE)
    top = above.render(Pose(HERE.x, HERE.y, 60.0, 0.0, math.pi / 2))
    assert np.array_equal(front.render(HERE), before)
    assert np.ptp(top[..., :3].astype(int)) > 50
    front.close()
    assert np.array_equal(above.render(Pose(HERE.x, HERE.y, 60.0, 0.0, math.pi / 2)), top)
    above.close()


def test_what_was_seen_before_changes_nothing(street):
    far = Pose(-60.0, 90.0, 1.5, 2.0)
    camera = Camera(street, 84, 84, 90.0)
    first = camera.render(HERE)
    for other in (far, Pose(5.0, 5.0, 40.0, 0.0, 1.0)):
        camera.segmentation(other)
        camera.render(other)
    assert np.array_equal(camera.render(HERE), first)
    camera.close()


def test_cameras_can_be_opened_and_closed_again_and_again(street):
    first = seen(street, 'render', HERE)
    for _ in range(30):
        assert np.array_equal(seen(street, 'render', HERE), first)


def test_rendering_prints_nothing_even_without_an_environment():
    # CARLA's library needs HOME; a service may have none.
    code = (
        'from av_td3_ros.config import SimulatorConfig\nfrom av_td3_ros.sim.world import World\n'
        'world = World(SimulatorConfig(image_width=84, image_height=84)); world.image(); '
        'world.close()'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=60,
        env={'PYTHONPATH': str(SOURCE), 'PATH': ''},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
