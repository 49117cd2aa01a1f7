"""What the graph measures of an episode: hits by kind, waiting in traffic, fixed routes."""

import math

from av_td3_msgs.msg import EpisodeResult
from carla_msgs.msg import CarlaActorInfo, CarlaActorList, CarlaCollisionEvent
import pytest
from test_episode_manager_node import TICK, World

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.convert import result_row
from av_td3_ros.driving.episode import SUMMARY

EGO, OTHER, POLE = 24, 31, 7


class MeasuredWorld(World):
    """The same, with other actors; ``known`` are those of the actor list."""

    def meet(self, *known):
        actors = [CarlaActorInfo(id=EGO, type='vehicle.tesla.model3', rolename='ego_vehicle')]
        actors += [
            CarlaActorInfo(id=number, type=kind, rolename='autopilot') for number, kind in known
        ]
        self.talker.say('actor_list', CarlaActorList(actors=actors))
        self.ros.until(
            lambda: self.manager._machine.in_traffic == any('vehicle' in kind for _, kind in known)
        )
        return self

    def hit(self, number):
        self.see()
        event = CarlaCollisionEvent(other_actor_id=number)
        event.header.stamp = convert.from_ns((self.frame_number + 1) * TICK)
        self.talker.say('collision', event)
        self.ros.until(lambda: self.manager._machine._hits)
        self.act()
        self.frame()
        self.ros.until(lambda: self.results)
        return self.results[-1]


@pytest.fixture
def world(ros, talker):
    return MeasuredWorld(ros, talker)


@pytest.mark.parametrize(
    'number, vehicles, things', [(OTHER, 1, 0), (POLE, 0, 1), (0, 0, 1), (99, 0, 1)]
)
def test_hits_are_told_apart_by_the_actor_list(world, number, vehicles, things):
    """0 is scenery in CARLA; who is not in the list is no vehicle."""
    world.meet((OTHER, 'vehicle.audi.tt'), (POLE, 'static.prop.streetsign')).start().step(2)
    result = world.hit(number)
    assert result.reason == 'collision' and result.collisions == 1
    assert (result.vehicle_collisions, result.static_collisions) == (vehicles, things)


def test_one_may_wait_longer_where_there_are_others(ros, world):
    """4 s are 80 steps."""
    world.meet((OTHER, 'vehicle.audi.tt')).start().step(90)
    assert not world.results
    world.meet()
    world.step(1)
    ros.until(lambda: world.results)
    assert world.results[-1].reason == 'standing_still'


def test_every_figure_travels_in_the_message(ros, world):
    world.start().step(85)
    ros.until(lambda: world.results)
    row = result_row(world.results[0])
    assert set(SUMMARY) <= row.keys()
    assert set(SUMMARY) <= set(EpisodeResult.get_fields_and_field_types())
    assert row['duration'] == pytest.approx(0.05 * row['length'])
    assert row['longest_standing'] == pytest.approx(row['duration'])
    assert row['min_time_to_collision'] != row['min_time_to_collision']
    ways = [math.dist(*ends) for ends in zip(row['trail'], row['trail'][1:])]
    assert sum(ways) == pytest.approx(row['distance'], abs=0.1) and max(ways, default=0.0) < 2.5
    assert len(row['trail'][0]) == 2


@pytest.mark.parametrize('is_measured, routes', [(True, ['0', '0']), (False, ['0', '1'])])
def test_a_fault_does_not_cost_a_policy_that_is_measured_its_route(
    ros, talker, is_measured, routes
):
    world = World(ros, talker, start_in_evaluation=is_measured, routes='held_out')
    world.start().step(2)
    world.frame(ticks=3)
    ros.until(lambda: world.results)
    world.goals.clear()
    world.placed.clear()
    world.start().step(1)
    world.frame(ticks=3)
    ros.until(lambda: len(world.results) == 2)
    assert [result.outcome for result in world.results] == ['aborted', 'aborted']
    assert [result.route for result in world.results] == routes
