"""
A few hundred messages for every node, the same each time; ``make fuzz`` throws many more.

And the fuzzer itself: it finds what was planted, in a subscription that nobody told it of.
"""

import math
from types import SimpleNamespace

import fuzz_campaign
from fuzz_campaign import Campaign, main, write
from fuzz_messages import described, floats, messages, near
from fuzz_subjects import Perception, SUBJECTS
from geometry_msgs.msg import Twist
from hypothesis import given, HealthCheck, settings
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

from av_td3_ros.bridge import images
from av_td3_ros.bridge.topics import TOPICS

QUICK = settings(max_examples=10, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize('subject', SUBJECTS, ids=lambda subject: subject.name())
def test_a_node_survives_whatever_comes_and_works_on(subject):
    campaign = Campaign(subject)
    try:
        campaign.run(500)
        assert not campaign.faults, campaign.faults[0]
        assert campaign.messages == 500
        known = {entrance.key for entrance in campaign._subject.targets()}
        assert set(campaign.entrances) == known, 'an entrance got no message'
    finally:
        campaign.close()


@pytest.mark.parametrize('cls', sorted({t.type for t in TOPICS.values()}, key=str), ids=str)
def test_every_type_is_built_from_its_definition(cls):
    seen = []

    @QUICK
    @given(messages(cls) | near(cls()))
    def build(msg):
        assert isinstance(msg, cls)
        seen.append(described(msg))

    build()
    assert len(set(seen)) > 1, 'all are the same'


def test_floats_of_nested_messages_are_seen():
    from nav_msgs.msg import Path
    from geometry_msgs.msg import PoseStamped

    msg = Path(poses=[PoseStamped(), PoseStamped()])
    msg.poses[1].pose.position.x = math.nan
    found = [value for name, value in floats(msg) if name == 'poses[].pose.position.x']
    assert found[0] == 0.0 and math.isnan(found[1])


class Planted(Perception):
    """Perception with one subscription more, of which nobody told the fuzzer."""

    plant = staticmethod(lambda node, msg: None)

    def __init__(self, context, folder):
        super().__init__(context, folder)
        plant = type(self).plant
        self.node.create_subscription(Float32, 'new_topic', lambda msg: plant(self.node, msg), 1)


def _raises(node, msg):
    if not math.isfinite(msg.data):
        raise ZeroDivisionError('planted')


def _hangs(node, msg):
    while msg.data == math.inf:
        pass


def _publishes(node, msg):
    from av_td3_msgs.msg import Observation
    import array

    if not math.isfinite(msg.data):
        node._observation_pub.publish(Observation(vector=array.array('f', [msg.data])))


def _keeps(node, msg):
    if msg.data < 0.0:
        node.kept = getattr(node, 'kept', []) + [bytearray(400 * 2**20)]
        node.kept[-1][::4096] = b'x' * len(node.kept[-1][::4096])


def _dies(node, msg):
    node.active = False


@pytest.mark.parametrize(
    'plant, text',
    [
        (_raises, 'ZeroDivisionError: planted'),
        (_hangs, 'Hang: longer than'),
        (_publishes, 'observation.vector is not finite'),
        (_keeps, 'MB more after'),
        (_dies, 'a whole frame made 0 observations'),
    ],
)
def test_what_is_planted_is_found(monkeypatch, plant, text):
    monkeypatch.setattr(fuzz_campaign, 'LIMIT', 3.0)
    monkeypatch.setattr(fuzz_campaign, 'MOST_FAULTS', 1)
    monkeypatch.setattr(Planted, 'plant', staticmethod(plant))
    campaign = Campaign(Planted)
    try:
        campaign.run(300)
        assert len(campaign.faults) == 1
        fault = campaign.faults[0]
        assert text in fault['fault']
        assert 'Float32' in fault['message'] or 'good messages' in fault['entrance']
    finally:
        campaign.close()


def test_a_speed_or_a_turn_beyond_the_vehicle_is_a_fault():
    for axis, value in (('linear.x', 1000.0), ('linear.x', -0.1), ('linear.y', 0.1)):
        msg, campaign = Twist(), Campaign.__new__(Campaign)
        part, name = axis.split('.')
        setattr(getattr(msg, part), name, value)
        campaign._subject = SimpleNamespace(published=[('cmd_vel', msg)])
        with pytest.raises(fuzz_campaign.Fault, match=f'cmd_vel.{axis} is out of bounds'):
            campaign._check_published()


def test_images_of_known_encodings_are_thrown():
    seen = set()

    @settings(QUICK, max_examples=500)
    @given(near(Image(encoding='bgra8', height=2, width=2, step=8, data=bytes(16))))
    def build(msg):
        seen.add(msg.encoding)

    build()
    assert len(seen & set(images.ENCODINGS)) > 5


@pytest.mark.parametrize('first_seed, same', [(0, True), (1, False)])
def test_the_seed_alone_says_what_is_thrown(monkeypatch, first_seed, same):
    """Whatever profile of Hypothesis the tests run by."""

    def thrown(number):
        campaign, seen = Campaign(Perception, number), []
        with monkeypatch.context() as patch:
            patch.setattr(
                campaign, '_throw', lambda key, msg, _: seen.append((key, described(msg)))
            )
            campaign.run(20)
        campaign.close()
        return seen

    assert (thrown(0) == thrown(first_seed)) is same


def test_the_table_is_written(tmp_path):
    row = {'node': 'policy', 'messages': 5, 'rate': 2.5, 'faults': 0, 'entrances': {}, 'found': []}
    write(tmp_path / 'new', [row])
    assert (tmp_path / 'new' / 'fuzz.csv').read_text().splitlines() == [
        'node,messages,rate,faults',
        'policy,5,2.5,0',
    ]
    assert '"messages": 5' in (tmp_path / 'new' / 'fuzz.json').read_text()


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--node', 'no'], 'node must be one of'),
        (['--messages', '0'], 'messages must be at least'),
    ],
)
def test_bad_arguments_are_named(monkeypatch, capsys, arguments, text):
    monkeypatch.setattr('sys.argv', ['fuzz', *arguments])
    assert main() == 2
    assert text in capsys.readouterr().err
