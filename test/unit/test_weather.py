"""Weather: ranges, presets, and the light and effects that it makes."""

import numpy as np
import pytest

pytest.importorskip('panda3d')

from av_td3_ros.sim.lens_effects import Lens, LensEffects, random_lens  # noqa: E402
from av_td3_ros.sim.light import Light  # noqa: E402
from av_td3_ros.sim.weather import PRESETS, random_weather, RANGES, Weather  # noqa: E402

SHAPE = (84, 84)
UP = np.array([[0.0, 0.0, 1.0]], np.float32)
GREY = np.array([[0.5, 0.5, 0.5]], np.float32)
PICTURE = np.full((*SHAPE, 4), 120, np.uint8)
PICTURE[..., 3] = 255


def effects(weather, lens=Lens(), shape=SHAPE):
    return LensEffects(shape, weather, Light.of(weather), lens)


@pytest.mark.parametrize('name', Weather._fields)
def test_values_out_of_range_are_refused(name):
    low, high = RANGES[name]
    for value in (low - 1.0, high + 1.0, float('nan')):
        with pytest.raises(ValueError, match=f'weather {name} must lie in'):
            Weather(**{name: value}).check()


def test_presets_and_random_weathers_are_in_range():
    rng = np.random.default_rng(0)
    for weather in [*PRESETS.values(), *(random_weather(rng) for _ in range(200))]:
        assert weather.check() == weather


def test_presets_are_those_of_the_installed_carla():
    carla = pytest.importorskip('carla')
    for name, preset in PRESETS.items():
        theirs = getattr(carla.WeatherParameters, name.title().replace('_', ''), None)
        if theirs is None:
            assert name == 'foggy_noon'
            continue
        for field in ('cloudiness', 'precipitation', 'precipitation_deposits', 'fog_density'):
            assert getattr(preset, field) == pytest.approx(getattr(theirs, field)), (name, field)


def test_a_wall_is_bright_where_the_sun_shines():
    # Azimuth 90 is clockwise from x: towards negative y.
    light = Light.of(Weather(sun_azimuth_angle=90.0, sun_altitude_angle=30.0))
    assert light.sun[1] == pytest.approx(-np.cos(np.radians(30.0)))
    facing = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    lit, shaded = light.shade(GREY.repeat(2, axis=0), facing, 0.0, 0.0)[:, :3].astype(int)
    assert (lit > shaded + 20).all()


def test_clouds_take_the_sun_away_and_dusk_is_dark_and_red():
    def ground(**weather):
        return Light.of(Weather(**weather)).shade(GREY, UP, 0.0, 0.0)[0, :3].astype(int)

    noon = ground(sun_altitude_angle=60.0)
    assert ground(sun_altitude_angle=60.0, cloudiness=100.0).sum() < noon.sum()
    dusk = ground(sun_altitude_angle=6.0)
    assert dusk.sum() < 0.6 * noon.sum() and dusk[0] > dusk[2]
    assert ground(sun_altitude_angle=-40.0).sum() < 0.25 * noon.sum()


def test_a_wet_road_is_darker():
    asphalt = 0.6 * GREY
    dry, wet = (
        Light.of(Weather(wetness=wetness)).shade(asphalt, UP, 0.0, 1.0)[0, :3].astype(int).sum()
        for wetness in (0.0, 100.0)
    )
    assert wet < 0.95 * dry


@pytest.mark.parametrize('name', ['clear_noon', 'cloudy_noon', 'wet_noon', 'clear_sunset'])
def test_clear_weather_costs_nothing(name):
    assert not effects(PRESETS[name]).is_active


def test_fog_is_what_beer_and_lambert_say():
    weather = PRESETS['foggy_noon']
    fog = effects(weather)
    assert fog.needs_depth
    depth = np.linspace(1.0, 200.0, SHAPE[1], dtype=np.float32)[None].repeat(SHAPE[0], axis=0)
    seen = fog.apply(PICTURE, depth, 0)[0, :, 0].astype(float)
    grey = round(255 * float(Light.of(weather).horizon[2]))
    share = np.exp(-weather.extinction * np.maximum(depth[0] - weather.fog_distance, 0.0))
    np.testing.assert_allclose(seen, grey + share * (120.0 - grey), atol=1.0)
    assert (fog.apply(PICTURE, depth, 0)[..., 3] == 255).all()


def test_rain_falls_on_every_frame_elsewhere():
    rain = effects(PRESETS['hard_rain_noon'])
    dark = PICTURE // 3 | PICTURE[..., 3:] * (np.arange(4) == 3).astype(np.uint8)
    frames = [rain.apply(dark, None, frame) for frame in range(12)]
    assert all(np.ptp(frame[..., :3].astype(int)) > 20 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) > 3
    assert all((frame[..., 3] == 255).all() for frame in frames)


def test_noise_has_the_spread_that_was_asked_for():
    clear = PRESETS['clear_noon']
    noisy = effects(clear, Lens(noise=3.0, seed=5)).apply(PICTURE, None, 1)
    change = noisy[..., :3].astype(int) - 120
    assert change.std() == pytest.approx(3.0, rel=0.05) and abs(change.mean()) < 0.1
    assert (noisy[..., 3] == 255).all()
    blue, red = change[..., 0].ravel(), change[..., 2].ravel()
    assert abs(np.corrcoef(blue, red)[0, 1]) < 0.05


def test_large_pictures_are_noisy_everywhere():
    shape = 600, 800
    large = np.full((*shape, 4), 120, np.uint8)
    noisy = effects(PRESETS['clear_noon'], Lens(noise=3.0), shape).apply(large, None, 1)
    assert noisy[550:, :, :3].std() == pytest.approx(3.0, rel=0.1)


def test_exposure_and_gamma_change_levels():
    clear = PRESETS['clear_noon']
    assert effects(clear, Lens(exposure=1.0)).apply(PICTURE, None, 0)[0, 0, 0] == 240
    darker = effects(clear, Lens(gamma=2.0)).apply(PICTURE, None, 0)[0, 0, 0]
    assert darker == round(255 * (120 / 255) ** 2)


def test_effects_are_the_same_for_a_seed_and_a_frame():
    lens = random_lens(np.random.default_rng(3))
    weather = PRESETS['hard_rain_sunset']
    first, second = effects(weather, lens), effects(weather, lens)
    for frame in (0, 7, 123456789):
        assert np.array_equal(
            first.apply(PICTURE, None, frame), second.apply(PICTURE, None, frame)
        )
    assert not np.array_equal(first.apply(PICTURE, None, 0), first.apply(PICTURE, None, 1))
    other = effects(weather, lens._replace(seed=lens.seed + 1))
    assert not np.array_equal(first.apply(PICTURE, None, 0), other.apply(PICTURE, None, 0))
