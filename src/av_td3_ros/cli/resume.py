"""What ``av-td3 train`` asks of a run before it goes on with it, and says of it afterwards."""

from pathlib import Path
import shlex

from av_td3_ros.absent import no_checkpoint, written_run
from av_td3_ros.cli import common
from av_td3_ros.config import RunConfig
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import has_checkpoints, read_summary
from av_td3_ros.task_config import difference


def require_checkpoint(folder: Path) -> None:
    """
    Refuse a folder that has nothing to go on from.

    :raises ConfigError: where it has not.
    """
    if not has_checkpoints(folder):
        raise ConfigError(
            f'--resume must name a run with a checkpoint, got {folder}: {no_checkpoint(folder)}'
        )


def require_fit(folder: Path, config: RunConfig) -> None:
    """
    Refuse what the learner would refuse seconds later: a run that is whole, or sees otherwise.

    :param config: of the run as it is to go on.
    :raises ConfigError: where it is.
    """
    summary, steps = read_summary(folder), config.trainer.steps
    driven = summary.get('env_steps', 0)
    if driven >= steps and not summary.get('halted'):  # that goes back to a step before
        raise ConfigError(
            f'--resume must name a run with steps left, got {folder}, which is finished at '
            f'{driven:,} of {steps:,} steps; give --steps above {driven}'
        )
    try:
        trained = written_run(folder).observation.spec()
    except ConfigError:
        return  # another file was given; the learner compares
    if trained != config.observation.spec():
        raise ConfigError(
            f'--resume must see what the run has learned by, got {folder}, '
            f'{difference(trained, config.observation.spec())}; leave --observation and '
            'observation.* out, or begin another run'
        )


def next_command(folder: Path, steps: int) -> str:
    """
    Return what to call next: a run that was stopped goes on, one that is whole is measured.

    :param steps: of the whole run.
    """
    name = shlex.quote(str(folder))
    if read_summary(folder).get('env_steps', 0) < steps:
        return f'go on: {common.called()} train --resume {name}'
    return f'next: {common.called()} evaluate {name}'
