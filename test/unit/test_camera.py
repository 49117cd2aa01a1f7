"""The camera: where things appear, and that cameras can be opened again and again."""

import math
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('panda3d')
pytest.importorskip('carla')

from panda3d.core import NodePath  # noqa: E402

from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Pose  # noqa: E402
from av_td3_ros.sim.camera import Camera  # noqa: E402
from av_td3_ros.sim.scene import Mesh, Scene  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / 'src'
EYE = Pose(0.0, 0.0, 1.5, 0.0)
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
RED_BGRA, BLUE_BGRA = (0, 0, 255, 255), (255, 0, 0, 255)


@pytest.fixture(scope='module')
def street():
    world = World(SimulatorConfig(seed=1))
    scene = Scene(world.road_map, world.scenery)
    return SimpleNamespace(world=world, scene=scene)


def scene_of(*polygons):
    """Return a scene of coloured polygons."""
    mesh = Mesh()
    for points, colour in polygons:
        mesh.polygon(points, colour)
    root = NodePath('test')
    root.attachNewNode(mesh.node('test')).setTwoSided(True)
    return SimpleNamespace(root=root)


def post(x, y, half=0.1, low=0.0, high=1.5, colour=RED):
    """Return a board that faces the camera."""
    return [
        (x, y + half, low),
        (x, y - half, low),
        (x, y - half, high),
        (x, y + half, high),
    ], colour


def shot(scene, pose=EYE, width=256, height=144, fov_deg=90.0):
    camera = Camera(scene, width, height, fov_deg)
    image = camera.render(pose)
    camera.close()
    return image


def where(image, colour):
    """Return mean row and column of a colour."""
    rows, columns = np.nonzero((image == np.array(colour, np.uint8)).all(axis=2))
    assert len(rows), 'not in the image'
    return rows.mean() + 0.5, columns.mean() + 0.5


@pytest.mark.parametrize('size', [(256, 144), (84, 84), (800, 600)])
@pytest.mark.parametrize('fov_deg', [60.0, 90.0, 110.0])
@pytest.mark.parametrize('y', [2.0, -3.0])
def test_a_post_stands_where_the_intrinsics_say(size, fov_deg, y):
    width, height = size
    fx = width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
    scene = scene_of(post(8.0, y, half=0.2, low=0.5, high=2.5))
    image = shot(scene, width=width, height=height, fov_deg=fov_deg)
    row, column = where(image, RED_BGRA)
    assert column == pytest.approx(width / 2 - fx * y / 8.0, abs=0.6)  # left is left
    assert row == pytest.approx(height / 2, abs=0.6)  # its middle is at the height of the eye


def test_the_ground_ends_at_the_horizon_and_lies_where_it_should():
    ground = [
        (0.5, 100.0, 0.0),
        (0.5, -100.0, 0.0),
        (150.0, -100.0, 0.0),
        (150.0, 100.0, 0.0),
    ], BLUE
    image = shot(scene_of(ground))
    rows = np.nonzero((image == np.array(BLUE_BGRA, np.uint8)).all(axis=2).any(axis=1))[0]
    assert 72 <= rows[0] <= 74  # 1.5 m below the eye at 150 m is 1.3 rows under the middle
    assert rows[-1] == 143
    stripe = [(5.0, 1.0, 0.0), (5.0, -1.0, 0.0), (5.4, -1.0, 0.0), (5.4, 1.0, 0.0)], RED
    row, _ = where(shot(scene_of(stripe)), RED_BGRA)
    assert row == pytest.approx(72 + 128 * 1.5 / 5.2, abs=0.7)


def test_yaw_turns_left_and_pitch_looks_down():
    scene = scene_of(
        post(0.0, 0.0, half=0.0),
        ([(-0.2, 8.0, 0.5), (0.2, 8.0, 0.5), (0.2, 8.0, 2.5), (-0.2, 8.0, 2.5)], RED),
    )
    _, column = where(shot(scene, EYE._replace(yaw=math.pi / 2)), RED_BGRA)
    assert column == pytest.approx(128, abs=0.6)
    _, column = where(shot(scene, EYE._replace(yaw=math.pi / 2 - 0.3)), RED_BGRA)
    assert column == pytest.approx(128 - 128 * math.tan(0.3), abs=1.0)
    row, _ = where(shot(scene, EYE._replace(yaw=math.pi / 2, pitch=0.2)), RED_BGRA)
    assert row < 72 - 20


def test_what_is_nearer_hides_what_is_behind():
    far, near = post(20.0, 0.0, half=2.0, colour=RED), post(10.0, 0.0, half=2.0, colour=BLUE)
    for scene in (scene_of(far, near), scene_of(near, far)):
        image = shot(scene)
        assert tuple(image[80, 128]) == BLUE_BGRA
        assert not (image == np.array(RED_BGRA, np.uint8)).all(axis=2).any()


def test_an_image_is_a_fresh_opaque_bgra_array(street):
    camera = Camera(street.scene, 256, 144, 90.0)
    first = camera.render(street.world.camera_pose())
    kept = first.copy()
    second = camera.render(EYE)
    camera.close()
    assert first.shape == (144, 256, 4) and first.dtype == np.uint8 and first.flags.c_contiguous
    assert (first[..., 3] == 255).all()
    assert np.array_equal(first, kept) and not np.array_equal(first, second)


def test_a_street_has_sky_above_and_a_grey_lane_below(street):
    image = shot(street.scene, street.world.camera_pose()).astype(int)
    sky, road = image[:30].reshape(-1, 4).mean(axis=0), image[125:, 100:156].reshape(-1, 4).mean(
        axis=0
    )
    assert sky[0] > sky[2] + 20  # blue
    assert np.ptp(road[:3]) < 15 and road[:3].max() < 110


def test_the_middle_of_the_road_is_left_and_the_sidewalk_right(street):
    image = shot(street.scene, Pose(42.0, -1.75, 1.5, 0.0), width=800, height=600).astype(int)
    yellow = (image[..., 2] > 200) & (image[..., 0] < 80)
    _, columns = np.nonzero(yellow[310:])
    assert len(columns) > 100 and columns.max() <= 400
    white = (image[..., :3].min(axis=2) > 225)[420:]
    assert np.nonzero(white)[1].max() > 500


def test_two_cameras_see_the_same_from_the_same_place(street):
    front, above = Camera(street.scene, 128, 96, 90.0), Camera(street.scene, 200, 200, 60.0)
    pose = street.world.camera_pose()
    before = front.render(pose)
    top = above.render(Pose(pose.x, pose.y, 60.0, 0.0, math.pi / 2))
    assert np.array_equal(front.render(pose), before)
    assert np.ptp(top[..., :3].astype(int)) > 50
    front.close()
    assert np.array_equal(above.render(Pose(pose.x, pose.y, 60.0, 0.0, math.pi / 2)), top)
    above.close()


def test_cameras_can_be_opened_and_closed_again_and_again(street):
    pose = street.world.camera_pose()
    first = shot(street.scene, pose)
    for _ in range(30):
        assert np.array_equal(shot(street.scene, pose), first)


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
