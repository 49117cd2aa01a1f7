"""Small policies and their artefacts for the tests."""

from dataclasses import replace

import numpy as np

from av_td3_ros.config import build_run
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.artefact import Probe
from av_td3_ros.deployment.description import canonical, describe, TrainingCamera
from av_td3_ros.deployment.export import make_probe
from av_td3_ros.deployment.onnx_graph import to_onnx
from av_td3_ros.td3.agent import TD3
from small_runs import SMALL


def run_config(**values):
    """Return the config of a small run; ``observation__stack=2`` sets ``observation.stack``."""
    changed = {key.replace('__', '.'): value for key, value in values.items()}
    return build_run({**SMALL, **changed}, 'the test')


def lively(config, seed=0):
    """Return an untrained policy whose actions differ from picture to picture."""
    policy = TD3(config.observation.spec(), config.trainer.learner, seed=seed).policy
    last = policy.actor.layers[-1].weight
    last.data *= 1.0 / last.data.abs().max()
    return policy


def packed(config, policy, probe=None, graph_of=None, training=None, **changed):
    """
    Return the bytes of an artefact.

    :param probe: other than that of the policy.
    :param graph_of: the policy of the ONNX graph, where it is another one.
    :param changed: parts of the description.
    """
    network = config.trainer.learner.network
    camera = TrainingCamera.of(config.simulator)
    raw = describe(7, config.observation, camera, network, training or {})
    raw.update(changed)
    spec = config.observation.spec()
    weights = {name: tensor.numpy() for name, tensor in policy.state_dict().items()}
    graph = graph_of if isinstance(graph_of, bytes) else None
    graph = graph or to_onnx(graph_of or policy, spec, canonical(raw))
    return files.pack(raw, weights, graph, probe or make_probe(policy, spec))


def dark(config, action=(0.0, 0.0)):
    """Return a probe of one black picture and a vector of noughts."""
    spec = config.observation.spec()
    return Probe(
        np.zeros((1, *spec.image_shape), np.uint8),
        np.zeros((1, spec.vector_size), np.float32),
        np.asarray([action], np.float32),
    )


def observations(spec, count, seed=1):
    """Yield random observations."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.integers(0, 256, spec.image_shape, np.uint8)
        yield image, rng.uniform(-1.0, 1.0, spec.vector_size).astype(np.float32)


def without_vector(config):
    """Return a config whose observation has an empty vector."""
    bare = replace(
        config.observation,
        speed=False,
        last_steering=False,
        lateral_deviation=False,
        heading_error=False,
        waypoints=0,
    )
    return replace(config, observation=bare)
