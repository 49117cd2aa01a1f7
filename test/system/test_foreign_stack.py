"""
Our policy in somebody else's stack: other topic names, no lock-step, no episode manager.

The nodes are started as examples/foreign_stack/foreign_stack.launch.py starts them, with the same
names and the same parameters, but by hand: launch has no wheel.
"""

import importlib.util
import math
import os
from pathlib import Path
import re
import subprocess
import sys
import time

from carla_msgs.msg import CarlaEgoVehicleControl
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path as Route
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import SetBool
import torch
import yaml

from av_td3_ros import graph
from av_td3_ros.bridge import convert, qos
from av_td3_ros.bridge.topics import TOPICS
from av_td3_ros.config import EpisodeConfig, ObservationConfig, SimulatorConfig
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route_set import RouteSet
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.resources import map_source
from av_td3_ros.sim.world import World
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples' / 'foreign_stack'
NAMES = yaml.safe_load((EXAMPLE / 'topics.yaml').read_text())
OURS, ALL = NAMES['ours'], {**NAMES['ours'], **NAMES['theirs']}
EGO = '/carla/ego_vehicle/'
SPEED = 6.0
PATIENCE = 40.0


def pilot(folder):
    """
    A checkpoint that drives, without training: pure pursuit, written into the actor's weights.

    Two units of each layer carry the steering that the third route point asks for, and two what is
    missing to the speed.
    """
    spec = ObservationConfig().spec()
    agent = TD3(spec, LearnerConfig(), seed=0)
    first, _, second, _, last = agent.policy.actor.layers
    names = list(spec.vector)
    start = first.in_features - spec.vector_size
    steering = {names.index('waypoint_2_y'): 50.0 * 2 * 2.58 / 6.0**2 / 0.61}
    speeding = {names.index('speed'): -15.0}
    with torch.no_grad():
        for parameter in agent.policy.actor.parameters():
            parameter.zero_()
        for unit, (weights, bias) in enumerate(((steering, 0.0), (speeding, SPEED))):
            for sign, row in ((1.0, 2 * unit), (-1.0, 2 * unit + 1)):
                for entry, value in weights.items():
                    first.weight[row, start + entry] = sign * value
                first.bias[row] = sign * bias
                second.weight[row, row] = 1.0
                last.weight[unit, row] = sign
    checkpoint.save(folder, agent, spec, env_step=1, version=7)
    return folder


class Stack:
    """The processes, and a node beside them that knows the stack's names alone."""

    def __init__(self, folder, domain):
        self._folder = folder
        self.processes = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=int(domain))
        self.node = rclpy.create_node('operator', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def start(self, name, remappings, namespace='', **params):
        file = self._folder / f'{name}.yaml'
        values = {'autostart': True, **params}
        file.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}))
        command = [sys.executable, '-m', f'av_td3_ros.nodes.{name}_node', '--ros-args']
        command += ['--params-file', str(file), '-r', f'__ns:=/{namespace}']
        for there, here in remappings.items():
            command += ['-r', f'{there}:={here}']
        self.processes[name] = subprocess.Popen(
            command,
            stdout=(self._folder / f'{name}.log').open('w'),
            stderr=subprocess.STDOUT,
            env={**os.environ, **graph.ENVIRONMENT},
        )

    def hear(self, kind, name, profile='bridge'):
        heard = []
        self.node.create_subscription(kind, name, heard.append, qos.PROFILES[profile])
        return heard

    def until(self, predicate, what, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while not predicate():
            assert time.monotonic() < end, f'{what}: not within {timeout} s\n{self.logs()}'
            for name, process in self.processes.items():
                assert process.poll() is None, f'{name} has ended\n{self.logs()}'
            self._executor.spin_once(timeout_sec=0.05)

    def ask(self, drive):
        client = self.node.create_client(SetBool, '/av_td3/policy/engage')
        self.until(client.service_is_ready, 'the engage service')
        future = client.call_async(SetBool.Request(data=drive))
        self.until(future.done, 'its answer')
        return future.result()

    def logs(self):
        return '\n'.join(path.read_text()[-2000:] for path in self._folder.glob('*.log'))

    def close(self):
        for process in self.processes.values():
            process.terminate()
        codes = {name: process.wait(20) for name, process in self.processes.items()}
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
        return codes


@pytest.fixture
def stack(tmp_path, domain):
    it = Stack(tmp_path, domain)
    yield it
    it.close()


def test_it_drives_a_route_by_remapping_alone(stack, tmp_path):
    road_map = RoadMap.load(map_source('town'))
    _, route, _ = RouteSet(
        EpisodeConfig(route_length_min=40.0, route_length_max=60.0), road_map
    ).at(0, 0, training=False)
    odometry = stack.hear(Odometry, '/localization/odometry')
    commands = stack.hear(CarlaEgoVehicleControl, '/vehicle/command')
    routes = stack.hear(Route, '/planning/route', 'latched')
    images = stack.hear(Image, '/sensing/camera/front/image_raw')
    health = stack.hear(DiagnosticArray, '/diagnostics')
    place = stack.node.create_publisher(
        TOPICS['set_transform'].type, '/vehicle/place', qos.PROFILES['bridge']
    )
    goal = stack.node.create_publisher(PoseStamped, '/planning/goal', qos.PROFILES['bridge'])
    driver = stack.node.create_publisher(
        Bool, '/vehicle/driver_takes_over', qos.PROFILES['latched']
    )

    def said(text):
        return any(text in s.message for a in health[-20:] for s in a.status)

    stack.start('simulator', ALL, wait_for_vehicle_control_command=False)
    stack.start('perception', OURS, graph.NAMESPACE, **graph.DEPLOYED['perception'])
    told = {**graph.DEPLOYED['policy'], 'gate.observation_timeout': 0.9}  # a busy machine
    told['use_sim_time'] = True  # as the launch file has it
    stack.start('policy', OURS, graph.NAMESPACE, checkpoint=str(pilot(tmp_path / 'run')), **told)
    stack.until(lambda: odometry and images and place.get_subscription_count(), 'the vehicle')

    place.publish(convert.to_pose_msg(route.start))
    end = Pose(*route.points[-1])

    def away(pose):
        here = odometry[-1].pose.pose.position
        return math.dist((here.x, here.y), (pose.x, pose.y))

    stack.until(lambda: away(route.start) < 2.0, 'the start')
    stack.until(goal.get_subscription_count, 'the planner')
    goal.publish(PoseStamped(pose=convert.to_pose_msg(end)))
    stack.until(lambda: routes and routes[-1].poses, 'the route')

    stack.until(lambda: said('disengaged'), 'disengaged at first')
    assert not commands, 'nobody has asked it to drive'
    stack.until(lambda: stack.ask(True).success, 'engaged')
    stack.until(lambda: away(end) < 5.0, 'the end of the route')
    assert max(msg.twist.twist.linear.x for msg in odometry) > 2.0
    assert said('driving with version 7')

    driver.publish(Bool(data=True))
    stack.until(lambda: said('manual: the driver has taken over'), 'hands off')
    images.clear()
    stack.until(lambda: len(images) > 3, 'frames, and the commands still on their way')
    count = len(commands)
    images.clear()
    stack.until(lambda: len(images) > 10, 'frames without a command')
    assert len(commands) == count and not stack.ask(True).success

    names = {name for name, _ in stack.node.get_topic_names_and_types()}
    assert not names & set(OURS), 'a name of the bridge'
    assert not stack.node.count_publishers('/carla/status'), 'told by the simulation'
    assert set(stack.close().values()) == {0}


def test_the_example_names_topics_that_exist():
    known = {topic.name.format(role_name='ego_vehicle') for topic in TOPICS.values()}
    assert set(ALL) <= known
    assert len(set(ALL.values())) == len(ALL)
    assert not [name for name in ALL.values() if name.startswith('/carla')]


def test_the_goal_that_is_documented_is_one_of_the_planner_with_a_route_to_it():
    said = (EXAMPLE / 'foreign_stack.launch.py').read_text()
    page = (EXAMPLE.parents[1] / 'docs' / 'deploying.md').read_text()
    line = 'ros2 topic pub --once /planning/goal geometry_msgs/msg/PoseStamped'
    assert line in said and line in page and ALL[f'{EGO}goal'] == '/planning/goal'
    x, y = map(float, re.search(r'x: ([-\d.]+), y: ([-\d.]+)', page).groups())
    assert re.search(rf'x: {x}, y:\s+{y}', said)
    world = World(SimulatorConfig())
    start = world.state.pose
    assert len(world.road_map.plan((start.x, start.y), start.yaw, (x, y)).points) > 20


def test_the_launch_file_starts_three_nodes_under_the_stack_s_names():
    reason = 'launch and launch_ros come with an apt ROS 2, not as wheels'
    actions = pytest.importorskip('launch_ros.actions', reason=reason)
    spec = importlib.util.spec_from_file_location('foreign', EXAMPLE / 'foreign_stack.launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described = module.generate_launch_description()
    assert {a.name for a in described.get_launch_arguments()} >= {'artefact', 'checkpoint'}
    inside = module.policy().get_sub_entities()
    assert len([a for a in inside if isinstance(a, actions.SetRemap)]) == len(OURS)
