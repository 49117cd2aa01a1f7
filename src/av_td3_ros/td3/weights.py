"""
Weights that travel: a policy as bytes, with hash, specification and every check.

The bytes are safetensors, never pickle: reading them can run no code.
"""

from dataclasses import asdict, fields
import functools
import hashlib
import json
from typing import Any, Mapping, NamedTuple, Tuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from av_td3_ros.datatypes import ACTION_NAMES, ObsSpec
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.options import build, ConfigError
from av_td3_ros.td3.networks import Policy

FORMAT = 4
MAX_BYTES, MAX_SPEC = 256 * 2**20, 100_000
# A run counts its versions from 1; from one message to the next they rise by less than this.
FIRST, LARGEST_RISE = 1, 1_000_000
PROBE_SIZE = 4


class WeightsError(ValueError):
    """Weights that must not drive; the text says what, got and expected."""


class PackedPolicy(NamedTuple):
    """A policy ready to travel; the fields are those of ``av_td3_msgs/PolicyWeights``."""

    version: int
    sha256: str
    spec: str
    tensors: bytes


def pack(
    policy: Policy, obs_spec: ObsSpec, config: NetworkConfig, version: int = 0
) -> PackedPolicy:
    """
    Make a policy ready to travel.

    :param policy: its parameters are copied; nothing else may change them meanwhile.
    :param obs_spec: what it sees.
    :param config: what its networks are made of.
    :param version: its number in the run.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()
    }
    data = safetensors.torch.save(tensors)
    return PackedPolicy(version, sha256(data), spec_json(obs_spec, config), data)


def admit(version: int, driving: int, size: int, spec_size: int) -> None:
    """
    Check what can be told of weights before they are copied.

    :param version: theirs. Versions rise; the first begins a new run.
    :param driving: that of the weights that drive; 0 where there are none.
    :param size: of the tensors, bytes.
    :param spec_size: of the specification, characters.
    :raises WeightsError: where they are too large, or older than what drives.
    """
    if size > MAX_BYTES:
        raise WeightsError(f'weights must have at most {MAX_BYTES} bytes, got {size}')
    if spec_size > MAX_SPEC:
        raise WeightsError(
            f'specification must have at most {MAX_SPEC} characters, got {spec_size}'
        )
    if version == FIRST or driving == 0 and version > 0:
        return
    if not 0 < version - driving <= LARGEST_RISE:
        raise WeightsError(
            f'version must rise, by {LARGEST_RISE} at most, got {version} while {driving} drives; '
            f'a new run begins with {FIRST}'
        )


def unpack(tensors: bytes, sha256: str, spec: str, expected_obs_spec: ObsSpec) -> Policy:
    """
    Check weights whole, cheapest check first, and make the policy.

    :param tensors: safetensors.
    :param sha256: hexadecimal digest of ``tensors``.
    :param spec: JSON of :func:`spec_json`.
    :param expected_obs_spec: what the observations here look like.
    :returns: a policy on the CPU, without gradients.
    :raises WeightsError: with one line for the first check that fails.
    """
    admit(FIRST, 0, len(tensors), len(spec))
    _check_hash(tensors, sha256)
    network = _check_spec(spec, expected_obs_spec)
    try:
        state = safetensors.torch.load(tensors)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f'weights must be a safetensors file, got {_one_line(error)}') from None
    with torch.device('meta'):  # shapes only: nothing is allocated or initialised twice
        policy = Policy(expected_obs_spec, network)
    _check_tensors(state, policy.state_dict())
    policy.load_state_dict(state, assign=True)
    policy.requires_grad_(False)
    _check_probe(policy)
    return policy


def spec_json(obs_spec: ObsSpec, config: NetworkConfig) -> str:
    """Return the observation, action and network specification as JSON."""
    return json.dumps(
        {
            'format': FORMAT,
            'observation': obs_spec.to_dict(),
            'action': list(ACTION_NAMES),
            'network': asdict(config),
        },
        sort_keys=True,
    )


def sha256(data: bytes) -> str:
    """Return the hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def _check_hash(tensors: bytes, expected: str) -> None:
    got = sha256(tensors)
    if got != expected:
        raise WeightsError(f'hash must be {_shown(expected)}, got {got}; the bytes were damaged')


def _check_spec(text: str, expected: ObsSpec) -> NetworkConfig:
    """Return what the networks are made of."""
    try:
        spec = json.loads(text)
        if spec['format'] != FORMAT:
            raise WeightsError(f'format must be {FORMAT}, got {_shown(spec["format"])}')
        action, network = spec['action'], dict(spec['network'])
        obs_spec = ObsSpec.from_dict(spec['observation'])
    except WeightsError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f'specification is unreadable: {_one_line(error)}') from None
    if obs_spec != expected:
        raise WeightsError('observation must be ' + _difference(expected, obs_spec))
    if action != list(ACTION_NAMES):
        raise WeightsError(f'action must be {list(ACTION_NAMES)}, got {_shown(action)}')
    known = [item.name for item in fields(NetworkConfig)]
    if sorted(network) != sorted(known):
        raise WeightsError(f'network must name {sorted(known)}, got {_shown(sorted(network))}')
    try:
        return build(NetworkConfig, network, 'the specification of the weights')
    except ConfigError as error:
        raise WeightsError(str(error)) from None


def _check_tensors(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name in sorted(set(got) | set(expected)):
        if name not in got:
            raise WeightsError(f'tensor {name} must be there, got none')
        if name not in expected:
            raise WeightsError(f'tensor {_shown(name)} must not be there; the network has none')
        have, want = got[name], expected[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            raise WeightsError(
                f'tensor {name} must be {tuple(want.shape)} {want.dtype}, got '
                f'{tuple(have.shape)} {have.dtype}'
            )
        if not np.isfinite(have.numpy()).all():  # torch takes ten times as long
            raise WeightsError(f'tensor {name} must be finite, got NaN or infinity')


def _check_probe(policy: Policy) -> None:
    """Finite weights can still overflow on the way: try them on noise, black and white."""
    image, vector = _probe(policy.obs_spec)
    with torch.no_grad():
        pre_tanh, action = policy.actor(policy.encoder(image), vector)
    # The tanh of infinity is 1: an overflow shows only before it.
    if not bool(torch.isfinite(pre_tanh).all() and (action.abs() <= 1.0).all()):
        raise WeightsError(
            'actions on a probe batch must be finite and in [-1, 1], got '
            f'{pre_tanh.flatten().tolist()[:4]} ... before the tanh'
        )


@functools.lru_cache(maxsize=4)
def _probe(spec: ObsSpec) -> Tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(
        0, 256, (PROBE_SIZE, *spec.image_shape), dtype=torch.uint8, generator=generator
    )
    image[0], image[1] = 0, 255
    return image, 2.0 * torch.rand((PROBE_SIZE, spec.vector_size), generator=generator) - 1.0


def _difference(expected: ObsSpec, got: ObsSpec) -> str:
    want, have = expected.to_dict(), got.to_dict()
    return ', '.join(
        f'{key} {_shown(want[key])}, got {_shown(have[key])}'
        for key in want
        if want[key] != have[key]
    )


def _shown(value: Any, limit: int = 200) -> str:
    """Return a value as text that is safe in a log line, whatever was sent."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= limit else f'{text[:limit]}...'


def _one_line(error: Exception) -> str:
    return _shown(f'{type(error).__name__}: {error}'.replace('\n', ' '))
