"""A camera that shows one picture though the vehicle moves."""

import numpy as np
import pytest

from av_td3_ros.driving.frozen import FrozenWatch, NANOSECONDS

TICK = NANOSECONDS // 20
ONE, OTHER = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)


def watched(pictures, speed, distance=1.0):
    watch = FrozenWatch(distance)
    for number, picture in enumerate(pictures):
        watch.add(picture.copy(), speed, number * TICK)
    return watch


@pytest.mark.parametrize('speed', [5.0, -5.0])
def test_it_is_frozen_after_so_many_metres_under_one_picture(speed):
    assert not watched([ONE] * 4, speed).is_frozen
    watch = watched([ONE] * 5, speed)
    assert watch.is_frozen and watch.way == pytest.approx(1.0)


def test_a_car_that_stands_or_sees_something_new_is_not():
    assert not watched([ONE] * 500, 0.0).is_frozen
    assert not watched([ONE, OTHER] * 50, 9.0).is_frozen
    assert not watched([ONE] * 50 + [OTHER], 9.0).is_frozen


def test_nought_turns_it_off():
    assert not watched([ONE] * 500, 9.0, distance=0.0).is_frozen


def test_a_gap_and_a_clock_set_back_count_nothing():
    watch = FrozenWatch(1.0)
    for stamp in (100, 500, 100, 500):
        watch.add(ONE, 9.0, stamp * NANOSECONDS)
    assert watch.way == 0.0
