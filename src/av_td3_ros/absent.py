"""What to say of a run that somebody names and that is not there, or has saved nothing yet."""

import os
from pathlib import Path

from av_td3_ros import presets
from av_td3_ros.config import build_run, without_shared_copies
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
    first = 0 if any(source.glob('checkpoints/*step_*')) else _first(source / 'config.yaml')
    if first:
        return f'it has saved none yet: the first checkpoint comes at step {first:,}'
    return 'it holds no whole checkpoint'


def _first(path: Path) -> int:
    """Return the step of a run's first checkpoint by its settings; 0 where they are not known."""
    try:
        values = without_shared_copies(flatten(presets.read_yaml(path)))
        trainer = build_run(values, str(path)).trainer
    except ConfigError:
        return 0
    updated = max(trainer.update_after + trainer.update_every, trainer.learner.batch_size)
    return min(updated, trainer.checkpoint_every, trainer.steps)
