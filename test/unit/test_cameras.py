"""Views of a world: each shows something else, at the size that is asked for."""

import numpy as np
import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.config import SimulatorConfig  # noqa: E402
from av_td3_ros.datatypes import Control, Pose  # noqa: E402
from av_td3_ros.sim.cameras import Cameras, NO_ROUTE, VIEWS  # noqa: E402
from av_td3_ros.sim.lens_effects import Lens  # noqa: E402
from av_td3_ros.sim.world import World  # noqa: E402

STREET = Pose(40.0, -1.75, 0.0, 0.0)
RED, BLUE = 0, 2


@pytest.fixture
def world():
    made = World(SimulatorConfig(image_width=96, image_height=60))
    made.teleport(STREET)
    yield made
    made.close()


def test_every_view_is_another_picture_of_the_size_asked_for(world):
    pictures = {kind: world.view(kind, 120, 80) for kind in VIEWS}
    assert {picture.shape for picture in pictures.values()} == {(80, 120, 3)}
    assert {picture.dtype for picture in pictures.values()} == {np.dtype(np.uint8)}
    assert len({picture.tobytes() for picture in pictures.values()}) == len(VIEWS)


def test_the_front_view_is_the_front_camera_turned_to_rgb(world):
    assert np.array_equal(world.view('front', 96, 60), world.image()[..., 2::-1])


def test_classes_and_depth_fit_the_front_camera(world):
    classes, depth = world.segmentation(), world.depth()
    assert classes.shape == (60, 96, 4) and (classes[..., 3] == 255).all()
    assert np.array_equal(world.view('segmentation', 96, 60), classes[..., 2::-1])
    assert depth.shape == (60, 96) and depth.dtype == np.float32 and depth.min() > 1.0


def test_the_ego_is_in_the_chase_and_top_views_alone(world):
    def red(kind):
        picture = world.view(kind, 200, 120).astype(int)
        return int((picture[..., RED] - picture[..., BLUE] > 70).sum())

    world.vehicle.place(STREET._replace(y=-200.0))  # far from every red roof
    empty = {kind: red(kind) for kind in ('front', 'chase', 'top')}
    assert empty['front'] == 0 and empty['chase'] > 100 and empty['top'] > 20


def test_the_route_is_shown_and_taken_away(world):
    before = world.view('top', 200, 120)
    world.shown_route = np.array([(20.0, -1.75), (80.0, -1.75)])
    shown = world.view('top', 200, 120)
    assert (before != shown).any(axis=2).sum() > 100
    world.shown_route = np.zeros((0, 2))
    assert np.array_equal(world.view('top', 200, 120), before)
    assert np.array_equal(world.view('front', 96, 60), world.image()[..., 2::-1])


def test_brake_lights_come_on(world):
    dark = world.view('chase', 200, 120)
    world.tick(Control(brake=1.0))
    assert (world.view('chase', 200, 120) != dark).any()


def test_another_view_is_refused(world):
    with pytest.raises(ValueError, match="view must be one of front, chase, .*, got 'side'"):
        world.view('side', 10, 10)


def test_the_front_view_has_the_lens_of_the_front_camera_at_every_size(world):
    config = SimulatorConfig(image_width=96, image_height=60)
    cameras = Cameras(world.road_map, world.scenery, world.traffic, world.vehicle, config)

    def brightness(width, height, kind='front'):
        return cameras.view(kind, width, height, 0, NO_ROUTE).mean()

    plain = [brightness(96, 60), brightness(192, 120), brightness(192, 120, 'chase')]
    cameras.set_weather(world.weather, Lens(exposure=-2.0))
    dark = [brightness(96, 60), brightness(192, 120), brightness(192, 120, 'chase')]
    opened_later = brightness(288, 180)
    cameras.close()
    assert dark[0] < 0.7 * plain[0]
    assert [dark[1], opened_later] == pytest.approx([dark[0], dark[0]], rel=0.05)
    assert dark[2] == plain[2]


def test_views_of_many_sizes_do_not_pile_up(world):
    def resident():
        with open('/proc/self/status') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('VmRSS')) / 1024

    def look(sizes):
        for width in sizes:
            world.view('chase', width, 120)

    look(range(100, 130))
    before = resident()
    look(range(130, 190))
    assert resident() - before < 25.0
    assert np.array_equal(world.view('front', 96, 60), world.image()[..., 2::-1])
