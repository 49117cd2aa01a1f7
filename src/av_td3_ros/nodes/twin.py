"""
One graph per ROS domain: two would answer each other's frames.

Two signs, because neither sees everything. The claim is a name of this machine's kernel: taken at
once or not at all, whatever the load, and gone with the process that held it. What is heard on the
bus covers the graphs of other machines, and those that `ros2 launch` started, which refuse nothing
themselves.
"""

import errno
import os
import socket
import sys
from typing import Any, Callable, List, Optional

from lifecycle_msgs.srv import GetState

from av_td3_ros import graph

DISCOVERY_TIME = 1.5
ANSWER_TIME = 6.0
NAMESPACE = f'/{graph.NAMESPACE}'
REFUSAL = (
    f'ROS domain must hold one graph, got a second {NAMESPACE} graph on domain {{}}; '
    'stop the other or set ROS_DOMAIN_ID to a free number'
)


class DomainClaim:
    """This process's claim to be the one graph of a ROS domain on this machine."""

    def __init__(self, domain: str) -> None:
        """:param domain: ROS_DOMAIN_ID."""
        self._name = f'\0{graph.NAMESPACE}_ros/domain/{domain}'
        self._socket: Optional[socket.socket] = None

    def take(self) -> bool:
        """Take the claim; return False where another process holds it."""
        if sys.platform != 'linux':  # names without a file are Linux's own
            return True
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(self._name)
        except OSError as error:
            self.release()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True

    def release(self) -> None:
        """Let go; without a claim there is nothing to do."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def heard(node: Any, spin: Callable[..., bool], call: Callable[..., Any]) -> bool:
    """
    Return whether a graph lives on the bus: one of its nodes is named and answers.

    Names alone may be the traces of a graph that was killed.

    :param node: asks for names. :param spin: `spin(until, timeout)` processes messages.
    :param call: `call(type, service, request, timeout)`, None where nobody answers.
    """
    ours = {spec.name for spec in graph.nodes('training')}
    found: List[str] = []

    def named() -> bool:
        pairs = node.get_node_names_and_namespaces()
        found[:] = [name for name, space in pairs if name in ours and space == NAMESPACE]
        return bool(found)

    if not spin(named, DISCOVERY_TIME):
        return False
    patience = ANSWER_TIME / len(found)
    return any(
        call(GetState, f'{NAMESPACE}/{name}/get_state', GetState.Request(), patience) is not None
        for name in found
    )


def domain() -> str:
    """Return the ROS domain that this process uses."""
    return os.environ.get('ROS_DOMAIN_ID') or '0'  # as ROS reads it, where it is set to nothing
