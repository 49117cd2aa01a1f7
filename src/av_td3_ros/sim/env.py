"""
The driving task in one process: the simulator, the observation, the reward, without ROS.

The same preprocessing, scoring and endings as the graph; only the transport differs.
"""

from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import Observation
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.actuation import to_control
from av_td3_ros.driving.command_gate import CommandGate
from av_td3_ros.driving.episode import Episode, StepResult, SUMMARY
from av_td3_ros.sim.world import World


class DrivingEnv:
    """
    Follow a route from a random start to its goal.

    Action: [steering, acceleration] in [-1, 1]. Observation: :class:`Observation`. An episode ends
    as ``TerminationConfig`` says.
    """

    def __init__(self, config: RunConfig) -> None:
        """:param config: simulator, observation, episode and gate sections are used."""
        self._config = config
        self._period = config.simulator.fixed_delta_seconds
        self._rng = np.random.default_rng(config.episode_manager.seed)
        self._stack = preprocess.FrameStack(config.observation.spec())
        self.world = World(config.simulator)
        self.episode_id = 0

    def reset(self, seed: Optional[int] = None) -> Observation:
        """
        Put the vehicle at rest on a new random route and return the first observation.

        :param seed: of all chance from here on; None goes on with what there is.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            self.world.reseed(seed)
        limits = self._config.episode_manager
        route = self.world.road_map.random_route(
            self._rng, limits.route_length_min, limits.route_length_max
        )
        self.world.teleport(route.start)
        self.world.shown_route = route.points
        self.world.set_velocity(0.0, 0.0)
        self._gate = CommandGate(self._config.policy.gate, self._period)
        self.episode = Episode(limits, route, self.world.state, self._period)
        self._tracker = route.tracker()
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
        )
        self.episode.lane_invasions += bool(self.world.lane_invasions)
        return self._observe(gated[0], fresh=False), gated, result

    def summary(self, result: StepResult) -> Dict[str, Any]:
        """Return the finished episode as a row for ``episodes.csv``."""
        episode = self.episode
        row = {
            'episode_id': self.episode_id,
            'mode': 0,
            'outcome': result.outcome.name.lower(),
            'reason': result.reason,
        }
        row.update({name: getattr(episode, name) for name in SUMMARY})
        row['route_length'] = episode.route.length
        row.update({f'reward_{name}': value for name, value in episode.term_sums.items()})
        return row

    def close(self) -> None:
        """Close the renderer."""
        self.world.close()

    def _observe(self, steering: float, fresh: bool) -> Observation:
        frame = preprocess.grey_frame(self.world.image(), self._config.observation)
        image = self._stack.reset(frame) if fresh else self._stack.push(frame)
        vector, _ = preprocess.state_vector(
            self._config.observation, self.world.state, steering, self._tracker
        )
        return Observation(image, vector)
