"""
An exported policy as one file: weights, ONNX graph, description, probe and hash.

The file is safetensors, which any reader of that format opens: the weights under their own names,
the ONNX graph as a row of bytes named ``onnx``, a few observations with the actions that the
policy chose on them as ``probe.*``, and the description as JSON in the metadata. Reading it needs
no torch and can run no code; nothing is unpacked and no path is followed.

The hash is SHA-256 over the whole file with its own 64 digits as noughts: no byte is left out.
"""

import hashlib
import json
from pathlib import Path
import re
from typing import Any, Dict, Mapping, NamedTuple, Union

import numpy as np
import safetensors
import safetensors.numpy

from av_td3_ros.datatypes import ACTION_SIZE
from av_td3_ros.deployment.description import (
    ArtefactError,
    canonical,
    Description,
    FORMAT,
    parse,
    shown,
)
from av_td3_ros.td3.storage import replace_bytes

SUFFIX = '.avtd3'
MAX_BYTES = 512 * 2**20
MAX_HEADER = 16 * 2**20
KEY, ONNX, PROBE = 'av_td3', 'onnx', 'probe.'
NO_HASH = '0' * 64
AGAIN = 'copy or export it again'


class Probe(NamedTuple):
    """
    Observations, and the actions that the policy chose on them when it was exported.

    ``image``: (n, stack, height, width) uint8. ``vector``: (n, m) float32. ``action``: (n, 2)
    float32.
    """

    image: np.ndarray
    vector: np.ndarray
    action: np.ndarray


class Artefact(NamedTuple):
    """
    A whole and checked artefact.

    ``weights``: tensors of the policy by name. ``onnx``: the graph. ``sha256``: of the file.
    """

    path: Path
    sha256: str
    description: Description
    weights: Dict[str, np.ndarray]
    onnx: bytes
    probe: Probe


def pack(
    raw: Mapping[str, Any], weights: Mapping[str, np.ndarray], onnx: bytes, probe: Probe
) -> bytes:
    """
    Return an artefact as bytes; the same contents make the same bytes.

    :param raw: the description, of ``description.describe``.
    :param weights: tensors of the policy by name.
    :param onnx: the graph.
    :param probe: observations and the actions on them.
    """
    tensors = {name: np.asarray(array, order='C') for name, array in weights.items()}
    tensors[ONNX] = np.frombuffer(onnx, np.uint8)
    tensors.update({PROBE + name: array for name, array in probe._asdict().items()})
    text = canonical({**raw, 'sha256': NO_HASH})
    data = safetensors.numpy.save(tensors, {KEY: text})
    digits = hashlib.sha256(data).hexdigest()
    head = 8 + _header_size(data)
    return data[:head].replace(NO_HASH.encode(), digits.encode(), 1) + data[head:]


def write(path: Path, data: bytes) -> None:
    """
    Write an artefact so that a reader finds the old or the new one, whole.

    :raises ArtefactError: where it cannot be written.
    """
    try:
        replace_bytes(path, data)
    except OSError as error:
        raise ArtefactError(
            f'artefact must be written to {path}, got {error.strerror or error}; choose another '
            'file with -o'
        ) from None


def read(path: Union[str, Path]) -> Artefact:
    """
    Read an artefact and check all of it but how it acts, cheapest check first.

    :raises ArtefactError: with one sentence for the first check that fails.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ArtefactError(f'artefact must have at most {MAX_BYTES} bytes, got {size}')
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f'artefact must be a readable file, got {path}: {error.strerror or error}; make one '
            'with `av-td3 export RUN`'
        ) from None
    try:
        return unpack(data, path)
    except ArtefactError as error:
        raise ArtefactError(f'{path}: {error}') from None


def unpack(data: bytes, path: Path = Path()) -> Artefact:
    """
    Check the bytes of an artefact and take them apart.

    :param path: where they come from.
    :raises ArtefactError: as :func:`read`.
    """
    raw = _check_whole(data)
    description = parse(raw)
    try:
        tensors = safetensors.numpy.load(data)
        onnx = tensors.pop(ONNX).tobytes()
        probe = Probe(*(tensors.pop(PROBE + name) for name in Probe._fields))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f'artefact must be whole, got {shown(repr(error))}; {AGAIN}') from None
    _check_probe(probe, description)
    return Artefact(path, raw['sha256'], description, tensors, onnx, probe)


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:8], 'little')


def _check_whole(data: bytes) -> Dict[str, Any]:
    """Return the description of a file that is as it was written."""
    if not data:
        raise ArtefactError(f'artefact must have contents, got an empty file; {AGAIN}')
    size = _header_size(data)
    if len(data) < 8 or not 2 <= size <= MAX_HEADER or data[8:9] != b'{':
        raise ArtefactError(
            'artefact must be a file that `av-td3 export` wrote, got one that begins with '
            f'{shown(data[:12])}; {AGAIN}'
        )
    if len(data) < 8 + size:
        raise _cut(8 + size, len(data))
    head, body = data[8 : 8 + size], data[8 + size :]
    try:
        header = json.loads(head)
        metadata = header.pop('__metadata__', {})
        end = max((int(entry['data_offsets'][1]) for entry in header.values()), default=0)
        raw = json.loads(metadata[KEY])
        digits, version = str(raw.get('sha256')), raw.get('format')
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        OverflowError,  # an offset of 1e999
        RecursionError,
    ) as error:
        raise ArtefactError(
            'artefact must have the description of an exported policy, got '
            f'{shown(repr(error))}; checkpoints and weights alone have none: use `av-td3 export`'
        ) from None
    if len(body) < end:
        raise _cut(8 + size + end, len(data))
    if version == FORMAT:  # another one may be hashed in another way; it is refused by its number
        _check_hash(data[:8], head, body, digits)
    return raw


def _check_hash(prefix: bytes, head: bytes, body: bytes, digits: str) -> None:
    if not re.fullmatch('[0-9a-f]{64}', digits) or head.count(digits.encode()) != 1:
        raise ArtefactError(f'hash must be 64 digits, got {shown(digits)}; {AGAIN}')
    digest = hashlib.sha256(prefix + head.replace(digits.encode(), NO_HASH.encode()))
    digest.update(body)
    if digest.hexdigest() != digits:
        raise ArtefactError(
            f'hash must be {digits}, got {digest.hexdigest()}: the file was damaged or changed; '
            f'{AGAIN}'
        )


def _cut(expected: int, got: int) -> ArtefactError:
    return ArtefactError(
        f'artefact must have {expected} bytes, got {got}: it was cut short; {AGAIN}'
    )


def _check_probe(probe: Probe, description: Description) -> None:
    count, spec = len(probe.image), description.spec
    expected = (
        (count, *spec.image_shape, np.dtype(np.uint8)),
        (count, spec.vector_size, np.dtype(np.float32)),
        (count, ACTION_SIZE, np.dtype(np.float32)),
    )
    got = tuple((*array.shape, array.dtype) for array in probe)
    if not count or got != expected:
        raise ArtefactError(f'probe of the artefact must be {expected}, got {got}; {AGAIN}')
