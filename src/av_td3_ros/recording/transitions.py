"""A recorded drive read back as the transitions that the trainer took in it."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, Optional

from av_td3_ros.datatypes import ObsSpec
from av_td3_ros.recording.bag_reader import BagMessage, BagReader
from av_td3_ros.recording.bag_writer import BagError
from av_td3_ros.td3.experience import MOST_REFUSED, take_or_refuse
from av_td3_ros.td3.intake import Intake

TRANSITION = 'av_td3_msgs/msg/Transition'
WEIGHTS = 'av_td3_msgs/msg/PolicyWeights'


class Account(NamedTuple):
    """
    What became of the transition messages of a bag; the words are those of ``td3/intake.py``.

    ``refused``: of those that are unusable, what did not fit. ``cut_off``: whether the end of the
    bag is missing.
    """

    received: int
    stored: int
    lost: int
    duplicated: int
    unusable: int
    refused: int
    episodes: int
    cut_off: bool


class Count:
    """Counts transitions, and hands them on to where they are to go."""

    def __init__(self, into: Any = None) -> None:
        """:param into: what has ``begin``, ``add`` and ``abort`` of the replay; None: count."""
        self.intake = Intake()
        self.episodes = 0
        self._into = into

    def look(self, message: BagMessage, spec: Optional[ObsSpec] = None) -> None:
        """
        Take a message of any type; a step that does not fit ends its episode.

        :param spec: what an observation is.
        :raises ValueError: where too many do not fit, one after another, and are to go somewhere.
        """
        if message.topic.type == TRANSITION:
            shape = spec.frame_shape if spec is not None else (0, 0)
            most = math.inf if self._into is None else MOST_REFUSED  # who counts tells of all
            take_or_refuse(message.content, self.intake, self, shape, most)

    def begin(self, *observation: Any) -> None:
        """Begin an episode."""
        if self._into is not None:
            self._into.begin(*observation)
        self.episodes += 1

    def add(self, *step: Any) -> None:
        """Take a step."""
        if self._into is not None:
            self._into.add(*step)

    def abort(self) -> None:
        """End an episode that was broken."""
        if self._into is not None:
            self._into.abort()

    def account(self, cut_off: bool) -> Account:
        """Return what became of the messages."""
        intake = self.intake
        return Account(
            intake.received,
            intake.stored,
            intake.lost,
            intake.duplicated,
            intake.unusable,
            intake.refused,
            self.episodes,
            cut_off,
        )


def load_transitions(path: Path, spec: ObsSpec, into: Any) -> Account:
    """
    Store the transitions of a bag, in their order.

    Frame, vector, privileged entries, action, reward and outcome are bit for bit those that a
    trainer on the graph stored; what it would not have stored, a repeated, a broken or a refused
    step and the rest of its episode, is left out in the same way, and counted. An episode that the
    recording found under way is left out up to its next beginning.

    :param path: a rosbag2 folder, or one MCAP file.
    :param spec: what its observations are; :func:`spec_of` reads it from the bag.
    :param into: what has ``begin``, ``add`` and ``abort`` of
        :class:`~av_td3_ros.td3.replay.ReplayBuffer`, or of the trainer.
    :raises BagError: where the bag cannot be read or holds no transitions.
    :raises ValueError: where ``experience.MOST_REFUSED`` one after another do not fit, as those of
        another observation.
    """
    reader, count = BagReader(path), Count(into)
    for message in reader.messages({TRANSITION}):
        count.look(message, spec)
    count.abort()
    if not count.intake.received:
        raise BagError(
            f'{path} must hold messages of type {TRANSITION}, got none; record a graph with an '
            'episode manager, and its topic `transition`'
        )
    return count.account(bool(reader.cut_off))


def spec_of(path: Path) -> ObsSpec:
    """
    Return what the observations of a bag are, as its policy weights say.

    :raises BagError: where it holds no weights, or they do not say it.
    """
    for message in BagReader(path).messages({WEIGHTS}):
        try:
            return ObsSpec.from_dict(json.loads(message.content.spec)['observation'])
        except (ValueError, KeyError, TypeError) as error:
            raise BagError(f'{path} must hold weights with a specification, got {error!r}')
    raise BagError(
        f'{path} must hold messages of type {WEIGHTS}, which say what an observation is, got '
        'none; record the topic `policy_weights` as well'
    )
