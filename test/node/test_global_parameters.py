"""Parameters that somebody else's launch sets for all its nodes."""

import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode

# As Autoware gives its vehicle to every node.
VEHICLE = {
    key: 1.0
    for key in (
        'wheel_radius',
        'wheel_width',
        'wheel_base',
        'wheel_tread',
        'front_overhang',
        'left_overhang',
        'vehicle_height',
        'max_steer_angle',
        'cpu_min_accel_magnitude',
    )
}
DEPLOYED = [
    (PerceptionNode, {'episodes': False}),
    (PolicyNode, {'accept_weights': False, 'artefact': ''}),
]


@pytest.fixture
def no_driver(monkeypatch):
    """Nothing that must be loaded: the parameters alone are looked at."""
    monkeypatch.setattr('av_td3_ros.nodes.policy_node.load_driver', lambda config: (object(), 0))


@pytest.mark.parametrize('node_class, params', DEPLOYED)
def test_a_deployment_leaves_them_aside_with_a_warning(ros, capfd, no_driver, node_class, params):
    node = ros.make(node_class, **params, **VEHICLE)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    log = capfd.readouterr().err
    for key in VEHICLE:
        assert log.count(f"unknown key '{key}' is left aside") == 1
    if node_class is PolicyNode:
        assert node.config.vehicle.wheel_base == 2.58
        assert "'wheel_base' is left aside; did you mean 'vehicle.wheel_base'?" in log


@pytest.mark.parametrize(
    'node_class, params, slip, meant',
    [
        (*DEPLOYED[0], 'image_timeuot', 'image_timeout'),
        (*DEPLOYED[1], 'vehicle.wheelbase', 'vehicle.wheel_base'),
        (*DEPLOYED[1], 'output_', 'output'),
    ],
)
def test_a_slip_of_the_pen_is_still_refused(
    ros, capfd, no_driver, node_class, params, slip, meant
):
    node = ros.make(node_class, **params, **{slip: 1.0})
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert f"unknown key '{slip}'" in (log := capfd.readouterr().err)
    assert f"did you mean '{meant}'?" in log


@pytest.mark.parametrize('node_class', [PerceptionNode, PolicyNode])
def test_a_training_graph_refuses_every_unknown_key(ros, capfd, node_class):
    node = ros.make(node_class, **VEHICLE)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "unknown key 'wheel_" in capfd.readouterr().err
