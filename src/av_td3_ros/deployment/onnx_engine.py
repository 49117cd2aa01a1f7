"""ONNX Runtime: what a vehicle needs beside NumPy to run an exported policy."""

from typing import Tuple

import numpy as np
import onnxruntime

from av_td3_ros.deployment.artefact import Artefact
from av_td3_ros.deployment.description import ArtefactError, INPUTS, OUTPUTS, shown

# Its errors are raised, too: one sentence is enough.
SILENT = 4


class Engine:
    """Runs the graph of an artefact on the processor."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        """
        Make a session.

        :param threads: of one operator; operators run one after another.
        :raises ArtefactError: where ONNX Runtime refuses the graph, or it is not of this form.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = SILENT
        # Waiting threads sleep: at 20 Hz they would burn the cores of others for nothing.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            self._session = onnxruntime.InferenceSession(
                artefact.onnx, options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # its errors have no base of their own
            raise ArtefactError(
                f'graph of the artefact must run on ONNX Runtime {onnxruntime.__version__}, got '
                f'{shown(" ".join(str(error).split()))}; export the run again'
            ) from None
        self._check(artefact)

    def run(self, image: np.ndarray, vector: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Run it, as ``runtime.Engine`` says."""
        action, pre_tanh = self._session.run(OUTPUTS, {INPUTS[0]: image, INPUTS[1]: vector})
        return action, pre_tanh

    def _check(self, artefact: Artefact) -> None:
        spec = artefact.description.spec
        expected = [
            (INPUTS[0], 'tensor(uint8)', [1, *spec.image_shape]),
            (INPUTS[1], 'tensor(float)', [1, spec.vector_size]),
            *((name, 'tensor(float)', [1, 2]) for name in OUTPUTS),
        ]
        found = [*self._session.get_inputs(), *self._session.get_outputs()]
        got = [(item.name, item.type, list(item.shape)) for item in found]
        if got != expected:
            raise ArtefactError(
                f'graph of the artefact must have {expected}, got {shown(got)}; export the run '
                'again'
            )
