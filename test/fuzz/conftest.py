"""Fuzzing needs real ROS and Hypothesis."""

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: fuzzing needs ROS 2')
pytest.importorskip('av_td3_msgs.msg', reason='av_td3_msgs is not built: run `make setup`')
pytest.importorskip('hypothesis', reason='hypothesis is not installed: run `make setup`')
