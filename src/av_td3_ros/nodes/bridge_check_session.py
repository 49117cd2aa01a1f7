"""
The script of a bridge check: look, keep silent, answer, drive, pause, reset, hit something.

Every part fills facts; nothing is judged here. Whatever happens, the vehicle is left braking.
"""

import math
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from carla_msgs.msg import CarlaControl

from av_td3_ros.bridge_check import facts as seen
from av_td3_ros.bridge_check.contract import COMMANDED, EVERY_FRAME, NO_FRAME, STAMPED
from av_td3_ros.datatypes import Control, Pose
from av_td3_ros.nodes.bridge_check_probe import BRAKE, Probe, Silent

COMMANDS = 20
DRIVE_SPEED, DRIVE_FRAMES = 5.0, 120
FRESH_FRAMES = 5  # within which the odometry must tell of another moment
TURN_FRAMES, STEER = 16, 0.15
RESET_SPEED, RESET_FRAMES = 3.0, 60
NEAR = 1.5
LIFT = 0.5  # m above the road, to land on it
THROWN = 5.0
OFF_ROAD_SPEED, OFF_ROAD_FRAMES, OFF_ROAD_ANGLE = 8.0, 200, -0.6
AFTER_FRAMES = 15
GOAL_AHEAD, ROUTE_FRAMES = 40.0, 40


class Session:
    """One run of the script."""

    def __init__(
        self,
        probe: Probe,
        skip: Tuple[str, ...] = (),
        discovery: float = 10.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """
        Prepare; nothing moves yet.

        :param skip: of ``contract.EXPERIMENTS``, what shall not be done.
        :param discovery: longest wait for topics, and then for the first frame, s.
        """
        self._probe, self._facts = probe, probe.facts
        self._skip, self._discovery, self._say = skip, discovery, say
        self._start: Optional[seen.Motion] = None
        self._broken = ''

    def run(self) -> seen.Facts:
        """Do all of it and return what was seen; the vehicle is left braking in any case."""
        try:
            self._look()
            parts: Dict[str, Callable[[], Optional[str]]] = {
                'handshake': self._handshake,
                'override': self._override,
                'drive': self._drive,
                'pause': self._pause,
                'reset': self._reset,
                'route': self._route,
                'collision': self._collision,
            }
            why = self._why_not()
            for name, part in parts.items():
                self._try(name, part, why)
        finally:
            self._probe.restore()
        return self._facts

    # -- what was heard ---------------------------------------------------------------------------

    def _look(self) -> None:
        probe = self._probe
        self._say('looking for topics')
        probe.discover(self._discovery)
        self._say('waiting for the first frame')
        if not probe.until(lambda: probe.ticks > 0, self._discovery):
            self._broken = NO_FRAME
            self._facts.unmade['silence'] = self._broken
            return
        self._say('keeping silent')
        probe.settle()
        begin, known = time.monotonic(), len(probe.ears.tick_times)
        probe.listen(2.5)
        times = probe.ears.tick_times[known:]
        gaps = [b - a for a, b in zip(times, times[1:])] or [time.monotonic() - begin]
        commander = self._commander()
        if commander:
            self._facts.unmade['silence'] = f'{commander} commands the vehicle: no silence'
        else:
            self._facts.silence = seen.Silence(
                time.monotonic() - begin, len(times), min(gaps), max(gaps)
            )
        probe.expect_what_is_heard()

    def _why_not(self) -> str:
        if self._broken:
            return self._broken
        commander = self._commander()
        if commander:
            return f'{commander} commands the vehicle: nothing was commanded'
        if not self._probe.connected('vehicle_control_cmd'):
            return 'nobody listens to vehicle_control_cmd'
        return ''

    def _commander(self) -> str:
        others = [offer for key in COMMANDED for offer in self._facts.topics[key].publishers]
        return others[0].node if others else ''

    def _try(self, name: str, part: Callable[[], Optional[str]], why: str) -> None:
        unmade = self._facts.unmade
        if name in self._skip:
            unmade[name] = 'left out'
        elif why or self._broken:
            unmade[name] = why or self._broken
        else:
            self._say(name)
            try:
                reason = part()
                if reason:
                    unmade[name] = reason
            except Silent as error:
                self._broken = unmade[name] = str(error)

    # -- lock-step --------------------------------------------------------------------------------

    def _handshake(self) -> Optional[str]:
        probe, facts = self._probe, self._facts
        probe.frame(BRAKE)
        probe.settle()
        ticks, statuses = probe.ticks, len(facts.vehicle_status)
        sent = tuple(0.5 + 0.02 * number for number in range(COMMANDS))
        begin = len(facts.odometry)
        for brake in sent:
            probe.frame(Control(brake=brake))
        probe.settle()
        if facts.odometry:
            facts.spans['braked'] = begin - 1, len(facts.odometry)
        facts.handshake = seen.Handshake(
            COMMANDS,
            probe.ticks - ticks,
            sent,
            tuple(one.brake for one in facts.vehicle_status[statuses:]),
        )
        return None

    def _override(self) -> Optional[str]:
        probe = self._probe
        if not (probe.connected('manual_override') and probe.connected('vehicle_control_cmd')):
            return 'nobody listens to vehicle_control_manual_override'

        def ticks_after(manual: bool, timeouts: float, wanted: int) -> int:
            before = probe.ticks
            probe.command(BRAKE, manual)
            probe.until(lambda: probe.ticks - before >= wanted, timeouts * probe.patience)
            return probe.ticks - before

        probe.frame(BRAKE)
        probe.override(True)
        probe.listen(0.15)
        automatic = ticks_after(False, 0.35, 1)
        manual = ticks_after(True, 0.4, 1)
        probe.override(False)
        probe.listen(0.15)
        released = ticks_after(False, 0.4, 1)
        self._facts.override = seen.Override(automatic, manual, released)
        return None

    def _pause(self) -> Optional[str]:
        probe, facts = self._probe, self._facts
        if not probe.connected('world_control'):
            return 'nobody listens to /carla/control'

        def running() -> Optional[bool]:
            return facts.ticks[-1].running if facts.ticks else None

        probe.frame(BRAKE)
        probe.control_world(CarlaControl.PAUSE)
        probe.listen(0.2)
        probe.command(BRAKE)  # the bridge takes it before it pauses
        stood = probe.until(lambda: running() is False, 2.0 * probe.patience)
        probe.settle()
        before = probe.ticks
        probe.listen(1.3)
        held = probe.ticks - before
        steps = []
        for rest in (0.5, 1.2):
            before = probe.ticks
            probe.control_world(CarlaControl.STEP_ONCE)
            probe.until(lambda: probe.ticks > before, 2.0 * probe.patience)
            probe.command(BRAKE)  # else the bridge waits for it, and the pause comes late
            probe.listen(rest)
            steps.append(probe.ticks - before)
        before = probe.ticks
        probe.control_world(CarlaControl.PLAY)
        probe.until(lambda: probe.ticks > before, 2.0 * probe.patience)
        went_on = probe.until(lambda: running() is True, probe.patience)
        played = probe.ticks - before
        facts.pause = seen.Pause(held, tuple(steps), played, (stood, went_on))
        return None

    # -- driving ----------------------------------------------------------------------------------

    def _drive(self) -> Optional[str]:
        probe, facts = self._probe, self._facts
        if not facts.odometry:
            return 'there is no odometry: not driven'
        if not seen.finite(*facts.odometry[-1][3:]):
            return 'the odometry is not finite: not driven'
        offers, known = facts.topics['odometry'].publishers, facts.odometry[-1].stamp
        if len(offers) > 1:
            return f'odometry has {len(offers)} publishers: not driven'
        self._span('', BRAKE, FRESH_FRAMES)
        if facts.odometry[-1].stamp == known:
            return 'the stamp of the odometry stands still: not driven'
        self._stop()
        probe.settle()
        self._start = facts.odometry[-1]
        ticks, counts, hits = probe.ticks, dict(probe.ears.counts), len(facts.collision)
        moment = time.monotonic()
        self._span(
            'ahead', Control(throttle=0.6), DRIVE_FRAMES, lambda: self._speed() > DRIVE_SPEED
        )
        rate = (probe.ticks - ticks) / (time.monotonic() - moment)
        probe.settle()
        if facts.speedometer:
            facts.speeds['ahead'] = facts.speedometer[-1], self._way()[0]
        self._span('left', Control(throttle=0.3, steering=STEER), TURN_FRAMES)
        probe.settle()
        if facts.vehicle_status:
            facts.speeds['steer'] = -STEER, facts.vehicle_status[-1].steer
        self._span('right', Control(throttle=0.3, steering=-STEER), 2 * TURN_FRAMES)
        self._span('stop', BRAKE, 60, lambda: self._speed() < 0.05)
        probe.settle()
        facts.rest = {
            key: getattr(facts, key)[-1].stamp
            for key in (*STAMPED, 'odometry')
            if getattr(facts, key)
        }
        facts.drive_ticks = probe.ticks - ticks
        facts.drive_seconds = facts.drive_ticks / rate if rate else math.inf
        facts.counts = {
            key: probe.ears.counts[key] - counts[key]
            for key in (*EVERY_FRAME, 'segmentation', 'depth', 'imu')
        }
        if len(facts.collision) > hits:
            facts.spans = {'braked': facts.spans.get('braked', (0, 0))}
            facts.speeds = {}
            return 'it hit something on the way: begin on an open road'
        return None

    def _reset(self) -> Optional[str]:
        probe, start = self._probe, self._start
        if start is None:
            return self._facts.unmade.get('drive', 'there is no odometry')
        for key in ('set_transform', 'set_target_velocity'):
            if not probe.connected(key):
                return f'nobody listens to {key}'
        self._span('', Control(throttle=0.6), RESET_FRAMES, lambda: self._speed() > RESET_SPEED)
        # Where it is told from its mirror image.
        turn = next(t for t in (0.0, 0.4, 0.8) if abs(math.sin(start.yaw + t)) > 0.35)
        asked = self._pose(turn)
        before, speed = self._place_of(self._facts.odometry[-1]), self._speed()
        probe.place(asked)
        known, arrived = probe.ticks, -1
        for _ in range(RESET_FRAMES // 3):
            probe.frame(Control())
            if math.dist(self._place_of(self._facts.odometry[-1])[:2], asked[:2]) < NEAR:
                arrived = probe.ticks - known
                break
        found = self._place_of(self._facts.odometry[-1])
        probe.frame(Control())
        there = self._speed()
        probe.throw(0.0)
        for _ in range(20):
            probe.frame(BRAKE)
        self._facts.reset = seen.Reset(
            (asked.x, asked.y, asked.yaw), before, found, arrived, speed, there, self._speed()
        )
        self._to_start(0.0)
        self._facts.thrown = seen.Thrown(THROWN, self._throw(THROWN, 5))
        self._to_start(0.0)
        return None

    def _route(self) -> Optional[str]:
        probe, facts = self._probe, self._facts
        if not facts.odometry or not probe.connected('goal'):
            return 'there is no odometry' if probe.connected('goal') else 'nobody listens to goal'
        if facts.reset is not None and facts.reset.arrived < 0:
            return 'needs a set_transform that arrives: the vehicle may be off the road'
        probe.settle()
        known, place = len(probe.ears.paths), facts.odometry[-1]
        probe.goal(
            place.x + GOAL_AHEAD * math.cos(place.yaw), place.y + GOAL_AHEAD * math.sin(place.yaw)
        )
        for _ in range(ROUTE_FRAMES):
            probe.frame(BRAKE)
            if len(probe.ears.paths) > known:
                break
        facts.route = probe.ears.route_after(known)
        return None

    def _collision(self) -> Optional[str]:
        """Leave the road at an angle: markings are crossed, then something is hit."""
        probe, facts = self._probe, self._facts
        if facts.reset is None or facts.reset.arrived < 0:
            return 'needs a set_transform that arrives'
        self._to_start(OFF_ROAD_ANGLE)
        known = len(facts.collision)
        self._throw(OFF_ROAD_SPEED, 2)

        def over() -> bool:
            ways = [self._way(back) for back in (0, 1)]
            return len(facts.collision) > known or ways[1][0] - ways[0][0] > 3.0

        self._span('off_road', Control(throttle=1.0), OFF_ROAD_FRAMES, over)
        begin = facts.spans['off_road'][0]
        for _ in range(AFTER_FRAMES):
            probe.frame(BRAKE)
        probe.settle()
        facts.spans['off_road'] = begin, len(facts.odometry)
        self._to_start(0.0)
        return None

    # -- steps of these ---------------------------------------------------------------------------

    def _span(
        self, name: str, control: Control, frames: int, over: Callable[[], bool] = lambda: False
    ) -> None:
        """Drive with one control until it is over, and note from where to where."""
        begin = len(self._facts.odometry) - 1
        for _ in range(frames):
            self._probe.frame(control)
            if over():
                break
        if name:
            self._facts.spans[name] = begin, len(self._facts.odometry)

    def _stop(self) -> None:
        self._span('', BRAKE, 60, lambda: self._speed() < 0.05)

    def _to_start(self, turn: float) -> None:
        """Put the vehicle, standing, back to where the drive began."""
        self._probe.place(self._pose(turn))
        self._probe.throw(0.0)
        for _ in range(8):
            self._probe.frame(BRAKE)

    def _throw(self, speed: float, frames: int) -> Tuple[Tuple[float, float], ...]:
        """Set a velocity; return what the poses say of it: (ahead, left) m/s in every frame."""
        self._probe.throw(speed)
        found: List[Tuple[float, float]] = []
        for _ in range(frames):
            self._probe.frame(Control())
            found.append(self._way())
        return tuple(found)

    def _pose(self, turn: float) -> Pose:
        start: Any = self._start
        yaw = math.remainder(start.yaw + turn, 2 * math.pi)
        return Pose(start.x, start.y, start.z + LIFT, yaw)

    def _place_of(self, motion: seen.Motion) -> Tuple[float, float, float]:
        return motion.x, motion.y, motion.yaw

    def _way(self, back: int = 0) -> Tuple[float, float]:
        """
        Return the velocity of a frame by the poses: (ahead, left) m/s.

        Of a frame that was told twice one message counts: the vehicle would seem to stand.
        """
        known: List[seen.Motion] = []
        for motion in reversed(self._facts.odometry):
            if not known or motion.stamp != known[-1].stamp:
                known.append(motion)
            if len(known) == 2 + back:
                break
        else:
            return 0.0, 0.0
        after, before = known[-2:]
        step = (after.stamp - before.stamp) / 1e9
        dx, dy = (after.x - before.x) / step, (after.y - before.y) / step
        cos, sin = math.cos(before.yaw), math.sin(before.yaw)
        return dx * cos + dy * sin, dy * cos - dx * sin

    def _speed(self) -> float:
        return math.hypot(*self._way())
