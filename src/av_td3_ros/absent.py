"""What is there of a run that somebody names, and what to say where that is nothing."""

import os
from pathlib import Path

from av_td3_ros import presets
from av_td3_ros.config import build_run, RunConfig, without_shared_copies
from av_td3_ros.options import ConfigError, flatten

# So many of the newest runs are named instead.
NAMED = 3


def no_checkpoint(source: Path) -> str:
    """
    Return why nothing can be had of a run or checkpoint folder.

    :param source: one that holds no whole checkpoint, or is not there.
    """
    if not source.exists():
        found = sorted(source.parent.glob('*/config.yaml'), key=os.path.getmtime, reverse=True)
        named = ', '.join(str(path.parent) for path in found[:NAMED])
        beside = f'; the newest runs beside it: {named}' if named else ''
        return f'there is no such folder{beside}'
    first = 0 if any(source.glob('checkpoints/*step_*')) else _first(source)
    if first:
        return f'it has saved none yet: the first checkpoint comes at step {first:,}'
    return 'it holds no whole checkpoint'


def written_run(folder: Path) -> RunConfig:
    """
    Return the settings of a run as its config.yaml has them.

    :raises ConfigError: where it cannot be read.
    """
    path = folder / 'config.yaml'
    return build_run(without_shared_copies(flatten(presets.read_yaml(path))), str(path))


def _first(folder: Path) -> int:
    """Return the step of a run's first checkpoint by its settings; 0 where they are not known."""
    try:
        trainer = written_run(folder).trainer
    except ConfigError:
        return 0
    updated = max(trainer.update_after + trainer.update_every, trainer.learner.batch_size)
    return min(updated, trainer.checkpoint_every, trainer.steps)
