"""Perception and policy, as deployed: a camera that cannot be driven by leaves the car braking."""

from carla_msgs.msg import CarlaEgoVehicleControl
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from std_msgs.msg import Header

from av_td3_ros.bridge import convert
from av_td3_ros.config import build_run
from av_td3_ros.nodes.perception_node import PerceptionNode
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

OBSERVATION = {
    'observation__lateral_deviation': False,
    'observation__heading_error': False,
    'observation__waypoints': 0,
}
CONFIG = build_run({key.replace('__', '.'): value for key, value in OBSERVATION.items()}, 'here')


@pytest.fixture
def car(ros, talker, tmp_path):
    """Both nodes with a policy that always goes; what it commands, and a way to show it images."""
    spec = CONFIG.observation.spec()
    agent = TD3(spec, CONFIG.trainer.learner, seed=3)
    last = agent.policy.actor.layers[-1]
    last.weight.data.zero_()
    last.bias.data[:] = last.bias.data.new_tensor([0.0, 2.0])
    saved = checkpoint.save(tmp_path, agent, spec, env_step=10, version=1)
    ros.start(
        PolicyNode,
        checkpoint=str(saved),
        accept_weights=False,
        lock_step=False,
        gate__observation_timeout=5.0,
        gate__max_age=0.0,
        gate__rate_factor=0.0,
        **OBSERVATION,
    )
    ros.start(PerceptionNode, episodes=False, image_timeout=10.0, **OBSERVATION)
    return Car(ros, talker)


class Car:
    """Shows images and waits for the command that answers each."""

    def __init__(self, ros, talker):
        self._ros, self._talker, self._time = ros, talker, 5.0
        self.commands = talker.hear('vehicle_control_cmd')
        ros.until(
            lambda: all(
                talker.node.count_subscribers(name) and talker.node.count_publishers(name)
                for name in ('/av_td3/observation',)
            ),
            60.0,
        )

    def see(self, rate, count, grey=(100,), speed=0.0):
        """Return the commands on a stream of images, of these greys in turn."""
        before = len(self.commands)
        for number in range(count):
            self._time += 1.0 / rate
            header = Header(stamp=convert.from_ns(round(self._time * 1e9)))
            pixels = np.full((144, 256), grey[number % len(grey)], np.uint8)
            odometry = Odometry(header=header)
            odometry.twist.twist.linear.x = speed
            answered = len(self.commands)
            self._talker.say('image', convert.to_image(pixels, 'mono8', header))
            self._talker.say('odometry', odometry)
            self._ros.until(lambda: len(self.commands) > answered, 60.0)
        return self.commands[before:]

    def waits(self):
        """Return the next command, which comes without any image."""
        before = len(self.commands)
        self._ros.until(lambda: len(self.commands) > before, 60.0)
        return self.commands[-1]

    def shows(self, encoding):
        """Publish an image in an encoding."""
        self._time += 0.05
        header = Header(stamp=convert.from_ns(round(self._time * 1e9)))
        msg = convert.to_image(np.zeros((144, 256), np.uint8), 'mono8', header)
        msg.encoding = encoding
        self._talker.say('image', msg)
        self._talker.say('odometry', Odometry(header=header))


def goes(command: CarlaEgoVehicleControl) -> bool:
    """Whether a command accelerates; else it must brake."""
    assert command.throttle > 0.0 or command.brake > 0.0
    return command.throttle > 0.0


def test_three_images_a_second_brake_at_once_and_twenty_drive_again(car):
    assert [goes(c) for c in car.see(20.0, 6)] == [False] + 5 * [True]
    assert not any(goes(c) for c in car.see(3.0, 5)[1:])
    assert [goes(c) for c in car.see(20.0, 6)][-2:] == [True, True]


def test_an_encoding_that_changes_on_the_way_to_an_unknown_one_brakes(car):
    assert goes(car.see(20.0, 4)[-1])
    for _ in range(3):
        car.shows('h264')
    assert not goes(car.waits())


def test_a_camera_that_hangs_brakes_once_the_car_has_moved_and_drives_again(car):
    assert all(goes(c) for c in car.see(20.0, 30, grey=(90, 91), speed=4.0)[1:])
    assert all(goes(c) for c in car.see(20.0, 30, speed=0.0))  # a car that stands may see the same
    commands = [goes(c) for c in car.see(20.0, 14, speed=4.0)]  # 0.2 m a picture
    assert commands[:8] == [True] * 8 and not any(commands[11:])
    assert [goes(c) for c in car.see(20.0, 8, grey=(90, 91), speed=4.0)][-2:] == [True, True]
