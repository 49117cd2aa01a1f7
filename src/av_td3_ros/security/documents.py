"""
Governance and permissions as DDS Security wants them: XML, and a check of its structure.

OMG DDS Security 1.1 (formal/18-04-01), chapter 9.4: what a domain protects is governance, what one
participant may do is its permissions. Both are signed by the permissions authority.
"""

from datetime import datetime
import re
from typing import Dict, Tuple
from xml.etree import ElementTree

from av_td3_ros.security.rights import Access

SCHEMA = 'http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_{}.xsd'
INSTANCE = 'http://www.w3.org/2001/XMLSchema-instance'
LARGEST_DOMAIN = 232

TOPIC_RULE = {
    'topic_expression': '*',
    'enable_discovery_protection': 'true',
    'enable_liveliness_protection': 'true',
    'enable_read_access_control': 'true',
    'enable_write_access_control': 'true',
    'metadata_protection_kind': 'ENCRYPT',
    'data_protection_kind': 'ENCRYPT',
}
DOMAIN_RULE = {
    'allow_unauthenticated_participants': 'false',
    'enable_join_access_control': 'true',
    'discovery_protection_kind': 'ENCRYPT',
    'liveliness_protection_kind': 'ENCRYPT',
    'rtps_protection_kind': 'SIGN',
}

# Element: its children as a regular expression, or the form of its text.
DOMAINS = r'(id )+'
CRITERIA = r'topics '
CHILDREN: Dict[str, str] = {
    'domain_access_rules': r'(domain_rule )+',
    'domain_rule': r'domains allow_unauthenticated_participants enable_join_access_control '
    r'discovery_protection_kind liveliness_protection_kind rtps_protection_kind '
    r'topic_access_rules ',
    'topic_access_rules': r'(topic_rule )+',
    'topic_rule': ''.join(f'{name} ' for name in TOPIC_RULE),
    'permissions': r'(grant )+',
    'grant': r'subject_name validity ((allow_rule|deny_rule) )+default ',
    'validity': r'not_before not_after ',
    'allow_rule': r'domains (publish )*(subscribe )*(relay )*',
    'deny_rule': r'domains (publish )*(subscribe )*(relay )*',
    'publish': CRITERIA,
    'subscribe': CRITERIA,
    'relay': CRITERIA,
    'topics': r'(topic )+',
    'domains': DOMAINS,
}
BOOLEAN = r'true|false'
KIND = r'NONE|(SIGN|ENCRYPT)(_WITH_ORIGIN_AUTHENTICATION)?'
MOMENT = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'
TEXTS: Dict[str, str] = {
    'id': r'\d+',
    'allow_unauthenticated_participants': BOOLEAN,
    'enable_join_access_control': BOOLEAN,
    'discovery_protection_kind': KIND,
    'liveliness_protection_kind': KIND,
    'rtps_protection_kind': KIND,
    'topic_expression': r'.+',
    'enable_discovery_protection': BOOLEAN,
    'enable_liveliness_protection': BOOLEAN,
    'enable_read_access_control': BOOLEAN,
    'enable_write_access_control': BOOLEAN,
    'metadata_protection_kind': KIND,
    'data_protection_kind': r'NONE|SIGN|ENCRYPT',
    'subject_name': r'.+',
    'not_before': MOMENT,
    'not_after': MOMENT,
    'default': r'ALLOW|DENY',
    'topic': r'.+',
}


class DocumentError(ValueError):
    """Governance or permissions that are not of the standard's form."""


def governance(domain: int) -> bytes:
    """
    Return governance that lets nobody unknown in and encrypts everything.

    :param domain: ROS domain id.
    """
    root = _root('governance')
    rule = ElementTree.SubElement(
        ElementTree.SubElement(root, 'domain_access_rules'), 'domain_rule'
    )
    _domains(rule, domain)
    for name, text in DOMAIN_RULE.items():
        ElementTree.SubElement(rule, name).text = text
    topic = ElementTree.SubElement(
        ElementTree.SubElement(rule, 'topic_access_rules'), 'topic_rule'
    )
    for name, text in TOPIC_RULE.items():
        ElementTree.SubElement(topic, name).text = text
    return _text(root)


def permissions(
    subject: str, allowed: Access, domain: int, validity: Tuple[datetime, datetime]
) -> bytes:
    """
    Return the permissions of one participant; all that is not allowed is denied.

    :param subject: common name of its certificate.
    :param allowed: DDS topics.
    :param domain: ROS domain id.
    :param validity: from when to when, UTC.
    """
    root = _root('permissions')
    grant = ElementTree.SubElement(
        ElementTree.SubElement(root, 'permissions'), 'grant', {'name': subject}
    )
    ElementTree.SubElement(grant, 'subject_name').text = f'CN={subject}'
    valid = ElementTree.SubElement(grant, 'validity')
    for name, moment in zip(('not_before', 'not_after'), validity):
        ElementTree.SubElement(valid, name).text = moment.strftime('%Y-%m-%dT%H:%M:%S')
    rule = ElementTree.SubElement(grant, 'allow_rule')
    _domains(rule, domain)
    for name, topics in zip(('publish', 'subscribe'), allowed):
        if topics:
            listed = ElementTree.SubElement(ElementTree.SubElement(rule, name), 'topics')
            for topic in topics:
                ElementTree.SubElement(listed, 'topic').text = topic
    ElementTree.SubElement(grant, 'default').text = 'DENY'
    return _text(root)


def check(document: bytes) -> None:
    """
    Check the structure of governance or permissions as this module writes them.

    :raises DocumentError: where an element is missing, out of order, unknown or of another form.
    """
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise DocumentError(f'a security document must be XML, got {error}') from None
    if root.tag != 'dds' or [child.tag for child in root] not in (
        ['domain_access_rules'],
        ['permissions'],
    ):
        raise DocumentError(
            'a security document must be <dds> with domain_access_rules or permissions, got '
            f'<{root.tag}> with {[child.tag for child in root]}'
        )
    for element in list(root.iter())[1:]:
        children = ''.join(f'{child.tag} ' for child in element)
        if element.tag in CHILDREN:
            if not re.fullmatch(CHILDREN[element.tag], children):
                raise DocumentError(f'<{element.tag}> must not hold: {children or "nothing"}')
        elif element.tag not in TEXTS:
            raise DocumentError(f'<{element.tag}> is no element of the standard')
        elif children or not re.fullmatch(TEXTS[element.tag], element.text or ''):
            raise DocumentError(f'<{element.tag}> must not be {element.text!r}')
        if element.tag == 'grant' and not element.get('name'):
            raise DocumentError('<grant> must have a name')


def _root(kind: str) -> ElementTree.Element:
    ElementTree.register_namespace('xsi', INSTANCE)
    return ElementTree.Element(
        'dds', {f'{{{INSTANCE}}}noNamespaceSchemaLocation': SCHEMA.format(kind)}
    )


def _domains(parent: ElementTree.Element, domain: int) -> None:
    if not 0 <= domain <= LARGEST_DOMAIN:
        raise ValueError(f'domain must be 0 to {LARGEST_DOMAIN}, got {domain}; set --domain')
    ElementTree.SubElement(ElementTree.SubElement(parent, 'domains'), 'id').text = str(domain)


def _text(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    # Ends of lines as S/MIME has them, so that signing changes nothing.
    text = ElementTree.tostring(root, 'unicode')
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()
    check(document)
    return document
