"""
Who may say what: the rights of every participant, by the keys of the table of topics.

Least privilege: what is not named here is denied. A test configures the real nodes and compares
what they publish, take and serve with this table, so that it cannot fall behind.
"""

from typing import Dict, Iterable, List, Mapping, NamedTuple, Set, Tuple


class Rights(NamedTuple):
    """
    What one participant may do, by keys of the tables of ``bridge/topics.py``.

    ``publish``, ``subscribe``: topics. ``serve``: services it offers. ``call``: nodes whose
    services, those of parameters and of the life cycle among them, it may call.
    """

    publish: Tuple[str, ...] = ()
    subscribe: Tuple[str, ...] = ()
    serve: Tuple[str, ...] = ()
    call: Tuple[str, ...] = ()


# What the simulation, ours or CARLA behind its bridge, publishes.
WORLD = (
    'clock',
    'status',
    'world_info',
    'actor_list',
    'image',
    'image_compressed',
    'camera_info',
    'segmentation',
    'segmentation_info',
    'depth',
    'depth_info',
    'odometry',
    'speedometer',
    'vehicle_status',
    'vehicle_info',
    'collision',
    'lane_invasion',
    'waypoints',
    'markers',
)

RIGHTS: Dict[str, Rights] = {
    'simulator': Rights(
        publish=(*WORLD, 'diagnostics', '/tf'),
        subscribe=(
            'vehicle_control_cmd',
            'vehicle_control_cmd_manual',
            'manual_override',
            'world_control',
            'weather_control',
            'set_transform',
            'set_target_velocity',
            'goal',
        ),
    ),
    'perception': Rights(
        publish=('observation', 'debug_stack', 'diagnostics'),
        subscribe=(
            'status',
            'odometry',
            'waypoints',
            'world_info',
            'episode_state',
            'action',
            'image',
            'image_compressed',
            'camera_info',
        ),
    ),
    'policy': Rights(
        publish=(
            'vehicle_control_cmd',
            'cmd_vel',
            './ackermann_cmd',
            './control_cmd',
            'action',
            'policy_status',
            'diagnostics',
        ),
        subscribe=(
            'policy_weights',
            'clock',
            'status',
            'odometry',
            'manual_override',
            'observation',
        ),
        serve=('engage',),
    ),
    'episode_manager': Rights(
        publish=(
            'episode_state',
            'episode_result',
            'transition',
            'set_transform',
            'set_target_velocity',
            'goal',
            'world_control',
            'debug_markers',
            'diagnostics',
        ),
        subscribe=(
            'world_info',
            'status',
            'training_status',
            'actor_list',
            'collision',
            'lane_invasion',
            'waypoints',
            'action',
            'observation',
            'odometry',
        ),
        serve=('set_paused', 'set_mode'),
    ),
    'trainer': Rights(
        publish=('policy_weights', 'training_status', 'diagnostics'),
        subscribe=('transition', 'episode_result'),
        serve=('save_checkpoint',),
    ),
    'watch': Rights(
        publish=(
            'watch_markers',
            'watch_steering',
            'watch_acceleration',
            'watch_q_policy',
            'watch_q_replay',
            'watch_feature_norm',
        ),
        subscribe=('vehicle_info', 'diagnostics', 'episode_state', 'odometry', 'action'),
    ),
    # A person at a terminal, and the supervisor of `av-td3 train`: life cycle, parameters, pause.
    'operator': Rights(
        publish=(
            'vehicle_control_cmd_manual',
            'manual_override',
            'weather_control',
            'world_control',
        ),
        subscribe=('diagnostics', 'policy_status', 'training_status', 'episode_result', '/rosout'),
        call=('simulator', 'perception', 'policy', 'episode_manager', 'trainer'),
    ),
    # rqt, a recorder: sees everything, says nothing but what parameters it has itself.
    'watcher': Rights(subscribe=('*',)),
    # rviz: a watcher with a tool that sets the goal, as config/av_td3.rviz has it; from Jazzy on
    # it also lets its own time be reset.
    'rviz': Rights(publish=('goal',), subscribe=('*',), serve=('reset_time',)),
}
NODES = ('simulator', 'perception', 'policy', 'episode_manager', 'trainer')

# What rclpy gives every node; a life cycle is that of ours.
PLAIN_SERVICES = (
    'describe_parameters',
    'get_parameter_types',
    'get_parameters',
    'get_type_description',
    'list_parameters',
    'set_parameters',
    'set_parameters_atomically',
)
OWN_SERVICES = (
    *PLAIN_SERVICES,
    'change_state',
    'get_available_states',
    'get_available_transitions',
    'get_state',
    'get_transition_graph',
)
COMMON_PUBLISH = ('/rosout', '/parameter_events', '~/transition_event')
COMMON_SUBSCRIBE = ('/parameter_events', '/clock')
DISCOVERY = 'ros_discovery_info'
# `ros2 service call` is a node itself, of such a name whatever it calls, without a namespace.
TERMINAL = '_ros2cli_*'


class Access(NamedTuple):
    """Names of DDS topics that a participant may publish and subscribe to, sorted."""

    publish: Tuple[str, ...]
    subscribe: Tuple[str, ...]


class Names(NamedTuple):
    """
    Names of a graph: of topics and services by key, with ``{role_name}`` where the bridge has one.
    """

    topics: Mapping[str, str]
    services: Mapping[str, str]
    namespace: str
    role_name: str


def access(participant: str, names: Names) -> Access:
    """
    Return what a participant may publish and subscribe to on the wire.

    :param participant: one of ``RIGHTS``.
    :param names: of the graph.
    :raises ValueError: where there is no such participant.
    """
    if participant not in RIGHTS:
        raise ValueError(f'participant must be one of {sorted(RIGHTS)}, got {participant!r}')
    rights = RIGHTS[participant]
    if '*' in rights.subscribe:
        own = _topics((*COMMON_PUBLISH[:2], *rights.publish), participant, names)
        # Its nodes have any name. A pattern cannot leave ours out: `*` holds slashes, too.
        requests, replies = _wire([f'/*/{name}' for name in (*PLAIN_SERVICES, *rights.serve)])
        return _sorted([*own, *replies, DISCOVERY], ['rt/*', *requests, DISCOVERY])
    publish = _topics((*COMMON_PUBLISH, *rights.publish), participant, names)
    subscribe = _topics((*COMMON_SUBSCRIBE, *rights.subscribe), participant, names)
    requests, replies = _services(participant, names)
    publish += [*replies, DISCOVERY]
    subscribe += [*requests, DISCOVERY]
    for node in rights.call:
        requests, replies = _services(node, names)
        publish += requests
        subscribe += replies
    if rights.call:
        requests, replies = _wire([f'/{TERMINAL}/{name}' for name in PLAIN_SERVICES])
        publish += replies
        subscribe += requests
    return _sorted(publish, subscribe)


def _topics(keys: Iterable[str], participant: str, names: Names) -> List[str]:
    """Return DDS names; a key that begins with /, ~ or . is a name already."""
    return [
        'rt' + _full(key if key[0] in '/~.' else names.topics[key], participant, names)
        for key in keys
    ]


def _services(node: str, names: Names) -> Tuple[List[str], List[str]]:
    """Return the DDS topics of requests to a node, and of its replies."""
    offered = [f'~/{name}' for name in OWN_SERVICES]
    offered += [names.services[key] for key in RIGHTS[node].serve]
    return _wire([_full(name, node, names) for name in offered])


def _wire(services: Iterable[str]) -> Tuple[List[str], List[str]]:
    """Return the DDS topics of requests and of replies of services, each named in full."""
    full = list(services)
    return [f'rq{name}Request' for name in full], [f'rr{name}Reply' for name in full]


def _full(name: str, participant: str, names: Names) -> str:
    name = name.format(role_name=names.role_name)
    prefix = f'/{names.namespace.strip("/")}' if names.namespace.strip('/') else ''
    if name.startswith('/'):
        return name
    if name.startswith('~'):
        return f'{prefix}/{participant}{name[1:]}'
    return f'{prefix}/{name.removeprefix("./")}'


def _sorted(publish: Iterable[str], subscribe: Iterable[str]) -> Access:
    unique: List[Set[str]] = [set(publish), set(subscribe)]
    return Access(tuple(sorted(unique[0])), tuple(sorted(unique[1])))
