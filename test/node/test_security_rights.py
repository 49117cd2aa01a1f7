"""
The rights of every participant against what the real nodes do; and, where the middleware has
security, that who has no right can neither steer nor feed weights.
"""

import fnmatch
import os
import subprocess
import sys

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import SetBool

from av_td3_ros.bridge.topics import SERVICES, TOPICS
from av_td3_ros.cli.main import main
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.nodes.simulator_node import SimulatorNode
from av_td3_ros.nodes.trainer_node import TrainerNode
from av_td3_ros.security import keystore
from av_td3_ros.security.rights import access, Names, NODES, RIGHTS

NAMES = Names(
    {key: topic.name for key, topic in TOPICS.items()},
    {key: service.name for key, service in SERVICES.items()},
    'av_td3',
    'ego_vehicle',
)
# A plain node, as rqt and a recorder are: named anyhow, with services of its own.
PLAIN_NAMES = ('rqt', 'recorder', 'rqt_gui_py_node_7')
SMALL = {'image_width': 64, 'image_height': 48}
VARIANTS = [
    (SimulatorNode, SMALL),
    (SimulatorNode, {**SMALL, 'segmentation': True, 'depth': True}),
    (PerceptionNode, {}),
    (PerceptionNode, {'episodes': False, 'observation__command': True}),
    (PolicyNode, {}),
    (PolicyNode, {'output': 'twist', 'lock_step': False}),
    (EpisodeManagerNode, {}),
    (TrainerNode, {'precision': 'fp32'}),
]


def on_the_wire(node):
    """Return the DDS topics that a node publishes and subscribes to."""
    publish = {'rt' + publisher.topic_name for publisher in node.publishers}
    subscribe = {'rt' + subscription.topic_name for subscription in node.subscriptions}
    names = [service.service_name for service in node.services]
    publish |= {f'rr{name}Reply' for name in names}
    subscribe |= {f'rq{name}Request' for name in names}
    return publish, subscribe


@pytest.mark.parametrize('node_class, params', VARIANTS)
def test_a_node_may_do_what_it_does(ros, tmp_path, node_class, params):
    if node_class is TrainerNode:
        params = {**params, 'run_dir': str(tmp_path)}
    node = ros.make(node_class, **params)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    allowed = access(node_class.NAME, NAMES)
    publish, subscribe = on_the_wire(node)
    assert publish - set(allowed.publish) == set()
    assert subscribe - set(allowed.subscribe) == set()
    assert len(publish) > 5 and len(subscribe) > 5


def test_every_topic_of_the_table_has_somebody_who_may_publish_it():
    published = {topic for name in RIGHTS for topic in access(name, NAMES).publish}
    for key, topic in TOPICS.items():
        name = topic.name.format(role_name='ego_vehicle')
        if not name.startswith('~'):
            full = name if name.startswith('/') else f'/av_td3/{name}'
            assert f'rt{full}' in published, key


def beyond(topics, patterns):
    """Return the topics that no pattern permits, as Fast DDS compares them."""
    return {t for t in topics if not any(fnmatch.fnmatchcase(t, p) for p in patterns)}


@pytest.mark.parametrize('name', PLAIN_NAMES)
def test_a_watcher_of_any_name_may_be_an_ordinary_node_and_no_more(ros, name):
    node = ros.node(name)
    publish, subscribe = on_the_wire(node)
    allowed = access('watcher', NAMES)
    assert not beyond(publish, allowed.publish) and not beyond(subscribe, allowed.subscribe)
    for topic in (
        'rt/carla/ego_vehicle/vehicle_control_cmd',
        'rr/av_td3/policy/engageReply',
        'rr/av_td3/policy/change_stateReply',
        'rq/av_td3/policy/set_parametersRequest',
        'rq/av_td3/policy/engageRequest',
    ):
        assert beyond({topic}, allowed.publish) == {topic}


def test_an_operator_at_a_terminal_may_call_and_answers_for_nobody_else(ros):
    """`ros2 service call` is an ordinary node of this name, without a namespace."""
    node = ros._add(rclpy.create_node('_ros2cli_requester_std_srvs_SetBool', context=ros.context))
    client = node.create_client(SetBool, '/av_td3/policy/engage')
    publish, subscribe = on_the_wire(node)
    publish.add(f'rq{client.service_name}Request')
    subscribe.add(f'rr{client.service_name}Reply')
    allowed = access('operator', NAMES)
    assert not beyond(publish, allowed.publish) and not beyond(subscribe, allowed.subscribe)
    for topic in ('rr/av_td3/policy/get_parametersReply', 'rr/av_td3/policy/engageReply'):
        assert beyond({topic}, allowed.publish) == {topic}


def test_no_node_may_publish_what_only_another_does():
    command = 'rt/carla/ego_vehicle/vehicle_control_cmd'
    for name in set(NODES) - {'policy'}:
        assert command not in access(name, NAMES).publish
        assert ('rt/av_td3/policy_weights' in access(name, NAMES).publish) is (name == 'trainer')


TALK = '''
import sys, rclpy
from av_td3_ros.bridge.topics import TOPICS, topic_name, topic_qos
rclpy.init()
# Named as its enclave: that one's services, of parameters too, are all that is permitted.
node = rclpy.create_node(sys.argv[3], namespace='av_td3')
print('node')
key = sys.argv[1]
made = (node.create_publisher if sys.argv[2] == 'pub' else node.create_subscription)
name = topic_name(key, 'ego_vehicle')
if sys.argv[2] == 'pub':
    made(TOPICS[key].type, name, topic_qos(key))
else:
    made(TOPICS[key].type, name, print, topic_qos(key))
print('made')
'''


def secured(folder, domain, enclave, key, way):
    """Make a publisher or a subscription as a participant; return the process that ended."""
    environment = {
        **os.environ,
        'ROS_SECURITY_KEYSTORE': str(folder),
        'ROS_SECURITY_ENABLE': 'true',
        'ROS_SECURITY_STRATEGY': 'Enforce',
        'ROS_SECURITY_ENCLAVE_OVERRIDE': enclave,
        'ROS_DOMAIN_ID': domain,
    }
    return subprocess.run(
        [sys.executable, '-c', TALK, key, way, enclave.rsplit('/', 1)[-1]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_unpermitted_participant_can_neither_steer_nor_feed_weights(tmp_path, domain):
    pytest.importorskip('cryptography', reason='cryptography is not installed: run `make setup`')
    folder = tmp_path / 'keystore'
    keystore.create(folder, tuple(RIGHTS), NAMES, int(domain), 30)
    own = secured(folder, domain, '/av_td3/policy', 'vehicle_control_cmd', 'pub')
    if "doesn't have the security libraries" in own.stderr + own.stdout:
        pytest.skip('the installed middleware was built without security')
    assert own.returncode == 0 and 'made' in own.stdout, own.stderr
    for enclave, key in (
        ('/av_td3/watcher', 'vehicle_control_cmd'),
        ('/av_td3/perception', 'vehicle_control_cmd'),
        ('/av_td3/watcher', 'policy_weights'),
        ('/av_td3/policy', 'policy_weights'),
        ('/av_td3/nobody', 'vehicle_control_cmd'),
    ):
        other = secured(folder, domain, enclave, key, 'pub')
        assert other.returncode != 0 and 'made' not in other.stdout, (enclave, key)
        # Whom the keystore knows gets in: it is the topic that is refused.
        assert ('node' in other.stdout) is (enclave != '/av_td3/nobody'), other.stderr


def test_the_command_makes_a_keystore_from_the_table_and_replaces_none(tmp_path, capsys):
    pytest.importorskip('cryptography', reason='cryptography is not installed: run `make setup`')
    folder = tmp_path / 'keys'
    wanted = ['security', 'create', str(folder), '--role-name', 'hero', '--domain', '9']
    assert main([*wanted, '--participant', 'policy', '--participant', 'perception']) == 0
    said = capsys.readouterr().out
    assert f'ROS_SECURITY_KEYSTORE={folder}' in said and '/av_td3/policy' in said
    place = folder / 'enclaves' / 'av_td3'
    assert sorted(path.name for path in place.iterdir()) == ['perception', 'policy']
    permissions = (place / 'policy' / 'permissions.xml').read_text()
    assert '<topic>rt/carla/hero/vehicle_control_cmd</topic>' in permissions
    assert '<id>9</id>' in permissions and 'ego_vehicle' not in permissions
    assert main(wanted) == 2
    assert 'keystore must be a new folder' in capsys.readouterr().err


@pytest.mark.parametrize(
    'option, value, text',
    [
        ('--role-name', 'a/../b', '--role-name must be a ROS name'),
        ('--namespace', 'a b', '--namespace must be a ROS name'),
        ('--domain', '999', 'domain must be 0 to 232, got 999'),
        ('--days', '0', 'days must be 1 to'),
    ],
)
def test_bad_options_are_named_and_nothing_is_left(tmp_path, capsys, option, value, text):
    pytest.importorskip('cryptography', reason='cryptography is not installed: run `make setup`')
    assert main(['security', 'create', str(tmp_path / 'keys'), option, value]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
