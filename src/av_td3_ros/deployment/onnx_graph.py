"""
A policy as an ONNX graph: uint8 image and vector in, action out, the normalisation inside.

``torch.onnx`` traces the very module that drives in the training; nothing is written twice.
"""

from contextlib import contextmanager
import copy
import logging
from typing import Any, Iterator, Tuple
import warnings

import torch
from torch import nn, Tensor

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.deployment.description import ArtefactError, INPUTS, OUTPUTS, shown
from av_td3_ros.td3.networks import Policy

# Old enough for every ONNX Runtime of a supported Python, new enough for every encoder.
OPSET = 18
DESCRIPTION = 'av_td3'


class _Graph(nn.Module):
    """What the graph computes."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).cpu().requires_grad_(False).eval()
        self.policy.encoder.channels_last = False  # a matter of torch's speed alone

    def forward(self, image: Tensor, vector: Tensor) -> Tuple[Tensor, Tensor]:
        pre_tanh, action = self.policy.actor(self.policy.encoder(image), vector)
        return action, pre_tanh


def to_onnx(policy: Policy, spec: ObsSpec, description: str) -> bytes:
    """
    Return the graph of a policy.

    :param description: JSON that the graph carries in its metadata, under ``av_td3``.
    :raises ArtefactError: where ``torch.onnx`` does not know a part of the policy.
    """
    example = (
        torch.zeros(1, *spec.image_shape, dtype=torch.uint8),
        torch.zeros(1, spec.vector_size),
    )
    try:
        with _silence():
            program = torch.onnx.export(
                _Graph(policy),
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ArtefactError(
            'every part of the policy must have an ONNX form, got '
            f'{shown(" ".join(str(error).split()))}; choose another '
            'trainer.learner.network.encoder'
        ) from None
    model = program.model_proto
    _forget_this_machine(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = DESCRIPTION, description
    return model.SerializeToString(deterministic=True)


def _forget_this_machine(model: Any) -> None:
    """Remove what tracing noted down: source files with their paths, and lines."""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = model.doc_string = ''
    del graph.metadata_props[:]
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for item in part:
            item.doc_string = ''
            del item.metadata_props[:]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's remarks about packages that nobody needs from the user."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
