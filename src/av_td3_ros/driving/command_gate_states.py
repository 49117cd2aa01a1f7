"""The words of the command gate: who drives, and why not the policy."""

from enum import Enum
from typing import NamedTuple


class State(Enum):
    """Who drives."""

    INACTIVE = 'inactive'  # the node is not active; silent
    DISENGAGED = 'disengaged'  # somebody else drives; silent until asked
    MANUAL = 'manual'  # the driver has taken over; silent, and deaf to requests
    WAITING = 'waiting'  # engaged, nothing seen yet; nothing to brake
    DRIVING = 'driving'  # the policy drives
    BRAKING = 'braking'  # engaged, and the policy may not drive


class Reason(Enum):
    """Why the policy does not drive, or why its action was changed."""

    NONE = ''
    LIFECYCLE = 'the node is not active'
    REQUEST = 'not engaged'
    OVERRIDE = 'the driver has taken over'
    NOTHING_YET = 'nothing seen yet'
    NO_OBSERVATION = 'no observation'
    STALE = 'stale observation'
    CLOCK_FORWARD = 'the clock has jumped forward'
    CLOCK_BACKWARD = 'the clock has jumped backward'
    INPUT_RATE = 'observations at another rate'
    BAD_OBSERVATION = 'bad observation'
    NO_WEIGHTS = 'no weights yet'
    REFUSED_WEIGHTS = 'weights refused again and again'
    HOLD = 'told to wait'
    NOT_FINITE = 'action not finite'
    CHANGED = 'action out of bounds or too sudden'


# Where the wait is no fault.
QUIET = (
    Reason.NONE,
    Reason.HOLD,
    Reason.NOTHING_YET,
    Reason.REQUEST,
    Reason.OVERRIDE,
    Reason.LIFECYCLE,
)


class Answer(NamedTuple):
    """Whether a request was granted, and a sentence."""

    granted: bool
    text: str
