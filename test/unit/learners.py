"""Small learners and random batches for the tests."""

import numpy as np

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.options import build
from av_td3_ros.task_config import PRIVILEGED_NAMES
from av_td3_ros.td3.replay import Batch

SPEC = ObsSpec(2, 36, 36, ('speed', 'steering'))
# Without chance in targets and pictures; and with nothing but the actor in motion.
EXACT = {'target__noise': 0.0, 'shift_pad': 0}
STILL = {'optimiser__critic_lr': 0.0, 'optimiser__encoder_lr': 0.0}
TINY = {
    'batch_size': 16,
    'network.feature_size': 16,
    'network.hidden_1': 16,
    'network.hidden_2': 16,
    'privileged_critics': False,
    'privileged_loss': 0.0,
}
# Nothing of it is in the vector of SPEC.
SEEING = {'privileged_critics': True, 'privileged_loss': 1.0}
PRIVILEGED = len(PRIVILEGED_NAMES)


def small(**changed):
    """Return a config of tiny networks; ``target__noise=0.0`` sets ``target.noise``."""
    values = {key.replace('__', '.'): value for key, value in changed.items()}
    return build(LearnerConfig, {**TINY, **values}, 'the test')


def make_batch(size=16, seed=0, spec=SPEC, privileged=0, **fields):
    """Return random transitions, with privileged entries; fields replace the random ones."""
    rng = np.random.default_rng(seed)

    def image():
        return rng.integers(0, 256, (size, *spec.image_shape), np.uint8)

    def uniform(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    batch = Batch(
        image=image(),
        vector=uniform(size, spec.vector_size + privileged),
        action=uniform(size, 2),
        reward=uniform(size),
        discount=np.full(size, 0.9, np.float32),
        next_image=image(),
        next_vector=uniform(size, spec.vector_size + privileged),
        weight=np.ones(size, np.float32),
        index=np.arange(size),
    )
    return batch._replace(**fields)


def snapshot(module):
    """Return copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    """Return the names of what differs from a snapshot."""
    return {
        name for name, tensor in module.state_dict().items() if not (tensor == before[name]).all()
    }
