"""
The driving task in one process: the simulator, the observation, the reward, without ROS.

The same preprocessing, scoring and endings as the graph; only the transport differs.
"""

import math
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import Control, Observation
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.command_gate import CommandGate
from av_td3_ros.driving.commands import Commands
from av_td3_ros.driving.episode import Episode, StepResult
from av_td3_ros.driving.episode_effects import Mode
from av_td3_ros.driving.episode_machine import SETTLED_FRAMES
from av_td3_ros.driving.measures import StepExtras, time_to_collision
from av_td3_ros.driving.route_set import RouteSet
from av_td3_ros.sim.world import SCENERY_ID, World


class DrivingEnv:
    """
    Follow a route from a random start to its goal.

    Action: [steering, acceleration] in [-1, 1]. Observation: :class:`Observation`. An episode ends
    as ``TerminationConfig`` says.
    """

    def __init__(self, config: RunConfig, camera: bool = True) -> None:
        """
        Load the map and choose its routes.

        :param config: simulator, observation, episode and gate sections are used.
        :param camera: whether images are rendered; without, they are black.
        :raises MapError: where there is no such map, or it has no such routes.
        """
        self._config = config
        self._period = config.simulator.fixed_delta_seconds
        self._training = not config.episode_manager.start_in_evaluation
        self._before = config.episode_manager.first_route - 1 if self._training else -1
        self._seed, self._route_number = config.episode_manager.seed, self._before
        self._stack = preprocess.FrameStack(config.observation.spec())
        self._camera = camera
        self.world = World(config.simulator)
        self._routes = RouteSet(config.episode_manager, self.world.road_map)
        self.route_name = ''
        self.episode_id = 0

    def go_on(self, episodes: int) -> None:
        """
        Go on with a run: leave out the routes that it has driven, and draw other weather.

        :param episodes: so many; 0 changes nothing.
        """
        if episodes:
            self._route_number += episodes
            self.world.go_on(episodes)

    def reset(self, seed: Optional[int] = None) -> Observation:
        """
        Put the vehicle at rest on the next route and return the first observation.

        :param seed: of all chance from here on; None goes on with what there is.
        """
        if seed is not None:
            self._seed, self._route_number = seed, self._before
            self.world.reseed(seed)
        self._route_number += 1
        self.route_name, route, _ = self._routes.at(self._route_number, self._seed, self._training)
        self.world.teleport(route.start)
        self.world.shown_route = route.points
        self.world.set_velocity(0.0, 0.0)
        # As in the graph, to the bit: the brake is on while everybody gets ready.
        for _ in range(SETTLED_FRAMES):
            self.world.tick(Control(brake=1.0))
        self._gate = CommandGate(self._config.policy.gate, self._period)
        self._gate.brake()
        self.episode = Episode(self._config.episode_manager, route, self.world.state, self._period)
        self._tracker = route.tracker()
        wanted = self._config.observation.command
        self._commands = Commands(route, self.world.road_map) if wanted else None
        self.episode_id += 1
        return self._observe(0.0, fresh=True)

    def step(self, action: Sequence[float]) -> Tuple[Observation, Tuple[float, float], StepResult]:
        """
        Drive one tick.

        :param action: [steering, acceleration] in [-1, 1].
        :returns: the observation, the action that the command gate let through, the verdict.
        """
        gated = self._gate.check(action).action
        self.world.tick(to_control(gated))
        pose = self.world.state.pose
        result = self.episode.step(
            self.world.state,
            gated[0],
            self.world.road_map.on_road(pose.x, pose.y),
            bool(self.world.collisions),
            self._extras(),
        )
        return self._observe(gated[0], fresh=False), gated, result

    def summary(self, result: StepResult) -> Dict[str, Any]:
        """Return the finished episode as a row for ``RunFolder.add_episode``."""
        episode = self.episode
        row = {
            'episode_id': self.episode_id,
            'mode': int(Mode.TRAINING if self._training else Mode.EVALUATION),
            'outcome': result.outcome.name.lower(),
            'reason': result.reason,
        }
        row.update(episode.summary)
        row['route'] = self.route_name
        row['route_length'] = episode.route.length
        row['trail'] = episode.measures.trail.points
        row.update({f'reward_{name}': value for name, value in episode.term_sums.items()})
        return row

    def close(self) -> None:
        """Close the renderer."""
        self.world.close()

    def _extras(self) -> StepExtras:
        world = self.world
        in_traffic = bool(world.traffic.bodies)
        soonest = math.nan
        if in_traffic and not self._training:  # dear with many, and only evaluations read it
            soonest = time_to_collision(world.state, tuple(world.box[3:]), world.others)
        return StepExtras(
            any(hit.other_actor_id != SCENERY_ID for hit in world.collisions),
            bool(world.lane_invasions),
            in_traffic,
            soonest,
        )

    def _observe(self, steering: float, fresh: bool) -> Observation:
        if self._camera:
            frame = preprocess.grey_frame(self.world.image(), self._config.observation)
        else:
            frame = np.zeros(self._config.observation.spec().frame_shape, np.uint8)
        image = self._stack.reset(frame) if fresh else self._stack.push(frame)
        vector, _ = preprocess.state_vector(
            self._config.observation,
            self.world.state,
            steering,
            self._tracker,
            self._commands,
        )
        return Observation(image, vector)
