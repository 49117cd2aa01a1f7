"""What ``av-td3 sim`` does between its first and its last tick."""

from collections import Counter
import time
from typing import Any, List, Optional

import numpy as np

from av_td3_ros.cli import common
from av_td3_ros.cli.sim import HELP, VIEWS
from av_td3_ros.cli.sim_drivers import Driver
from av_td3_ros.cli.sim_record import Recorder
from av_td3_ros.datatypes import Outcome
from av_td3_ros.driving.episode import StepResult
from av_td3_ros.sim.env import DrivingEnv

SHOWN_ENDING = 1.5
# A slower machine drives slower; it does not catch up afterwards.
MOST_BEHIND = 0.2


class Nobody:
    """No screen: nobody watches, and nothing waits; a line tells of the progress."""

    size = 640, 360
    real_time = False

    def __init__(self) -> None:
        self._progress = common.Progress()
        self._last = ''

    def __enter__(self) -> 'Nobody':
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.end(self._last)

    def keys(self, wait: float) -> List[str]:
        """Return no key."""
        return []

    def show(self, picture: np.ndarray, lines: List[str]) -> None:
        """Show the status alone."""
        self._last = lines[0]
        self._progress.show(lines[0])


class Session:
    """Episode after episode, until there is no time left or somebody quits."""

    def __init__(
        self,
        env: DrivingEnv,
        driver: Driver,
        recorder: Optional[Recorder],
        view: str,
        period: float,
    ) -> None:
        """
        :param env: to drive in. :param driver: who drives. :param recorder: what takes the
            pictures, too. :param view: one of VIEWS. :param period: of a tick, s.
        """
        self._env, self._driver, self._recorder = env, driver, recorder
        self._view, self._period = view, period
        self._endings: Counter = Counter()
        self._ticks = 0
        self._paused = self._ended = self._left = False

    @property
    def _time(self) -> float:
        return self._ticks * self._period

    @property
    def summary(self) -> str:
        """What to say at the end."""
        ended = ', '.join(f'{count} {reason}' for reason, count in self._endings.items())
        return f'{self._time:.1f} s driven; episodes: {ended or "none ended"}'

    def drive(self, screen: Any, seconds: float) -> None:
        """
        Drive in real time where somebody watches, else as fast as it goes.

        :param screen: what to draw on and to take keys from.
        :param seconds: simulated time.
        """
        self._begin()
        due = time.monotonic()
        while self._time < seconds - 1e-9:
            self._wait(screen, due)
            if self._left:
                return
            due = max(due + self._period, time.monotonic() - MOST_BEHIND)
            if self._paused:
                continue
            if self._ended:
                self._begin()
            result, steering = self._tick()
            size = self._recorder.size if self._recorder else screen.size
            picture = self._env.world.view(self._view, *size)
            if self._recorder:
                self._recorder.add(picture)
            screen.show(picture, self._status(result, steering))
            if self._ended and screen.real_time:
                due += SHOWN_ENDING

    def _wait(self, screen: Any, due: float) -> None:
        """Take keys until the next tick is due."""
        while True:
            left = max(due - time.monotonic(), 0.0) if screen.real_time else 0.0
            for key in screen.keys(left):
                self._take(key)
            if left == 0.0 or self._left:
                return

    def _take(self, key: str) -> None:
        if key == 'quit':
            self._left = True
        elif key == 'pause':
            self._paused = not self._paused
        elif key == 'view':
            self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
        elif key == 'route':
            self._ended = True
        else:
            self._driver.press(key)

    def _begin(self) -> None:
        self._obs = self._env.reset()
        self._driver.begin(self._env)
        self._ended = False

    def _tick(self) -> Any:
        action = self._driver.act(self._env, self._obs)
        self._obs, driven, result = self._env.step(action)
        self._ticks += 1
        self._ended = result.outcome is not Outcome.CONTINUES
        if self._ended:
            self._endings[result.reason] += 1
        return result, driven[0]

    def _status(self, result: StepResult, steering: float) -> List[str]:
        """Return two lines that fit a terminal of 80 columns."""
        episode, vehicle = self._env.episode, self._env.world.vehicle
        return [
            f'{self._time:6.1f} s {3.6 * vehicle.state.speed:4.0f} km/h  gear {vehicle.gear}  '
            f'steering {steering:+.2f}  route {episode.route_completion:4.0%} of '
            f'{episode.route.length:.0f} m  reward {result.reward:+.2f}',
            (
                f'ended: {result.reason}, return {episode.episode_return:.1f}'
                if self._ended
                else HELP
            ),
        ]
