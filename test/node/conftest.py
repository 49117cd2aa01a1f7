"""
Real rclpy in this process: a domain of its own, nodes side by side, and waiting without sleeping.
"""

import gc
import time

import domains
import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed: node tests need ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('carla_msgs.msg', reason='carla_msgs is not built: run `make setup`')

DOMAIN = domains.of_nodes()


@pytest.fixture
def domain():
    """Return the domain of the node tests, for processes of their own."""
    return str(DOMAIN)


class Ros:
    """An executor with the nodes of one test."""

    def __init__(self, context):
        from rclpy.executors import SingleThreadedExecutor

        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self._nodes = []

    def node(self, name='tester', **kwargs):
        """A plain node to speak and listen with."""
        return self._add(
            rclpy.create_node(name, context=self.context, namespace='av_td3', **kwargs)
        )

    def make(self, node_class, **params):
        """One of our nodes, unconfigured."""
        from rclpy.parameter import Parameter

        overrides = [
            Parameter(key.replace('__', '.'), value=value) for key, value in params.items()
        ]
        return self._add(
            node_class(context=self.context, namespace='av_td3', parameter_overrides=overrides)
        )

    def start(self, node_class, **params):
        """One of our nodes, active."""
        from rclpy.lifecycle import TransitionCallbackReturn

        node = self.make(node_class, **params)
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        return node

    def _add(self, node):
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def until(self, predicate, timeout=10.0):
        """Spin until a predicate holds; fail where it does not in time."""
        end = time.monotonic() + timeout
        while not predicate():
            assert time.monotonic() < end, f'not within {timeout} s'
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds):
        """Spin for a while: to see that something does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def close(self):
        """Release everything."""
        for node in self._nodes:
            if hasattr(node, 'close'):
                node.close()
        self.executor.shutdown()
        for node in self._nodes:
            node.destroy_node()


@pytest.fixture
def ros():
    """Real ROS for one test."""
    # An executor that is shut down keeps its participant until it is collected, and those of a
    # machine find no more than 32 of each other.
    gc.collect()
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    it = Ros(context)
    yield it
    it.close()
    context.try_shutdown()


class Talker:
    """Publishes and records topics of the table from a plain node."""

    def __init__(self, ros, role_name='ego_vehicle'):
        from av_td3_ros.bridge.topics import TOPICS, topic_name, topic_qos

        self._ros, self._role = ros, role_name
        self._topics, self._name, self._qos = TOPICS, topic_name, topic_qos
        self.node = ros.node()
        self._pubs = {}

    def hear(self, key, prefix=''):
        """Return a list that grows with every message."""
        heard = []
        name = self._name(key, self._role)
        self.node.create_subscription(
            self._topics[key].type, name.replace('~', prefix), heard.append, self._qos(key)
        )
        return heard

    def publisher(self, key):
        """Return a publisher once somebody listens."""
        if key not in self._pubs:
            made = self.node.create_publisher(
                self._topics[key].type, self._name(key, self._role), self._qos(key)
            )
            self._ros.until(lambda: made.get_subscription_count() > 0)
            self._pubs[key] = made
        return self._pubs[key]

    def say(self, key, msg):
        """Publish one message."""
        self.publisher(key).publish(msg)


@pytest.fixture
def talker(ros):
    """A node that speaks and listens."""
    return Talker(ros)


@pytest.fixture
def stack(ros):
    """Somebody else's stack, which listens to observations and to what perception says of them."""
    from foreign_stack import Stack

    it = Stack(ros)
    it.hear()
    return it
