"""torch: runs the weights of an artefact as the trainer does, and proves the ONNX graph."""

from typing import Tuple

import numpy as np
import safetensors.torch
import torch

from av_td3_ros.deployment.artefact import Artefact
from av_td3_ros.deployment.description import ArtefactError
from av_td3_ros.td3 import weights


class Engine:
    """Runs the policy from the weights of an artefact on the processor."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        """
        Make the policy, with every check that weights from a trainer go through.

        :param threads: of torch in this process, whoever else uses it there.
        :raises ArtefactError: where the weights must not drive.
        """
        torch.set_num_threads(threads)
        described = artefact.description
        tensors = {name: torch.from_numpy(array) for name, array in artefact.weights.items()}
        data = safetensors.torch.save(tensors)
        spec = weights.spec_json(described.spec, described.network)
        try:
            self._policy = weights.unpack(data, weights.sha256(data), spec, described.spec)
        except weights.WeightsError as error:
            raise ArtefactError(f'weights of the artefact cannot drive: {error}') from None

    def run(self, image: np.ndarray, vector: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Run it, as ``runtime.Engine`` says."""
        # The arrays may be read-only views of a message; torch copies them.
        with torch.inference_mode():
            features = self._policy.encoder(torch.tensor(image))
            pre_tanh, action = self._policy.actor(features, torch.tensor(vector))
        return action.numpy(), pre_tanh.numpy()
