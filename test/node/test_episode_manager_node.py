"""
The episode manager on the wire: what is lost, doubled or late never becomes experience; the
trainer paces it.
"""

import array

from av_td3_msgs.msg import Action, EpisodeState, Observation, TrainingStatus
from av_td3_msgs.srv import SetMode, SetPaused
from carla_msgs.msg import CarlaControl, CarlaStatus, CarlaWorldInfo
from nav_msgs.msg import Odometry
import numpy as np
import pytest

from av_td3_ros.bridge import bounds, convert
from av_td3_ros.datatypes import Pose
from av_td3_ros.driving.road_map import RoadMap
from av_td3_ros.driving.route_set import held_out_roads
from av_td3_ros.nodes.episode_manager_node import EpisodeManagerNode

TICK = 50_000_000


class World:
    """
    Plays simulation, perception and policy around the node, faultlessly unless told otherwise.
    """

    def __init__(self, ros, talker, **params):
        self.ros, self.talker = ros, talker
        self.manager = ros.start(EpisodeManagerNode, **params)
        hear = talker.hear
        self.states, self.steps, self.results = (
            hear('episode_state'),
            hear('transition'),
            hear('episode_result'),
        )
        self.placed, self.goals = hear('set_transform'), hear('goal')
        self.controls = hear('world_control')
        self.frame_number = 0
        self.ticks = 1
        self.pose = Pose(0.0, 0.0)
        road_map = RoadMap.load('town')
        self.road_map = road_map
        talker.say(
            'world_info', CarlaWorldInfo(map_name='Carla/Maps/town', opendrive=road_map.opendrive)
        )
        talker.say('status', CarlaStatus(frame=1, fixed_delta_seconds=0.05))
        ros.until(lambda: self.manager._machine is not None)

    def frame(self, ticks=None, wait=True):
        ticks = self.ticks if ticks is None else ticks
        msg = Odometry()
        msg.header.stamp = convert.from_ns((self.frame_number + ticks) * TICK)
        self.frame_number += max(ticks, 0)
        msg.pose.pose = convert.to_pose_msg(self.pose)
        known = len(self.states)
        self.talker.say('odometry', msg)
        if wait:
            self.ros.until(lambda: len(self.states) > known)

    def see(self, **fields):
        state = self.states[-1]
        values = dict(
            header=state.header,
            episode_id=state.episode_id,
            step_id=state.step_id,
            drive=state.phase == EpisodeState.RUNNING,
            image_shape=np.array([1, 2, 2], np.uint32),
            image=array.array('B', [1, 2, 3, 4]),
            vector=array.array('f', [0.5]),
        )
        self.talker.say('observation', Observation(**{**values, **fields}))

    def act(self, **fields):
        state = self.states[-1]
        values = dict(
            header=state.header,
            episode_id=state.episode_id,
            step_id=state.step_id,
            policy_version=3,
            drive=state.phase == EpisodeState.RUNNING,
            steering=0.1,
            acceleration=0.2,
        )
        self.talker.say('action', Action(**{**values, **fields}))

    def answer(self):
        """See and act, and wait until both have arrived: topics have no common order."""
        sent = self.manager.sent
        self.see()
        self.act()
        self.ros.until(lambda: self.manager.sent > sent and self.manager._machine._action)

    def start(self):
        self.frame()
        self.ros.until(lambda: self.placed and self.goals)
        self.pose = convert.from_pose_msg(self.placed[-1])._replace(z=0.0)
        goal = self.goals[-1].pose.position
        route = self.road_map.plan((self.pose.x, self.pose.y), self.pose.yaw, (goal.x, goal.y))
        self.talker.say(
            'waypoints', convert.to_path(route, convert.from_ns(self.frame_number * TICK))
        )
        self.ros.until(lambda: self.manager._machine._route is not None)
        while self.states[-1].phase != EpisodeState.RUNNING:
            self.frame()
        return self

    def step(self, count=1):
        for _ in range(count):
            self.see()
            self.act()
            self.frame()
        return self


@pytest.fixture
def world(ros, talker):
    return World(ros, talker)


def test_an_episode_runs_and_its_experience_is_numbered_without_a_gap(ros, world):
    world.start().step(10)
    ros.until(lambda: len(world.steps) == 10)
    assert [m.sequence for m in world.steps] == list(range(1, 11))
    assert [m.step_id for m in world.steps] == list(range(10))
    assert bytes(world.steps[3].frame) == bytes([1, 2, 3, 4]) and list(world.steps[3].vector) == [
        0.5
    ]
    assert (
        world.steps[1].action == pytest.approx([0.1, 0.2]) and world.steps[1].policy_version == 3
    )
    assert not world.results


@pytest.mark.parametrize(
    'fault, reason, stored',
    [
        (lambda w: (w.answer(), w.frame(ticks=3)), 'lost frame', range(6)),
        (lambda w: (w.answer(), w.frame(ticks=0, wait=False)), 'repeated frame', range(6)),
        (lambda w: (w.answer(), w.frame(ticks=-2, wait=False)), 'reordered frame', range(6)),
        (lambda w: (w.see(), w.see()), 'repeated observation', range(6)),
        (lambda w: (w.act(), w.act()), 'repeated action', range(5)),
        (lambda w: w.act(step_id=77), 'action of episode 1 step 77', range(5)),
        (lambda w: w.act(steering=float('nan')), 'action must lie in [-1, 1]', range(5)),
    ],
    ids=[
        'lost',
        'doubled frame',
        'reordered',
        'doubled observation',
        'doubled action',
        'wrong step',
        'nan',
    ],
)
def test_a_broken_step_aborts_the_episode_and_is_not_sent(ros, world, fault, reason, stored):
    world.start().step(5)
    fault(world)
    ros.until(lambda: world.results)
    assert world.results[0].outcome == 'aborted' and reason in world.results[0].reason
    world.frame()
    ros.until(lambda: len(world.steps) >= len(stored))
    ros.spin(0.1)
    assert [m.step_id for m in world.steps] == list(stored)
    assert world.states[-1].phase == EpisodeState.RESETTING and world.states[-1].episode_id == 2


def test_a_simulation_that_is_started_again_may_tick_otherwise(ros, talker, world):
    world.start().step(2)
    talker.say('status', CarlaStatus(frame=1, fixed_delta_seconds=0.1))
    ros.until(lambda: world.results)
    assert world.results[0].outcome == 'aborted'
    assert world.results[0].reason == 'a tick is 0.1 s now'
    world.goals.clear()
    world.placed.clear()
    world.ticks = 2
    world.start().step(5)
    ros.until(lambda: len(world.steps) == 7)
    assert len(world.results) == 1 and world.states[-1].episode_id == 2
    assert world.manager._machine._episode.summary['duration'] == pytest.approx(0.5)


def test_the_same_tick_told_again_aborts_nothing(ros, talker, world):
    world.start().step(2)
    talker.say('status', CarlaStatus(frame=9, fixed_delta_seconds=0.05))
    talker.say('status', CarlaStatus(frame=10, fixed_delta_seconds=0.0))
    world.step(2)
    ros.until(lambda: len(world.steps) == 4)
    assert not world.results and world.states[-1].episode_id == 1


BROKEN = array.array('f', [0.25] * 30 + [float('nan')] + [0.25] * 9)


@pytest.mark.parametrize(
    'fields, got',
    [
        ({'vector': BROKEN}, 'got 4 pixels and a vector of 40, entry 30 is nan'),
        ({'image': array.array('B', [1, 2, 3])}, 'got 3 pixels and a vector of 1'),
    ],
    ids=['nan', 'a pixel too few'],
)
def test_what_is_wrong_with_an_observation_is_told_in_a_line_that_a_trainer_believes(
    ros, world, fields, got
):
    world.start().see(**fields)
    ros.until(lambda: world.results)
    assert world.results[0].reason == (
        f'observation must be 1 x 2 x 2 = 4 pixels and finite, {got}'
    )
    bounds.check_result(world.results[0])


@pytest.mark.parametrize('is_evaluation, name', [(False, '7'), (True, '0')])
def test_a_training_may_begin_with_a_later_route(ros, talker, is_evaluation, name):
    world = World(ros, talker, first_route=7, start_in_evaluation=is_evaluation)
    world.frame()
    ros.until(lambda: world.placed)
    assert world.manager._route_name == name


def test_the_trainer_holds_the_graph_and_lets_it_go(ros, talker, world):
    world.start()
    world.step(2)
    talker.say('training_status', TrainingStatus(transition_limit=3))
    ros.until(lambda: world.manager._limit == 3)
    world.see()
    world.act()
    ros.until(lambda: world.manager.sent == 3)
    known = len(world.states)
    world.frame(wait=False)
    ros.spin(0.3)
    assert len(world.states) == known  # held
    talker.say('training_status', TrainingStatus(transition_limit=100))
    ros.until(lambda: len(world.states) == known + 1)
    assert world.manager.unpaced == 0


def test_a_trainer_that_permits_nothing_holds_a_step_for_the_pacing_timeout_alone(
    ros, talker, world
):
    world.start()
    talker.say('training_status', TrainingStatus(transition_limit=0))
    ros.until(lambda: world.manager._trainer_at > 0)
    world.see()
    world.act()
    known = len(world.states)
    world.frame(wait=False)
    ros.until(lambda: len(world.states) == known + 1)
    assert world.manager.unpaced == 1


def test_a_trainer_that_has_been_silent_holds_nobody(ros, talker, world):
    manager = world.start().manager
    talker.say('training_status', TrainingStatus(transition_limit=0))
    ros.until(lambda: manager._trainer_at > 0)
    manager._trainer_at -= 2.0  # its last word is so old now
    known = len(world.states)
    world.answer()
    world.frame(wait=False)
    ros.until(lambda: len(world.states) == known + 1)
    assert manager._held_since == 0.0 and manager.unpaced == 0  # not even for a moment


@pytest.fixture
def call(ros, talker):
    def call(kind, name, request):
        client = talker.node.create_client(kind, f'/av_td3/episode_manager/{name}')
        ros.until(client.service_is_ready)
        future = client.call_async(request)
        ros.until(future.done)
        return future.result()

    return call


def test_an_evaluation_begins_at_route_0_on_held_out_roads_and_training_goes_on(ros, call, world):
    held_out = held_out_roads(world.road_map.roads)
    training, evaluation = EpisodeState.TRAINING, EpisodeState.EVALUATION
    found = []
    for following in (training, evaluation, evaluation, training, evaluation, training):
        world.start().step(1)
        place = world.pose
        is_held_out = world.road_map.lane_at(place.x, place.y).key[0] in held_out
        found.append((world.states[-1].mode, world.manager._route_name, is_held_out))
        assert call(SetMode, 'set_mode', SetMode.Request(mode=following)).success
        world.manager._is_driven = True  # as if it had come to its end
        world.placed.clear()
        world.goals.clear()
        known = len(world.results)
        world.frame(ticks=3)
        ros.until(lambda: len(world.results) > known)
    assert found == [
        (training, '0', False),
        (training, '1', False),
        (evaluation, '0', True),
        (evaluation, '1', True),
        (training, '2', False),
        (evaluation, '0', True),
    ]


def test_a_map_that_holds_out_nothing_is_not_evaluated_on(call, world, monkeypatch):
    monkeypatch.setattr(RoadMap, 'roads', {1, 2})
    refused = call(SetMode, 'set_mode', SetMode.Request(mode=EpisodeState.EVALUATION))
    assert not refused.success and 'must have 5 roads for one to be held out' in refused.message


def test_services(ros, talker, call, world):
    assert call(SetPaused, 'set_paused', SetPaused.Request(paused=True)).success
    ros.until(lambda: world.controls)
    assert world.controls[-1].command == CarlaControl.PAUSE
    assert call(SetMode, 'set_mode', SetMode.Request(mode=SetMode.Request.EVALUATION)).success
    refused = call(SetMode, 'set_mode', SetMode.Request(mode=9))
    assert (
        not refused.success
        and 'mode must be 0 (training) or 1 (evaluation), got 9' in refused.message
    )
    world.start().step(3)
    ros.spin(0.1)
    assert world.states[-1].mode == EpisodeState.EVALUATION and not world.steps


def test_a_broken_map_is_named(ros, talker):
    manager = ros.start(EpisodeManagerNode)
    talker.say('world_info', CarlaWorldInfo(map_name='Carla/Maps/X', opendrive='<OpenDRIVE>'))
    ros.until(lambda: manager._fault)
    assert 'map X must be OpenDRIVE' in manager._fault
    manager.diagnose()
