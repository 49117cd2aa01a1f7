"""
Checkpoints that survive a kill, a full disk and a torn file.

``checkpoints/step_00002000/`` holds ``policy.safetensors`` (what drives), ``learner.safetensors``
(everything the next update depends on) and ``checkpoint.json`` (counters, specification, hashes of
the two). A checkpoint is written beside, flushed to the disk and renamed, so that it is whole or
not there; ``checkpoints/latest`` names the newest. Tensors are safetensors and the rest is JSON:
reading a checkpoint can run no code.
"""

from contextlib import suppress
from dataclasses import asdict
import json
import logging
import os
from pathlib import Path
import shutil
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

import safetensors
import safetensors.torch

from av_td3_ros.absent import no_checkpoint
from av_td3_ros.datatypes import ObsSpec, SpecError
from av_td3_ros.run_folder import read_summary
from av_td3_ros.td3 import weights
from av_td3_ros.td3.agent import TD3
from av_td3_ros.td3.learner_state import LearnerError
from av_td3_ros.td3.networks import Policy
from av_td3_ros.td3.replay import ReplayBuffer
from av_td3_ros.td3.storage import replace_bytes, sync_folder, write_bytes

LOG = logging.getLogger(__name__)
FORMAT = 3
KEEP = 3
POLICY, LEARNER, INFO = 'policy.safetensors', 'learner.safetensors', 'checkpoint.json'
# A folder that is being written, and one that it takes the place of.
PART, OLD = '.part_', '.part_old_'


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, found or used; the text says what, got and expected."""


class Checkpoint(NamedTuple):
    """What a checkpoint knows beside the tensors."""

    path: Path
    env_step: int
    update: int
    version: int
    obs_spec: ObsSpec
    learner: Dict[str, Any]
    extra: Dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether no figure was beyond a limit to halt; of older checkpoints nothing is known."""
        return _was_healthy(self.extra)


class LoadedPolicy(NamedTuple):
    """A policy ready to drive."""

    policy: Policy
    obs_spec: ObsSpec
    version: int
    env_step: int


class _Torn(Exception):
    """A checkpoint that is incomplete or damaged."""


# -- writing --------------------------------------------------------------------------------------


def save(
    run_dir: Union[str, Path],
    agent: TD3,
    obs_spec: ObsSpec,
    *,
    env_step: int,
    version: int,
    extra: Optional[Mapping[str, Any]] = None,
    replay: Optional[ReplayBuffer] = None,
) -> Path:
    """
    Write a checkpoint and forget all but the newest three, and the newest healthy one.

    :param run_dir: folder of the run; ``checkpoints/`` and ``replay/`` are made in it.
    :param agent: the learner.
    :param obs_spec: what its policy sees.
    :param env_step: environment steps so far.
    :param version: of the policy.
    :param extra: JSON data of the caller, given back by :func:`load`.
    :param replay: saved too, where given; a resumed run then goes on bit for bit.
    :returns: the folder of the checkpoint.
    :raises CheckpointError: where it cannot be written; what was there before stays.
    """
    folder = Path(run_dir) / 'checkpoints'
    final = folder / f'step_{env_step:08d}'
    part = folder / f'{PART}{final.name}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        if replay is not None:
            replay.save(Path(run_dir) / 'replay')
        part.mkdir()
        _write(part, agent, obs_spec, env_step, version, extra, replay)
        if final.exists():  # the same step once more, after a resume
            os.rename(final, folder / f'{OLD}{final.name}')
        os.rename(part, final)
        sync_folder(folder)
        replace_bytes(folder / 'latest', final.name.encode())
    except OSError as error:
        with suppress(OSError):  # where not even that can be done, reading finds it where it is
            _clear(folder)
        reason = error.strerror or error
        raise CheckpointError(
            f'checkpoint must be written to {final}, got {reason}; free space '
            'or choose another run_dir'
        ) from None
    _clear(folder)
    for old in _superfluous(folder):
        shutil.rmtree(old, ignore_errors=True)
    return final


def _superfluous(folder: Path) -> List[Path]:
    """Return all but the newest; one that is healthy is kept, however many ill ones came after."""
    found = _newest_first(folder)
    old = found[KEEP:]
    if old and not any(map(_is_healthy, found[:KEEP])):
        healthy = next(filter(_is_healthy, old), None)
        old = [path for path in old if path != healthy]
    return old


def _was_healthy(extra: Mapping[str, Any]) -> bool:
    return bool(extra.get('healthy', True))


def _is_healthy(path: Path) -> bool:
    try:
        return _was_healthy(json.loads((path / INFO).read_text())['extra'])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write(
    folder: Path,
    agent: TD3,
    obs_spec: ObsSpec,
    env_step: int,
    version: int,
    extra: Optional[Mapping[str, Any]],
    replay: Optional[ReplayBuffer],
) -> None:
    packed = weights.pack(agent.settled_policy, obs_spec, agent.config.network, version)
    files = {POLICY: packed.tensors, LEARNER: safetensors.torch.save(agent.state_dict())}
    for name, data in files.items():
        write_bytes(folder / name, data)
    info = {
        'format': FORMAT,
        'env_step': env_step,
        'update': agent.updates,
        'version': version,
        'spec': json.loads(packed.spec),
        'learner': asdict(agent.config),
        'extra': dict(extra or {}),
        'replay': replay.state() if replay is not None else None,
        'sha256': {name: weights.sha256(data) for name, data in files.items()},
    }
    write_bytes(folder / INFO, json.dumps(info, indent=2).encode())
    sync_folder(folder)


def _clear(folder: Path) -> None:
    """
    Remove what a killed writer left behind; what it was about to replace comes back.

    :raises OSError: where that cannot be put back; it stays where it is.
    """
    for part in folder.glob(f'{PART}*'):
        final = folder / _name(part)
        if part.name.startswith(OLD) and not final.exists():
            os.rename(part, final)
        else:
            shutil.rmtree(part, ignore_errors=True)


def _name(path: Path) -> str:
    """Return the name of a checkpoint, also of one that is about to be replaced."""
    return path.name[len(OLD) :] if path.name.startswith(OLD) else path.name


# -- reading --------------------------------------------------------------------------------------


def latest(run_dir: Union[str, Path]) -> Optional[Path]:
    """
    Return the newest whole checkpoint of a run, or None where there is none.

    Of a run that an alert has halted it is the newest that was healthy, where there is one: some
    may have been saved while it fell ill.
    """
    newest: Optional[Path] = None
    halted = read_summary(Path(run_dir)).get('halted')
    for path, info, _ in _whole(Path(run_dir) / 'checkpoints'):
        newest = newest or path
        if not halted or _describe(path, info).healthy:
            return path
    return newest


def forget_after(run_dir: Union[str, Path], env_step: int) -> None:
    """Remove the checkpoints beyond a step, from which a run goes on another way."""
    for path in (Path(run_dir) / 'checkpoints').glob('step_*'):
        if path.name[5:].isdigit() and int(path.name[5:]) > env_step:
            shutil.rmtree(path, ignore_errors=True)


def load(
    run_dir: Union[str, Path],
    agent: TD3,
    obs_spec: ObsSpec,
    replay: Optional[ReplayBuffer] = None,
    healthy: bool = False,
) -> Checkpoint:
    """
    Bring a learner, and a replay where given, to the newest whole checkpoint of a run.

    A torn checkpoint is left out, with a warning, for the one before it.

    :param run_dir: folder of the run.
    :param agent: a learner with the same networks; changed only where all fits.
    :param obs_spec: what its policy sees.
    :param replay: filled from ``replay/`` where the checkpoint was saved with one.
    :param healthy: whether to leave out those that were saved while a figure was beyond a limit.
    :raises CheckpointError: where there is none, or it is of another network or specification.
    """
    folder = Path(run_dir) / 'checkpoints'
    for path, info, files in _whole(folder):
        found = _describe(path, info)
        if healthy and not found.healthy:
            continue
        _check_spec(path, weights.spec_json(obs_spec, agent.config.network), info['spec'])
        try:
            if replay is not None and info['replay'] is not None:
                replay.load(Path(run_dir) / 'replay', info['replay'])
                if not len(replay):
                    LOG.warning('checkpoint %s has no readable replay; it fills anew', path)
            agent.load_state_dict(safetensors.torch.load(files[LEARNER]))
        except (LearnerError, SpecError, safetensors.SafetensorError) as error:
            text = f'checkpoint {path} must fit this learner, got: {error}'
            raise CheckpointError(text) from None
        return found
    raise CheckpointError(
        f'a whole{" and healthy" * healthy} checkpoint must be in {folder}, got none; start '
        'without resume'
    )


def find(source: Union[str, Path]) -> Path:
    """
    Return the checkpoint folder that a user means.

    :param source: a checkpoint folder, or a run folder, whose newest whole checkpoint is taken
        then.
    :raises CheckpointError: where there is none.
    """
    source = Path(source)
    found = source if (source / INFO).is_file() else latest(source)
    if found is None:
        raise CheckpointError(
            f'a checkpoint or run folder must be given, got {source}: {no_checkpoint(source)}'
        )
    return found


def load_policy(folder: Union[str, Path], expected: Optional[ObsSpec] = None) -> LoadedPolicy:
    """
    Load a policy to drive with.

    :param folder: a checkpoint or run folder, as in :func:`find`.
    :param expected: what observations look like here; None accepts what the checkpoint was trained
        on.
    :raises CheckpointError: where there is none, or it is torn or of another specification.
    """
    folder = find(folder)
    try:
        info, files = _read(folder)
        described = _describe(folder, info)
        policy = weights.unpack(
            files[POLICY],
            info['sha256'][POLICY],
            json.dumps(info['spec']),
            expected or described.obs_spec,
        )
    except (_Torn, weights.WeightsError) as error:
        raise CheckpointError(f'checkpoint {folder} cannot drive: {error}') from None
    return LoadedPolicy(policy, described.obs_spec, described.version, described.env_step)


def _check_spec(path: Path, expected: str, got: Mapping[str, Any]) -> None:
    wanted = json.loads(expected)
    for key in wanted:
        if got.get(key) != wanted[key]:
            want, have = _apart(wanted[key], got.get(key))
            raise CheckpointError(
                f'checkpoint {path} must have {key} {want}, got {have}; use the settings that it '
                'was trained with'
            )


def _apart(want: Any, have: Any) -> Tuple[Any, Any]:
    """Return two values, of two mappings the entries that differ."""
    if not (isinstance(want, dict) and isinstance(have, dict)):
        return want, have
    keys = [key for key in {**want, **have} if want.get(key) != have.get(key)]
    return {key: want.get(key) for key in keys}, {key: have.get(key) for key in keys}


def _whole(folder: Path) -> Iterator[Tuple[Path, Dict[str, Any], Dict[str, bytes]]]:
    """Yield the whole checkpoints, newest first."""
    for path in _newest_first(folder):
        try:
            yield (path, *_read(path))
        except _Torn as error:
            LOG.warning('checkpoint %s is left out: %s', path, error)


def _newest_first(folder: Path) -> List[Path]:
    """Return checkpoint folders: the one that ``latest`` names, then the others by step."""
    try:
        named = (folder / 'latest').read_text().strip()
    except (OSError, UnicodeDecodeError):
        named = ''
    old = [path for path in folder.glob(f'{OLD}step_*') if not (folder / _name(path)).exists()]
    steps = [path for path in (*folder.glob('step_*'), *old) if _name(path)[5:].isdigit()]
    return sorted(
        steps, key=lambda path: (_name(path) == named, int(_name(path)[5:])), reverse=True
    )


def _read(path: Path) -> Tuple[Dict[str, Any], Dict[str, bytes]]:
    """
    Read a checkpoint and check its hashes.

    :raises _Torn: where a file is missing or damaged.
    """
    try:
        info = json.loads((path / INFO).read_text())
        files = {name: (path / name).read_bytes() for name in (POLICY, LEARNER)}
        hashes, version = info['sha256'], info['format']
        if version != FORMAT:
            raise CheckpointError(
                f'checkpoint {path} must be of format {FORMAT}, got {version}; train again, or '
                'use the version of av_td3_ros that wrote it'
            )
        _describe(path, info)
        for name, data in files.items():
            if weights.sha256(data) != hashes[name]:
                raise _Torn(f'{name} does not have the hash in {INFO}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Torn(f'{type(error).__name__}: {error}') from None
    return info, files


def _describe(path: Path, info: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        path,
        int(info['env_step']),
        int(info['update']),
        int(info['version']),
        ObsSpec.from_dict(info['spec']['observation']),
        dict(info['learner']),
        dict(info['extra']),
    )
