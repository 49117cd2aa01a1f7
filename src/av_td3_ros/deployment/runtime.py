"""
An exported policy that acts: observation in, action out, by ONNX Runtime or torch.

Whatever engine runs it, it must choose the actions that were chosen at the export: that is checked
on the probe of the artefact each time it is loaded, which warms it up as well. ONNX Runtime needs
no torch, and nothing here imports it.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Protocol, Tuple, Union

import numpy as np

from av_td3_ros.datatypes import ACTION_SIZE, check_range, SpecError
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.artefact import Artefact
from av_td3_ros.deployment.description import ArtefactError, check_observation
from av_td3_ros.task_config import ObservationConfig

ENGINES = ('onnx', 'torch')
# Largest difference of an action from the one of the export.
TOLERANCE = 1e-4
# The first runs of an engine make its buffers and choose its kernels.
WARM_UP_ROUNDS = 5


class OutputError(SpecError):
    """An action that is not finite: the vehicle must brake."""


class Engine(Protocol):
    """Runs a network on one observation; both arrays are as the artefact describes them."""

    def run(self, image: np.ndarray, vector: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """
        Run it.

        :param image: (1, stack, height, width) uint8.
        :param vector: (1, n) float32.
        :returns: action and the same before its tanh, (1, 2) float32 each.
        """


def make_engine(artefact: Artefact, name: str, threads: int = 1) -> Any:
    """
    Make an engine for an artefact.

    :param name: of ``ENGINES``. :param threads: of its computations.
    :raises ArtefactError: where it does not take the artefact, or is not installed.
    """
    if name not in ENGINES:
        raise ArtefactError(f'engine must be one of {", ".join(ENGINES)}, got {name!r}')
    if threads < 1:
        raise ArtefactError(f'threads of the engine must be >= 1, got {threads}')
    try:
        module = import_module(f'av_td3_ros.deployment.{name}_engine')
    except ImportError as error:
        other = next(other for other in ENGINES if other != name)
        package = 'onnxruntime' if name == 'onnx' else 'torch'
        raise ArtefactError(
            f'engine {name} must have {package}, got {type(error).__name__}: {error}; pip install '
            f'{package}, or take engine {other}'
        ) from None
    return module.Engine(artefact, threads)


class Runtime:
    """
    A policy that drives; it does not explore and learns nothing.

    ``difference``: the largest of an action on the probe from that of the export.
    """

    ready = True

    def __init__(self, artefact: Artefact, engine: str = 'onnx', threads: int = 1) -> None:
        """
        Make the engine, warm it up and check it on the probe.

        :param engine: 'onnx' or 'torch'.
        :param threads: of its computations; with torch, those of the whole process.
        :raises ArtefactError: where the engine refuses the artefact, or acts otherwise than at the
            export.
        """
        self.artefact = artefact
        self.engine = engine
        self.spec = artefact.description.spec
        self._run = make_engine(artefact, engine, threads).run
        self.difference = self._check_probe()

    @classmethod
    def load(
        cls,
        path: Union[str, Path],
        engine: str = 'onnx',
        observation: Optional[ObservationConfig] = None,
        threads: int = 1,
    ) -> 'Runtime':
        """
        Load an artefact.

        :param observation: what observations are like here; None takes what it was trained with.
        :raises ArtefactError: where the file, its specification or the engine does not fit.
        """
        artefact = files.read(path)
        if observation is not None:
            check_observation(artefact.description.observation, observation)
        return cls(artefact, engine, threads)

    @property
    def version(self) -> int:
        """Version of the policy in its run."""
        return self.artefact.description.version

    @property
    def period(self) -> float:
        """Time between two observations in training, s."""
        return self.artefact.description.camera.period

    def begin_episode(self) -> None:
        """Forget nothing: the frames of the stack are all its memory."""

    def act(
        self, image: np.ndarray, vector: np.ndarray, explore: bool = False
    ) -> Tuple[float, float]:
        """
        Choose the action.

        :param image: (stack, height, width) uint8, grey, oldest first.
        :param vector: (n,) float32, each in [-1, 1].
        :param explore: is not listened to.
        :returns: (steering, acceleration), each in [-1, 1].
        :raises SpecError: where the observation is another one, or its vector not finite or beyond
            [-1, 1].
        :raises OutputError: where the action is not finite.
        """
        self._check(image, vector)
        action, pre_tanh = self._run(image[np.newaxis], vector[np.newaxis])
        # The tanh of infinity is 1: an overflow shows only before it.
        if not (np.isfinite(pre_tanh).all() and np.isfinite(action).all()):
            raise OutputError(
                f'action of the policy must be finite, got {action.ravel().tolist()} from '
                f'{pre_tanh.ravel().tolist()} before the tanh; the observation or the policy is '
                'at fault'
            )
        return float(action[0, 0]), float(action[0, 1])

    def _check(self, image: np.ndarray, vector: np.ndarray) -> None:
        if image.shape != self.spec.image_shape or image.dtype != np.uint8:
            raise SpecError(
                f'image must be {self.spec.image_shape} uint8, got {image.shape} {image.dtype}; '
                'check observation in perception.param.yaml'
            )
        if vector.shape != (self.spec.vector_size,) or vector.dtype != np.float32:
            raise SpecError(
                f'observation vector must be ({self.spec.vector_size},) float32, got '
                f'{vector.shape} {vector.dtype}; check observation in perception.param.yaml'
            )
        check_range(self.spec, vector)

    def _check_probe(self) -> float:
        probe = self.artefact.probe
        for _ in range(WARM_UP_ROUNDS):
            actions = [self.act(image, vector) for image, vector in zip(probe.image, probe.vector)]
        difference = float(
            np.abs(np.asarray(actions).reshape(-1, ACTION_SIZE) - probe.action).max()
        )
        if not difference <= TOLERANCE:
            raise ArtefactError(
                f'{self.artefact.path}: engine {self.engine} must act as at the export, within '
                f'{TOLERANCE:g}, got a difference of {difference:g}; take the other engine or '
                'other versions of its packages'
            )
        return difference
