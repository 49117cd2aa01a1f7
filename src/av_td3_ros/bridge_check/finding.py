"""One line of the table of a bridge check."""

from typing import List, NamedTuple

OK, FAIL, NOT_MADE = 'ok', 'FAIL', 'not made'


class Finding(NamedTuple):
    """
    What was looked at, how it is, what it must be, what it is, and what to change where it is not.

    Of one check there may be several findings, one for every ``subject`` at fault.
    """

    check: str
    state: str
    expected: str
    found: str
    advice: str = ''
    subject: str = ''


def verdict(
    check: str, holds: bool, expected: str, found: str, advice: str, subject: str = ''
) -> List[Finding]:
    """Return the one finding of a check that was made."""
    if holds:
        return [Finding(check, OK, expected, found, '', subject)]
    return [Finding(check, FAIL, expected, found, advice, subject)]


def not_made(check: str, expected: str, why: str) -> List[Finding]:
    """Return the one finding of a check that could not be made."""
    return [Finding(check, NOT_MADE, expected, why)]


def faults_or_ok(check: str, faults: List[Finding], expected: str, found: str) -> List[Finding]:
    """Return the faults, or one line where there are none."""
    return faults or [Finding(check, OK, expected, found)]
