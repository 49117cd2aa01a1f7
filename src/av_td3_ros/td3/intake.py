"""
Guards the door of the replay buffer: what arrives must be whole, once, and in order.

A gap or a repetition is counted, and the rest of the broken episode is not stored.
"""

from enum import Enum
from typing import Optional

# A step of the numbering that is wider, either way, begins another count: one wrong number must
# not have all that follow taken for repetitions. Wider still it is nonsense, and tells no loss.
WIDEST_STEP, LARGEST_LOSS = 2_000, 1_000_000


class Verdict(Enum):
    """What to do with a message."""

    BEGIN = 'begin'
    ADD = 'add'
    IGNORE = 'ignore'
    BREAK = 'break'


class Intake:
    """
    Follows the numbering of the transition messages.

    ``unusable``: parts of broken episodes; those that were ``refused`` are among them.
    """

    def __init__(self) -> None:
        """Start with nothing received; the first message sets the count."""
        self.last_sequence = 0
        self.publisher: Optional[int] = None
        self.received = self.stored = self.lost = self.duplicated = self.unusable = 0
        self.refused = self.refused_in_a_row = 0
        self._stored_before_refusal = -1
        self._episode_id = -1
        self._step_id = -1
        self._open = False

    def accept(self, publisher: int, sequence: int, episode_id: int, step_id: int) -> Verdict:
        """
        Judge one message.

        :param publisher: which publisher; another one, as after a restart, counts anew.
        :param sequence: counts the publisher's messages from 1.
        :param episode_id: of the step.
        :param step_id: 0 opens an episode.
        :returns: BEGIN or ADD: store it. IGNORE: seen before, or part of a broken episode. BREAK:
            the episode lost a step; end it at the last good one and do not store this message.
        """
        self.received += 1
        step = sequence - self.last_sequence
        known = publisher == self.publisher
        if known and -WIDEST_STEP < step <= 0:
            self.duplicated += 1
            return Verdict.IGNORE
        gap = step - 1 if known else 0
        self.lost += gap if 0 <= gap <= LARGEST_LOSS else 0
        self.publisher, self.last_sequence = publisher, sequence
        if step_id == 0:
            self._open = True
        elif (
            gap
            or not known
            or not self._open
            or (episode_id, step_id) != (self._episode_id, self._step_id + 1)
        ):
            self.unusable += 1
            was_open, self._open = self._open, False
            return Verdict.BREAK if was_open else Verdict.IGNORE
        self._episode_id, self._step_id = episode_id, step_id
        self.stored += 1
        return Verdict.BEGIN if step_id == 0 else Verdict.ADD

    def refuse(self) -> None:
        """Take back the last message, which could not be stored, and the rest of its episode."""
        self.stored -= 1
        self.unusable += 1
        self._open = False
        self.refused += 1
        is_first = self.stored != self._stored_before_refusal
        self.refused_in_a_row = 1 if is_first else self.refused_in_a_row + 1
        self._stored_before_refusal = self.stored
