"""
The driving task as Gymnasium environments: ``AvTd3Town-v0`` and ``AvTd3TownImage-v0``.

Importing this module registers both; ``gymnasium.make('av_td3_ros.gym_env:AvTd3Town-v0')`` needs
no import. Spaces, rewards, endings and arguments are described in docs/gymnasium.md.

Source of the interface: Towers et al., Gymnasium: A Standard Interface for Reinforcement Learning
Environments, 2024, https://arxiv.org/abs/2407.17032.
"""

from pathlib import Path
import reprlib
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import gymnasium
from gymnasium import spaces
import numpy as np

from av_td3_ros import presets
from av_td3_ros.config import build_run, RunConfig, without_shared_copies
from av_td3_ros.datatypes import ACTION_SIZE, Observation, Outcome
from av_td3_ros.driving.episode import StepResult
from av_td3_ros.driving.route import RoutePosition
from av_td3_ros.options import ConfigError, flatten
from av_td3_ros.sim.env import DrivingEnv

TOWN, TOWN_IMAGE = 'AvTd3Town-v0', 'AvTd3TownImage-v0'
WHERE = 'the arguments of gymnasium.make'
CAMERAS = ('direct', 'training')
VIEW, VIEW_SIZE = 'chase', (640, 360)
SEEDS = 2**31
# What the image alone is trained with: the vector is not even computed.
NO_VECTOR = {
    'observation.speed': False,
    'observation.yaw_rate': False,
    'observation.last_steering': False,
    'observation.lateral_deviation': False,
    'observation.heading_error': False,
    'observation.waypoints': 0,
}


class TownEnv(gymnasium.Env):
    """
    Follow a route through a town to its goal, seeing the road and a short vector.

    Observation: {'image': (stack, height, width) uint8, 'vector': (n,) float32 in [-1, 1]}.
    Action: (2,) float32 in [-1, 1], [steering (left positive), throttle (positive) or brake].
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 20}

    def __init__(
        self,
        map: Optional[str] = None,
        vehicles: Optional[int] = None,
        weather: Optional[str] = None,
        max_steps: Optional[int] = None,
        camera: str = 'direct',
        config: Union[str, Path, Mapping[str, Any], None] = None,
        render_mode: Optional[str] = None,
        **settings: Any,
    ) -> None:
        """
        Load the map; what is not given keeps the value of ``config`` or its default.

        :param map: 'town', 'random_town:SEED' (or FIRST-LAST) or the path of an OpenDRIVE file
            (``simulator.map``).
        :param vehicles: other vehicles (``simulator.vehicles``).
        :param weather: name of a preset, or 'random' (``simulator.weather``).
        :param max_steps: steps until truncation (``episode_manager.termination.max_steps``).
        :param camera: 'direct' renders at the size of the observation, without a crop; 'training'
            is the camera and crop of ``av-td3 train``, slower. ``config`` and ``settings`` go
            before it.
        :param config: settings as a mapping, or a YAML file such as config.yaml of a run.
        :param render_mode: None, or 'rgb_array' for what follows the vehicle.
        :param settings: any other setting by its dotted key, as in ``--set``.
        :raises ConfigError: where one of these is unknown, of another type or out of range.
        :raises MapError: where the map cannot be read.
        """
        if render_mode not in (None, *self.metadata['render_modes']):
            raise ConfigError(
                f"render_mode must be None or 'rgb_array', got {render_mode!r}; fix it in {WHERE}"
            )
        named = {
            'simulator.map': map,
            'simulator.vehicles': vehicles,
            'simulator.weather': weather,
            'episode_manager.termination.max_steps': max_steps,
        }
        given = {key: value for key, value in named.items() if value is not None}
        run = self._run_config(camera, config, {**given, **settings})
        self.render_mode = render_mode
        self.metadata = {
            **self.metadata,
            'render_fps': max(round(1.0 / run.simulator.fixed_delta_seconds), 1),
        }
        spec = run.observation.spec()
        self.observation_space = self._space(
            spaces.Box(0, 255, spec.image_shape, np.uint8),
            spaces.Box(-1.0, 1.0, (spec.vector_size,), np.float32),
        )
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self._running = False
        self._run = run
        self._driving: Optional[DrivingEnv] = DrivingEnv(run)

    def reset(
        self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
    ) -> Tuple[Any, Dict[str, Any]]:
        """
        Put the vehicle at rest at the start of a new random route.

        :param seed: of this and the following episodes; None goes on with the last one.
        :param options: there are none.
        :returns: observation, info.
        :raises ConfigError: for any option.
        """
        super().reset(seed=seed)
        if options:
            raise ConfigError(f'options of reset must be empty, got {options}; use gymnasium.make')
        if self._driving is None:
            self._driving = DrivingEnv(self._run)
        obs = self._driving.reset(seed=int(self.np_random.integers(SEEDS)))
        self._running = True
        return self._seen(obs), _facts(self._driving, self._driving.episode.position)

    def step(self, action: np.ndarray) -> Tuple[Any, float, bool, bool, Dict[str, Any]]:
        """
        Drive one tick; what is beyond [-1, 1] is clipped, as before the vehicle bus.

        :param action: (2,) float32, [steering, throttle or brake].
        :returns: observation, reward, terminated, truncated, info.
        :raises gymnasium.error.ResetNeeded: before the first reset and after the end of an
            episode.
        :raises gymnasium.error.InvalidAction: for another shape, or what is no finite number.
        """
        if self._driving is None or not self._running:
            raise gymnasium.error.ResetNeeded(
                'an episode must be running, got a step before a reset or after an end; call '
                'reset()'
            )
        obs, driven, result = self._driving.step(_checked(action))
        self._running = result.outcome is Outcome.CONTINUES
        return (
            self._seen(obs),
            float(result.reward),
            result.outcome is Outcome.TERMINATED,
            result.outcome is Outcome.TRUNCATED,
            {**_facts(self._driving, result.position), **_verdict(result, driven)},
        )

    def render(self) -> Optional[np.ndarray]:
        """Return what follows the vehicle, (360, 640, 3) uint8 RGB; None without render_mode."""
        if self.render_mode is None:
            return None
        return self.driving.world.view(VIEW, *VIEW_SIZE)

    @property
    def driving(self) -> DrivingEnv:
        """
        The world and the episode that run now, as an expert needs them.

        :raises gymnasium.error.ResetNeeded: after ``close``.
        """
        if self._driving is None:
            raise gymnasium.error.ResetNeeded('a world must be open, got none; call reset()')
        return self._driving

    def close(self) -> None:
        """Release the world; more than once is fine, and a reset opens it again."""
        self._running = False
        if self._driving is not None:
            self._driving.close()
            self._driving = None

    # -- what the image-only variant changes ------------------------------------------------------

    @staticmethod
    def _defaults() -> Dict[str, Any]:
        return {}

    @staticmethod
    def _space(image: spaces.Box, vector: spaces.Box) -> spaces.Space:
        return spaces.Dict({'image': image, 'vector': vector})

    @staticmethod
    def _seen(obs: Observation) -> Any:
        return {'image': obs.image, 'vector': obs.vector}

    # ---------------------------------------------------------------------------------------------

    def _run_config(
        self,
        camera: str,
        config: Union[str, Path, Mapping[str, Any], None],
        settings: Dict[str, Any],
    ) -> RunConfig:
        if camera not in CAMERAS:
            raise ConfigError(
                f'camera must be one of {", ".join(CAMERAS)}, got {camera!r}; fix it in {WHERE}'
            )
        if isinstance(config, (str, Path)):
            config = presets.read_yaml(Path(config))
        elif not isinstance(config, (Mapping, type(None))):
            raise ConfigError(
                'config must be a mapping of settings or the path of a YAML file, got '
                f'{reprlib.repr(config)}; fix it in {WHERE}'
            )
        values = {**self._defaults(), **without_shared_copies(flatten(config or {})), **settings}
        if camera == 'direct':
            size = RunConfig().observation
            values.setdefault('observation.crop_top', 0.0)
            for axis in ('width', 'height'):
                pixels = values.get(f'observation.{axis}', getattr(size, axis))
                values.setdefault(f'simulator.image_{axis}', pixels)
        return build_run(values, WHERE)


class TownImageEnv(TownEnv):
    """The same task by the image alone: (stack, height, width) uint8."""

    @staticmethod
    def _defaults() -> Dict[str, Any]:
        return dict(NO_VECTOR)

    @staticmethod
    def _space(image: spaces.Box, vector: spaces.Box) -> spaces.Space:
        return image

    @staticmethod
    def _seen(obs: Observation) -> Any:
        return obs.image


def _checked(action: Any) -> np.ndarray:
    try:
        numbers = np.asarray(action, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (ACTION_SIZE,) or not np.isfinite(numbers).all():
        raise gymnasium.error.InvalidAction(
            f'an action must be {ACTION_SIZE} finite numbers, [steering, throttle or brake], got '
            f'{reprlib.repr(action)}'
        )
    return numbers


def _facts(driving: DrivingEnv, position: RoutePosition) -> Dict[str, Any]:
    episode = driving.episode
    return {
        'route_length': episode.route.length,
        'route_completion': episode.route_completion,
        'speed': driving.world.state.speed,
        'lateral_deviation': position.lateral_deviation,
        'heading_error': position.heading_error,
        'collisions': episode.measures.collisions,
        'lane_invasions': episode.measures.lane_invasions,
    }


def _verdict(result: StepResult, driven: Tuple[float, float]) -> Dict[str, Any]:
    return {
        'reward_terms': dict(result.terms),
        'driven_action': np.array(driven, np.float32),
        'outcome': result.outcome.name.lower(),
        'reason': result.reason,
        'is_success': result.reason == 'goal',
    }


for _id, _class in ((TOWN, TownEnv), (TOWN_IMAGE, TownImageEnv)):
    if _id not in gymnasium.registry:
        gymnasium.register(_id, f'{__name__}:{_class.__name__}')
