"""A graph per test, on a ROS domain of its own."""

import domains
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: the campaign needs ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('carla', reason='the carla library is not installed')


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """Set that of chaos tests."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domains.of_chaos()))
