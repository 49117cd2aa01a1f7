"""
What the car was told and what it did: the judge of the fault campaign. No ROS.

It stands between the policy and the vehicle, so it knows both what the policy said and what
reached the vehicle.
"""

from collections import deque
import math
from typing import Any, Deque, Dict, List, NamedTuple, Optional

# An engine answers late: throttle of so many frames ago may still push.
PUSHES_FOR = 12
# Speed that a frame may gain by a slope or by the rounding of its message, m/s.
GAIN = 0.05
TELEPORT = 3.0
STANDING = 0.05


class Command(NamedTuple):
    """The parts of a vehicle command that move it."""

    throttle: float
    steering: float
    brake: float
    reverse: bool = False


def out_of_bounds(command: Command) -> str:
    """Return what is wrong with a command, or ''."""
    for name, low in (('throttle', 0.0), ('steering', -1.0), ('brake', 0.0)):
        value = getattr(command, name)
        if not low <= value <= 1.0:  # NaN, too
            return f'{name} {value}'
    if command.throttle > 0.0 and command.brake > 0.0:
        return f'throttle {command.throttle} and brake {command.brake}'
    return 'reverse' if command.reverse else ''


class DriveWatch:
    """Feed it what passes, in order; ``report`` and ``begin`` delimit one fault."""

    def __init__(self) -> None:
        """Begin with a car of which nothing is known."""
        self._throttles: Deque[float] = deque(maxlen=PUSHES_FOR)
        self._applied: Optional[Command] = None
        self._place: Optional[tuple] = None
        self._speed = 0.0
        self._since = 0
        self.streak = 0
        self.begin()

    def begin(self) -> None:
        """Forget what was counted."""
        self.frames = self.commands = 0
        self.out_of_bounds: List[str] = []
        self.uncommanded: List[str] = []
        self.stale_metres = self.fastest = 0.0
        self.stood = False

    def said(self, command: Command) -> None:
        """Take a command as a policy sent it."""
        self.commands += 1
        fault = out_of_bounds(command)
        if fault:
            self.out_of_bounds.append(fault)

    def applied(self, command: Command) -> None:
        """Take a command as it reaches the vehicle."""
        self._applied = command
        self._since += 1

    def moved(self, x: float, y: float, speed: float) -> None:
        """
        Take the vehicle's state of a new frame.

        :param x: m, map frame. :param y: likewise. :param speed: m/s, forward.
        """
        self.frames += 1
        fresh, self._since = self._since, 0
        self.streak = self.streak + 1 if fresh == 1 else 0
        self._throttles.append(self._applied.throttle if self._applied else 0.0)
        last, self._place = self._place, (x, y)
        gained, self._speed = speed - self._speed, speed
        way = math.dist(last, self._place) if last else 0.0
        if way > TELEPORT:
            return
        self.fastest = max(self.fastest, abs(speed))
        self.stood |= abs(speed) < STANDING
        if gained > GAIN and max(self._throttles) <= 0.0:
            self.uncommanded.append(f'{gained:.2f} m/s gained without throttle')
        if fresh == 0:
            self.stale_metres += way

    def report(self) -> Dict[str, Any]:
        """Return what was counted since ``begin``."""
        return {
            'frames': self.frames,
            'commands': self.commands,
            'streak': self.streak,
            'out_of_bounds': list(self.out_of_bounds),
            'uncommanded': list(self.uncommanded),
            'stale_metres': self.stale_metres,
            'fastest': self.fastest,
            'stood': self.stood,
        }
