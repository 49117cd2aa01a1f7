"""The scene: lanes and markings, vehicles, weather, levels of detail, views, and the same bits."""

import hashlib
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
from av_td3_ros.sim.bodies import KINDS, PAINTS, random_bodies  # noqa: E402
from av_td3_ros.sim.camera import Camera, CameraError, Lens  # noqa: E402
from av_td3_ros.sim.mesh import polygons, slices, tiled  # noqa: E402
from av_td3_ros.sim.palette import Label  # noqa: E402
from av_td3_ros.sim.scene import Scene  # noqa: E402
from av_td3_ros.sim.scenery import Scenery  # noqa: E402
from av_td3_ros.sim.streets import DASH, GAP, ground  # noqa: E402
from av_td3_ros.sim.streets import _marking  # noqa: E402
from av_td3_ros.sim.views import chase, top_down  # noqa: E402
from av_td3_ros.sim.weather import PRESETS, Weather  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / 'src'
HERE = Pose(42.0, -1.75, 1.5, 0.0)
RED_CAR = KINDS['sedan']._replace(colour=(0.9, 0.05, 0.05))
CARS = (Label.CAR, Label.TRUCK)


@pytest.fixture(scope='module')
def road_map():
    return RoadMap.load('town')


@pytest.fixture
def scene(road_map):
    return Scene(road_map, Scenery(road_map, 1))


def bare(road_map):
    """Return a scene of the ground alone."""
    return Scene.of(ground(road_map))


def seen(scene, what, pose=HERE, size=(256, 144), fov_deg=90.0, **options):
    camera = Camera(scene, *size, fov_deg, **options)
    image = getattr(camera, what)(pose)
    camera.close()
    return image


def box_ahead(body, distance, left=0.0, yaw=0.0):
    return np.array([[HERE.x + distance, HERE.y + left, yaw, body.length, body.width]])


# -- ground ---------------------------------------------------------------------------------------


def test_every_lane_is_seen_from_above_as_what_it_is(road_map):
    scene = bare(road_map)
    camera = Camera(scene, 64, 64, 30.0)
    kinds = {'Driving': Label.ROADS, 'Sidewalk': Label.SIDEWALKS}
    for lane in road_map.lanes:
        if lane.kind not in kinds or lane.is_junction:
            continue
        middle = len(lane.centre) // 2
        x, y = (lane.centre[middle - 1, :2] + lane.centre[middle, :2]) / 2
        classes = camera.segmentation(Pose(float(x), float(y), 8.0, 0.4, math.pi / 2))
        assert classes[32, 32] == kinds[lane.kind], lane.key
    camera.close()


def test_no_grass_grows_in_a_junction(road_map):
    scene = bare(road_map)
    camera = Camera(scene, 64, 64, 30.0)
    for lane in road_map.lanes:
        if lane.is_junction and lane.kind == 'Driving':
            for x, y, _ in lane.centre[:: max(len(lane.centre) // 4, 1)]:
                pose = Pose(float(x), float(y), 6.0, 0.4, math.pi / 2)
                assert not (camera.segmentation(pose) == Label.TERRAIN).any()
    camera.close()


@pytest.mark.parametrize(
    'kind, lines, share',
    [
        ('Solid', 1, 1.0),
        ('Broken', 1, DASH / (DASH + GAP)),
        ('SolidSolid', 2, 2.0),
        ('BrokenBroken', 2, 2 * DASH / (DASH + GAP)),
        ('SolidBroken', 2, 1.0 + DASH / (DASH + GAP)),
        ('BrokenSolid', 2, 1.0 + DASH / (DASH + GAP)),
        ('NONE', 0, 0.0),
        ('Curb', 0, 0.0),
        ('Grass', 0, 0.0),
    ],
)
def test_markings_have_the_length_of_their_type(kind, lines, share):
    # Uneven cross-sections: dashes go by the length of the line.
    along = np.array([0.0, 1.0, 4.0, 30.0, 75.0])
    line = np.stack([along, 0.0 * along], axis=1)
    quads = list(_marking(kind, line, np.tile([0.0, 1.0], (5, 1))))
    assert len(quads) == lines
    painted = sum(np.ptp(quad[:, 0]) for part in quads for quad in part)
    assert painted == pytest.approx(share * 75.0, rel=1e-6)


def test_botts_dots_are_dots():
    line = np.array([[0.0, 0.0], [10.0, 0.0]])
    (dots,) = _marking('BottsDots', line, np.tile([0.0, 1.0], (2, 1)))
    assert len(dots) == 10
    assert all(np.ptp(dot, axis=0).max() < 0.2 for dot in dots)


# -- vehicles -------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_a_vehicle_fills_its_box_and_no_more(road_map, kind):
    scene, body = bare(road_map), KINDS[kind]
    scene.set_vehicles([body])
    scene.move_vehicles(box_ahead(body, 12.0), np.zeros(1, bool))
    classes = seen(scene, 'segmentation', size=(640, 480))
    rows, columns = np.nonzero(np.isin(classes, CARS))
    assert classes[rows[0], columns[0]] == (Label.TRUCK if kind == 'truck' else Label.CAR)
    back = 12.0 - body.length / 2
    assert np.ptp(columns) == pytest.approx(320 * body.width / back, abs=6)
    lowest = 0.13 * body.height  # the bumper
    assert rows.max() == pytest.approx(240 + 320 * (1.5 - lowest) / back, abs=4)
    assert rows.min() == pytest.approx(240 + 320 * (1.5 - body.height) / (back + 0.5), abs=8)


@pytest.mark.parametrize('yaw', [0.0, 0.7, 2.0, math.pi])
def test_the_depth_of_a_vehicle_is_within_its_box(road_map, yaw):
    scene, body = bare(road_map), KINDS['van']
    scene.set_vehicles([KINDS['sedan'], body])
    boxes = np.concatenate([box_ahead(body, 400.0), box_ahead(body, 14.0, 1.0, yaw)])
    scene.move_vehicles(boxes, np.zeros(2, bool))
    classes, depth = (seen(scene, what) for what in ('segmentation', 'depth'))
    half = abs(body.length / 2 * math.cos(yaw)) + abs(body.width / 2 * math.sin(yaw))
    vehicle = depth[classes == Label.CAR]
    assert len(vehicle) > 300
    assert vehicle.min() == pytest.approx(14.0 - half, abs=0.25)
    assert vehicle.max() < 14.0 + half + 0.05


def test_brake_lights_are_bright_red_and_only_while_braking(road_map):
    scene = bare(road_map)
    scene.set_vehicles([RED_CAR._replace(colour=PAINTS[0])])
    images = []
    for braking in (False, True, False):
        scene.move_vehicles(box_ahead(RED_CAR, 9.0), np.array([braking]))
        images.append(seen(scene, 'render').astype(int))
    bright = [((i[..., 2] > 200) & (i[..., :2].max(axis=2) < 80)).sum() for i in images]
    assert bright[1] > 40 and bright[0] == bright[2] == 0
    assert np.array_equal(images[0], images[2])


def test_the_own_vehicle_is_seen_from_behind_but_not_from_within(scene):
    scene.set_vehicles([], RED_CAR)
    scene.move_vehicles(np.zeros((0, 5)), np.zeros(0, bool), box_ahead(RED_CAR, 0.0)[0])
    own = HERE._replace(z=0.0)
    front = seen(scene, 'segmentation')
    behind = seen(scene, 'render', chase(own), shows_ego=True).astype(int)
    without = seen(scene, 'render', chase(own)).astype(int)
    assert not (front[100:, 100:156] == Label.CAR).any()
    assert (np.abs(behind - without).max(axis=2) > 40)[70:, 90:166].mean() > 0.1


def test_vehicles_may_come_and_go(scene):
    rng = np.random.default_rng(0)
    empty = seen(scene, 'segmentation')
    for count in (3, 0, 5):
        bodies = random_bodies(rng, count)
        scene.set_vehicles(bodies)
        boxes = np.concatenate(
            [np.zeros((0, 5)), *(box_ahead(b, 10.0 + 9 * k) for k, b in enumerate(bodies))]
        )
        scene.move_vehicles(boxes, np.zeros(count, bool))
        classes = seen(scene, 'segmentation')
        assert np.array_equal(classes, empty) == (count == 0)


def test_boxes_and_bodies_must_be_as_many(scene):
    scene.set_vehicles([RED_CAR])
    with pytest.raises(ValueError, match='one box and one brake for each of 1 vehicles'):
        scene.move_vehicles(np.zeros((2, 5)), np.zeros(2, bool))


# -- weather --------------------------------------------------------------------------------------


def test_weather_changes_the_picture_and_nothing_else(scene):
    camera = Camera(scene, 256, 144, 90.0)
    pictures, classes, depths = {}, set(), set()
    for name in [*PRESETS, 'clear_noon']:
        scene.set_weather(PRESETS[name])
        image = camera.render(HERE, 3)
        assert name not in pictures or np.array_equal(pictures[name], image)
        pictures[name] = image
        classes.add(camera.segmentation(HERE).tobytes())
        depths.add(camera.depth(HERE).tobytes())
    camera.close()
    assert len({image.tobytes() for image in pictures.values()}) == len(PRESETS)
    # Nothing of a street is left out but what thick fog hides.
    assert len(classes) <= 2 and len(depths) <= 2


def test_fog_hides_what_is_far_and_not_what_is_near(scene):
    camera = Camera(scene, 256, 144, 90.0)
    clear, depth = camera.render(HERE).astype(int), camera.depth(HERE)
    scene.set_weather(PRESETS['foggy_noon'])
    foggy = camera.render(HERE).astype(int)
    camera.close()
    assert np.abs(foggy[-4:] - clear[-4:]).mean() < 25
    far = (depth > 90.0) & (depth < 500.0)
    assert far.sum() > 100
    assert foggy[far].std(axis=0).mean() < 0.3 * clear[far].std(axis=0).mean()


def test_weather_out_of_range_is_refused(scene):
    with pytest.raises(ValueError, match='weather cloudiness must lie in'):
        scene.set_weather(Weather(cloudiness=101.0))


def test_the_sun_casts_shadows_to_the_other_side(road_map):
    scene = bare(road_map)
    scene.set_vehicles([KINDS['truck']])
    scene.move_vehicles(box_ahead(KINDS['truck'], 12.0), np.zeros(1, bool))
    left, right = [], []
    for azimuth in (90.0, 270.0):
        scene.set_weather(Weather(sun_azimuth_angle=azimuth, sun_altitude_angle=35.0))
        image = seen(scene, 'render', Pose(HERE.x + 12.0, HERE.y, 30.0, 0.0, math.pi / 2))
        grey = image[60:84, :, :3].astype(int).mean(axis=(0, 2))
        left.append(grey[108:118].mean())
        right.append(grey[138:148].mean())
    # From azimuth 90 the sun shines from the right, so the shadow is on the left.
    assert left[0] < left[1] and right[1] < right[0]


def test_tiles_hold_what_lies_in_them_on_every_side_of_the_origin():
    rng = np.random.default_rng(0)
    middles = rng.uniform(-95.0, 95.0, (400, 1, 2))
    corners = np.zeros((400, 4, 3))
    corners[..., :2] = middles + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    faces, tiles, rows, triangles = tiled(
        polygons(corners, (1.0, 1.0, 1.0), Label.ROADS, anchors=middles[:, 0]), 30.0
    )
    assert len(tiles) > 30 and rows[-1] == 1600 and triangles[-1] == 800
    for tile, part, own in zip(tiles, slices(rows), slices(triangles)):
        assert (np.abs(faces.anchors[part] - tile) <= 15.0).all()
        used = faces.triangles[own]
        assert used.min() >= part.start and used.max() < part.stop


def test_what_is_near_is_drawn_in_detail_whatever_the_direction(road_map):
    scenery = Scenery(road_map, 1)
    scene = Scene(road_map, scenery)
    camera = Camera(scene, 256, 144, 90.0)
    signs = [item for item in scenery.items if item.kind == 'sign']
    assert len({(item.x > 0, item.y > 0) for item in signs}) == 4
    for item in signs:
        x, y = item.x - 6.0 * math.cos(item.yaw), item.y - 6.0 * math.sin(item.yaw)
        # Signs are drawn from near alone.
        classes = camera.segmentation(Pose(x, y, 1.8, item.yaw))
        assert (classes == Label.TRAFFIC_SIGNS).sum() > 20
    camera.close()


# -- levels of detail, views ----------------------------------------------------------------------


def test_detail_follows_the_camera(scene):
    near = scene.tiles('colours', HERE.x, HERE.y, HERE.z, 1.0)
    far = scene.tiles('colours', HERE.x + 4000.0, HERE.y, HERE.z, 1.0)
    assert len(near) > 20 and far == []
    coarse = scene.tiles('colours', HERE.x, HERE.y, HERE.z, 0.6)
    assert len(coarse) < len(near)
    assert len(scene.tiles('numbers', HERE.x, HERE.y, HERE.z, 1.0)) <= len(near)


def test_views_show_the_vehicle_in_the_middle(scene):
    own = Pose(42.0, -1.75, 0.0, 0.3)
    scene.set_vehicles([], RED_CAR)
    ego = np.array([own.x, own.y, own.yaw, RED_CAR.length, RED_CAR.width])
    scene.move_vehicles(np.zeros((0, 5)), np.zeros(0, bool), ego)
    for pose in (chase(own), top_down(own), top_down(own, 40.0)):
        image = seen(scene, 'render', pose, (200, 200), 60.0, shows_ego=True).astype(int)
        red = (image[..., 2] > 1.8 * image[..., 1] + 20) & (image[..., 2] > 90)
        red[:60] = False
        rows, columns = np.nonzero(red[:, 60:140])
        assert len(rows) > 20 and abs(np.median(columns) + 60 - 100) < 8


def test_the_route_is_for_people_alone(scene):
    scene.set_route(np.array([[44.0, -1.75], [60.0, -1.75], [90.0, -1.75]]))
    people, front = (seen(scene, 'render', shows_ego=shown) for shown in (True, False))
    changed = (people != front).any(axis=2)
    assert changed[100:, 120:136].mean() > 0.5 and not changed[:72].any()
    blue, _, red, _ = people[changed].astype(int).T
    assert np.median(blue - red) > 100
    scene.set_route(np.zeros((0, 2)))
    assert np.array_equal(seen(scene, 'render', shows_ego=True), front)


# -- the same bits --------------------------------------------------------------------------------

PROGRAM = """
import hashlib, sys
import numpy as np
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.sim.bodies import random_bodies
from av_td3_ros.sim.camera import Camera, Lens
from av_td3_ros.sim.scene import Scene
from av_td3_ros.sim.scenery import Scenery
from av_td3_ros.sim.weather import PRESETS
road_map = RoadMap.load('town')
scene = Scene(road_map, Scenery(road_map, 1))
bodies = random_bodies(np.random.default_rng(2), 6)
scene.set_vehicles(bodies)
digest = hashlib.sha256()
camera = Camera(scene, 84, 84, 90.0)
camera.set_lens(Lens(0.1, 1.1, 2.0, 9))
for frame, name in enumerate(PRESETS):
    scene.set_weather(PRESETS[name])
    boxes = np.array(
        [[50.0 + 9 * k + frame, -1.75, 0.1 * k, b[1], b[2]] for k, b in enumerate(bodies)]
    )
    scene.move_vehicles(boxes, np.arange(6) % 2 == frame % 2)
    pose = Pose(42.0 + 3 * frame, -1.75, 1.5, 0.05 * frame)
    for array in (camera.render(pose, frame), camera.segmentation(pose), camera.depth(pose)):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_two_processes_see_the_same_bits():
    def run(hash_seed):
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM],
            capture_output=True,
            text=True,
            timeout=120,
            env={'PYTHONPATH': str(SOURCE), 'PATH': '', 'PYTHONHASHSEED': hash_seed},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert len(run('1').strip()) == hashlib.sha256().digest_size * 2
    assert run('1') == run('2')


# -- renderers ------------------------------------------------------------------------------------


def test_an_unknown_renderer_is_refused(scene):
    with pytest.raises(CameraError, match='renderer must be one of software, gpu, auto'):
        Camera(scene, 84, 84, 90.0, renderer='vulkan')


def test_a_gpu_sees_the_same_or_says_that_there_is_none(scene):
    software = Camera(scene, 256, 144, 90.0)
    try:
        gpu = Camera(scene, 256, 144, 90.0, renderer='gpu')
    except CameraError as error:
        assert 'renderer gpu, got no buffer' in str(error)
        pytest.skip(str(error))
    classes, depth = software.segmentation(HERE), software.depth(HERE)
    same = gpu.segmentation(HERE) == classes
    assert same.mean() > 0.95
    near = np.abs(gpu.depth(HERE) - depth) < 1e-3 * depth
    assert near[same].mean() > 0.97
    colours = np.abs(gpu.render(HERE).astype(int) - software.render(HERE))
    assert np.median(colours[same]) <= 2
    gpu.close()
    software.close()


def test_auto_always_finds_a_renderer(scene):
    camera = Camera(scene, 84, 84, 90.0, renderer='auto')
    camera.set_lens(Lens())
    assert camera.render(HERE).shape == (84, 84, 4)
    camera.close()
