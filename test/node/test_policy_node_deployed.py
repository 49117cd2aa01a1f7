"""The policy node in somebody else's vehicle: who drives, who brakes, and what is said of it."""

import array
from importlib.util import find_spec
import shutil

from carla_msgs.msg import CarlaStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rosgraph_msgs.msg import Clock

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run, ObservationConfig
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.run_folder import RunFolder
from deployed_policy import Deployed, DEPLOYED, save_straight, TICK
from test_policy_node import observation, packed

ERROR, WARN, OK = b'\x02', b'\x01', b'\x00'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return save_straight(tmp_path_factory.mktemp('run'))


@pytest.fixture
def car(ros, talker, folder):
    return Deployed(ros, talker, folder)


@pytest.fixture
def driving(car):
    car.see(5)
    assert car.ask(True).success
    car.see()
    assert car.commands[-1].throttle > 0.1
    return car


def test_it_is_silent_until_somebody_asks_and_says_what_is_missing(car):
    answer = car.ask(True)
    assert not answer.success and 'nothing seen yet' in answer.message
    car.see(4)
    answer = car.ask(True)
    assert not answer.success and '4 good observations in a row, 5 are needed' in answer.message
    car.until(lambda: '5 are needed' in car.said('gate_could_engage'))
    car.see()
    car.until(lambda: car.said('gate_could_engage') == 'yes')
    assert not car.commands and not any(action.drive for action in car.actions)
    assert car.node.health()[:2] == (OK, 'disengaged: not engaged')
    answer = car.ask(True)
    assert answer.success and answer.message == 'engaged'
    car.see(3)
    assert len(car.commands) == 3 and car.commands[-1].throttle == pytest.approx(0.197, abs=0.01)
    assert car.actions[-1].drive and car.node.health()[1] == 'driving with version 7'


def test_handing_over_ends_with_a_brake_and_then_silence(driving):
    assert driving.ask(False).success
    driving.until(lambda: driving.commands[-1].brake > 0.0)
    assert driving.commands[-1].brake == pytest.approx(0.4)
    assert driving.commands[-1].throttle == 0.0
    count = len(driving.commands)
    driving.see(5)
    assert len(driving.commands) == count


def test_the_driver_takes_over_and_nobody_drives_again_before_being_asked(driving):
    count = len(driving.commands) + 1
    driving.override(True)
    driving.until(lambda: len(driving.commands) == count)
    word = driving.commands[-1]  # for a receiver that holds its last command
    assert (word.throttle, word.brake) == (0.0, 0.0)
    driving.see(5)
    assert 'driver has taken over' in driving.ask(True).message
    driving.override(False)
    driving.see(5)
    assert len(driving.commands) == count
    assert driving.ask(True).success
    driving.see()
    assert len(driving.commands) == count + 1 and driving.commands[-1].throttle > 0.1


def test_silence_brakes_comfortably_then_in_full_until_data_is_back(ros, talker, folder):
    car = Deployed(ros, talker, folder, gate__observation_timeout=1.0)
    car.see(5)
    car.until(lambda: car.ask(True).success or car.see(5))
    car.see()
    count = len(car.commands)
    car.until(lambda: len(car.commands) > count)
    assert car.commands[count].brake == pytest.approx(0.4)
    car.until(lambda: car.commands[-1].brake == 1.0)
    levels = [command.brake for command in car.commands[count:]]
    assert levels == sorted(levels) and len(set(levels)) == 2
    car.until(lambda: car.health[-1].status[0].level == ERROR)
    assert 'no observation for' in car.health[-1].status[0].message
    assert car.said('gate_state') == 'braking' and car.said('gate_count_no_observation') == '1'
    car.until(lambda: car.see() or car.commands[-1].throttle > 0.1)
    assert car.node.gate.state.value == 'driving'


@pytest.mark.parametrize(
    'what, text',
    [
        ({'ahead': 60}, 'the clock has jumped forward by'),
        ({'ahead': -60}, 'the clock has jumped back by 3.00 s'),
        ({'spec': 'other'}, 'must follow specification'),
    ],
    ids=['forward', 'backward', 'content'],
)
def test_what_brakes_is_named_counted_and_forgotten_after_five_good_ones(driving, what, text):
    driving.see(20)
    driving.see(**what)
    assert driving.commands[-1].brake > 0.0 and not driving.actions[-1].drive
    level, said, _ = driving.node.health()
    assert level == ERROR and text in said
    driving.until(lambda: text in driving.health[-1].status[0].message)
    assert text in driving.said('gate_reason')
    driving.see(4)
    assert driving.commands[-1].brake > 0.0
    driving.see()
    assert driving.commands[-1].throttle > 0.1


def test_an_observation_that_comes_late_is_stale_and_one_that_comes_twice_is_nothing(driving):
    driving.talker.say('clock', Clock(clock=convert.from_ns((driving.frame + 20) * TICK)))
    clock = driving.node.get_clock()
    driving.until(lambda: clock.now().nanoseconds == (driving.frame + 20) * TICK)
    for _ in range(2):
        msg = observation(99)
        msg.header.stamp = convert.from_ns((driving.frame + 1) * TICK)
        driving.talker.say('observation', msg)
    known = driving.node.observations
    driving.until(lambda: driving.node.observations > known)
    driving.ros.spin(0.2)
    assert driving.node.observations == known + 1
    assert 'must be at most 0.5 s old, got 0.95 s' in driving.node.health()[1]


def test_told_to_wait_it_brakes_and_refers_to_who_said_so(driving):
    driving.see(drive=False)
    assert driving.commands[-1].brake > 0.0
    assert driving.node.health()[:2] == (WARN, 'told to wait: braking; perception says why')
    driving.see(5)
    assert driving.commands[-1].throttle > 0.1


def test_a_second_driver_is_noticed(driving):
    publisher = driving.talker.publisher('vehicle_control_cmd')
    name = publisher.topic_name
    driving.until(lambda: driving.node.count_publishers(name) == 2)
    assert driving.node.health()[:2] == (WARN, f'2 publish {name}: a vehicle must have one driver')
    driving.talker.node.destroy_publisher(publisher)
    driving.until(lambda: driving.node.health()[0] == OK)


def test_a_storm_of_refused_weights_brakes_and_good_ones_end_it(ros, talker, folder):
    car = Deployed(
        ros, talker, folder, accept_weights=True, gate__refusal_storm=3, gate__refusal_window=600.0
    )
    car.see(5)
    assert car.ask(True).success
    bad = packed(9)
    bad.sha256 = 'x'
    for count in (1, 2, 3):
        talker.say('policy_weights', bad)
        car.until(lambda: car.node.refused == count)
        car.see()
        assert (car.commands[-1].brake > 0.0) is (count == 3)
    assert '3 weights refused within 600 s' in car.node.health()[1]
    talker.say('policy_weights', packed(10))
    car.until(lambda: car.node.version == 10)
    car.see(5)
    assert car.node.gate.state.value == 'driving'


def test_going_inactive_brakes_in_full_where_it_drove_and_says_nothing_where_not(driving):
    driving.node.trigger_deactivate()
    driving.until(lambda: driving.commands[-1].brake == 1.0)
    count = len(driving.commands)
    driving.node.trigger_activate()
    assert driving.node.gate.state.value == 'disengaged'  # asked again, every time
    driving.node.trigger_deactivate()
    driving.ros.spin(0.3)
    assert len(driving.commands) == count


def test_a_checkpoint_drives_at_the_rate_of_its_run(ros, folder, tmp_path):
    run = tmp_path / 'run'
    shutil.copytree(folder, run)
    config = {'simulator.fixed_delta_seconds': 0.1}
    RunFolder(run).write_config(build_run(config, 'the test'))
    node = ros.start(PolicyNode, **DEPLOYED, checkpoint=str(run))
    assert node.gate._period == 0.1 and node.frames._tick == 100_000_000
    node.close()
    assert ros.start(PolicyNode, **DEPLOYED, checkpoint=str(folder)).gate._period == 0.05


def test_twist_knows_the_speed_by_odometry(ros, talker, folder):
    car = Deployed(ros, talker, folder, output='twist')
    twists = car.commands
    assert car.node._command_pub.topic_name == '/av_td3/cmd_vel'
    moving = Odometry()
    moving.twist.twist.linear.x = 5.0
    talker.say('odometry', moving)
    car.until(lambda: car.node._speed == 5.0)
    car.see(5)
    assert car.ask(True).success
    car.see()
    car.until(lambda: twists)
    assert twists[0].linear.x == pytest.approx(5.0 + 0.197 * 3.0 * 0.5, abs=0.02)
    car.see(spec='other')
    car.until(lambda: len(twists) == 2)
    assert twists[1].linear.x < 5.0
    car.node.trigger_deactivate()
    car.until(lambda: len(twists) == 3)
    assert twists[2] == Twist()


def test_an_output_that_is_not_installed_is_refused_by_name(ros):
    if find_spec('ackermann_msgs') is not None:
        pytest.skip('ackermann_msgs is installed')
    node = ros.make(PolicyNode, output='ackermann')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.count_publishers('/av_td3/ackermann_cmd') == 0


def test_a_paused_simulation_elsewhere_stops_neither_the_watch_nor_the_last_word(
    ros, talker, folder
):
    car = Deployed(ros, talker, folder, gate__observation_timeout=1.0)
    car.see(5)
    car.until(lambda: car.ask(True).success or car.see(5))
    car.see()
    assert car.commands[-1].throttle > 0.1
    talker.say('status', CarlaStatus(synchronous_mode_running=False))
    car.until(lambda: car.commands[-1].brake > 0.0)
    count = len(car.commands)
    assert car.ask(False).success
    car.until(lambda: len(car.commands) > count and car.commands[-1].brake > 0.0)


def test_a_simulation_elsewhere_changes_neither_the_rate_nor_the_limits(driving):
    for tick in (0.5, 0.002):
        driving.node.on_status(CarlaStatus(fixed_delta_seconds=tick))
        driving.see(8)  # at 20 Hz, as in training
        assert driving.node.gate.state.value == 'driving'


def test_what_brakes_by_itself_is_stamped_now(driving):
    assert driving.ask(False).success
    driving.until(lambda: driving.commands[-1].brake > 0.0)
    assert convert.to_ns(driving.commands[-1].header.stamp) == driving.frame * TICK


def test_a_recording_is_not_driven_by_as_its_clock_is_not_obeyed(ros, talker, folder):
    car = Deployed(ros, talker, folder, use_sim_time=False, gate__engaged=True)
    car.see_without_clock(10)
    assert not any(action.drive for action in car.actions)
    assert not talker.node.count_subscribers('/clock')
    car.until(lambda: 'the observation must be at most 0.5 s old' in car.said('gate_reason'))


@pytest.mark.parametrize('value', [1.01, -1e6, float('nan')])
def test_a_vector_that_no_observation_has_brakes(driving, value):
    vector = np.zeros(ObservationConfig().spec().vector_size, np.float32)
    vector[0] = value
    driving.see(vector=array.array('f', vector))
    assert driving.commands[-1].brake > 0.0
    assert 'must be finite and in [-1, 1], got' in driving.node.health()[1]
    driving.see(5)
    assert driving.commands[-1].throttle > 0.1


def test_a_speed_that_no_car_has_is_not_believed_and_who_brakes_asks_for_none(ros, talker, folder):
    car = Deployed(ros, talker, folder, output='twist')
    for speed in (8.0, 1e5):
        moving = Odometry()
        moving.pose.pose.orientation.w = 1.0
        moving.twist.twist.linear.x = speed
        talker.say('odometry', moving)
    car.until(lambda: car.node._speed == 8.0)
    car.see(5)
    assert car.ask(True).success
    car.see()
    assert 8.0 < car.commands[-1].linear.x < 9.0
    car.see(spec='other')
    assert car.commands[-1].linear.x == 0.0  # odometry may have died at 8 m/s
    car.see(5)
    assert car.ask(False).success
    car.until(lambda: len(car.commands) == car.node.commands)
    assert car.commands[-1] == Twist()


def test_engaging_while_it_brakes_needs_as_many_good_observations(driving):
    driving.see(spec='other')
    driving.see()
    answer = driving.ask(True)
    assert not answer.success and '1 good observations in a row, 5 are needed' in answer.message


def test_before_the_first_observation_it_does_not_say_that_it_drives(ros, talker, folder):
    car = Deployed(ros, talker, folder, gate__engaged=True)
    assert car.node.health()[:2] == (
        WARN,
        'waiting for the first observation, to drive with version 7',
    )


def test_a_driver_who_takes_over_is_left_the_speed_that_there_is(ros, talker, folder):
    car = Deployed(ros, talker, folder, output='twist')
    msg = Odometry()
    msg.pose.pose.orientation.w = 1.0
    msg.twist.twist.linear.x = 7.0
    talker.say('odometry', msg)
    car.until(lambda: car.node._speed == 7.0)
    car.see(5)
    assert car.ask(True).success
    car.see()
    count = len(car.commands)
    car.override(True)
    car.until(lambda: len(car.commands) == count + 1)
    assert car.commands[-1].linear.x == pytest.approx(7.0, abs=0.5)


def test_a_clock_that_never_began_makes_nothing_young(ros, talker, folder):
    car = Deployed(ros, talker, folder, use_sim_time=True, gate__engaged=True)
    car.see_without_clock(3)
    assert not any(action.drive for action in car.actions)
    car.until(lambda: 'use_sim_time waits for /clock' in car.said('gate_reason'))
