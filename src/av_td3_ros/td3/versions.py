"""
Numbers of published weights, none of which comes twice in a run.

A policy refuses weights that are not newer than its own. What a trainer published after its last
checkpoint is forgotten when it dies, so it notes in the run folder up to which number it may have
published: a hundred ahead, because a note waits for the disk. The next life begins above.
"""

import logging
import math
from pathlib import Path

from av_td3_ros.config import TrainerConfig
from av_td3_ros.td3.storage import replace_bytes

LOG = logging.getLogger(__name__)
FILE = 'weights_version'
RESERVE = 100


class Versions:
    """Counts versions; ``newest`` is the last one that was given out, 0 before the first."""

    def __init__(self, folder: Path) -> None:
        """Begin a run, whose first version is 1."""
        self.newest = self._noted = 0
        self._path = folder / FILE

    def resume(self, saved: int, config: TrainerConfig) -> None:
        """
        Go on above all that earlier lives may have published.

        :param saved: the newest version when the checkpoint was saved.
        :param config: tells how many may have followed in a run that noted none.
        """
        ratio = config.updates_per_round / config.update_every
        lost = config.checkpoint_every * ratio / config.publish_every
        try:
            self._noted = int(self._path.read_text())
        except (OSError, ValueError):
            self._noted = 0
        self.newest = max(self._noted, saved + math.ceil(lost) + 1)

    def next(self) -> int:
        """Return a new version."""
        self.newest += 1
        if self.newest > self._noted:
            self._noted = self.newest + RESERVE
            try:
                replace_bytes(self._path, str(self._noted).encode())
            except OSError as error:  # learning goes on, as where no checkpoint can be written
                LOG.warning(
                    'weights from version %d on may have its number twice if the trainer dies: %s',
                    self.newest,
                    error,
                )
        return self.newest
