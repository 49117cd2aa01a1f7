"""What a driver who takes over finds, and what is remembered of him."""

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from av_td3_ros.nodes.base import now
from deployed_policy import Deployed, save_straight

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return save_straight(tmp_path_factory.mktemp('run'))


def moving(speed):
    msg = Odometry()
    msg.twist.twist.linear.x = speed
    return msg


def test_a_speed_that_nobody_tells_any_more_is_not_commanded(ros, talker, folder):
    """A receiver that holds the last command would drive at it again."""
    car = Deployed(ros, talker, folder, output='twist', gate__observation_timeout=0.3)
    # What good observations there were is forgotten where this process stands still for 0.3 s.
    car.until(lambda: car.ask(True).success or car.see(5))
    talker.say('odometry', moving(8.0))
    car.until(lambda: car.node._speed == 8.0)
    car.until(lambda: car.node.gate.state.value == 'braking')
    car.until(lambda: now() - car.node._speed_at > 0.3)
    known = car.node.commands
    car.override(True)
    car.until(lambda: car.node.commands > known and len(car.commands) >= car.node.commands)
    assert car.commands[-1] == Twist()


def test_a_driver_who_took_over_is_remembered_by_a_node_that_is_configured_anew(
    ros, talker, folder
):
    car = Deployed(ros, talker, folder, gate__engaged=True)
    car.see(5)
    car.override(True)
    node = car.node
    assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert node.gate.state.value == 'manual'
    assert not car.ask(True).success
    car.override(False)


def test_a_car_that_was_handed_over_stays_so_in_a_node_that_is_configured_anew(
    ros, talker, folder
):
    car = Deployed(ros, talker, folder, gate__engaged=True)
    car.see(5)
    node = car.node
    assert node.gate.state.value == 'driving'
    assert node.trigger_deactivate() == SUCCESS
    assert car.ask(False).success
    assert node.trigger_cleanup() == SUCCESS
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    car.see(5)
    assert node.gate.state.value == 'disengaged'
    assert car.ask(True).success


def test_in_lock_step_it_is_engaged_though_the_simulation_waits_for_nobody_s_command(
    ros, talker, folder
):
    """Frames come once a second then: that is no silence of the camera."""
    car = Deployed(ros, talker, folder, lock_step=True, gate__observation_timeout=0.3)
    for _ in range(6):
        car.see()
        seen = car.node.gate._good
        # Until the watch has looked at a silence longer than the limit.
        ros.until(lambda: car.node.frames.silence(now()) > 0.5, 5.0)
        assert car.node.gate._good == seen > 0
    assert car.ask(True).success
