"""
Feeds the pure episode machine with messages and carries out what it returns.

Two duties are the node's own: it asks the simulation for resets and routes, and it paces the
graph. Where the trainer has not yet permitted the next step, the numbering of the frame is held
back, and with it the whole lock-step chain; never longer than ``pacing_timeout``, and not at all
where the trainer is gone.
"""

from collections import deque
from dataclasses import replace
import secrets
from typing import Any, Deque, List, Optional, Set

from av_td3_msgs.msg import Action, Observation, TrainingStatus
from av_td3_msgs.srv import SetMode, SetPaused
from carla_msgs.msg import (
    CarlaActorList,
    CarlaCollisionEvent,
    CarlaControl,
    CarlaLaneInvasionEvent,
    CarlaStatus,
    CarlaWorldInfo,
)
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry, Path
import numpy as np

from av_td3_ros.bridge import bounds, convert, markers
from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.driving import episode_machine as machine
from av_td3_ros.driving.road_map import MapError, RoadMap
from av_td3_ros.driving.route import Route
from av_td3_ros.driving.route_set import RouteSet
from av_td3_ros.nodes.base import ERROR, GraphNode, Health, OK, WARN, main as run_main, now

DROP_HEIGHT = 0.5
TRAINER_SILENCE = 2.0
PACING_PERIOD = 0.02


class EpisodeManagerNode(GraphNode):
    """Resets, scores and ends episodes; publishes the experience."""

    NAME = 'episode_manager'
    CONFIG = EpisodeConfig

    def setup(self) -> None:
        """Subscribe to everything that an episode consists of."""
        self._machine: Optional[machine.EpisodeMachine] = None
        self._road_map: Optional[RoadMap] = None
        self._routes: Optional[RouteSet] = None
        self._measured: Optional[RouteSet] = None
        self._route_number = dict.fromkeys(machine.Mode, -1)
        self._route_name = self._drawn_name = ''
        self._is_driven = True
        self._vehicles: Set[int] = set()
        self._period: Optional[float] = None
        self._held: Deque[Any] = deque()
        self._held_since = 0.0
        self._limit = 0
        self._trainer_at = -1e9
        self._fault = ''
        self.sent = self.finished = self.unpaced = 0
        self._publisher_id = secrets.randbits(64)
        self._state_pub = self.publisher('episode_state')
        self._result_pub = self.publisher('episode_result')
        self._transition_pub = self.publisher('transition')
        self._transform_pub = self.publisher('set_transform')
        self._velocity_pub = self.publisher('set_target_velocity')
        self._goal_pub = self.publisher('goal')
        self._control_pub = self.publisher('world_control')
        self._markers_pub = self.publisher('debug_markers')
        self.subscribe_always('world_info', self.on_world_info)
        self.subscribe('status', self.on_status)
        self.subscribe('training_status', self.on_training_status)
        # Events come before the odometry of their frame: the executor takes subscriptions in this
        # order.
        self.subscribe('actor_list', self.on_actor_list)
        self.subscribe('collision', self.on_collision)
        self.subscribe('lane_invasion', self.on_lane_invasion)
        self.subscribe_always('waypoints', self.on_route)
        self.subscribe('action', self.on_action)
        self.subscribe('observation', self.on_observation)
        self.subscribe('odometry', self.on_odometry)
        self.serve('set_paused', self.on_set_paused)
        self.serve('set_mode', self.on_set_mode)
        self.every(PACING_PERIOD, self._pace)

    def health(self) -> Health:
        """Aborts are worth a look; a missing map is a fault."""
        values = {
            'publisher': self._publisher_id,
            'transitions_sent': self.sent,
            'episodes': self.finished,
            'unpaced_steps': self.unpaced,
        }
        if self._fault:
            return ERROR, self._fault, values
        if self._machine is None:
            return WARN, 'waiting for /carla/world_info and /carla/status', values
        values.update(
            episode=self._machine.episode_id,
            step=self._machine.step_id,
            phase=self._machine.phase.name,
            aborts=self._machine.aborts,
        )
        return OK, self._machine.phase.name.lower(), values

    # -- events -----------------------------------------------------------------------------------

    def on_world_info(self, msg: CarlaWorldInfo) -> None:
        """Read the road network, to draw routes from."""
        try:
            road_map = RoadMap(msg.map_name.rsplit('/', 1)[-1], msg.opendrive)
            routes = RouteSet(self.config, road_map)
            routes.at(0, self.config.seed, training=False)  # refuse here a map without such routes
            measured = routes
            if self._machine is not None and self._machine.next_mode is machine.Mode.EVALUATION:
                measured = self._routes_to_measure(road_map, routes)
        except MapError as error:
            self._complain(str(error))  # a map that was read before stays: it comes only once
            return
        self._road_map, self._routes, self._measured = road_map, routes, measured
        self._fault = ''
        if self._machine is not None:
            self._carry_out(self._machine.abort('the simulation was started again'))
        self._make_machine()

    def on_status(self, msg: CarlaStatus) -> None:
        """Learn the step size of the simulation."""
        period = round(bounds.tick(msg), 6)  # what a float32 means
        if not period or period == self._period:
            return
        self._period = period
        if self._machine is not None:  # a simulation that was started again
            self._carry_out(self._machine.abort(f'a tick is {period:g} s now'))
            self._machine.retime(period)
        self._make_machine()

    def on_training_status(self, msg: TrainingStatus) -> None:
        """Follow the trainer's permission to go on."""
        self._trainer_at = now()
        self._limit = msg.transition_limit
        self._pace()

    def on_actor_list(self, msg: CarlaActorList) -> None:
        """Learn which actors are other vehicles, so that collisions can be told apart."""
        self._vehicles = {
            actor.id
            for actor in msg.actors
            if actor.type.startswith('vehicle.') and actor.rolename != self.config.role_name
        }
        if self._machine:
            self._machine.in_traffic = bool(self._vehicles)

    def on_collision(self, msg: CarlaCollisionEvent) -> None:
        """Take a collision event."""
        if self._machine:
            self._machine.collided(
                convert.to_ns(msg.header.stamp), msg.other_actor_id in self._vehicles
            )

    def on_lane_invasion(self, msg: CarlaLaneInvasionEvent) -> None:
        """Take a lane-invasion event."""
        if self._machine:
            self._machine.lane_invaded()

    def on_route(self, msg: Path) -> None:
        """Take the route that the simulation planned."""
        if self._machine is None or not msg.poses:
            return
        try:
            route = convert.from_path(msg)
        except SpecError as error:
            self._complain(str(error))
            return
        self._machine.routed(convert.to_ns(msg.header.stamp), route)
        self._markers_pub.publish(markers.route(route, msg.header))

    def on_action(self, msg: Action) -> None:
        """Take the policy's account of its command."""
        if self._machine:
            self._carry_out(
                self._machine.acted(
                    msg.episode_id,
                    msg.step_id,
                    msg.policy_version,
                    msg.drive,
                    msg.steering,
                    msg.acceleration,
                )
            )

    def on_observation(self, msg: Observation) -> None:
        """Take the observation of the current frame; only its newest frame travels on."""
        if self._machine is None or self._machine.phase is machine.Phase.RESETTING:
            return
        vector = np.frombuffer(msg.vector, np.float32).copy()
        stack, height, width = (int(size) for size in msg.image_shape)
        pixels = stack * height * width
        broken = np.flatnonzero(~np.isfinite(vector))
        if not stack or len(msg.image) != pixels or len(broken):
            entry = f', entry {broken[0]} is {vector[broken[0]]}' if len(broken) else ''
            self._carry_out(
                self._machine.abort(
                    f'observation must be {stack} x {height} x {width} = {pixels} pixels and '
                    f'finite, got {len(msg.image)} pixels and a vector of {len(vector)}{entry}'
                )
            )
            return
        frame = np.frombuffer(msg.image, np.uint8)[-height * width :].reshape(height, width)
        self._carry_out(
            self._machine.observed(
                convert.to_ns(msg.header.stamp), msg.episode_id, msg.step_id, frame, vector
            )
        )

    def on_odometry(self, msg: Odometry) -> None:
        """Take the vehicle state of a new frame."""
        if self._machine is None:
            return
        try:
            state = convert.from_odometry(msg)
        except SpecError as error:
            self._complain(str(error))
            if self._machine.phase is not machine.Phase.RESETTING:  # a reset waits for the next
                self._carry_out(self._machine.abort(str(error)))
        else:
            self._fault = ''
            self._carry_out(self._machine.frame(convert.to_ns(msg.header.stamp), state))

    def on_set_paused(self, request: SetPaused.Request, reply: SetPaused.Response) -> Any:
        """Pause the world through the bridge's own control."""
        self._control_pub.publish(
            CarlaControl(command=CarlaControl.PAUSE if request.paused else CarlaControl.PLAY)
        )
        reply.success = True
        reply.message = 'paused' if request.paused else 'playing'
        return reply

    def on_set_mode(self, request: SetMode.Request, reply: SetMode.Response) -> Any:
        """Switch between training and evaluation, from the next episode on."""
        try:
            mode = machine.Mode(request.mode)
        except ValueError:
            reply.success, reply.message = (
                False,
                f'mode must be 0 (training) or 1 (evaluation), got {request.mode}',
            )
            return reply
        if self._machine is None:
            reply.success, reply.message = False, 'no simulation yet'
            return reply
        if mode is machine.Mode.EVALUATION and self._machine.next_mode is not mode:
            try:
                self._measured = self._routes_to_measure(self._road_map, self._routes)
            except MapError as error:
                reply.success, reply.message = False, str(error)
                return reply
            self._route_number[mode] = -1
        self._machine.next_mode = mode
        reply.success, reply.message = True, f'{mode.name.lower()} from the next episode on'
        return reply

    # -- work -------------------------------------------------------------------------------------

    def _make_machine(self) -> None:
        if self._machine is not None or self._road_map is None or self._period is None:
            return
        mode = (
            machine.Mode.EVALUATION if self.config.start_in_evaluation else machine.Mode.TRAINING
        )
        self._machine = machine.EpisodeMachine(
            self.config,
            self._period,
            self._new_route,
            lambda x, y: self._road_map.on_road(x, y),
            mode,
        )

    def _new_route(self) -> Route:
        # A fault does not spare a policy that is measured its route; training goes on to the next.
        mode = self._machine.next_mode
        training = mode is machine.Mode.TRAINING
        if self._is_driven or training or self._route_number[mode] < 0:
            self._route_number[mode] += 1
        self._is_driven = False
        number = self._route_number[mode] + (self.config.first_route if training else 0)
        routes = self._routes if training else self._measured
        found = routes.at(number, self.config.seed, training)
        self._drawn_name = found.name
        return found.route

    def _routes_to_measure(self, road_map: RoadMap, routes: RouteSet) -> RouteSet:
        """
        Return the routes of an evaluation, which a training has left out.

        :raises MapError: where the map has none.
        """
        config = self.config
        if config.routes != 'training' or config.route_file or config.start_in_evaluation:
            return routes  # as somebody has chosen
        found = RouteSet(replace(config, routes='held_out'), road_map)
        found.at(0, config.seed, training=False)
        return found

    def _carry_out(self, effects: List[machine.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, machine.FrameState):
                self._hold_or_publish(effect)
            elif isinstance(effect, machine.Experience):
                self.sent += 1
                self._transition_pub.publish(
                    convert.to_transition(effect, self._publisher_id, self.sent)
                )
            elif isinstance(effect, machine.Ended):
                self.finished += 1
                if effect.outcome == 'aborted':
                    self.get_logger().warning(
                        f'episode {effect.episode_id} aborted: {effect.reason}'
                    )
                else:
                    self._is_driven = True
                self._result_pub.publish(convert.to_episode_result(effect, self._route_name))
            else:
                self._respawn(effect)

    def _respawn(self, effect: machine.Respawn) -> None:
        # Only now: the episode before this one may have ended by the same event.
        self._route_name = self._drawn_name
        self._velocity_pub.publish(Twist())
        self._transform_pub.publish(
            convert.to_pose_msg(effect.start._replace(z=effect.start.z + DROP_HEIGHT))
        )
        goal = PoseStamped()
        goal.header.frame_id = 'map'
        goal.pose.position.x, goal.pose.position.y = effect.goal
        self._goal_pub.publish(goal)

    def _hold_or_publish(self, state: machine.FrameState) -> None:
        if self._held or self._must_wait(state):
            if not self._held:
                self._held_since = now()
            self._held.append(state)
        else:
            self._state_pub.publish(convert.to_episode_state(state))

    def _must_wait(self, state: machine.FrameState) -> bool:
        return (
            state.phase is machine.Phase.RUNNING
            and state.mode is machine.Mode.TRAINING
            and self.sent >= self._limit
            and now() - self._trainer_at < TRAINER_SILENCE
        )

    def _pace(self) -> None:
        while self._held:
            overdue = now() - self._held_since > self.config.pacing_timeout
            if not overdue and len(self._held) == 1 and self._must_wait(self._held[0]):
                return
            self.unpaced += overdue
            self._state_pub.publish(convert.to_episode_state(self._held.popleft()))

    def _complain(self, fault: str) -> None:
        self._fault = fault
        self.get_logger().error(fault, throttle_duration_sec=5.0)


def main() -> None:
    """Run the episode manager."""
    run_main(EpisodeManagerNode)


if __name__ == '__main__':
    main()
