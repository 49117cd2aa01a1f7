"""
A service is asked once, however long its answer takes.

What a server still works on must not be asked for again: it would do it twice, one after the
other. Another server is another matter: the first may have been killed, which the bus does not
tell for seconds.
"""

import time
from typing import Any, Callable, List, Set, Tuple


def call(
    node: Any, spin: Callable[..., bool], kind: Any, name: str, request: Any, timeout: float
) -> Any:
    """
    Call a service; return its first answer, None where none comes.

    :param node: asks. :param spin: `spin(until, timeout)` processes messages.
    :param name: of the service, with its namespace.
    :param timeout: s.
    """
    client = node.create_client(kind, name)
    asked: Set[Tuple[int, ...]] = set()
    futures: List[Any] = []

    def unasked() -> Set[Tuple[int, ...]]:
        found = _servers(node, client, name)
        asked.intersection_update(found)
        return found - asked

    def answered() -> List[Any]:
        return [future for future in futures if future.done()]

    try:
        end = time.monotonic() + timeout
        while spin(lambda: bool(answered() or unasked()), end - time.monotonic()):
            if answered():
                return answered()[0].result()
            asked |= unasked()
            futures.append(client.call_async(request))
        return None
    finally:
        node.destroy_client(client)


def _servers(node: Any, client: Any, name: str) -> Set[Tuple[int, ...]]:
    """Return who would hear a request, as the bus numbers them."""
    if not client.service_is_ready():
        return set()
    # By the name that DDS knows; elsewhere a server is one that was away before.
    infos = node.get_subscriptions_info_by_topic(f'rq{name}Request', no_mangle=True)
    return {tuple(info.endpoint_gid) for info in infos} or {()}
