"""``av-td3 bench swap``: which frames met a swap, and what it refuses."""

import pytest

from av_td3_ros.cli.bench_swap import NEAR, split


def test_frames_that_meet_a_swap_by_hand():
    sent = {1: 10.0, 2: 10.05, 3: 10.1, 4: 10.15, 5: 10.2}
    answers = {1: [0.005], 2: [0.005], 3: [0.005], 4: [0.02]}
    swaps = [9.0, 10.05 - 0.5 * NEAR, 10.1 + 0.006, 10.16, 30.0]
    # Before the second, just behind the third's command, within the fourth; the fifth has none.
    assert split(sent, answers, [1, 2, 3, 4, 5], swaps) == ([2, 4], [1, 3, 5])


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--swaps', '0'], '--swaps must be >= 1, got 0'),
        (['--swap-rate', '0'], '--swap-rate must be 0.1 to 1000 a second, got 0'),
        (['--camera', 'x'], '--camera must be WIDTHxHEIGHT'),
    ],
)
def test_nonsense_is_refused(refused, monkeypatch, arguments, text):
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')  # put back after the bench has chosen its own
    assert text in refused('bench', 'swap', *arguments)
