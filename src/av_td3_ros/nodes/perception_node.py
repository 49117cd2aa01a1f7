"""
Camera image, odometry, route and map to observation.

In training every frame is also joined with the episode manager's numbering of it; in a deployment
(``episodes: false``) the node numbers its own and drives whenever there is data.
"""

import array
from typing import Any, Callable, Dict, Optional

from av_td3_msgs.msg import Action, EpisodeState, Observation
from carla_msgs.msg import CarlaStatus, CarlaWorldInfo
from nav_msgs.msg import Odometry, Path
import numpy as np
from std_msgs.msg import Header

from av_td3_ros.bridge import bounds, convert
from av_td3_ros.bridge.topics import TOPICS
from av_td3_ros.config import PerceptionConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.frozen import FrozenWatch
from av_td3_ros.driving.guides import Guide, Guides
from av_td3_ros.driving.join import FrameJoin
from av_td3_ros.driving.pacing import RateWatch
from av_td3_ros.driving.road_map import MapError
from av_td3_ros.driving.route import RoutePosition
from av_td3_ros.driving.route_limits import beyond
from av_td3_ros.nodes import realtime
from av_td3_ros.nodes.awaited import Awaited, inputs
from av_td3_ros.nodes.camera_input import CameraInput
from av_td3_ros.nodes.base import ERROR, GraphNode, Health, OK, WARN, main as run_main, now
from av_td3_ros.nodes.hearing import Hearing

DEFAULT_PERIOD = 0.05
# A shorter step of a simulation, over that of training, has some of its frames thinned out.
FASTEST_TICK = 0.75
WATCH_PERIOD = 0.5


class PerceptionNode(GraphNode):
    """Joins by stamp, preprocesses, stacks, publishes one observation per frame."""

    NAME = 'perception'
    CONFIG = PerceptionConfig
    _camera: Optional[CameraInput] = None

    def setup(self) -> None:
        """Subscribe to what makes a frame complete."""
        self._spec = self.config.observation.spec()
        self._stack = preprocess.FrameStack(self._spec)
        self._shape = np.array(self._spec.image_shape, np.uint32)
        self._zeros = np.zeros(self._spec.vector_size, np.float32)
        kinds = ('image', 'odometry') + (('episode',) if self.config.episodes else ())
        self._kinds = kinds
        self._routes = Guides()
        self._other_map: Optional[CarlaWorldInfo] = None
        self._waiting: Optional[Dict[str, Any]] = None
        self._inputs = inputs(self)
        self._awaited = Awaited(self)
        self._last_steering = 0.0
        self._step = 0
        self._observed_at = self._odometry_at = now()
        self._fault = ''
        self._hearing = Hearing(self)
        self._entities.append(self._hearing.close)
        self._camera = CameraInput(self, self._on_frame, self._complain)
        self._period = DEFAULT_PERIOD if self.config.episodes else 1.0 / self._camera.trained_rate
        self._join = FrameJoin(kinds, self._period)
        self._tick = ''
        self._rate, self._odometry_rate = (RateWatch(self._camera.min_rate) for _ in range(2))
        self._place: Optional[RoutePosition] = None
        self._frame_of = {'odometry': '', 'route': ''}
        self._frozen = FrozenWatch(self.config.frozen_distance)
        self._stopped_by = ''
        self.every(WATCH_PERIOD, self._watch)
        self.observations = 0
        self._observation_pub = self.publisher('observation')
        self._debug_pub = self.publisher('debug_stack')
        self._debug_at = 0.0
        self.subscribe('status', self.on_status)
        self.subscribe_always('waypoints', self.on_route)
        if self.config.episodes:
            self.subscribe('odometry', self.on_odometry)
        else:  # of somebody else, who need neither latch a route nor publish reliably
            self._hear('waypoints', self.on_route)
            self._hear('odometry', lambda msg: self.on_odometry(msg) if self.active else None)
        if self.config.observation.command:
            self.subscribe_always('world_info', self.on_world_info)
        if self.config.episodes:
            self.subscribe('episode_state', self.on_episode)
        else:
            self.subscribe('action', self.on_action)

    def is_deployed(self, config: PerceptionConfig) -> bool:
        """In a deployment nobody else numbers the frames."""
        return not config.episodes

    def start(self) -> None:
        """Count silence from here on."""
        self._observed_at = self._odometry_at = now()
        self._waiting = None  # a picture of before
        self._awaited.expect(None)
        if self._other_map is not None:
            other, self._other_map = self._other_map, None
            self._take_map(other)
        self._camera.start()

    def release(self) -> None:
        """Let go of the camera."""
        if self._camera is not None:
            self._camera.close()

    def health(self) -> Health:
        """Silence, a camera or data that do not fit and too low a rate are faults."""
        values = {
            'observations': self.observations,
            'dropped_frames': self._join.dropped,
            'repeated_messages': self._join.repeated,
            **self._camera.values(),
        }
        fault = self._camera.fault() or self._fault
        if fault:
            return ERROR, fault, values
        for awaited in (self._awaited, self._camera.awaited):
            level, text = awaited.told()
            if text:
                return level, text, values
        stopped_by = self._stopped()
        if stopped_by:
            return ERROR, stopped_by, values
        warning = self._tick or self._map_fault() or self._camera.warning()
        if warning:
            return WARN, warning, values
        return OK, 'observing' if self.active else 'inactive', values

    # -- events -----------------------------------------------------------------------------------

    def on_status(self, msg: CarlaStatus) -> None:
        """
        In training follow the simulation's own step size, and know that it is paused.

        A deployment keeps to that of training: the simulation may be another one's. It says so
        where one waits for commands that thinned frames will never have.
        """
        period = bounds.tick(msg)
        if not self.config.episodes:
            fast = msg.synchronous_mode and 0.0 < period < FASTEST_TICK * self._period
            self._tick = (
                f'a simulation on /carla/status ticks at {1.0 / period:.0f} Hz and the policy was '
                f'trained at {1.0 / self._period:.0f} Hz: if it waits for commands, it waits for '
                f'some in vain; set fixed_delta_seconds {self._period:g}'
                if fast
                else ''
            )
            return
        self._camera.pause(msg.synchronous_mode and not msg.synchronous_mode_running)
        if period and abs(period - self._period) > 1e-6:
            self._period = period
            self._join = FrameJoin(self._kinds, self._period)

    def on_odometry(self, msg: Odometry) -> None:
        """Take the vehicle state."""
        self._odometry_at = now()
        try:
            state = convert.from_odometry(msg)
        except SpecError as error:
            self._complain(str(error))
            return
        self._frame_of['odometry'] = msg.header.frame_id
        self._odometry_rate.add(convert.to_ns(msg.header.stamp))
        self._add('odometry', msg.header, state)

    def on_episode(self, msg: EpisodeState) -> None:
        """Take the episode manager's numbering of a frame."""
        if not abs(msg.steering) <= 1.0:  # NaN, too
            self._complain(f'steering of the episode must be in [-1, 1], got {msg.steering}')
            return
        self._add('episode', msg.header, msg)

    def on_action(self, msg: Action) -> None:
        """Remember the last steering, where no episode manager tells it."""
        if abs(msg.steering) <= 1.0:  # not NaN
            self._last_steering = msg.steering

    def on_route(self, msg: Path) -> None:
        """Take a route; frames that waited for it go on."""
        try:
            self._routes.take(convert.to_ns(msg.header.stamp), convert.from_path(msg))
        except SpecError as error:
            self._routes.clear()
            if msg.poses:
                self._complain(str(error))
            return
        self._frame_of['route'] = msg.header.frame_id
        self._go_on()

    def on_world_info(self, msg: CarlaWorldInfo) -> None:
        """
        Take the map, which tells the junctions of a route; frames that waited go on.

        A deployment that drives keeps its map: another one is that of another simulation.
        """
        known = self._routes.road_map
        if known is not None and self.active and not self.config.episodes:
            if msg.opendrive != known.opendrive:
                self._other_map = msg
                self._complain(self._map_fault())
            return
        self._take_map(msg)

    def _map_fault(self) -> str:
        """Return that another map came, or ''."""
        other = self._other_map
        if other is None:
            return ''
        return (
            f'the map must stay that of {self._routes.road_map.name} while the node is active, '
            f'got {other.map_name} on /carla/world_info; one simulation per domain, or activate '
            'the node anew'
        )

    def _take_map(self, msg: CarlaWorldInfo) -> None:
        try:
            with realtime.unhurried():  # seconds, where a map is large
                self._routes.take_map(msg.map_name.rsplit('/', 1)[-1], msg.opendrive)
        except MapError as error:
            self._complain(str(error))  # a map that was read before stays: it comes only once
            return
        self._go_on()

    # -- work -------------------------------------------------------------------------------------

    def _on_frame(self, header: Header, pixels: np.ndarray) -> None:
        self._add('image', header, (header, pixels))

    def _add(self, kind: str, header: Header, value: Any) -> None:
        frame = self._join.add(kind, convert.to_ns(header.stamp), value)
        if frame is not None:
            self._complete(frame)

    def _complete(self, frame: Dict[str, Any]) -> None:
        header, pixels = frame['image']
        episode = self._numbering(frame)
        vector = self._zeros
        if episode.phase != EpisodeState.RESETTING:
            lacking = self._lacking(frame)
            if lacking:
                self._waiting = frame
                self._awaited.expect(self._inputs[lacking])
                return
            guide = self._guide_of(episode)
            vector, place = preprocess.state_vector(
                self.config.observation,
                frame['odometry'],
                episode.steering,
                guide.tracker if guide else None,
                guide.commands if guide else None,
            )
            self._place = place if preprocess.needs_route(self.config.observation) else None
        # Frames on either side of a gap show no motion.
        begins = self._rate.add(convert.to_ns(header.stamp)) and not self.config.episodes
        fresh = episode.step_id == 0 or begins
        self._frozen.add(pixels, frame['odometry'].speed, convert.to_ns(header.stamp))
        image = self._stack.reset(pixels) if fresh else self._stack.push(pixels)
        self._observation_pub.publish(
            Observation(
                header=header,
                episode_id=episode.episode_id,
                step_id=episode.step_id,
                policy_version=episode.policy_version,
                drive=episode.phase == EpisodeState.RUNNING and self._may_drive,
                explore=self.config.episodes and episode.mode == EpisodeState.TRAINING,
                spec=self._spec.digest,
                image_shape=self._shape,
                image=convert.to_bytes(image),
                vector=array.array('f', vector.tobytes()),
            )
        )
        self.observations += 1
        self._step += 1
        self._observed_at = now()
        self._fault, self._waiting = '', None  # an older frame waits in vain
        self._awaited.expect(None)
        self._show(image, header)

    @property
    def _may_drive(self) -> bool:
        """In a deployment nobody counts the frames: they must be known to come often enough."""
        if self._frozen.is_frozen:
            return False
        return self.config.episodes or (self._rate.is_enough and not self._beyond_the_route())

    def _stopped(self) -> str:
        """Return why nothing is driven though pictures come, or ''."""
        if self._frozen.is_frozen:
            return f'the camera hangs: the same picture for {self._frozen.way:.1f} m; not driving'
        return self._beyond_the_route() or self._slowness()

    def _beyond_the_route(self) -> str:
        """Return why a deployment must not follow its route, or ''."""
        if self.config.episodes or self._place is None:
            return ''
        odometry, route = self._frame_of['odometry'], self._frame_of['route']
        if odometry and route and odometry != route:
            return f"not driving: the route is in frame '{route}', odometry in '{odometry}'"
        return beyond(self._place, self.config)

    def _slowness(self) -> str:
        """Return why a deployment does not drive though its camera is there, or ''."""
        if not self.active or self.config.episodes or self._waits():
            return ''
        images, odometry = self._camera.rate, self._odometry_rate.rate
        came = f'images {images:.1f} Hz, {self._name("odometry")} {odometry:.1f} Hz'
        silent, unheard = now() - self._observed_at, now() - self._odometry_at
        if silent > self.config.image_timeout:
            if unheard > self.config.image_timeout:
                return self._inputs['odometry'].silent(self, unheard)
            return f'no observation for {silent:.1f} s: {came}; their stamps must be of one clock'
        if self._rate.is_slow:
            return (
                f'not driving at {self._rate.rate:.1f} Hz: at least '
                f'{self._camera.min_rate:g} Hz needed, got {came}'
            )
        return ''

    def _waits(self) -> bool:
        """Whether something else is missing, and said so."""
        waits = self._waiting or self._camera.awaited.told()[1] or self._camera.fault()
        return bool(waits)

    def _watch(self) -> None:
        """Hear who came since; say once on the log, too, that nothing is driven any more."""
        self._hearing.adapt()
        self._awaited.watch()
        stopped_by = self._stopped()
        if stopped_by and not self._stopped_by:
            self.get_logger().error(stopped_by)
        self._stopped_by = stopped_by

    def _hear(self, key: str, callback: Callable[[Any], None]) -> None:
        self._hearing.subscribe(
            self.resolve_topic_name(self._name(key)), TOPICS[key].type, callback
        )

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and self.active:
            self._complete(waiting)

    def _lacking(self, frame: Dict[str, Any]) -> str:
        """Return the topic, by its key, that a frame needs to be observed, or ''."""
        guide = self._guide_of(self._numbering(frame))
        if guide is None and preprocess.needs_route(self.config.observation):
            return 'waypoints'
        missing = self.config.observation.command and guide.commands is None
        return 'world_info' if missing else ''

    def _numbering(self, frame: Dict[str, Any]) -> EpisodeState:
        """Return the episode manager's numbering of a frame, or in a deployment our own."""
        return frame.get('episode') or EpisodeState(
            header=frame['image'][0],
            step_id=self._step,
            phase=EpisodeState.RUNNING,
            steering=self._last_steering,
            mode=EpisodeState.EVALUATION,
        )

    def _guide_of(self, episode: EpisodeState) -> Optional[Guide]:
        if self.config.episodes:
            return self._routes.get(convert.to_ns(episode.route_stamp))
        return self._routes.newest()

    def _show(self, image: np.ndarray, header: Any) -> None:
        if self._debug_pub.get_subscription_count() and now() - self._debug_at > 0.1:
            self._debug_at = now()
            self._debug_pub.publish(convert.to_image(np.hstack(list(image)), 'mono8', header))

    def _complain(self, fault: str) -> None:
        self._fault = fault
        self.get_logger().error(fault, throttle_duration_sec=5.0)


def main() -> None:
    """Run perception."""
    run_main(PerceptionNode)


if __name__ == '__main__':
    main()
