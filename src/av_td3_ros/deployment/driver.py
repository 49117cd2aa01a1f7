"""What a vehicle is driven with: an exported policy, a checkpoint, or what a trainer will send."""

from typing import Any, Tuple

from av_td3_ros.config import PolicyConfig
from av_td3_ros.deployment.runtime import Runtime
from av_td3_ros.options import ConfigError


def load_driver(config: PolicyConfig) -> Tuple[Any, int]:
    """
    Load what the settings name; torch is imported only where it is needed.

    :returns: what acts, a ``Runtime`` or a ``td3.behaviour.Behaviour``, and its version.
    :raises ConfigError: where both an artefact and a checkpoint are named, or neither of them
        where no trainer may send weights.
    :raises ArtefactError: where the artefact cannot drive here.
    :raises CheckpointError: where the checkpoint cannot drive here.
    """
    if config.artefact:
        if config.checkpoint:
            raise ConfigError(
                f'one policy must be named, got checkpoint {config.checkpoint} and artefact '
                f'{config.artefact}; leave one empty in policy.param.yaml'
            )
        runtime = Runtime.load(
            config.artefact, config.engine, config.observation, config.engine_threads
        )
        return runtime, runtime.version
    if not config.checkpoint and not config.accept_weights:
        raise ConfigError(
            'a policy must be named, got neither artefact nor checkpoint while accept_weights is '
            'false: nothing could ever drive; name a file of `av-td3 export` as artefact'
        )
    import torch

    from av_td3_ros.td3 import checkpoint
    from av_td3_ros.td3.behaviour import Behaviour

    # One observation is too little to share: beside a learner a second thread only waits.
    torch.set_num_threads(config.engine_threads)
    behaviour, version = Behaviour(config.seed), 0
    if config.checkpoint:
        loaded = checkpoint.load_policy(config.checkpoint, config.observation.spec())
        behaviour.adopt(loaded.policy)
        version = loaded.version
    return behaviour, version
