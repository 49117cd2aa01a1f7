"""``av-td3 security``: a keystore with a key and the least permissions for every node."""

import argparse
import os
from pathlib import Path
from typing import Any

from av_td3_ros import graph
from av_td3_ros.security import keystore
from av_td3_ros.security.rights import Names, RIGHTS


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'security',
        help='keys and permissions for SROS 2',
        description='Keys, certificates and permissions for DDS Security: docs/security.md.',
    )
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    create = verbs.add_parser(
        'create',
        help='make a keystore',
        description='Make a keystore in the layout of SROS 2: an enclave with key, certificate '
        'and signed permissions for each participant.',
    )
    create.add_argument('folder', metavar='DIR', type=Path, help='a new folder')
    create.add_argument(
        '--participant',
        metavar='NAME',
        action='append',
        choices=sorted(RIGHTS),
        help=f'only this one; may be repeated (default all: {", ".join(RIGHTS)})',
    )
    create.add_argument(
        '--namespace', default=graph.NAMESPACE, help='of the nodes (default %(default)s)'
    )
    create.add_argument(
        '--role-name', default='ego_vehicle', help='of the vehicle (default %(default)s)'
    )
    create.add_argument(
        '--domain',
        type=int,
        default=os.environ.get('ROS_DOMAIN_ID') or '0',
        help='ROS domain id (default ROS_DOMAIN_ID, or 0)',
    )
    create.add_argument(
        '--days', type=int, default=365, help='until they run out (default %(default)s)'
    )
    create.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make a keystore and say how it is used."""
    made = keystore.create(
        options.folder,
        options.participant or tuple(RIGHTS),
        names(options.namespace, options.role_name),
        options.domain,
        options.days,
    )
    print(f'keystore {options.folder}, domain {options.domain}:')
    for enclave in made:
        print(f'  {enclave}')
    print(
        'use it with\n'
        f'  export ROS_SECURITY_KEYSTORE={options.folder.resolve()} ROS_SECURITY_ENABLE=true '
        'ROS_SECURITY_STRATEGY=Enforce\n'
        'the launch files and `av-td3 train` give each node its enclave; by hand:\n'
        f'  ros2 run av_td3_ros {made[0].rsplit("/", 1)[-1]}_node --ros-args --enclave '
        f'{made[0]} ...\n'
        f'{options.folder / keystore.PRIVATE} stays where this was run; a vehicle gets its own '
        'enclave alone'
    )
    return 0


def names(namespace: str, role_name: str) -> Names:
    """
    Return the names of a graph, from the table of topics.

    :raises ValueError: for a name that ROS would not take.
    """
    for option, text in (('--namespace', namespace), ('--role-name', role_name)):
        if not all(part.isidentifier() and part.isascii() for part in text.strip('/').split('/')):
            raise ValueError(
                f'{option} must be a ROS name (letters, digits, _), got {text!r}; choose another'
            )
    from av_td3_ros.bridge.topics import SERVICES, TOPICS

    return Names(
        {key: topic.name for key, topic in TOPICS.items()},
        {key: service.name for key, service in SERVICES.items()},
        namespace,
        role_name,
    )
