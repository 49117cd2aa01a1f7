"""Evaluations of steps that a run went back behind: kept, but no longer the run's."""

import json
from pathlib import Path
import shutil

PREFIX = 'beyond_'


def set_aside(folder: Path, env_step: int) -> None:
    """
    Rename evaluations of later steps, so that neither gates nor reports take them for the run's.

    ``evaluation_10k`` becomes ``beyond_7000_evaluation_10k``; one of that name is replaced.

    :param folder: of the run. :param env_step: from which the run goes on another way.
    :raises OSError: where one cannot be renamed.
    """
    for path in folder.glob('evaluation*/evaluation.json'):
        if _step(path) > env_step:
            aside = folder / f'{PREFIX}{env_step}_{path.parent.name}'
            shutil.rmtree(aside, ignore_errors=True)
            path.parent.rename(aside)


def _step(path: Path) -> float:
    """Return of which step an evaluation is; 0 where it does not tell."""
    try:
        return float(json.loads(path.read_text())['env_step'])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
