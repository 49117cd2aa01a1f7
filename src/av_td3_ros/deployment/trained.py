"""
What a policy was trained with, as far as a vehicle must know: camera, rate and preprocessing.

An exported file carries it; a checkpoint has it in the ``config.yaml`` of its run.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Type, Union

import yaml

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.deployment import artefact
from av_td3_ros.deployment.description import TrainingCamera
from av_td3_ros.options import build, ConfigError, to_flat
from av_td3_ros.run_folder import written_config
from av_td3_ros.task_config import ObservationConfig

SECTIONS = {'simulator', 'observation'}


class Trained(NamedTuple):
    """
    The camera, whose ``period`` is the rate, and the settings of the observation that are told:
    all of them by a file, those of its version by a run.
    """

    camera: TrainingCamera
    observation: Mapping[str, Any]


def trained_with(exported: str, checkpoint: str) -> Optional[Trained]:
    """
    Return what a policy was trained with; None where nothing says so.

    :param exported: file of `av-td3 export`, or ''.
    :param checkpoint: checkpoint folder, or ''; not read where there is a file.
    :raises ArtefactError: where the file cannot be read.
    :raises ConfigError: where the config of the run cannot be.
    """
    if exported:
        description = artefact.read(exported).description
        return Trained(description.camera, asdict(description.observation))
    return of_run(checkpoint) if checkpoint else None


def of_run(checkpoint: Union[str, Path]) -> Optional[Trained]:
    """
    Return what the run of a checkpoint was trained with, or None where it has no ``config.yaml``.

    :raises ConfigError: where that cannot be read, or a setting is out of range.
    """
    written = written_config(Path(checkpoint))
    if written is None:
        return None
    try:
        sections = yaml.safe_load(Path(written).read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f'config of the run must be YAML, got {" ".join(str(error).split())} in {written}; '
            'restore it, or drive with a file of `av-td3 export`'
        ) from None
    if not isinstance(sections, dict) or not SECTIONS <= set(sections):
        return None  # of something else that lies above
    simulator, seen = (
        _known(cls, sections[name], written)
        for name, cls in (('simulator', SimulatorConfig), ('observation', ObservationConfig))
    )
    return Trained(TrainingCamera.of(build(SimulatorConfig, simulator, written)), seen)


def _known(cls: Type[Any], values: Any, where: str) -> Dict[str, Any]:
    """
    Return the settings of a section, which another version may have written: those known here.

    :raises ConfigError: where one is out of range.
    """
    given = values if isinstance(values, dict) else {}
    kept = {key: given[key] for key in to_flat(cls()) if key in given}
    build(cls, kept, where)
    return kept
