"""A deployed policy node under test, and the policy that it drives with."""

from av_td3_ros import graph
from av_td3_ros.bridge import convert
from av_td3_ros.config import ObservationConfig
from av_td3_ros.learning_config import LearnerConfig
from av_td3_ros.nodes.policy_node import PolicyNode
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.agent import TD3
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import SetBool
from test_policy_node import observation
import torch

TICK = 50_000_000
DEPLOYED = {key.replace('.', '__'): value for key, value in graph.DEPLOYED['policy'].items()}
PATIENCE = 30.0


class Deployed:
    """A policy node that goes straight on at a fifth of its throttle, and who talks to it."""

    def __init__(self, ros, talker, folder, **params):
        self.ros, self.talker, self.frame = ros, talker, 100
        params = {'gate__observation_timeout': 10.0, 'use_sim_time': True, **params}
        self.node = ros.start(
            PolicyNode,
            **{**DEPLOYED, 'checkpoint': str(folder), 'gate__comfort_time': 0.5, **params},
        )
        carla = params.get('output', 'carla') == 'carla'
        self.commands = talker.hear('vehicle_control_cmd' if carla else 'cmd_vel')
        self.actions = talker.hear('action')
        self.health = talker.hear('diagnostics')
        self._client = talker.node.create_client(SetBool, '/av_td3/policy/engage')
        for key in ('clock', 'observation') if params['use_sim_time'] else ('observation',):
            talker.publisher(key)
        name = self.node._command_pub.topic_name
        self.until(lambda: talker.node.count_publishers(name))

    def until(self, predicate):
        self.ros.until(predicate, PATIENCE)

    def see(self, count=1, ahead=1, **fields):
        """Frames, each with its clock and its observation."""
        for _ in range(count):
            known = self.node.observations
            self.frame += ahead
            self.talker.say('clock', Clock(clock=convert.from_ns(self.frame * TICK)))
            self.until(lambda: self.node.get_clock().now().nanoseconds == self.frame * TICK)
            msg = observation(self.frame, **fields)
            msg.header.stamp = convert.from_ns(self.frame * TICK)
            self.talker.say('observation', msg)
            self.until(lambda: self.node.observations > known)
            self.until(lambda: len(self.actions) >= self.node.observations)
            self.until(lambda: len(self.commands) >= self.node.commands)

    def see_without_clock(self, count):
        """Observations with the stamps of a simulation whose clock nobody publishes."""
        for _ in range(count):
            self.frame += 1
            msg, known = observation(self.frame), len(self.actions)
            msg.header.stamp = convert.from_ns(self.frame * TICK)
            self.talker.say('observation', msg)
            self.until(lambda: len(self.actions) > known)

    def ask(self, drive):
        self.until(self._client.service_is_ready)
        future = self._client.call_async(SetBool.Request(data=drive))
        self.until(future.done)
        return future.result()

    def override(self, on):
        self.talker.say('manual_override', Bool(data=on))
        state = 'manual' if on else 'disengaged'
        self.until(lambda: self.node.gate.state.value == state)

    def said(self, key):
        """Return a value of the newest diagnostics."""
        values = self.health[-1].status[0].values if self.health else ()
        return {item.key: item.value for item in values}.get(key, '')


def save_straight(path):
    """Write a checkpoint of a policy that goes straight on."""
    spec = ObservationConfig().spec()
    agent = TD3(spec, LearnerConfig(), seed=0)
    with torch.no_grad():
        agent.policy.actor.layers[-1].weight.zero_()
        agent.policy.actor.layers[-1].bias.copy_(torch.tensor([0.0, 0.2]))
    checkpoint.save(path, agent, spec, env_step=1, version=7)
    return path
