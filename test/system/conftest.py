"""Whole graphs as separate processes, each on a ROS domain of its own."""

import domains
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: system tests need ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('carla', reason='the carla library is not installed')

DOMAINS = domains.of_systems()


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """A domain that no other of the last forty tests has had."""
    number = str(next(DOMAINS))
    monkeypatch.setenv('ROS_DOMAIN_ID', number)
    return number
