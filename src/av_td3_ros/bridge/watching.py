"""
The topics of the graph as somebody beside it sees them: full names, types, qualities of service.

For the recorder, the player, the viewer and what rviz and rqt show.
"""

import importlib
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from av_td3_ros.bridge.outputs import FOREIGN, foreign_topics
from av_td3_ros.bridge.qos import PROFILES
from av_td3_ros.bridge.topics import topic_name, topic_qos, TOPICS
from av_td3_ros.graph import NAMESPACE
from av_td3_ros.security.rights import WORLD

# Who publishes what is named by its publisher.
OWNERS = {'debug_stack': 'perception', 'debug_markers': 'episode_manager'}

# What may be played back to people beside a vehicle. Everything else counts as obeyed by somebody,
# a vehicle, a simulation, a policy, a trainer: names that are not of the table, too.
SHOWN = (
    *WORLD,
    'episode_state',
    'episode_result',
    'policy_status',
    'training_status',
    'diagnostics',
    'debug_stack',
    'debug_markers',
    'watch_markers',
    'watch_q_policy',
    'watch_q_replay',
    'watch_feature_norm',
    'watch_steering',
    'watch_acceleration',
)
# What drives a vehicle, whichever output the policy has; and what a camera sends.
COMMANDS = ('vehicle_control_cmd', 'cmd_vel', *(foreign.topic for foreign in FOREIGN.values()))
IMAGES = ('image', 'image_compressed')
NAME = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
FRAMES = ('/tf', '/tf_static')


class Watched(NamedTuple):
    """A topic: ``name`` in full, ``type`` of its messages (a class), ``qos``: a profile."""

    key: str
    name: str
    type: Any
    qos: Any


def watched(
    role_name: str, namespace: str = NAMESPACE, rules: Iterable[str] = ()
) -> Dict[str, Watched]:
    """
    Return every topic of the table by its key; where their messages are installed ``/tf`` and the
    commands for other stacks, too.

    :param rules: what was remapped, each ``FROM:=TO`` as ROS takes it, or with a key as FROM.
    :raises ValueError: for what is no rule of these topics, or leaves two of them one name.
    """
    found = {}
    for key, topic in TOPICS.items():
        name = full_name(key, role_name, namespace)
        if name is not None:
            found[key] = Watched(key, name, topic.type, topic_qos(key))
    for key, topic in foreign_topics().items():
        found[key] = Watched(key, f'/{namespace}/{key}', topic.type, PROFILES[topic.qos])
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        pass
    else:
        found['tf'] = Watched('tf', '/tf', TFMessage, topic_qos('odometry'))
    return _remapped(found, namespace, rules)


def full_name(key: str, role_name: str, namespace: str = NAMESPACE) -> Optional[str]:
    """Return the name of a topic with its namespace; None where its owner is not known here."""
    name = topic_name(key, role_name)
    if name.startswith('~'):
        owner = OWNERS.get(key)
        return None if owner is None else f'/{namespace}/{owner}{name[1:]}'
    return _full(name, namespace)


def _remapped(
    known: Dict[str, Watched], namespace: str, rules: Iterable[str]
) -> Dict[str, Watched]:
    by_name = {topic.name: key for key, topic in known.items()}
    names: Dict[str, str] = {}
    for rule in rules:
        before, _, after = rule.partition(':=')
        key = by_name.get(_full(before, namespace), before)
        if key not in known or key in names or not NAME.fullmatch(after):
            raise ValueError(
                '--remap must be FROM:=TO, once for a topic of the graph and to the name of a '
                f'topic, got {rule!r}; FROM may be in full or one of {", ".join(sorted(known))}'
            )
        names[key] = _full(after, namespace)
    if 'image' in names:  # perception looks for them there
        names.setdefault('image_compressed', f'{names["image"]}/compressed')
        names.setdefault('camera_info', f'{names["image"].rsplit("/", 1)[0]}/camera_info')
    found = {key: topic._replace(name=names.get(key, topic.name)) for key, topic in known.items()}
    given = [topic.name for topic in found.values()]
    twice = sorted(name for name in set(given) if given.count(name) > 1)
    if twice:
        raise ValueError(f'--remap must leave each topic its own name, got {twice[0]} for two')
    return found


def _full(name: str, namespace: str) -> str:
    return name if name.startswith('/') else f'/{namespace}/{name}'


def choose(known: Dict[str, Watched], wanted: Iterable[str]) -> List[Watched]:
    """
    Return topics by key or by full name, each once; all, where none is wanted.

    :raises ValueError: for a name that is not of the graph.
    """
    by_name = {topic.name: topic for topic in known.values()}
    chosen = []
    for name in wanted:
        topic = known.get(name) or by_name.get(name)
        if topic is None:
            raise ValueError(
                f'--topics must be topics of the graph, got {name!r}, expected some of '
                f'{", ".join(sorted(known))}'
            )
        if topic not in chosen:
            chosen.append(topic)
    return chosen or list(known.values())


def is_obeyed(name: str) -> bool:
    """Return whether a topic may be obeyed by somebody: any that is not known to be shown only."""
    return name not in FRAMES and not any(_is_of(name, key) for key in SHOWN)


def _is_of(name: str, key: str) -> bool:
    """Return whether a full name is that of a topic, of whatever vehicle and namespace."""
    wanted = TOPICS[key].name
    pattern = re.escape(wanted.lstrip('~/')).replace(r'\{role_name\}', '[^/]+')
    before = '/' if wanted.startswith('/') else '(/.+)?/'
    return re.fullmatch(before + pattern, name) is not None


def type_name(message_class: Any) -> str:
    """Return the name of a message class, such as ``std_msgs/msg/Bool``."""
    return f'{message_class.__module__.split(".")[0]}/msg/{message_class.__name__}'


def message_class(name: str) -> Optional[Any]:
    """Return the class of a message by its name; None where its package is not installed."""
    package, _, leaf = name.partition('/msg/')
    if not re.fullmatch(r'[a-z][a-z0-9_]*_(msgs|interfaces)', package):
        return None  # names come from files: nothing else is imported by them
    try:
        return getattr(importlib.import_module(f'{package}.msg'), leaf, None)
    except ImportError:
        return None
