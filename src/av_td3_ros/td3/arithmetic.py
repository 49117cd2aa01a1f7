"""
Which arithmetic the encoders use, chosen by measurement; how many threads; and memory
that the process keeps.

bf16 halves the work of a convolution where the processor has it and multiplies it where it has
not; the faster memory layout differs from processor to processor, too. So both are tried out.
"""

import ctypes
import os
import platform
import time
from typing import Dict, List, NamedTuple, Tuple

import torch

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.options import ConfigError
from av_td3_ros.td3.networks import Encoder

ROUNDS = 5
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MAX_THREADS = 4
LARGEST_KEPT = 32 * 2**20  # glibc takes no more
KEPT_ON_TOP = 512 * 2**20


class Arithmetic(NamedTuple):
    """
    How encoders compute.

    ``precision``: 'fp32' or 'bf16'. ``channels_last``: layout of the pixels in memory.
    """

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        """Return it as shown to people."""
        return f'{self.precision}, {"channels last" if self.channels_last else "channels first"}'


FP32 = Arithmetic('fp32', True)
CANDIDATES = (FP32, Arithmetic('bf16', True), Arithmetic('bf16', False))


def require_device(device: str) -> None:
    """
    Refuse a device that this torch, or this machine, has not.

    :raises ConfigError: where it has not; with what torch says.
    """
    if device == 'cpu':
        return
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"trainer.device must be one that torch can use here, got '{device}': {error}; set it "
            'to cpu (device in trainer.param.yaml); a GPU needs its driver and a torch for CUDA'
        ) from None


def choose(
    obs_spec: ObsSpec, config: NetworkConfig, batch_size: int, wanted: str, device: str
) -> Tuple[Arithmetic, Dict[Arithmetic, float]]:
    """
    Return the fastest arithmetic of a kind here, and the time of an encoder pass in each, in s.

    :param wanted: 'auto', 'fp32' (nothing is measured: there is one) or 'bf16'.
    :param batch_size: images in a pass.
    """
    allowed = [item for item in CANDIDATES if wanted in ('auto', item.precision)]
    if len(allowed) == 1:
        return allowed[0], {}
    encoder = Encoder(obs_spec.image_shape, config).to(device)
    image = torch.zeros(batch_size, *obs_spec.image_shape, dtype=torch.uint8, device=device)
    times: Dict[Arithmetic, List[float]] = {item: [] for item in allowed}
    for _ in range(ROUNDS):
        for item in allowed:  # in turns, so that a busy moment does not meet one alone
            times[item].append(_pass_time(encoder, image, item))
    best = {item: min(values[1:]) for item, values in times.items()}  # the first one warms up
    return min(best, key=lambda item: best[item]), best


def autocast(arithmetic: Arithmetic, device: torch.device) -> torch.autocast:
    """Return the context in which encoders run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=arithmetic.precision == 'bf16')


def default_threads() -> int:
    """
    Return the torch threads of a learner that shares its cores: one core is the simulation's.

    A thread more is slower: where two threads wait for each other and a third process runs, both
    wait for that process.
    """
    return max(1, min(len(os.sched_getaffinity(0)) - 1, MAX_THREADS))


def keep_memory() -> None:
    """
    Let the allocator keep what it frees: handing 10 MB back and faulting them in again costs as
    much as a convolution. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] == 'glibc':
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_ON_TOP)


def _pass_time(encoder: Encoder, image: torch.Tensor, arithmetic: Arithmetic) -> float:
    """Time one target pass and one trained pass, as an update makes them."""
    encoder.channels_last = arithmetic.channels_last
    _wait(image.device)
    begun = time.perf_counter()
    with autocast(arithmetic, image.device):
        with torch.no_grad():
            encoder(image)
    # Of its own: within one context some versions of torch keep the weights that the first pass
    # cast without a gradient.
    with autocast(arithmetic, image.device):
        loss = encoder(image).sum()
    loss.backward()
    encoder.zero_grad()
    _wait(image.device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
