"""
The episode manager as a pure state machine: events in, effects out.

It numbers the frames, asks for resets, scores steps, and is the one judge of lock-step: a frame,
an action or an observation that is lost, late, repeated or out of order aborts the episode, and
nothing of the broken step becomes experience. No clock, no I/O, no ROS.

A step k of a running episode is complete when its action and its observation have both come back;
only then is the frame of step k + 1 scored.
"""

import math
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, VehicleState, wrap_angle
from av_td3_ros.driving.episode import Episode
from av_td3_ros.driving.episode_effects import (
    Effect,
    Ended,
    Experience,
    FrameState,
    Mode,
    Phase,
    Respawn,
)
from av_td3_ros.driving.measures import StepExtras
from av_td3_ros.driving.route import Route, RoutePosition

NANOSECONDS = 1_000_000_000
SETTLED_FRAMES = 3
SETTLED_SPEED = 0.1
START_DISTANCE = 2.0
START_ANGLE = 0.2
GOAL_TOLERANCE = 8.0


class _Frame(NamedTuple):
    stamp: int
    state: VehicleState


class EpisodeMachine:
    """Feed it every event in the order of arrival; carry out what it returns, in order."""

    def __init__(
        self,
        config: EpisodeConfig,
        period: float,
        new_route: Callable[[], Route],
        on_road: Callable[[float, float], bool],
        mode: Mode = Mode.TRAINING,
    ) -> None:
        """
        :param config: reward, endings and reset limits.
        :param period: time between two frames, s.
        :param new_route: draws the next route to ask for.
        :param on_road: tells whether (x, y) is on a driving lane.
        """
        self._config = config
        self._period = period
        self._new_route = new_route
        self._on_road = on_road
        self.next_mode = mode
        self.mode = mode
        self.phase = Phase.RESETTING
        self.episode_id = 1
        self.step_id = 0
        self.aborts = 0
        self._episode: Optional[Episode] = None
        self._wanted: Optional[Route] = None
        self._wanted_for = mode
        self._route: Optional[Tuple[int, Route]] = None
        self._last_stamp: Optional[int] = None
        self._asked_stamp: Optional[int] = None
        self._begun_stamp = self._state_stamp = 0
        self._settled = 0
        self._hits: List[bool] = []
        self._lane_invaded = False
        self.in_traffic = False
        self._pending: Optional[_Frame] = None
        self._experience: Optional[Experience] = None
        self._action: Optional[Tuple[float, float]] = None
        self._version = 0
        self._seen = False

    # -- events -----------------------------------------------------------------------------------

    def frame(self, stamp: int, state: VehicleState) -> List[Effect]:
        """
        Take the vehicle state of a new frame.

        :param stamp: of the frame, ns.
        :param state: where the vehicle is.
        """
        effects: List[Effect] = []
        last, self._last_stamp = self._last_stamp, stamp
        if last is not None:
            ticks = (stamp - last) / (self._period * NANOSECONDS)
            if last - stamp > NANOSECONDS:
                self._pending = None  # of a world that is gone: nobody waits for its command
                effects += self.abort(f'clock set back by {-ticks:.0f} ticks')
            elif ticks < 0.5:
                self._last_stamp = last
                what = 'repeated' if ticks > -0.5 else 'reordered'
                return self._abort(f'{what} frame: {-ticks:.1f} ticks back')
            if ticks > 1.5:
                effects += self._abort(f'lost frame: {ticks:.1f} ticks since the last')
        if self._pending is not None:
            effects += self._abort(
                f'step {self.step_id} was not answered within its tick: '
                f'{"no observation" if not self._seen else "no action"}'
            )
        self._pending = _Frame(stamp, state)
        return effects + self._advance()

    def acted(
        self,
        episode_id: int,
        step_id: int,
        policy_version: int,
        drive: bool,
        steering: float,
        acceleration: float,
    ) -> List[Effect]:
        """Take the action that the policy reports for one observation."""
        if self.phase is not Phase.RUNNING or not drive or episode_id < self.episode_id:
            return []
        if (episode_id, step_id) != (self.episode_id, self.step_id):
            return self._abort(
                f'action of episode {episode_id} step {step_id}, expected '
                f'{self.episode_id} step {self.step_id}'
            )
        if self._action is not None:
            return self._abort(f'repeated action at step {step_id}')
        if not (abs(steering) <= 1.0 and abs(acceleration) <= 1.0):
            return self._abort(f'action must lie in [-1, 1], got {steering}, {acceleration}')
        self._action = (steering, acceleration)
        self._version = policy_version
        return self._advance()

    def observed(
        self, stamp: int, episode_id: int, step_id: int, frame: np.ndarray, vector: np.ndarray
    ) -> List[Effect]:
        """
        Take the observation that perception made of the current frame.

        :param stamp: of the camera image, ns; half a tick off at most.
        :param frame: newest grey frame, (height, width) uint8.
        :param vector: (n,) float32.
        """
        early = self._begun_stamp - stamp > self._period * NANOSECONDS / 2
        if self.phase is Phase.RESETTING or episode_id < self.episode_id or early:
            return []  # of the reset before this episode, or of the episode before that
        if (episode_id, step_id) != (self.episode_id, self.step_id):
            return self._abort(
                f'observation of episode {episode_id} step {step_id}, expected '
                f'{self.episode_id} step {self.step_id}'
            )
        if self._seen:
            return self._abort(f'repeated observation at step {step_id}')
        ticks = abs(stamp - self._state_stamp) / (self._period * NANOSECONDS)
        if ticks > 0.5:
            return self._abort(
                f'observation {ticks:.1f} ticks away from its frame at step {step_id}'
            )
        self._seen = True
        effects: List[Effect] = []
        if self.mode is Mode.TRAINING and self._experience is not None:
            effects.append(self._experience._replace(frame=frame, vector=vector))
        return effects + self._advance()

    def collided(self, stamp: int, with_vehicle: bool = False) -> None:
        """
        Take a collision event of ``stamp`` (ns); it may come a tick late, one from before the
        episode is dropped.
        """
        if self.phase is Phase.RUNNING and stamp > self._begun_stamp:
            self._hits.append(with_vehicle)

    def lane_invaded(self) -> None:
        """Take a lane-invasion event."""
        self._lane_invaded |= self.phase is Phase.RUNNING

    def routed(self, stamp: int, route: Route) -> None:
        """
        Take a route that was published; it counts if it leads from the wanted start to the wanted
        goal.
        """
        wanted = self._wanted
        if wanted is None or self.phase is not Phase.RESETTING:
            return
        far_start = math.dist(route.points[0], wanted.points[0]) > GOAL_TOLERANCE
        far_goal = math.dist(route.points[-1], wanted.points[-1]) > GOAL_TOLERANCE
        self._route = None if far_start or far_goal else (stamp, route)

    def abort(self, reason: str) -> List[Effect]:
        """
        End the episode from outside, as a fault; a reset begins anew.

        A simulation that was started again knows nothing of what the one before was asked for, and
        its clock says nothing of how long that was ago.
        """
        if self.phase is Phase.RESETTING:
            self._wanted = None
        return self._abort(reason)

    def retime(self, period: float) -> None:
        """
        Go on with other ticks, after an ``abort``.

        :param period: time between two frames, s.
        """
        self._period = period
        self._last_stamp = None  # the next frame is the first of its kind

    # -- behaviour --------------------------------------------------------------------------------

    def _advance(self) -> List[Effect]:
        """Process the pending frame once everything about the step before it is known."""
        if self._pending is None:
            return []
        if self.phase is Phase.RESETTING:
            return self._reset_step(self._take())
        if not self._seen:
            return []
        if self.phase is Phase.ENDED:
            return self._begin_reset() + self._reset_step(self._take())
        if self._action is None:
            return []
        return self._run_step(self._take())

    def _take(self) -> _Frame:
        pending, self._pending = self._pending, None
        return pending

    def _run_step(self, frame: _Frame) -> List[Effect]:
        pose = frame.state.pose
        result = self._episode.step(
            frame.state,
            self._action[0],
            self._on_road(pose.x, pose.y),
            bool(self._hits),
            StepExtras(any(self._hits), self._lane_invaded, self.in_traffic),
        )
        self._hits, self._lane_invaded = [], False
        self.step_id += 1
        self._experience = Experience(
            frame.stamp,
            self.episode_id,
            self.step_id,
            self._version,
            self._action,
            result.reward,
            result.outcome,
            None,
            None,
            self._episode.privileged(),
        )
        steering, self._action, self._seen = self._action[0], None, False
        effects: List[Effect] = []
        if result.outcome is not Outcome.CONTINUES:
            self.phase = Phase.ENDED
            effects.append(self._ended(frame.stamp, result.outcome.name.lower(), result.reason))
        return [
            self._state(frame, result.reward, result.terms, result.position, steering)
        ] + effects

    def _reset_step(self, frame: _Frame) -> List[Effect]:
        effects: List[Effect] = []
        waited = 0 if self._asked_stamp is None else frame.stamp - self._asked_stamp
        is_other = self._wanted_for is not self.next_mode  # its routes are others
        if self._wanted is None or is_other or waited > self._config.reset_timeout * NANOSECONDS:
            self._wanted, self._route, self._settled = self._new_route(), None, 0
            self._wanted_for = self.next_mode
            self._asked_stamp = frame.stamp
            goal = self._wanted.points[-1]
            effects.append(Respawn(self._wanted.start, (float(goal[0]), float(goal[1]))))
        elif self._at_start(frame.state) and self._route is not None:
            self._settled += 1
        else:
            self._settled = 0
        if self._settled >= SETTLED_FRAMES:
            return effects + self._begin_episode(frame)
        return effects + [self._state(frame)]

    def _begin_episode(self, frame: _Frame) -> List[Effect]:
        self.phase, self.mode, self.step_id = Phase.RUNNING, self.next_mode, 0
        self._begun_stamp = frame.stamp
        self._episode = Episode(self._config, self._route[1], frame.state, self._period)
        self._experience = Experience(
            frame.stamp,
            self.episode_id,
            0,
            0,
            (0.0, 0.0),
            0.0,
            Outcome.CONTINUES,
            None,
            None,
            self._episode.privileged(),
        )
        self._action, self._seen, self._version = None, False, 0
        self._hits, self._lane_invaded = [], False
        return [self._state(frame, position=self._episode.position)]

    def _begin_reset(self) -> List[Effect]:
        self.phase = Phase.RESETTING
        self.episode_id += 1
        self.step_id = 0
        self._wanted = self._route = self._episode = self._action = self._experience = None
        self._settled = self._version = 0
        self._asked_stamp = None
        self._seen = False
        return []

    def _abort(self, reason: str) -> List[Effect]:
        """
        Drop the running episode; a pending frame is answered so that the vehicle gets its command.
        """
        if self.phase is Phase.RESETTING:
            return []
        effects: List[Effect] = []
        if self.phase is Phase.RUNNING:
            self.aborts += 1
            effects.append(self._ended(self._last_stamp, 'aborted', reason))
        self._begin_reset()
        return effects + self._advance()

    def _at_start(self, state: VehicleState) -> bool:
        start = self._wanted.start
        near = math.hypot(state.pose.x - start.x, state.pose.y - start.y) < START_DISTANCE
        aligned = abs(wrap_angle(state.pose.yaw - start.yaw)) < START_ANGLE
        return near and aligned and abs(state.speed) < SETTLED_SPEED

    def _state(
        self,
        frame: _Frame,
        reward: float = 0.0,
        terms: Optional[Dict[str, float]] = None,
        position: Optional[RoutePosition] = None,
        steering: float = 0.0,
    ) -> FrameState:
        episode = self._episode
        self._state_stamp = frame.stamp
        return FrameState(
            frame.stamp,
            self.episode_id,
            self.step_id,
            self.phase,
            self.mode,
            self._version,
            self._route[0] if self._route else 0,
            steering,
            reward,
            terms or {},
            episode.episode_return if episode else 0.0,
            episode.route_completion if episode else 0.0,
            position,
            frame.state.speed,
        )

    def _ended(self, stamp: int, outcome: str, reason: str) -> Ended:
        return Ended(
            stamp, self.episode_id, self.mode, outcome, reason, self._version, self._episode
        )
