"""Maps by name."""

import pytest

from av_td3_ros.resources import generated_seeds


@pytest.mark.parametrize(
    'map, seeds',
    [
        ('random_town:7', [7]),
        ('random_town:3-5', [3, 4, 5]),
        ('town', []),
        ('random_town:', []),
        ('random_town:5-3', []),
        ('maps/random_town:3.xodr', []),
    ],
)
def test_the_seeds_of_the_generated_towns_on_a_map(map, seeds):
    assert list(generated_seeds(map)) == seeds
