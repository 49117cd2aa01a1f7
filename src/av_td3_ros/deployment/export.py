"""
From a checkpoint to an artefact: traced, described, and proved equal before it is given away.

The same checkpoint makes the same bytes: nothing of the time, the machine or the folder of the run
goes in.
"""

from dataclasses import asdict
import hashlib
from importlib import metadata
import json
from pathlib import Path
from typing import Any, Dict, Tuple, Union

import numpy as np
import torch

from av_td3_ros.config import RunConfig
from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.artefact import Artefact, Probe
from av_td3_ros.deployment.description import canonical, describe, TrainingCamera
from av_td3_ros.deployment.onnx_graph import to_onnx
from av_td3_ros.deployment.runtime import ENGINES, Runtime
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.options import build
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.networks import Policy

PROBES = 8
# What says where a run was, not how it was trained.
PLACES = (
    ('trainer', 'run_dir'),
    ('trainer', 'resume'),
    ('policy', 'checkpoint'),
    ('policy', 'artefact'),
    ('perception', 'artefact'),
    ('perception', 'checkpoint'),
)
PACKAGES = ('av_td3_ros', 'torch', 'onnx', 'onnxscript', 'onnxruntime', 'numpy')


def export(source: Union[str, Path], config: RunConfig) -> Tuple[bytes, float]:
    """
    Make the artefact of a run.

    :param source: a run folder, whose newest whole checkpoint is taken, or a checkpoint folder.
    :param config: what the run was trained with; its camera is that of the simulator section.
    :returns: its bytes, proved to act as the policy does with both engines; the largest difference
        of an action.
    :raises CheckpointError: where there is no whole checkpoint, or it sees something else.
    :raises ArtefactError: where the policy has no ONNX form, or the form acts otherwise.
    """
    folder = checkpoint.find(source)
    loaded = checkpoint.load_policy(folder, config.observation.spec())
    info = json.loads((folder / checkpoint.INFO).read_text())
    network = build(NetworkConfig, info['spec']['network'], str(folder / checkpoint.INFO))
    raw = describe(
        loaded.version,
        config.observation,
        TrainingCamera.of(config.simulator),
        network,
        provenance(folder.resolve(), info, config),
    )
    weights = {
        name: tensor.detach().cpu().numpy() for name, tensor in loaded.policy.state_dict().items()
    }
    graph = to_onnx(loaded.policy, loaded.obs_spec, canonical(raw))
    data = files.pack(raw, weights, graph, make_probe(loaded.policy, loaded.obs_spec))
    return data, prove(files.unpack(data))


def provenance(folder: Path, info: Dict[str, Any], config: RunConfig) -> Dict[str, Any]:
    """
    Return where a policy comes from.

    :param folder: of its checkpoint, below ``checkpoints/`` of its run.
    :param info: of its checkpoint.
    """
    settings = asdict(config)
    for section, key in PLACES:
        settings[section].pop(key, None)
    return {
        'run': folder.parents[1].name,
        'checkpoint': folder.name,
        'env_steps': info['env_step'],
        'updates': info['update'],
        'seed': config.trainer.seed,
        'map': config.simulator.map,
        'checkpoint_sha256': info['sha256'][checkpoint.POLICY],
        'config_sha256': hashlib.sha256(canonical(settings).encode()).hexdigest(),
        'config': settings,
        'versions': {name: _version(name) for name in PACKAGES},
    }


def make_probe(policy: Policy, spec: ObsSpec) -> Probe:
    """Return observations of every kind, black to white to noise, and the policy's actions."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (PROBES, *spec.image_shape), np.uint8)
    image[0], image[1] = 0, 255
    # A frame that gets brighter downwards, and a stack that does so over time.
    image[2] = np.linspace(0, 255, spec.height).astype(np.uint8)[:, np.newaxis]
    image[3] = np.linspace(0, 255, spec.stack).astype(np.uint8)[:, np.newaxis, np.newaxis]
    vector = rng.uniform(-1.0, 1.0, (PROBES, spec.vector_size)).astype(np.float32)
    vector[0] = 0.0
    # One by one, as they are driven: a batch is added up in another order.
    action = [
        policy.act(torch.tensor(image[i : i + 1]), torch.tensor(vector[i : i + 1])).numpy()
        for i in range(PROBES)
    ]
    return Probe(image, vector, np.concatenate(action))


def prove(artefact: Artefact) -> float:
    """
    Load an artefact with every engine, which compares its actions with the policy's.

    :returns: the largest difference of an action.
    :raises ArtefactError: where they differ.
    """
    threads = torch.get_num_threads()
    try:
        return max(Runtime(artefact, engine).difference for engine in ENGINES)
    finally:
        torch.set_num_threads(threads)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return 'unknown'
