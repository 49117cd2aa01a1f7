"""What a user names to drive with: a run folder, a checkpoint folder, or an exported file."""

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
import shutil
import tempfile
from typing import Any, Dict, Iterator, Optional

import yaml

from av_td3_ros.run_folder import read_summary, written_config
from av_td3_ros.task_config import difference, ObservationConfig


@contextmanager
def settings_file(source: Path) -> Iterator[str]:
    """
    Yield a YAML file with what a policy was trained with.

    An exported file carries its settings with it, wherever it is; a checkpoint without its run at
    least what it sees.

    :raises ArtefactError: where the file is none, or damaged.
    :raises CheckpointError: where a folder has no policy.
    """
    written = None if source.is_file() else written_config(source)
    if written is not None:
        yield written
        return
    settings = _settings(source)
    with tempfile.TemporaryDirectory(prefix='av_td3_') as folder:
        path = Path(folder) / f'{source.name}.yaml'
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        yield str(path)


def _settings(source: Path) -> Dict[str, Any]:
    if source.is_file():
        from av_td3_ros.deployment import artefact

        return dict(artefact.read(source).description.raw['training']['config'])
    from av_td3_ros.td3 import checkpoint

    seen = ObservationConfig.of(checkpoint.load_policy(source).obs_spec)
    return {f'observation.{key}': value for key, value in asdict(seen).items()}


def policy(source: Path, folder: Path) -> Path:
    """
    Return what drives: a file, or a copy of one checkpoint, since a run that goes on removes it.

    :param folder: for the copy.
    :raises CheckpointError: where a source has no policy, or it cannot be copied.
    """
    if source.is_file():
        return source
    from av_td3_ros.td3 import checkpoint

    found = checkpoint.find(source)
    try:
        return Path(shutil.copytree(found, folder / found.name))
    except OSError as error:
        raise checkpoint.CheckpointError(
            f'checkpoint {found} must be copied to {folder}, got {error.strerror or error}; free '
            'space there, or set TMPDIR'
        ) from None


def policy_setting(source: Path) -> Dict[str, Any]:
    """Return the setting of the policy node that makes it drive with a source."""
    key = 'policy.artefact' if source.is_file() else 'policy.checkpoint'
    return {key: str(source.resolve())}


def load(
    source: Path,
    observation: Optional[ObservationConfig] = None,
    named: Optional[Path] = None,
    **engine: Any,
) -> Any:
    """
    Return what acts as a source's policy does, without exploration.

    :param observation: what observations are like here; None takes what it was trained with.
    :param named: as what the user knows the source, where it is a copy.
    :param engine: ``engine`` of an exported file, and ``threads``: 1 where nothing is said, since
        one observation is too little to share.
    :raises CheckpointError: where a folder has no policy, or it sees something else.
    :raises ArtefactError: where a file cannot drive here.
    """
    if source.is_file():
        from av_td3_ros.deployment.runtime import Runtime

        return Runtime.load(source, observation=observation, **engine)
    import torch

    from av_td3_ros.td3 import checkpoint
    from av_td3_ros.td3.behaviour import Behaviour

    torch.set_num_threads(engine.get('threads', 1))
    behaviour = Behaviour(seed=0)
    found = checkpoint.load_policy(source)
    asked = found.obs_spec if observation is None else observation.spec()
    if asked != found.obs_spec:
        raise checkpoint.CheckpointError(
            f'{named or source} cannot drive here: {difference(found.obs_spec, asked)}; leave '
            '--observation and observation.* out'
        )
    behaviour.adopt(found.policy)
    return behaviour


def env_step(source: Path) -> Optional[int]:
    """Return after how many environment steps a policy was taken; None where a file hides it."""
    if source.is_file():
        from av_td3_ros.deployment import artefact

        return artefact.read(source).description.raw['training'].get('env_steps')
    from av_td3_ros.td3 import checkpoint

    return checkpoint.load_policy(source).env_step


def halted_by(source: Path) -> str:
    """Return the name of the alert that has ended a run, or ''."""
    return str(read_summary(source).get('halted') or '').partition(':')[0]


def output_folder(source: Path, what: str = '') -> Path:
    """
    Return where the figures of a source go: beside an exported file, below a folder.

    :param what: names an evaluation in another world than that of the run, which must not replace
        the one that gates and reports go by.
    """
    name = f'evaluation_{what}' if what else 'evaluation'
    return source.with_name(f'{source.stem}_{name}') if source.is_file() else source / name
