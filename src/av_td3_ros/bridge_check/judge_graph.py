"""What the graph offers before anything moves: topics, types, quality of service, who commands."""

from typing import Callable, Dict, List, Tuple

from av_td3_ros.bridge_check.contract import (
    COMMANDED,
    EVERY_FRAME,
    OPTIONAL,
    PUBLISHED,
    SUBSCRIBED,
)
from av_td3_ros.bridge_check.facts import Facts, Offer, Topic
from av_td3_ros.bridge_check.finding import (
    FAIL,
    faults_or_ok,
    Finding,
    not_made,
    verdict,
)

# Frames a second of real time.
SLOWEST = 4.0


def topics(facts: Facts) -> List[Finding]:
    """Every topic that we hear has a publisher, every one that we speak on a listener."""
    check = 'topics'
    published = f'{len(PUBLISHED)} published, {len(SUBSCRIBED)} listened to'
    faults = []
    for wanted, side, word in (
        (PUBLISHED, 'publishers', 'publisher'),
        (SUBSCRIBED, 'subscribers', 'subscriber'),
    ):
        for key, advice in wanted.items():
            topic = facts.topics[key]
            if not getattr(topic, side):
                faults.append(
                    Finding(check, FAIL, f'a {word}', 'none', advice + _other(facts), topic.name)
                )
    return faults_or_ok(check, faults, published, published)


def types(facts: Facts) -> List[Finding]:
    """Every endpoint has the type of the table; two types on one name crash some middlewares."""
    check, faults = 'types', []
    for topic, offers in _offered(facts):
        wrong = sorted({offer.type for offer in offers if offer.type != topic.type})
        if wrong:
            faults.append(
                Finding(
                    check,
                    FAIL,
                    topic.type,
                    ', '.join(wrong),
                    'two packages define it, or another node has taken the name: '
                    f'{_nodes(offers)}; use the carla_msgs of the bridge',
                    topic.name,
                )
            )
    return faults_or_ok(check, faults, 'as in bridge/topics.py', 'the same')


def qos(facts: Facts) -> List[Finding]:
    """Whoever offers less than the other asks for is not connected, silently."""
    check, faults = 'QoS', []
    for key, topic in facts.topics.items():
        offers = topic.publishers if key in PUBLISHED or key in OPTIONAL else topic.subscribers
        for offer in offers:
            if offer.type != topic.type:
                continue  # said by 'types'
            mine = Offer('', topic.type, topic.reliable, topic.latched)
            given, asked = (mine, offer) if key in SUBSCRIBED else (offer, mine)
            if asked.reliable > given.reliable or asked.latched > given.latched:
                faults.append(
                    Finding(
                        check,
                        FAIL,
                        _words(mine),
                        _words(offer),
                        f'{offer.node} and we are not connected; remove its QoS override, or use '
                        'carla_ros_bridge of 2022-07 or later (all its topics are reliable)',
                        topic.name,
                    )
                )
    return faults_or_ok(check, faults, 'compatible with bridge/topics.py', 'compatible')


def publishers(facts: Facts) -> List[Finding]:
    """Two publishers of one topic are two simulations, or two bridges."""
    check, faults = 'one publisher', []
    for key in PUBLISHED:
        topic = facts.topics[key]
        if len(topic.publishers) > 1:
            faults.append(
                Finding(
                    check,
                    FAIL,
                    '1',
                    f'{len(topic.publishers)}: {_nodes(topic.publishers)}',
                    'stop all but one, or give each its own ROS_DOMAIN_ID',
                    topic.name,
                )
            )
    return faults_or_ok(check, faults, '1 of each topic', '1')


def commander(facts: Facts) -> List[Finding]:
    """One command per frame is the whole protocol: nobody else may command meanwhile."""
    others = [offer for key in COMMANDED for offer in facts.topics[key].publishers]
    return verdict(
        'no other commander',
        not others,
        'no other publisher of vehicle_control_cmd or vehicle_control_cmd_manual',
        _nodes(others) or 'none',
        'stop it for this check (policy, manual control, carla_ackermann_control, '
        'carla_twist_to_control); with two a surplus command is credited to the next frame',
        facts.topics['vehicle_control_cmd'].name,
    )


def role_name(facts: Facts) -> List[Finding]:
    """The bridge, the vehicle and our config use one name."""
    check, wanted = 'role name', facts.expected.role_name
    egos = [actor.rolename for actor in facts.actors].count(wanted)
    found = {'actor_list': f'{egos} of that name'} if facts.actors else {}
    if facts.vehicle_info is not None:
        found['vehicle_info'] = facts.vehicle_info.rolename
    if not found:
        return not_made(check, wanted, 'neither vehicle_info nor actor_list was heard')
    holds = (not facts.actors or egos == 1) and found.get('vehicle_info', wanted) == wanted
    return verdict(
        check,
        holds,
        wanted,
        ', '.join(f'{key}: {value}' for key, value in found.items()),
        "start the bridge with ego_vehicle_role_name:=\"['NAME']\" (a list; a plain text is "
        'matched by its parts) and spawn one vehicle of that id; here: --role-name',
    )


def transforms(facts: Facts) -> List[Finding]:
    """The tree of frames is for rviz alone."""
    if facts.tf_publishers:
        return verdict('tf', True, 'published', f'{facts.tf_publishers} publisher', '')
    return not_made(
        'tf',
        'published',
        'nobody publishes /tf: spawn sensor.pseudo.tf, or install tf2_msgs; rviz alone needs it',
    )


def rates(facts: Facts) -> List[Finding]:
    """One message of every topic in every frame."""
    check = 'rates'
    if facts.drive_ticks < 10:
        return not_made(check, '1 a frame', facts.unmade.get('drive', 'too few frames came'))
    faults = []
    for key in EVERY_FRAME:
        topic = facts.topics[key]
        if not connected(topic):
            continue  # said by 'topics', 'types' or 'QoS'
        rate = facts.counts.get(key, 0) / facts.drive_ticks
        if abs(facts.counts.get(key, 0) - facts.drive_ticks) > max(2, 0.05 * facts.drive_ticks):
            faults.append(
                Finding(check, FAIL, '1 a frame', f'{rate:.2f}', _rate_advice(rate), topic.name)
            )
    return faults_or_ok(check, faults, '1 a frame', f'1 in {facts.drive_ticks} frames')


def speed(facts: Facts) -> List[Finding]:
    """Fast enough to train: below this a hundred thousand steps take seven hours."""
    check, expected = 'frames per second', f'{SLOWEST:g} or more'
    if facts.drive_ticks < 10:
        return not_made(check, expected, facts.unmade.get('drive', 'too few frames came'))
    rate = facts.drive_ticks / facts.drive_seconds
    return verdict(
        check,
        rate >= SLOWEST,
        expected,
        f'{rate:.0f}' if rate >= 10 else f'{rate:.1f}',
        'fewer pixels and fewer sensors first (the bridge is slower than the server), then '
        '-quality-level=Low, and a machine of its own for the server',
    )


def connected(topic: Topic) -> bool:
    """Return whether a message of this topic can reach us."""
    return any(
        offer.type == topic.type
        and offer.reliable >= topic.reliable
        and offer.latched >= topic.latched
        for offer in topic.publishers
    )


def _rate_advice(rate: float) -> str:
    if rate == 0.0:
        return 'published and silent: see the log of its node'
    if rate < 1.0:
        return (
            'leave sensor_tick unset in the objects file (it drops frames), and let nobody else '
            'tick the world'
        )
    return 'two nodes publish it, or it is published twice a tick'


def _other(facts: Facts) -> str:
    others = [role for role in facts.roles if role != facts.expected.role_name]
    if not others:
        return ''
    if '' in others:
        return '; a topic /carla//... is a vehicle without role_name (native CARLA needs hero)'
    return f'; the graph has /carla/{others[0]}/...: try --role-name {others[0]}'


def _offered(facts: Facts) -> List[Tuple[Topic, Tuple[Offer, ...]]]:
    return [(topic, (*topic.publishers, *topic.subscribers)) for topic in facts.topics.values()]


def _nodes(offers: object) -> str:
    return ', '.join(sorted({offer.node for offer in offers}))


def _words(offer: Offer) -> str:
    return (
        f'{"reliable" if offer.reliable else "best effort"}, '
        f'{"transient local" if offer.latched else "volatile"}'
    )


CHECKS: Dict[str, Callable[[Facts], List[Finding]]] = {
    'topics': topics,
    'types': types,
    'QoS': qos,
    'one publisher': publishers,
    'no other commander': commander,
    'role name': role_name,
    'tf': transforms,
    'rates': rates,
    'frames per second': speed,
}
