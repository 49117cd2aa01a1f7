"""
``metadata.yaml`` of a rosbag2 folder.

Version 5 of its form is the newest that Humble reads; Jazzy and Kilted read it as well.
"""

from typing import Any, Dict, Mapping, NamedTuple, Sequence

import yaml

VERSION = 5
STORAGE = 'mcap'
NAME = 'metadata.yaml'


class BagTopic(NamedTuple):
    """
    A topic of a bag.

    ``type``: such as ``std_msgs/msg/Bool``. ``definition``: as ``definitions.py`` makes it.
    ``qos``: how it was offered, as rosbag2 writes it: YAML in a string.
    """

    name: str
    type: str
    definition: str = ''
    qos: str = ''


class Part(NamedTuple):
    """A file of a bag. ``begun`` and ``ended``: of its messages, ns since the epoch."""

    path: str
    begun: int
    ended: int
    messages: int


def metadata(
    topics: Mapping[str, BagTopic], counts: Mapping[str, int], parts: Sequence[Part]
) -> str:
    """
    Return the text of ``metadata.yaml``.

    :param topics: by name. :param counts: messages of each. :param parts: in order.
    """
    filled = [part for part in parts if part.messages]
    begun = min((part.begun for part in filled), default=0)
    ended = max((part.ended for part in filled), default=0)
    information: Dict[str, Any] = {
        'version': VERSION,
        'storage_identifier': STORAGE,
        'relative_file_paths': [part.path for part in parts],
        'duration': {'nanoseconds': ended - begun},
        'starting_time': {'nanoseconds_since_epoch': begun},
        'message_count': sum(counts.values()),
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': topic.name,
                    'type': topic.type,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': topic.qos,
                },
                'message_count': counts.get(topic.name, 0),
            }
            for topic in topics.values()
        ],
        'compression_format': '',
        'compression_mode': '',
        'files': [
            {
                'path': part.path,
                'starting_time': {'nanoseconds_since_epoch': part.begun},
                'duration': {'nanoseconds': part.ended - part.begun},
                'message_count': part.messages,
            }
            for part in parts
        ],
    }
    return yaml.safe_dump({'rosbag2_bagfile_information': information}, sort_keys=False)
