"""A smaller number over real DDS: what is published arrives, and the node works on."""

import time

import domains
from fuzz_messages import messages, near, size
from fuzz_subjects import Perception, Policy
from hypothesis import given, HealthCheck, Phase, seed, settings
import hypothesis.strategies as st
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

from av_td3_ros.bridge.topics import TOPICS, topic_name, topic_qos

COUNT = 40
# Larger ones say nothing new here, and take long.
LARGEST = 300_000


@pytest.fixture(params=[Policy, Perception], ids=lambda subject: subject.name())
def wired(request, tmp_path):
    """A node in an executor, and somebody who talks to it."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domains.of_fuzzing())
    subject = request.param(context, tmp_path / 'run')
    talker = rclpy.create_node('talker', context=context, namespace='av_td3')
    executor = SingleThreadedExecutor(context=context)
    for node in (subject.node, talker):
        executor.add_node(node)
    yield subject, talker, executor
    executor.shutdown()
    subject.close()
    talker.destroy_node()
    context.try_shutdown()


def until(executor, predicate, timeout=60.0):
    """Spin until a predicate holds; fail where it does not in time."""
    end = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < end, f'not within {timeout} s'
        executor.spin_once(timeout_sec=0.05)


def test_what_arrives_over_dds_is_survived_too(wired):
    subject, talker, executor = wired
    publishers, arrived = {}, dict.fromkeys(TOPICS, 0)
    keys = [entrance.key for entrance in subject.entrances() if entrance.key in TOPICS]
    types = {entrance.key: entrance.type for entrance in subject.entrances()}
    names = {topic_name(key, 'ego_vehicle'): key for key in keys}
    for made in subject.node.subscriptions:
        key = names.get(made.topic_name.removeprefix('/av_td3/'))
        if key:
            made.callback = counted(made.callback, arrived, key)
    for key in keys:
        name = topic_name(key, 'ego_vehicle')
        publishers[key] = talker.create_publisher(TOPICS[key].type, name, topic_qos(key))
        until(executor, lambda: publishers[key].get_subscription_count() > 0)
    drawn = {key: messages(types[key]) | near(subject.good(key) or types[key]()) for key in keys}

    @seed(0)
    @settings(
        max_examples=COUNT,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def throw(data):
        key = data.draw(st.sampled_from(keys))
        msg = data.draw(drawn[key])
        if size(msg) <= LARGEST:
            before = arrived[key]
            publishers[key].publish(msg)
            until(executor, lambda: arrived[key] > before)

    with np.errstate(all='ignore'):
        throw()
        subject.probe()
    assert sum(arrived.values()) >= COUNT // 2


def counted(callback, arrived, key):
    """Return a callback that counts."""

    def call(msg):
        callback(msg)
        arrived[key] += 1

    return call
