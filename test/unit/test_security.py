"""Keystore and permissions: whole, signed, of the standard's form, and no right too many."""

from datetime import datetime, timezone
import os
from pathlib import Path
import re
import shutil
import stat
import subprocess
from xml.etree import ElementTree

import pytest
import yaml

from av_td3_ros.security import documents, keystore
from av_td3_ros.security.rights import access, Names, NODES, RIGHTS

pytest.importorskip('cryptography', reason='cryptography is not installed: run `make setup`')

VALID = (datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc))


class _Named(dict):
    """Names every key after itself."""

    def __missing__(self, key):
        return key


NAMES = Names(
    _Named(vehicle_control_cmd='/carla/{role_name}/vehicle_control_cmd'),
    _Named({key: f'~/{key}' for rights in RIGHTS.values() for key in rights.serve}),
    'av_td3',
    'hero',
)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys') / 'keystore'
    enclaves = keystore.create(folder, tuple(RIGHTS), NAMES, 7, 30)
    assert enclaves == tuple(f'/av_td3/{name}' for name in RIGHTS)
    return folder


def openssl(*arguments, **kwargs):
    if shutil.which('openssl') is None:
        pytest.skip('openssl is not installed: it is the independent reader of signatures')
    return subprocess.run(['openssl', *arguments], capture_output=True, **kwargs)


def test_the_layout_is_that_of_sros2(made):
    for name in ('identity_ca', 'permissions_ca'):
        assert (made / 'public' / f'{name}.cert.pem').is_file()
        assert (made / 'private' / f'{name}.key.pem').is_file()
    assert (made / 'enclaves' / 'governance.p7s').is_file()
    wanted = {'cert.pem', 'key.pem', 'governance.p7s', 'permissions.p7s', 'permissions.xml'}
    wanted |= {'identity_ca.cert.pem', 'permissions_ca.cert.pem'}
    for name in RIGHTS:
        place = made / 'enclaves' / 'av_td3' / name
        assert {path.name for path in place.iterdir()} == wanted
        assert not any(path.is_symlink() for path in place.iterdir())


def test_keys_are_their_owner_s_alone(made):
    keys = list(made.rglob('*key.pem'))
    assert len(keys) == 2 + len(RIGHTS)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)
    assert stat.S_IMODE((made / 'private').stat().st_mode) == 0o700


@pytest.mark.parametrize('name', RIGHTS)
def test_an_independent_reader_accepts_certificates_and_signatures(made, name):
    place = made / 'enclaves' / 'av_td3' / name
    chain = openssl('verify', '-CAfile', place / 'identity_ca.cert.pem', place / 'cert.pem')
    assert chain.returncode == 0, chain.stderr
    subject = openssl(
        'x509', '-in', place / 'cert.pem', '-noout', '-subject', '-nameopt', 'RFC2253'
    )
    assert subject.stdout.decode().strip() == f'subject=CN=/av_td3/{name}'
    for document, plain in (
        ('permissions.p7s', place / 'permissions.xml'),
        ('governance.p7s', made / 'enclaves' / 'governance.xml'),
    ):
        read = verified(place / document, place / 'permissions_ca.cert.pem')
        assert read.returncode == 0, read.stderr
        assert read.stdout.replace(b'\r\n', b'\n') == plain.read_bytes()


def verified(document, authority):
    """Read a signed document as Fast DDS does: no chain, the authority's certificate alone."""
    options = ('-text', '-noverify', '-nointern', '-certfile', authority)
    return openssl('smime', '-verify', '-in', document, *options)


def test_a_changed_permission_is_no_longer_signed(made, tmp_path):
    place = made / 'enclaves' / 'av_td3' / 'watcher'
    signed = (place / 'permissions.p7s').read_bytes()
    changed = tmp_path / 'permissions.p7s'
    changed.write_bytes(signed.replace(b'<default>DENY', b'<default>ALLOW'))
    assert changed.read_bytes() != signed
    assert verified(changed, place / 'permissions_ca.cert.pem').returncode != 0
    other = made / 'public' / 'identity_ca.cert.pem'
    assert verified(place / 'permissions.p7s', other).returncode != 0


def test_what_is_written_says_who_may_what_where_and_how_long(made):
    place = made / 'enclaves' / 'av_td3' / 'policy'
    grant = ElementTree.fromstring((place / 'permissions.xml').read_bytes()).find('*/grant')
    assert grant.findtext('subject_name') == 'CN=/av_td3/policy'
    assert grant.findtext('default') == 'DENY'
    assert [rule.tag for rule in grant if rule.tag.endswith('_rule')] == ['allow_rule']
    assert grant.findtext('allow_rule/domains/id') == '7'
    begin, end = (
        datetime.fromisoformat(grant.findtext(f'validity/{name}'))
        for name in ('not_before', 'not_after')
    )
    assert 30 <= (end - begin).days <= 31
    published = {topic.text for topic in grant.iterfind('allow_rule/publish/topics/topic')}
    assert 'rt/carla/hero/vehicle_control_cmd' in published
    rules = ElementTree.parse(made / 'enclaves' / 'governance.xml').find('*/domain_rule')
    assert rules.findtext('allow_unauthenticated_participants') == 'false'
    assert rules.findtext('enable_join_access_control') == 'true'
    assert rules.findtext('topic_access_rules/topic_rule/enable_write_access_control') == 'true'


def publishers(topic):
    return {name for name in RIGHTS if topic in access(name, NAMES).publish}


def test_only_the_policy_steers_and_only_the_trainer_feeds_weights():
    assert publishers('rt/carla/hero/vehicle_control_cmd') == {'policy'}
    assert publishers('rt/av_td3/policy_weights') == {'trainer'}
    assert publishers('rt/av_td3/observation') == {'perception'}
    assert publishers('rt/av_td3/transition') == {'episode_manager'}
    assert publishers('rt/av_td3/manual_override') == {'operator'}


def test_wildcards_are_for_watching_alone():
    patterns = {}
    for name in RIGHTS:
        allowed = access(name, NAMES)
        own = [topic for topic in allowed.publish if not topic.startswith('rr/*/')]
        patterns[name] = [topic for topic in own if re.search(r'[*?\[]', topic)]
        if name not in ('watcher', 'rviz'):
            assert own == list(allowed.publish)
            heard = [topic for topic in allowed.subscribe if re.search(r'[*?\[]', topic)]
            assert all(topic.startswith('rq/_ros2cli_*/') for topic in heard), name
            assert bool(heard) is (name == 'operator')
    # The services of a terminal's own node: no node of the graph has such a name.
    assert all(topic.startswith('rr/_ros2cli_*/') for topic in patterns.pop('operator'))
    assert not any(patterns.values()), patterns
    for name, more in (('watcher', set()), ('rviz', {'rr/*/reset_timeReply'})):
        allowed = access(name, NAMES)
        assert not [topic for topic in allowed.publish if topic.startswith('rq')]
        answers = {topic for topic in allowed.publish if topic.startswith('rr')}
        assert more < answers and all(topic.startswith('rr/*/') for topic in answers)
        assert all('param' in topic or 'get_type_desc' in topic for topic in answers - more)


def test_rviz_may_publish_what_the_tools_of_its_file_publish_and_no_more():
    file = Path(__file__).resolve().parents[2] / 'config' / 'av_td3.rviz'
    tools = yaml.safe_load(file.read_text())['Visualization Manager']['Tools']
    said = {'rt' + tool['Topic']['Value'] for tool in tools if 'Topic' in tool}
    names = Names(_Named(goal='/carla/{role_name}/goal'), _Named(), 'av_td3', 'ego_vehicle')
    rviz, watcher = (set(access(name, names).publish) for name in ('rviz', 'watcher'))
    assert said and said == {topic for topic in rviz - watcher if topic.startswith('rt')}


def test_only_the_operator_calls_services():
    for name in RIGHTS:
        asks = [topic for topic in access(name, NAMES).publish if topic.startswith('rq/')]
        assert bool(asks) is (name == 'operator'), name
    asked = access('operator', NAMES).publish
    assert all(f'rq/av_td3/{node}/change_stateRequest' in asked for node in NODES)


def test_a_participant_that_is_not_there_is_named():
    with pytest.raises(ValueError, match='participant must be one of .*policy.*, got .nobody.'):
        access('nobody', NAMES)


def test_nothing_is_replaced(made):
    before = (made / 'private' / 'identity_ca.key.pem').read_bytes()
    with pytest.raises(
        keystore.KeystoreError, match='keystore must be a new folder, got .*keysto'
    ):
        keystore.create(made, ('policy',), NAMES, 0, 30)
    assert (made / 'private' / 'identity_ca.key.pem').read_bytes() == before


@pytest.mark.parametrize('days', [0, -1, 36_501])
def test_days_out_of_range_leave_nothing(tmp_path, days):
    with pytest.raises(keystore.KeystoreError, match=f'days must be 1 to 36500, got {days}'):
        keystore.create(tmp_path / 'keys', ('policy',), NAMES, 0, days)
    assert not list(tmp_path.iterdir())


def test_a_fault_on_the_way_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match='participant must be one of'):
        keystore.create(tmp_path / 'keys', ('policy', 'nobody'), NAMES, 0, 30)
    with pytest.raises(ValueError, match='domain must be 0 to 232, got 233'):
        keystore.create(tmp_path / 'keys', ('policy',), NAMES, 233, 30)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(keystore.KeystoreError, match='keystore must be writable, got .*file/keys'):
        keystore.create(tmp_path / 'file' / 'keys', ('policy',), NAMES, 0, 30)


def test_without_cryptography_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(keystore, 'x509', None)
    with pytest.raises(keystore.KeystoreError, match='pip install cryptography'):
        keystore.create(tmp_path / 'keys', ('policy',), NAMES, 0, 30)


GOOD = documents.permissions('/av_td3/policy', access('policy', NAMES), 0, VALID)


@pytest.mark.parametrize(
    'old, new, text',
    [
        (b'<default>DENY</default>', b'', 'grant'),
        (b'DENY', b'MAYBE', 'default'),
        (b'<validity>', b'<default>DENY</default><validity>', 'grant'),
        (b'2026-01-01T00:00:00', b'yesterday', 'not_before'),
        (b'<id>0</id>', b'<id>-1</id>', 'id'),
        (b'<id>0</id>', b'', 'domains'),
        (b'<allow_rule>', b'<allow_rule><evil/>', 'allow_rule'),
        (b' name="/av_td3/policy"', b'', 'name'),
        (b'</dds>', b'', 'must be XML'),
        (b'<permissions>', b'<permissions/><permissions>', 'must be <dds>'),
    ],
)
def test_a_document_of_another_form_is_refused(old, new, text):
    documents.check(GOOD)
    assert old in GOOD
    with pytest.raises(documents.DocumentError, match=text):
        documents.check(GOOD.replace(old, new, 1))


def schema(kind):
    """Return the standard's own schema, which SROS 2 ships, or skip."""
    etree = pytest.importorskip('lxml.etree', reason='lxml is not installed')
    place = os.environ.get('DDS_SECURITY_SCHEMAS')
    if place is None:
        sros2 = pytest.importorskip(
            'sros2', reason="sros2, which ships the standard's schemas, is not installed"
        )
        place = Path(sros2.__file__).parent / 'policy' / 'schemas' / 'dds'
    return etree, etree.XMLSchema(etree.parse(str(Path(place) / f'{kind}.xsd')))


def test_governance_and_permissions_follow_the_standard_s_schema(made):
    etree, governance = schema('governance')
    governance.assertValid(etree.parse(str(made / 'enclaves' / 'governance.xml')))
    _, permissions = schema('permissions')
    for path in made.rglob('permissions.xml'):
        permissions.assertValid(etree.parse(str(path)))


def test_each_process_is_given_the_enclave_of_its_name_where_security_is_on(monkeypatch):
    from av_td3_ros import graph

    monkeypatch.delenv('ROS_SECURITY_ENABLE', raising=False)
    assert graph.enclave('policy') == []
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    assert graph.enclave('policy', '/mine/') == ['--enclave', '/mine/policy']
    names = {spec.name for kind in graph.GRAPHS.values() for spec in kind} | {'operator'}
    for name in names:  # each is one that a keystore has
        assert graph.enclave(name) == ['--enclave', keystore.enclave_name(name, NAMES)]
        assert name in RIGHTS
